#![forbid(unsafe_code)]

mod error;
pub mod ops;
pub mod tree;

pub use error::{Error, ErrorKind, Place, Result};
