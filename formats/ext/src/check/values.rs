//! Inodes that hold the value of an attribute: how many attributes name them, and what their value hashes to.

use super::Checker;
use super::inode_table::Note;
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use nomount_block::ReadAt;

/// Values longer than this are not read (Linux' own limit is 64 KiB).
const MAX_VALUE: u64 = 1 << 16;

/// The attributes whose value an inode holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct References {
    pub count: u32,
    /// Their hashes are made from the inode's.
    pub hashed: bool,
}

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_values(&mut self) -> Result<()> {
        let mut values: Vec<(u32, References)> = self.values.iter().map(|(ino, found)| (*ino, *found)).collect();
        values.sort_unstable_by_key(|(ino, _)| *ino);
        for (ino, References { count, hashed }) in values {
            // Lustre keeps the owner where others keep the count and the hash.
            if !hashed || !self.notes.get(ino).has(Note::VALUE) {
                continue;
            }
            let Some(inode) = self.peek(ino)? else { continue };
            let base = inode.base();
            let found = u64::from(base.i_ctime.get()) << 32 | u64::from(base.i_version.get());
            if found != u64::from(count) {
                let found = format!("it counts {found} attributes that name it");
                self.corrupt("PR_4_EA_INODE_REF_COUNT", inode.place(), found, count.to_string());
            }
            if inode.size() > MAX_VALUE {
                continue;
            }
            let mut value = vec![0; inode.size() as usize];
            match self.fs.read_inode(&inode, 0, &mut value) {
                Ok(_) => {}
                Err(error @ Error::Device(_)) => return Err(error),
                // Its map was told already.
                Err(_) => continue,
            }
            let (found, wanted) = (base.i_atime.get(), crc32c(self.geo.csum_seed, &value));
            if found != wanted {
                let found = format!("hash of its value is {found:#010x}");
                self.corrupt("NM_EA_INODE_HASH", inode.place(), found, format!("{wanted:#010x}"));
            }
        }
        Ok(())
    }
}
