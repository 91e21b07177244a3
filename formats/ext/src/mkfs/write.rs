//! Writing a new filesystem: everything else first, the superblock last.

use super::build::Build;
use super::groups;
use super::superblock;
use super::tables::superblock_block;
use crate::error::Result;
use crate::gather::Gather;
use crate::geometry::{BlockNr, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET};
use crate::zero::make_zero;
use nomount_block::{ExtentKind, ReadAt, WriteAt};
use zerocopy::IntoBytes;

/// Bytes at the start of the device that may hold signatures of what was there: the superblock of btrfs is at 64 KiB.
const SIGNATURES_START: u64 = 68 << 10;
/// Bytes at the end: a backup GPT, superblocks of MD RAID.
const SIGNATURES_END: u64 = 64 << 10;
/// What writes a new filesystem.
pub(super) struct Writer<'a, D> {
    blocks: Gather<'a, D>,
    block_size: u64,
    /// The device was all zero at the start: what was not written still is.
    blank: bool,
}

impl<'a, D: WriteAt> Writer<'a, D> {
    pub fn new(device: &'a mut D, block_size: u32, blank: bool) -> Self {
        Self { blocks: Gather::new(device, block_size, D::write_at), block_size: block_size.into(), blank }
    }

    /// Writes whole blocks from `block` on.
    pub fn put(&mut self, block: BlockNr, bytes: &[u8]) -> Result<()> {
        self.blocks.put(block, bytes)
    }

    /// Makes blocks zero, where the device does not say that they are.
    pub fn zero(&mut self, block: BlockNr, len: u64) -> Result<()> {
        if self.blank {
            return Ok(());
        }
        make_zero(self.blocks.device, block * self.block_size, len * self.block_size)
    }
}

/// Whether the device says, without being read, that its first `end` bytes are zero.
fn is_zero(device: &impl ReadAt, end: u64) -> Result<bool> {
    let mut at = 0;
    while at < end {
        let extent = device.extent_at(at)?;
        if extent.kind != ExtentKind::Zero {
            return Ok(false);
        }
        at += extent.len;
    }
    Ok(true)
}

impl Build<'_> {
    /// Writes it all. A device that loses power, or a process that ends, before the last write has no filesystem on
    /// it: the place of the superblock is zero from the first barrier to the last.
    pub fn write<D: WriteAt>(&mut self, device: &mut D) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let end = if self.options.size.is_some() { self.geo.blocks_count * size } else { device.len() };
        let mut blank = is_zero(device, end)?;
        // Old signatures first, and with them an old superblock.
        make_zero(device, 0, SIGNATURES_START.min(end))?;
        let tail = end.saturating_sub(SIGNATURES_END);
        make_zero(device, tail, end - tail)?;
        device.barrier()?;
        if self.options.discard {
            make_zero(device, 0, end)?;
            blank = true;
        }
        let mut writer = Writer::new(device, self.geo.block_size, blank);
        for (start, len) in std::mem::take(&mut self.zeroes) {
            writer.zero(start, len)?;
        }
        let descriptors = groups::write(self, &mut writer)?;
        self.write_inodes(&mut writer)?;
        for (block, bytes) in std::mem::take(&mut self.contents) {
            writer.put(block, &bytes)?;
        }
        self.write_descriptors(&descriptors, &mut writer)?;
        writer.blocks.flush()?;
        if self.sb.s_kbytes_written.get() != 0 {
            let kib = (writer.blocks.written + size).div_ceil(1024);
            self.sb.s_kbytes_written.set(kib);
        }
        self.write_backups(&mut writer)?;
        writer.blocks.flush()?;
        device.barrier()?;

        let block = superblock_block(&self.geo);
        let mut bytes = vec![0; size as usize];
        let at = (SUPERBLOCK_OFFSET % size) as usize;
        bytes[at..at + SUPERBLOCK_LEN].copy_from_slice(superblock::sealed(&self.sb).as_bytes());
        device.write_at(block * size, &bytes)?;
        device.barrier()?;
        Ok(())
    }

    /// The blocks of inode tables that have inodes. Reserved ones that are not used are zero, but for their checksum.
    fn write_inodes<D: WriteAt>(&mut self, writer: &mut Writer<'_, D>) -> Result<()> {
        let per_block = self.geo.inodes_per_block();
        let inode_size = usize::from(self.geo.inode_size);
        let mut ino = 1;
        while ino <= self.last_ino {
            let (group, index) = self.geo.group_of_inode(ino);
            let block = self.placement.tables[group as usize].inode_table + u64::from(index / per_block);
            let count = (per_block - index % per_block).min(self.geo.inodes_per_group - index);
            let mut bytes = vec![0; self.geo.block_size as usize];
            for number in ino..(ino + count).min(self.last_ino + 1) {
                let mut inode = match self.inodes.remove(&number) {
                    Some(inode) => inode,
                    None => crate::inode::Inode::new_zeroed(number, self.geo.inode_size),
                };
                inode.update_checksum(&self.geo);
                let at = (self.geo.group_of_inode(number).1 % per_block) as usize * inode_size;
                bytes[at..at + inode_size].copy_from_slice(inode.bytes());
            }
            writer.put(block, &bytes)?;
            ino += count;
        }
        Ok(())
    }

    /// All descriptors, after every copy of the superblock; with `meta_bg` each block of them in three groups.
    fn write_descriptors<D: WriteAt>(&self, bytes: &[u8], writer: &mut Writer<'_, D>) -> Result<()> {
        let geo = &self.geo;
        let size = geo.block_size as usize;
        if geo.features.incompat(crate::features::incompat::META_BG) {
            let per_block = geo.desc_per_block();
            for (index, block) in bytes.chunks(size).enumerate() {
                let first = index as u32 * per_block;
                let mut places = vec![first, first + 1, first + per_block - 1];
                places.dedup();
                for group in places.into_iter().filter(|group| *group < geo.groups) {
                    writer.put(self.superblock_place(group) + u64::from(geo.has_super(group)), block)?;
                }
            }
            return Ok(());
        }
        for group in (0..geo.groups).filter(|group| geo.has_super(*group)) {
            writer.put(self.superblock_place(group) + 1, bytes)?;
        }
        Ok(())
    }

    /// The block in which a group's copy of the superblock is, or would be.
    fn superblock_place(&self, group: u32) -> BlockNr {
        if group == 0 { superblock_block(&self.geo) } else { self.geo.group_start(group) }
    }

    /// Copies of the superblock, not marked as clean: what was restored from one must be checked.
    fn write_backups<D: WriteAt>(&self, writer: &mut Writer<'_, D>) -> Result<()> {
        let mut sb = self.sb.clone();
        sb.s_state.set(0);
        for group in (1..self.geo.groups).filter(|group| self.geo.has_super(*group)) {
            sb.s_block_group_nr.set(group.min(u16::MAX.into()) as u16);
            let mut bytes = vec![0; self.geo.block_size as usize];
            bytes[..SUPERBLOCK_LEN].copy_from_slice(superblock::sealed(&sb).as_bytes());
            writer.put(self.superblock_place(group), &bytes)?;
        }
        Ok(())
    }
}
