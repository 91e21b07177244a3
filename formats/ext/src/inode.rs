//! Inodes: the raw bytes, and what they mean.

use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::{incompat, ro_compat};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, Geometry};
use crate::raw::{InodeBase, InodeExtra};
use crate::time::Time;
use nomount_block::ReadAt;
use zerocopy::{FromBytes, FromZeros};

/// The root directory.
pub const ROOT_INO: u32 = 2;

pub(crate) const S_IFMT: u16 = 0xF000;
const BASE_LEN: usize = 128;

/// `i_flags` bits (ext4.rst, "Inode flags").
pub(crate) mod flags {
    pub const IMMUTABLE: u32 = 0x10;
    pub const APPEND: u32 = 0x20;
    pub const NODUMP: u32 = 0x40;
    pub const NOATIME: u32 = 0x80;
    pub const ENCRYPT: u32 = 0x800;
    pub const INDEX: u32 = 0x1000;
    pub const JOURNAL_DATA: u32 = 0x4000;
    pub const HUGE_FILE: u32 = 0x4_0000;
    pub const EXTENTS: u32 = 0x8_0000;
    pub const VERITY: u32 = 0x10_0000;
    pub const EA_INODE: u32 = 0x20_0000;
    pub const INLINE_DATA: u32 = 0x1000_0000;
    pub const CASEFOLD: u32 = 0x4000_0000;
    const DIRSYNC: u32 = 0x1_0000;
    pub const TOPDIR: u32 = 0x2_0000;
    pub const PROJINHERIT: u32 = 0x2000_0000;
    /// What a new inode takes from its directory (EXT4_FL_INHERITED): besides these SECRM, UNRM, COMPR, SYNC, NOCOMPR,
    /// JOURNAL_DATA, NOTAIL and DAX.
    pub const INHERITED: u32 = NODUMP | NOATIME | DIRSYNC | PROJINHERIT | CASEFOLD | 0x200_C40F;
    /// What a caller may give or take (as EXT4_FL_USER_MODIFIABLE, without what changes how contents are stored): also
    /// SECRM, UNRM, SYNC, JOURNAL_DATA, NOTAIL and DAX.
    pub const SETTABLE: u32 = IMMUTABLE | APPEND | NODUMP | NOATIME | DIRSYNC | TOPDIR | PROJINHERIT | 0x200_C00B;
    /// Of these, what means something only for directories.
    pub const DIR_ONLY: u32 = DIRSYNC | TOPDIR | CASEFOLD | PROJINHERIT;
    /// Of these, what means something for what is neither a file nor a directory.
    pub const OTHER_KEPT: u32 = NODUMP | NOATIME;
}

/// What an inode stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// From the type bits of `i_mode`.
    pub fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & S_IFMT {
            0x8000 => Self::Regular,
            0x4000 => Self::Directory,
            0xA000 => Self::Symlink,
            0x2000 => Self::CharDevice,
            0x6000 => Self::BlockDevice,
            0x1000 => Self::Fifo,
            0xC000 => Self::Socket,
            _ => return None,
        })
    }

    /// The type bits of `i_mode`.
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Regular => 0x8000,
            Self::Directory => 0x4000,
            Self::Symlink => 0xA000,
            Self::CharDevice => 0x2000,
            Self::BlockDevice => 0x6000,
            Self::Fifo => 0x1000,
            Self::Socket => 0xC000,
        }
    }

    /// `file_type` of a directory entry (ext4.rst, "Linear Directories").
    pub(crate) fn entry_type(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// An inode as it is stored, with its number.
#[derive(Debug, Clone)]
pub struct Inode {
    ino: u32,
    bytes: Vec<u8>,
}

impl Inode {
    /// An inode as its table has it, unverified. `bytes` has the size of an inode.
    pub(crate) fn from_bytes(ino: u32, bytes: Vec<u8>) -> Self {
        Self { ino, bytes }
    }

    pub(crate) fn new_zeroed(ino: u32, size: u16) -> Self {
        Self { ino, bytes: vec![0; usize::from(size)] }
    }

    /// Its number.
    pub fn ino(&self) -> u32 {
        self.ino
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(crate) fn base(&self) -> &InodeBase {
        InodeBase::ref_from_prefix(&self.bytes).expect("an inode has at least 128 bytes").0
    }

    pub(crate) fn base_mut(&mut self) -> &mut InodeBase {
        InodeBase::mut_from_prefix(&mut self.bytes).expect("an inode has at least 128 bytes").0
    }

    /// Bytes after the first 128 that are in use.
    pub(crate) fn extra_isize(&self) -> usize {
        match self.bytes.get(BASE_LEN..BASE_LEN + 2) {
            Some(len) => usize::from(u16::from_le_bytes([len[0], len[1]])),
            None => 0,
        }
    }

    /// The extra fields, of which those up to `extra_isize` are meant and the others zero.
    fn extra(&self) -> InodeExtra {
        let mut extra = InodeExtra::new_zeroed();
        let used = self.extra_isize().min(size_of::<InodeExtra>());
        let bytes = self.bytes.get(BASE_LEN..BASE_LEN + used).unwrap_or(&[]);
        zerocopy::IntoBytes::as_mut_bytes(&mut extra)[..bytes.len()].copy_from_slice(bytes);
        extra
    }

    pub(crate) fn extra_mut(&mut self) -> Option<&mut InodeExtra> {
        InodeExtra::mut_from_prefix(self.bytes.get_mut(BASE_LEN..)?).ok().map(|(extra, _)| extra)
    }

    /// Whether the extra field that ends at byte `end` after the first 128 is in use.
    fn has_extra(&self, end: usize) -> bool {
        self.extra_isize() >= end
    }

    /// `i_mode`, with the type bits.
    pub fn mode(&self) -> u16 {
        self.base().i_mode.get()
    }

    /// What it stands for; none for a free or broken inode.
    pub fn file_type(&self) -> Option<FileType> {
        FileType::from_mode(self.mode())
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == Some(FileType::Directory)
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        u32::from(self.base().i_uid_high.get()) << 16 | u32::from(self.base().i_uid.get())
    }

    /// Group.
    pub fn gid(&self) -> u32 {
        u32::from(self.base().i_gid_high.get()) << 16 | u32::from(self.base().i_gid.get())
    }

    pub(crate) fn set_owner(&mut self, uid: u32, gid: u32) {
        let base = self.base_mut();
        base.i_uid.set(uid as u16);
        base.i_uid_high.set((uid >> 16) as u16);
        base.i_gid.set(gid as u16);
        base.i_gid_high.set((gid >> 16) as u16);
    }

    /// Number of names. A directory with more subdirectories than can be counted has 1.
    pub fn links(&self) -> u16 {
        self.base().i_links_count.get()
    }

    /// Project, which quotas may count; 0 where the inode has no room for one.
    pub fn project(&self) -> u32 {
        if self.has_project() { self.extra().i_projid.get() } else { 0 }
    }

    /// Whether there is room for a project.
    pub(crate) fn has_project(&self) -> bool {
        self.has_extra(32)
    }

    pub(crate) fn set_project(&mut self, project: u32) {
        if self.has_project()
            && let Some(fields) = self.extra_mut()
        {
            fields.i_projid.set(project);
        }
    }

    /// `i_flags`.
    pub fn flags(&self) -> u32 {
        self.base().i_flags.get()
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    pub(crate) fn set_flag(&mut self, flag: u32, on: bool) {
        let old = self.flags();
        self.base_mut().i_flags.set(if on { old | flag } else { old & !flag });
    }

    /// Whether the contents are in the inode itself (feature inline_data).
    pub fn is_inline(&self) -> bool {
        self.has_flag(flags::INLINE_DATA)
    }

    /// Length in bytes. The high half means something for regular files, and for directories with large_dir.
    pub fn size(&self) -> u64 {
        u64::from(self.base().i_size_high.get()) << 32 | u64::from(self.base().i_size_lo.get())
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.base_mut().i_size_lo.set(size as u32);
        self.base_mut().i_size_high.set((size >> 32) as u32);
    }

    /// Storage in units of 512 bytes.
    pub fn blocks_512(&self, geo: &Geometry) -> u64 {
        let base = self.base();
        let lo = u64::from(base.i_blocks_lo.get());
        if !geo.features.ro_compat(ro_compat::HUGE_FILE) {
            return lo;
        }
        let count = u64::from(base.i_blocks_high.get()) << 32 | lo;
        if self.has_flag(flags::HUGE_FILE) { count * u64::from(geo.block_size / 512) } else { count }
    }

    /// Stores how many filesystem blocks the file uses, in the unit that fits (`ext4_inode_blocks_set`).
    pub(crate) fn set_blocks(&mut self, geo: &Geometry, fs_blocks: u64) -> Result<()> {
        let sectors = fs_blocks * u64::from(geo.block_size / 512);
        let huge_file = geo.features.ro_compat(ro_compat::HUGE_FILE);
        let (count, in_blocks) = match sectors {
            0..=0xFFFF_FFFF => (sectors, false),
            0..=0xFFFF_FFFF_FFFF if huge_file => (sectors, false),
            _ if huge_file => (fs_blocks, true),
            _ => return Err(Error::FileTooLarge { size: sectors * 512, max: 0xFFFF_FFFF * 512 }),
        };
        self.set_flag(flags::HUGE_FILE, in_blocks);
        self.base_mut().i_blocks_lo.set(count as u32);
        self.base_mut().i_blocks_high.set((count >> 32) as u16);
        Ok(())
    }

    /// The block of extended attributes; 0 for none.
    pub(crate) fn file_acl(&self) -> BlockNr {
        u64::from(self.base().i_file_acl_high.get()) << 32 | u64::from(self.base().i_file_acl_lo.get())
    }

    pub(crate) fn set_file_acl(&mut self, block: BlockNr) {
        self.base_mut().i_file_acl_lo.set(block as u32);
        self.base_mut().i_file_acl_high.set((block >> 32) as u16);
    }

    /// Last access.
    pub fn atime(&self) -> Time {
        let extra = self.has_extra(16).then(|| self.extra().i_atime_extra.get());
        Time::decode(self.base().i_atime.get(), extra)
    }

    /// Last change of contents.
    pub fn mtime(&self) -> Time {
        let extra = self.has_extra(12).then(|| self.extra().i_mtime_extra.get());
        Time::decode(self.base().i_mtime.get(), extra)
    }

    /// Last change of the inode.
    pub fn ctime(&self) -> Time {
        let extra = self.has_extra(8).then(|| self.extra().i_ctime_extra.get());
        Time::decode(self.base().i_ctime.get(), extra)
    }

    /// Birth, where the inode keeps it.
    pub fn crtime(&self) -> Option<Time> {
        let extra = self.has_extra(24).then(|| self.extra().i_crtime_extra.get());
        self.has_extra(20).then(|| Time::decode(self.extra().i_crtime.get(), extra))
    }

    pub(crate) fn set_atime(&mut self, time: Time) {
        let with = self.has_extra(16);
        let (base, extra) = time.encode(with);
        self.base_mut().i_atime.set(base);
        if let Some(fields) = self.extra_mut().filter(|_| with) {
            fields.i_atime_extra.set(extra);
        }
    }

    pub(crate) fn set_mtime(&mut self, time: Time) {
        let with = self.has_extra(12);
        let (base, extra) = time.encode(with);
        self.base_mut().i_mtime.set(base);
        if let Some(fields) = self.extra_mut().filter(|_| with) {
            fields.i_mtime_extra.set(extra);
        }
    }

    pub(crate) fn set_ctime(&mut self, time: Time) {
        let with = self.has_extra(8);
        let (base, extra) = time.encode(with);
        self.base_mut().i_ctime.set(base);
        if let Some(fields) = self.extra_mut().filter(|_| with) {
            fields.i_ctime_extra.set(extra);
        }
    }

    pub(crate) fn set_crtime(&mut self, time: Time) {
        let (base, extra) = time.encode(true);
        if self.has_extra(24)
            && let Some(fields) = self.extra_mut()
        {
            fields.i_crtime.set(base);
            fields.i_crtime_extra.set(extra);
        }
    }

    /// Major and minor number of a device file, in the old or the new form.
    pub fn device(&self) -> Option<(u32, u32)> {
        if !matches!(self.file_type(), Some(FileType::CharDevice | FileType::BlockDevice)) {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes(self.base().i_block[at..at + 4].try_into().expect("four bytes"));
        let (old, new) = (word(0), word(4));
        Some(match old {
            0 => ((new >> 8) & 0xFFF, (new & 0xFF) | (new >> 12 & 0xF_FF00)),
            _ => ((old >> 8) & 0xFF, old & 0xFF),
        })
    }

    pub(crate) fn set_device(&mut self, major: u32, minor: u32) {
        let (old, new) = if major < 256 && minor < 256 {
            (major << 8 | minor, 0)
        } else {
            (0, (minor & 0xFF) | major << 8 | (minor & !0xFF) << 12)
        };
        self.base_mut().i_block[..4].copy_from_slice(&old.to_le_bytes());
        self.base_mut().i_block[4..8].copy_from_slice(&new.to_le_bytes());
    }

    /// Whether a symbolic link's target is stored in the inode itself.
    pub(crate) fn is_fast_symlink(&self, geo: &Geometry) -> bool {
        // Attributes in inodes of their own are counted too, so that the count tells nothing.
        if geo.features.incompat(incompat::EA_INODE) {
            return self.file_type() == Some(FileType::Symlink)
                && !self.has_flag(flags::EXTENTS | flags::INLINE_DATA | flags::ENCRYPT)
                && self.size() < 60;
        }
        let per_block = u64::from(geo.block_size / 512 * geo.cluster_ratio());
        let xattr_sectors = if self.file_acl() != 0 { per_block } else { 0 };
        self.file_type() == Some(FileType::Symlink)
            && !self.has_flag(flags::EXTENTS | flags::INLINE_DATA | flags::ENCRYPT)
            && self.blocks_512(geo) <= xattr_sectors
    }

    /// The seed of the checksums of everything that belongs to this inode.
    pub(crate) fn csum_seed(&self, geo: &Geometry) -> u32 {
        let seed = crc32c(geo.csum_seed, &self.ino.to_le_bytes());
        crc32c(seed, &self.base().i_generation.get().to_le_bytes())
    }

    fn stored_checksum(&self) -> u32 {
        let lo = u32::from(self.base().i_checksum_lo.get());
        if self.has_extra(4) { u32::from(self.extra().i_checksum_hi.get()) << 16 | lo } else { lo }
    }

    fn wanted_checksum(&self, geo: &Geometry) -> u32 {
        let mut plain = self.clone();
        let with_hi = self.has_extra(4);
        plain.base_mut().i_checksum_lo.set(0);
        if let Some(extra) = plain.extra_mut().filter(|_| with_hi) {
            extra.i_checksum_hi.set(0);
        }
        let sum = crc32c(self.csum_seed(geo), &plain.bytes);
        if with_hi { sum } else { sum & 0xFFFF }
    }

    pub(crate) fn update_checksum(&mut self, geo: &Geometry) {
        if geo.metadata_csum() {
            let sum = self.wanted_checksum(geo);
            let with_hi = self.has_extra(4);
            self.base_mut().i_checksum_lo.set(sum as u16);
            if let Some(extra) = self.extra_mut().filter(|_| with_hi) {
                extra.i_checksum_hi.set((sum >> 16) as u16);
            }
        }
    }

    fn check(&self, geo: &Geometry) -> Result<()> {
        let extra = self.extra_isize();
        if BASE_LEN + extra > self.bytes.len() || !extra.is_multiple_of(4) {
            return Err(corrupt(self.place(), format!("i_extra_isize is {extra}")));
        }
        self.compare_checksum(geo).map_err(|(found, wanted)| bad_checksum(self.place(), found, wanted))
    }

    /// The checksum that is stored and the one that should be, where they differ.
    pub(crate) fn compare_checksum(&self, geo: &Geometry) -> Result<(), (u32, u32)> {
        // An inode that was never written is all zero, without a checksum.
        if geo.metadata_csum() && self.bytes.iter().any(|byte| *byte != 0) {
            let (found, wanted) = (self.stored_checksum(), self.wanted_checksum(geo));
            if found != wanted {
                return Err((found, wanted));
            }
        }
        Ok(())
    }

    /// How errors name it.
    pub(crate) fn place(&self) -> String {
        format!("inode {}", self.ino)
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// The block and byte offset at which an inode is stored.
    pub(crate) fn inode_place(&self, ino: u32) -> Result<(BlockNr, usize)> {
        let geo = self.geometry();
        if ino == 0 || ino > geo.inodes_count {
            let detail = format!("number is outside 1 to {}", geo.inodes_count);
            return Err(corrupt(format!("inode {ino}"), detail));
        }
        let (group, index) = geo.group_of_inode(ino);
        let table = self.group(group)?.inode_table;
        let per_block = geo.inodes_per_block();
        let offset = (index % per_block) as usize * usize::from(geo.inode_size);
        Ok((table + u64::from(index / per_block), offset))
    }

    /// Reads an inode and verifies its checksum. A free inode is read like any other: its link count is 0.
    pub fn inode(&self, ino: u32) -> Result<Inode> {
        let (block, offset) = self.inode_place(ino)?;
        let bytes = self.read_block(block)?;
        let size = usize::from(self.geometry().inode_size);
        let inode = Inode { ino, bytes: bytes[offset..offset + size].to_vec() };
        inode.check(self.geometry())?;
        Ok(inode)
    }

    /// Reads an inode that a name points at: it must be in use.
    pub(crate) fn live_inode(&self, ino: u32) -> Result<Inode> {
        let inode = self.inode(ino)?;
        if inode.links() == 0 || inode.file_type().is_none() {
            let detail = format!("a name points at it, but mode is {:#o} with {} links", inode.mode(), inode.links());
            return Err(corrupt(inode.place(), detail));
        }
        Ok(inode)
    }

    /// Reads a directory's inode.
    pub(crate) fn dir_inode(&self, ino: u32) -> Result<Inode> {
        let inode = self.live_inode(ino)?;
        if inode.is_dir() { Ok(inode) } else { Err(Error::NotDirectory) }
    }
}
