//! Where the structures of an ext image are, and their checksums: a small second reading of the format, so that a field
//! can be spoiled and its checksum made right again. Takes whatever bytes there are: what leads out of the image reads
//! as zero and is not written, and no loop is longer than the image has blocks or inodes.

mod fix;
mod log;
mod places;

use std::ops::Range;

/// What a range of bytes is, and so which checksum covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Superblock,
    Descriptor(u32),
    BlockBitmap(u32),
    InodeBitmap(u32),
    Inode(u32),
    ExtentNode(u32),
    DirLeaf(u32),
    DxRoot(u32),
    DxNode(u32),
    XattrBlock,
    JournalSuperblock,
    /// A descriptor or revoke block of the log.
    LogTail,
    LogCommit,
    Orphans(u32),
    Mmp,
    /// Without a checksum of its own: pointers of a block map.
    Plain,
}

/// A structure: what it is, where it begins, and which of its bytes are worth spoiling.
#[derive(Debug, Clone)]
pub struct Place {
    pub kind: Kind,
    pub at: usize,
    pub fields: Range<usize>,
}

/// The shape of an image.
#[derive(Debug)]
pub struct Layout {
    /// Bytes of a block.
    pub block: usize,
    inode_size: usize,
    desc_size: usize,
    inodes_per_group: u32,
    clusters_per_group: u32,
    /// Block groups, no more than the image has room to describe.
    pub groups: u32,
    metadata_csum: bool,
    gdt_csum: bool,
    seed: u32,
    /// Where the inode tables begin: kept, because a descriptor may be spoiled when it is needed.
    tables: Vec<usize>,
    journal: Option<Journal>,
}

/// The journal's shape, kept for the same reason.
#[derive(Debug)]
struct Journal {
    seed: u32,
    incompat: u32,
    first: usize,
    /// Byte offset of each block.
    blocks: Vec<usize>,
}

/// File block, block and length.
type Run = (usize, usize, usize);

const SB: usize = 1024;
const MAGIC: u32 = 0xEF53;
const EXTENTS: u32 = 0x8_0000;
const INDEX: u32 = 0x1000;
const INLINE_DATA: u32 = 0x1000_0000;
const LOG_MAGIC: u32 = 0xC03B_3998;
/// Levels of an extent tree below its root, at most.
const DEPTH: u32 = 5;
/// Behind any image, with room for what is added to it.
const NOWHERE: usize = usize::MAX / 2;

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn part(image: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    image.get(at..at.checked_add(len)?)
}

/// The checksum of a part; of nothing where the image ends before.
fn crc_of(seed: u32, image: &[u8], at: usize, len: usize) -> u32 {
    crc(seed, part(image, at, len).unwrap_or_default())
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> [u8; N] {
    part(image, at, N).map_or([0; N], |bytes| bytes.try_into().expect("as long as asked for"))
}

/// Four bytes as a number.
pub fn le32(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(image, at))
}

/// Two bytes as a number.
pub fn le16(image: &[u8], at: usize) -> u32 {
    u16::from_le_bytes(bytes(image, at)).into()
}

fn be32(image: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes(image, at))
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = at.checked_add(bytes.len()).and_then(|end| image.get_mut(at..end)) {
        slot.copy_from_slice(bytes);
    }
}

fn put32(image: &mut [u8], at: usize, value: u32) {
    put(image, at, &value.to_le_bytes());
}

fn put16(image: &mut [u8], at: usize, value: u32) {
    put(image, at, &(value as u16).to_le_bytes());
}

/// Makes all checksums right that are found from the superblock on.
pub fn reseal(image: &mut [u8]) {
    let Some(layout) = Layout::of(image) else { return };
    // The log first: its copies may be what is read as inodes, never the other way round.
    layout.fix_log(image);
    if layout.metadata_csum || layout.gdt_csum {
        for place in layout.all_places(image) {
            layout.fix(image, &place);
        }
    }
}

impl Layout {
    /// None where no superblock is, or one that no image has.
    pub fn of(image: &[u8]) -> Option<Self> {
        let word = |at: usize| le32(image, SB + at);
        if le16(image, SB + 0x38) != MAGIC || word(0x18) > 6 {
            return None;
        }
        let block = 1024 << word(0x18);
        let (incompat, ro) = (word(0x60), word(0x64));
        let seed = if incompat & 0x2000 != 0 { word(0x270) } else { crc_of(!0, image, SB + 0x68, 16) };
        let desc_size = if incompat & 0x80 != 0 { le16(image, SB + 0xFE) as usize } else { 32 };
        let inode_size = if word(0x4C) == 0 { 128 } else { le16(image, SB + 0x58) as usize };
        let (per_group, inodes_per_group) = (word(0x20), word(0x28));
        if desc_size < 32 || inode_size < 128 || per_group == 0 || inodes_per_group == 0 {
            return None;
        }
        let groups = word(4).checked_sub(word(0x14))?.div_ceil(per_group).min((image.len() / desc_size) as u32);
        let mut layout = Self {
            block,
            inode_size,
            desc_size,
            inodes_per_group,
            clusters_per_group: word(0x24),
            groups,
            metadata_csum: ro & 0x400 != 0,
            gdt_csum: ro & 0x10 != 0,
            seed,
            tables: Vec::new(),
            journal: None,
        };
        layout.tables = (0..groups).map(|group| le32(image, layout.desc(group) + 8) as usize * block).collect();
        layout.journal = layout.find_journal(image);
        Some(layout)
    }

    fn desc(&self, group: u32) -> usize {
        (SB / self.block + 1) * self.block + group as usize * self.desc_size
    }

    /// Byte offset of an inode, behind the image where no group has it.
    pub fn inode(&self, ino: u32) -> usize {
        let from_first = ino.wrapping_sub(1);
        let (group, index) = (from_first / self.inodes_per_group, from_first % self.inodes_per_group);
        self.tables.get(group as usize).map_or(NOWHERE, |table| table + index as usize * self.inode_size)
    }

    /// What an inode maps; block maps as far as their first indirect block.
    fn map(&self, image: &[u8], ino: u32) -> Vec<Run> {
        let at = self.inode(ino);
        let mut runs = Vec::new();
        if le32(image, at + 0x20) & EXTENTS != 0 {
            self.extents(image, at + 0x28, &mut |_, _| {}, &mut runs);
            return runs;
        }
        for slot in 0..12 {
            runs.push((slot, le32(image, at + 0x28 + slot * 4) as usize, 1));
        }
        let indirect = le32(image, at + 0x28 + 48) as usize * self.block;
        if indirect != 0 {
            for slot in 0..self.block / 4 {
                runs.push((12 + slot, le32(image, indirect + slot * 4) as usize, 1));
            }
        }
        runs.retain(|(_, block, _)| *block != 0);
        runs
    }

    /// The extents of the tree whose root is at byte `root`, and the byte offset and depth of each node below it.
    fn extents(&self, image: &[u8], root: usize, nodes: &mut dyn FnMut(usize, u32), runs: &mut Vec<Run>) {
        let mut left = image.len() / self.block;
        self.extents_below(image, root, 4, DEPTH, &mut left, nodes, runs);
    }

    #[expect(clippy::too_many_arguments, reason = "a walk and its state")]
    fn extents_below(
        &self,
        image: &[u8],
        node: usize,
        room: usize,
        levels: u32,
        left: &mut usize,
        nodes: &mut dyn FnMut(usize, u32),
        runs: &mut Vec<Run>,
    ) {
        let (entries, depth) = ((le16(image, node + 2) as usize).min(room), le16(image, node + 6));
        for entry in (0..entries).map(|entry| node + 12 + entry * 12) {
            if depth == 0 {
                let len = le16(image, entry + 4) as usize;
                let len = if len > 32768 { len - 32768 } else { len };
                runs.push((le32(image, entry) as usize, le32(image, entry + 8) as usize, len));
            } else if levels > 0 && *left > 0 {
                *left -= 1;
                let child = le32(image, entry + 4) as usize * self.block;
                nodes(child, depth - 1);
                self.extents_below(image, child, (self.block - 12) / 12, levels - 1, left, nodes, runs);
            }
        }
    }

    /// Byte offset of a block of a file, behind the image where there is none.
    fn block_of(&self, image: &[u8], ino: u32, file_block: usize) -> usize {
        let runs = self.map(image, ino);
        let run = runs.iter().find(|(start, _, len)| (*start..start + len).contains(&file_block));
        run.map_or(NOWHERE, |(start, block, _)| (block + file_block - start) * self.block)
    }

    /// Byte offsets of the blocks of a file in their order, no more than the image has and than `most`.
    fn blocks_of(&self, image: &[u8], ino: u32, most: usize) -> Vec<usize> {
        let most = most.min(image.len() / self.block);
        let runs = self.map(image, ino);
        runs.iter().flat_map(|(_, block, len)| *block..block + len).take(most).map(|nr| nr * self.block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn sound_images_stay_as_they_are() {
        for name in
            ["ext4-1k", "ext4-147", "ext4-2k", "ext4-142", "ext4-i128-csum", "dirty-csum2", "dirty-csum3", "mmp"]
        {
            let good = fixture::bytes(name);
            let mut image = good.clone();
            reseal(&mut image);
            let differs = good.iter().zip(&image).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}");
        }
    }

    #[test]
    fn sums_that_were_spoiled_come_back() {
        for name in ["ext4-1k", "ext4-147", "dirty-csum3"] {
            let good = fixture::bytes(name);
            let layout = Layout::of(&good).expect("an ext image");
            let mut image = good.clone();
            for place in layout.all_places(&good) {
                if let Kind::Inode(_) = place.kind {
                    put16(&mut image, place.at + 0x7C, 0x5555);
                } else if let Kind::Descriptor(_) = place.kind {
                    put16(&mut image, place.at + 0x1E, 0x5555);
                }
            }
            assert_ne!(image, good);
            reseal(&mut image);
            assert!(image == good, "{name}");
        }
    }

    #[test]
    fn whatever_the_bytes_are() {
        let good = fixture::bytes("dirty-csum3");
        for at in (SB..SB + 1024).chain((1 << 13)..(1 << 13) + 200) {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut image = good[..1 << 20].to_vec();
                image[at] = value;
                reseal(&mut image);
            }
        }
        reseal(&mut []);
        reseal(&mut good[..1500].to_vec());
    }
}
