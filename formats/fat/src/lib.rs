//! FAT12, FAT16 and FAT32: made, read and changed.
//!
//! The layout is Microsoft's "FAT: General Overview of On-Disk Format". `fatfs` writes new filesystems and is the
//! second reader of what was changed; the crate's README says what is chosen beside it, and why changes are our own.
#![forbid(unsafe_code)]

mod chain;
mod change;
mod commit;
mod disk;
mod error;
mod find;
mod fs;
mod geometry;
mod info;
mod label;
mod listing;
mod mkfs;
mod name;
mod names;
mod pages;
mod raw;
mod read;
mod shape;
mod table;
mod time;
mod view;
mod write;

pub use commit::Committed;
pub use error::{Corrupt, Error, Result};
pub use find::{Entry, Path, ROOT_NUMBER, Stat};
pub use fs::{Filesystem, OpenOptions};
pub use geometry::Kind;
pub use info::Info;
pub use label::{MAX_LABEL, check_label};
pub use mkfs::{Made, Options, mkfs, plan};
pub use names::Attrs;
pub use time::Time;
pub use view::{Seen, View, ViewDir};
pub use write::MAX_FILE;
