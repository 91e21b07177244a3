#![forbid(unsafe_code)]

mod error;
pub mod tree;

pub use error::{Error, ErrorKind, Place, Result};
