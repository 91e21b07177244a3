//! Redo files beside an image: any bytes with a right checksum, and changes that were interrupted anywhere.

use crate::input::{CRC32C, Input, crc, dice};
use nomount::image::{Format, ImageOptions};
use nomount::session::{Recovered, recover, redo_path};
use nomount_kit::scratch;

const SECTOR: u64 = 512;
/// Sectors of the image.
const SECTORS: u64 = 24;
const MAX_RECORDS: usize = 12;
const MAGIC: &[u8; 8] = b"NMREDO\0\x02";

/// With the checksum at its end.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let sum = crc(&file, CRC32C);
    file.extend(sum.to_le_bytes());
    file
}

fn words(file: &mut Vec<u8>, words: &[u64]) {
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// Recovers an image beside which this file is. What cannot be completed leaves it as it is.
fn recovered(image: &[u8], redo: &[u8]) -> Option<(Recovered, Vec<u8>)> {
    let folder = scratch::folder();
    let path = folder.path().join("image");
    std::fs::write(&path, image).expect("room for an image");
    std::fs::write(redo_path(&path), redo).expect("room for a redo file");
    let options = ImageOptions { format: Some(Format::Raw), sync: false, lock: false, ..ImageOptions::default() };
    let result = recover(&path, &options);
    let after = std::fs::read(&path).expect("it is still there");
    let left = redo_path(&path).exists();
    match result {
        Ok(done) => {
            assert!(!left, "the redo file is left");
            Some((done, after))
        }
        Err(error) => {
            assert!(left && after == image, "a refused redo file changed something: {error}");
            None
        }
    }
}

/// A change in memory: what becomes of a device.
type Step = Box<dyn Fn(&mut Vec<u8>)>;

/// A change of `before`, interrupted after some of its steps.
fn interrupted(input: &mut Input<'_>) {
    let before: Vec<u8> = (0..SECTORS * SECTOR).map(|at| (at / 100) as u8).collect();
    let after_len = match input.byte() % 4 {
        0 => (SECTORS - 1 - input.below(8)) * SECTOR,
        1 => (SECTORS + 1 + input.below(8)) * SECTOR,
        _ => SECTORS * SECTOR,
    };
    let longest = after_len.max(before.len() as u64);
    let mut old = before.clone();
    old.resize(longest as usize, 0);
    let (mut records, mut steps): (Vec<u8>, Vec<Step>) = (Vec::new(), Vec::new());
    let count = input.below(MAX_RECORDS as u64);
    for _ in 0..count {
        let at = input.below(longest / SECTOR) * SECTOR;
        let len = (1 + input.below(4)) * SECTOR;
        let len = len.min(longest - at);
        let (from, to) = (at as usize, (at + len) as usize);
        match input.byte() % 5 {
            0 => {
                words(&mut records, &[2, 0, 0]);
                steps.push(Box::new(|_| {}));
            }
            kind @ (1 | 2) => {
                words(&mut records, &[if kind == 1 { 3 } else { 5 }, at, len]);
                steps.push(Box::new(move |device| device[from..to].fill(0)));
            }
            _ => {
                let data: Vec<u8> = vec![input.byte(); len as usize];
                words(&mut records, &[1, at, len]);
                records
                    .extend(old[from..to].chunks(SECTOR as usize).flat_map(|sector| crc(sector, CRC32C).to_le_bytes()));
                records.extend_from_slice(&data);
                steps.push(Box::new(move |device| device[from..to].copy_from_slice(&data)));
            }
        }
    }
    if after_len < longest {
        words(&mut records, &[4, 0, after_len]);
        steps.push(Box::new(move |device| device.truncate(after_len as usize)));
    }
    let mut file = MAGIC.to_vec();
    words(&mut file, &[1, before.len() as u64, after_len, steps.len() as u64]);
    file.extend(records);

    let mut wanted = old.clone();
    steps.iter().for_each(|step| step(&mut wanted));
    let mut image = old;
    let done = input.below(steps.len() as u64 + 1) as usize;
    steps[..done].iter().for_each(|step| step(&mut image));
    let found = recovered(&image, &sealed(file));
    assert!(found == Some((Recovered::Completed, wanted)), "a change that was interrupted is not completed");
}

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        return interrupted(&mut input);
    }
    // Any records, of which most are refused.
    let image = vec![7; (input.below(SECTORS) * SECTOR) as usize];
    let file = sealed([MAGIC, input.rest()].concat());
    if let Some((Recovered::Completed | Recovered::TakenBack, after)) = recovered(&image, &file) {
        assert!(after.len() <= image.len(), "an image became longer than it was");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..24).map(|seed| [&[1][..], &dice(seed, 80)].concat()).collect();
    let len = 3 * SECTOR;
    let files: [&[u64]; 4] = [
        &[1, len, len, 1, 2, 0, 0],
        &[1, len, len, 2, 3, 0, 512, 5, 512, 512],
        &[0, 512, len, 0],
        &[1, len, 512, 1, 4, 0, 512],
    ];
    for file in files {
        let mut seed = vec![0, 3];
        words(&mut seed, file);
        seeds.push(seed);
    }
    seeds
}
