//! Reading attributes, wherever they are.

use super::acl_form::acl_to_api;
use super::name::{self, ACL_ACCESS, ACL_DEFAULT, is_inline_data};
use super::{Attr, BLOCK_HEADER, ENTRY, MAGIC, MAX_VALUES, Stored, TERMINATOR, Value, inode_room};
use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::{Inode, flags};
use crate::raw::{XattrBlockHeader, XattrEntry};
use nomount_block::ReadAt;
use zerocopy::FromBytes;

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
    pub(super) fn block_xattrs(&self, inode: &Inode) -> Result<Option<(XattrBlockHeader, Vec<Stored>)>> {
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

    /// All extended attributes of an inode, full names, sorted. Attributes of unknown name spaces are left out. Access
    /// control lists have the form of `getxattr` (version 2), not that in which they are stored.
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
        for (entry, short, value) in stored {
            let index = entry.e_name_index;
            let hidden = inode.has_flag(flags::INLINE_DATA) && is_inline_data(index, &short);
            if let Some(full) = name::join(index, &short).filter(|_| !hidden) {
                let value = match entry.e_value_inum.get() {
                    0 => value,
                    holder => self.value_of(&inode, holder, entry.e_value_size.get())?,
                };
                let value = if matches!(index, ACL_ACCESS | ACL_DEFAULT) && short.is_empty() {
                    acl_to_api(&value).map_err(|error| broken(&inode, &error))?
                } else {
                    value
                };
                all.push((full, value));
            }
        }
        all.sort();
        Ok(all)
    }

    /// The value of one attribute as it is stored, by the number of its prefix and the rest of its name.
    pub(crate) fn stored_xattr(&self, inode: &Inode, index: u8, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let is_it = |(entry, found, _): &Stored| entry.e_name_index == index && found == name;
        let mut found = self.inode_xattrs(inode)?.into_iter().find(is_it);
        if found.is_none() {
            let (_, list) = self.block_xattrs(inode)?.unzip();
            found = list.unwrap_or_default().into_iter().find(is_it);
        }
        match found {
            None => Ok(None),
            Some((entry, _, value)) => match entry.e_value_inum.get() {
                0 => Ok(Some(value)),
                holder => self.value_of(inode, holder, entry.e_value_size.get()).map(Some),
            },
        }
    }

    /// Attributes to be written again.
    pub(super) fn to_attrs(&self, inode: &Inode, stored: Vec<Stored>) -> Result<Vec<Attr>> {
        let with_inodes = self.geo.features.incompat(incompat::EA_INODE);
        let attr = |(entry, name, value): Stored| {
            let value = match entry.e_value_inum.get() {
                0 => Value::Here(value),
                ino if with_inodes => Value::Inode { ino, size: entry.e_value_size.get(), e_hash: entry.e_hash.get() },
                ino => {
                    let detail = format!("attribute value in inode {ino} without feature ea_inode");
                    return Err(corrupt(inode.place(), detail));
                }
            };
            Ok(Attr { index: entry.e_name_index, name, value })
        };
        stored.into_iter().map(attr).collect()
    }

    /// Sizes of the values of an inode that are in inodes of their own.
    pub(crate) fn value_inode_sizes(&self, inode: &Inode) -> Result<Vec<u32>> {
        if !self.geo.features.incompat(incompat::EA_INODE) {
            return Ok(Vec::new());
        }
        let mut stored = self.inode_xattrs(inode)?;
        if let Some((_, list)) = self.block_xattrs(inode)? {
            stored.extend(list);
        }
        let elsewhere = stored.iter().filter(|(entry, ..)| entry.e_value_inum.get() != 0);
        Ok(elsewhere.map(|(entry, ..)| entry.e_value_size.get()).collect())
    }

    /// Blocks that the attributes of an inode add to its count: their block, and those of values in inodes of their
    /// own, which each of their users counts.
    pub(crate) fn xattr_blocks(&self, inode: &Inode) -> Result<u64> {
        let cluster = u64::from(self.geo.blocks_per_group / self.geo.clusters_per_group);
        let bytes = cluster * u64::from(self.geo.block_size);
        let values = self.value_inode_sizes(inode)?;
        let clusters: u64 = values.iter().map(|size| u64::from(*size).div_ceil(bytes)).sum();
        Ok((u64::from(inode.file_acl() != 0) + clusters) * cluster)
    }
}

/// A list that is stored malformed is the filesystem's fault, not the caller's.
pub(super) fn broken(inode: &Inode, error: &Error) -> Error {
    corrupt(inode.place(), error.to_string())
}
