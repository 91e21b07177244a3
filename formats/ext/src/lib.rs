//! ext2, ext3 and ext4: reading and writing a filesystem on a block device, without a kernel.
//!
//! [`Filesystem::open`] reads; [`Filesystem::open_for_write`] changes. Changes gather in memory and become visible
//! together with [`Filesystem::commit`], whose write order survives a crash at any point. [`Filesystem::grow`] makes it longer
//! in place. [`mkfs`] makes a filesystem, [`check`] says what is wrong in one. Sources: the kernel's
//! Documentation/filesystems/ext4, cited in the modules by the names of its sections.
#![forbid(unsafe_code)]

mod acl;
mod alloc;
mod check;
mod checksum;
mod commit;
mod create;
mod cut;
mod dir;
mod error;
mod features;
mod file;
mod fs;
mod gather;
mod geometry;
mod group;
mod grow;
mod info;
mod inline;
mod inode;
mod journal;
mod link;
mod map;
mod mkfs;
mod mmp;
mod names;
mod orphan;
mod quota;
pub mod raw;
mod rename;
mod scrub;
mod spread;
mod staged;
mod statfs;
mod time;
mod unlink;
mod usage;
mod xattr;
mod zero;

pub use check::{CheckOptions, Finding, MAX_FINDINGS, Report, Severity, check, check_within};
pub use commit::Committed;
pub use create::{Attrs, New};
pub use dir::{DirEntry, MAX_NAME};
pub use error::{Corrupt, Error, Result};
pub use features::{Features, Kind, compat, incompat, ro_compat};
pub use fs::{Filesystem, Options};
pub use geometry::{BlockNr, FileBlock, Geometry, GroupNr, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET, probe};
pub use group::Group;
pub use grow::Grown;
pub use info::Info;
pub use inode::{FileType, Inode, ROOT_INO};
pub use map::Run;
pub use mkfs::{InodeCount, Made, MkfsOptions, Profile, mkfs, plan};
pub use mmp::Holder;
pub use statfs::Statfs;
pub use time::Time;
pub use usage::BlockUse;
pub use xattr::{acl_to_api, acl_to_disk};
