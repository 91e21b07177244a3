#![forbid(unsafe_code)]

pub mod account;
pub mod disk;
mod error;
pub mod image;
pub mod ops;
pub mod session;
pub mod tree;

pub use error::{Error, ErrorKind, Place, Result};
pub use session::{Session, SessionOptions};
