//! Operations: on the files of a guest, each reads and changes a [`FileTree`](crate::tree::FileTree) and reports; on
//! disks and what they hold.

pub mod account;
pub mod apply;
mod change;
mod compression;
pub mod container;
pub mod copy;
pub mod customize;
pub mod edit;
mod editor;
mod extract;
pub mod glob;
pub mod guest;
mod guest_names;
pub mod harness;
mod host_dir;
mod id_map;
pub mod inject;
pub mod inspect;
pub mod look;
pub mod mkfs;
pub mod part;
mod pattern;
pub mod populate;
mod program;
mod progress;
pub mod resize;
pub mod script;
pub mod seed;
pub mod selinux;
pub mod service;
pub mod sysprep;
pub mod volumes;

pub use change::{Change, What};
pub use compression::{Compression, Compressor, decompressed};
pub use editor::Editor;
pub use extract::Extracted;
pub use guest_names::Owner;
pub use id_map::{IdMap, IdRange};
pub use progress::{Progress, Silent};
