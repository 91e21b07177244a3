//! Growing a filesystem in place, as a kernel and resize2fs do it (ext4.rst, "Block Group Descriptors", "meta_bg").
//!
//! The last group is made whole, then groups are added. Their bitmaps and tables lie where they begin, those of a
//! flexible group together; nothing of what is there is moved. New blocks of descriptors come from the reserve of the
//! resize inode; when it is used up, or there is none, feature `meta_bg` is turned on and descriptors go with the groups
//! that they describe.
//!
//! What lies behind the end of the filesystem is invisible to it, so bitmaps, tables and descriptors of new groups go to
//! the device at once. What is staged are the descriptors in the old part, the bitmap of the group that was the last, the
//! lists of the resize inode and the superblock: few blocks, which one transaction takes. Costs follow the groups that are
//! new.

mod copies;
mod groups;
mod minimum;
mod place;
mod plan;
mod reserve;
mod step;

use crate::error::{Error, Result};
use crate::fs::Filesystem;
use nomount_block::{ReadAt, WriteAt};
use plan::Plan;

/// What growing did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Blocks before.
    pub from_blocks: u64,
    /// Blocks after: fewer than were wanted where the rest is no cluster, or a last group so short that its own
    /// bitmaps, table and copies of superblock and descriptors would leave less than 50 blocks of it; mke2fs and
    /// resize2fs draw the same line.
    pub to_blocks: u64,
    /// Block groups that were added.
    pub groups_added: u32,
    /// Blocks of descriptors that were added, their copies not counted.
    pub gdt_blocks_added: u32,
    /// Blocks that are still reserved for descriptors.
    pub reserved_gdt_left: u32,
    /// Whether feature meta_bg was turned on, and resize_inode off.
    pub meta_bg: bool,
    /// What else the caller may want to know, as sentences without a full stop.
    pub notes: Vec<String>,
}

impl Grown {
    /// Whether anything changed.
    pub fn is_empty(&self) -> bool {
        self.from_blocks == self.to_blocks
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// What [`Filesystem::grow`] would do to become `blocks` long. Fails as it would, but for what it finds corrupt on
    /// its way.
    pub fn plan_grow(&self, blocks: u64) -> Result<Grown> {
        Ok(Plan::new(self, blocks)?.summary())
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Grows the filesystem to `blocks` blocks, which the device must have. It can be used at once, and shows on the
    /// device with the commit; a rollback takes it back. Where it fails, nothing is staged.
    ///
    /// # Errors
    ///
    /// [`Error::CannotShrink`](crate::Error::CannotShrink) where the filesystem is larger,
    /// [`Error::Invalid`](crate::Error::Invalid) where the device is too short,
    /// [`Error::Limit`](crate::Error::Limit) where so many blocks, inodes or groups cannot be counted, and
    /// [`Error::CannotGrow`](crate::Error::CannotGrow) where it is done otherwise than here, which resize2fs may know:
    ///
    /// - more than 2^32 blocks with a reserve that is not used up by then;
    /// - a reserve whose lists have no room for all copies of its blocks (1 KiB blocks without sparse_super);
    /// - groups that their own tables and copies of descriptors would fill;
    /// - a journal that is too small for the lists of the reserve.
    pub fn grow(&mut self, blocks: u64) -> Result<Grown> {
        self.refuse_reading_only()?;
        let plan = Plan::new(self, blocks)?;
        let done = plan.summary();
        if done.is_empty() {
            return Ok(done);
        }
        let (most, needed) = (self.most_protected(), plan.protected());
        let Some(room) = most.checked_sub(needed) else {
            let text = format!("its journal takes {most} blocks at once, {needed} are needed");
            return Err(Error::CannotGrow(text));
        };
        let before = (self.state.clone(), self.half_done);
        self.clear_cache();
        // What was changed before may need a transaction of its own.
        let result = self.cut_beyond(room).and_then(|()| self.changing(|fs| fs.grow_to(&plan)));
        if result.is_err() {
            let (state, half_done) = before;
            self.return_to(state);
            self.half_done = half_done;
        }
        result.map(|()| done)
    }
}
