//! Extended attributes: in the inode and in a block (ext4.rst, "Extended Attributes").

use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::{Inode, flags};
use crate::raw::{XattrBlockHeader, XattrEntry};
use nomount_block::{ReadAt, WriteAt};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const MAGIC: u32 = 0xEA02_0000;
const ENTRY: usize = 16;
const BLOCK_HEADER: usize = 32;
/// The list of entries ends with a zero word.
const TERMINATOR: usize = 4;
/// The inode of a value of its own is at most this long (EXT4_XATTR_SIZE_MAX is 16 MiB; Linux' own limit is 64 KiB).
const MAX_VALUE: u32 = 1 << 16;
/// All values of one inode that are in inodes of their own: sixteen of the largest.
const MAX_VALUES: u64 = 1 << 20;
/// Most inodes that share one attribute block (EXT4_XATTR_REFCOUNT_MAX).
const MAX_REFCOUNT: u32 = 1024;

/// Name prefixes and their numbers. The two of POSIX ACLs are whole names.
const PREFIXES: &[(u8, &str)] = &[
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
    (7, "system."),
    (8, "system.richacl"),
];

/// An attribute as it is stored: its entry, the name without its prefix, the value.
type Stored = (XattrEntry, Vec<u8>, Vec<u8>);

/// Where attributes are to be written.
#[derive(Debug, Clone)]
struct Attr {
    index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attr {
    fn len(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    fn sort_key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }

    /// `e_hash`: over the name's bytes and the value's padded words.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, byte| hash << 5 ^ hash >> 27 ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash << 16 ^ hash >> 16 ^ u32::from_le_bytes(word)
        })
    }
}

fn split_name(full: &[u8]) -> Option<(u8, Vec<u8>)> {
    // Whole names first: "system." is a prefix of theirs.
    let whole = PREFIXES.iter().find(|(_, name)| !name.ends_with('.') && name.as_bytes() == full);
    if let Some((index, _)) = whole {
        return Some((*index, Vec::new()));
    }
    let found = PREFIXES.iter().filter(|(_, prefix)| prefix.ends_with('.'));
    let (index, rest) =
        found.filter_map(|(index, prefix)| Some((*index, full.strip_prefix(prefix.as_bytes())?))).next()?;
    (!rest.is_empty()).then(|| (index, rest.to_vec()))
}

fn full_name(index: u8, name: &[u8]) -> Option<Vec<u8>> {
    if index == 0 {
        return Some(name.to_vec());
    }
    let (_, prefix) = PREFIXES.iter().find(|(number, _)| *number == index)?;
    Some([prefix.as_bytes(), name].concat())
}

/// Reads the entries that start at `start` of `bytes`; values lie at their offset from `values_at`.
fn parse(bytes: &[u8], start: usize, values_at: usize, place: &dyn Fn() -> String) -> Result<Vec<Stored>> {
    let mut list = Vec::new();
    let mut at = start;
    let mut taken = start + TERMINATOR;
    loop {
        match bytes.get(at..at + TERMINATOR) {
            None => return Err(corrupt(place(), "list of extended attributes has no end")),
            Some([0, 0, 0, 0]) => return Ok(list),
            Some(_) => {}
        }
        let bad = |what: &str| corrupt(place(), format!("extended attribute at byte {at} {what}"));
        let (entry, rest) = XattrEntry::ref_from_prefix(&bytes[at..]).map_err(|_| bad("does not fit"))?;
        let name_len = usize::from(entry.e_name_len);
        let name = rest.get(..name_len).ok_or_else(|| bad("has a name that does not fit"))?;
        // The offset of an empty value means nothing.
        let value = if entry.e_value_inum.get() != 0 || entry.e_value_size.get() == 0 {
            Vec::new()
        } else {
            let from = values_at + usize::from(entry.e_value_offs.get());
            let size = entry.e_value_size.get() as usize;
            let value = from.checked_add(size).and_then(|to| bytes.get(from..to));
            value.ok_or_else(|| bad("has a value that does not fit"))?.to_vec()
        };
        // Values that share bytes would not fit again, and would add up to many times the block.
        taken += ENTRY + name_len.next_multiple_of(4) + value.len().next_multiple_of(4);
        if taken > bytes.len() {
            return Err(bad("overlaps another one"));
        }
        list.push((entry.clone(), name.to_vec(), value));
        at += ENTRY + name_len.next_multiple_of(4);
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// Attributes stored in the inode.
    pub(crate) fn inode_xattrs(&self, inode: &Inode) -> Result<Vec<Stored>> {
        match inode_room(inode) {
            Some(start) if inode.bytes()[start - 4..start] == MAGIC.to_le_bytes() => {
                parse(inode.bytes(), start, start, &|| inode.place())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The attribute block of an inode, verified: its header and attributes.
    fn block_xattrs(&self, inode: &Inode) -> Result<Option<(XattrBlockHeader, Vec<Stored>)>> {
        let block = inode.file_acl();
        if block == 0 {
            return Ok(None);
        }
        self.check_block(block, 1, || inode.place())?;
        let place = || format!("{}, extended attribute block {block}", inode.place());
        let bytes = self.read_block(block)?;
        let header = XattrBlockHeader::ref_from_prefix(&bytes).expect("a block is longer than a header").0.clone();
        if header.h_magic.get() != MAGIC || header.h_blocks.get() != 1 {
            let detail = format!("magic is {:#x}, h_blocks {}", header.h_magic.get(), header.h_blocks.get());
            return Err(corrupt(place(), detail));
        }
        if self.geo.metadata_csum() {
            let (found, wanted) = (header.h_checksum.get(), self.xattr_checksum(block, &bytes));
            if found != wanted {
                return Err(bad_checksum(place(), found, wanted));
            }
        }
        let list = parse(&bytes, BLOCK_HEADER, 0, &place)?;
        Ok(Some((header, list)))
    }

    pub(crate) fn xattr_checksum(&self, block: BlockNr, bytes: &[u8]) -> u32 {
        let seed = crc32c(self.geo.csum_seed, &block.to_le_bytes());
        let sum = crc32c(crc32c(seed, &bytes[..0x10]), &[0; 4]);
        crc32c(sum, &bytes[0x14..])
    }

    /// All extended attributes of an inode, full names, sorted. Attributes of unknown name spaces are left out.
    pub fn xattrs(&self, ino: u32) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let inode = self.live_inode(ino)?;
        let mut stored = self.inode_xattrs(&inode)?;
        if let Some((_, list)) = self.block_xattrs(&inode)? {
            stored.extend(list);
        }
        let elsewhere = stored.iter().filter(|(entry, ..)| entry.e_value_inum.get() != 0);
        let total: u64 = elsewhere.map(|(entry, ..)| u64::from(entry.e_value_size.get())).sum();
        if total > MAX_VALUES {
            return Err(Error::Limit(format!("{}: attributes of {total} bytes", inode.place())));
        }
        let mut all = Vec::new();
        for (entry, name, value) in stored {
            let inline_contents = entry.e_name_index == 7 && name == b"data" && inode.has_flag(flags::INLINE_DATA);
            if let Some(full) = full_name(entry.e_name_index, &name).filter(|_| !inline_contents) {
                let value = match entry.e_value_inum.get() {
                    0 => value,
                    holder => self.value_inode(&inode, holder, entry.e_value_size.get())?,
                };
                all.push((full, value));
            }
        }
        all.sort();
        Ok(all)
    }

    /// A value that is stored in an inode of its own (feature ea_inode).
    fn value_inode(&self, owner: &Inode, ino: u32, size: u32) -> Result<Vec<u8>> {
        const EA_INODE: u32 = 0x20_0000;
        let inode = self.inode(ino)?;
        if !inode.has_flag(EA_INODE) || inode.size() != u64::from(size) || size > MAX_VALUE {
            let detail = format!("attribute value of {size} bytes is said to be in inode {ino}, which does not fit");
            return Err(corrupt(owner.place(), detail));
        }
        let mut value = vec![0; size as usize];
        self.read_inode(&inode, 0, &mut value)?;
        Ok(value)
    }
}

/// Byte offset of the first entry in an inode; none where it has no room for any.
fn inode_room(inode: &Inode) -> Option<usize> {
    let extra = inode.extra_isize();
    let start = 128 + extra + 4;
    (extra > 0 && start + 4 <= inode.bytes().len()).then_some(start)
}

/// Attributes to be written again; not those whose values are in inodes of their own.
fn to_attrs(inode: &Inode, stored: Vec<Stored>) -> Result<Vec<Attr>> {
    let attr = |(entry, name, value): Stored| match entry.e_value_inum.get() {
        0 => Ok(Attr { index: entry.e_name_index, name, value }),
        holder => Err(corrupt(inode.place(), format!("attribute value in inode {holder} without feature ea_inode"))),
    };
    stored.into_iter().map(attr).collect()
}

/// Writes entries from `start` and values from the end of `bytes`; offsets count from `values_at`.
fn write_attrs(bytes: &mut [u8], start: usize, values_at: usize, list: &[Attr], with_hash: bool) {
    bytes[start..].fill(0);
    let (mut at, mut end) = (start, bytes.len());
    for attr in list {
        end -= attr.value.len().next_multiple_of(4);
        let offset = if attr.value.is_empty() { 0 } else { end - values_at };
        let entry = XattrEntry {
            e_name_len: attr.name.len() as u8,
            e_name_index: attr.index,
            e_value_offs: (offset as u16).into(),
            e_value_inum: 0.into(),
            e_value_size: (attr.value.len() as u32).into(),
            e_hash: if with_hash { attr.hash() } else { 0 }.into(),
        };
        bytes[at..at + ENTRY].copy_from_slice(entry.as_bytes());
        bytes[at + ENTRY..at + ENTRY + attr.name.len()].copy_from_slice(&attr.name);
        bytes[end..end + attr.value.len()].copy_from_slice(&attr.value);
        at += ENTRY + attr.name.len().next_multiple_of(4);
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Sets or, with `None`, removes an extended attribute, by its full name.
    pub fn set_xattr(&mut self, ino: u32, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut inode = self.live_inode(ino)?;
        self.refuse_protected(&inode)?;
        let Some((index, short)) = split_name(name).filter(|(_, short)| short.len() <= 255) else {
            let text = name.escape_ascii();
            return Err(Error::Invalid(format!("extended attribute name {text}: unknown name space or bad length")));
        };
        let mut in_inode = to_attrs(&inode, self.inode_xattrs(&inode)?)?;
        let (header, stored) = self.block_xattrs(&inode)?.unzip();
        let mut in_block = to_attrs(&inode, stored.unwrap_or_default())?;
        let is_it = |attr: &Attr| attr.index == index && attr.name == short;
        let was_in_block = in_block.iter().any(is_it);
        let existed = was_in_block || in_inode.iter().any(is_it);
        in_inode.retain(|attr| !is_it(attr));
        in_block.retain(|attr| !is_it(attr));
        let mut block_changed = was_in_block;
        match value {
            None if !existed => return Err(Error::NotFound),
            None => {}
            Some(value) => {
                let attr = Attr { index, name: short, value: value.to_vec() };
                if fits(&in_inode, &attr, inode_capacity(&inode)) {
                    in_inode.push(attr);
                } else {
                    in_block.push(attr);
                    block_changed = true;
                }
            }
        }
        self.changing(|fs| {
            if let Some(start) = inode_room(&inode) {
                inode.bytes_mut()[start - 4..start].copy_from_slice(&MAGIC.to_le_bytes());
                write_attrs(inode.bytes_mut(), start, start, &in_inode, false);
            }
            if block_changed {
                let old = header.map(|header| (inode.file_acl(), header));
                fs.replace_xattr_block(&mut inode, old, in_block)?;
            }
            let now = fs.options.now;
            inode.set_ctime(now);
            fs.put_inode(inode)
        })
    }

    /// Writes the attribute block anew, to a new block: the committed state still reads the old one, and other inodes
    /// may share it.
    fn replace_xattr_block(
        &mut self,
        inode: &mut Inode,
        old: Option<(BlockNr, XattrBlockHeader)>,
        mut list: Vec<Attr>,
    ) -> Result<()> {
        let room = self.block_size() - BLOCK_HEADER - TERMINATOR;
        let needed: usize = list.iter().map(Attr::len).sum();
        if needed > room {
            return Err(Error::XattrSpace { needed, room });
        }
        let per_block = u64::from(self.geo.block_size / 512);
        let sectors = inode.blocks_512(&self.geo);
        let mut blocks = sectors / per_block;
        if let Some((block, header)) = old {
            self.release_xattr_block(block, &header)?;
            inode.set_file_acl(0);
            blocks = blocks.saturating_sub(1);
        }
        if !list.is_empty() {
            list.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
            let block = self.alloc_block(self.goal_of(inode.ino()))?;
            let mut header = XattrBlockHeader::new_zeroed();
            header.h_magic.set(MAGIC);
            header.h_refcount.set(1);
            header.h_blocks.set(1);
            let hash = list.iter().fold(0u32, |hash, attr| hash << 16 ^ hash >> 16 ^ attr.hash());
            header.h_hash.set(hash);
            let bytes = self.block_zeroed(block);
            write_attrs(bytes, BLOCK_HEADER, 0, &list, true);
            bytes[..BLOCK_HEADER].copy_from_slice(header.as_bytes());
            self.seal_xattr_block(block)?;
            inode.set_file_acl(block);
            blocks += 1;
        }
        inode.set_blocks(&self.geo, blocks)
    }

    fn seal_xattr_block(&mut self, block: BlockNr) -> Result<()> {
        if self.geo.metadata_csum() {
            let sum = self.xattr_checksum(block, &self.read_block(block)?);
            self.block_mut(block)?[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
        }
        Ok(())
    }

    /// Takes one inode off an attribute block; the last one frees it.
    pub(crate) fn release_xattr_block(&mut self, block: BlockNr, header: &XattrBlockHeader) -> Result<()> {
        match header.h_refcount.get() {
            1 => {
                self.free_blocks(block, 1)?;
                self.state.dirty.remove(&block);
                Ok(())
            }
            count if count == 0 || count > MAX_REFCOUNT => {
                Err(corrupt(format!("extended attribute block {block}"), format!("h_refcount is {count}")))
            }
            count => {
                self.block_mut(block)?[4..8].copy_from_slice(&(count - 1).to_le_bytes());
                self.seal_xattr_block(block)
            }
        }
    }

    /// Gives up an inode's attribute block.
    pub(crate) fn drop_xattr_block(&mut self, inode: &mut Inode) -> Result<()> {
        if let Some((header, _)) = self.block_xattrs(inode)? {
            self.release_xattr_block(inode.file_acl(), &header)?;
            inode.set_file_acl(0);
        }
        Ok(())
    }
}

fn inode_capacity(inode: &Inode) -> usize {
    inode_room(inode).map_or(0, |start| inode.bytes().len() - start - TERMINATOR)
}

fn fits(list: &[Attr], attr: &Attr, room: usize) -> bool {
    attr.len() + list.iter().map(Attr::len).sum::<usize>() <= room
}
