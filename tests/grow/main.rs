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
#[path = "../../formats/ext/tests/ext/common/rechecksum.rs"]
#[allow(dead_code, reason = "the tests of the filesystem use all of it")]
mod rechecksum;
mod refused;
mod spoiled;
