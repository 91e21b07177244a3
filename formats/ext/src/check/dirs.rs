//! Directories: the entries of each block, and that no name is there twice.

use super::htree::{Index, Leaf, Role};
use super::inode_table::Note;
use super::{Checker, le16, le32};
use crate::checksum::crc32c;
use crate::error::Result;
use crate::features::incompat;
use crate::geometry::{BlockNr, FileBlock, Geometry};
use crate::inode::{Inode, ROOT_INO, flags};
use nomount_block::ReadAt;

const HEAD: usize = 8;
/// The entry at the end of a leaf that holds its checksum.
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xDE;
/// What an entry with a name of one byte takes, the least that may be.
const MIN_ENTRY: usize = 12;
/// Bytes of a directory that are read at once.
const READ: usize = 128 << 10;
/// Names whose hashes are held against each other at once (16 bytes each). A larger directory is looked at in parts.
const MAX_NAMES: usize = 1 << 22;
/// Encrypted names that are case-folded are followed by their hash.
const HASH_IN_ENTRY: usize = 8;

/// A directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dir {
    pub ino: u32,
    /// The directory with its name; 0 for none.
    pub parent: u32,
    /// What `..` stands for; 0 for nothing.
    pub dotdot: u32,
    pub flags: u32,
    /// Of the checksums of its blocks.
    pub seed: u32,
    pub first_run: u32,
    pub end_run: u32,
}

impl Dir {
    pub fn new(inode: &Inode, geo: &Geometry, first_run: usize, end_run: usize) -> Self {
        Self {
            ino: inode.ino(),
            parent: 0,
            dotdot: 0,
            flags: inode.flags(),
            seed: inode.csum_seed(geo),
            first_run: first_run as u32,
            end_run: end_run as u32,
        }
    }

    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Bytes of an entry with a name of that length. The first two entries never have a hash.
    fn entry_len(&self, name: usize, position: usize) -> usize {
        let hashed = self.has(flags::ENCRYPT) && self.has(flags::CASEFOLD) && position > 1;
        (HEAD + name).next_multiple_of(4) + if hashed { HASH_IN_ENTRY } else { 0 }
    }
}

/// Blocks of a directory that lie side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirRun {
    pub file_block: FileBlock,
    pub len: u32,
    pub block: BlockNr,
}

/// Part of a directory that holds entries.
struct Part<'b> {
    bytes: &'b [u8],
    file_block: FileBlock,
    /// Position of its first entry in the directory, as far as that matters: 0 for `.`, 1 for `..`, 2 for names.
    position: usize,
    /// What an index says of it, and the hash function.
    leaf: Option<(&'b Index, Leaf)>,
}

/// An entry.
#[derive(Clone, Copy)]
struct Entry<'b> {
    at: usize,
    ino: u32,
    file_type: u8,
    name: &'b [u8],
}

/// Where a name was seen: its hash, the block, the byte in it.
type Seen = (u64, FileBlock, u32);

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_directories(&mut self) -> Result<()> {
        let mut buf = Vec::new();
        let mut seen = Vec::new();
        let mut held = self.fs.budget.hold("names of a directory");
        for at in 0..self.dirs.len() {
            seen.clear();
            if self.dirs[at].has(flags::INLINE_DATA) {
                self.check_inline_dir(at, &mut seen)?;
            } else {
                self.check_dir(at, &mut buf, &mut seen)?;
            }
            self.check_duplicates(at, &mut seen)?;
            // Room for names is doubled, and kept.
            held.set(size_of_val(&seen[..]).max(held.bytes() as usize / 2) as u64 * 2)?;
            self.charge()?;
        }
        Ok(())
    }

    fn check_dir(&mut self, at: usize, buf: &mut Vec<u8>, seen: &mut Vec<Seen>) -> Result<()> {
        let dir = self.dirs[at];
        let index = if dir.has(flags::INDEX) { self.walk_index(&dir)? } else { None };
        let size = self.fs.block_size();
        let at_once = (READ / size).max(1) as u32;
        let mut first_seen = false;
        for run in dir.first_run..dir.end_run {
            let run = self.dir_runs[run as usize];
            first_seen |= run.file_block == 0;
            let mut done = 0;
            while done < run.len {
                let count = at_once.min(run.len - done);
                buf.resize(count as usize * size, 0);
                self.read_run(run.block + u64::from(done), buf)?;
                for (file_block, bytes) in (run.file_block + done..).zip(buf.chunks_exact(size)) {
                    self.check_block(at, file_block, bytes, index.as_ref(), seen);
                    if seen.len() >= MAX_NAMES {
                        self.check_duplicates(at, seen)?;
                        seen.clear();
                    }
                }
                done += count;
            }
        }
        if !first_seen {
            self.corrupt("PR_2_DIRECTORY_HOLE", format!("inode {}", dir.ino), "its first block is a hole", "");
        }
        Ok(())
    }

    fn check_block(
        &mut self,
        at: usize,
        file_block: FileBlock,
        bytes: &[u8],
        index: Option<&Index>,
        seen: &mut Vec<Seen>,
    ) {
        let dir = self.dirs[at];
        let role = index.map_or(Role::Leaf(None), |index| index.role(file_block));
        let mut end = bytes.len();
        let mut leaf = None;
        match role {
            Role::Node => return,
            Role::Root => {}
            Role::Leaf(range) => {
                leaf = index.zip(range);
                if self.geo.metadata_csum() {
                    end = self.check_tail(&dir, file_block, bytes);
                }
            }
        }
        let position = if file_block == 0 { 0 } else { 2 };
        let part = Part { bytes: &bytes[..end], file_block, position, leaf };
        self.check_entries(at, &part, bytes.len(), seen);
    }

    /// The checksum of a leaf. Gives where its entries end.
    fn check_tail(&mut self, dir: &Dir, file_block: FileBlock, bytes: &[u8]) -> usize {
        let end = bytes.len() - TAIL;
        let tail = &bytes[end..];
        let place = || format!("inode {}, directory block {file_block}", dir.ino);
        let there = le32(tail, 0) == 0 && le16(tail, 4) == TAIL as u16 && tail[6] == 0 && tail[7] == TAIL_TYPE;
        if !there {
            self.corrupt("PR_2_LEAF_NODE_MISSING_CSUM", place(), "checksum is missing", "");
            return bytes.len();
        }
        let (found, wanted) = (le32(tail, 8), crc32c(dir.seed, &bytes[..end]));
        if found != wanted {
            let found = format!("checksum is {found:#010x}");
            self.corrupt("PR_2_LEAF_NODE_ONLY_CSUM_INVALID", place(), found, format!("{wanted:#010x}"));
        }
        end
    }

    /// Entries that tile a part of a directory in blocks of `block_size` bytes.
    fn check_entries(&mut self, at: usize, part: &Part<'_>, block_size: usize, seen: &mut Vec<Seen>) {
        let dir = self.dirs[at];
        let bytes = part.bytes;
        let mut from = 0;
        let mut position = part.position;
        while from < bytes.len() {
            let rest = &bytes[from..];
            let (len, name_len) = if rest.len() < HEAD {
                (0, 0)
            } else {
                let len = match le16(rest, 4) {
                    65535 | 0 if block_size == 65536 => 65536,
                    len => usize::from(len),
                };
                (len, usize::from(rest[6]))
            };
            let least = dir.entry_len(name_len, position).max(MIN_ENTRY);
            if len < least || len > rest.len() || !len.is_multiple_of(4) {
                let place = format!("inode {}, directory block {}", dir.ino, part.file_block);
                let found = format!("entry at byte {from} has {len} bytes for a name of {name_len}");
                let wanted = format!("{least} to {}", rest.len());
                self.corrupt("PR_2_DIR_CORRUPTED", place, found, wanted);
                return;
            }
            let (ino, file_type, name) = (le32(rest, 0), rest[7], &rest[HEAD..HEAD + name_len]);
            let entry = Entry { at: from, ino, file_type, name };
            self.check_entry(at, part, &entry, position, len, seen);
            from += len;
            position += 1;
        }
    }

    fn entry_bad(&mut self, dir: &Dir, part: &Part<'_>, entry: &Entry<'_>, id: &'static str, found: String) {
        let name = entry.name.escape_ascii();
        let place = format!("inode {}, directory block {}, entry \"{name}\"", dir.ino, part.file_block);
        self.corrupt(id, place, found, "");
    }

    fn check_entry(
        &mut self,
        at: usize,
        part: &Part<'_>,
        entry: &Entry<'_>,
        position: usize,
        len: usize,
        seen: &mut Vec<Seen>,
    ) {
        let dir = self.dirs[at];
        match position {
            0 => self.check_dot(&dir, part, entry, len),
            1 => self.check_dotdot(at, part, entry),
            _ if entry.ino == dir.ino => {
                self.entry_bad(&dir, part, entry, "PR_2_LINK_DOT", "it stands for its own directory".to_owned());
            }
            _ => {}
        }
        if entry.ino == 0 {
            return;
        }
        if !self.check_target(&dir, part, entry, position) {
            return;
        }
        let note = self.notes.get(entry.ino);
        self.check_file_type(&dir, part, entry, note);
        let encrypted = dir.has(flags::ENCRYPT);
        if !encrypted && entry.name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            self.entry_bad(&dir, part, entry, "PR_2_BAD_NAME", "the name has a slash or a zero byte".to_owned());
        }
        if position > 1 {
            if let Some((index, leaf)) = part.leaf
                && let Some((id, found)) = index.misplaced(leaf, entry.name)
            {
                self.entry_bad(&dir, part, entry, id, found);
            }
            seen.push((fingerprint(entry.name), part.file_block, entry.at as u32));
            if note.is_dir() && !self.set_parent(&dir, part, entry) {
                return;
            }
        }
        let names = &mut self.notes.get_mut(entry.ino).names;
        *names = names.saturating_add(1);
    }

    fn check_dot(&mut self, dir: &Dir, part: &Part<'_>, entry: &Entry<'_>, len: usize) {
        let next = part.bytes.get(entry.at + HEAD + 1);
        let problem = if entry.ino == 0 {
            Some(("PR_2_MISSING_DOT", "the directory has no entry for itself".to_owned()))
        } else if entry.name != b"." {
            Some(("PR_2_1ST_NOT_DOT", "the first entry is not .".to_owned()))
        } else if next.is_some_and(|byte| *byte != 0) {
            Some(("PR_2_DOT_NULL_TERM", "no zero follows the name".to_owned()))
        } else {
            None
        };
        if let Some((id, found)) = problem {
            self.entry_bad(dir, part, entry, id, found);
        }
        if entry.ino != dir.ino {
            self.entry_bad(dir, part, entry, "PR_2_BAD_INODE_DOT", format!("it stands for inode {}", entry.ino));
        }
        if len > 2 * MIN_ENTRY {
            self.entry_bad(dir, part, entry, "PR_2_SPLIT_DOT", format!("it has {len} bytes"));
        } else if len != MIN_ENTRY {
            let place = format!("inode {}, directory block {}", dir.ino, part.file_block);
            self.warn("NM_DOT_LENGTH", place, format!("the entry . has {len} bytes"), MIN_ENTRY.to_string());
        }
    }

    fn check_dotdot(&mut self, at: usize, part: &Part<'_>, entry: &Entry<'_>) {
        let dir = self.dirs[at];
        let next = part.bytes.get(entry.at + HEAD + 2);
        let problem = if entry.ino == 0 {
            Some(("PR_2_MISSING_DOT_DOT", "the directory has no entry for its parent".to_owned()))
        } else if entry.name != b".." {
            Some(("PR_2_2ND_NOT_DOT_DOT", "the second entry is not ..".to_owned()))
        } else if next.is_some_and(|byte| *byte != 0) {
            Some(("PR_2_DOT_DOT_NULL_TERM", "no zero follows the name".to_owned()))
        } else {
            None
        };
        match problem {
            Some((id, found)) => self.entry_bad(&dir, part, entry, id, found),
            None => self.dirs[at].dotdot = entry.ino,
        }
    }

    /// Whether an entry may stand for its inode. Gives whether there is such an inode.
    fn check_target(&mut self, dir: &Dir, part: &Part<'_>, entry: &Entry<'_>, position: usize) -> bool {
        let ino = entry.ino;
        let sb = &self.fs.state.sb;
        let special = [
            sb.s_usr_quota_inum.get(),
            sb.s_grp_quota_inum.get(),
            sb.s_prj_quota_inum.get(),
            sb.s_orphan_file_inum.get(),
        ];
        if (ino != ROOT_INO && ino < self.geo.first_ino) || ino > self.geo.inodes_count || special.contains(&ino) {
            self.entry_bad(dir, part, entry, "PR_2_BAD_INO", format!("it stands for inode {ino}"));
            return false;
        }
        let id = match entry.name {
            b"." if position > 1 => Some("PR_2_DUP_DOT"),
            b".." if position > 1 => Some("PR_2_DUP_DOT_DOT"),
            _ if position > 1 && ino == ROOT_INO => Some("PR_2_LINK_ROOT"),
            b"" if position > 1 => Some("PR_2_NULL_NAME"),
            _ if self.values.contains_key(&ino) => Some("PR_2_EA_INODE_DIR_LINK"),
            _ => None,
        };
        if let Some(id) = id {
            self.entry_bad(dir, part, entry, id, format!("it stands for inode {ino}"));
        }
        let (group, index) = self.geo.group_of_inode(ino);
        let view = &self.groups[group as usize];
        let unused = self.geo.inodes_per_group - view.itable_unused.min(self.geo.inodes_per_group);
        if view.inode_uninit() {
            let found = format!("it stands for inode {ino}, whose group is uninitialised");
            self.entry_bad(dir, part, entry, "PR_2_INOREF_BG_INO_UNINIT", found);
        } else if index >= unused {
            let found = format!("it stands for inode {ino}, which its group counts as never used");
            self.entry_bad(dir, part, entry, "PR_2_INOREF_IN_UNUSED", found);
        } else if !self.notes.get(ino).has(Note::USED) {
            let found = format!("it stands for inode {ino}, which is not in use");
            self.entry_bad(dir, part, entry, "PR_2_UNUSED_INODE", found);
        }
        true
    }

    fn check_file_type(&mut self, dir: &Dir, part: &Part<'_>, entry: &Entry<'_>, note: Note) {
        if !self.geo.features.incompat(incompat::FILETYPE) {
            if entry.file_type != 0 {
                let found = format!("file type is {}, and the filesystem has no such feature", entry.file_type);
                self.entry_bad(dir, part, entry, "PR_2_CLEAR_FILETYPE", found);
            }
            return;
        }
        let wanted = note.bits & Note::TYPE;
        if !note.has(Note::USED) || note.has(Note::BROKEN) || entry.file_type == wanted {
            return;
        }
        let found = format!("file type is {}, that of inode {} {wanted}", entry.file_type, entry.ino);
        if entry.file_type == 0 {
            // Not told is not wrong: whoever reads it asks the inode.
            let place = format!("inode {}, directory block {}", dir.ino, part.file_block);
            self.warn("NM_FILETYPE_UNKNOWN", place, found, "");
        } else {
            self.entry_bad(dir, part, entry, "PR_2_BAD_FILETYPE", found);
        }
    }

    /// Remembers which directory has the name of another. Gives whether it is the first.
    fn set_parent(&mut self, dir: &Dir, part: &Part<'_>, entry: &Entry<'_>) -> bool {
        let Ok(child) = self.dirs.binary_search_by_key(&entry.ino, |dir| dir.ino) else { return true };
        let parent = self.dirs[child].parent;
        if parent != 0 {
            let found = format!("it stands for directory {}, which has a name in {parent} already", entry.ino);
            self.entry_bad(dir, part, entry, "PR_2_LINK_DIR", found);
            return false;
        }
        self.dirs[child].parent = dir.ino;
        true
    }

    /// A directory in its inode: the parent's number, entries up to the end of the map's fields, and entries in the
    /// value of `system.data`.
    fn check_inline_dir(&mut self, at: usize, seen: &mut Vec<Seen>) -> Result<()> {
        const PARENT: usize = 4;
        let dir = self.dirs[at];
        let Some(inode) = self.peek(dir.ino)? else { return Ok(()) };
        // Where there is no value, that was told with the inode.
        let Ok((start, more)) = self.fs.inline_parts(&inode) else { return Ok(()) };
        if !more.len().is_multiple_of(4) || (!more.is_empty() && more.len() < MIN_ENTRY) {
            let found = format!("{} bytes of entries in system.data", more.len());
            self.corrupt("PR_2_BAD_INLINE_DIR_SIZE", format!("inode {}", dir.ino), found, "a multiple of 4");
        }
        let parent = le32(&start, 0);
        self.dirs[at].dotdot = parent;
        let part = |bytes, file_block| Part { bytes, file_block, position: 2, leaf: None };
        let first = part(&start[PARENT..], 0);
        for (position, ino, name) in [(0, dir.ino, &b"."[..]), (1, parent, b"..")] {
            let file_type = if self.geo.features.incompat(incompat::FILETYPE) { 2 } else { 0 };
            let entry = Entry { at: 0, ino, file_type, name };
            if ino == 0 {
                let found = "the directory has no entry for its parent".to_owned();
                self.entry_bad(&dir, &first, &entry, "PR_2_MISSING_DOT_DOT", found);
            } else if self.check_target(&dir, &first, &entry, position) {
                self.check_file_type(&dir, &first, &entry, self.notes.get(ino));
                self.notes.get_mut(ino).names += 1;
            }
        }
        let block_size = self.fs.block_size();
        self.check_entries(at, &first, block_size, seen);
        self.check_entries(at, &part(&more, 1), block_size, seen);
        Ok(())
    }

    /// Names that are there twice among those seen.
    fn check_duplicates(&mut self, at: usize, seen: &mut [Seen]) -> Result<()> {
        seen.sort_unstable();
        let dir = self.dirs[at];
        for pair in seen.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let (one, other) = (self.name_at(&dir, pair[0])?, self.name_at(&dir, pair[1])?);
            if let Some(name) = one.filter(|name| Some(name) == other.as_ref()) {
                let (first, second) = (pair[0].1, pair[1].1);
                let place = format!("inode {}, directory block {second}, entry \"{}\"", dir.ino, name.escape_ascii());
                let found = format!("the name is in block {first}, too");
                // e2fsck looks for them inside each block only.
                if first == second {
                    self.corrupt("PR_2_REPORT_DUP_DIRENT", place, found, "");
                } else {
                    self.corrupt("NM_DUPLICATE_NAME", place, found, "");
                }
            }
        }
        Ok(())
    }

    /// A name that was seen before.
    fn name_at(&self, dir: &Dir, (_, file_block, at): Seen) -> Result<Option<Vec<u8>>> {
        let bytes = if dir.has(flags::INLINE_DATA) {
            let Some(inode) = self.peek(dir.ino)? else { return Ok(None) };
            let Ok((start, more)) = self.fs.inline_parts(&inode) else { return Ok(None) };
            if file_block == 0 { start[4..].to_vec() } else { more }
        } else {
            let Some(block) = self.dir_block(dir, file_block) else { return Ok(None) };
            self.fs.read_block(block)?.to_vec()
        };
        let rest = &bytes[at as usize..];
        Ok(rest.get(HEAD..HEAD + usize::from(rest[6])).map(<[u8]>::to_vec))
    }

    /// Where a block of a directory is.
    pub(super) fn dir_block(&self, dir: &Dir, file_block: FileBlock) -> Option<BlockNr> {
        let runs = &self.dir_runs[dir.first_run as usize..dir.end_run as usize];
        let after = runs.partition_point(|run| run.file_block <= file_block);
        let run = runs[..after].last()?;
        let skip = file_block - run.file_block;
        (skip < run.len).then(|| run.block + u64::from(skip))
    }
}

/// A number by which equal names find each other. Names with equal numbers are compared.
fn fingerprint(name: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    name.chunks(8).fold(name.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
        mixed ^ mixed >> 32
    })
}
