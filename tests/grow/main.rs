//! Growing and shrinking disks with all their layers.

#[path = "../common/mod.rs"]
mod common;
mod crash;
mod debian;
mod disks;
mod matrix;
mod nova;
mod refused;
