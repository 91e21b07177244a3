//! Which format a disk image has, and whether it is safe to hand it to a program that opens it.
//!
//! [`recognise`] tells every format that the first bytes of a file claim; [`judge`] applies the rules of the one that
//! it is. A rule asks whether the image makes its reader open another file, spend time without bound, or take the file
//! for something else than its owner did. Nothing is opened, followed or decompressed: a verdict is a few bounded reads.
//!
//! Formats are told by magic *and* all of them at once. One that nothing is recognised in is raw, and raw bytes are
//! safe as long as everybody agrees that they are: so a file that two formats claim is not safe, nor one that is not
//! what the caller was told.
#![forbid(unsafe_code)]

mod foreign;
mod format;
mod image;
mod iso;
mod luks;
mod mbr;
mod qcow2;
mod recognise;
mod vdi;
mod verdict;
mod vhd;
mod vhdx;
mod vmdk;

pub use format::Format;
pub use luks::MAX_ITERATIONS;
pub use recognise::recognise;
pub use verdict::{Outcome, Verdict, judge};
pub use vhdx::MAX_TABLE_ENTRIES;
pub use vmdk::MAX_DESCRIPTOR;
