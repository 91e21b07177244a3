//! qcow2 images: any bytes, and images in every configuration with a few entries changed.

mod make;
mod model;

use crate::input::{Input, dice};
use make::{Config, make};
use nomount_block::{Memory, WriteAt};
use nomount_qcow2::{CreateOptions, create, probe};

/// Bytes at the end of the input that say what is done to the image before them.
const DECISIONS: usize = 64;

/// The input: an image, and [`DECISIONS`] bytes.
pub fn body(data: &[u8]) {
    let (image, decisions) = data.split_at(data.len().saturating_sub(DECISIONS));
    if !probe(image) {
        return;
    }
    let read_only = nomount_qcow2::Options { read_only: true, cache_bytes: 4096 };
    if let Some(image) = model::open(Memory::new(image.to_vec()), read_only) {
        model::look(&image);
        model::contents(&image);
    }
    model::run(Memory::new(image.to_vec()), &mut Input::new(decisions), false);
}

/// Small images of all configurations, and those that the product makes.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for cluster_bits in [9, 12] {
        let options = CreateOptions { cluster_bits, ..CreateOptions::new(40_000) };
        let mut image = create(Memory::default(), &options, None).expect("memory takes it");
        image.write_at(700, &[7; 2000]).expect("memory takes it");
        image.barrier().expect("memory takes it");
        seeds.push(image.into_inner().into_bytes());
    }
    for seed in 0..24 {
        let chosen = dice(seed, 200);
        let mut input = Input::new(&chosen);
        let config = Config { size: 9000 + 511 * seed, ..Config::choose(&mut input) };
        seeds.push(make(config, &mut input));
    }
    // Of larger ones libFuzzer changes too little in too long a time.
    seeds.retain(|image| image.len() <= 64 << 10);
    seeds.iter_mut().zip(100..).for_each(|(image, seed)| image.extend(dice(seed, DECISIONS)));
    seeds
}

/// Where a change of an image hurts, and how much of it.
fn patch(image: &mut [u8], input: &mut Input<'_>) {
    let word = |image: &[u8], at: u64| {
        let bytes = image.get(at as usize..at as usize + 8);
        bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
    };
    let entry = |image: &[u8], at: u64| word(image, at) & 0x00ff_ffff_ffff_fe00;
    let (l1, table) = (entry(image, 40), entry(image, 48));
    let (place, len) = match input.byte() % 7 {
        0 | 1 => (4 * input.below(28), 4),
        2 => (l1 + 8 * input.below(8), 8),
        3 => (entry(image, l1 + 8 * input.below(4)) + 8 * input.below(64), 8),
        4 => (table + 8 * input.below(8), 8),
        5 => (entry(image, table) + input.below(64), 1),
        _ => (entry(image, 64) + input.below(64), 4),
    };
    // Tables and data are what a wrong pointer leads to, and the end of the file.
    let near = input.pick(&[0, l1, table, entry(image, l1), image.len() as u64]);
    let flags = input.pick(&[0, 1 << 63, 1 << 62, 1, 1 << 63 | 1]);
    let value = if len == 8 { input.odd_number(near) | flags } else { input.odd_number(word(image, place) >> 32) };
    if let Some(bytes) = image.get_mut(place as usize..place as usize + len) {
        bytes.copy_from_slice(&value.to_be_bytes()[8 - len..]);
    }
}

/// The input: decisions about the image, changes of it, and what is done to it.
pub fn decisions(data: &[u8]) {
    let mut input = Input::new(data);
    let patches = input.byte() % 4;
    let config = Config::choose(&mut input);
    let layout = input.bytes(32);
    let mut image = make(config, &mut Input::new(layout));
    for _ in 0..patches {
        patch(&mut image, &mut input);
    }
    // Lengths of snapshots that do not say their own stay, which is no fault; all else has to work.
    model::run(Memory::new(image), &mut input, patches == 0);
}

pub fn decision_seeds() -> Vec<Vec<u8>> {
    (0..64).map(|seed| [&[(seed % 4) as u8][..], &dice(seed, 160)].concat()).collect()
}
