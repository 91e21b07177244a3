//! Bitmaps and counts against what was found in use.

use super::blocks::set_bits;
use super::inode_table::Note;
use super::{Checker, Severity};
use crate::error::Result;
use crate::geometry::GroupNr;
use crate::group::{bit, bitmap_checksum, count_free};
use nomount_block::ReadAt;
use std::sync::Arc;

/// Runs of wrong bits that are told of one bitmap; more say no more.
const MAX_RUNS: usize = 16;

/// What a bitmap is of, for ids and texts.
struct Kind {
    name: &'static str,
    used: &'static str,
    unused: &'static str,
    uninit: &'static str,
    checksum: &'static str,
    padding: &'static str,
}

const BLOCKS: Kind = Kind {
    name: "block",
    used: "PR_5_BLOCK_USED",
    unused: "PR_5_BLOCK_UNUSED",
    uninit: "PR_5_BLOCK_UNINIT",
    checksum: "PR_5_BLOCK_BITMAP_CSUM_INVALID",
    padding: "PR_5_BLOCK_BMAP_PADDING",
};
const INODES: Kind = Kind {
    name: "inode",
    used: "PR_5_INODE_USED",
    unused: "PR_5_INODE_UNUSED",
    uninit: "PR_5_INODE_UNINIT",
    checksum: "PR_5_INODE_BITMAP_CSUM_INVALID",
    padding: "PR_5_INODE_BMAP_PADDING",
};

/// A bitmap as the filesystem has it.
enum Stored {
    /// In its block, or in a change that is not committed.
    Bits(Arc<Vec<u8>>),
    /// Never written: it follows from the layout.
    Implied(Vec<u8>),
}

impl Stored {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bits(bytes) => bytes,
            Self::Implied(bytes) => bytes,
        }
    }
}

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_bitmaps(&mut self) -> Result<()> {
        let (mut free_clusters, mut free_inodes) = (0, 0);
        for number in 0..self.geo.groups {
            free_clusters += u64::from(self.check_block_bitmap(number)?);
            free_inodes += u64::from(self.check_inode_bitmap(number)?);
        }
        let (found, wanted) = (self.fs.free_blocks_count(), free_clusters * self.ratio());
        self.report.blocks = self.geo.blocks_count.saturating_sub(wanted);
        if found != wanted {
            let found = format!("{found} blocks free");
            self.corrupt("PR_5_FREE_BLOCK_COUNT", "superblock", found, wanted.to_string());
        }
        let (found, wanted) = (u64::from(self.fs.free_inodes_count()), free_inodes);
        if found != wanted {
            let found = format!("{found} inodes free");
            self.corrupt("PR_5_FREE_INODE_COUNT", "superblock", found, wanted.to_string());
        }
        Ok(())
    }

    /// Gives how many clusters of the group are free.
    fn check_block_bitmap(&mut self, number: GroupNr) -> Result<u32> {
        let ratio = self.ratio() as u32;
        let clusters = self.geo.group_blocks(number).div_ceil(ratio);
        let mut wanted = vec![0; self.fs.block_size()];
        self.used.to_bytes(number, &mut wanted[..self.geo.clusters_per_group.div_ceil(8) as usize]);
        let free = count_free(&wanted, clusters);
        let view = self.groups[number as usize].clone();
        let staged = self.fs.state.groups.get(&number).and_then(|state| state.blocks.as_ref());
        let stored = match staged {
            Some(bits) => Some(Stored::Bits(Arc::clone(&bits.current))),
            None if view.block_uninit() => Some(Stored::Implied(self.implied_blocks(number, clusters))),
            None if view.bitmaps_ok => {
                let bytes = self.fs.read_block(view.block_bitmap)?;
                let bits = &bytes[..self.geo.clusters_per_group as usize / 8];
                self.check_bitmap_sum(&BLOCKS, number, bits, view.block_csum, 0x3A);
                Some(Stored::Bits(bytes))
            }
            None => None,
        };
        if let Some(stored) = stored {
            self.compare(&BLOCKS, number, &stored, &mut wanted, clusters);
        }
        if view.free_blocks != free {
            let found = format!("{} blocks free", view.free_blocks);
            self.corrupt(
                "PR_5_FREE_BLOCK_COUNT_GROUP",
                format!("descriptor of group {number}"),
                found,
                free.to_string(),
            );
        }
        Ok(free)
    }

    /// What is in use of a group whose bitmap was never written: its own metadata and that of others in it.
    fn implied_blocks(&self, number: GroupNr, clusters: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.fs.block_size()];
        let blocks = self.geo.blocks_per_group.div_ceil(8) as usize;
        let ratio = self.ratio() as u32;
        if ratio == 1 {
            self.metadata.to_bytes(number, &mut bytes[..blocks]);
        } else {
            let mut metadata = vec![0; blocks];
            self.metadata.to_bytes(number, &mut metadata);
            for index in (0..self.geo.group_blocks(number)).filter(|index| bit(&metadata, *index)) {
                set_bits(&mut bytes, index / ratio, index / ratio + 1);
            }
        }
        let bits = bytes.len() as u32 * 8;
        set_bits(&mut bytes, clusters, bits);
        bytes
    }

    /// Gives how many inodes of the group are free.
    fn check_inode_bitmap(&mut self, number: GroupNr) -> Result<u32> {
        let inodes = self.geo.inodes_per_group;
        let mut wanted = vec![0; self.fs.block_size()];
        let (mut used, mut dirs) = (0, 0);
        for (ino, note) in self.notes.of_group(number).filter(|(_, note)| note.has(Note::USED)) {
            let index = (ino - 1) % inodes;
            set_bits(&mut wanted, index, index + 1);
            used += 1;
            dirs += u32::from(note.is_dir());
        }
        self.report.inodes += u64::from(used);
        self.report.directories += u64::from(dirs);
        let view = self.groups[number as usize].clone();
        let staged = self.fs.state.groups.get(&number).and_then(|state| state.inodes.as_ref());
        let stored = match staged {
            Some(bits) => Some(Stored::Bits(Arc::clone(&bits.current))),
            None if view.inode_uninit() => {
                let mut bytes = vec![0; wanted.len()];
                set_bits(&mut bytes, inodes, wanted.len() as u32 * 8);
                Some(Stored::Implied(bytes))
            }
            None if view.bitmaps_ok => {
                let bytes = self.fs.read_block(view.inode_bitmap)?;
                self.check_bitmap_sum(&INODES, number, &bytes[..inodes as usize / 8], view.inode_csum, 0x3C);
                Some(Stored::Bits(bytes))
            }
            None => None,
        };
        if let Some(stored) = stored {
            self.compare(&INODES, number, &stored, &mut wanted, inodes);
        }
        let free = inodes - used;
        let place = || format!("descriptor of group {number}");
        if view.free_inodes != free {
            let found = format!("{} inodes free", view.free_inodes);
            self.corrupt("PR_5_FREE_INODE_COUNT_GROUP", place(), found, free.to_string());
        }
        if view.used_dirs != dirs {
            let found = format!("{} directories", view.used_dirs);
            self.corrupt("PR_5_FREE_DIR_COUNT_GROUP", place(), found, dirs.to_string());
        }
        Ok(free)
    }

    fn check_bitmap_sum(&mut self, kind: &Kind, number: GroupNr, bytes: &[u8], found: u32, hi_end: u16) {
        if !self.geo.metadata_csum() {
            return;
        }
        let wanted = bitmap_checksum(self.geo, bytes, hi_end);
        let found = if self.geo.desc_size >= hi_end { found } else { found & 0xFFFF };
        if found != wanted {
            let place = format!("{} bitmap of group {number}", kind.name);
            self.corrupt(kind.checksum, place, format!("checksum is {found:#010x}"), format!("{wanted:#010x}"));
        }
    }

    /// Compares the first `len` bits, and the rest with ones.
    fn compare(&mut self, kind: &Kind, number: GroupNr, stored: &Stored, wanted: &mut [u8], len: u32) {
        let (bytes, bits) = (stored.bytes(), wanted.len() as u32 * 8);
        set_bits(wanted, len, bits);
        if bytes == wanted {
            return;
        }
        let place = || format!("{} bitmap of group {number}", kind.name);
        let runs = differences(bytes, wanted, len);
        if let (Stored::Implied(_), false) = (stored, runs.is_empty()) {
            self.corrupt(kind.uninit, place(), "it is said to be uninitialised, and things in it are in use", "");
        }
        for (from, to, in_use) in runs {
            let (id, found) =
                if in_use { (kind.used, "free, and in use") } else { (kind.unused, "in use, and nothing uses it") };
            let (first, last) = self.numbers(kind, number, from, to);
            let what = if first == last {
                format!("{} {first} is marked {found}", kind.name)
            } else {
                format!("{}s {first} to {last} are marked {found}", kind.name)
            };
            self.corrupt(id, place(), what, "");
        }
        if let Some(index) = (len..bits).find(|index| !bit(bytes, *index)) {
            let found = format!("bit {index} after the last {} is 0", kind.name);
            // e2fsck looks at the last group only, and only as far as the group could reach.
            let last = number + 1 == self.geo.groups && index < self.per_group(kind);
            if last {
                self.corrupt(kind.padding, place(), found, "1");
            } else {
                self.add(Severity::Warning, "NM_BMAP_PADDING", place(), found, "1");
            }
        }
    }

    fn per_group(&self, kind: &Kind) -> u32 {
        if kind.name == BLOCKS.name { self.geo.clusters_per_group } else { self.geo.inodes_per_group }
    }

    /// The first and last number that bits of a bitmap stand for.
    fn numbers(&self, kind: &Kind, number: GroupNr, from: u32, to: u32) -> (u64, u64) {
        if kind.name == BLOCKS.name {
            let start = self.geo.group_start(number);
            let ratio = self.ratio();
            (start + u64::from(from) * ratio, start + u64::from(to) * ratio - 1)
        } else {
            let start = u64::from(number) * u64::from(self.geo.inodes_per_group) + 1;
            (start + u64::from(from), start + u64::from(to) - 1)
        }
    }
}

/// The first runs of bits that differ, and whether they should be set.
fn differences(found: &[u8], wanted: &[u8], len: u32) -> Vec<(u32, u32, bool)> {
    let mut runs: Vec<(u32, u32, bool)> = Vec::new();
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate().filter(|(_, (found, wanted))| found != wanted) {
        for low in (0..8).filter(|low| (found ^ wanted) & (1 << low) != 0) {
            let index = at as u32 * 8 + low;
            if index >= len {
                return runs;
            }
            let in_use = wanted & (1 << low) != 0;
            let full = runs.len() == MAX_RUNS;
            match runs.last_mut() {
                Some((_, end, same)) if *end == index && *same == in_use => *end += 1,
                _ if full => return runs,
                _ => runs.push((index, index + 1, in_use)),
            }
        }
    }
    runs
}
