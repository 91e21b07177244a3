//! Users, groups and passwords of a guest: text in, text out.
//!
//! Nothing here touches an image, the host, the clock or a source of randomness. Names are bytes, as in the files.
//! What is not asked for stays as it is, byte for byte, odd lines included.

pub mod crypt;
mod error;
pub mod group;
mod lines;
pub mod method;
pub mod passwd;
mod secret;
pub mod shadow;

pub use error::Error;
pub use secret::Secret;
