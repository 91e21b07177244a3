//! Quota files (format v2, revision 1): a header, and a tree of four levels with an entry for each owner of something.

use super::build::Build;
use super::special::put32;
use crate::error::Result;
use crate::features::ro_compat;
use crate::inode::{FileType, flags};
use std::collections::BTreeMap;

const USER_INO: u32 = 3;
const GROUP_INO: u32 = 4;
/// The file is read in pieces of this size, whatever the block size.
const PIECE: usize = 1024;
const ENTRY_LEN: usize = 72;
/// Header of a piece with entries.
const HEAD_LEN: usize = 16;
const LEVELS: u32 = 4;
const WEEK: u32 = 604_800;

#[derive(Debug, Clone, Copy)]
enum Counted {
    Users,
    Groups,
    Projects,
}

/// Bytes and inodes of an owner.
type Usage = BTreeMap<u32, (u64, u64)>;

impl Build<'_> {
    /// Files for users and groups, and for projects with that feature. What they count is the root directory and
    /// `lost+found`.
    pub fn make_quota_files(&mut self) -> Result<()> {
        self.make_quota_file(USER_INO, Counted::Users)?;
        self.make_quota_file(GROUP_INO, Counted::Groups)?;
        self.sb.s_usr_quota_inum.set(USER_INO);
        self.sb.s_grp_quota_inum.set(GROUP_INO);
        if self.geo.features.ro_compat(ro_compat::PROJECT) {
            let ino = self.next_ino();
            self.make_quota_file(ino, Counted::Projects)?;
            self.sb.s_prj_quota_inum.set(ino);
        }
        Ok(())
    }

    fn make_quota_file(&mut self, ino: u32, counted: Counted) -> Result<()> {
        let mut usage = Usage::new();
        for inode in self.inodes.values().filter(|inode| inode.is_dir()) {
            let owner = match counted {
                Counted::Users => inode.uid(),
                Counted::Groups => inode.gid(),
                Counted::Projects => 0,
            };
            let (bytes, inodes) = usage.entry(owner).or_default();
            *bytes += inode.blocks_512(&self.geo) * 512;
            *inodes += 1;
        }
        let file = quota_file(counted, &usage);
        let block = self.geo.block_size as usize;
        let blocks = self.place_blocks(self.goal_of(ino), file.len().div_ceil(block) as u64)?;
        let mut inode = self.new_inode(ino, FileType::Regular.mode_bits() | 0o600, 1);
        self.set_times(&mut inode);
        inode.set_flag(flags::IMMUTABLE, true);
        self.map(&mut inode, &blocks, file.len() as u64)?;
        for (number, piece) in blocks.all().zip(file.chunks(block)) {
            let mut bytes = piece.to_vec();
            bytes.resize(block, 0);
            self.contents.insert(number, bytes);
        }
        self.inodes.insert(ino, inode);
        Ok(())
    }
}

/// The bytes of a quota file. There are at most two owners: their entries fit one piece.
fn quota_file(counted: Counted, usage: &Usage) -> Vec<u8> {
    let magic: u32 = match counted {
        Counted::Users => 0xD9C0_1F11,
        Counted::Groups => 0xD9C0_1927,
        Counted::Projects => 0xD9C0_3F14,
    };
    // Piece 0 is the header, 1 the root of the tree.
    let mut file = vec![0; 2 * PIECE];
    let mut entries = None;
    for (slot, (owner, (bytes, inodes))) in usage.iter().enumerate() {
        let mut node = 1;
        for level in 0..LEVELS {
            let index = (owner >> (8 * (LEVELS - 1 - level)) & 0xFF) as usize;
            let at = node * PIECE + index * 4;
            let below = u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
            let next = match (below, entries) {
                (0, Some(piece)) if level == LEVELS - 1 => piece,
                (0, _) => {
                    file.resize(file.len() + PIECE, 0);
                    file.len() / PIECE - 1
                }
                (below, _) => below,
            };
            put32(&mut file, at, next as u32);
            node = next;
        }
        entries = Some(node);
        let head = node * PIECE;
        file[head + 8..head + 10].copy_from_slice(&(slot as u16 + 1).to_le_bytes());
        let at = head + HEAD_LEN + slot * ENTRY_LEN;
        put32(&mut file, at, *owner);
        file[at + 24..at + 32].copy_from_slice(&inodes.to_le_bytes());
        file[at + 48..at + 56].copy_from_slice(&bytes.to_le_bytes());
    }
    let pieces = (file.len() / PIECE) as u32;
    for (at, value) in [magic, 1, WEEK, WEEK, 0, pieces, 0, entries.unwrap_or(0) as u32].into_iter().enumerate() {
        put32(&mut file, at * 4, value);
    }
    file
}
