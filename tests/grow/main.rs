//! Growing and shrinking disks with all their layers.

#[path = "../common/mod.rs"]
mod common;
mod confined;
mod crash;
mod debian;
mod disks;
mod hostile;
mod hostile_redo;
mod matrix;
mod nova;
mod refused;
mod spoiled;
