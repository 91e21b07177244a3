//! Patterns of names and paths, on bytes, as the shell has them.

mod braces;
mod expand;
mod fnmatch;

pub use expand::PathGlob;
pub use fnmatch::Glob;
