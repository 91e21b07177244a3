//! The small images kept in `testdata/images`. `testdata/README.md` says what each is for.

use crate::scratch;
use flate2::read::GzDecoder;
use nomount_block::Memory;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Larger than any fixture; a wrong file must not fill the machine's memory.
const MAX_FIXTURE: u64 = 256 << 20;

/// The folder of the fixtures.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../images")
}

/// The names of all filesystem fixtures, sorted, without `.img.gz`.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("testdata/images is there")
        .filter_map(|entry| entry.expect("a folder entry").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".img.gz").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The bytes of a fixture.
pub fn bytes(name: &str) -> Vec<u8> {
    unpack(&folder().join(format!("{name}.img.gz")))
}

/// The bytes inside a `.gz` file.
pub fn unpack(path: &Path) -> Vec<u8> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .take(MAX_FIXTURE)
        .read_to_end(&mut bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}

/// A fixture as a device in memory.
pub fn memory(name: &str) -> Memory {
    Memory::new(bytes(name))
}

/// A fixture as a writable, sparse temporary file.
pub fn file(name: &str) -> TempPath {
    scratch::device(&memory(name))
}

/// The small guest: a compressed qcow2 with a GPT; root is partition 1, ext4. Not to be written: copy it.
pub fn guest() -> PathBuf {
    folder().join("guest.qcow2")
}
