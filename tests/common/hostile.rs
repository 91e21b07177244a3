//! Images that mean harm, made here byte by byte.

use nomount_kit::tool::{command, output};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A qcow2 image with nothing in it but what its header says.
#[derive(Clone)]
pub struct Qcow2<'a> {
    pub version: u32,
    pub cluster_bits: u32,
    /// Bytes of the guest's disk.
    pub size: u64,
    pub backing: Option<&'a str>,
    pub backing_format: Option<&'a str>,
    pub data_file: Option<&'a str>,
    pub incompatible: u64,
    /// Entries of the L1 table, where it is not as many as the size needs.
    pub l1_size: Option<u32>,
    pub snapshots: u32,
}

impl Default for Qcow2<'_> {
    fn default() -> Self {
        Self {
            version: 3,
            cluster_bits: 16,
            size: 64 << 20,
            backing: None,
            backing_format: None,
            data_file: None,
            incompatible: 0,
            l1_size: None,
            snapshots: 0,
        }
    }
}

/// The number of the external data file's bit among the incompatible features.
pub const DATA_FILE: u64 = 1 << 2;

impl Qcow2<'_> {
    /// Header, its extensions, and the name of the backing file.
    pub fn header(&self) -> Vec<u8> {
        let cluster = 1u64 << self.cluster_bits;
        let l1_size = self.l1_size.unwrap_or(self.size.div_ceil(cluster * cluster / 8) as u32);
        let mut extensions = Vec::new();
        for (kind, value) in [(0xE279_2ACAu32, self.backing_format), (0x4441_5441, self.data_file)] {
            let Some(value) = value else { continue };
            extensions.extend(kind.to_be_bytes());
            extensions.extend((value.len() as u32).to_be_bytes());
            extensions.extend(value.as_bytes());
            extensions.resize(extensions.len().next_multiple_of(8), 0);
        }
        extensions.extend([0; 8]);
        let name = self.backing.unwrap_or_default();
        let name_at = if self.backing.is_some() { 104 + extensions.len() as u64 } else { 0 };
        let mut header = b"QFI\xfb".to_vec();
        header.extend(self.version.to_be_bytes());
        header.extend(name_at.to_be_bytes());
        header.extend((name.len() as u32).to_be_bytes());
        header.extend(self.cluster_bits.to_be_bytes());
        header.extend(self.size.to_be_bytes());
        header.extend(0u32.to_be_bytes());
        header.extend(l1_size.to_be_bytes());
        // L1 table, refcount table and its length, snapshots and their table.
        header.extend((3 * cluster).to_be_bytes());
        header.extend(cluster.to_be_bytes());
        header.extend(1u32.to_be_bytes());
        header.extend(self.snapshots.to_be_bytes());
        header.extend((4 * cluster).to_be_bytes());
        header.extend(self.incompatible.to_be_bytes());
        header.extend([0; 16]);
        header.extend(4u32.to_be_bytes());
        header.extend(104u32.to_be_bytes());
        header.extend(extensions);
        header.extend(name.as_bytes());
        header
    }

    /// Writes it: the header, a refcount table and block, an empty L1 table.
    pub fn write(&self, path: &Path) {
        let cluster = 1u64 << self.cluster_bits;
        let file = File::create(path).unwrap();
        file.set_len(5 * cluster).unwrap();
        file.write_all_at(&self.header(), 0).unwrap();
        file.write_all_at(&(2 * cluster).to_be_bytes(), cluster).unwrap();
        file.write_all_at(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 2 * cluster).unwrap();
    }
}

/// A small ext2 without checksums, as mke2fs makes it, changed by debugfs.
pub fn ext(image: &Path, commands: &[&str]) {
    File::create(image).unwrap().set_len(4 << 20).unwrap();
    let features = "none,ext_attr,filetype,sparse_super,extent";
    let made = output(command("mke2fs").args(["-q", "-F", "-b", "1024", "-O", features]).arg(image));
    assert!(made.status.success(), "{made:?}");
    let script = image.with_extension("debugfs");
    fs::write(&script, commands.join("\n")).unwrap();
    let done = output(command("debugfs").arg("-w").arg("-f").arg(&script).arg(image));
    assert!(done.status.success(), "{done:?}");
    fs::remove_file(script).unwrap();
}

/// Writes other bytes over some that are there once, as many.
pub fn overwrite(image: &Path, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(image).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from).expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to);
    fs::write(image, bytes).unwrap();
}

/// Gives the directory entry `from` of an ext filesystem without checksums another name that is no longer.
pub fn rename(image: &Path, from: &[u8], to: &[u8]) {
    let mut entry = vec![from.len() as u8];
    let mut renamed = vec![to.len() as u8];
    for (entry, name) in [(&mut entry, from), (&mut renamed, to)] {
        // The kind of a directory.
        entry.push(2);
        entry.extend(name);
    }
    renamed.resize(entry.len(), 0);
    overwrite(image, &entry, &renamed);
}
