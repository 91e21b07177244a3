//! What fails under the program: the disk, the host, and the patience of the user. A change is then not made or made
//! completely, whoever asked learns what happened, and nothing is left behind.

#[path = "../common/mod.rs"]
mod common;

mod device;
mod host;
mod ops;
