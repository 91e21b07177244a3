//! Indexes of directories: that each block is reached once, in order, and each name is where it is sought.

use super::dirs::Dir;
use super::{Checker, le16, le32};
use crate::checksum::crc32c;
use crate::dir::{Algorithm, Hasher};
use crate::error::Result;
use crate::features::{compat, incompat};
use crate::geometry::FileBlock;
use crate::inode::flags;
use nomount_block::ReadAt;
use std::collections::HashSet;

/// Byte offset of the root's own fields, after `.` and `..`.
const ROOT_INFO: usize = 24;
const ROOT_ENTRIES: usize = 32;
const NODE_ENTRIES: usize = 8;
const ENTRY: usize = 8;
/// Reserved word and checksum after the entries.
const TAIL: usize = 8;
/// The hash version of names that are encrypted and case-folded.
const SIPHASH: u8 = 6;
/// The bit of `unused_flags` that readers must know.
const INCOMPAT: u8 = 1;
/// Index blocks below the root, and with large_dir.
const LEVELS: u8 = 1;
const LARGE_LEVELS: u8 = 2;

/// Hashes that belong into a leaf: from its key, which has the lowest bit set where names with that hash are in the
/// leaf before, too, and below the key of the next leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    file_block: FileBlock,
    key: u32,
    next: u64,
    /// Its key, or that of the next leaf, is not in the node that leads to it but further up.
    first: bool,
    last: bool,
}

/// What a block of an indexed directory is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Root,
    Node,
    /// With what belongs into it, where the index leads to it.
    Leaf(Option<Leaf>),
}

/// An index that could be walked.
#[derive(Debug)]
pub(super) struct Index {
    /// None where names are hashed in ways that are not known here.
    hasher: Option<Hasher>,
    /// By their block.
    leaves: Vec<Leaf>,
    nodes: Vec<FileBlock>,
}

impl Index {
    pub fn role(&self, file_block: FileBlock) -> Role {
        if file_block == 0 {
            return Role::Root;
        }
        if self.nodes.binary_search(&file_block).is_ok() {
            return Role::Node;
        }
        let found = self.leaves.binary_search_by_key(&file_block, |leaf| leaf.file_block);
        Role::Leaf(found.ok().map(|at| self.leaves[at]))
    }

    /// Why a name would not be found in a leaf.
    pub fn misplaced(&self, leaf: Leaf, name: &[u8]) -> Option<(&'static str, String)> {
        let hash = self.hasher?.hash(name);
        let wide = u64::from(hash);
        if (leaf.key <= hash && wide < leaf.next) || leaf.key == hash | 1 {
            return None;
        }
        let found = format!("its hash is {hash:#010x}, the leaf has {:#010x} to {:#010x}", leaf.key, leaf.next);
        // e2fsck looks no further up than the node that leads to the leaf.
        Some(if hash < leaf.key {
            (if leaf.first { "NM_HTREE_MIN_HASH" } else { "PR_2_HTREE_MIN_HASH" }, found)
        } else if wide > leaf.next {
            (if leaf.last { "NM_HTREE_MAX_HASH" } else { "PR_2_HTREE_MAX_HASH" }, found)
        } else {
            // e2fsck does not look at the bit that says that a hash goes on in the next leaf.
            ("NM_HTREE_COLLISION", found)
        })
    }
}

/// A walk in progress.
struct Walk {
    index: Index,
    seen: HashSet<FileBlock>,
    sound: bool,
}

/// An index block to be walked: where it is, and the hashes it answers for.
#[derive(Clone, Copy)]
struct Node {
    file_block: FileBlock,
    entries_at: usize,
    levels: u8,
    key: u32,
    next: u64,
}

impl<D: ReadAt> Checker<'_, D> {
    /// Walks the index of a directory; none where its root is no root.
    pub(super) fn walk_index(&mut self, dir: &Dir) -> Result<Option<Index>> {
        if !self.geo.features.compat(compat::DIR_INDEX) {
            return Ok(None);
        }
        let place = || format!("inode {}, directory index root", dir.ino);
        let Some(block) = self.dir_block(dir, 0) else {
            self.corrupt("PR_1_HTREE_BADROOT", place(), "the first block is a hole", "");
            return Ok(None);
        };
        let bytes = self.fs.read_block(block)?;
        let info = &bytes[ROOT_INFO..ROOT_ENTRIES];
        let (version, info_len, levels, unused) = (info[4], info[5], info[6], info[7]);
        if le32(info, 0) != 0 || info_len != 8 {
            let found = format!("reserved word is {:#x}, info_length {info_len}", le32(info, 0));
            self.corrupt("PR_1_HTREE_BADROOT", place(), found, "0 and 8");
            return Ok(None);
        }
        let siphash = dir.has(flags::CASEFOLD) && dir.has(flags::ENCRYPT);
        if version > 2 && version != SIPHASH {
            self.corrupt("PR_1_HTREE_HASHV", place(), format!("hash version is {version}"), "0, 1, 2 or 6");
            return Ok(None);
        }
        if siphash != (version == SIPHASH) {
            let id = if siphash { "PR_1_HTREE_NEEDS_SIPHASH" } else { "PR_1_HTREE_CANNOT_SIPHASH" };
            self.corrupt(id, place(), format!("hash version is {version}"), "");
            return Ok(None);
        }
        if unused & INCOMPAT != 0 {
            self.corrupt("PR_1_HTREE_INCOMPAT", place(), format!("unused_flags is {unused:#x}"), "0");
            return Ok(None);
        }
        let deepest = if self.geo.features.incompat(incompat::LARGEDIR) { LARGE_LEVELS } else { LEVELS };
        if levels > deepest {
            let found = format!("indirect_levels is {levels}");
            self.corrupt("PR_1_HTREE_DEPTH", place(), found, format!("at most {deepest}"));
            return Ok(None);
        }
        // Case-folded names are hashed as they fold, by tables that are not known here.
        let known = Algorithm::from_version(version).filter(|_| !dir.has(flags::CASEFOLD));
        let hasher = known.map(|(algorithm, signed)| self.fs.hasher(algorithm, signed));
        let index = Index { hasher, leaves: Vec::new(), nodes: Vec::new() };
        let mut walk = Walk { index, seen: HashSet::from([0]), sound: true };
        let root = Node { file_block: 0, entries_at: ROOT_ENTRIES, levels, key: 0, next: 1 << 32 };
        self.walk_node(dir, &mut walk, root, &bytes)?;
        walk.index.leaves.sort_unstable_by_key(|leaf| leaf.file_block);
        walk.index.nodes.sort_unstable();
        if walk.sound {
            self.find_unreached(dir, &walk);
        }
        Ok(Some(walk.index))
    }

    fn find_unreached(&mut self, dir: &Dir, walk: &Walk) {
        for run in dir.first_run..dir.end_run {
            let run = self.dir_runs[run as usize];
            for file_block in run.file_block..run.file_block + run.len {
                if !walk.seen.contains(&file_block) {
                    let place = format!("inode {}, directory block {file_block}", dir.ino);
                    self.corrupt("PR_2_HTREE_NOTREF", place, "the index does not lead to it", "");
                }
            }
        }
    }

    fn walk_node(&mut self, dir: &Dir, walk: &mut Walk, node: Node, bytes: &[u8]) -> Result<()> {
        let Some(count) = self.check_index_block(dir, node, bytes) else {
            walk.sound = false;
            return Ok(());
        };
        let place = || format!("inode {}, directory index block {}", dir.ino, node.file_block);
        let entry = |at: usize| &bytes[node.entries_at + at * ENTRY..node.entries_at + (at + 1) * ENTRY];
        let mut before = node.key;
        for at in 0..count {
            let key = if at == 0 { node.key } else { le32(entry(at), 0) };
            let next = if at + 1 < count { u64::from(le32(entry(at + 1), 0)) } else { node.next };
            if key < before {
                let id = if key & !1 < before & !1 { "PR_2_HTREE_HASH_ORDER" } else { "NM_HTREE_HASH_ORDER" };
                let found = format!("entry {at} has hash {key:#010x} after {before:#010x}");
                self.corrupt(id, place(), found, "");
                walk.sound = false;
            }
            // e2fsck holds a node's hashes against each other and not against what leads to the node.
            if u64::from(key) > node.next && u64::from(before) <= node.next {
                let found = format!("entry {at} has hash {key:#010x}");
                self.corrupt("NM_HTREE_NODE_RANGE", place(), found, format!("at most {:#010x}", node.next));
            }
            before = key;
            // The high bits of the number are reserved.
            let file_block = le32(entry(at), 4) & 0x0FFF_FFFF;
            let Some(block) = self.dir_block(dir, file_block).filter(|_| file_block != 0) else {
                let found = format!("entry {at} leads to block {file_block}");
                self.corrupt("PR_2_HTREE_BADBLK", place(), found, "a block of the directory");
                walk.sound = false;
                continue;
            };
            if !walk.seen.insert(file_block) {
                let found = format!("entry {at} leads to block {file_block} for the second time");
                self.corrupt("PR_2_HTREE_DUPREF", place(), found, "");
                walk.sound = false;
                continue;
            }
            if node.levels == 0 {
                let (first, last) = (at == 0, at + 1 == count);
                walk.index.leaves.push(Leaf { file_block, key, next, first, last });
                continue;
            }
            walk.index.nodes.push(file_block);
            let below = Node { file_block, entries_at: NODE_ENTRIES, levels: node.levels - 1, key, next };
            let bytes = self.fs.read_block(block)?;
            self.walk_node(dir, walk, below, &bytes)?;
        }
        Ok(())
    }

    /// The shape and checksum of an index block. Gives how many entries it has.
    fn check_index_block(&mut self, dir: &Dir, node: Node, bytes: &[u8]) -> Option<usize> {
        let root = node.file_block == 0;
        let place = || format!("inode {}, directory index block {}", dir.ino, node.file_block);
        if !root {
            let len = match le16(bytes, 4) {
                65535 | 0 if bytes.len() == 65536 => 65536,
                len => usize::from(len),
            };
            if le32(bytes, 0) != 0 || len != bytes.len() || bytes[6] != 0 {
                self.corrupt("PR_2_HTREE_BAD_DEPTH", place(), "the block is no index node", "");
                return None;
            }
            if bytes[7] != 0 {
                // e2fsck looks for the checksum elsewhere then; where there is none, it does not mind.
                let found = format!("file type of the entry that hides the node is {}", bytes[7]);
                if self.geo.metadata_csum() {
                    self.corrupt("PR_2_HTREE_NODE_CSUM_INVALID", place(), found, "0");
                } else {
                    self.warn("NM_HTREE_NODE_TYPE", place(), found, "0");
                }
            }
        }
        let tail = if self.geo.metadata_csum() { TAIL } else { 0 };
        let room = (bytes.len() - node.entries_at - tail) / ENTRY;
        let limit = usize::from(le16(bytes, node.entries_at));
        let count = usize::from(le16(bytes, node.entries_at + 2));
        if limit != room {
            self.corrupt("PR_2_HTREE_BAD_LIMIT", place(), format!("limit is {limit}"), room.to_string());
            return None;
        }
        if count > limit || count == 0 {
            let id = if count == 0 { "NM_HTREE_BAD_COUNT" } else { "PR_2_HTREE_BAD_COUNT" };
            self.corrupt(id, place(), format!("count is {count}"), format!("1 to {limit}"));
            return None;
        }
        if tail > 0 {
            let at = node.entries_at + limit * ENTRY;
            let sum = crc32c(dir.seed, &bytes[..node.entries_at + count * ENTRY]);
            // The tail's reserved word as it stands, then a zero in place of the checksum.
            let wanted = crc32c(crc32c(sum, &bytes[at..at + 4]), &[0; 4]);
            let found = le32(bytes, at + 4);
            if found != wanted {
                let id = if root { "PR_2_HTREE_ROOT_CSUM_INVALID" } else { "PR_2_HTREE_NODE_CSUM_INVALID" };
                self.corrupt(id, place(), format!("checksum is {found:#010x}"), format!("{wanted:#010x}"));
            }
        }
        Some(count)
    }
}
