//! How full a filesystem is, as the kernel counts it.

use crate::common::in_parallel;
use nomount_ext::{Filesystem, Options, Statfs};
use nomount_kit::fixture;

/// What `stat -f` printed of each image, mounted read-only by Linux 6.18: bytes of a block, blocks, free blocks,
/// available blocks, inodes, free inodes.
const KERNEL: &[(&str, [u64; 6])] = &[
    ("bigalloc", [1024, 12_112, 11_664, 11_344, 512, 478]),
    ("dirty-32bit", [1024, 11_033, 10_952, 10_707, 512, 477]),
    ("dirty-csum2", [1024, 10_937, 10_856, 10_611, 512, 477]),
    ("dirty-csum3", [4096, 3035, 2962, 2881, 512, 476]),
    ("dirty-ext3", [1024, 11_033, 10_942, 10_942, 512, 477]),
    ("ea-inode", [1024, 6972, 6911, 6748, 512, 476]),
    ("encrypt", [1024, 14_969, 14_910, 14_583, 512, 478]),
    ("ext2-1k", [1024, 8092, 8028, 8028, 512, 473]),
    ("ext3-1k", [1024, 11_097, 10_757, 10_757, 512, 470]),
    ("ext3-4k", [4096, 3036, 2968, 2968, 512, 473]),
    ("ext4-142", [1024, 31_220, 31_092, 30_437, 512, 474]),
    ("ext4-143", [4096, 6475, 6419, 6256, 512, 474]),
    ("ext4-147", [4096, 5082, 4551, 4429, 512, 464]),
    ("ext4-1k", [1024, 19_001, 18_148, 17_739, 504, 455]),
    ("ext4-2k", [2048, 5041, 4520, 4398, 512, 472]),
    ("ext4-i128-csum", [1024, 11_001, 10_871, 10_626, 512, 474]),
    ("ext4-i128", [1024, 11_097, 10_967, 10_722, 512, 474]),
    ("ext4-nojournal", [4096, 2012, 1977, 1937, 512, 478]),
    ("ext4-rpi", [4096, 7029, 6973, 6810, 512, 474]),
    ("fast_commit", [1024, 14_953, 14_894, 14_567, 512, 478]),
    ("inline-data", [1024, 6972, 6931, 6768, 512, 478]),
    ("large-dir", [1024, 6972, 6913, 6750, 512, 478]),
    ("meta-bg", [1024, 7016, 6958, 6795, 512, 478]),
    ("mmp", [1024, 6972, 6912, 6749, 512, 478]),
    ("orphan-list", [1024, 6972, 6891, 6728, 512, 477]),
    ("project", [1024, 6972, 6889, 6726, 512, 477]),
    ("quota", [1024, 6972, 6895, 6732, 512, 478]),
    ("read-only", [1024, 6972, 6913, 6750, 512, 478]),
    ("sparse-super2", [1024, 7017, 6959, 6796, 512, 478]),
    ("stable_inodes", [1024, 14_969, 14_910, 14_583, 512, 478]),
    ("unknown-compat", [1024, 6972, 6913, 6750, 512, 478]),
    ("unknown-ro-compat", [1024, 6972, 6913, 6750, 512, 478]),
    ("verity", [1024, 14_969, 14_910, 14_583, 512, 478]),
];

#[test]
fn counts_as_the_kernel_does() {
    in_parallel(KERNEL.iter(), |(name, [block_size, blocks, free_blocks, available_blocks, inodes, free_inodes])| {
        let fs = Filesystem::open(fixture::memory(name), Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let wanted = Statfs {
            block_size: *block_size as u32,
            blocks: *blocks,
            free_blocks: *free_blocks,
            available_blocks: *available_blocks,
            inodes: *inodes,
            free_inodes: *free_inodes,
        };
        assert_eq!(fs.statfs().unwrap(), wanted, "{name}");
    });
}
