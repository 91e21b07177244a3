//! Every verb that takes files, on FAT: judged by fsck.fat after each change, and read back by mtools.

use crate::common::{Ran, nomount, ran};
use nomount_block::Memory;
use nomount_fat::{Kind, Options, mkfs};
use nomount_kit::judges;
use nomount_kit::{fixture, require, scratch};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{TempDir, TempPath};

/// A FAT filesystem: all of an image, or the ESP of the guest.
struct Fat {
    folder: TempDir,
    image: PathBuf,
    esp: bool,
}

impl Fat {
    fn whole(kind: Kind) -> Self {
        let folder = scratch::folder();
        let mut volume = Memory::zeroed(if kind == Kind::Fat32 { 34 << 20 } else { 6 << 20 });
        mkfs(&mut volume, &Options { kind: Some(kind), label: b"CONFIG-2".to_vec(), ..Options::default() }).unwrap();
        let image = folder.path().join("fat.img");
        std::fs::write(&image, volume.bytes()).unwrap();
        Self { folder, image, esp: false }
    }

    fn esp() -> Self {
        let folder = scratch::folder();
        let image = scratch::copy_as(&fixture::guest(), folder.path().join("guest.qcow2"));
        Self { folder, image, esp: true }
    }

    fn all() -> [Self; 4] {
        [Self::whole(Kind::Fat12), Self::whole(Kind::Fat16), Self::whole(Kind::Fat32), Self::esp()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command line in which IMG is the filesystem and DIR the folder.
    fn run(&self, line: &str) -> Ran {
        let image = format!("{}{}", self.image.display(), if self.esp { "@15" } else { "" });
        let dir = self.folder.path().display().to_string();
        let args = line.split_whitespace().map(|word| word.replace("IMG", &image).replace("DIR", &dir));
        ran(nomount().args(args))
    }

    /// The volume as a file of its own, and what keeps it.
    fn volume(&self) -> (PathBuf, Option<TempPath>) {
        if !self.esp {
            return (self.image.clone(), None);
        }
        let raw = scratch::raw_of(&self.image, "qcow2");
        let table = judges::sfdisk_json(&raw).unwrap();
        let parts = table["partitiontable"]["partitions"].as_array().unwrap();
        let esp = parts.iter().find(|part| part["node"] == "15").unwrap();
        let bytes = |field: &str| esp[field].as_u64().unwrap() * 512;
        let window = scratch::window(&raw, bytes("start"), bytes("size"));
        (window.to_path_buf(), Some(window))
    }

    fn judge(&self, line: &str) {
        let (volume, _kept) = self.volume();
        let len = std::fs::metadata(&volume).unwrap().len();
        judges::fsck_fat_n(&volume, 0, len).unwrap_or_else(|e| panic!("{line}: {e:?}"));
    }

    /// Runs what must succeed, and asks fsck.fat.
    fn does(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        self.judge(line);
        ran
    }

    /// What a command that only looks prints.
    fn shows(&self, line: &str) -> String {
        let before = scratch::fingerprint(&self.image);
        let ran = self.run(line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{line}: {ran:?}");
        assert_eq!(scratch::fingerprint(&self.image), before, "{line}");
        ran.stdout
    }

    /// Runs what must be refused for what FAT has not, and leave the image alone.
    fn refuses(&self, line: &str, why: &str) {
        let before = scratch::fingerprint(&self.image);
        let ran = self.run(line);
        assert_eq!(ran.code, Some(4), "{line}: {ran:?}");
        assert!(ran.stderr.contains(why), "{line}: {ran:?}");
        assert_eq!(scratch::fingerprint(&self.image), before, "{line}");
    }

    fn mtools(&self, program: &str, args: &[&str]) -> String {
        let (volume, _kept) = self.volume();
        let mut command = Command::new(program);
        command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&volume).args(args);
        let ran = ran(&mut command);
        assert_eq!(ran.code, Some(0), "{program} {args:?}: {ran:?}");
        ran.stdout
    }

    /// A file as mtools reads it.
    fn text(&self, path: &str) -> String {
        self.mtools("mtype", &[&format!("::{path}")])
    }

    /// What mtools finds in a directory.
    fn names(&self, path: &str) -> Vec<String> {
        let listed = self.mtools("mdir", &["-b", "-a", &format!("::{path}")]);
        let mut names: Vec<String> = listed.lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
        names.sort();
        names.iter().map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

fn ready() -> bool {
    require(&["fsck.fat", "mtype", "mdir", "qemu-img", "sfdisk"])
}

/// The notes about what FAT cannot store.
fn notes(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.contains("FAT ")).collect()
}

/// A tree whose files have a mode that FAT has not.
fn site(fat: &Fat) {
    let site = fat.path("site");
    std::fs::create_dir_all(site.join("sub")).unwrap();
    for (name, text) in [("a.txt", "hello\n"), ("sub/Long_Name.conf", "x\n"), ("sub/other", "other\n")] {
        std::fs::write(site.join(name), text).unwrap();
        std::fs::set_permissions(site.join(name), PermissionsExt::from_mode(0o640)).unwrap();
    }
}

/// A tar file of somebody else's directory and file, and of a link of the kind that is asked for.
fn tar_of(to: &Path, link: Option<tar::EntryType>) {
    let mut tar = tar::Builder::new(std::fs::File::create(to).unwrap());
    let mut add = |path: &str, kind, text: &str, target: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o750);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_600_000_001);
        header.set_size(text.len() as u64);
        match target {
            Some(target) => tar.append_link(&mut header, path, target).unwrap(),
            None => tar.append_data(&mut header, path, text.as_bytes()).unwrap(),
        }
    };
    add("t/", tar::EntryType::Directory, "", None);
    add("t/file", tar::EntryType::Regular, "of a tar\n", None);
    if let Some(kind) = link {
        add("t/link", kind, "", Some("t/file"));
    }
    tar.finish().unwrap();
}

#[test]
fn files_are_looked_at() {
    if !ready() {
        return;
    }
    for fat in Fat::all() {
        site(&fat);
        fat.does("cp -r DIR/site IMG:/see");
        let listed = fat.shows("ls -l IMG:/see/SUB");
        assert!(listed.contains("-rwxr-xr-x 1 0 0 2 ") && listed.contains(" Long_Name.conf\n"), "{listed}");
        assert_eq!(fat.shows("ls IMG /see"), "a.txt\nsub\n");
        assert_eq!(fat.shows("find IMG /see -name *.conf"), "/see/sub/Long_Name.conf\n");
        assert!(fat.shows("du -s IMG /see").ends_with("\t/see\n"));
        assert!(fat.shows("stat IMG /see/a.txt").contains("Access: (0755/-rwxr-xr-x)"));
        assert_eq!(fat.shows("cat IMG /SEE/A.TXT"), "hello\n");
        let sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  /see/a.txt\n";
        assert_eq!(fat.shows("checksum IMG /see/a.txt"), sum);
        assert!(fat.shows("mtree IMG /see").contains("./sub/Long_Name.conf type=file mode=0755 uid=0 gid=0"));
        assert_eq!(fat.shows("readlink -f IMG /see/a.txt"), "/see/a.txt\n");
        assert_eq!(fat.shows("getfattr -d IMG /see/a.txt"), "");
        assert!(fat.shows("df IMG").lines().count() >= 2);
        assert_eq!(fat.shows("download IMG /see/a.txt -"), "hello\n");
        fat.shows("cp -r IMG:/see DIR/out");
        fat.shows("copy-out IMG /see/sub DIR/out");
        for copy in ["out/sub/other", "out/sub/../a.txt"] {
            assert!(fat.path(copy).exists(), "{copy}");
        }
        // Times of two seconds are no difference to what was made of them.
        fat.shows("tar-out IMG:/see DIR/see.tar");
        fat.does("mkdir IMG /again");
        let unpacked = fat.does("tar-in IMG DIR/see.tar /again");
        assert_eq!(notes(&unpacked), [""; 0]);
        assert_eq!(fat.shows("diff IMG:/see IMG:/again"), "");
        fat.shows("tar-out IMG:/again DIR/again.tar");
        assert_eq!(std::fs::read(fat.path("see.tar")).unwrap(), std::fs::read(fat.path("again.tar")).unwrap());
    }
}

#[test]
fn what_comes_along_with_a_copy_and_fat_has_not_is_noted_once() {
    if !ready() {
        return;
    }
    for fat in Fat::all() {
        site(&fat);
        for plain in ["cp -r DIR/site IMG:/plain", "copy-in IMG DIR/site /plain", "cp DIR/site/a.txt IMG:/plain/b"] {
            assert_eq!(notes(&fat.does(plain)), [""; 0], "{plain}");
        }
        assert_eq!(fat.names("/plain"), ["a.txt", "b", "site", "sub"]);
        // Also into the root directory, which has no times, and when an owner is asked for that everything has.
        for kept in [
            "cp -a DIR/site IMG:/kept",
            "cp -a DIR/site/. IMG:/",
            "cp -a --chown 0:0 DIR/site IMG:/roots",
            "cp -p DIR/site/a.txt DIR/site/sub/other IMG:/kept",
        ] {
            let ran = fat.does(kept);
            let notes = notes(&ran);
            assert!(notes.len() == 1 && notes[0].contains("left out"), "{kept}: {ran:?}");
        }
        assert_eq!(fat.text("/roots/sub/other"), "other\n");
        std::fs::hard_link(fat.path("site/a.txt"), fat.path("site/same")).unwrap();
        let linked = fat.does("copy-in IMG DIR/site /kept");
        assert!(notes(&linked).len() == 1 && linked.stderr.contains("FAT has no hard links: copied"), "{linked:?}");
        assert_eq!((fat.text("/kept/site/same"), fat.text("/kept/site/a.txt")), ("hello\n".into(), "hello\n".into()));
        for (name, link) in [("plain.tar", None), ("hard.tar", Some(tar::EntryType::Link))] {
            tar_of(&fat.path(name), link);
            fat.does(&format!("mkdir IMG /{name}"));
            let ran = fat.does(&format!("tar-in IMG DIR/{name} /{name}"));
            let owners = "/t/file: FAT has no owners: 1000:1001 cannot be stored";
            let directory = format!("/{name}/t: FAT has no owners: 1000:1001 cannot be stored: left out, here and at ");
            assert!(ran.stderr.contains(&directory) && !ran.stderr.contains(owners), "{ran:?}");
            assert_eq!(notes(&ran).len(), 1 + usize::from(link.is_some()), "{ran:?}");
            assert!(fat.shows(&format!("stat IMG /{name}/t/file")).contains("2020-09-13T12:26:40Z"));
        }
        assert_eq!(fat.text("/hard.tar/t/link"), "of a tar\n");
        fat.refuses("cp --chown 1:1 DIR/site/a.txt IMG:/owned", "FAT has no owners: 1:1 cannot be stored");
        fat.refuses("cp --chmod 600 DIR/site/a.txt IMG:/owned", "FAT cannot store mode 0600");
        // A link is a name that would be missing.
        symlink("a.txt", fat.path("site/link")).unwrap();
        tar_of(&fat.path("link.tar"), Some(tar::EntryType::Symlink));
        for line in ["cp -r DIR/site IMG:/links", "copy-in IMG DIR/site /plain", "tar-in IMG DIR/link.tar /plain"] {
            fat.refuses(line, "FAT has no symbolic links");
        }
    }
}

#[test]
fn files_are_changed() {
    if !ready() {
        return;
    }
    for fat in Fat::all() {
        site(&fat);
        fat.does("mkdir -p IMG /EFI/BOOT");
        fat.does("upload IMG DIR/site/a.txt /EFI/A_long_name.txt");
        fat.does("write IMG /efi/a_long_name.txt DIR/site/sub/other");
        fat.does("append IMG /EFI/A_long_name.txt DIR/site/a.txt");
        assert_eq!((fat.names("/EFI").len(), fat.text("/EFI/A_long_name.txt")), (2, "other\nhello\n".to_owned()));
        fat.does("truncate -s 8 IMG /EFI/A_long_name.txt");
        fat.does("edit -e s/other/edited/ IMG /EFI/A_long_name.txt");
        assert_eq!(fat.text("/EFI/A_long_name.txt"), "edited\nhe");
        // Another case is another name of the same file, and not a file to be removed.
        let renamed = fat.does("mv IMG /EFI/A_long_name.txt /EFI/a_LONG_name.TXT");
        assert!(!renamed.stdout.contains("remove") && !renamed.stdout.contains("replac"), "{renamed:?}");
        assert_eq!(fat.names("/EFI"), ["BOOT", "a_LONG_name.TXT"]);
        fat.does("mv IMG /EFI/a_LONG_name.TXT /EFI/BOOT");
        fat.does("cp IMG:/EFI/BOOT/a_LONG_name.TXT IMG:/copy");
        assert_eq!(
            (fat.text("/copy"), fat.text("/EFI/BOOT/a_LONG_name.TXT")),
            ("edited\nhe".into(), "edited\nhe".into())
        );
        let odd = "touch -d 2021-02-03T04:05:07Z IMG /copy";
        fat.does(odd);
        assert!(fat.does(odd).stdout.contains("nothing to change"));
        fat.does("chmod a-w IMG /copy");
        assert!(fat.mtools("mattrib", &["::/copy"]).contains(" R "));
        fat.does("chmod 755 IMG /copy");
        fat.does("chown 0:0 IMG /copy");
        fat.does("rm IMG /copy");
        fat.does("mkdir IMG /new");
        fat.does("rmdir IMG /new");
        fat.does("rm -r IMG /EFI/BOOT");
        assert_eq!(fat.names("/EFI"), [""; 0]);
        fat.does("write IMG /f DIR/site/a.txt");
        for (line, why) in [
            ("ln -s IMG f /link", "FAT has no symbolic links"),
            ("ln IMG /f /link", "FAT has no hard links"),
            ("mknod IMG /pipe p", "FAT has no named pipes"),
            ("mkdir -m 700 IMG /private", "FAT cannot store mode 0700"),
            ("chmod 600 IMG /f", "FAT cannot store mode 0600"),
            ("chown 1000:1000 IMG /f", "FAT has no owners"),
            ("setfattr -n user.x -v 1 IMG /f", "FAT has no extended attributes"),
            ("customize IMG --write /g:text --chmod 0600:/g", "FAT cannot store mode 0600"),
            ("customize IMG --link /f:/link", "FAT has no symbolic links"),
        ] {
            fat.refuses(line, why);
        }
        assert_eq!(fat.text("/f"), "hello\n");
    }
}

#[test]
fn many_changes_are_one_commit() {
    if !ready() {
        return;
    }
    for fat in Fat::all() {
        site(&fat);
        tar_of(&fat.path("plain.tar"), None);
        fat.does(
            "customize IMG --mkdir /c --upload DIR/site/a.txt:/c/u --write /c/w:hello --append-line /c/w:more \
             --copy /c/w:/c/w2 --delete /c/u --copy-in DIR/site/sub:/c --touch /c/x --move /c/x:/c/X \
             --edit /c/w:s/h/j/ --chmod 0755:/c/w --tar-in DIR/plain.tar:/c",
        );
        assert_eq!(fat.names("/c"), ["X", "sub", "t", "w", "w2"]);
        assert_eq!((fat.text("/c/w"), fat.text("/c/w2")), ("jello\nmore\n".into(), "hello\nmore\n".into()));
        let recipe = "absent = ['/c']\n[directories.'/d']\n[files.'/d/f']\ncontent = 'x'\n[files.'/d/lines']\n\
                      lines = ['one']\n[files.'/d/site']\nsource = 'site/a.txt'\nmode = '755'\n";
        std::fs::write(fat.path("recipe.toml"), recipe).unwrap();
        fat.does("apply IMG DIR/recipe.toml");
        assert_eq!(
            (fat.text("/d/f"), fat.text("/d/lines"), fat.text("/d/site")),
            ("x".into(), "one\n".into(), "hello\n".into())
        );
        let before = scratch::fingerprint(&fat.image);
        assert!(fat.does("apply IMG DIR/recipe.toml").stdout.contains("nothing to change"));
        fat.does("apply --dry-run --exit-code IMG DIR/recipe.toml");
        assert_eq!(scratch::fingerprint(&fat.image), before);
        let script = format!(
            "mkdir-p /s/a\nupload {} /s/a/u\nrename /s/a/u /s/a/U\ncat /s/a/u\n",
            fat.path("site/a.txt").display()
        );
        std::fs::write(fat.path("script"), script).unwrap();
        assert_eq!(fat.does("run IMG DIR/script").stdout, "hello\n");
        assert_eq!(fat.names("/s/a"), ["U"]);
        fat.does("inject IMG --file DIR/site/a.txt:/openstack/latest/user_data --metadata a=b");
        assert_eq!(fat.text("/openstack/latest/user_data"), "hello\n");
    }
}

/// In the guest's tree, an ESP is where fstab mounts it.
#[test]
fn an_esp_is_part_of_its_guest() {
    if !ready() {
        return;
    }
    let mut fat = Fat::esp();
    fat.esp = false;
    site(&fat);
    let copied = fat.run("cp -a DIR/site IMG:/boot/efi/EFI");
    let both = fat.run("customize IMG --write /etc/motd:hi --write /boot/efi/motd:hi");
    assert_eq!((copied.code, both.code, notes(&copied).len()), (Some(0), Some(0), 1), "{copied:?} {both:?}");
    assert_eq!(fat.shows("cat IMG /boot/efi/EFI/site/a.txt /boot/efi/motd /etc/motd"), "hello\nhihi");
    fat.esp = true;
    fat.judge("cp and customize");
    assert_eq!((fat.text("/EFI/site/sub/other"), fat.text("/motd")), ("other\n".into(), "hi".into()));
}

#[test]
fn a_filesystem_with_label_and_number() {
    if !ready() {
        return;
    }
    let fat = Fat::whole(Kind::Fat16);
    for name in ["one", "two"] {
        let ran = fat.run(&format!("mkfs -t vfat DIR/{name} 8M -L ESP -U 1234-abcd --seed 1"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(std::fs::read(fat.path("one")).unwrap(), std::fs::read(fat.path("two")).unwrap());
    let one = fat.path("one");
    let listed = ran(Command::new("mdir").env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&one));
    assert!(listed.stdout.contains("ESP") && listed.stdout.contains("1234-ABCD"), "{listed:?}");
    for (line, words) in [
        ("mkfs -t vfat DIR/no 8M -U 12345678-1234-1234-1234-123456789012", "8 hexadecimal digits"),
        ("mkfs -t ext4 DIR/no 8M -U 1234-abcd", "32 hexadecimal digits"),
    ] {
        let ran = fat.run(line);
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{line}: {ran:?}");
        assert!(!fat.path("no").exists());
    }
}
