//! On-disk structures of qcow2, all big-endian, under the field names of QEMU's `docs/interop/qcow2.txt`.

pub mod entry;
pub mod header;
pub mod snapshot;
