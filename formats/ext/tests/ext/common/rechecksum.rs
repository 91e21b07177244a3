//! Where the structures of an image are, and their checksums: a small second reading of the format, so that a field can
//! be spoiled and its checksum made right again. Works on good images only.

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

pub struct Layout {
    pub block: usize,
    inode_size: usize,
    desc_size: usize,
    inodes_per_group: u32,
    clusters_per_group: u32,
    pub groups: u32,
    metadata_csum: bool,
    gdt_csum: bool,
    seed: u32,
    journal_seed: u32,
    /// Where the inode tables begin: kept, because a descriptor may be spoiled when it is needed.
    tables: Vec<usize>,
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

pub fn le32(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

pub fn le16(image: &[u8], at: usize) -> u32 {
    u16::from_le_bytes(image[at..at + 2].try_into().unwrap()).into()
}

fn be32(image: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(image[at..at + 4].try_into().unwrap())
}

fn put32(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put16(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

const SB: usize = 1024;
const EXTENTS: u32 = 0x8_0000;
const INDEX: u32 = 0x1000;
const MAGIC: u32 = 0xC03B_3998;

impl Layout {
    pub fn of(image: &[u8]) -> Self {
        let word = |at: usize| le32(image, SB + at);
        let block = 1024 << word(0x18);
        let (incompat, ro) = (word(0x60), word(0x64));
        let first = word(0x14);
        let per_group = word(0x20);
        let seed = if incompat & 0x2000 != 0 { word(0x270) } else { crc(!0, &image[SB + 0x68..SB + 0x78]) };
        let mut layout = Self {
            block,
            inode_size: le16(image, SB + 0x58) as usize,
            desc_size: if incompat & 0x80 != 0 { le16(image, SB + 0xFE) as usize } else { 32 },
            inodes_per_group: word(0x28),
            clusters_per_group: word(0x24),
            groups: (word(4) - first).div_ceil(per_group),
            metadata_csum: ro & 0x400 != 0,
            gdt_csum: ro & 0x10 != 0,
            seed,
            journal_seed: 0,
            tables: Vec::new(),
        };
        layout.tables = (0..layout.groups).map(|g| le32(image, layout.desc(g) + 8) as usize * block).collect();
        if let Some(&(_, journal, _)) = layout.map(image, word(0xE0)).first() {
            let uuid = journal * block + 0x30;
            layout.journal_seed = crc(!0, &image[uuid..uuid + 16]);
        }
        layout
    }

    fn desc(&self, group: u32) -> usize {
        (SB / self.block + 1) * self.block + group as usize * self.desc_size
    }

    pub fn inode(&self, ino: u32) -> usize {
        let (group, index) = ((ino - 1) / self.inodes_per_group, (ino - 1) % self.inodes_per_group);
        self.tables[group as usize] + index as usize * self.inode_size
    }

    /// File block, block and length of what an inode maps; block maps as far as their first indirect block.
    fn map(&self, image: &[u8], ino: u32) -> Vec<(usize, usize, usize)> {
        if ino == 0 {
            return Vec::new();
        }
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

    fn extents(
        &self,
        image: &[u8],
        node: usize,
        nodes: &mut dyn FnMut(usize, u32),
        runs: &mut Vec<(usize, usize, usize)>,
    ) {
        let (entries, depth) = (le16(image, node + 2) as usize, le16(image, node + 6));
        for entry in (0..entries).map(|entry| node + 12 + entry * 12) {
            if depth == 0 {
                let len = le16(image, entry + 4) as usize;
                let len = if len > 32768 { len - 32768 } else { len };
                runs.push((le32(image, entry) as usize, le32(image, entry + 8) as usize, len));
            } else {
                let child = le32(image, entry + 4) as usize * self.block;
                nodes(child, depth - 1);
                self.extents(image, child, nodes, runs);
            }
        }
    }

    fn block_of(&self, image: &[u8], ino: u32, file_block: usize) -> usize {
        let runs = self.map(image, ino);
        let run = runs.iter().find(|(start, _, len)| (*start..start + len).contains(&file_block));
        let (start, block, _) = run.expect("a good image has no hole there");
        (block + file_block - start) * self.block
    }

    /// The structures of an image, a few of each kind.
    pub fn places(&self, image: &[u8]) -> Vec<Place> {
        let place = |kind, at, fields| Place { kind, at, fields };
        let mut places = vec![place(Kind::Superblock, SB, 0..0x290)];
        for group in [0, self.groups - 1] {
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
        for ino in 1..=self.inodes_per_group * self.groups {
            let at = self.inode(ino);
            let (mode, flags) = (le16(image, at), le32(image, at + 0x20));
            if mode == 0 || le16(image, at + 0x1A) == 0 {
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
            } else if mode >> 12 == 8 && flags & 0x1000_0000 == 0 {
                for slot in 12..15 {
                    let pointers = le32(image, at + 0x28 + slot * 4) as usize * self.block;
                    if pointers != 0 && rare(Kind::Plain, slot) {
                        places.push(place(Kind::Plain, pointers, 0..16));
                    }
                }
            }
            if mode >> 12 == 4 && flags & 0x1000_0000 == 0 {
                self.dir_places(image, ino, flags & INDEX != 0, &mut rare, &mut places);
            }
        }
        let orphans = le32(image, SB + 0x280);
        if le32(image, SB + 0x5C) & 0x1000 != 0 {
            let block = self.block_of(image, orphans, 0);
            places.push(place(Kind::Orphans(orphans), block, 0..8));
            places.push(place(Kind::Orphans(orphans), block, self.block - 8..self.block - 4));
        }
        self.log_places(image, &mut places);
        places
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
                places.push(Place { kind: Kind::DirLeaf(ino), at: first, fields: 0..64 });
            }
            return;
        }
        places.push(Place { kind: Kind::DxRoot(ino), at: first, fields: 0..64 });
        let below = self.block_of(image, ino, le32(image, first + 36) as usize);
        if image[first + 30] == 0 {
            places.push(Place { kind: Kind::DirLeaf(ino), at: below, fields: 0..64 });
            return;
        }
        places.push(Place { kind: Kind::DxNode(ino), at: below, fields: 0..40 });
        let leaf = self.block_of(image, ino, le32(image, below + 12) as usize);
        places.push(Place { kind: Kind::DirLeaf(ino), at: leaf, fields: 0..64 });
    }

    fn log_places(&self, image: &[u8], places: &mut Vec<Place>) {
        let ino = le32(image, SB + 0xE0);
        let Some(&(_, block, _)) = self.map(image, ino).first() else { return };
        let at = block * self.block;
        places.push(Place { kind: Kind::JournalSuperblock, at, fields: 0..0x60 });
        let start = be32(image, at + 0x1C) as usize;
        if start == 0 {
            return;
        }
        for index in start..start + 40 {
            let at = self.block_of(image, ino, index);
            if be32(image, at) != MAGIC {
                continue;
            }
            let kind = if be32(image, at + 4) == 2 { Kind::LogCommit } else { Kind::LogTail };
            places.push(Place { kind, at, fields: 0..64 });
        }
    }

    /// Makes the checksum right that covers a place.
    pub fn fix(&self, image: &mut [u8], place: &Place) {
        let (at, block) = (place.at, self.block);
        if matches!(place.kind, Kind::JournalSuperblock | Kind::LogTail | Kind::LogCommit) {
            return self.fix_journal(image, place);
        }
        if let (true, Kind::Descriptor(group)) = (self.gdt_csum, place.kind) {
            let desc = &image[at..at + self.desc_size];
            let parts = [&image[SB + 0x68..SB + 0x78], &group.to_le_bytes(), &desc[..0x1E], &desc[0x20..]].concat();
            return put16(image, at + 0x1E, crc16(&parts).into());
        }
        if !self.metadata_csum {
            return;
        }
        match place.kind {
            Kind::Superblock => {
                let sum = crc(!0, &image[SB..SB + 0x3FC]);
                put32(image, SB + 0x3FC, sum);
            }
            Kind::Descriptor(group) => {
                put16(image, at + 0x1E, 0);
                let seed = crc(self.seed, &group.to_le_bytes());
                let sum = crc(seed, &image[at..at + self.desc_size]);
                put16(image, at + 0x1E, sum);
            }
            Kind::BlockBitmap(group) => self.fix_bitmap(image, group, at, self.clusters_per_group, 0x18),
            Kind::InodeBitmap(group) => self.fix_bitmap(image, group, at, self.inodes_per_group, 0x1A),
            Kind::Inode(ino) => {
                let high = self.inode_size > 128 && (4..=self.inode_size as u32).contains(&le16(image, at + 128));
                put16(image, at + 0x7C, 0);
                if high {
                    put16(image, at + 0x82, 0);
                }
                let seed = crc(crc(self.seed, &ino.to_le_bytes()), &image[at + 0x64..at + 0x68]);
                let sum = crc(seed, &image[at..at + self.inode_size]);
                put16(image, at + 0x7C, sum);
                if high {
                    put16(image, at + 0x82, sum >> 16);
                }
            }
            Kind::ExtentNode(ino) => {
                let tail = 12 + 12 * le16(image, at + 4) as usize;
                if tail + 4 <= block {
                    let sum = crc(self.inode_seed(image, ino), &image[at..at + tail]);
                    put32(image, at + tail, sum);
                }
            }
            Kind::DirLeaf(ino) => {
                let sum = crc(self.inode_seed(image, ino), &image[at..at + block - 12]);
                put32(image, at + block - 4, sum);
            }
            Kind::DxRoot(ino) => self.fix_index(image, ino, at, 32),
            Kind::DxNode(ino) => self.fix_index(image, ino, at, 8),
            Kind::XattrBlock => {
                put32(image, at + 0x10, 0);
                let seed = crc(self.seed, &((at / block) as u64).to_le_bytes());
                let sum = crc(seed, &image[at..at + block]);
                put32(image, at + 0x10, sum);
            }
            Kind::Orphans(ino) => {
                let seed = crc(self.inode_seed(image, ino), &((at / block) as u64).to_le_bytes());
                let sum = crc(seed, &image[at..at + block - 8]);
                put32(image, at + block - 4, sum);
            }
            _ => {}
        }
    }

    fn inode_seed(&self, image: &[u8], ino: u32) -> u32 {
        let at = self.inode(ino);
        crc(crc(self.seed, &ino.to_le_bytes()), &image[at + 0x64..at + 0x68])
    }

    fn fix_bitmap(&self, image: &mut [u8], group: u32, at: usize, bits: u32, low: usize) {
        let sum = crc(self.seed, &image[at..at + bits as usize / 8]);
        let desc = self.desc(group);
        put16(image, desc + low, sum);
        if self.desc_size >= 64 {
            put16(image, desc + low + 0x20, sum >> 16);
        }
        self.fix(image, &Place { kind: Kind::Descriptor(group), at: desc, fields: 0..0 });
    }

    fn fix_index(&self, image: &mut [u8], ino: u32, at: usize, entries: usize) {
        let (limit, count) = (le16(image, at + entries) as usize, le16(image, at + entries + 2) as usize);
        let tail = at + entries + limit * 8;
        if tail + 8 > at + self.block || entries + count * 8 > self.block {
            return;
        }
        let sum = crc(self.inode_seed(image, ino), &image[at..at + entries + count * 8]);
        let sum = crc(crc(sum, &image[tail..tail + 4]), &[0; 4]);
        put32(image, tail + 4, sum);
    }

    fn fix_journal(&self, image: &mut [u8], place: &Place) {
        let at = place.at;
        let (end, sum_at, seed) = match place.kind {
            Kind::JournalSuperblock => (at + 1024, at + 0xFC, !0),
            Kind::LogCommit => (at + self.block, at + 0x10, self.journal_seed),
            _ => (at + self.block, at + self.block - 4, self.journal_seed),
        };
        let old = be32(image, sum_at);
        if old == 0 {
            return;
        }
        put32(image, sum_at, 0);
        let sum = crc(seed, &image[at..end]);
        image[sum_at..sum_at + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}
