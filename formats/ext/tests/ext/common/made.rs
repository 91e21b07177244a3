//! Filesystems made by mke2fs for one test.

use nomount_block::Memory;
use nomount_kit::{scratch, tool};
use std::fs::{self, File};

/// An empty filesystem of `size` bytes, made with these arguments. Time, identity and hash seed are fixed.
pub fn mke2fs(args: &[&str], size: u64) -> Memory {
    const UUID: &str = "6e6f6d6f-756e-7421-8000-000000000001";
    let file = scratch::file();
    File::options().write(true).open(file.path()).unwrap().set_len(size).unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/mke2fs.conf");
    let mut command = tool::command("mke2fs");
    command.env("MKE2FS_CONFIG", config).env("E2FSPROGS_FAKE_TIME", "1700000000");
    command.args(["-q", "-F", "-U", UUID, "-E", &format!("hash_seed={UUID}")]).args(args).arg(file.path());
    let done = tool::output(&mut command);
    assert!(done.status.success(), "mke2fs {args:?}: {}", tool::text(&done));
    Memory::new(fs::read(file.path()).unwrap())
}
