//! What a filesystem must hold after what was done to it: as much as tells whether something was lost.

use super::walk::walk;
use nomount_block::ReadAt;
use nomount_ext::Filesystem;
use std::collections::{BTreeMap, BTreeSet};

/// Longer files are not kept: what is in them is not compared any more.
pub const MAX_KEPT: usize = 256 << 10;

/// Names, contents and attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Directory and name, and the inode.
    pub names: BTreeMap<(u32, Vec<u8>), u32>,
    /// Regular files with all their bytes.
    pub contents: BTreeMap<u32, Vec<u8>>,
    /// Attributes that were set; none where one was removed.
    pub xattrs: BTreeMap<(u32, Vec<u8>), Option<Vec<u8>>>,
    pub dirs: BTreeSet<u32>,
}

fn contents<D: ReadAt>(fs: &Filesystem<D>, ino: u32) -> Option<Vec<u8>> {
    let len = usize::try_from(fs.inode(ino).ok()?.size()).ok().filter(|len| *len <= MAX_KEPT)?;
    let mut bytes = vec![0xEE; len];
    let read = fs.read(ino, 0, &mut bytes).ok()?;
    (read == len).then_some(bytes)
}

impl Model {
    /// What is there now.
    pub fn of<D: ReadAt>(fs: &Filesystem<D>) -> Self {
        let walk = walk(fs);
        let files = walk.files.iter().filter_map(|ino| Some((*ino, contents(fs, *ino)?)));
        Self {
            contents: files.collect(),
            names: walk.names.into_iter().map(|(dir, name, ino)| ((dir, name), ino)).collect(),
            xattrs: BTreeMap::new(),
            dirs: walk.dirs,
        }
    }

    /// A name is gone. The inode is forgotten with its last one.
    pub fn unname(&mut self, dir: u32, name: &[u8]) {
        let Some(ino) = self.names.remove(&(dir, name.to_vec())) else { return };
        if self.names.values().any(|other| *other == ino) {
            return;
        }
        self.contents.remove(&ino);
        self.xattrs.retain(|(owner, _), _| *owner != ino);
        if self.dirs.remove(&ino) {
            let below: Vec<_> = self.names.keys().filter(|(dir, _)| *dir == ino).cloned().collect();
            below.iter().for_each(|(dir, name)| self.unname(*dir, name));
        }
    }

    /// What the bytes from `offset` on are now, of a file that grows where they reach behind its end.
    pub fn put(&mut self, ino: u32, offset: usize, data: &[u8]) {
        let Some(bytes) = self.contents.get_mut(&ino) else { return };
        if offset + data.len() > MAX_KEPT {
            self.contents.remove(&ino);
            return;
        }
        // Writing nothing does not grow a file.
        if !data.is_empty() {
            bytes.resize(bytes.len().max(offset + data.len()), 0);
            bytes[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    /// The first difference to what a filesystem has.
    pub fn differs<D: ReadAt>(&self, fs: &Filesystem<D>) -> Option<String> {
        let found = walk(fs);
        if let Some(corrupt) = found.corrupt {
            return Some(corrupt);
        }
        let names: BTreeMap<_, _> = found.names.into_iter().map(|(dir, name, ino)| ((dir, name), ino)).collect();
        if names != self.names {
            let changed = |(key, ino): &(&(u32, Vec<u8>), &u32)| self.names.get(key) != Some(ino);
            let extra = names.iter().find(changed);
            let lost = self.names.iter().find(|(key, ino)| names.get(key) != Some(ino));
            return Some(format!("names: {extra:?} instead of {lost:?}"));
        }
        for (ino, bytes) in &self.contents {
            match contents(fs, *ino) {
                Some(found) if found == *bytes => {}
                found => {
                    let len = found.as_ref().map(Vec::len);
                    let at = found.and_then(|found| found.iter().zip(bytes).position(|(a, b)| a != b));
                    return Some(format!("file {ino}: {len:?} bytes of {}, differ at {at:?}", bytes.len()));
                }
            }
        }
        for ((ino, name), value) in &self.xattrs {
            let found = fs.xattrs(*ino).ok()?;
            let found = found.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            if found != value.as_ref() {
                return Some(format!("attribute {} of {ino}", name.escape_ascii()));
            }
        }
        None
    }
}
