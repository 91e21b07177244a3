//! Every kind of filesystem, grown once and judged.

use super::{EXT2, EXT3, EXT4, finish, grow_file, judged, make, open, populate, restored};
use crate::common::{in_parallel, long};
use nomount_kit::require;

const JUDGES: &[&str] = &["mke2fs", "e2fsck", "debugfs", "dumpe2fs", "resize2fs"];

/// How descriptors for new groups are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descriptors {
    /// In blocks that there are, reserved ones among them.
    Plain,
    /// By turning on meta_bg.
    Converted,
    /// meta_bg was on already.
    Spread,
}
use Descriptors::{Converted, Plain, Spread};

/// What is made and what it grows to: KiB, features and options of mke2fs.
struct Kind {
    from: u64,
    to: u64,
    features: String,
    options: String,
    wanted: Descriptors,
}

fn kind(from: u64, to: u64, features: &str, options: &str, wanted: Descriptors) -> Kind {
    Kind { from, to, features: features.into(), options: options.into(), wanted }
}

/// Grows a filesystem with files in it.
fn run(kind: &Kind) {
    let name = &format!("{} KiB to {}, {} {}", kind.from, kind.to, kind.features, kind.options);
    let file = make(kind.from, &kind.features, &kind.options);
    let mut fs = open(file.path());
    populate(&mut fs);
    finish(fs);
    let before = judged(name, file.path());
    let grown = grow_file(name, file.path(), kind.to);
    let is = |bit: u32| super::read(file.path()).geometry().features.incompat & bit != 0;
    let found = match (grown.meta_bg, is(0x10)) {
        (true, true) => Converted,
        (false, true) => Spread,
        (false, false) => Plain,
        (true, false) => panic!("{name}: meta_bg is not on"),
    };
    assert_eq!(found, kind.wanted, "{name}: {grown:?}");
    let after = judged(name, file.path());
    assert!(before == after, "{name}: {:#?}", before.diff(&after));
    // With feature mmp e2fsck waits for a long time before it repairs anything.
    if !kind.features.contains("mmp") || long() {
        restored(name, file.path(), &after, if long() { usize::MAX } else { 1 });
    }
}

fn run_all(kinds: Vec<Kind>) {
    if require(JUDGES) {
        in_parallel(kinds, |kind| run(&kind));
    }
}

fn without(features: &str, name: &str) -> String {
    features.split(',').filter(|feature| *feature != name).collect::<Vec<_>>().join(",")
}

#[test]
fn the_whole_family_with_and_without_a_reserve() {
    let mut kinds = Vec::new();
    for (block, from, to, limit) in
        [(1024, 40_000, 420_007, 300_000), (2048, 70_000, 900_000, 1_100_000), (4096, 70_000, 600 << 10, 0)]
    {
        let csum32 = without(EXT4, "64bit");
        let uninit = EXT4.replace("metadata_csum", "uninit_bg");
        let none = without(EXT4, "metadata_csum");
        let alone = without(EXT4, "flex_bg");
        for features in [EXT2, EXT3, EXT4, &csum32, &uninit, &none, &alone] {
            let inode = if features.contains("extra_isize") { 256 } else { 128 };
            let options = format!("-b {block} -I {inode}");
            let reserve = format!("{features},resize_inode");
            kinds.push(kind(from, to, &reserve, &options, Plain));
            // 64 groups fit the first block of descriptors where blocks are of 4 KiB.
            let none_left = if block == 1024 { Converted } else { Plain };
            kinds.push(kind(from, to, features, &options, none_left));
            if block == 1024 {
                kinds.push(kind(from, 1_200_000, &reserve, &format!("{options} -E resize={limit}"), Converted));
                kinds.push(kind(from, to, &format!("{features},meta_bg"), &options, Spread));
            }
        }
    }
    if !long() {
        // The same again, but for the size of blocks.
        kinds.retain(|kind| !kind.options.contains("2048") || kind.features.starts_with(EXT4));
    }
    run_all(kinds);
}

#[test]
fn copies_wherever_they_are() {
    let small = "-b 1024 -g 1024 -N 4000 -J size=1";
    let super2 = EXT4.replace("sparse_super", "sparse_super2");
    let old2 = "ext_attr,filetype,sparse_super,sparse_super2,resize_inode";
    run_all(vec![
        kind(20_000, 60_000, &without(EXT4, "sparse_super"), small, Converted),
        kind(20_000, 90_000, &without(EXT2, "sparse_super"), "-b 1024 -g 2048", Converted),
        kind(40_000, 500_000, &without(EXT3, "sparse_super"), "-b 4096", Plain),
        kind(70_000, 600 << 10, &super2, "-b 4096 -E num_backup_sb=0", Plain),
        kind(70_000, 600 << 10, &super2, "-b 4096 -E num_backup_sb=1", Plain),
        kind(200_000, 600 << 10, &super2, "-b 4096 -E num_backup_sb=2", Plain),
        kind(200_000, 900 << 10, &super2, "-b 4096 -E num_backup_sb=2", Plain),
        kind(65_536, 600 << 10, &super2, "-b 1024 -E num_backup_sb=2", Converted),
        kind(65_536, 600 << 10, old2, "-b 1024 -E num_backup_sb=2", Plain),
        kind(65_536, 600 << 10, old2, "-b 1024 -E num_backup_sb=1", Plain),
        kind(65_536, 600 << 10, &format!("{super2},meta_bg"), "-b 1024 -g 2048", Spread),
    ]);
}

#[test]
fn blocks_clusters_and_groups_of_other_sizes() {
    let mut kinds = vec![
        kind(2_000_000, 9_000_000, EXT4, "-b 8192", Plain),
        kind(2_000_000, 9_000_000, &format!("{EXT4},resize_inode"), "-b 16384", Plain),
        kind(300_000, 3_000_000, EXT4, "-b 65536 -J size=64", Plain),
        kind(300_000, 3_000_000, EXT2, "-b 65536", Plain),
    ];
    let clusters = format!("{EXT4},bigalloc");
    for (block, cluster) in [(1024, 4), (1024, 16), (4096, 16), (4096, 2)] {
        let options = format!("-b {block} -C {}", block * cluster);
        for features in [clusters.clone(), format!("{clusters},resize_inode"), without(&clusters, "flex_bg")] {
            // Groups of 4 KiB clusters are small enough that there are more than one block describes.
            let wanted = if cluster == 4 && !features.contains("resize_inode") { Converted } else { Plain };
            kinds.push(kind(200_000, 1_014_407, &features, &options, wanted));
        }
    }
    for flex in [1, 4, 64, 512] {
        kinds.push(kind(20_000, 70_000, EXT4, &format!("-b 1024 -g 256 -N 4096 -J size=1 -G {flex}"), Converted));
        let spread = format!("{EXT4},meta_bg");
        kinds.push(kind(20_000, 70_000, &spread, &format!("-b 1024 -g 1024 -N 4096 -J size=1 -G {flex}"), Spread));
    }
    run_all(kinds);
}

#[test]
fn features_that_have_files_and_blocks_of_their_own() {
    let more = format!("{EXT4},resize_inode");
    let features = [
        "mmp",
        "quota",
        "quota,project",
        "orphan_file",
        "metadata_csum_seed",
        "inline_data",
        "ea_inode",
        "large_dir",
        "casefold",
        "encrypt",
        "stable_inodes",
        "fast_commit",
        "verity",
    ];
    let kinds = features.map(|feature| kind(40_000, 300_000, &format!("{more},{feature}"), "-b 1024 -I 256", Plain));
    run_all(kinds.into());
}
