//! The superblock, its copies, and the block of multi-mount protection.

use super::{CheckOptions, Checker, Severity, le32};
use crate::checksum::crc32c;
use crate::error::Result;
use crate::features::{Features, compat, incompat, ro_compat};
use crate::geometry::{GroupNr, STATE_ERROR, STATE_VALID, superblock_checksum};
use crate::raw::Superblock;
use nomount_block::ReadAt;
use zerocopy::FromBytes;

const PLACE: &str = "superblock";
/// The magic number and the sequences of an MMP block: not in use, and being checked.
const MMP_MAGIC: u32 = 0x004D_4D50;
const MMP_CLEAN: u32 = 0xFF4D_4D50;
/// Groups of a flexible group are counted in 32 bits.
const MAX_LOG_FLEX: u8 = 31;
/// Clocks of hosts differ by up to a day, as between local time and UTC.
const CLOCK_FUDGE: i64 = 86400;

impl<D: ReadAt> Checker<'_, D> {
    /// Fields that no geometry depends on; the others were checked when the filesystem was opened.
    pub(super) fn check_superblock(&mut self, how: &CheckOptions) {
        let fs = self.fs;
        let (sb, features) = (&fs.state.sb, self.geo.features);
        let reserved = u64::from(sb.s_r_blocks_count_hi.get()) << 32 | u64::from(sb.s_r_blocks_count_lo.get());
        let reserved = if features.incompat(incompat::BIT64) { reserved } else { reserved & 0xFFFF_FFFF };
        if reserved > self.geo.blocks_count / 2 {
            let wanted = format!("at most half of {}", self.geo.blocks_count);
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", PLACE, format!("{reserved} blocks are reserved"), wanted);
        }
        let cluster_log = sb.s_log_cluster_size.get();
        if !features.ro_compat(ro_compat::BIGALLOC) && cluster_log != sb.s_log_block_size.get() {
            let found = format!("s_log_cluster_size is {cluster_log}");
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", PLACE, found, sb.s_log_block_size.to_string());
        }
        let clusters = sb.s_clusters_per_group.get();
        if !features.ro_compat(ro_compat::BIGALLOC) && clusters != self.geo.blocks_per_group {
            let found = format!("s_clusters_per_group is {clusters}");
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", PLACE, found, self.geo.blocks_per_group.to_string());
        }
        if sb.s_log_groups_per_flex > MAX_LOG_FLEX {
            let found = format!("s_log_groups_per_flex is {}", sb.s_log_groups_per_flex);
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", PLACE, found, format!("at most {MAX_LOG_FLEX}"));
        }
        let table = self.geo.inodes_per_block() * self.geo.blocks_per_group.saturating_sub(4);
        if self.geo.inodes_per_group > table {
            let found = format!("s_inodes_per_group is {}", self.geo.inodes_per_group);
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", PLACE, found, format!("at most {table}"));
        }
        let desc_size = sb.s_desc_size.get();
        if desc_size > 1024 || (desc_size != 0 && !desc_size.is_power_of_two()) {
            self.corrupt(
                "PR_0_MISC_CORRUPT_SUPER",
                PLACE,
                format!("s_desc_size is {desc_size}"),
                "a power of two up to 1024",
            );
        }
        if !features.compat(compat::RESIZE_INODE) && self.geo.reserved_gdt_blocks != 0 {
            let found = format!("s_reserved_gdt_blocks is {}", self.geo.reserved_gdt_blocks);
            self.corrupt("PR_0_NONZERO_RESERVED_GDT_BLOCKS", PLACE, found, "0 without resize_inode");
        }
        if features.compat(compat::RESIZE_INODE) && features.incompat(incompat::META_BG) {
            self.corrupt("PR_0_DISABLE_RESIZE_INODE", PLACE, "resize_inode and meta_bg at once", "");
        }
        if features.incompat(incompat::CSUM_SEED) && !features.ro_compat(ro_compat::METADATA_CSUM) {
            self.corrupt("PR_0_CSUM_SEED_WITHOUT_META_CSUM", PLACE, "metadata_csum_seed without metadata_csum", "");
        }
        if features.incompat(incompat::BIT64) && !features.incompat(incompat::EXTENTS) {
            self.corrupt("PR_0_64BIT_WITHOUT_EXTENTS", PLACE, "64bit without extent", "");
        }
        self.check_known_features();
        self.check_extra_isizes();
        self.check_state(how);
    }

    /// What an unknown feature adds is not looked at.
    fn check_known_features(&mut self) {
        const COMPAT: u32 = 0x3
            | compat::HAS_JOURNAL
            | compat::EXT_ATTR
            | compat::RESIZE_INODE
            | compat::DIR_INDEX
            | compat::SPARSE_SUPER2
            | compat::FAST_COMMIT
            | compat::STABLE_INODES
            | compat::ORPHAN_FILE;
        const RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
            | ro_compat::LARGE_FILE
            | ro_compat::HUGE_FILE
            | ro_compat::GDT_CSUM
            | ro_compat::DIR_NLINK
            | ro_compat::EXTRA_ISIZE
            | ro_compat::QUOTA
            | ro_compat::BIGALLOC
            | ro_compat::METADATA_CSUM
            | ro_compat::READONLY
            | ro_compat::PROJECT
            | ro_compat::SHARED_BLOCKS
            | ro_compat::VERITY
            | ro_compat::ORPHAN_PRESENT;
        let Features { compat, ro_compat, .. } = self.geo.features;
        let unknown = Features { compat: compat & !COMPAT, incompat: 0, ro_compat: ro_compat & !RO_COMPAT };
        let names = unknown.names();
        if !names.is_empty() {
            let found = format!("feature {} is not known, and what it adds not checked", names.join(", "));
            self.warn("NM_UNKNOWN_FEATURE", PLACE, found, "");
        }
    }

    fn check_extra_isizes(&mut self) {
        let sb = &self.fs.state.sb;
        if self.geo.inode_size == 128 {
            return;
        }
        let room = self.geo.inode_size - 128;
        let sizes = [
            ("PR_0_BAD_MIN_EXTRA_ISIZE", "s_min_extra_isize", sb.s_min_extra_isize.get()),
            ("PR_0_BAD_WANT_EXTRA_ISIZE", "s_want_extra_isize", sb.s_want_extra_isize.get()),
        ];
        for (id, name, size) in sizes {
            if size != 0 && (size < 4 || size > room || size % 4 != 0) {
                self.corrupt(id, PLACE, format!("{name} is {size}"), format!("a multiple of 4 up to {room}"));
            }
        }
    }

    fn check_state(&mut self, how: &CheckOptions) {
        let sb = &self.fs.state.sb;
        let state = sb.s_state.get();
        let (written, mounted) = (
            i64::from(sb.s_wtime_hi) << 32 | i64::from(sb.s_wtime.get()),
            i64::from(sb.s_mtime_hi) << 32 | i64::from(sb.s_mtime.get()),
        );
        if state & STATE_ERROR != 0 {
            self.warn("NM_STATE_ERROR", PLACE, "errors were noticed while it was mounted", "");
        }
        if state & STATE_VALID == 0 {
            self.warn("NM_STATE_NOT_CLEAN", PLACE, "it was not cleanly unmounted", "");
        }
        let Some(now) = how.now else { return };
        for (id, what, time) in
            [("PR_0_FUTURE_SB_LAST_MOUNT", "mounted", mounted), ("PR_0_FUTURE_SB_LAST_WRITE", "written", written)]
        {
            if time > now.sec.saturating_add(CLOCK_FUDGE) {
                let found = format!("last {what} at {time} seconds");
                self.warn(id, PLACE, found, format!("at most the present, {}", now.sec));
            }
        }
    }

    /// A copy of the superblock: what places and sizes things must be as in the first.
    pub(super) fn check_superblock_copy(&mut self, number: GroupNr) -> Result<()> {
        let block = self.fs.read_block(self.geo.group_start(number))?;
        let copy = Superblock::read_from_prefix(&block).expect("a block is at least as long").0;
        let sb = &self.fs.state.sb;
        let place = || format!("copy of the superblock in group {number}");
        if copy.s_magic != sb.s_magic {
            let found = format!("magic is {:#06x}", copy.s_magic.get());
            self.warn("NM_BACKUP_SUPERBLOCK", place(), found, format!("{:#06x}", sb.s_magic.get()));
            return Ok(());
        }
        let wanted = superblock_checksum(&copy);
        if self.geo.metadata_csum() && copy.s_checksum.get() != wanted {
            let found = format!("checksum is {:#010x}", copy.s_checksum.get());
            self.warn("NM_BACKUP_SUPERBLOCK", place(), found, format!("{wanted:#010x}"));
        }
        let shape = |sb: &Superblock| {
            [
                ("s_blocks_count_lo", sb.s_blocks_count_lo.get()),
                ("s_blocks_count_hi", sb.s_blocks_count_hi.get()),
                ("s_inodes_count", sb.s_inodes_count.get()),
                ("s_first_data_block", sb.s_first_data_block.get()),
                ("s_log_block_size", sb.s_log_block_size.get()),
                ("s_log_cluster_size", sb.s_log_cluster_size.get()),
                ("s_blocks_per_group", sb.s_blocks_per_group.get()),
                ("s_inodes_per_group", sb.s_inodes_per_group.get()),
                ("s_inode_size", sb.s_inode_size.get().into()),
                ("s_desc_size", sb.s_desc_size.get().into()),
                ("s_first_meta_bg", sb.s_first_meta_bg.get()),
                ("s_reserved_gdt_blocks", sb.s_reserved_gdt_blocks.get().into()),
            ]
        };
        let (found, wanted) = (shape(&copy), shape(sb));
        if let Some(((name, found), (_, wanted))) = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted) {
            let found = format!("{name} is {found}");
            self.warn("NM_BACKUP_SUPERBLOCK", place(), found, wanted.to_string());
        }
        Ok(())
    }

    /// The block of multi-mount protection, which belongs to no file.
    pub(super) fn mark_mmp(&mut self) -> Result<()> {
        let block = self.fs.state.sb.s_mmp_block.get();
        if !self.geo.features.incompat(incompat::MMP) || block == 0 {
            return Ok(());
        }
        if !self.geo.contains(block, 1) {
            let wanted = format!("less than {}", self.geo.blocks_count);
            self.corrupt("PR_0_MMP_INVALID_BLK", PLACE, format!("s_mmp_block is {block}"), wanted);
            return Ok(());
        }
        let cluster = self.cluster(block);
        self.used.insert(cluster, 1);
        self.metadata.insert(block - self.geo.first_data_block, 1);
        let bytes = self.fs.read_block(block)?;
        let place = || format!("multi-mount protection, block {block}");
        let (magic, sequence) = (le32(&bytes, 0), le32(&bytes, 4));
        if magic != MMP_MAGIC {
            let found = format!("magic is {magic:#010x}");
            self.corrupt("PR_0_MMP_INVALID_MAGIC", place(), found, format!("{MMP_MAGIC:#010x}"));
            return Ok(());
        }
        let (found, wanted) = (le32(&bytes, 0x3FC), crc32c(self.geo.csum_seed, &bytes[..0x3FC]));
        if self.geo.metadata_csum() && found != wanted {
            let found = format!("checksum is {found:#010x}");
            self.corrupt("PR_0_MMP_CSUM_INVALID", place(), found, format!("{wanted:#010x}"));
        }
        if sequence != MMP_CLEAN {
            self.add(Severity::Note, "NM_MMP_IN_USE", place(), format!("sequence is {sequence:#x}: in use"), "");
        }
        Ok(())
    }

    /// Whether a small `i_dtime` tells of a list of orphans that was lost.
    pub(super) fn low_dtimes_are_told(&self) -> bool {
        // Times below the number of inodes look like links of the orphan list; some clocks were never set.
        let sb = &self.fs.state.sb;
        let times = [(sb.s_wtime, sb.s_wtime_hi), (sb.s_mtime, sb.s_mtime_hi), (sb.s_mkfs_time, sb.s_mkfs_time_hi)];
        let early = |(low, high): &(zerocopy::little_endian::U32, u8)| {
            let time = u64::from(*high) << 32 | u64::from(low.get());
            time != 0 && time < self.geo.inodes_count.into()
        };
        !times.iter().any(early)
    }
}
