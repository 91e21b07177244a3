//! Redo files that were cut, spoiled, or forged with the right checksum: never a panic, nothing written outside of what
//! they name, and where they are refused nothing at all.

use crate::common::long;
use crate::confined::confined;
use crate::disks::{Disk, Layout, MIB};
use crate::matrix::TOOLS;
use nomount::disk::Choice;
use nomount::image::ImageOptions;
use nomount::ops::resize::{GrowRequest, GrowWith, NewSize, grow_disk};
use nomount::session::{DiskEdit, Recovered, Verify, recover, redo_path};
use nomount::tree::Time;
use nomount::{ErrorKind, Result};
use nomount_block::{FaultPlan, HostFile, Record, SetLen};
use nomount_kit::{Shared, require, scratch};
use nomount_qcow2::Qcow2;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cell::Cell;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SIZE: u64 = 8 * MIB;
const MORE: u64 = 4 * MIB;
const MEMORY: u64 = 1 << 30;
const SECTOR: usize = 512;
/// Offsets in a redo file: phase, lengths, number of records, the first record.
const PHASE: usize = 8;
const BEFORE: usize = 16;
const AFTER: usize = 24;
const COUNT: usize = 32;
const RECORDS: usize = 40;
/// Records of each file that are forged, unless all are wanted.
const FORGED: usize = 4;

fn options() -> ImageOptions {
    ImageOptions { sync: false, lock: false, ..ImageOptions::default() }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// An image whose growing stopped, and the redo file beside it.
struct Scene {
    folder: TempDir,
    image: PathBuf,
    is_qcow2: bool,
    bytes: Vec<u8>,
    redo: Vec<u8>,
    /// Whether the file holds `bytes`.
    is_put: Cell<bool>,
}

/// Grows on a disk that fails at that write: how it went, and how many writes there were.
fn grow(image: &Path, is_qcow2: bool, fail_write: u64) -> (Result<()>, u64) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let plan = FaultPlan { fail_write: Some(fail_write), ..FaultPlan::default() };
    let device = Shared::new(HostFile::new(file, false).unwrap(), plan);
    let handle = device.clone();
    let device: Box<dyn SetLen> = match is_qcow2 {
        true => Box::new(Qcow2::open(device, None, nomount_qcow2::Options::default()).unwrap()),
        false => Box::new(device),
    };
    let request = GrowRequest {
        image: options(),
        size: NewSize::Plus(MORE),
        expand: Choice::Auto,
        filesystem: true,
        with: GrowWith::Native,
        verify: Verify::Auto,
        now: Time { sec: 1_780_000_000, nsec: 0 },
        dry_run: false,
    };
    let done = grow_disk(DiskEdit::on_device(device, image, false), &request).map(|_| ());
    (done, handle.log().into_iter().filter(|record| *record != Record::Barrier).count() as u64)
}

impl Scene {
    /// Stops at the first write that leaves a redo file for taking back, or at the last that leaves one to be completed.
    fn new(layout: Layout, is_qcow2: bool, phase: u64) -> Self {
        let disk = Disk::new(layout, is_qcow2, SIZE, &["-t", "ext2", "-b", "1024", "-g", "2048", "-N", "256"]);
        let folder = scratch::folder();
        let image = folder.path().join("disk");
        fs::copy(&disk.image, &image).unwrap();
        let (done, writes) = grow(&image, is_qcow2, u64::MAX);
        done.unwrap();
        let stopped = |number: u64| {
            fs::copy(&disk.image, &image).unwrap();
            grow(&image, is_qcow2, number).0.unwrap_err();
            let redo = fs::read(redo_path(&image)).ok()?;
            fs::remove_file(redo_path(&image)).unwrap();
            (word(&redo, PHASE) == phase).then(|| (fs::read(&image).unwrap(), redo))
        };
        let mut numbers: Vec<u64> = (0..writes).collect();
        if phase == 1 {
            numbers.reverse();
        }
        let (bytes, redo) = numbers.into_iter().find_map(stopped).expect("each phase has a write that can fail");
        Self { folder, image, is_qcow2, bytes, redo, is_put: Cell::new(true) }
    }

    fn put(&self, redo: &[u8]) {
        fs::write(redo_path(&self.image), redo).unwrap();
        if self.is_put.replace(true) {
            return;
        }
        let file = File::create(&self.image).unwrap();
        file.set_len(self.bytes.len() as u64).unwrap();
        for (at, piece) in (0..).step_by(4096).zip(self.bytes.chunks(4096)) {
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(piece, at).unwrap();
            }
        }
    }

    /// Recovers with that file; where it is refused, image and file must be as they were.
    #[track_caller]
    fn recover(&self, redo: &[u8], what: &str) -> Result<Recovered> {
        self.put(redo);
        let done = catch_unwind(AssertUnwindSafe(|| recover(&self.image, &options())));
        let done = done.unwrap_or_else(|_| panic!("{what}: panicked"));
        match &done {
            Err(error) => {
                assert!(fs::read(&self.image).unwrap() == self.bytes, "{what}: image changed, {}", error.chain());
                assert!(fs::read(redo_path(&self.image)).unwrap() == redo, "{what}: {}", error.chain());
            }
            Ok(_) => {
                self.is_put.set(false);
                assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1, "{what}");
            }
        }
        done
    }

    #[track_caller]
    fn refused(&self, redo: &[u8], what: &str) {
        match self.recover(redo, what) {
            Ok(done) => panic!("{what}: {done:?}"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Refused), "{what}: {}", error.chain());
            }
        }
    }

    /// As [`Self::refused`], or a success that changes nothing but what the file names.
    #[track_caller]
    fn contained(&self, redo: &[u8], what: &str) {
        if self.recover(redo, what).is_err() || self.is_qcow2 {
            return;
        }
        let after = fs::read(&self.image).unwrap();
        let len = after.len() as u64;
        assert!(len == word(redo, BEFORE) || len == word(redo, AFTER), "{what}: {len} bytes are left");
        let named = if word(redo, PHASE) == 1 { targets(redo) } else { Vec::new() };
        for (at, (old, new)) in (0..).zip(self.bytes.chunks(SECTOR).zip(after.chunks(SECTOR))) {
            let at = at * SECTOR as u64;
            let is_named = named.iter().any(|range| range.start < at + SECTOR as u64 && at < range.end);
            assert!(is_named || old.iter().zip(new).all(|(old, new)| old == new), "{what}: sector at {at} changed");
        }
    }
}

/// Where the records begin.
fn records(redo: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (RECORDS, Vec::new());
    while at + 24 <= redo.len() - 4 {
        found.push(at);
        let len = word(redo, at + 16);
        let follows =
            if word(redo, at) == 1 { len.div_ceil(SECTOR as u64).saturating_mul(4).saturating_add(len) } else { 0 };
        at = (at + 24).saturating_add(usize::try_from(follows).unwrap());
    }
    found
}

/// What the writes and discards of a file name.
fn targets(redo: &[u8]) -> Vec<Range<u64>> {
    let all = records(redo).into_iter().filter(|at| matches!(word(redo, *at), 1 | 3));
    all.map(|at| word(redo, at + 8)..word(redo, at + 8).saturating_add(word(redo, at + 16))).collect()
}

fn with(redo: &[u8], changes: &[(usize, u64)]) -> Vec<u8> {
    let mut redo = redo.to_vec();
    for (at, value) in changes {
        redo[*at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    seal(&mut redo);
    redo
}

fn seal(redo: &mut [u8]) {
    let (body, crc) = redo.split_at_mut(redo.len() - 4);
    crc.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

fn each_scene(mut attack: impl FnMut(&Scene, u64)) {
    for (layout, is_qcow2) in [(Layout::Gpt, false), (Layout::None, false), (Layout::None, true)] {
        for phase in [0, 1] {
            attack(&Scene::new(layout, is_qcow2, phase), phase);
        }
    }
}

#[test]
fn cut_or_spoiled_redo_files_are_refused() {
    if !require(TOOLS) {
        return;
    }
    confined("hostile_redo::cut_or_spoiled_redo_files_are_refused", MEMORY, || {
        let mut rng = StdRng::seed_from_u64(11);
        each_scene(|scene, phase| {
            let redo = &scene.redo;
            let heads = records(redo);
            assert_eq!(heads.len() as u64, word(redo, COUNT));
            let some =
                |rng: &mut StdRng, count| (0..count).map(|_| rng.random_range(0..redo.len())).collect::<Vec<_>>();
            let ends = [0, 1, 8, RECORDS - 1, RECORDS, RECORDS + 4, redo.len() - 5, redo.len() - 4, redo.len() - 1];
            let step = if long() { 1 } else { heads.len().div_ceil(FORGED).max(1) };
            let heads: Vec<usize> = heads.into_iter().step_by(step).collect();
            for len in
                ends.into_iter().chain(heads.iter().copied()).chain(some(&mut rng, 20)).filter(|len| *len < redo.len())
            {
                scene.refused(&redo[..len], &format!("phase {phase}, cut to {len} bytes"));
                // The same with a checksum that fits what is left.
                if len > RECORDS + 4 {
                    let mut cut = redo[..len].to_vec();
                    seal(&mut cut);
                    scene.refused(&cut, &format!("phase {phase}, cut to {len} bytes and sealed"));
                }
            }
            let places = (0..RECORDS).step_by(3).chain(heads).chain(some(&mut rng, 20));
            for at in places.chain([redo.len() - 1]) {
                let mut spoiled = redo.clone();
                spoiled[at] ^= 1 << rng.random_range(0..8);
                scene.refused(&spoiled, &format!("phase {phase}, byte {at} spoiled"));
            }
            let longer = [redo, &[0; 24][..]].concat();
            scene.refused(&longer, "longer");
            let mut longer = longer;
            seal(&mut longer);
            scene.refused(&longer, "longer and sealed");
            assert!(scene.recover(redo, "whole").is_ok());
        });
    });
}

#[test]
fn forged_redo_files_reach_nothing_that_they_do_not_name() {
    if !require(TOOLS) {
        return;
    }
    confined("hostile_redo::forged_redo_files_reach_nothing_that_they_do_not_name", MEMORY, || {
        each_scene(|scene, phase| {
            let redo = &scene.redo;
            let device = word(redo, AFTER);
            let huge = [u64::MAX, u64::MAX - 511, 1 << 63, i64::MAX as u64 & !511];
            for value in huge {
                for at in [PHASE, BEFORE, COUNT] {
                    scene.refused(&with(redo, &[(at, value)]), &format!("phase {phase}, {value:#x} at {at}"));
                }
                scene.contained(&with(redo, &[(AFTER, value)]), &format!("phase {phase}, {value:#x} bytes after"));
                scene.contained(&with(redo, &[(BEFORE, device), (AFTER, value)]), "as long as before, and far longer");
            }
            scene.refused(&with(redo, &[(PHASE, 2)]), "no phase");
            scene.refused(&with(redo, &[(PHASE, 0), (BEFORE, device), (AFTER, 0)]), "taken back to more");
            scene.refused(&with(redo, &[(BEFORE, 7), (AFTER, 9)]), "of another image");
            for change in [-1, 1] {
                let count = word(redo, COUNT).wrapping_add_signed(change);
                scene.refused(&with(redo, &[(COUNT, count)]), "another number of records");
            }
            let other = [0, 1, 2, 3, 4, 5, 511, 512, device - 512, device, device + 1, device + 512];
            let all = records(redo);
            let step = if long() { 1 } else { all.len().div_ceil(FORGED).max(1) };
            for at in all.into_iter().step_by(step) {
                let old = [0, 8, 16].map(|field| word(redo, at + field));
                for field in [0, 8, 16] {
                    for value in huge {
                        scene.refused(&with(redo, &[(at + field, value)]), &format!("{field} of {old:?}: {value:#x}"));
                    }
                    for value in other {
                        let what = format!("phase {phase}, {field} of {old:?}: {value:#x}");
                        scene.contained(&with(redo, &[(at + field, value)]), &what);
                    }
                }
            }
            // A record at the very end of what can be counted.
            let forged = Forged::new(phase, scene.bytes.len() as u64, u64::MAX).write(u64::MAX - 511, 511);
            scene.refused(&forged.seal(), "at the end of all numbers");
            // The second record does not fit: the first must not be applied.
            let forged = Forged::new(1, scene.bytes.len() as u64, device + 512).write(0, 512).write(device, 512);
            scene.refused(&forged.seal(), "first inside, then outside");
            let forged = Forged::new(1, scene.bytes.len() as u64, device).set_len(device + 512);
            scene.refused(&forged.seal(), "a length that is not the one after");
            let forged = (0..100_000).fold(Forged::new(1, device, device), |forged, at| forged.discard(at * 512, 512));
            scene.refused(&forged.seal(), "beyond the end");
        });
    });
}

/// A file made by hand. The checksums of what was there are those of zeroes.
struct Forged(Vec<u8>, u64);

impl Forged {
    fn new(phase: u64, before: u64, after: u64) -> Self {
        let words = [phase, before, after, 0].into_iter().flat_map(u64::to_le_bytes);
        Self(b"NMREDO\0\x02".iter().copied().chain(words).collect(), 0)
    }

    fn record(mut self, words: [u64; 3]) -> Self {
        self.0.extend(words.into_iter().flat_map(u64::to_le_bytes));
        self.1 += 1;
        self
    }

    fn write(self, offset: u64, len: usize) -> Self {
        let mut forged = self.record([1, offset, len as u64]);
        let data = vec![0xAB; len];
        let sums = vec![0u8; len].chunks(SECTOR).flat_map(|old| crc32c::crc32c(old).to_le_bytes()).collect::<Vec<_>>();
        forged.0.extend(sums.into_iter().chain(data));
        forged
    }

    fn discard(self, offset: u64, len: u64) -> Self {
        self.record([3, offset, len])
    }

    fn set_len(self, len: u64) -> Self {
        self.record([4, 0, len])
    }

    fn seal(mut self) -> Vec<u8> {
        self.0[COUNT..RECORDS].copy_from_slice(&self.1.to_le_bytes());
        self.0.extend([0; 4]);
        seal(&mut self.0);
        self.0
    }
}

/// What is no file must not be waited for.
#[test]
fn a_pipe_or_a_folder_is_no_redo_file() {
    let folder = scratch::folder();
    let image = folder.path().join("disk");
    File::create(&image).unwrap().set_len(MIB).unwrap();
    nix::unistd::mkfifo(&redo_path(&image), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(recover(&image, &options()).unwrap_err().kind(), ErrorKind::Refused);
    fs::remove_file(redo_path(&image)).unwrap();
    fs::create_dir(redo_path(&image)).unwrap();
    assert!(recover(&image, &options()).is_err());
    assert_eq!(fs::metadata(&image).unwrap().len(), MIB);
}
