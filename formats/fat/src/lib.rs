//! FAT12, FAT16 and FAT32: new filesystems.
//!
//! The layout is Microsoft's "FAT: General Overview of On-Disk Format"; `fatfs` writes it. What is chosen for it, and
//! mended after it, is in the crate's README.
#![forbid(unsafe_code)]

mod disk;
mod error;
mod geometry;
mod label;
mod mkfs;

pub use error::{Error, Result};
pub use geometry::Kind;
pub use label::{MAX_LABEL, check_label};
pub use mkfs::{Made, Options, mkfs, plan};
