//! What the tests of every crate here share: fixtures, full Debian images, outside judges, a digest of a whole
//! filesystem tree made by e2fsprogs, and the states that a crash can leave.
//!
//! Nothing in this crate reads a filesystem with our own code: it would agree with its own mistakes. Functions panic
//! where a test cannot go on, and say why.
#![forbid(unsafe_code)]

pub mod crash;
pub mod debian;
pub mod digest;
pub mod ext_layout;
pub mod fixture;
pub mod judges;
pub mod mutants;
pub mod qcow2_check;
pub mod scratch;
pub mod shared;
pub mod tool;

pub use digest::TreeDigest;
pub use shared::Shared;
pub use tool::require;
