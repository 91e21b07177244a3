//! Extended attributes, in inodes and in blocks that several inodes may share.

use super::inodes::EA_INODE;
use super::{Checker, le16, le32};
use crate::error::Result;
use crate::features::{compat, incompat};
use crate::geometry::BlockNr;
use crate::inode::{Inode, ROOT_INO, flags};
use crate::xattr::acl_form::Acl;
use nomount_block::ReadAt;

const MAGIC: u32 = 0xEA02_0000;
const BLOCK_HEADER: usize = 32;
const ENTRY: usize = 16;
/// The list of entries ends with a zero word.
const TERMINATOR: usize = 4;
/// `e_name_index` of POSIX ACLs.
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;
/// Name space and name of the attribute with an encryption context.
const ENCRYPTION: (u8, &[u8]) = (9, b"c");
/// Most inodes that share one block (EXT4_XATTR_REFCOUNT_MAX).
const MAX_REFCOUNT: u32 = 1024;

/// What an inode's attributes add to its count of blocks, and how many inodes they take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    /// Blocks.
    pub blocks: u64,
    /// Inodes with values.
    pub inodes: u64,
    /// One of them says how the contents are encrypted.
    pub encryption: bool,
}

/// An attribute block and who uses it.
#[derive(Debug)]
pub(super) struct Shared {
    refcount: u32,
    users: u32,
    attributes: Attributes,
}

/// An entry of a list, its name in range.
struct Entry<'a> {
    at: usize,
    index: u8,
    name: &'a [u8],
    value_at: usize,
    value_inode: u32,
    value_size: usize,
    hash: u32,
}

/// Where a list is.
#[derive(Clone, Copy)]
enum Home {
    /// Byte offset of the first entry in the inode.
    Inode(usize),
    Block(BlockNr),
}

impl Home {
    /// Where entries start, and where offsets of values count from.
    fn starts(self) -> (usize, usize) {
        match self {
            Self::Inode(start) => (start, start),
            Self::Block(_) => (BLOCK_HEADER, 0),
        }
    }

    fn id(self, in_inode: &'static str, in_block: &'static str) -> &'static str {
        match self {
            Self::Inode(_) => in_inode,
            Self::Block(_) => in_block,
        }
    }

    fn place(self, inode: &Inode) -> String {
        match self {
            Self::Inode(_) => format!("{}, extended attributes", inode.place()),
            Self::Block(block) => format!("{}, extended attribute block {block}", inode.place()),
        }
    }
}

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_xattrs(&mut self, inode: &Inode) -> Result<Attributes> {
        let mut all = Attributes::default();
        let extra = inode.extra_isize();
        let start = 128 + extra + 4;
        let bytes = inode.bytes();
        if extra >= 4 && extra.is_multiple_of(4) && start + TERMINATOR <= bytes.len() && le32(bytes, start - 4) == MAGIC
        {
            all = self.check_list(inode, bytes, Home::Inode(start))?;
        }
        if inode.file_acl() != 0 {
            let found = self.check_xattr_block(inode)?;
            all.blocks += found.blocks;
            all.inodes += found.inodes;
            all.encryption |= found.encryption;
        }
        if inode.has_flag(flags::ENCRYPT) && !all.encryption {
            let found = "it is encrypted, and no attribute says how";
            self.corrupt("PR_1_MISSING_ENCRYPTION_XATTR", inode.place(), found, "");
        }
        Ok(all)
    }

    fn check_xattr_block(&mut self, inode: &Inode) -> Result<Attributes> {
        let block = inode.file_acl();
        if !self.geo.features.compat(compat::EXT_ATTR) {
            let found = format!("attribute block {block}, and the filesystem has no such feature");
            self.corrupt("PR_2_FILE_ACL_ZERO", inode.place(), found, "0");
            return Ok(Attributes::default());
        }
        if !self.geo.contains(block, 1) {
            let wanted = format!("less than {}", self.geo.blocks_count);
            // e2fsck tells it with the names of an inode.
            let named = inode.ino() == ROOT_INO || inode.ino() >= self.geo.first_ino;
            let id = if named { "PR_2_FILE_ACL_BAD" } else { "NM_FILE_ACL_BAD" };
            self.corrupt(id, inode.place(), format!("attribute block is {block}"), wanted);
            return Ok(Attributes::default());
        }
        if let Some(shared) = self.xattr_blocks.get_mut(&block) {
            shared.users += 1;
            return Ok(shared.attributes);
        }
        let home = Home::Block(block);
        let cluster = self.cluster(block);
        if self.used.insert(cluster, 1).is_some() {
            self.corrupt("PR_1B_DUP_BLOCK", home.place(inode), format!("block {block} is used by something else"), "");
        }
        let bytes = self.fs.read_block(block)?;
        let refcount = le32(&bytes, 4);
        let mut attributes = Attributes { blocks: self.ratio(), ..Attributes::default() };
        if le32(&bytes, 0) != MAGIC {
            let found = format!("magic is {:#010x}", le32(&bytes, 0));
            self.corrupt("PR_1_BAD_EA_BLOCK", home.place(inode), found, format!("{MAGIC:#010x}"));
        } else {
            if le32(&bytes, 8) != 1 {
                let found = format!("h_blocks is {}", le32(&bytes, 8));
                self.corrupt("PR_1_EA_MULTI_BLOCK", home.place(inode), found, "1");
            }
            let wanted = self.fs.xattr_checksum(block, &bytes);
            if self.geo.metadata_csum() && le32(&bytes, 0x10) != wanted {
                let found = format!("checksum is {:#010x}", le32(&bytes, 0x10));
                let id = "PR_1_EA_BLOCK_ONLY_CSUM_INVALID";
                self.corrupt(id, home.place(inode), found, format!("{wanted:#010x}"));
            }
            if refcount > MAX_REFCOUNT {
                let found = format!("h_refcount is {refcount}");
                self.warn("NM_EA_REFCOUNT", home.place(inode), found, format!("at most {MAX_REFCOUNT}"));
            }
            let found = self.check_list(inode, &bytes, home)?;
            attributes.blocks += found.blocks;
            attributes.inodes += found.inodes;
            attributes.encryption = found.encryption;
        }
        self.xattr_blocks.insert(block, Shared { refcount, users: 1, attributes });
        Ok(attributes)
    }

    /// How many inodes use each attribute block.
    pub(super) fn check_xattr_counts(&mut self) {
        for (block, shared) in std::mem::take(&mut self.xattr_blocks) {
            if shared.refcount != shared.users {
                let found = format!("h_refcount is {}", shared.refcount);
                let place = format!("extended attribute block {block}");
                self.corrupt("PR_1_EXTATTR_REFCOUNT", place, found, shared.users.to_string());
            }
        }
    }

    fn check_list(&mut self, inode: &Inode, bytes: &[u8], home: Home) -> Result<Attributes> {
        let mut all = Attributes::default();
        let entries = match self.read_list(inode, bytes, home) {
            Some(entries) => entries,
            None => return Ok(all),
        };
        let block_size = u64::from(self.geo.block_size);
        let mut hashes_right = true;
        for entry in &entries {
            all.encryption |= (entry.index, entry.name) == ENCRYPTION;
            if entry.value_inode != 0 {
                if self.check_value_reference(inode, entry, home)? {
                    let cluster = block_size * self.ratio();
                    all.blocks += (entry.value_size as u64).div_ceil(cluster) * self.ratio();
                }
                all.inodes += 1;
                continue;
            }
            // The hash is over whole words, whatever fills the last one up.
            let padded = &bytes[entry.value_at..entry.value_at + entry.value_size.next_multiple_of(4)];
            let value = &padded[..entry.value_size];
            // In inodes the hash is left out by most writers.
            let left_out = entry.hash == 0 && matches!(home, Home::Inode(_));
            if !left_out && !is_hash_of(entry, words(padded)) {
                hashes_right = false;
                let found = format!("hash of attribute at byte {} is {:#010x}", entry.at, entry.hash);
                let wanted = format!("{:#010x}", hash(entry.name, words(padded), false));
                self.corrupt("PR_1_ATTR_HASH", home.place(inode), found, wanted);
            }
            if matches!(entry.index, ACL_ACCESS | ACL_DEFAULT)
                && let Err(error) = Acl::from_disk(value)
            {
                self.corrupt("NM_ACL", home.place(inode), error.to_string(), "");
            }
        }
        self.check_order(inode, home, &entries);
        if let (Home::Block(_), true) = (home, hashes_right) {
            self.check_block_hash(inode, bytes, home, &entries);
        }
        Ok(all)
    }

    /// Names are sought in their order in blocks; none may be there twice.
    fn check_order(&mut self, inode: &Inode, home: Home, entries: &[Entry<'_>]) {
        let key = |entry: &Entry<'_>| (entry.index, entry.name.len(), entry.name.to_vec());
        let mut keys: Vec<_> = entries.iter().map(key).collect();
        if let Home::Block(_) = home
            && !keys.is_sorted()
        {
            self.corrupt("NM_EA_UNSORTED", home.place(inode), "attributes are not in order", "");
        }
        keys.sort();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            self.corrupt("NM_EA_DUPLICATE", home.place(inode), "an attribute is there twice", "");
        }
    }

    /// The hash by which equal blocks find each other; 0 where a block is not to be shared.
    fn check_block_hash(&mut self, inode: &Inode, bytes: &[u8], home: Home, entries: &[Entry<'_>]) {
        let combined = if entries.iter().any(|entry| entry.hash == 0) {
            0
        } else {
            entries.iter().fold(0u32, |hash, entry| hash.rotate_left(16) ^ entry.hash)
        };
        let found = le32(bytes, 0xC);
        if found != combined && found != 0 {
            let found = format!("h_hash is {found:#010x}");
            self.warn("NM_EA_BLOCK_HASH", home.place(inode), found, format!("{combined:#010x}"));
        }
    }

    /// The entries of a list, whose names and values lie inside and do not overlap; none where they do.
    fn read_list<'b>(&mut self, inode: &Inode, bytes: &'b [u8], home: Home) -> Option<Vec<Entry<'b>>> {
        let (start, values) = home.starts();
        let mut entries = Vec::new();
        let mut spans = Vec::new();
        let mut at = start;
        loop {
            let Some(word) = bytes.get(at..at + TERMINATOR) else {
                let id = home.id("PR_1_INODE_EA_ALLOC_COLLISION", "PR_1_EA_ALLOC_COLLISION");
                self.corrupt(id, home.place(inode), "the list has no end", "");
                return None;
            };
            if word == [0; TERMINATOR] {
                spans.push((at, at + TERMINATOR));
                break;
            }
            let Some(name) = bytes.get(at + ENTRY..).and_then(|rest| rest.get(..usize::from(bytes[at]))) else {
                let id = home.id("PR_1_ATTR_NAME_LEN", "PR_1_EA_ALLOC_COLLISION");
                let found = format!("attribute at byte {at} has a name of {} bytes", bytes[at]);
                self.corrupt(id, home.place(inode), found, "less");
                return None;
            };
            let entry = Entry {
                at,
                index: bytes[at + 1],
                name,
                value_at: values + usize::from(le16(bytes, at + 2)),
                value_inode: le32(bytes, at + 4),
                value_size: le32(bytes, at + 8) as usize,
                hash: le32(bytes, at + 12),
            };
            let next = at + ENTRY + name.len().next_multiple_of(4);
            spans.push((at, next));
            if let (Home::Block(_), 0) = (home, entry.index) {
                let found = format!("attribute at byte {at} has no name space");
                self.corrupt("PR_1_EA_BAD_NAME", home.place(inode), found, "");
                return None;
            }
            if entry.value_inode == 0 {
                let end = entry.value_at.checked_add(entry.value_size.next_multiple_of(4));
                // In inodes the offset of an empty value means nothing.
                let told = entry.value_size > 0 || matches!(home, Home::Block(_));
                if told && end.is_none_or(|end| end > bytes.len()) {
                    let id = home.id("PR_1_ATTR_VALUE_SIZE", "PR_1_EA_BAD_VALUE");
                    let found = format!("value of {} bytes at byte {}", entry.value_size, entry.value_at);
                    self.corrupt(id, home.place(inode), found, format!("less than {}", bytes.len()));
                    return None;
                }
                if entry.value_size > 0 {
                    spans.push((entry.value_at, entry.value_at + entry.value_size.next_multiple_of(4)));
                }
            }
            let value_at = if entry.value_size == 0 { 0 } else { entry.value_at };
            entries.push(Entry { value_at, ..entry });
            at = next;
        }
        spans.sort_unstable();
        let outside = spans[0].0 < start;
        if outside || spans.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            let id = home.id("PR_1_INODE_EA_ALLOC_COLLISION", "PR_1_EA_ALLOC_COLLISION");
            self.corrupt(id, home.place(inode), "attributes overlap", "");
            return None;
        }
        Some(entries)
    }

    /// An attribute whose value is in an inode of its own. Gives whether its blocks count for the owner.
    fn check_value_reference(&mut self, inode: &Inode, entry: &Entry<'_>, home: Home) -> Result<bool> {
        let holder = entry.value_inode;
        if !self.geo.features.incompat(incompat::EA_INODE) {
            let found = format!("a value is in inode {holder}, and the filesystem has no such feature");
            self.corrupt("PR_1_EA_INODE_FEATURE", home.place(inode), found, "");
        }
        if holder < self.geo.first_ino || holder > self.geo.inodes_count {
            let wanted = format!("{} to {}", self.geo.first_ino, self.geo.inodes_count);
            let found = format!("a value is in inode {holder}");
            self.corrupt("PR_1_ATTR_VALUE_EA_INODE", home.place(inode), found, wanted);
            return Ok(false);
        }
        let Some(value) = self.peek(holder)? else { return Ok(false) };
        if entry.value_size == 0 || entry.value_size as u64 != value.size() {
            let found = format!("value in inode {holder} is said to have {} bytes", entry.value_size);
            self.corrupt("PR_1_ATTR_VALUE_SIZE", home.place(inode), found, value.size().to_string());
            return Ok(false);
        }
        let base = value.base();
        let hashed = is_hash_of(entry, std::iter::once(base.i_atime.get()));
        let references = self.values.entry(holder).or_default();
        references.count += 1;
        references.hashed |= hashed;
        // Lustre's way: the inode says whose value it holds.
        let lustre = base.i_mtime.get() == inode.ino() && base.i_generation == inode.base().i_generation;
        if !value.has_flag(EA_INODE) {
            let found = format!("inode {holder} is not marked as a value");
            let id = if hashed || lustre { "PR_1_ATTR_NO_EA_INODE_FL" } else { "PR_1_ATTR_VALUE_EA_INODE" };
            self.corrupt(id, home.place(inode), found, "");
        } else if !hashed && !lustre {
            let found = format!("hash of attribute at byte {} is {:#010x}", entry.at, entry.hash);
            self.corrupt("PR_1_ATTR_HASH", home.place(inode), found, "");
        }
        Ok(hashed)
    }
}

/// A value as words.
fn words(value: &[u8]) -> impl Iterator<Item = u32> + Clone + '_ {
    value.chunks_exact(4).map(|word| le32(word, 0))
}

/// `e_hash`. Old writers took the characters of names as signed.
fn hash(name: &[u8], value: impl Iterator<Item = u32>, signed: bool) -> u32 {
    let name = name.iter().fold(0u32, |hash, byte| {
        let character = if signed { *byte as i8 as u32 } else { u32::from(*byte) };
        hash.rotate_left(5) ^ character
    });
    value.fold(name, |hash, word| hash.rotate_left(16) ^ word)
}

fn is_hash_of(entry: &Entry<'_>, value: impl Iterator<Item = u32> + Clone) -> bool {
    entry.hash == hash(entry.name, value.clone(), false) || entry.hash == hash(entry.name, value, true)
}
