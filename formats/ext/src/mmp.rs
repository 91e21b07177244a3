//! Multiple mount protection (feature mmp; ext4.rst, "Multiple Mount Protection"): a block that says who writes.
//!
//! Who writes to a filesystem changes the block's sequence number every few seconds; a number that stands still for a
//! while was left behind by a crash. We respect it when opening, hold it from before the first write of a commit
//! until after the last, and say "clean" again then. A crash in between leaves it held: whoever opens the filesystem
//! next (a kernel, `e2fsck -p`, we) waits to see that nothing changes, and goes on.

use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::raw::MmpBlock;
use nomount_block::{ReadAt, WriteAt};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

const MAGIC: u32 = 0x004D_4D50;
/// `mmp_seq`: nobody writes.
const CLEAN: u32 = 0xFF4D_4D50;
/// `mmp_seq`: e2fsck is at work, and does not count on.
const FSCK: u32 = 0xE24D_4D50;
/// The largest number of one who writes (EXT4_MMP_SEQ_MAX).
const MAX_SEQUENCE: u32 = 0xE24D_4D4F;
/// Seconds between two changes, at least and at most (EXT4_MMP_MIN_CHECK_INTERVAL, EXT4_MMP_MAX_CHECK_INTERVAL).
const INTERVALS: std::ops::RangeInclusive<u16> = 5..=300;
/// How we are called in the block.
const NODE: &[u8] = b"nomount";

/// Who held a filesystem when it was opened, as its protection block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The machine, as it calls itself.
    pub node: String,
    /// The device, as that machine calls it.
    pub device: String,
    /// When it last said so, in seconds since 1970.
    pub time: u64,
    /// Whether it is e2fsck.
    pub checking: bool,
}

/// Text of a field that ends at its first NUL, without anything that a terminal would act on.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field[..end].escape_ascii().to_string()
}

impl Holder {
    fn of(mmp: &MmpBlock) -> Self {
        Self {
            node: text(&mmp.mmp_nodename),
            device: text(&mmp.mmp_bdevname),
            time: mmp.mmp_time.get(),
            checking: mmp.mmp_seq.get() == FSCK,
        }
    }
}

impl<D: ReadAt> Filesystem<D> {
    fn mmp_block(&self) -> Result<Option<BlockNr>> {
        if !self.geo.features.incompat(incompat::MMP) {
            return Ok(None);
        }
        let block = self.state.sb.s_mmp_block.get();
        self.check_block(block, 1, || "superblock's s_mmp_block".into())?;
        Ok(Some(block))
    }

    /// Reads the protection block past all caches: somebody else may be writing it.
    fn read_mmp(&self, block: BlockNr) -> Result<MmpBlock> {
        let mut bytes = [0; size_of::<MmpBlock>()];
        self.device.read_at(block * u64::from(self.geo.block_size), &mut bytes)?;
        let mmp = MmpBlock::read_from_bytes(&bytes).expect("sizes are equal");
        let place = || format!("mmp block {block}");
        if mmp.mmp_magic.get() != MAGIC {
            return Err(corrupt(place(), format!("magic is {:#x}, expected {MAGIC:#x}", mmp.mmp_magic)));
        }
        let wanted = self.mmp_checksum(&mmp);
        if self.geo.metadata_csum() && mmp.mmp_checksum.get() != wanted {
            return Err(bad_checksum(place(), mmp.mmp_checksum.get(), wanted));
        }
        Ok(mmp)
    }

    fn mmp_checksum(&self, mmp: &MmpBlock) -> u32 {
        crc32c(self.geo.csum_seed, &mmp.as_bytes()[..size_of::<MmpBlock>() - 4])
    }

    /// Fails where somebody else writes to the filesystem. With [`crate::Options::mmp_wait`] a number that is not
    /// "clean" is watched for as long as its owner may take to change it, and once more; it stands still where a crash
    /// left it behind.
    pub(crate) fn respect_mmp(&mut self) -> Result<()> {
        let Some(block) = self.mmp_block()? else {
            return Ok(());
        };
        let found = self.read_mmp(block)?;
        self.mmp_sequence = Some(found.mmp_seq.get());
        match (found.mmp_seq.get(), self.options.mmp_wait) {
            (CLEAN, _) => Ok(()),
            (FSCK, _) | (_, None) => Err(Error::Busy(Holder::of(&found))),
            (sequence, Some(wait)) => {
                let said = found.mmp_check_interval.get().max(self.state.sb.s_mmp_interval.get());
                let interval = u64::from(said.clamp(*INTERVALS.start(), *INTERVALS.end()));
                for _ in 0..2 {
                    wait(Duration::from_secs((2 * interval + 1).min(interval + 60)));
                    let now = self.read_mmp(block)?;
                    if now.mmp_seq.get() != sequence {
                        return Err(Error::Busy(Holder::of(&now)));
                    }
                }
                Ok(())
            }
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Fails if the sequence number is no longer the one that was found when opening.
    pub(crate) fn check_mmp(&self) -> Result<()> {
        let Some(block) = self.mmp_block()? else {
            return Ok(());
        };
        let mmp = self.read_mmp(block)?;
        if self.mmp_sequence == Some(mmp.mmp_seq.get()) { Ok(()) } else { Err(Error::Busy(Holder::of(&mmp))) }
    }

    /// Before the first write: a sequence number of our own.
    pub(crate) fn take_mmp(&mut self) -> Result<()> {
        self.check_mmp()?;
        let Some(block) = self.mmp_block()? else {
            return Ok(());
        };
        let mut mmp = self.read_mmp(block)?;
        let found = mmp.mmp_seq.get();
        let chosen = crc32c(self.options.seed, &found.to_le_bytes()) % MAX_SEQUENCE + 1;
        let sequence = if chosen == found { chosen % MAX_SEQUENCE + 1 } else { chosen };
        mmp.mmp_nodename = [0; 64];
        mmp.mmp_nodename[..NODE.len()].copy_from_slice(NODE);
        mmp.mmp_bdevname = [0; 32];
        self.write_mmp(block, mmp, sequence)
    }

    /// After the last write: nobody writes any more.
    pub(crate) fn release_mmp(&mut self) -> Result<()> {
        let Some(block) = self.mmp_block()? else {
            return Ok(());
        };
        let mmp = self.read_mmp(block)?;
        self.write_mmp(block, mmp, CLEAN)
    }

    fn write_mmp(&mut self, block: BlockNr, mut mmp: MmpBlock, sequence: u32) -> Result<()> {
        mmp.mmp_seq.set(sequence);
        mmp.mmp_time.set(self.options.now.sec.max(0) as u64);
        if self.geo.metadata_csum() {
            let sum = self.mmp_checksum(&mmp);
            mmp.mmp_checksum.set(sum);
        }
        self.device.write_at(block * u64::from(self.geo.block_size), mmp.as_bytes())?;
        self.device.barrier()?;
        self.mmp_sequence = Some(sequence);
        Ok(())
    }
}
