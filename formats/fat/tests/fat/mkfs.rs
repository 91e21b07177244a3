//! New filesystems of every size, judged by fsck.fat and minfo.

use crate::common::silent;
use nomount_block::{Fault, FaultPlan, HostFile, Memory, ReadAt, SetLen, WriteAt};
use nomount_fat::{Error, Kind, Options, mkfs, plan};
use nomount_kit::{judges, require, scratch, tool};
use std::path::Path;
use std::process::Command;

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn file(path: &Path, len: u64) -> HostFile {
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    let mut device = HostFile::new(file, false).unwrap();
    device.set_len(len).unwrap();
    device
}

#[test]
fn every_size_from_64_kib_to_2_tib_is_sound() {
    if !require(&["fsck.fat"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("volume");
    let mut sizes = vec![64 * K, 100 * K + 512, 360 * K, 1440 * K, 2880 * K, 2 * M, 4 * M - 512, 4 * M, 4 * M + 512];
    sizes.extend([5 * M, 16 * M, 16 * M + 512, 32 * M, 33 * M, 100 * M, 128 * M, 260 * M, 511 * M, 512 * M - 512]);
    sizes.extend([512 * M, G, 2 * G, 8 * G, 8 * G + 512, 33 * G, 300 * G]);
    for (number, len) in sizes.into_iter().enumerate() {
        let mut device = file(&path, len);
        // Garbage where the tables will be.
        device.write_at(0, &vec![0x5a; len.min(300_000) as usize]).unwrap();
        let label = if number % 2 == 0 { b"ephemeral0".to_vec() } else { Vec::new() };
        let options = Options { label, volume_id: 0x1234_abcd, hidden_sectors: 2048, ..Options::default() };
        let made = mkfs(&mut device, &options).unwrap_or_else(|error| panic!("{len}: {error}"));
        assert_eq!(made, plan(len, &options).unwrap());
        silent(&path, &format!("{len}: {made:?}"));
    }
    // The largest, where fsck.fat would want half a GiB of memory: only made.
    let made = mkfs(&mut file(&path, 2048 * G - 512), &Options::default()).unwrap();
    assert_eq!((made.kind, made.cluster), (Kind::Fat32, 32 << 10));
    assert!(std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) < 4096, "zeroes are not written");
}

#[test]
fn each_kind_and_sector_size_is_sound_where_it_fits() {
    if !require(&["fsck.fat"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("volume");
    let mut sound = 0;
    for sector in [512, 1024, 2048, 4096] {
        for kind in [Kind::Fat12, Kind::Fat16, Kind::Fat32] {
            for len in [M, 3 * M, 17 * M, 40 * M, 130 * M, 300 * M, 2 * G] {
                let options = Options { label: b"LABEL".to_vec(), kind: Some(kind), sector, ..Options::default() };
                let mut device = file(&path, len);
                match mkfs(&mut device, &options) {
                    Ok(made) => {
                        assert_eq!((made.kind, made.sector), (kind, sector));
                        silent(&path, &format!("{len}: {made:?}"));
                        sound += 1;
                    }
                    Err(Error::Size { .. }) => assert_eq!(content(&device, 512), [0; 512], "nothing is written"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(sound > 35, "only {sound} fit");
}

fn content(device: &impl ReadAt, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_boot_sector_says_what_was_asked() {
    let mut device = Memory::zeroed(600 << 20);
    let options =
        Options { label: b"data disk".to_vec(), volume_id: 0xdead_beef, hidden_sectors: 63, ..Options::default() };
    let made = mkfs(&mut device, &options).unwrap();
    assert_eq!((made.kind, made.cluster), (Kind::Fat32, 4096));
    for boot in [0, 6 * 512] {
        let boot = &device.bytes()[boot..][..512];
        assert_eq!(boot[67..71], 0xdead_beef_u32.to_le_bytes());
        assert_eq!(&boot[71..82], b"DATA DISK  ");
        assert_eq!(boot[28..32], 63u32.to_le_bytes());
        assert_eq!(boot[510..], [0x55, 0xaa]);
    }
    let again = {
        let mut device = Memory::zeroed(600 << 20);
        mkfs(&mut device, &options).unwrap();
        device
    };
    assert!(again == device, "the same options give the same bytes");
}

#[test]
fn other_tools_read_label_and_files() {
    if !require(&["mcopy", "mdir", "fsck.fat"]) {
        return;
    }
    let folder = scratch::folder();
    for len in [M, 40 * M, 600 * M] {
        let path = folder.path().join("volume");
        mkfs(&mut file(&path, len), &Options { label: b"nova".to_vec(), ..Options::default() }).unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, vec![b'x'; 70_000]).unwrap();
        let copied =
            Command::new("mcopy").arg("-i").arg(&path).arg(&input).arg("::a longer name.txt").output().unwrap();
        assert!(copied.status.success(), "{}", tool::text(&copied));
        let listed = tool::text(&Command::new("mdir").arg("-i").arg(&path).arg("::").output().unwrap());
        assert!(listed.contains("Volume in drive : is NOVA") && listed.contains("a longer name.txt"), "{listed}");
        judges::fsck_fat_n(&path, 0, len).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_a_failing_device_is_told() {
    for (len, kind) in [(8 * K, None), (2049 * G, None), (M, Some(Kind::Fat32)), (2 * G, Some(Kind::Fat12))] {
        let error = plan(len, &Options { kind, ..Options::default() }).unwrap_err();
        assert!(matches!(error, Error::Size { .. }), "{len}: {error}");
    }
    assert!(matches!(plan(M, &Options { sector: 8192, ..Options::default() }), Err(Error::Sector(8192))));
    assert!(matches!(plan(M, &Options { label: vec![b'x'; 12], ..Options::default() }), Err(Error::Label { .. })));
    for number in 0..4 {
        let plan = FaultPlan { fail_write: Some(number), ..FaultPlan::default() };
        let error = mkfs(&mut Fault::new(Memory::zeroed(M as usize), plan), &Options::default()).unwrap_err();
        assert!(matches!(error, Error::Device(_)), "{error}");
    }
}
