//! Users, groups and passwords of a guest: text in, text out.
//!
//! Nothing here touches an image, the host, the clock or a source of randomness. Names are bytes, as in the files.
//! What is not asked for stays as it is, byte for byte, odd lines included.

pub mod crypt;
mod error;
pub mod group;
pub mod ids;
mod lines;
pub mod login_defs;
pub mod method;
mod name;
pub mod passwd;
pub mod remove;
mod secret;
pub mod shadow;
pub mod subid;

pub use error::Error;
pub use lines::add_entry;
pub use name::{MAX_ACCOUNT_NAME, check_name};
pub use secret::Secret;
