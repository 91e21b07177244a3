//! What tells one state of a filesystem from any other.

use super::Session;
use crate::error::{Error, ErrorKind, Result};
use nomount_block::ReadAt;
use nomount_ext::{SUPERBLOCK_LEN, SUPERBLOCK_OFFSET};

/// Inode of the journal.
const JOURNAL_INO: u32 = 8;
/// Bytes of the journal's superblock that are looked at: those that it has in every version.
const JOURNAL_BYTES: usize = 1024;

impl Session {
    /// Text that is another one after anybody has changed the filesystem: its UUID, when it was written last, and a
    /// checksum of its superblock and its journal's, which count what goes through them.
    pub fn identity(&self) -> Result<String> {
        let Some(fs) = self.tree.root().ext() else {
            let message = format!("{} is not an ext filesystem", self.volume);
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let info = fs.info();
        let mut bytes = vec![0; SUPERBLOCK_LEN];
        fs.device().read_at(SUPERBLOCK_OFFSET, &mut bytes)?;
        let mut crc = crc32c::crc32c(&bytes);
        // None, or one outside of the filesystem, adds nothing.
        if let Some(first) = fs.runs(JOURNAL_INO).ok().and_then(|runs| runs.first().copied()) {
            bytes.resize(JOURNAL_BYTES, 0);
            fs.device().read_at(first.block * u64::from(info.block_size), &mut bytes)?;
            crc = crc32c::crc32c_append(crc, &bytes);
        }
        let uuid: String = info.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{uuid}-{}-{crc:08x}", info.last_write.sec))
    }
}
