//! Contents that are stored in the inode (ext4.rst, "Inline Data"): 60 bytes where the map would be, the others as
//! the value of the attribute `system.data`, which is always there, if only with an empty value.

use crate::error::{Result, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use nomount_block::{ReadAt, WriteAt};

/// Bytes that are stored in place of the map.
pub(crate) const INLINE_START: usize = 60;
/// `system.data`: its name space, and the rest of its name.
pub(crate) const SYSTEM_DATA: (u8, &[u8]) = (7, b"data");

impl<D: ReadAt> Filesystem<D> {
    /// The two places of inline contents: the 60 bytes of the inode, and the value of `system.data`.
    pub(crate) fn inline_parts(&self, inode: &Inode) -> Result<([u8; INLINE_START], Vec<u8>)> {
        let found = self
            .inode_xattrs(inode)?
            .into_iter()
            .find(|(entry, name, _)| (entry.e_name_index, &name[..]) == SYSTEM_DATA);
        match found {
            Some((_, _, value)) => Ok((inode.base().i_block, value)),
            None => Err(corrupt(inode.place(), "inline contents without system.data")),
        }
    }

    /// All bytes of the two places.
    pub(crate) fn inline_bytes(&self, inode: &Inode) -> Result<Vec<u8>> {
        let (start, more) = self.inline_parts(inode)?;
        Ok([&start[..], &more].concat())
    }

    /// The contents of a file that is stored inline.
    pub(crate) fn inline_contents(&self, inode: &Inode) -> Result<Vec<u8>> {
        let mut all = self.inline_bytes(inode)?;
        if inode.size() > all.len() as u64 {
            let detail = format!("{} bytes long, but {} are stored inline", inode.size(), all.len());
            return Err(corrupt(inode.place(), detail));
        }
        all.truncate(inode.size() as usize);
        Ok(all)
    }

    /// Whether an inode without contents may be given some inline.
    pub(crate) fn may_be_inline(&self, inode: &Inode) -> bool {
        let per_block = u64::from(self.geo.block_size / 512 * self.geo.cluster_ratio());
        let xattr = if inode.file_acl() != 0 { per_block } else { 0 };
        self.geo.features.incompat(incompat::INLINE_DATA)
            && matches!(inode.file_type(), Some(FileType::Regular | FileType::Directory))
            && inode.extra_isize() > 0
            && inode.blocks_512(&self.geo) == xattr
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Stores `contents` inside an inode, which has no blocks of contents. The other attributes in it stay. Returns
    /// whether they fitted; if not, nothing has changed. The size is the caller's to set.
    pub(crate) fn store_inline(&mut self, inode: &mut Inode, contents: &[u8]) -> Result<bool> {
        let (start, more) = contents.split_at(contents.len().min(INLINE_START));
        if !self.set_inode_attr(inode, SYSTEM_DATA, Some(more))? {
            return Ok(false);
        }
        inode.set_flag(flags::EXTENTS, false);
        inode.set_flag(flags::INLINE_DATA, true);
        let place = &mut inode.base_mut().i_block;
        place.fill(0);
        place[..start.len()].copy_from_slice(start);
        Ok(true)
    }

    /// Gives an inode that stores its contents an empty map in their place. The contents are the caller's to keep.
    pub(crate) fn leave_inline(&mut self, inode: &mut Inode) -> Result<()> {
        self.set_inode_attr(inode, SYSTEM_DATA, None)?;
        inode.set_flag(flags::INLINE_DATA, false);
        inode.set_flag(flags::EXTENTS, self.geo.features.incompat(incompat::EXTENTS));
        self.init_map(inode)
    }
}
