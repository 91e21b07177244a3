//! The checksum of a single structure.

use super::{Kind, Layout, Place, SB, bytes, crc, crc_of, le16, part, put16, put32};

impl Layout {
    /// Makes the checksum right that covers a place.
    pub fn fix(&self, image: &mut [u8], place: &Place) {
        let (at, block) = (place.at, self.block);
        if matches!(place.kind, Kind::JournalSuperblock | Kind::LogTail | Kind::LogCommit) {
            return self.fix_journal(image, place);
        }
        if let (true, Kind::Descriptor(group)) = (self.gdt_csum, place.kind) {
            let Some(desc) = part(image, at, self.desc_size) else { return };
            let uuid: [u8; 16] = bytes(image, SB + 0x68);
            let parts = [&uuid[..], &group.to_le_bytes(), &desc[..0x1E], &desc[0x20..]].concat();
            return put16(image, at + 0x1E, crc16(&parts).into());
        }
        if !self.metadata_csum {
            return;
        }
        match place.kind {
            Kind::Superblock => {
                let sum = crc_of(!0, image, SB, 0x3FC);
                put32(image, SB + 0x3FC, sum);
            }
            Kind::Descriptor(group) => {
                put16(image, at + 0x1E, 0);
                let sum = crc_of(crc(self.seed, &group.to_le_bytes()), image, at, self.desc_size);
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
                let sum = crc_of(self.inode_seed(image, ino, at), image, at, self.inode_size);
                put16(image, at + 0x7C, sum);
                if high {
                    put16(image, at + 0x82, sum >> 16);
                }
            }
            Kind::ExtentNode(ino) => {
                let tail = 12 + 12 * le16(image, at + 4) as usize;
                if tail + 4 <= block {
                    let sum = crc_of(self.seed_of(image, ino), image, at, tail);
                    put32(image, at + tail, sum);
                }
            }
            Kind::DirLeaf(ino) => {
                let sum = crc_of(self.seed_of(image, ino), image, at, block - 12);
                put32(image, at + block - 4, sum);
            }
            Kind::DxRoot(ino) => self.fix_index(image, ino, at, 32),
            Kind::DxNode(ino) => self.fix_index(image, ino, at, 8),
            Kind::XattrBlock => {
                put32(image, at + 0x10, 0);
                let sum = crc_of(crc(self.seed, &((at / block) as u64).to_le_bytes()), image, at, block);
                put32(image, at + 0x10, sum);
            }
            Kind::Orphans(ino) => {
                let seed = crc(self.seed_of(image, ino), &((at / block) as u64).to_le_bytes());
                let sum = crc_of(seed, image, at, block - 8);
                put32(image, at + block - 4, sum);
            }
            Kind::Mmp => {
                let sum = crc_of(self.seed, image, at, 0x3FC);
                put32(image, at + 0x3FC, sum);
            }
            Kind::JournalSuperblock | Kind::LogTail | Kind::LogCommit | Kind::Plain => {}
        }
    }

    fn seed_of(&self, image: &[u8], ino: u32) -> u32 {
        self.inode_seed(image, ino, self.inode(ino))
    }

    /// Seed of what belongs to the inode at byte `at`: its number and generation.
    fn inode_seed(&self, image: &[u8], ino: u32, at: usize) -> u32 {
        crc_of(crc(self.seed, &ino.to_le_bytes()), image, at + 0x64, 4)
    }

    fn fix_bitmap(&self, image: &mut [u8], group: u32, at: usize, bits: u32, low: usize) {
        let sum = crc_of(self.seed, image, at, bits as usize / 8);
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
        let sum = crc_of(self.seed_of(image, ino), image, at, entries + count * 8);
        let sum = crc(crc_of(sum, image, tail, 4), &[0; 4]);
        put32(image, tail + 4, sum);
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}
