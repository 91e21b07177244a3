//! From an input to an image.

use super::base::Base;
use arbitrary::{Result, Unstructured};
use nomount_kit::ext_layout::reseal;

/// More damage than that to one image tells nothing new.
const MAX_PATCHES: usize = 32;

/// One of `bases` with the damage that the input asks for, how many patches it had, and which base it was. The input's
/// first byte chooses the base, its second says how many patches follow and, by its top bit, that checksums stay stale.
pub fn spoiled<'a>(u: &mut Unstructured<'_>, bases: &'a [Base]) -> Result<(&'a Base, Vec<u8>, usize)> {
    let base = &bases[usize::from(u.arbitrary::<u8>()?) % bases.len()];
    let how: u8 = u.arbitrary()?;
    let mut image = base.image.clone();
    let patches = usize::from(how & 0x7F).min(MAX_PATCHES);
    let mut done = 0;
    while done < patches && !u.is_empty() {
        patch(u, base, &mut image)?;
        done += 1;
    }
    if done > 0 && how & 0x80 == 0 {
        reseal(&mut image);
    }
    Ok((base, image, done))
}

/// Where: two bytes choose a place, or with the top bit any piece in use, two more the byte in it. What: one byte, and
/// four for a value.
fn patch(u: &mut Unstructured<'_>, base: &Base, image: &mut [u8]) -> Result<()> {
    let (place, offset, what): (u16, u16, u8) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let value: u32 = u.arbitrary()?;
    let at = if place & 0x8000 != 0 {
        base.used[usize::from(place & 0x7FFF) % base.used.len()] + usize::from(offset) % 512
    } else {
        let place = &base.places[usize::from(place) % base.places.len()];
        place.at + place.fields.start + usize::from(offset) % place.fields.len()
    };
    let word = u32::from_le_bytes(std::array::from_fn(|byte| image.get(at + byte).copied().unwrap_or(0)));
    let (new, len) = match what % 10 {
        0 => (value, 1),
        1 => (value, 2),
        2 => (value, 4),
        3 => (word.wrapping_add_signed((value as i8).into()), 4),
        4 => (word ^ 1 << (value % 32), 4),
        // Two things in one place: the block of another structure.
        5 => ((base.places[value as usize % base.places.len()].at / base.block) as u32, 4),
        6 => (0, 2),
        7 => (u32::MAX, 2),
        8 => (value % (image.len() / base.block) as u32, 4),
        // As journals count.
        _ => (word.swap_bytes().wrapping_add_signed((value as i8).into()).swap_bytes(), 4),
    };
    for (byte, slot) in new.to_le_bytes().into_iter().take(len).zip(image.iter_mut().skip(at)) {
        *slot = byte;
    }
    Ok(())
}

/// A seed: base, how, and patches of place, offset, what, value.
pub fn seed(base: u8, patches: &[(u16, u16, u8, u32)]) -> Vec<u8> {
    let mut bytes = vec![base, patches.len() as u8];
    for (place, offset, what, value) in patches {
        bytes.extend(place.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.push(*what);
        bytes.extend(value.to_le_bytes());
    }
    bytes
}
