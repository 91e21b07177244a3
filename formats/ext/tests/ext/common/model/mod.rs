//! A filesystem in memory that random operations are done on beside the real one.
//!
//! `ops` are the operations as plain data, `choose` says which `calls` they come to, `rules` what must follow, `tree`
//! what should be there, `run` does a sequence on both, `judge` compares, `shrink` makes a failing sequence short.

pub mod acl;
pub mod calls;
pub mod choose;
pub mod contents;
pub mod device;
pub mod judge;
pub mod ops;
pub mod rules;
pub mod run;
pub mod shrink;
pub mod tree;

pub use calls::Call;
pub use ops::{Op, sequence};
pub use run::{Counts, Failure, Subject, Tamper, keep_panics, run};
pub use shrink::shrink;
