//! The reserve of descriptors: inode 7, which has a doubly indirect block whose entries are the reserved blocks behind
//! the primary descriptors, each of which lists its copies in the groups that have any (ext4.rst, "Reserved GDT blocks").

use crate::error::{Result, corrupt};
use crate::features::compat;
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, Geometry, SUPERBLOCK_OFFSET};
use crate::inode::{FileType, Inode};
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::{ReadAt, WriteAt};
use std::sync::Arc;

const RESIZE_INO: u32 = 7;
/// Which pointer of the inode's map leads to two levels of pointers.
const DOUBLE_INDIRECT: usize = 13;

/// The reserve of a filesystem, verified.
#[derive(Debug)]
pub(super) struct Reserve {
    inode: Inode,
    /// The block that lists the reserved ones.
    list: BlockNr,
}

/// A block of descriptors behind the primary superblock, in use or reserved.
fn primary(geo: &Geometry, index: u32) -> BlockNr {
    SUPERBLOCK_OFFSET / u64::from(geo.block_size) + 1 + u64::from(index)
}

/// How far each copy of a block of descriptors is behind the primary one.
fn copies(geo: &Geometry) -> Vec<u64> {
    let groups = (1..geo.groups).filter(|group| geo.has_super(*group));
    groups.map(|group| u64::from(group) * u64::from(geo.blocks_per_group)).collect()
}

/// The list of a reserved block's copies. All are below 2^32, and there is room for them: the plan checked it.
fn copies_of(geo: &Geometry, block: BlockNr, copies: &[u64]) -> Vec<u8> {
    let mut list = vec![0; geo.block_size as usize];
    for (entry, copy) in list.chunks_exact_mut(4).zip(copies) {
        LittleEndian::write_u32(entry, (block + copy) as u32);
    }
    list
}

impl<D: ReadAt> Filesystem<D> {
    /// Loads the reserve; none without feature resize_inode.
    pub(super) fn load_reserve(&self) -> Result<Option<Reserve>> {
        let geo = &self.geo;
        if !geo.features.compat(compat::RESIZE_INODE) {
            return Ok(None);
        }
        let inode = self.inode(RESIZE_INO)?;
        let list = u64::from(LittleEndian::read_u32(&inode.base().i_block[DOUBLE_INDIRECT * 4..]));
        if inode.file_type() != Some(FileType::Regular) || inode.links() == 0 {
            return Err(corrupt(inode.place(), "the resize inode is not in use"));
        }
        self.check_block(list, 1, || inode.place())?;
        let top = self.read_block(list)?;
        let slots = geo.block_size as usize / 4;
        let copies = copies(geo);
        if copies.len() > slots {
            return Err(corrupt(inode.place(), format!("its lists have {slots} entries, {} are needed", copies.len())));
        }
        for index in geo.desc_blocks()..geo.desc_blocks() + geo.reserved_gdt_blocks {
            let wanted = primary(geo, index);
            let slot = index as usize % slots;
            let found = u64::from(LittleEndian::read_u32(&top[slot * 4..]));
            if found != wanted {
                let found = format!("slot {slot} of its list leads to block {found}, expected {wanted}");
                return Err(corrupt(inode.place(), found));
            }
            if *self.read_block(wanted)? != copies_of(geo, wanted, &copies) {
                return Err(corrupt(inode.place(), format!("block {wanted} does not list its copies")));
            }
        }
        Ok(Some(Reserve { inode, list }))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Takes blocks that became descriptors out of the reserve, and tells the others of new copies. The shape is the new
    /// one already.
    pub(super) fn update_reserve(&mut self, before: &Geometry, reserve: Reserve) -> Result<()> {
        let geo = self.geo.clone();
        let Reserve { mut inode, list } = reserve;
        let slots = geo.block_size as usize / 4;
        let (old_copies, new_copies) = (copies(before), copies(&geo));
        let first_left = before.desc_blocks() + before.reserved_gdt_blocks - geo.reserved_gdt_blocks;
        if geo.features.compat(compat::RESIZE_INODE) {
            if first_left > before.desc_blocks() {
                let top = self.block_mut(list)?;
                for index in before.desc_blocks()..first_left {
                    let slot = index as usize % slots;
                    LittleEndian::write_u32(&mut top[slot * 4..], 0);
                }
            }
            if old_copies != new_copies {
                for index in first_left..first_left + geo.reserved_gdt_blocks {
                    let block = primary(&geo, index);
                    let bytes = copies_of(&geo, block, &new_copies);
                    self.state.staged.insert(block, Arc::new(bytes), false);
                }
            }
        } else {
            self.free_blocks(list, 1)?;
            self.state.staged.remove(list);
            LittleEndian::write_u32(&mut inode.base_mut().i_block[DOUBLE_INDIRECT * 4..], 0);
        }
        // The list and the reserved blocks with all their copies; each counts as a cluster.
        let held = |geo: &Geometry, copies: &[u64]| {
            let in_use = u64::from(geo.features.compat(compat::RESIZE_INODE));
            (in_use + u64::from(geo.reserved_gdt_blocks) * (1 + copies.len() as u64)) * u64::from(geo.cluster_ratio())
        };
        let counted = inode.blocks_512(&geo) / u64::from(geo.block_size / 512);
        let other = counted.checked_sub(held(before, &old_copies)).ok_or_else(|| {
            corrupt(
                inode.place(),
                format!("counts {counted} blocks, the reserve alone has {}", held(before, &old_copies)),
            )
        })?;
        inode.set_blocks(&geo, other + held(&geo, &new_copies))?;
        self.put_inode(inode)
    }
}
