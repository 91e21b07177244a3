//! What is done to an image, beside a copy of the guest's bytes in memory.

use crate::input::Input;
use nomount_block::{ExtentKind, Memory, ReadAt, SetLen, WriteAt};
use nomount_kit::qcow2_check;
use nomount_qcow2::{Options, Qcow2, read_info};

/// Guests up to this long are modelled; of others only that nothing breaks is seen.
const MAX_GUEST: u64 = 1 << 20;
/// An image may become longer by so much: what is written, and tables for guests of any length.
const MAX_GROWTH: usize = 64 << 20;
/// Stretches that are asked for; each costs one lookup.
const MAX_EXTENTS: usize = 4096;
/// Operations; of more nothing new comes.
const MAX_OPERATIONS: usize = 24;

/// What the backing file holds, if one is named: other bytes than any guest has.
fn backing() -> Memory {
    Memory::new((0..40_000u32).map(|at| (at / 100) as u8 | 0x80).collect())
}

pub fn open(device: Memory, options: Options) -> Option<Qcow2<Memory>> {
    let info = read_info(&device).ok()?;
    let backing = info.backing_file.map(|_| Box::new(backing()) as Box<dyn ReadAt>);
    Qcow2::open(device, backing, options).ok()
}

/// All bytes of the guest; none where some cannot be read, or there are too many.
pub fn contents(image: &impl ReadAt) -> Option<Vec<u8>> {
    let len = image.len();
    if len > MAX_GUEST {
        return None;
    }
    let mut bytes = vec![0; len as usize];
    image.read_at(0, &mut bytes).ok()?;
    Some(bytes)
}

/// Reads whatever this is, from its start and its end.
pub fn look(image: &impl ReadAt) {
    let len = image.len();
    let mut buf = vec![0; 4096];
    let mut at = 0;
    for _ in 0..MAX_EXTENTS {
        if at >= len {
            break;
        }
        match image.extent_at(at) {
            Ok(extent) => {
                assert!(extent.len > 0 && extent.len <= len - at, "an extent of {} bytes at {at}", extent.len);
                let piece = extent.len.min(buf.len() as u64) as usize;
                if image.read_at(at, &mut buf[..piece]).is_ok() && extent.kind == ExtentKind::Zero {
                    assert!(buf[..piece].iter().all(|byte| *byte == 0), "an extent of zeroes at {at} is none");
                }
                at += extent.len;
            }
            Err(_) => at += 65536,
        }
    }
    let _ = image.read_at(len.saturating_sub(4096), &mut buf[..len.min(4096) as usize]);
}

/// An image is sound when the tables agree and all can be read.
fn is_sound(bytes: &[u8]) -> bool {
    qcow2_check::check(bytes).errors.is_empty()
}

/// Does what the input says. Where the image was sound, it stays so, and all reads as in memory; with `strict` nothing
/// may fail but what is refused before it begins.
pub fn run(device: Memory, input: &mut Input<'_>, strict: bool) {
    let before = device.bytes().len();
    let sound = is_sound(device.bytes());
    let cache_bytes = if input.flag() { 8 << 20 } else { 4096 };
    let options = Options { read_only: false, cache_bytes };
    let Some(mut image) = open(device, options.clone()) else {
        assert!(!strict, "a sound image is not opened");
        return;
    };
    look(&image);
    let mut model = if sound { contents(&image) } else { None };
    assert!(!strict || model.is_some(), "a sound image is not read");
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        let result = step(&mut image, input, &mut model);
        assert!(!strict || result.is_ok(), "{result:?}");
        if let (Err(_), Some(_)) = (&result, &model) {
            // Pieces of it may have happened; the tables still agree.
            assert!(is_sound(image.get_ref().bytes()), "a failed operation damaged the image");
            model = None;
        }
        assert!(image.get_ref().bytes().len() <= before + MAX_GROWTH, "the file grew without bound");
        if let Some(model) = &model {
            assert!(contents(&image).as_ref() == Some(model), "the guest's bytes differ");
        }
    }
    let flushed = image.barrier();
    assert!(!strict || flushed.is_ok(), "{flushed:?}");
    let device = image.into_inner();
    if let (Ok(()), Some(model)) = (flushed, model) {
        let verdict = qcow2_check::check(device.bytes());
        assert!(verdict.errors.is_empty(), "{verdict:?}");
        assert!(!strict || verdict.leaks == 0, "{verdict:?}");
        let again = open(device, options).expect("it was open before");
        assert!(contents(&again) == Some(model), "opened again, the guest's bytes differ");
    }
}

/// One operation, on the image and in memory.
fn step(image: &mut Qcow2<Memory>, input: &mut Input<'_>, model: &mut Option<Vec<u8>>) -> nomount_block::Result<()> {
    let len = image.len();
    let at = if len == 0 { 0 } else { input.below(len) };
    let room = (len - at).min(if input.flag() { 512 } else { 40_000 });
    let count = if room == 0 { 0 } else { input.below(room + 1) };
    let range = at as usize..(at + count) as usize;
    match input.byte() % 8 {
        0..=2 => {
            let data = vec![input.byte(); count as usize];
            if input.flag() {
                image.write_at(at, &data)?
            } else {
                image.write_fresh(at, &data)?
            }
            model.iter_mut().for_each(|model| model[range.clone()].copy_from_slice(&data));
        }
        3 | 4 => {
            image.discard(at, count)?;
            model.iter_mut().for_each(|model| model[range.clone()].fill(0));
        }
        5 => {
            image.write_zeroes(at, count)?;
            model.iter_mut().for_each(|model| model[range.clone()].fill(0));
        }
        6 => {
            let new =
                if model.is_some() { input.below(3 * len.max(1000)).min(MAX_GUEST) } else { input.odd_number(len) };
            // Refused where snapshots do not say how long they are, or for its size.
            if image.set_len(new).is_ok() {
                model.iter_mut().for_each(|model| model.resize(new as usize, 0));
            } else {
                // Nothing was changed, or the image takes no more changes and shows the old length or the new.
                image.barrier()?;
                assert!(model.is_none() || image.len() == len, "a length was refused and set");
            }
        }
        _ => image.barrier()?,
    }
    Ok(())
}
