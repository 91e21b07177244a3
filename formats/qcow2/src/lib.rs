//! The qcow2 container, versions 2 and 3, read and written in place.
//!
//! [`Qcow2`] shows an image as the guest's device. What is read, written and refused, and the order of writes with
//! its proof, is in the crate's README. Structures are those of QEMU's `docs/interop/qcow2.txt`.
#![forbid(unsafe_code)]

mod alloc;
mod cache;
mod checked;
mod create;
mod discard;
mod error;
mod flush;
mod geometry;
mod image;
mod inflate;
mod info;
mod mapping;
mod protect;
mod raw;
mod refcount;
mod resize;
mod tables;
mod write;
mod writer;

pub use create::{CreateOptions, create};
pub use error::{Corrupt, Error, Result, Unsupported};
pub use image::{Options, Qcow2};
pub use info::{
    Compression, Info, MAX_BACKING_NAME, MAX_L1_BYTES, MAX_REFCOUNT_TABLE_BYTES, MAX_SIZE, MAX_SNAPSHOT_TABLE_BYTES,
    MAX_SNAPSHOTS, Snapshot, probe, read_info,
};
