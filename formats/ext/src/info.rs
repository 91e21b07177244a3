//! What a filesystem says of itself.

use crate::features::{Features, Kind, incompat};
use crate::fs::Filesystem;
use crate::geometry::STATE_VALID;
use crate::time::Time;
use nomount_block::ReadAt;

/// A filesystem's own description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Which of the family it is.
    pub kind: Kind,
    /// Volume label, raw bytes without the padding.
    pub label: Vec<u8>,
    /// Identity, in the order it is printed.
    pub uuid: [u8; 16],
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in the filesystem.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes in the filesystem.
    pub inodes: u32,
    /// Inodes that are free.
    pub free_inodes: u32,
    /// Feature flags.
    pub features: Features,
    /// Whether it was cleanly unmounted, or needs no more than a replay.
    pub clean: bool,
    /// Whether a journal must be replayed before the filesystem is as it should be.
    pub needs_recovery: bool,
    /// Where it was mounted last, raw bytes.
    pub last_mounted: Vec<u8>,
    /// When its superblock was written last.
    pub last_write: Time,
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

impl<D: ReadAt> Filesystem<D> {
    /// What the filesystem says of itself, as of now: counts follow changes that are not committed.
    pub fn info(&self) -> Info {
        let (sb, features) = (&self.state.sb, self.geo.features);
        let last_write = i64::from(sb.s_wtime_hi) << 32 | i64::from(sb.s_wtime.get());
        Info {
            kind: features.kind(),
            label: until_nul(&sb.s_volume_name),
            uuid: sb.s_uuid,
            block_size: self.geo.block_size,
            blocks: self.geo.blocks_count,
            free_blocks: self.free_blocks_count(),
            inodes: self.geo.inodes_count,
            free_inodes: self.free_inodes_count(),
            features,
            clean: sb.s_state.get() & STATE_VALID != 0,
            needs_recovery: features.incompat(incompat::RECOVER),
            last_mounted: until_nul(&sb.s_last_mounted),
            last_write: Time { sec: last_write, nsec: 0 },
        }
    }
}
