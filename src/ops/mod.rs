//! Operations: on the files of a guest, each reads and changes a [`FileTree`](crate::tree::FileTree) and reports; on
//! disks and what they hold.

mod change;
pub mod container;
pub mod edit;
mod editor;
mod extract;
pub mod guest;
mod guest_names;
mod host_dir;
mod id_map;
pub mod inject;
pub mod mkfs;
pub mod part;
mod pattern;
pub mod populate;
mod program;
pub mod resize;
pub mod selinux;

pub use change::{Change, What};
pub use editor::Editor;
pub use extract::Extracted;
pub use guest_names::Owner;
pub use id_map::{IdMap, IdRange};
