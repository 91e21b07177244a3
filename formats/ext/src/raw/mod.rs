//! On-disk structures, every byte kept, under the names of the kernel's documentation
//! (Documentation/filesystems/ext4). No logic. Little-endian, but for the journal, which is big-endian.

mod dir;
mod extent;
mod group_desc;
mod inode;
mod jbd2;
mod mmp;
mod quota;
mod superblock;
mod xattr;

pub use dir::{DirEntryHead, DirTail, DxEntry, DxRootInfo, DxTail};
pub use extent::{ExtentHeader, ExtentIndex, ExtentLeaf};
pub use group_desc::GroupDesc;
pub use inode::{InodeBase, InodeExtra};
pub use jbd2::{CommitBlock, JournalHeader, JournalSuperblock, JournalTag3};
pub use mmp::MmpBlock;
pub use quota::{QuotaBlockHeader, QuotaEntry, QuotaHeader};
pub use superblock::Superblock;
pub use xattr::{XattrBlockHeader, XattrEntry};

/// Asserts, while compiling, the size of a structure and where fields of it lie.
macro_rules! layout {
    ($name:ident, $size:expr $(, $field:ident @ $offset:expr)* $(,)?) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    };
}
use layout;
