//! Values in inodes of their own (feature ea_inode): regular files without a name, that entries point at and count.

use super::{MAX_VALUE, entry_hash};
use crate::checksum::crc32c;
use crate::error::{Result, bad_checksum, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use crate::map::MAP_END;
use nomount_block::{ReadAt, WriteAt};

/// How many entries point at it: the high half is in `i_ctime`, the low one in `i_version`.
fn references(inode: &Inode) -> u64 {
    u64::from(inode.base().i_ctime.get()) << 32 | u64::from(inode.base().i_version.get())
}

fn set_references(inode: &mut Inode, count: u64) {
    inode.base_mut().i_ctime.set((count >> 32) as u32);
    inode.base_mut().i_version.set(count as u32);
}

impl<D: ReadAt> Filesystem<D> {
    /// An inode that holds a value of `size` bytes for `owner`.
    fn value_inode(&self, owner: &Inode, ino: u32, size: u32) -> Result<Inode> {
        let inode = self.inode(ino)?;
        let fits = inode.has_flag(flags::EA_INODE)
            && inode.links() > 0
            && inode.file_type() == Some(FileType::Regular)
            && !inode.has_flag(flags::ENCRYPT | flags::INLINE_DATA)
            && inode.size() == u64::from(size);
        if !fits || size as usize > MAX_VALUE {
            let detail = format!("attribute value of {size} bytes is said to be in inode {ino}, which does not fit");
            return Err(corrupt(owner.place(), detail));
        }
        Ok(inode)
    }

    /// A value that is stored in an inode of its own, verified by the checksum in its `i_atime`. Lustre's older form
    /// has instead the owner's number in `i_mtime`, and its generation.
    pub(super) fn value_of(&self, owner: &Inode, ino: u32, size: u32) -> Result<Vec<u8>> {
        let inode = self.value_inode(owner, ino, size)?;
        let mut value = vec![0; size as usize];
        self.read_inode(&inode, 0, &mut value)?;
        let (found, wanted) = (inode.base().i_atime.get(), crc32c(self.geo.csum_seed, &value));
        let points_back = inode.base().i_mtime.get() == owner.ino()
            && inode.base().i_generation.get() == owner.base().i_generation.get();
        if found != wanted && !points_back {
            return Err(bad_checksum(format!("{}, attribute value in inode {ino}", owner.place()), found, wanted));
        }
        Ok(value)
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Stores a value in a new inode with one reference. Returns its number and the hash of the entry, named `name`,
    /// that will point at it.
    pub(super) fn new_value_inode(&mut self, owner: &Inode, name: &[u8], value: &[u8]) -> Result<(u32, u32)> {
        let ino = self.alloc_inode(owner.ino(), false)?;
        let mut inode = Inode::new_zeroed(ino, self.geo.inode_size);
        inode.base_mut().i_mode.set(FileType::Regular.mode_bits() | 0o600);
        inode.base_mut().i_links_count.set(1);
        inode.set_owner(owner.uid(), owner.gid());
        let generation = self.new_generation(ino);
        inode.base_mut().i_generation.set(generation);
        let extra = self.extra_isize();
        if let Some(fields) = inode.extra_mut() {
            fields.i_extra_isize.set(extra);
        }
        inode.set_flag(flags::EA_INODE, true);
        inode.set_flag(flags::EXTENTS, self.geo.features.incompat(incompat::EXTENTS));
        let now = self.options.now;
        inode.set_mtime(now);
        inode.set_crtime(now);
        let sum = crc32c(self.geo.csum_seed, value);
        inode.base_mut().i_atime.set(sum);
        set_references(&mut inode, 1);
        self.init_map(&mut inode)?;
        self.put(&mut inode, 0, value)?;
        inode.set_size(value.len() as u64);
        self.put_inode(inode)?;
        Ok((ino, entry_hash(name, &sum.to_le_bytes())))
    }

    /// One more entry points at a value.
    pub(super) fn hold_value(&mut self, owner: &Inode, ino: u32, size: u32) -> Result<()> {
        let mut inode = self.value_inode(owner, ino, size)?;
        let count = references(&inode);
        if count == 0 || count == u64::MAX {
            return Err(corrupt(inode.place(), format!("attribute value has {count} references")));
        }
        set_references(&mut inode, count + 1);
        self.put_inode(inode)
    }

    /// One entry less points at a value; the last one frees it.
    pub(super) fn release_value(&mut self, owner: &Inode, ino: u32, size: u32) -> Result<()> {
        let mut inode = self.value_inode(owner, ino, size)?;
        if ino < self.geo.first_ino || inode.file_acl() != 0 {
            return Err(corrupt(inode.place(), "holds an attribute value, and is reserved or has attributes"));
        }
        match references(&inode) {
            0 => Err(corrupt(inode.place(), "attribute value has no references")),
            1 => {
                self.unmap(&mut inode, 0, MAP_END)?;
                self.clear_inode(&inode)
            }
            count => {
                set_references(&mut inode, count - 1);
                self.put_inode(inode)
            }
        }
    }
}
