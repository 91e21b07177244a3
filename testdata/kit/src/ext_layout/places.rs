//! Lists of structures: a few of each kind, to be spoiled, and all that have a checksum.

use super::{EXTENTS, INDEX, INLINE_DATA, Kind, Layout, Place, SB, le16, le32};

const DIRECTORY: u32 = 4;
const REGULAR: u32 = 8;
const INODE_UNINIT: u32 = 1;
const BLOCK_UNINIT: u32 = 2;

fn place(kind: Kind, at: usize, fields: std::ops::Range<usize>) -> Place {
    Place { kind, at, fields }
}

impl Layout {
    /// The structures of an image, a few of each kind.
    pub fn places(&self, image: &[u8]) -> Vec<Place> {
        let mut places = vec![place(Kind::Superblock, SB, 0..0x290)];
        for group in [0, self.groups.saturating_sub(1)] {
            let desc = self.desc(group);
            places.push(place(Kind::Descriptor(group), desc, 0..self.desc_size));
            places.push(place(Kind::BlockBitmap(group), le32(image, desc) as usize * self.block, 0..8));
            places.push(place(Kind::InodeBitmap(group), le32(image, desc + 4) as usize * self.block, 0..8));
        }
        let mut seen: Vec<(Kind, usize)> = Vec::new();
        // Two of each are enough; of inodes, two of each type and form.
        let mut rare = |kind: Kind, form: usize| {
            let name = std::mem::discriminant(&kind);
            let count = seen.iter().filter(|(k, f)| std::mem::discriminant(k) == name && *f == form).count();
            seen.push((kind, form));
            count < 2
        };
        for (ino, at) in self.inodes(image) {
            let (mode, flags) = (le16(image, at), le32(image, at + 0x20));
            if le16(image, at + 0x1A) == 0 {
                continue;
            }
            let form = (mode as usize >> 12) << 4 | usize::from(flags & INDEX != 0) << 1;
            if rare(Kind::Inode(ino), form) || ino == le32(image, SB + 0xE0) {
                places.push(place(Kind::Inode(ino), at, 0..self.inode_size));
            }
            let acl = le32(image, at + 0x68) as usize * self.block;
            if acl != 0 && rare(Kind::XattrBlock, 0) {
                places.push(place(Kind::XattrBlock, acl, 0..96));
            }
            if flags & EXTENTS != 0 {
                let mut nodes = |node: usize, depth: u32| {
                    if rare(Kind::ExtentNode(ino), depth as usize) {
                        places.push(place(Kind::ExtentNode(ino), node, 0..48));
                    }
                };
                self.extents(image, at + 0x28, &mut nodes, &mut Vec::new());
            } else if mode >> 12 == REGULAR && flags & INLINE_DATA == 0 {
                for slot in 12..15 {
                    let pointers = le32(image, at + 0x28 + slot * 4) as usize * self.block;
                    if pointers != 0 && rare(Kind::Plain, slot) {
                        places.push(place(Kind::Plain, pointers, 0..16));
                    }
                }
            }
            if mode >> 12 == DIRECTORY && flags & INLINE_DATA == 0 {
                self.dir_places(image, ino, flags & INDEX != 0, &mut rare, &mut places);
            }
        }
        if let Some(orphans) = orphan_file(image) {
            let block = self.block_of(image, orphans, 0);
            places.push(place(Kind::Orphans(orphans), block, 0..8));
            places.push(place(Kind::Orphans(orphans), block, self.block - 8..self.block - 4));
        }
        self.log_places(image, &mut places);
        places
    }

    /// All structures with a checksum but those of the log, the superblock last.
    pub(super) fn all_places(&self, image: &[u8]) -> Vec<Place> {
        let mut places = Vec::new();
        // So many blocks of trees and directories in all: each of a sound image is listed at most once.
        let mut left = image.len() / self.block;
        for (ino, at) in self.inodes(image) {
            let (mode, flags) = (le16(image, at), le32(image, at + 0x20));
            places.push(place(Kind::Inode(ino), at, 0..0));
            let acl = le32(image, at + 0x68) as usize * self.block;
            if acl != 0 {
                places.push(place(Kind::XattrBlock, acl, 0..0));
            }
            if flags & EXTENTS != 0 && left > 0 {
                let mut nodes = |node: usize, _: u32| {
                    left = left.saturating_sub(1);
                    places.push(place(Kind::ExtentNode(ino), node, 0..0));
                };
                self.extents(image, at + 0x28, &mut nodes, &mut Vec::new());
            }
            if mode >> 12 == DIRECTORY && flags & INLINE_DATA == 0 {
                let blocks = self.blocks_of(image, ino, left);
                left -= blocks.len();
                places.extend(blocks.iter().enumerate().map(|(number, &at)| {
                    let kind = match flags & INDEX != 0 {
                        true if number == 0 => Kind::DxRoot(ino),
                        true if self.is_node(image, at) => Kind::DxNode(ino),
                        _ => Kind::DirLeaf(ino),
                    };
                    place(kind, at, 0..0)
                }));
            }
        }
        if let Some(orphans) = orphan_file(image) {
            let blocks = self.blocks_of(image, orphans, left);
            places.extend(blocks.into_iter().map(|at| place(Kind::Orphans(orphans), at, 0..0)));
        }
        let mmp = le32(image, SB + 0x168) as usize * self.block;
        if le32(image, SB + 0x60) & 0x100 != 0 && mmp != 0 {
            places.push(place(Kind::Mmp, mmp, 0..0));
        }
        for group in 0..self.groups {
            let desc = self.desc(group);
            // A bitmap that is not in use has no checksum.
            let unused = le16(image, desc + 0x12);
            if unused & BLOCK_UNINIT == 0 {
                places.push(place(Kind::BlockBitmap(group), le32(image, desc) as usize * self.block, 0..0));
            }
            if unused & INODE_UNINIT == 0 {
                places.push(place(Kind::InodeBitmap(group), le32(image, desc + 4) as usize * self.block, 0..0));
            }
            places.push(place(Kind::Descriptor(group), desc, 0..0));
        }
        places.push(place(Kind::Superblock, SB, 0..0));
        places
    }

    /// Number and byte offset of each inode that has a mode, no more than the image has room for.
    fn inodes(&self, image: &[u8]) -> impl Iterator<Item = (u32, usize)> {
        let all = (1..=self.inodes_per_group.saturating_mul(self.groups)).take(image.len() / self.inode_size);
        all.map(|ino| (ino, self.inode(ino))).filter(|(_, at)| le16(image, *at) != 0)
    }

    /// Whether a block of an indexed directory begins with the empty entry that spans a node.
    fn is_node(&self, image: &[u8], at: usize) -> bool {
        le32(image, at) == 0 && le16(image, at + 4) as usize % 65535 == self.block % 65536
    }

    fn dir_places(
        &self,
        image: &[u8],
        ino: u32,
        indexed: bool,
        rare: &mut dyn FnMut(Kind, usize) -> bool,
        places: &mut Vec<Place>,
    ) {
        let first = self.block_of(image, ino, 0);
        if !indexed {
            if rare(Kind::DirLeaf(ino), 0) {
                places.push(place(Kind::DirLeaf(ino), first, 0..64));
            }
            return;
        }
        places.push(place(Kind::DxRoot(ino), first, 0..64));
        let below = self.block_of(image, ino, le32(image, first + 36) as usize);
        if image.get(first + 30) == Some(&0) {
            places.push(place(Kind::DirLeaf(ino), below, 0..64));
            return;
        }
        places.push(place(Kind::DxNode(ino), below, 0..40));
        let leaf = self.block_of(image, ino, le32(image, below + 12) as usize);
        places.push(place(Kind::DirLeaf(ino), leaf, 0..64));
    }
}

/// The inode of the orphan file, where there is one.
fn orphan_file(image: &[u8]) -> Option<u32> {
    (le32(image, SB + 0x5C) & 0x1000 != 0).then(|| le32(image, SB + 0x280))
}
