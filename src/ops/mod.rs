//! Operations on the files of a guest: each reads and changes a [`FileTree`](crate::tree::FileTree) and reports.

pub mod guest;
