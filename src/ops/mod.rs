//! Operations on the files of a guest: each reads and changes a [`FileTree`](crate::tree::FileTree) and reports.

mod change;
mod editor;
pub mod guest;
mod guest_names;
pub mod inject;
pub mod mkfs;
pub mod part;
pub mod populate;

pub use change::{Change, What};
pub use guest_names::Owner;
