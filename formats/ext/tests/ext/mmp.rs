//! Multiple mount protection: respected, held, released; and what a crash leaves.

use crate::common::{NOW, OPTIONS, judged, typical_change};
use nomount_block::{Memory, ReadAt, WriteAt};
use nomount_ext::{Attrs, Error, Filesystem, New, Options, ROOT_INO};
use nomount_kit::{fixture, require, scratch};
use std::cell::Cell;
use std::time::Duration;

const CLEAN: u32 = 0xFF4D_4D50;
const FSCK: u32 = 0xE24D_4D50;

/// Byte offset of the protection block.
fn place(image: &Memory) -> u64 {
    let mut number = [0; 8];
    image.read_at(1024 + 0x168, &mut number).unwrap();
    u64::from_le_bytes(number) * 1024
}

fn sequence(image: &Memory) -> u32 {
    let mut bytes = [0; 4];
    image.read_at(place(image) + 4, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Writes a sequence number, and a name, with the right checksum.
fn spoil(image: &mut Memory, sequence: u32) {
    let at = place(image);
    let mut seed = [0; 16];
    image.read_at(1024 + 0x68, &mut seed).unwrap();
    let mut block = [0; 1024];
    image.read_at(at, &mut block).unwrap();
    block[4..8].copy_from_slice(&sequence.to_le_bytes());
    block[16..26].copy_from_slice(b"elsewhere\0");
    let update = |seed: u32, bytes: &[u8]| !crc32c::crc32c_append(!seed, bytes);
    let sum = update(update(!0, &seed), &block[..1020]);
    block[1020..].copy_from_slice(&sum.to_le_bytes());
    image.write_at(at, &block).unwrap();
}

#[test]
fn a_commit_takes_and_releases() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let image = fixture::memory("mmp");
    assert_eq!(sequence(&image), CLEAN);
    let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
    for round in 0..2 {
        fs.create(ROOT_INO, format!("f{round}").as_bytes(), &New::File, Attrs::default()).unwrap();
        fs.commit().unwrap();
    }
    typical_change(&mut fs).unwrap();
    fs.commit().unwrap();
    let image = fs.into_device();
    assert_eq!(sequence(&image), CLEAN);
    judged("mmp", &image);
    let mut name = [0; 8];
    image.read_at(place(&image) + 16, &mut name).unwrap();
    assert_eq!(&name, b"nomount\0");
    let mut time = [0; 8];
    image.read_at(place(&image) + 8, &mut time).unwrap();
    assert_eq!(u64::from_le_bytes(time), NOW.sec as u64);
}

#[test]
fn somebody_else_is_named() {
    for (number, word) in [(17, "elsewhere"), (FSCK, "e2fsck")] {
        let mut image = fixture::memory("mmp");
        spoil(&mut image, number);
        let before = image.clone();
        let error = Filesystem::open_for_write(&mut image, OPTIONS).unwrap_err();
        assert!(matches!(error, Error::Busy(_)) && error.to_string().contains(word), "{error}");
        assert!(image == before);
        // Reading disturbs nobody.
        Filesystem::open(&image, OPTIONS).unwrap();
    }
}

#[test]
fn a_number_that_stands_still_was_left_behind() {
    thread_local!(static WAITED: Cell<u64> = const { Cell::new(0) });
    fn wait(time: Duration) {
        WAITED.with(|waited| waited.set(waited.get() + time.as_secs()));
    }
    let mut image = fixture::memory("mmp");
    spoil(&mut image, 17);
    let options = Options { mmp_wait: Some(wait), ..OPTIONS };
    let mut fs = Filesystem::open_for_write(image, options).unwrap();
    assert!(WAITED.with(Cell::get) >= 22, "two times two intervals of 5 seconds and one");
    fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
    fs.commit().unwrap();
    assert_eq!(sequence(&fs.into_device()), CLEAN);

    // e2fsck does not count on, so that nothing can be seen by waiting.
    let mut image = fixture::memory("mmp");
    spoil(&mut image, FSCK);
    assert!(matches!(Filesystem::open_for_write(image, options), Err(Error::Busy(_))));
}

#[test]
fn who_came_meanwhile_is_not_written_over() {
    let shared = scratch::device(&fixture::memory("mmp"));
    let open = |write| {
        let file = std::fs::OpenOptions::new().read(true).write(write).open(&shared).unwrap();
        nomount_block::HostFile::new(file, write).unwrap()
    };
    let mut fs = Filesystem::open_for_write(open(true), OPTIONS).unwrap();
    fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
    let mut other = Memory::new(std::fs::read(&shared).unwrap());
    spoil(&mut other, 99);
    let mut bytes = vec![0; other.len() as usize];
    other.read_at(0, &mut bytes).unwrap();
    std::fs::write(&shared, &bytes).unwrap();
    let error = fs.commit().unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error}");
    assert!(std::fs::read(&shared).unwrap() == bytes);
}
