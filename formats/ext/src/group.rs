//! Block groups: descriptors and bitmaps, read lazily, verified when read, written back at commit.

use crate::checksum::{crc16, crc32c};
use crate::error::{Result, bad_checksum, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, Geometry, GroupNr};
use crate::raw::GroupDesc;
use nomount_block::ReadAt;
use std::sync::Arc;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

/// Flexible groups larger than this are not searched for neighbours' metadata: mke2fs makes 16 groups.
const MAX_LOG_FLEX: u32 = 8;

/// `bg_flags`.
pub(crate) const INODE_UNINIT: u16 = 1;
pub(crate) const BLOCK_UNINIT: u16 = 2;
pub(crate) const INODE_ZEROED: u16 = 4;

/// A bitmap as the state before the present transaction has it and as the change in progress does. What the committed state uses must not
/// be overwritten, and neither must what a savepoint uses: contents go to the device at once.
#[derive(Debug, Clone)]
pub(crate) struct Bits {
    pub committed: Arc<Vec<u8>>,
    pub current: Arc<Vec<u8>>,
    /// In use by the committed state, by the change, or by a savepoint in it: not to be handed out.
    pub held: Arc<Vec<u8>>,
}

pub(crate) fn bit(bits: &[u8], index: u32) -> bool {
    bits[index as usize / 8] & (1 << (index % 8)) != 0
}

pub(crate) fn set_bit(bits: &mut [u8], index: u32, on: bool) {
    let mask = 1 << (index % 8);
    let byte = &mut bits[index as usize / 8];
    *byte = if on { *byte | mask } else { *byte & !mask };
}

impl Bits {
    fn new(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self { committed: Arc::clone(&bytes), current: Arc::clone(&bytes), held: bytes }
    }

    /// Makes bits that stood for nothing, and were set, stand for free clusters of a group that became longer. The state
    /// before has none there.
    pub fn open(&mut self, indexes: std::ops::Range<u32>) {
        for bits in [&mut self.current, &mut self.held] {
            let bits: &mut Vec<u8> = Arc::make_mut(bits);
            indexes.clone().for_each(|index| set_bit(bits, index, false));
        }
    }

    /// Takes `len` bits from `index` on, which are free.
    pub fn take_run(&mut self, index: u32, len: u32) {
        for bits in [&mut self.current, &mut self.held] {
            let bits: &mut Vec<u8> = Arc::make_mut(bits);
            (index..index + len).for_each(|index| set_bit(bits, index, true));
        }
    }

    pub fn take(&mut self, index: u32) {
        for bits in [&mut self.current, &mut self.held] {
            let bits: &mut Vec<u8> = Arc::make_mut(bits);
            set_bit(bits, index, true);
        }
    }

    /// Gives a bit back; with `hold` it may not be taken again before the commit.
    pub fn give(&mut self, index: u32, hold: bool) {
        let bits: &mut Vec<u8> = Arc::make_mut(&mut self.current);
        set_bit(bits, index, false);
        if !hold && !bit(&self.committed, index) {
            let bits: &mut Vec<u8> = Arc::make_mut(&mut self.held);
            set_bit(bits, index, false);
        }
    }

    /// Gives back `len` bits from `index` on; see [`Bits::give`].
    pub fn give_run(&mut self, index: u32, len: u32, hold: bool) {
        let bits: &mut Vec<u8> = Arc::make_mut(&mut self.current);
        (index..index + len).for_each(|index| set_bit(bits, index, false));
        if !hold {
            let held: &mut Vec<u8> = Arc::make_mut(&mut self.held);
            let new = (index..index + len).filter(|index| !bit(&self.committed, *index));
            new.for_each(|index| set_bit(held, index, false));
        }
    }

    /// The change is the committed state now.
    pub fn settle(&mut self) {
        self.committed = Arc::clone(&self.current);
        self.held = Arc::clone(&self.current);
    }

    /// The next transaction begins from here. What earlier ones free stays held: contents of files go to the device
    /// before any of them is committed.
    pub fn cut(&mut self) {
        self.committed = Arc::clone(&self.current);
    }

    pub fn changed(&self) -> bool {
        !Arc::ptr_eq(&self.committed, &self.current) && self.committed != self.current
    }
}

/// A group that a change has touched.
#[derive(Debug, Clone)]
pub(crate) struct GroupState {
    pub group: Group,
    /// Flags and unused mark before the present transaction: they tell what that state never reads.
    pub committed_flags: u16,
    pub committed_unused: u32,
    pub blocks: Option<Bits>,
    pub inodes: Option<Bits>,
    /// No inode below this index is free.
    pub first_free_inode: u32,
    /// Clusters that hold metadata, as [`Filesystem::metadata_inside`] found them when the bitmap was loaded.
    pub metadata: Arc<Vec<(u32, u32)>>,
    /// No run of free clusters is longer.
    pub longest: u32,
}

impl GroupState {
    /// The next transaction begins from here.
    pub fn cut(&mut self) {
        self.committed_flags = self.group.flags;
        self.committed_unused = self.group.itable_unused;
        [&mut self.blocks, &mut self.inodes].into_iter().flatten().for_each(Bits::cut);
    }

    /// The change is the committed state now.
    pub fn settle(&mut self) {
        self.cut();
        self.longest = u32::MAX;
        [&mut self.blocks, &mut self.inodes].into_iter().flatten().for_each(Bits::settle);
    }
}

/// A descriptor, with the halves of its numbers joined.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its number.
    pub number: GroupNr,
    /// Block of the block bitmap.
    pub block_bitmap: BlockNr,
    /// Block of the inode bitmap.
    pub inode_bitmap: BlockNr,
    /// First block of the inode table.
    pub inode_table: BlockNr,
    /// Blocks (clusters with bigalloc) that are free.
    pub free_blocks: u32,
    /// Inodes that are free.
    pub free_inodes: u32,
    /// Inodes that are directories.
    pub used_dirs: u32,
    /// Inodes at the end of the table that were never used.
    pub itable_unused: u32,
    /// `bg_flags`.
    pub flags: u16,
    raw: GroupDesc,
    tail: Vec<u8>,
}

fn join(lo: u32, hi: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}

fn join16(lo: u16, hi: u16) -> u32 {
    u32::from(hi) << 16 | u32::from(lo)
}

impl Group {
    pub(crate) fn parse(number: GroupNr, bytes: &[u8]) -> Self {
        let mut raw = GroupDesc::new_zeroed();
        let len = bytes.len().min(size_of::<GroupDesc>());
        raw.as_mut_bytes()[..len].copy_from_slice(&bytes[..len]);
        Self {
            number,
            block_bitmap: join(raw.bg_block_bitmap_lo.get(), raw.bg_block_bitmap_hi.get()),
            inode_bitmap: join(raw.bg_inode_bitmap_lo.get(), raw.bg_inode_bitmap_hi.get()),
            inode_table: join(raw.bg_inode_table_lo.get(), raw.bg_inode_table_hi.get()),
            free_blocks: join16(raw.bg_free_blocks_count_lo.get(), raw.bg_free_blocks_count_hi.get()),
            free_inodes: join16(raw.bg_free_inodes_count_lo.get(), raw.bg_free_inodes_count_hi.get()),
            used_dirs: join16(raw.bg_used_dirs_count_lo.get(), raw.bg_used_dirs_count_hi.get()),
            itable_unused: join16(raw.bg_itable_unused_lo.get(), raw.bg_itable_unused_hi.get()),
            flags: raw.bg_flags.get(),
            tail: bytes[len..].to_vec(),
            raw,
        }
    }

    /// The descriptor's bytes, `desc_size` of them, without a new checksum.
    fn to_bytes(&self, desc_size: usize) -> Vec<u8> {
        let mut raw = self.raw.clone();
        raw.bg_free_blocks_count_lo.set(self.free_blocks as u16);
        raw.bg_free_inodes_count_lo.set(self.free_inodes as u16);
        raw.bg_used_dirs_count_lo.set(self.used_dirs as u16);
        raw.bg_itable_unused_lo.set(self.itable_unused as u16);
        raw.bg_flags.set(self.flags);
        if desc_size >= 64 {
            raw.bg_free_blocks_count_hi.set((self.free_blocks >> 16) as u16);
            raw.bg_free_inodes_count_hi.set((self.free_inodes >> 16) as u16);
            raw.bg_used_dirs_count_hi.set((self.used_dirs >> 16) as u16);
            raw.bg_itable_unused_hi.set((self.itable_unused >> 16) as u16);
        }
        let mut bytes = raw.as_bytes()[..desc_size.min(64)].to_vec();
        bytes.extend(&self.tail);
        bytes
    }

    /// `bg_checksum`, as it is stored.
    pub(crate) fn checksum(&self) -> u16 {
        self.raw.bg_checksum.get()
    }

    /// The checksum of the block bitmap, as it is stored.
    pub(crate) fn block_bitmap_csum(&self) -> u32 {
        join16(self.raw.bg_block_bitmap_csum_lo.get(), self.raw.bg_block_bitmap_csum_hi.get())
    }

    /// The checksum of the inode bitmap, as it is stored.
    pub(crate) fn inode_bitmap_csum(&self) -> u32 {
        join16(self.raw.bg_inode_bitmap_csum_lo.get(), self.raw.bg_inode_bitmap_csum_hi.get())
    }

    /// Whether the committed block bitmap is not on the device but follows from the layout.
    pub(crate) fn block_uninit(&self) -> bool {
        self.flags & BLOCK_UNINIT != 0
    }

    /// Whether no inode was ever used.
    pub(crate) fn inode_uninit(&self) -> bool {
        self.flags & INODE_UNINIT != 0
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// A group's descriptor, verified.
    pub fn group(&self, number: GroupNr) -> Result<Group> {
        if let Some(state) = self.state.groups.get(&number) {
            return Ok(state.group.clone());
        }
        self.load_group(number)
    }

    fn load_group(&self, number: GroupNr) -> Result<Group> {
        let geo = &self.geo;
        let (block, offset) = geo.desc_place(number);
        let bytes = self.read_block(block)?;
        let bytes = &bytes[offset..offset + usize::from(geo.desc_size)];
        let mut group = Group::parse(number, bytes);
        if geo.group_csum() {
            let wanted = desc_checksum(&self.geo, number, bytes);
            let found = group.raw.bg_checksum.get();
            if found != wanted {
                return Err(bad_checksum(format!("descriptor of group {number}"), found.into(), wanted.into()));
            }
        } else {
            // Without checksums these fields mean nothing: every bitmap and table is initialised.
            group.flags = 0;
            group.itable_unused = 0;
        }
        let place = || format!("descriptor of group {number}");
        self.check_block(group.block_bitmap, 1, place)?;
        self.check_block(group.inode_bitmap, 1, place)?;
        self.check_block(group.inode_table, u64::from(geo.itable_blocks()), place)?;
        if [group.itable_unused, group.free_inodes, group.used_dirs].iter().any(|count| *count > geo.inodes_per_group) {
            let detail = format!(
                "{} inodes unused, {} free and {} directories, of {}",
                group.itable_unused, group.free_inodes, group.used_dirs, geo.inodes_per_group
            );
            return Err(corrupt(place(), detail));
        }
        if group.free_blocks > geo.clusters_per_group {
            let detail = format!("{} blocks free, of {}", group.free_blocks, geo.clusters_per_group);
            return Err(corrupt(place(), detail));
        }
        Ok(group)
    }

    /// A group to be changed.
    pub(crate) fn group_mut(&mut self, number: GroupNr) -> Result<&mut GroupState> {
        if !self.state.groups.contains_key(&number) {
            let group = self.load_group(number)?;
            let state = GroupState {
                committed_flags: group.flags,
                committed_unused: group.itable_unused,
                group,
                blocks: None,
                inodes: None,
                first_free_inode: 0,
                metadata: Arc::default(),
                longest: u32::MAX,
            };
            self.state.groups.insert_mut(number, state);
        }
        Ok(self.state.groups.get_mut(&number).expect("just inserted"))
    }

    /// A group's block bitmap, to be changed.
    pub(crate) fn block_bits(&mut self, number: GroupNr) -> Result<&mut Bits> {
        if self.group_mut(number)?.blocks.is_none() {
            let metadata = self.metadata_inside(number)?;
            let bits = Bits::new(self.load_block_bitmap(number, &metadata)?);
            let state = self.group_mut(number)?;
            state.blocks = Some(bits);
            state.metadata = Arc::new(metadata);
        }
        Ok(self.group_mut(number)?.blocks.as_mut().expect("just loaded"))
    }

    /// A group's inode bitmap, to be changed.
    pub(crate) fn inode_bits(&mut self, number: GroupNr) -> Result<&mut Bits> {
        if self.group_mut(number)?.inodes.is_none() {
            let bits = Bits::new(self.load_inode_bitmap(number)?);
            self.group_mut(number)?.inodes = Some(bits);
        }
        Ok(self.group_mut(number)?.inodes.as_mut().expect("just loaded"))
    }

    pub(crate) fn load_block_bitmap(&self, number: GroupNr, metadata: &[(u32, u32)]) -> Result<Vec<u8>> {
        let group = self.group(number)?;
        let place = || format!("block bitmap of group {number}");
        let clusters = self.geo.group_clusters(number);
        if let Some((index, len)) = metadata.iter().find(|(index, len)| index + len > clusters) {
            return Err(corrupt(place(), format!("metadata needs {} of {clusters} clusters", index + len)));
        }
        let bytes = if group.block_uninit() {
            self.initial_block_bitmap(&group)
        } else {
            let bytes = self.read_block(group.block_bitmap)?.to_vec();
            let len = self.geo.clusters_per_group as usize / 8;
            self.check_bitmap(&place(), &bytes[..len], group.block_bitmap_csum(), 0x3A)?;
            bytes
        };
        // What the layout needs must be in use, or allocation would hand out metadata.
        for &(index, len) in metadata {
            if let Some(free) = (index..index + len).find(|index| !bit(&bytes, *index)) {
                let block = self.geo.group_start(number) + u64::from(free) * u64::from(self.geo.cluster_ratio());
                return Err(corrupt(place(), format!("block {block} holds metadata and is marked free")));
            }
        }
        let free = count_free(&bytes, clusters);
        if free != group.free_blocks {
            return Err(corrupt(
                place(),
                format!("has {free} free clusters, the descriptor counts {}", group.free_blocks),
            ));
        }
        Ok(bytes)
    }

    pub(crate) fn load_inode_bitmap(&self, number: GroupNr) -> Result<Vec<u8>> {
        let group = self.group(number)?;
        let place = || format!("inode bitmap of group {number}");
        let inodes = self.geo.inodes_per_group;
        let bytes = if group.inode_uninit() {
            let mut bytes = vec![0; self.block_size()];
            pad(&mut bytes, inodes);
            bytes
        } else {
            let bytes = self.read_block(group.inode_bitmap)?.to_vec();
            self.check_bitmap(&place(), &bytes[..inodes as usize / 8], group.inode_bitmap_csum(), 0x3C)?;
            bytes
        };
        // Small groups: the reserved inodes may go on in the second one.
        let reserved = u64::from(self.geo.first_ino - 1).saturating_sub(u64::from(number) * u64::from(inodes));
        if (0..reserved.min(inodes.into()) as u32).any(|index| !bit(&bytes, index)) {
            return Err(corrupt(place(), "a reserved inode is marked free"));
        }
        let free = count_free(&bytes, inodes);
        if free != group.free_inodes {
            return Err(corrupt(
                place(),
                format!("has {free} free inodes, the descriptor counts {}", group.free_inodes),
            ));
        }
        Ok(bytes)
    }

    /// Verifies a bitmap's checksum; its high half exists in descriptors that reach to `hi_end`.
    fn check_bitmap(&self, place: &str, bytes: &[u8], found: u32, hi_end: u16) -> Result<()> {
        if !self.geo.metadata_csum() {
            return Ok(());
        }
        let wanted = bitmap_checksum(&self.geo, bytes, hi_end);
        if found == wanted { Ok(()) } else { Err(bad_checksum(place, found, wanted)) }
    }

    /// Clusters of a group that hold metadata, its own or that of its neighbours in the flexible group: index in the
    /// group, and length.
    pub(crate) fn metadata_inside(&self, number: GroupNr) -> Result<Vec<(u32, u32)>> {
        let own = self.group(number)?;
        let log = u32::from(self.state.sb.s_log_groups_per_flex);
        if !self.geo.features.incompat(incompat::FLEX_BG) || log == 0 || log > MAX_LOG_FLEX {
            return Ok(self.group_metadata(&own));
        }
        let first = number >> log << log;
        let last = (first + (1 << log)).min(self.geo.groups);
        let mut ranges = vec![(0, self.geo.group_overhead(number))];
        for other in first..last {
            ranges.extend(self.placed_in(&self.group(other)?, number));
        }
        ranges.retain(|(_, len)| *len > 0);
        Ok(self.in_clusters(ranges))
    }

    /// Ranges of blocks of a group as ranges of clusters, rounded outwards.
    fn in_clusters(&self, mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
        let ratio = self.geo.cluster_ratio();
        for (index, len) in &mut ranges {
            let end = (*index + *len).div_ceil(ratio);
            *index /= ratio;
            *len = end - *index;
        }
        ranges
    }

    /// Clusters of a group that hold its own metadata: index in the group, and length.
    fn group_metadata(&self, group: &Group) -> Vec<(u32, u32)> {
        let mut ranges = vec![(0, self.geo.group_overhead(group.number))];
        ranges.extend(self.placed_in(group, group.number));
        ranges.retain(|(_, len)| *len > 0);
        self.in_clusters(ranges)
    }

    /// The bitmaps and inode table of `group`, as far as they lie inside the group `host`.
    fn placed_in(&self, group: &Group, host: GroupNr) -> Vec<(u32, u32)> {
        let geo = &self.geo;
        let start = geo.group_start(host);
        let end = start + u64::from(geo.group_blocks(host));
        let table = (group.inode_table, u64::from(geo.itable_blocks()));
        let mut ranges = Vec::new();
        for (block, len) in [(group.block_bitmap, 1), (group.inode_bitmap, 1), table] {
            let (from, to) = (block.max(start), (block + len).min(end));
            if from < to {
                ranges.push(((from - start) as u32, (to - from) as u32));
            }
        }
        ranges
    }

    /// The bitmap that a BLOCK_UNINIT group stands for.
    fn initial_block_bitmap(&self, group: &Group) -> Vec<u8> {
        let mut bytes = vec![0; self.block_size()];
        for (index, len) in self.group_metadata(group) {
            (index..index + len).for_each(|index| set_bit(&mut bytes, index, true));
        }
        pad(&mut bytes, self.geo.group_clusters(group.number));
        bytes
    }

    /// Puts changed groups into the blocks of their bitmaps and descriptors, with new checksums. Repeating it
    /// changes nothing.
    pub(crate) fn store_groups(&mut self) -> Result<()> {
        let groups: Vec<(GroupNr, GroupState)> = self.state.groups.iter().map(|(n, s)| (*n, s.clone())).collect();
        for (number, mut state) in groups {
            if let Some(bits) = state.blocks.as_ref().filter(|bits| bits.changed()) {
                let len = self.geo.clusters_per_group as usize / 8;
                let sum = bitmap_checksum(&self.geo, &bits.current[..len], 0x3A);
                if self.geo.metadata_csum() {
                    state.group.raw.bg_block_bitmap_csum_lo.set(sum as u16);
                    state.group.raw.bg_block_bitmap_csum_hi.set((sum >> 16) as u16);
                }
                state.group.flags &= !BLOCK_UNINIT;
                self.state.staged.insert(state.group.block_bitmap, Arc::clone(&bits.current), false);
            }
            // An inode that was handed out and given back leaves the bits as they were, and the group initialised: its
            // bitmap was never written, and may hold anything.
            let initialised = state.committed_flags & INODE_UNINIT != 0 && !state.group.inode_uninit();
            if let Some(bits) = state.inodes.as_ref().filter(|bits| initialised || bits.changed()) {
                let len = self.geo.inodes_per_group as usize / 8;
                let sum = bitmap_checksum(&self.geo, &bits.current[..len], 0x3C);
                if self.geo.metadata_csum() {
                    state.group.raw.bg_inode_bitmap_csum_lo.set(sum as u16);
                    state.group.raw.bg_inode_bitmap_csum_hi.set((sum >> 16) as u16);
                }
                state.group.flags &= !INODE_UNINIT;
                self.state.staged.insert(state.group.inode_bitmap, Arc::clone(&bits.current), false);
            }
            let (block, offset) = self.geo.desc_place(number);
            let old = self.read_block(block)?;
            let len = usize::from(self.geo.desc_size);
            let mut bytes = state.group.to_bytes(len);
            if self.geo.group_csum() {
                let sum = desc_checksum(&self.geo, number, &bytes);
                bytes[0x1E..0x20].copy_from_slice(&sum.to_le_bytes());
            } else {
                // These were read as zero because they mean nothing; they stay as they were.
                for range in [0x12..0x14, 0x1C..0x1E] {
                    bytes[range.clone()].copy_from_slice(&old[offset..][range]);
                }
            }
            if old[offset..offset + len] != bytes {
                self.block_mut(block)?[offset..offset + len].copy_from_slice(&bytes);
            }
            self.state.groups.insert_mut(number, state);
        }
        Ok(())
    }
}

/// `bg_checksum` of a descriptor's bytes (ext4.rst, "Block Group Descriptors").
pub(crate) fn desc_checksum(geo: &Geometry, number: GroupNr, bytes: &[u8]) -> u16 {
    const AT: usize = 0x1E;
    if geo.metadata_csum() {
        let seed = crc32c(geo.csum_seed, &number.to_le_bytes());
        let before = crc32c(crc32c(seed, &bytes[..AT]), &[0, 0]);
        return crc32c(before, &bytes[AT + 2..]) as u16;
    }
    let mut crc = crc16(!0, &geo.uuid);
    crc = crc16(crc, &number.to_le_bytes());
    crc = crc16(crc, &bytes[..AT]);
    crc16(crc, &bytes[AT + 2..])
}

/// The checksum of a bitmap; its high half exists in descriptors that reach to `hi_end`.
pub(crate) fn bitmap_checksum(geo: &Geometry, bytes: &[u8], hi_end: u16) -> u32 {
    let sum = crc32c(geo.csum_seed, bytes);
    if geo.desc_size >= hi_end { sum } else { sum & 0xFFFF }
}

/// Clear bits among the first `len`.
pub(crate) fn count_free(bits: &[u8], len: u32) -> u32 {
    let (whole, rest) = (len / 8, len / 8 * 8..len);
    let in_whole: u32 = bits[..whole as usize].iter().map(|byte| byte.count_zeros()).sum();
    in_whole + rest.filter(|index| !bit(bits, *index)).count() as u32
}

/// Sets the bits from `used` to the end of the block.
pub(crate) fn pad(bytes: &mut [u8], used: u32) {
    for index in used..bytes.len() as u32 * 8 {
        set_bit(bytes, index, true);
    }
}

/// Puts a number into its two halves.
pub(crate) fn split16(value: u32, lo: &mut U16, hi: &mut U16) {
    lo.set(value as u16);
    hi.set((value >> 16) as u16);
}

/// Puts a number into its two halves.
pub(crate) fn split32(value: u64, lo: &mut U32, hi: &mut U32) {
    lo.set(value as u32);
    hi.set((value >> 32) as u32);
}
