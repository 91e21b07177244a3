//! The reserve of descriptors (inode 7), the orphan file and the MMP block.

use super::build::Build;
use super::tables::superblock_block;
use crate::checksum::crc32c;
use crate::error::Result;
use crate::features::ro_compat;
use crate::geometry::BlockNr;
use crate::inode::FileType;

const RESIZE_INO: u32 = 7;
const DIND: usize = 13;
/// Blocks of an orphan file: at most so many, and so many in a filesystem below 128 Ki blocks.
const MAX_ORPHAN_BLOCKS: u64 = 512;
const MIN_ORPHAN_BLOCKS: u64 = 32;
/// One block of it for so many of the filesystem.
const ORPHAN_SHARE: u64 = 4096;
const ORPHAN_MAGIC: u32 = 0x0B10_CA04;
/// `mmp_magic`, "MMP", and the sequence number of a filesystem that nobody uses.
const MMP_MAGIC: u32 = 0x004D_4D50;
const MMP_CLEAN: u32 = 0xFF4D_4D50;
const MMP_INTERVAL_AT: usize = 0x70;
const MMP_CHECKSUM_AT: usize = 0x3FC;

impl Build<'_> {
    /// Inode 7: a doubly indirect block whose entries are the reserved blocks in group 0, each of which lists its
    /// copies in the groups that have some (ext4.rst, "Reserved GDT blocks").
    pub fn make_resize_inode(&mut self) -> Result<()> {
        let geo = self.geo.clone();
        let pointers = u64::from(geo.block_size / 4);
        let reserved = u64::from(geo.reserved_gdt_blocks);
        let first = superblock_block(&geo) + 1 + u64::from(geo.desc_blocks());
        let goal = first - 1 + reserved + 2 + u64::from(geo.itable_blocks());
        let dind = self.alloc(goal)?;
        let copies: Vec<u32> = (1..geo.groups).filter(|group| geo.has_super(*group)).collect();
        let mut top = vec![0; geo.block_size as usize];
        for index in 0..reserved {
            let block = first + index;
            let slot = (u64::from(geo.desc_blocks()) + index) % pointers * 4;
            put32(&mut top, slot as usize, block as u32);
            let mut list = vec![0; geo.block_size as usize];
            for (at, group) in copies.iter().enumerate().take(pointers as usize) {
                let copy = block + u64::from(*group) * u64::from(geo.blocks_per_group);
                put32(&mut list, at * 4, copy as u32);
            }
            self.contents.insert(block, list);
        }
        self.contents.insert(dind, top);
        let mut inode = self.new_inode(RESIZE_INO, FileType::Regular.mode_bits() | 0o600, 1);
        self.set_times(&mut inode);
        put32(&mut inode.base_mut().i_block, DIND * 4, dind as u32);
        self.set_size(&mut inode, (pointers * pointers + pointers + 12) * u64::from(geo.block_size));
        let blocks = 1 + reserved * (1 + copies.len() as u64);
        inode.set_blocks(&geo, blocks * self.ratio())?;
        self.inodes.insert(RESIZE_INO, inode);
        Ok(())
    }

    /// The orphan file: the next inode, full of empty entries.
    pub fn make_orphan_file(&mut self) -> Result<()> {
        let block = u64::from(self.geo.block_size);
        let count = match self.geo.blocks_count {
            0..0x2_0000 => MIN_ORPHAN_BLOCKS,
            blocks => (blocks / ORPHAN_SHARE).min(MAX_ORPHAN_BLOCKS),
        };
        let count = count.next_multiple_of(self.ratio());
        let ino = self.next_ino();
        let blocks = self.place_blocks(0, count)?;
        let mut inode = self.new_inode(ino, FileType::Regular.mode_bits() | 0o600, 1);
        self.set_times(&mut inode);
        self.map(&mut inode, &blocks, count * block)?;
        let seed = inode.csum_seed(&self.geo);
        for number in blocks.all() {
            let mut bytes = vec![0; block as usize];
            let tail = bytes.len() - 8;
            put32(&mut bytes, tail, ORPHAN_MAGIC);
            if self.geo.metadata_csum() {
                let sum = crc32c(crc32c(seed, &number.to_le_bytes()), &bytes[..tail]);
                put32(&mut bytes, tail + 4, sum);
            }
            self.contents.insert(number, bytes);
        }
        self.sb.s_orphan_file_inum.set(ino);
        self.inodes.insert(ino, inode);
        Ok(())
    }

    /// The number of the next inode that is not reserved.
    pub fn next_ino(&mut self) -> u32 {
        self.last_ino += 1;
        self.touch_inode(self.last_ino);
        self.last_ino
    }

    /// The block that machines sharing the device take turns with (ext4.rst, "Multiple Mount Protection").
    pub fn make_mmp(&mut self) -> Result<()> {
        let block: BlockNr = self.alloc(0)?;
        let mut bytes = vec![0; self.geo.block_size as usize];
        put32(&mut bytes, 0, MMP_MAGIC);
        put32(&mut bytes, 4, MMP_CLEAN);
        let interval = self.options.mmp_interval;
        bytes[MMP_INTERVAL_AT..MMP_INTERVAL_AT + 2].copy_from_slice(&interval.max(5).to_le_bytes());
        if self.geo.features.ro_compat(ro_compat::METADATA_CSUM) {
            let sum = crc32c(self.geo.csum_seed, &bytes[..MMP_CHECKSUM_AT]);
            put32(&mut bytes, MMP_CHECKSUM_AT, sum);
        }
        self.contents.insert(block, bytes);
        self.sb.s_mmp_block.set(block);
        self.sb.s_mmp_interval.set(interval);
        Ok(())
    }
}

pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
