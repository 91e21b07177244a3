//! What an image holds, as the judges see it, whatever the bytes between.

use super::files::{Names, names};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, scratch, tool};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One image: its length, its table, its filesystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(Arc<(u64, Option<serde_json::Value>, Vec<Content>)>);

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Ext(TreeDigest),
    /// Its files, as mtools reads them.
    Fat(Names),
    /// Everything else: its bytes.
    Other(u64),
}

impl State {
    /// In what this is neither of the two.
    pub fn unlike(&self, old: &Self, new: &Self) -> String {
        let one = |other: &Self| {
            let trees = self.0.2.iter().zip(&other.0.2).filter_map(|pair| match pair {
                (Content::Ext(a), Content::Ext(b)) => Some(format!("{:?}", a.diff(b))),
                _ => None,
            });
            let trees: String = trees.collect();
            format!("length {}, {}; {}", self.0.0, other.0.0, &trees[..trees.len().min(600)])
        };
        format!("from old {}; from new {}", one(old), one(new))
    }
}

/// States of images that were looked at.
#[derive(Debug, Default)]
pub struct States {
    known: Mutex<HashMap<u64, State>>,
}

impl States {
    /// The state of an image, which must be sound.
    pub fn of(&self, image: &Path) -> State {
        let print = scratch::fingerprint(image);
        if let Some(known) = self.known.lock().unwrap().get(&print) {
            return known.clone();
        }
        let state = look(image);
        self.known.lock().unwrap().insert(print, state.clone());
        state
    }
}

fn starts(file: &File, at: u64, magic: &[u8]) -> bool {
    let mut there = vec![0; magic.len()];
    file.read_exact_at(&mut there, at).is_ok() && there == magic
}

fn look(image: &Path) -> State {
    let file = File::open(image).unwrap();
    if starts(&file, 0, b"QFI\xfb") {
        judges::qemu_img_check(image, Leaks::Allowed).unwrap_or_else(|complaint| panic!("{complaint}"));
        return look(&scratch::raw_of(image, "qcow2"));
    }
    let len = file.metadata().unwrap().len();
    if starts(&file, 512, b"EFI PART") {
        judges::sgdisk_v(image).unwrap_or_else(|complaint| panic!("{complaint}"));
        let table = judges::sfdisk_json(image).unwrap_or_else(|complaint| panic!("{complaint}"));
        let sector = |partition: &serde_json::Value, name: &str| partition[name].as_u64().unwrap() * 512;
        let parts = table["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let parts =
            parts.iter().map(|part| content(&scratch::window(image, sector(part, "start"), sector(part, "size"))));
        let parts = parts.collect();
        return State(Arc::new((len, Some(table), parts)));
    }
    State(Arc::new((len, None, vec![content(&scratch::copy(image))])))
}

/// A filesystem in a file that may be changed.
fn content(volume: &Path) -> Content {
    let file = File::open(volume).unwrap();
    if starts(&file, 1080, &[0x53, 0xEF]) {
        judges::e2fsck_recover(volume, 0).unwrap_or_else(|complaint| panic!("{complaint}"));
        judges::e2fsck_fn(volume, 0).unwrap_or_else(|complaint| panic!("{complaint}"));
        return Content::Ext(TreeDigest::of_ext(volume, 0));
    }
    if starts(&file, 54, b"FAT") || starts(&file, 82, b"FAT") {
        let len = file.metadata().unwrap().len();
        judges::fsck_fat_n(volume, 0, len).unwrap_or_else(|complaint| panic!("{complaint}"));
        let folder = scratch::folder();
        let mut mcopy = tool::command("mcopy");
        let done = tool::output(
            mcopy
                .env("MTOOLS_SKIP_CHECK", "1")
                .args(["-s", "-p", "-m", "-i"])
                .arg(volume)
                .arg("::/")
                .arg(folder.path()),
        );
        assert!(done.status.success(), "{}", tool::text(&done));
        return Content::Fat(names(folder.path()));
    }
    Content::Other(scratch::fingerprint(volume))
}
