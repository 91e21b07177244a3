//! LUKS, version 1 (on-disk format specification 1.2.3).

use crate::format::Format;
use crate::image::{Image, be32};
use crate::verdict::Rules;

const MAGIC: &[u8] = b"LUKS\xba\xbe";
/// Eight key slots after 208 bytes.
const HEADER: usize = 592;
const PAYLOAD_OFFSET: usize = 104;
const DIGEST_ITERATIONS: usize = 164;
const SLOTS: usize = 208;
const SLOT: usize = 48;
const ACTIVE: u32 = 0x00ac_71f3;

/// More rounds of PBKDF2 keep whoever opens the volume busy for many seconds: cryptsetup asks for two seconds' worth
/// of them, and OpenStack's readers refuse more than this, too.
pub const MAX_ITERATIONS: u32 = 12_000_000;

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    image.head.starts_with(MAGIC).then_some(Format::Luks)
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Option<u64> {
    let head = &image.head;
    rules.complete(head.len() >= HEADER, "the end of the key slots");
    if head.len() < HEADER {
        return None;
    }
    let version = u16::from_be_bytes([head[6], head[7]]);
    rules.check("version", "the version is 1", version == 1, || format!("the version is {version}"));
    if version == 1 {
        let slots = (0..8).map(|slot| SLOTS + slot * SLOT).filter(|at| be32(head, *at) == ACTIVE);
        let slots = slots.map(|at| be32(head, at + 4));
        let most = slots.chain([be32(head, DIGEST_ITERATIONS)]).max().unwrap_or_default();
        rules.check("iterations", "a key takes a bounded time", most <= MAX_ITERATIONS, || {
            format!("a key takes {most} rounds of PBKDF2, more than {MAX_ITERATIONS}")
        });
    }
    image.len().checked_sub(u64::from(be32(head, PAYLOAD_OFFSET)) * 512)
}
