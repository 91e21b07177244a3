//! Use of space and inodes by owner, group and project, against what the quota files say (format of version 2,
//! revision 1: a tree of four levels over the identities, in blocks of 1 KiB).

use super::inodes::EA_INODE;
use super::{Checker, le16, le32};
use crate::error::{Error, Result};
use crate::features::ro_compat;
use crate::geometry::{FileBlock, Geometry};
use crate::inode::Inode;
use nomount_block::ReadAt;
use std::collections::{BTreeMap, HashSet};

const BLOCK: usize = 1024;
/// The first block of the tree, after the header.
const ROOT: u32 = 1;
const LEVELS: u32 = 4;
const MAGICS: [(&str, u32); 3] = [("user", 0xD9C0_1F11), ("group", 0xD9C0_1927), ("project", 0xD9C0_3F14)];
/// The inodes that are reserved for them; that of projects is an ordinary one.
pub(super) const USER_INO: u32 = 3;
pub(super) const GROUP_INO: u32 = 4;
/// Header of a block of entries, and an entry.
const HEADER: usize = 16;
const ENTRY: usize = 72;
/// Identities whose use is counted; a filesystem with more is not held against its files.
const MAX_IDENTITIES: usize = 1 << 20;

/// Bytes and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    space: u64,
    inodes: u64,
}

/// What each identity uses, by kind of quota.
#[derive(Debug, Default)]
pub(super) struct Usage {
    kinds: [BTreeMap<u32, Used>; 3],
    too_many: bool,
}

/// Memory of an identity.
const IDENTITY_BYTES: u64 = 48;

impl Usage {
    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.len() as u64 * IDENTITY_BYTES).sum()
    }

    /// Counts an inode, its attributes' inodes among them.
    pub fn count(&mut self, inode: &Inode, space: u64, inodes: u64, geo: &Geometry) {
        if !geo.features.ro_compat(ro_compat::QUOTA) || inode.has_flag(EA_INODE) {
            return;
        }
        let owners = [inode.uid(), inode.gid(), inode.project()];
        for (kind, id) in self.kinds.iter_mut().zip(owners) {
            if kind.len() >= MAX_IDENTITIES && !kind.contains_key(&id) {
                self.too_many = true;
                continue;
            }
            let used = kind.entry(id).or_default();
            used.space = used.space.saturating_add(space);
            used.inodes += inodes;
        }
    }
}

impl<D: ReadAt> Checker<'_, D> {
    /// Which inodes may hold quota files.
    pub(super) fn check_quota_inodes(&mut self) {
        for ((kind, _), ino) in MAGICS.into_iter().zip(self.quota_inodes()) {
            let reserved = ino < self.geo.first_ino && !matches!(ino, 0 | USER_INO | GROUP_INO);
            if reserved || ino > self.geo.inodes_count {
                let found = format!("{kind} quota is in inode {ino}");
                self.corrupt("PR_0_INVALID_QUOTA_INO", "superblock", found, "");
            }
        }
    }

    pub(super) fn check_quota(&mut self) -> Result<()> {
        if !self.geo.features.ro_compat(ro_compat::QUOTA) {
            return Ok(());
        }
        let usage = std::mem::take(&mut self.usage);
        if usage.too_many {
            let found = format!("more than {MAX_IDENTITIES} owners: the quota files are not looked into");
            self.warn("NM_LIMIT", "quota", found, "");
            return Ok(());
        }
        for (at, ino) in self.quota_inodes().into_iter().enumerate() {
            if ino == 0 {
                continue;
            }
            if ino <= self.geo.inodes_count {
                self.check_quota_file(at, ino, &usage.kinds[at])?;
            }
        }
        Ok(())
    }

    fn check_quota_file(&mut self, at: usize, ino: u32, wanted: &BTreeMap<u32, Used>) -> Result<()> {
        let (kind, magic) = MAGICS[at];
        let place = format!("inode {ino}, {kind} quota");
        let file = match self.fs.inode(ino) {
            Ok(inode) => inode,
            Err(error @ Error::Device(_)) => return Err(error),
            // Told with the inode.
            Err(_) => return Ok(()),
        };
        let Some(header) = self.quota_block(&file, 0)? else {
            self.corrupt("PR_6_UPDATE_QUOTAS", place, "it has no header", "");
            return Ok(());
        };
        if le32(&header, 0) != magic || le32(&header, 4) != 1 {
            let found = format!("magic is {:#010x}, version {}", le32(&header, 0), le32(&header, 4));
            self.corrupt("PR_6_UPDATE_QUOTAS", place, found, format!("{magic:#010x}, 1"));
            return Ok(());
        }
        let mut found = BTreeMap::new();
        let mut seen = HashSet::from([0]);
        if !self.walk_quota(&file, ROOT, LEVELS, &mut seen, &mut found)? {
            self.corrupt("PR_6_UPDATE_QUOTAS", place, "its tree leads nowhere or comes back", "");
            return Ok(());
        }
        // What a change counted and has not written to the files yet.
        for (_, id, space, inodes) in self.fs.state.ledger.pending().filter(|(kind, ..)| *kind == at) {
            let used: &mut Used = found.entry(id).or_default();
            used.space = used.space.saturating_add_signed(space);
            used.inodes = used.inodes.saturating_add_signed(inodes);
        }
        let ids: HashSet<u32> = found.keys().chain(wanted.keys()).copied().collect();
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        for id in ids {
            let (found, wanted) =
                (found.get(&id).copied().unwrap_or_default(), wanted.get(&id).copied().unwrap_or_default());
            if found != wanted {
                let found = format!("{kind} {id} uses {} bytes and {} inodes", found.space, found.inodes);
                let wanted = format!("{} and {}", wanted.space, wanted.inodes);
                self.corrupt("PR_6_UPDATE_QUOTAS", place.clone(), found, wanted);
            }
        }
        Ok(())
    }

    fn quota_block(&self, file: &Inode, block: u32) -> Result<Option<Vec<u8>>> {
        let (at, bs) = (u64::from(block) * BLOCK as u64, u64::from(self.geo.block_size));
        let Ok(file_block) = FileBlock::try_from(at / bs) else { return Ok(None) };
        let home = match self.fs.map_block(file, file_block) {
            Ok(mapping) => mapping.block.filter(|_| at < file.size() && !mapping.unwritten),
            Err(error @ Error::Device(_)) => return Err(error),
            Err(_) => None,
        };
        let Some(home) = home.filter(|home| self.geo.contains(*home, 1)) else { return Ok(None) };
        // A change writes the tree as metadata, block by block.
        let bytes = self.fs.read_block(home)?;
        let from = (at % bs) as usize;
        Ok(bytes.get(from..from + BLOCK).map(<[u8]>::to_vec))
    }

    /// Gathers the entries below a block of the tree. Each block is visited once.
    fn walk_quota(
        &self,
        file: &Inode,
        block: u32,
        levels: u32,
        seen: &mut HashSet<u32>,
        found: &mut BTreeMap<u32, Used>,
    ) -> Result<bool> {
        // Several identities share a block of entries.
        if !seen.insert(block) {
            return Ok(levels == 0);
        }
        let Some(bytes) = self.quota_block(file, block)? else { return Ok(false) };
        if levels > 0 {
            for child in bytes.chunks_exact(4).map(|child| le32(child, 0)).filter(|child| *child != 0) {
                if !self.walk_quota(file, child, levels - 1, seen, found)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if usize::from(le16(&bytes, 8)) > (BLOCK - HEADER) / ENTRY {
            return Ok(false);
        }
        let word = |entry: &[u8], at: usize| u64::from(le32(entry, at + 4)) << 32 | u64::from(le32(entry, at));
        for entry in bytes[HEADER..].chunks_exact(ENTRY).filter(|entry| entry.iter().any(|byte| *byte != 0)) {
            found.insert(le32(entry, 0), Used { inodes: word(entry, 24), space: word(entry, 48) });
        }
        Ok(true)
    }
}
