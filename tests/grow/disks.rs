//! Disks to be grown: a filesystem with some files, in a partition or alone, raw or qcow2.

use crate::common::text;
use nomount_block::HostFile;
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, scratch, tool};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

/// How the disk is divided. The filesystem is in the last partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    None,
    Gpt,
    MbrPrimary,
    MbrLogical,
}

impl Layout {
    pub const ALL: [Self; 4] = [Self::None, Self::Gpt, Self::MbrPrimary, Self::MbrLogical];

    /// What sfdisk is told, for a disk of `size` bytes; and the first byte of the partition with the
    /// filesystem.
    fn script(self, size: u64) -> Option<(String, u64)> {
        let (size, first) = (size / MIB, "start=1MiB, size=2MiB");
        match self {
            Self::None => None,
            // As cloud images have it: the root is number 1 and last, 14 lies before it.
            Self::Gpt => Some((
                format!(
                    "label: gpt\nfirst-lba: 34\n14 : {first}, type=21686148-6449-6E6F-744E-656564454649\n1 : start=3MiB, size={}MiB, \
                     name=\"root\", attrs=\"LegacyBIOSBootable\"\n",
                    size - 4
                ),
                3 * MIB,
            )),
            Self::MbrPrimary => {
                let size = size - 4;
                Some((format!("label: dos\n{first}, type=82\nstart=3MiB, size={size}MiB, bootable\n"), 3 * MIB))
            }
            Self::MbrLogical => Some((
                format!(
                    "label: dos\n{first}, type=83\nstart=3MiB, size={}MiB, type=5\nstart=4MiB, size=2MiB, type=82\n\
                     start=7MiB, size={}MiB\n",
                    size - 4,
                    size - 8
                ),
                7 * MIB,
            )),
        }
    }
}

/// A disk and what is known of it.
pub struct Disk {
    pub folder: TempDir,
    pub image: PathBuf,
    pub is_qcow2: bool,
    pub layout: Layout,
    /// First byte of the partition with the filesystem.
    pub start: u64,
    pub block: u64,
}

fn run(command: &mut std::process::Command) -> String {
    let done = tool::output(command);
    assert!(done.status.success(), "{command:?}: {}", tool::text(&done));
    tool::text(&done)
}

/// A small tree of the host that mke2fs copies.
fn tree() -> TempDir {
    let folder = scratch::folder();
    for number in 0..40u32 {
        let dir = folder.path().join(format!("d{}", number % 5));
        std::fs::create_dir_all(&dir).unwrap();
        let bytes: Vec<u8> = (0..number * 97).flat_map(|word| (word * number).to_le_bytes()).collect();
        std::fs::write(dir.join(format!("file-{number}")), bytes).unwrap();
    }
    std::os::unix::fs::symlink("d1/file-1", folder.path().join("link")).unwrap();
    folder
}

impl Disk {
    /// Of `size` bytes, with a filesystem that mke2fs makes with `args`.
    pub fn new(layout: Layout, is_qcow2: bool, size: u64, args: &[&str]) -> Self {
        let folder = scratch::folder();
        let raw = folder.path().join("disk.img");
        File::create_new(&raw).unwrap().set_len(size).unwrap();
        let (mut start, mut len) = (0, size);
        if let Some((script, at)) = layout.script(size) {
            let mut command = tool::command("sfdisk");
            let mut child = command.arg("-q").arg(&raw).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{script}");
            start = at;
            len = size - at - MIB;
        }
        let block: u64 = args[args.iter().position(|arg| *arg == "-b").unwrap() + 1].parse().unwrap();
        let files = tree();
        let mut mke2fs = tool::command("mke2fs");
        mke2fs.args(["-q", "-F", "-d"]).arg(files.path()).args(args);
        mke2fs.arg("-E").arg(format!("offset={start}")).arg(&raw).arg((len / block).to_string());
        run(&mut mke2fs);
        let image = if is_qcow2 {
            let image = folder.path().join("disk.qcow2");
            run(tool::command("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&image));
            std::fs::remove_file(&raw).unwrap();
            image
        } else {
            raw
        };
        Self { folder, image, is_qcow2, layout, start, block }
    }

    pub fn format(&self) -> &'static str {
        if self.is_qcow2 { "qcow2" } else { "raw" }
    }

    /// Asks all judges; gives what the disk holds.
    #[track_caller]
    pub fn judge(&self) -> Seen {
        self.judge_image(&self.image)
    }

    /// As [`Self::judge`], of another image of the same disk.
    #[track_caller]
    pub fn judge_image(&self, image: &Path) -> Seen {
        if self.is_qcow2 {
            judges::qemu_img_check(image, Leaks::Allowed).unwrap();
        }
        let raw = if self.is_qcow2 { scratch::raw_of(image, "qcow2") } else { scratch::copy(image) };
        let disk = HostFile::new(File::open(&raw).unwrap(), false).unwrap();
        if self.layout == Layout::Gpt {
            judges::sgdisk_v(&raw).unwrap();
        }
        let table = (self.layout != Layout::None).then(|| {
            run(tool::command("sfdisk").arg("--verify").arg(&raw));
            judges::sfdisk_json(&raw).unwrap()
        });
        judges::e2fsck_fn(&raw, self.start).unwrap();
        let dump = run(tool::command("dumpe2fs").arg("-h").arg(format!("{}?offset={}", text(&raw), self.start)));
        let line = dump.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap();
        Seen {
            disk: nomount_block::ReadAt::len(&disk),
            table,
            blocks: line.trim().parse().unwrap(),
            tree: TreeDigest::of_ext(&raw, self.start),
        }
    }
}

/// What a disk holds, as the judges see it.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub disk: u64,
    pub table: Option<serde_json::Value>,
    pub blocks: u64,
    pub tree: TreeDigest,
}
