#![forbid(unsafe_code)]

pub mod account;
mod error;
pub mod ops;
pub mod tree;

pub use error::{Error, ErrorKind, Place, Result};
