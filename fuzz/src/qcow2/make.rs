//! Images in every configuration that is read, laid out by hand: the product's own makes one kind only.

use crate::input::Input;
use nomount::ops::{Compression, Compressor};
use std::io::Write;

const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const BACKING: &[u8] = b"base";

/// What an image is like.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub version: u32,
    pub cluster_bits: u32,
    pub refcount_order: u32,
    pub extended_l2: bool,
    pub zstd: bool,
    pub backed: bool,
    /// Whether an internal snapshot shares everything.
    pub snapshot: bool,
    /// Guest bytes.
    pub size: u64,
}

impl Config {
    /// Any, chosen by the input. Small, as a run with a large one tells no more.
    pub fn choose(input: &mut Input<'_>) -> Self {
        let version = if input.byte().is_multiple_of(4) { 2 } else { 3 };
        let extended_l2 = version == 3 && input.byte().is_multiple_of(4);
        let cluster_bits = if extended_l2 { input.pick(&[14, 15]) } else { input.pick(&[9, 9, 10, 12, 16]) };
        let refcount_order = if version == 2 { 4 } else { input.pick(&[4, 0, 1, 2, 3, 5, 6]) };
        let size = input.below(24 << cluster_bits.min(13)) + 1;
        let bits = input.byte();
        Self {
            version,
            cluster_bits,
            refcount_order,
            extended_l2,
            zstd: version == 3 && bits & 1 == 1,
            backed: bits & 2 == 2,
            snapshot: bits & 12 == 12,
            size,
        }
    }

    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
}

/// An image being laid out: a file of clusters, and how often each is used.
struct Layout {
    config: Config,
    file: Vec<u8>,
    counts: Vec<u64>,
}

impl Layout {
    fn take(&mut self, clusters: u64, uses: u64) -> u64 {
        let at = self.file.len() as u64;
        self.file.resize((at + clusters * self.config.cluster()) as usize, 0);
        self.counts.resize(self.counts.len() + clusters as usize, uses);
        at
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn put_entry(&mut self, table: u64, index: u64, value: u64) {
        self.put(table + index * 8, &value.to_be_bytes());
    }
}

/// The bytes that fill a guest cluster.
fn contents(number: u64, len: u64) -> Vec<u8> {
    (0..len).map(|at| (number * 37 + at / 64) as u8 | 1).collect()
}

fn compressed(data: &[u8], zstd: bool) -> Vec<u8> {
    let how = if zstd { Compression::Zstd } else { Compression::Gzip };
    let mut out = Compressor::new(Vec::new(), Some(how)).expect("memory takes it");
    out.write_all(data).expect("memory takes it");
    let packed = out.finish().expect("memory takes it");
    // Header and trailer of gzip are around the stream that qcow2 has.
    if zstd { packed } else { packed[10..packed.len() - 8].to_vec() }
}

/// The image; what is in its clusters is chosen by the input.
pub fn make(config: Config, input: &mut Input<'_>) -> Vec<u8> {
    let cluster = config.cluster();
    let uses = if config.snapshot { 2 } else { 1 };
    let copied = if config.snapshot { 0 } else { COPIED };
    let mut layout = Layout { config, file: Vec::new(), counts: Vec::new() };
    layout.take(1, 1);
    let entry = if config.extended_l2 { 16 } else { 8 };
    let span = cluster / entry * cluster;
    let l1_len = config.size.div_ceil(span);
    let l1 = layout.take((l1_len * 8).div_ceil(cluster), 1);
    // Compressed clusters follow each other in one host cluster, without alignment.
    let (mut packed_at, mut packed_end) = (0, 0);
    for l1_index in 0..l1_len {
        if input.byte() % 8 == 7 {
            continue;
        }
        let l2 = layout.take(1, uses);
        layout.put_entry(l1, l1_index, l2 | copied);
        let left = (config.size - l1_index * span).min(span).div_ceil(cluster);
        for index in 0..left {
            let at = l2 + index * entry;
            let number = l1_index * (span / cluster) + index;
            match input.byte() % 6 {
                1 | 2 => {
                    let host = layout.take(1, uses);
                    layout.put(host, &contents(number, cluster));
                    layout.put(at, &(host | copied).to_be_bytes());
                    if config.extended_l2 {
                        let alloc = u32::from(input.word()) << 16 | u32::from(input.word());
                        let zero = !alloc & u32::from(input.word());
                        layout.put(at + 8, &(u64::from(zero) << 32 | u64::from(alloc)).to_be_bytes());
                    }
                }
                3 if config.extended_l2 => layout.put(at + 8, &(u64::from(u32::MAX) << 32).to_be_bytes()),
                3 if config.version == 3 => layout.put(at, &1u64.to_be_bytes()),
                4 if config.version == 3 && !config.extended_l2 => {
                    let host = layout.take(1, uses);
                    layout.put(at, &(host | copied | 1).to_be_bytes());
                }
                5 => {
                    let packed = compressed(&contents(number, cluster), config.zstd);
                    let len = packed.len() as u64;
                    if len > cluster {
                        continue;
                    }
                    if packed_at + len > packed_end {
                        packed_at = layout.take(1, 0);
                        packed_end = packed_at + cluster;
                    }
                    layout.put(packed_at, &packed);
                    let sectors = ((packed_at + len - 1) >> 9) - (packed_at >> 9);
                    let descriptor = COMPRESSED | sectors << (62 - (config.cluster_bits - 8)) | packed_at;
                    layout.put(at, &descriptor.to_be_bytes());
                    layout.counts[(packed_at >> config.cluster_bits) as usize] += uses;
                    packed_at += len;
                }
                _ => {}
            }
        }
    }
    let snapshots = if config.snapshot { snapshot(&mut layout, l1, l1_len) } else { 0 };
    let (table, table_clusters, order) = refcounts(&mut layout);
    header(&mut layout, (l1, l1_len), (table, table_clusters, order), snapshots);
    layout.file
}

/// A snapshot with an L1 table of its own, which leads to the same L2 tables.
fn snapshot(layout: &mut Layout, l1: u64, l1_len: u64) -> u64 {
    let config = layout.config;
    let table = layout.take(1, 1);
    let copy = layout.take((l1_len * 8).div_ceil(config.cluster()), 1);
    layout.file.copy_within(l1 as usize..(l1 + l1_len * 8) as usize, copy as usize);
    let extra = if config.version == 3 { 16 } else { 0 };
    layout.put(table, &copy.to_be_bytes());
    layout.put(table + 8, &(l1_len as u32).to_be_bytes());
    layout.put(table + 12, &[0, 1, 0, 4]);
    layout.put(table + 36, &(extra as u32).to_be_bytes());
    if extra > 0 {
        layout.put(table + 48, &config.size.to_be_bytes());
    }
    layout.put(table + 40 + extra, b"1kept");
    table
}

/// The refcount table and its blocks, at the end: they count themselves. The order is raised to what the counts need.
fn refcounts(layout: &mut Layout) -> (u64, u64, u32) {
    let config = layout.config;
    let most = layout.counts.iter().copied().max().unwrap_or(1);
    let mut order = config.refcount_order;
    while order < 6 && most >> (1 << order) != 0 {
        order += 1;
    }
    let per_block = (config.cluster() * 8) >> order;
    let used = layout.counts.len() as u64;
    let (mut blocks, mut tables) = (1, 1);
    while blocks * per_block < used + blocks + tables {
        blocks += 1;
        tables = (blocks * 8).div_ceil(config.cluster());
    }
    let table = layout.take(tables, 1);
    let first = layout.take(blocks, 1);
    for block in 0..blocks {
        layout.put_entry(table, block, first + block * config.cluster());
    }
    for (index, count) in layout.counts.clone().into_iter().enumerate() {
        let bit = (index as u64) << order;
        let at = (first + bit / 8) as usize;
        match order {
            0..=2 => layout.file[at] |= (count as u8) << (bit % 8),
            3.. => {
                let width = 1 << (order - 3);
                layout.file[at..at + width].copy_from_slice(&count.to_be_bytes()[8 - width..]);
            }
        }
    }
    (table, tables, order)
}

fn header(layout: &mut Layout, l1: (u64, u64), refcounts: (u64, u64, u32), snapshots: u64) {
    let config = layout.config;
    layout.put(0, b"QFI\xfb");
    layout.put(4, &config.version.to_be_bytes());
    layout.put(20, &config.cluster_bits.to_be_bytes());
    layout.put(24, &config.size.to_be_bytes());
    layout.put(36, &(l1.1 as u32).to_be_bytes());
    layout.put(40, &l1.0.to_be_bytes());
    layout.put(48, &refcounts.0.to_be_bytes());
    layout.put(56, &(refcounts.1 as u32).to_be_bytes());
    if snapshots > 0 {
        layout.put(60, &1u32.to_be_bytes());
        layout.put(64, &snapshots.to_be_bytes());
    }
    let length: u32 = if config.version == 3 { 112 } else { 72 };
    if config.version == 3 {
        let features = u64::from(config.zstd) << 3 | u64::from(config.extended_l2) << 4;
        layout.put(72, &features.to_be_bytes());
        layout.put(96, &refcounts.2.to_be_bytes());
        layout.put(100, &length.to_be_bytes());
        layout.put(104, &[config.zstd.into()]);
    }
    if config.backed {
        // The end of the header extensions is eight bytes of zero.
        let name_at = length + 8;
        layout.put(8, &u64::from(name_at).to_be_bytes());
        layout.put(16, &(BACKING.len() as u32).to_be_bytes());
        layout.put(name_at.into(), BACKING);
    }
}
