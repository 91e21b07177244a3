//! Edits disk images from an ordinary process: no mount, no root, no loop or nbd device, no FUSE, no virtual machine.
//!
//! A [`Session`] opens a raw or qcow2 image, finds the partition, and shows the ext2, ext3 or ext4 filesystem in it as
//! a [tree of files](tree::FileTree). Changes are staged; [`Session::commit`] makes all of them durable at once, in an
//! order that a crash at any point leaves with the old contents or the new.
//!
//! ```
//! use nomount::image::ImageOptions;
//! use nomount::ops::inject::{InjectRequest, inject};
//! use nomount::tree::{GuestPath, Time, read_all};
//! use nomount::{Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let disk = folder.path().join("disk.qcow2");
//! # std::fs::copy("testdata/images/guest.qcow2", &disk)?;
//! let image = ImageOptions { write: true, ..ImageOptions::default() };
//! let now = Time { sec: 1_800_000_000, nsec: 0 };
//! let options = SessionOptions { image, now, ..SessionOptions::default() };
//! let mut session = Session::open(&disk, options)?;
//! let key = Some(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr0cFQFZ0SgXxkPwEmHnK5hhl4nsWzJvZ7p7dU2m3qT me".to_vec());
//! let report = inject(session.tree(), &InjectRequest { key, ..InjectRequest::default() })?;
//! assert!(report.ok);
//! session.commit()?;
//! # let mut session = Session::open(&disk, SessionOptions::default())?;
//! # let keys = read_all(session.tree(), &GuestPath::parse("/root/.ssh/authorized_keys")?, 4096)?;
//! # assert!(keys.starts_with(b"ssh-ed25519"));
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! ```text
//! cli  ->  ops  ->  session  ->  { disk, tree, image }  ->  formats/{ container, qcow2, ptable, ext, fat }  ->  formats/block
//!                   account (text of passwd, shadow, group) depends on nothing
//! ```
//!
//! Nothing points up. The library is silent and deterministic: the clock and randomness come in as arguments.
#![forbid(unsafe_code)]

pub mod account;
pub mod disk;
mod error;
pub mod image;
pub mod interrupt;
pub mod ops;
pub mod sandbox;
pub mod session;
pub mod tree;

pub use error::{Error, ErrorKind, Place, Result};
pub use session::{Session, SessionOptions};
