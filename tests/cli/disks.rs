//! `df`, `filesystems`, `partitions`, `inspect`, and the map of `info`: what is on a disk.

use crate::common::{nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_kit::{fixture, require, scratch, tool};
use std::fs;
use std::path::Path;

/// The guest's root, as `df -k` and `df -i` of Linux count it.
const BLOCKS: [u64; 3] = [47_556, 408, 46_104];
const INODES: [u64; 3] = [2048, 83, 1965];

#[test]
fn df_counts_as_df_in_the_guest_does() {
    let guest = fixture::guest();
    let before = state(&guest);
    let image = text(&guest);
    let ran = run(["df", &image]);
    let row: Vec<&str> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[0], format!("{image}:/dev/sda1"));
    assert_eq!(row[1..], ["47556", "408", "46104", "1%"], "{ran:?}");
    let ran = run(["df", "-i", "--csv", &format!("{image}@1")]);
    assert_eq!(ran.stdout, format!("Image,Filesystem,Inodes,IUsed,IFree,IUse%\n{image},/dev/sda1,2048,83,1965,4.1\n"));
    assert_eq!(ran.stderr, "");
    let ran = run(["df", "-h", "--partition", "/dev/sda1", &image, &image]);
    assert_eq!(ran.stdout.matches("/dev/sda1   46M  408K        45M    1%\n").count(), 2, "{ran:?}");
    let document = json(&run(["df", "--json", &image]));
    let root = &document["filesystems"][0];
    let numbers = |names: [&str; 3]| names.map(|name| root[name].as_u64().unwrap());
    assert_eq!(numbers(["size", "used", "available"]), BLOCKS.map(|blocks| blocks * 1024));
    assert_eq!(numbers(["inodes", "used_inodes", "free_inodes"]), INODES);
    assert_eq!((&root["label"], &root["type"], &root["partition"]), (&"root".into(), &"ext4".into(), &1.into()));
    assert_eq!(run(["df", "-h", "--csv", &image]).code, Some(2));
    assert!(state(&guest) == before);
}

#[test]
fn a_filesystem_that_cannot_be_read_is_said_and_the_others_are_counted() {
    if !require(&["qemu-img"]) {
        return;
    }
    let raw = scratch::raw_of(&fixture::guest(), "qcow2");
    let mut bytes = fs::read(&raw).unwrap();
    // The block size in the superblock of partition 1.
    bytes[(13 << 20) + 1024 + 24] = 5;
    fs::write(&raw, bytes).unwrap();
    let ran = run(["df", &text(&raw)]);
    assert!(ran.code == Some(1) && ran.stderr.contains("partition 1 (ext4): "), "{ran:?}");
    let ran = run(["filesystems", "-l", "--no-title", &text(&raw)]);
    // Then the size is the partition's.
    assert!(ran.code == Some(0) && ran.stdout.starts_with("/dev/sda1   filesystem  ext4  root  53460480"), "{ran:?}");
}

#[test]
fn filesystems_are_listed_as_virt_filesystems_lists_them() {
    let image = text(&fixture::guest());
    let lines = |args: &[&str]| run(["filesystems", &image].iter().chain(args)).stdout;
    assert_eq!(lines(&[]), "/dev/sda1\n/dev/sda15\n");
    assert_eq!(lines(&["--extra"]), "/dev/sda1\n/dev/sda14\n/dev/sda15\n");
    assert_eq!(lines(&["--partitions", "--block-devices"]), "/dev/sda1\n/dev/sda14\n/dev/sda15\n/dev/sda\n");
    let long = "Name        Type        VFS   Label  Size      Parent\n\
                /dev/sda1   filesystem  ext4  root   48697344  -\n\
                /dev/sda15  filesystem  vfat  ESP    10446848  -\n";
    assert_eq!(lines(&["-l"]), long);
    let bare = "/dev/sda1   filesystem  ext4  root  48697344  -\n/dev/sda15  filesystem  vfat  ESP   10446848  -\n";
    assert_eq!(lines(&["-l", "--no-title"]), bare);
    let all = "Name       Type       VFS     Label MBR Size Parent   UUID\n\
               /dev/sda1  filesystem ext4    root  -   46M  -        5eed0000-0000-4000-8000-000000000001\n\
               /dev/sda14 filesystem unknown -     -   1.0M -        -\n\
               /dev/sda15 filesystem vfat    ESP   -   10M  -        1234-ABCD\n\
               /dev/sda1  partition  -       -     -   51M  /dev/sda -\n\
               /dev/sda14 partition  -       -     -   1.0M /dev/sda -\n\
               /dev/sda15 partition  -       -     -   10M  /dev/sda -\n\
               /dev/sda   device     -       -     -   64M  -        -\n";
    assert_eq!(lines(&["--all", "-l", "--uuid", "-h"]), all);
    assert_eq!(lines(&["-a", "--long", "--uuids", "-h"]), all);
    assert_eq!(
        lines(&["--csv", "-l", "--uuid"]),
        "Name,Type,VFS,Label,Size,Parent,UUID\n\
         /dev/sda1,filesystem,ext4,root,48697344,,5eed0000-0000-4000-8000-000000000001\n\
         /dev/sda15,filesystem,vfat,ESP,10446848,,1234-ABCD\n"
    );
    let document = json(&run(["filesystems", "--json", "-a", &image]));
    assert_eq!(document["items"].as_array().unwrap().len(), 7);
    assert_eq!(document["items"][2]["uuid"], "1234-ABCD");
}

fn sparse(path: &Path, len: u64) {
    fs::File::create(path).and_then(|file| file.set_len(len)).unwrap();
}

#[test]
fn labels_and_uuids_are_those_that_blkid_tells() {
    if !require(&["blkid", "mke2fs", "mkfs.fat", "mkswap"]) {
        return;
    }
    let folder = scratch::folder();
    let disk = folder.path().join("disk.raw");
    let image = text(&disk);
    sparse(&disk, 200 << 20);
    assert_eq!(run(["part", "create", &image, "mbr", "--disk-id", "1234abcd"]).code, Some(0));
    for (kind, size) in [("linux", "40M"), ("swap", "20M"), ("fat32", "max")] {
        assert_eq!(run(["part", "add", &image, "--type", kind, "--size", size]).code, Some(0));
    }
    let document = json(&run(["part", "list", "--json", &image]));
    let makers: [&[&str]; 3] = [
        &["mke2fs", "-q", "-F", "-t", "ext4", "-L", "my data"],
        &["mkswap", "-q", "-L", "swap space"],
        &["mkfs.fat", "-F", "32", "-n", "BOOT"],
    ];
    let mut wanted = Vec::new();
    let mut whole = fs::read(&disk).unwrap();
    for (partition, maker) in document["partitions"].as_array().unwrap().iter().zip(makers) {
        let (start, size) = (partition["start"].as_u64().unwrap(), partition["size"].as_u64().unwrap());
        let file = folder.path().join("partition");
        let _ = fs::remove_file(&file);
        sparse(&file, size);
        let made = tool::output(tool::command(maker[0]).args(&maker[1..]).arg(&file));
        assert!(made.status.success(), "{made:?}");
        let told = |tag: &str| {
            let told = ran(tool::command("blkid").args(["-p", "-o", "value", "-s", tag]).arg(&file));
            told.stdout.trim().to_owned()
        };
        wanted.push([told("TYPE"), told("LABEL"), told("UUID")]);
        let bytes = fs::read(&file).unwrap();
        whole[start as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    fs::write(&disk, whole).unwrap();
    let document = json(&run(["filesystems", "--json", "--extra", &image]));
    let found: Vec<[String; 3]> = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| ["type", "label", "uuid"].map(|name| item[name].as_str().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(found, wanted);
    let ran = run(["filesystems", "-l", "--partitions", "--csv", "--no-title", &image]);
    let types: Vec<&str> = ran.stdout.lines().map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(types, ["83", "82", "0b"], "{ran:?}");
}

#[test]
fn partitions_is_part_list() {
    let image = text(&fixture::guest());
    for more in [&[][..], &["--json"]] {
        let args = |verb: &[&str]| {
            [verb, &[image.as_str()], more].concat().iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
        };
        let (short, long) = (run(args(&["partitions"])), run(args(&["part", "list"])));
        assert!(short.code == Some(0) && !short.stdout.is_empty(), "{short:?}");
        assert_eq!(short.stdout, long.stdout);
    }
}

#[test]
fn inspect_tells_what_the_guests_files_say() {
    let guest = Guest::new();
    let image = guest.arg();
    for (path, contents) in [
        ("/boot/vmlinuz-6.12.1", "x"),
        ("/boot/initrd.img-6.12.1", "x"),
        ("/boot/grub/grub.cfg", "x"),
        ("/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=targeted\n"),
        ("/etc/cloud/cloud.cfg", "datasource_list: [ NoCloud, None ]\n"),
        ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("/etc/timezone", "Europe/Berlin\n"),
        ("/usr/bin/apt-get", "x"),
    ] {
        let folder = path.rsplit_once('/').unwrap().0;
        assert_eq!(run(["mkdir", "-p", &image, folder]).code, Some(0));
        let ran = ran(nomount().args(["write", &image, path, "--text", contents]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let ran = run(["inspect", &image]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for line in [
        "root: partition 1 (ext4)\n",
        "system: Debian GNU/Linux 13 (trixie)\n",
        "packages: apt (deb)\n",
        "kernel: 6.12.1 (/boot/vmlinuz-6.12.1, /boot/initrd.img-6.12.1)\n",
        "boot loader: grub2 (/boot/grub/grub.cfg)\n",
        "firmware: BIOS, UEFI\n",
        "selinux: permissive, policy targeted (not installed)\n",
        "cloud-init: installed, datasources NoCloud None, has not run\n",
        "machine-id: 0123456789abcdef0123456789abcdef, the same in every copy\n",
        "time zone: Europe/Berlin\n",
        "users: 1 (debian)\n",
    ] {
        assert!(ran.stdout.contains(line), "{line:?} in {}", ran.stdout);
    }
    let document = json(&run(["inspect", "--json", &image]));
    assert_eq!(document["machine_id"]["id"], "0123456789abcdef0123456789abcdef");
    assert_eq!((&document["selinux"]["mode"], &document["package_format"]), (&"permissive".into(), &"deb".into()));
    // What is hostile is a note, and no control of the terminal.
    assert_eq!(run(["write", &image, "/etc/hostname", "--text", "\u{1b}[2J\n"]).code, Some(0));
    assert_eq!(run(["truncate", "-s", "1G", &image, "/etc/passwd"]).code, Some(0));
    let ran = run(["inspect", &image]);
    assert!(ran.code == Some(0) && ran.stderr.contains("/etc/passwd: the file has 1073741824 bytes"), "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("hostname: \\u{1b}[2J\n"), "{ran:?}");
    assert_eq!(run(["inspect", &format!("{image}:/etc")]).code, Some(2));
}

#[test]
fn info_draws_the_disk() {
    let ran = run(["info", &text(&fixture::guest())]);
    let map = "\
        +---------+----------+---------------------------------------------------------+\n\
        | 14      | 15 esp   | 1 root                                                  |\n\
        | unknown | vfat     | ext4 50.9 MiB                                           |\n\
        +---------+----------+---------------------------------------------------------+\n";
    assert!(ran.stdout.contains(map), "{}", ran.stdout);
    // Where there is no table, there is nothing to draw.
    let image = fixture::file("ext4-1k");
    assert!(!run(["info", &text(&image)]).stdout.contains("+--"));
}
