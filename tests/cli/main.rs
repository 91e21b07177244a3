//! The program from outside: exit codes, messages, what is and is not written.

#[path = "../common/mod.rs"]
mod common;

mod check;
mod compat;
mod confined;
mod copy;
mod customize;
mod disks;
mod edit;
mod fat;
mod files;
mod in_use;
mod inject;
mod locks;
mod look;
mod mkfs_os;
mod mounts;
mod names;
mod part;
mod partitions;
mod passwords;
mod refusals;
mod safety;
#[cfg(target_os = "linux")]
mod sandbox;
mod selinux;
mod signals;
mod tar;

use nomount_kit::{fixture, scratch};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The small guest in a folder of its own.
struct Guest {
    folder: TempDir,
    image: PathBuf,
}

impl Guest {
    fn new() -> Self {
        let folder = scratch::folder();
        let image = scratch::copy_as(&fixture::guest(), folder.path().join("guest.qcow2"));
        Self { folder, image }
    }

    fn arg(&self) -> String {
        common::text(&self.image)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names in its folder, sorted.
    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What must not change when nothing is to be written.
fn state(image: &Path) -> (u64, std::time::SystemTime) {
    (scratch::fingerprint(image), std::fs::metadata(image).unwrap().modified().unwrap())
}

/// The JSON document that a run printed.
fn json(ran: &common::Ran) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(document["schema"], 1, "{ran:?}");
    document
}
