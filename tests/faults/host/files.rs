//! The files that commands work on, and what is in a folder.

use crate::common::{ran, run};
use nomount_kit::{fixture, scratch};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Each name below a folder with a checksum of what is there.
pub type Names = BTreeMap<String, u64>;

/// A folder in which a command runs, and one beside it for what does not belong to it.
pub struct Files {
    folder: TempDir,
    apart: TempDir,
}

impl Files {
    /// Copies of some files and directories of the template.
    pub fn of(template: &Path, names: &[&str]) -> Self {
        let files = Self { folder: scratch::folder(), apart: scratch::folder() };
        for name in names {
            let (from, to) = (template.join(name), files.path(name));
            if from.is_dir() {
                let done = ran(Command::new("cp").arg("-a").args([&from, &to]));
                assert_eq!(done.code, Some(0), "{done:?}");
            } else {
                scratch::copy_as(&from, to);
            }
        }
        files
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that is in no way the command's.
    pub fn apart(&self, name: &str) -> PathBuf {
        self.apart.path().join(name)
    }

    pub fn names(&self) -> Names {
        names(self.folder.path())
    }
}

/// What is in a folder, and in those below.
pub fn names(folder: &Path) -> Names {
    let mut names = Names::new();
    add(folder, "", &mut names);
    names
}

fn add(folder: &Path, prefix: &str, names: &mut Names) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let meta = entry.metadata().unwrap();
        let print = match meta.file_type() {
            kind if kind.is_dir() => {
                add(&entry.path(), &format!("{name}/"), names);
                1
            }
            // It has times and inode numbers of the host.
            _ if name.ends_with(".nomount-manifest") => 0,
            kind if kind.is_file() => scratch::fingerprint(&entry.path()) ^ u64::from(meta.mode()),
            _ => 2,
        };
        names.insert(name, print);
    }
}

/// Whether a name is that of an image.
pub fn is_image(name: &str) -> bool {
    [".img", ".qcow2"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether a name is one that files have until they are complete, and that nothing else has.
pub fn is_temporary(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with(".nomount-") || part.starts_with("nomount-"))
}

/// All files that commands work on.
pub fn template() -> TempDir {
    let folder = scratch::folder();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let arg = |name: &str| path(name).to_str().unwrap().to_owned();
    let nomount = |args: &[&str]| {
        let ran = run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    };
    scratch::copy_as(&fixture::guest(), path("disk.qcow2"));
    scratch::raw_of(&path("disk.qcow2"), "qcow2").persist(path("disk.img")).unwrap();
    // The guest's root, as partition 1 of the disk has it.
    scratch::window(&path("disk.img"), 13_631_488, 53_460_480).persist(path("root.img")).unwrap();
    std::fs::write(path("ext2.img"), fixture::bytes("ext2-1k")).unwrap();
    nomount(&["mkfs", "-t", "ext4", "-U", "5eed0000-0000-4000-8000-0000000000aa", &arg("small.img"), "16M"]);
    nomount(&["mkfs", "-t", "vfat", &arg("esp.img"), "4M", "-L", "ESP", "-U", "1234-ABCD"]);
    nomount(&["mkdir", &format!("{}:/EFI", arg("esp.img"))]);
    nomount(&["write", &format!("{}:/EFI/note", arg("esp.img")), "--text", "hello"]);
    nomount(&["mkdir", &format!("{}:/EMPTY", arg("esp.img"))]);
    write("text", &"a line of text\n".repeat(2000));
    write("key.pub", &format!("{}\n", crate::common::KEY));
    write("web.toml", "hostname = \"web1\"\n\n[directories.\"/srv/www\"]\nmode = \"2775\"\n");
    write("script", "mkdir-p /srv/www\nwrite /srv/www/index.html hello\nchmod 0600 /etc/hosts\n");
    std::fs::create_dir_all(path("tree/sub")).unwrap();
    write("tree/one", &"one\n".repeat(3000));
    write("tree/sub/two", "two\n");
    std::os::unix::fs::symlink("one", path("tree/link")).unwrap();
    let tar = ran(Command::new("tar").args(["--owner=0", "--group=0", "-C"]).arg(folder.path()).args([
        "-cf",
        &arg("tree.tar"),
        "tree",
    ]));
    assert_eq!(tar.code, Some(0), "{tar:?}");
    write(
        "app.service",
        "[Unit]\nDescription=App\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
    );
    std::fs::copy(path("root.img"), path("unit.img")).unwrap();
    nomount(&["mkdir", "-p", &format!("{}:/usr/lib/systemd/system", arg("unit.img"))]);
    nomount(&["write", &format!("{}:/usr/lib/systemd/system/app.service", arg("unit.img")), &arg("app.service")]);
    let contexts = "/etc/selinux/mine/contexts/files";
    std::fs::copy(path("root.img"), path("labels.img")).unwrap();
    write("contexts", "/.* system_u:object_r:default_t:s0\n");
    nomount(&["mkdir", "-p", &format!("{}:{contexts}", arg("labels.img"))]);
    nomount(&["write", &format!("{}:{contexts}/file_contexts", arg("labels.img")), &arg("contexts")]);
    write("config", "SELINUX=enforcing\nSELINUXTYPE=mine\n");
    nomount(&["write", &format!("{}:/etc/selinux/config", arg("labels.img")), &arg("config")]);
    folder
}
