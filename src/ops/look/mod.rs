//! Looking at the files of a guest: nothing here changes a tree.

pub mod checksum;
mod contents;
pub mod diff;
pub mod du;
pub mod find;
mod list;
pub mod mtree;
mod names;
mod vis;

pub use list::{FileInfo, Folder, ListOptions, list, look};
pub use names::Names;
