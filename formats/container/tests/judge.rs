//! What is recognised, what is judged, and what it costs. Whole formats are compared with OpenStack's readers in
//! `tests/safety` of nomount.

use nomount_block::{Extent, Memory, ReadAt, Result};
use nomount_container::{Format, MAX_ITERATIONS, Verdict, judge, recognise};
use std::sync::Mutex;

/// A file of 1 MiB that begins as each of the pieces says.
fn file(pieces: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    pieces.iter().for_each(|(at, piece)| bytes[*at..at + piece.len()].copy_from_slice(piece));
    bytes
}

fn verdict(pieces: &[(usize, &[u8])], claim: Option<Format>) -> Verdict {
    judge(&Memory::new(file(pieces)), claim).unwrap()
}

fn failed(verdict: &Verdict) -> Vec<&str> {
    verdict.failures().map(|rule| rule.id).collect()
}

const SIGNATURE: (usize, &[u8]) = (510, b"\x55\xaa");
const LINUX: (usize, &[u8]) = (446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
const PROTECTIVE: (usize, &[u8]) = (446, &[0, 0, 2, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
const ISO: (usize, &[u8]) = (32768, b"\x01CD001\x01");
const QCOW2: (usize, &[u8]) = (0, b"QFI\xfb\0\0\0\x03");

#[test]
fn claims_are_checked() {
    use Format::*;
    let qcow2 = &[QCOW2][..];
    let (mbr, gpt) = (&[SIGNATURE, LINUX][..], &[SIGNATURE, PROTECTIVE][..]);
    for (pieces, claim, fits) in [
        (&[][..], Raw, true),
        (&[], Qcow2, false),
        (qcow2, Qcow2, true),
        (qcow2, Raw, false),
        (qcow2, Vmdk, false),
        (mbr, Raw, true),
        (mbr, Mbr, true),
        (mbr, Gpt, true),
        (gpt, Raw, true),
        (gpt, Mbr, false),
        (gpt, Iso, false),
        (&[ISO], Iso, true),
        (&[ISO], Raw, false),
        (&[ISO, SIGNATURE], Iso, true),
        (&[ISO, SIGNATURE], Raw, false),
    ] {
        let verdict = verdict(pieces, Some(claim));
        assert_eq!(verdict.is_safe(), fits, "{pieces:?} as {claim}: {verdict:?}");
        assert_eq!(failed(&verdict), if fits { vec![] } else { vec!["claim"] }, "{pieces:?} as {claim}");
    }
}

#[test]
fn several_formats_are_not_safe_whichever_was_named() {
    for pieces in [&[QCOW2, SIGNATURE][..], &[QCOW2, ISO], &[(0, b"KDMV"), ISO, SIGNATURE]] {
        for claim in [None, Some(Format::Qcow2), Some(Format::Raw), Some(Format::Iso), Some(Format::Vhd)] {
            let verdict = verdict(pieces, claim);
            assert!(failed(&verdict) == ["one_format"] && verdict.virtual_size.is_none(), "{verdict:?}");
        }
    }
}

/// A footer of a fixed vhd for a disk of `size` bytes.
fn footer(size: u64) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[63] = 2;
    let sum = !footer.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    footer[64..68].copy_from_slice(&sum.to_be_bytes());
    footer
}

#[test]
fn a_fixed_vhd_is_what_its_beginning_is_unless_it_is_named() {
    let end = (1 << 20) - 512;
    let good = footer(end as u64);
    let verdict_of = |footer: &[u8], claim| verdict(&[(end, footer), SIGNATURE, LINUX], claim);
    let unnamed = verdict_of(&good, None);
    assert!(unnamed.is_safe() && unnamed.formats == [Format::Mbr] && unnamed.notes.len() == 1, "{unnamed:?}");
    let named = verdict_of(&good, Some(Format::Vhd));
    assert!(named.is_safe() && named.formats == [Format::Vhd] && named.virtual_size == Some(end as u64), "{named:?}");
    let mut torn = good.clone();
    torn[100] ^= 1;
    for bad in [torn, footer(1 << 20)] {
        assert_eq!(failed(&verdict_of(&bad, Some(Format::Vhd))), ["footer"]);
    }
    assert_eq!(failed(&verdict(&[(end, &good), QCOW2], Some(Format::Vhd))), ["claim"]);
}

#[test]
fn keys_take_a_bounded_time() {
    for (at, iterations, safe) in [
        (164, MAX_ITERATIONS, true),
        (164, MAX_ITERATIONS + 1, false),
        (260, MAX_ITERATIONS + 1, false),
        (308, u32::MAX, true),
    ] {
        let iterations = iterations.to_be_bytes();
        // The second slot is in use, the third is not.
        let active = (256, &[0x00, 0xac, 0x71, 0xf3][..]);
        let verdict = verdict(&[(0, b"LUKS\xba\xbe\0\x01"), active, (at, &iterations)], None);
        assert_eq!(verdict.is_safe(), safe, "{at}: {verdict:?}");
    }
}

/// Counts what is read.
#[derive(Debug)]
struct Counted {
    device: Memory,
    reads: Mutex<Vec<usize>>,
}

impl ReadAt for Counted {
    fn len(&self) -> u64 {
        self.device.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.lock().unwrap().push(buf.len());
        self.device.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.device.extent_at(offset)
    }
}

/// Opening asks for the format of every image.
#[test]
fn a_format_is_told_by_two_small_reads() {
    for pieces in [&[][..], &[QCOW2], &[ISO, SIGNATURE], &[(0, b"KDMV")], &[(0, b"vhdxfile")]] {
        let device = Counted { device: Memory::new(file(pieces)), reads: Mutex::default() };
        recognise(&device).unwrap();
        assert_eq!(*device.reads.lock().unwrap(), [4096, 4096]);
    }
}

/// Numbers from the image size no read: the largest are a table of a vhdx and a descriptor of a vmdk.
#[test]
fn hostile_numbers_cost_no_more_than_the_limits() {
    let regions = [&b"regi\0\0\0\0\xff\xff\xff\xff\0\0\0\0"[..]].concat();
    let mut all = vec![0xff; 4096];
    all[..12].copy_from_slice(b"KDMV\x01\0\0\0\xff\xff\xff\xff");
    for pieces in [
        &[(0, &all[..])][..],
        &[(0, b"vhdxfile"), (192 << 10, &regions)],
        &[(0, b"QFI\xfb\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")],
        &[(0, b"LUKS\xba\xbe\0\x01"), (104, b"\xff\xff\xff\xff\xff\xff\xff\xff")],
        &[ISO, (32848, &[0xff; 64])],
    ] {
        let device = Counted { device: Memory::new(file(pieces)), reads: Mutex::default() };
        judge(&device, None).unwrap();
        let reads = device.reads.lock().unwrap();
        assert!(reads.iter().all(|len| *len <= 1 << 20) && reads.len() <= 8, "{reads:?}");
    }
}
