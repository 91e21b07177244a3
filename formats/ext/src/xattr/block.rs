//! The block of attributes, which inodes may share.

use super::{Attr, BLOCK_HEADER, MAGIC, MAX_REFCOUNT, Value, write_attrs};
use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::Inode;
use crate::raw::XattrBlockHeader;
use nomount_block::WriteAt;
use zerocopy::{FromZeros, IntoBytes};

/// `h_hash`: over the entries' hashes. 0, which keeps it from being shared, where one of them is 0.
fn block_hash(list: &[Attr]) -> u32 {
    let hashes: Vec<u32> = list.iter().map(Attr::hash).collect();
    if hashes.contains(&0) {
        return 0;
    }
    hashes.into_iter().fold(0, |hash, entry| hash << 16 ^ hash >> 16 ^ entry)
}

impl<D: WriteAt> Filesystem<D> {
    /// Writes the attribute block anew, to a new block: the committed state still reads the old one, and other inodes
    /// may share it. Values in inodes of their own that `list` keeps are held once more where the old block stays.
    pub(super) fn replace_xattr_block(
        &mut self,
        inode: &mut Inode,
        old: Option<XattrBlockHeader>,
        mut list: Vec<Attr>,
        kept: &[(u32, u32)],
    ) -> Result<()> {
        if let Some(header) = old {
            let stays = header.h_refcount.get() > 1;
            self.release_xattr_block(inode.file_acl(), &header)?;
            inode.set_file_acl(0);
            for (ino, size) in kept.iter().filter(|_| stays) {
                self.hold_value(inode, *ino, *size)?;
            }
        }
        if list.is_empty() {
            return Ok(());
        }
        list.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        let block = self.alloc_block(self.goal_of(inode.ino()))?;
        let mut header = XattrBlockHeader::new_zeroed();
        header.h_magic.set(MAGIC);
        header.h_refcount.set(1);
        header.h_blocks.set(1);
        header.h_hash.set(block_hash(&list));
        let bytes = self.block_zeroed(block);
        write_attrs(bytes, BLOCK_HEADER, 0, &list, true);
        bytes[..BLOCK_HEADER].copy_from_slice(header.as_bytes());
        self.seal_xattr_block(block)?;
        inode.set_file_acl(block);
        Ok(())
    }

    fn seal_xattr_block(&mut self, block: BlockNr) -> Result<()> {
        if self.geo.metadata_csum() {
            let sum = self.xattr_checksum(block, &self.read_block(block)?);
            self.block_mut(block)?[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
        }
        Ok(())
    }

    /// Takes one inode off an attribute block; the last one frees it.
    fn release_xattr_block(&mut self, block: BlockNr, header: &XattrBlockHeader) -> Result<()> {
        match header.h_refcount.get() {
            1 => self.free_node(block),
            count if count == 0 || count > MAX_REFCOUNT => {
                Err(corrupt(format!("extended attribute block {block}"), format!("h_refcount is {count}")))
            }
            count => {
                self.block_mut(block)?[4..8].copy_from_slice(&(count - 1).to_le_bytes());
                self.seal_xattr_block(block)
            }
        }
    }

    /// Gives up an inode's attributes, those in the inode, in its block and in inodes of their own, before it is
    /// freed. The inode's count of blocks follows.
    pub(crate) fn release_xattrs(&mut self, inode: &mut Inode) -> Result<()> {
        let counted = self.xattr_blocks(inode)?;
        let stored = self.inode_xattrs(inode)?;
        let in_inode = self.to_attrs(inode, stored)?;
        let (header, stored) = self.block_xattrs(inode)?.unzip();
        let in_block = self.to_attrs(inode, stored.unwrap_or_default())?;
        let last = header.as_ref().is_some_and(|header| header.h_refcount.get() == 1);
        for attr in in_inode.iter().chain(in_block.iter().filter(|_| last)) {
            if let Value::Inode { ino, size, .. } = attr.value {
                self.release_value(inode, ino, size)?;
            }
        }
        let holders = in_inode.iter().chain(&in_block).filter(|attr| attr.value_ino().is_some()).count();
        self.charge_inodes(inode, -(holders as i64));
        if let Some(start) = super::inode_room(inode) {
            inode.bytes_mut()[start - 4..].fill(0);
        }
        if let Some(header) = header {
            self.release_xattr_block(inode.file_acl(), &header)?;
            inode.set_file_acl(0);
        }
        let per_block = u64::from(self.geo.block_size / 512);
        let blocks = (inode.blocks_512(&self.geo) / per_block).saturating_sub(counted);
        inode.set_blocks(&self.geo, blocks)
    }
}
