//! Refused features by name, and corrupt images: never a panic, a hang, or memory that grows with a number in the
//! image.

mod support;

use nomount_block::{Memory, ReadAt, SetLen, WriteAt};
use nomount_qcow2::{Error, Options, Qcow2, Unsupported, probe, read_info};
use support::*;

/// A small image with something in it.
fn image(create: &str, extra: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("start.raw");
    std::fs::write(&raw, (0..200_000u32).map(|i| (i / 700) as u8).collect::<Vec<u8>>()).unwrap();
    let path = dir.path().join("image.qcow2");
    let (raw, text) = (raw.to_str().unwrap(), path.to_str().unwrap());
    ok("qemu-img", &[&["convert", "-f", "raw", "-O", "qcow2", "-o", create], extra, &[raw, text]].concat());
    ok("qemu-img", &["snapshot", "-c", "kept", text]);
    ok("qemu-io", &["-f", "qcow2", "-c", "write 5000 9000", text]);
    std::fs::read(path).unwrap()
}

fn with(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

fn refusal(bytes: Vec<u8>) -> Error {
    Qcow2::open(Memory::new(bytes), None, Options { read_only: true, ..Options::default() }).unwrap_err()
}

macro_rules! refused {
    ($($name:ident: $at:expr, $value:expr => $pattern:pat,)*) => {$(
        #[test]
        fn $name() {
            if judges() {
                let error = refusal(with(image("compat=v3", &[]), $at, $value));
                assert!(matches!(error, $pattern), "{error:?}");
            }
        }
    )*};
}

refused! {
    aes_is_refused: 32, &[0, 0, 0, 1] => Error::Unsupported(Unsupported::Encryption(1)),
    luks_is_refused: 32, &[0, 0, 0, 2] => Error::Unsupported(Unsupported::Encryption(2)),
    an_external_data_file_is_refused: 79, &[4] => Error::Unsupported(Unsupported::ExternalDataFile),
    unknown_incompatible_bits_are_refused: 72, &[0x40] => Error::Unsupported(Unsupported::IncompatibleBits(_)),
    the_corrupt_bit_is_refused: 79, &[2] => Error::MarkedCorrupt,
    version_1_is_refused: 4, &[0, 0, 0, 1] => Error::Unsupported(Unsupported::Version(1)),
    version_4_is_refused: 4, &[0, 0, 0, 4] => Error::Unsupported(Unsupported::Version(4)),
    other_compression_is_refused: 104, &[7] => Error::Unsupported(Unsupported::Compression(7)),
    another_format_is_refused: 0, b"VMDK" => Error::NotQcow2,
    a_huge_l1_is_refused: 36, &[0xff; 4] => Error::Limit { .. },
    a_huge_guest_is_refused: 24, &[0xff; 8] => Error::Limit { .. },
}

#[test]
fn a_dirty_image_is_read_and_not_written() {
    if !judges() {
        return;
    }
    let bytes = with(image("compat=v3,lazy_refcounts=on", &[]), 79, &[1]);
    let error = Qcow2::open(Memory::new(bytes.clone()), None, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Dirty) && error.to_string().contains("qemu-img check -r all"));
    let options = Options { read_only: true, ..Options::default() };
    let mut image = Qcow2::open(Memory::new(bytes), None, options).unwrap();
    assert!(image.info().dirty && image.info().lazy_refcounts);
    assert_eq!(content(&image)[199_000], (199_000u32 / 700) as u8);
    assert!(image.write_at(0, &[1]).is_err());
}

#[test]
fn a_backing_file_is_named_and_never_opened() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    let args = ["create", "-f", "qcow2", "-u", "-F", "raw", "-b", "/no/such/base", path.to_str().unwrap(), "1M"];
    ok("qemu-img", &args);
    let device = Memory::new(std::fs::read(&path).unwrap());
    let info = read_info(&device).unwrap();
    assert_eq!(info.backing_file.as_deref(), Some(&b"/no/such/base"[..]));
    assert_eq!(info.backing_format.as_deref(), Some(&b"raw"[..]));
    assert!(matches!(Qcow2::open(device, None, Options::default()), Err(Error::BackingMissing(_))));
    let device = Memory::new(image_bytes());
    let backing = Some(Box::new(Memory::zeroed(9)) as Box<dyn ReadAt>);
    assert!(matches!(Qcow2::open(device, backing, Options::default()), Err(Error::BackingUnexpected)));
}

fn image_bytes() -> Vec<u8> {
    image("compat=v3", &[])
}

#[test]
fn autoclear_bits_fall_with_the_first_write_and_not_before() {
    if !judges() {
        return;
    }
    let bytes = with(image_bytes(), 88, &[0x80, 0, 0, 0, 0, 0, 0, 1]);
    let mut image = Qcow2::open(Memory::new(bytes.clone()), None, Options::default()).unwrap();
    content(&image);
    image.barrier().unwrap();
    assert_eq!(image.get_ref().bytes(), bytes, "reading changes nothing");
    image.write_at(0, &[1]).unwrap();
    assert_eq!(image.get_ref().bytes()[88..96], [0; 8]);
}

#[test]
fn what_an_image_says_is_told() {
    if !judges() {
        return;
    }
    let bytes = image("compat=v3,cluster_size=4096,refcount_bits=8", &[]);
    assert!(probe(&bytes) && !probe(b"QFI"));
    let info = read_info(&Memory::new(bytes)).unwrap();
    assert_eq!((info.version, info.cluster_bits, info.refcount_bits), (3, 12, 8));
    assert_eq!(info.snapshots.len(), 1);
    assert_eq!((&info.snapshots[0].id[..], &info.snapshots[0].name[..]), (&b"1"[..], &b"kept"[..]));
}

/// Opens, reads and writes whatever this is. Only panics and hangs are failures.
fn survive(bytes: Vec<u8>) {
    for read_only in [true, false] {
        let options = Options { read_only, cache_bytes: 1 << 20 };
        let Ok(mut image) = Qcow2::open(Memory::new(bytes.clone()), None, options) else { continue };
        let len = image.len();
        for at in [0, 4096, 65536, len / 2, len.saturating_sub(70_000)] {
            let mut buf = vec![0; 70_000.min(len.saturating_sub(at)) as usize];
            let _ = image.read_at(at, &mut buf);
            if at < len {
                let _ = image.extent_at(at);
            }
        }
        for at in [0, 5000, len / 2, len.saturating_sub(3000)] {
            if at + 3000 <= len {
                let _ = image.write_at(at, &[7; 3000]);
                let _ = image.discard(at / 2, 3000);
            }
        }
        let _ = image.barrier();
        for size in [len.saturating_add(70_000), len.saturating_mul(1000), len / 2 + 300, 0, len] {
            let _ = image.set_len(size);
        }
        assert!(image.get_ref().bytes().len() < bytes.len() + (64 << 20), "the file grew without bound");
    }
}

#[test]
fn corrupt_fields_and_random_damage_are_survived() {
    if !judges() {
        return;
    }
    let mut rng = Rng::new(seed());
    for (create, extra) in [
        ("compat=v3,cluster_size=4096", &[][..]),
        ("compat=0.10", &["-c"]),
        ("compat=v3,cluster_size=4096,compression_type=zstd", &["-c"]),
        ("compat=v3,cluster_size=16K,extended_l2=on", &[]),
    ] {
        let base = image(create, extra);
        // Header fields.
        for at in (4..112).step_by(4) {
            for value in [0u32, 1, 9, 511, 512, 4096, 65536, 0x7fff_ffff, 0xffff_ffff] {
                survive(with(base.clone(), at, &value.to_be_bytes()));
            }
        }
        // Entries of the tables that the header names, and of what these name.
        let word = |at: u64| u64::from_be_bytes(base[at as usize..][..8].try_into().unwrap());
        let (l1, reftable) = (word(40), word(48));
        let tables = [l1, reftable, word(l1) & 0xffff_ffff_fe00, word(reftable), word(64)];
        for table in tables {
            for entry in 0..4 {
                for value in [0, 1, 512, 4096, 1 << 40, 1 << 62, u64::MAX, 1 << 63 | l1, 1 << 63 | reftable, 1 << 63] {
                    survive(with(base.clone(), (table + entry * 8) as usize, &value.to_be_bytes()));
                }
            }
        }
        for _ in 0..if long() { 20_000 } else { 500 } {
            let mut bytes = base.clone();
            for _ in 0..1 + rng.below(4) {
                let table = [0, l1, reftable, tables[2], tables[3]][rng.below(5) as usize];
                let at = (table + rng.below(128)).min(bytes.len() as u64 - 1);
                bytes[at as usize] = rng.next() as u8;
            }
            if rng.below(8) == 0 {
                bytes.truncate(rng.below(bytes.len() as u64) as usize);
            }
            survive(bytes);
        }
    }
}

#[test]
fn data_is_never_written_over_tables() {
    if !judges() {
        return;
    }
    let base = image("compat=v3,cluster_size=4096", &[]);
    let word = |at: u64| u64::from_be_bytes(base[at as usize..][..8].try_into().unwrap());
    let l1 = word(40);
    let l2 = word(l1) & 0xffff_ffff_fe00;
    for target in [l1, l2, word(48), word(word(48)), word(64)] {
        let bytes = with(base.clone(), l2 as usize, &(1 << 63 | target).to_be_bytes());
        let mut image = Qcow2::open(Memory::new(bytes.clone()), None, Options::default()).unwrap();
        let result = image.write_at(0, &[7; 4096]);
        assert!(result.is_err(), "data for the table at {target:#x}");
        assert_eq!(image.get_ref().bytes()[target as usize..][..4096], bytes[target as usize..][..4096]);
    }
}

#[test]
fn a_free_cluster_that_holds_a_table_is_not_used() {
    if !judges() {
        return;
    }
    // 64 KiB clusters and 2 TiB: the L1 table has more than one slice. Its last entry leads to a table whose refcount
    // says that it is free; a write at the beginning of the disk does not look there by itself.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    let text = path.to_str().unwrap();
    ok("qemu-img", &["create", "-f", "qcow2", text, "2T"]);
    let last = (2u64 << 40) - 65536;
    ok("qemu-io", &["-f", "qcow2", "-c", &format!("write {last} 64k"), text]);
    let base = std::fs::read(&path).unwrap();
    let word = |at: u64| u64::from_be_bytes(base[at as usize..][..8].try_into().unwrap());
    let l2 = word(word(40) + 4095 * 8) & 0xffff_ffff_fe00;
    let bytes = with(base.clone(), (word(word(48)) + l2 / 65536 * 2) as usize, &[0, 0]);
    let mut image = Qcow2::open(Memory::new(bytes.clone()), None, Options::default()).unwrap();
    let error = image.write_at(0, &[7; 4096]).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("refcount of the table"), "{error:?}");
    assert_eq!(image.get_ref().bytes()[l2 as usize..][..65536], bytes[l2 as usize..][..65536]);
}

#[test]
fn what_lies_in_free_clusters_does_not_show() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    ok("qemu-img", &["create", "-f", "qcow2", path.to_str().unwrap(), "2T"]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(bytes.len().next_multiple_of(65536), 0);
    // Two free clusters, for an L2 table and for data. As a table, the bytes would be compressed clusters.
    bytes.extend([0x55; 2 * 65536]);
    let len = bytes.len();
    let mut image = Qcow2::open(Memory::new(bytes), None, Options::default()).unwrap();
    image.write_at(8192, &[7; 4096]).unwrap();
    image.barrier().unwrap();
    assert_eq!(image.get_ref().bytes().len(), len, "the free clusters are used");
    let image = Qcow2::open(image.into_inner(), None, Options::default()).unwrap();
    for at in (0..512 << 20).step_by(1 << 16) {
        let wanted = if at == 0 { [&[0; 8192][..], &[7; 4096], &[0; 53248]].concat() } else { vec![0; 65536] };
        same("read", &content_of(&image, at, 65536), &wanted);
    }
    check::assert_clean(image.get_ref().bytes());
}

#[test]
fn a_pointer_beyond_the_end_stays_invalid_when_the_file_grows() {
    if !judges() {
        return;
    }
    // An L2 table maps 32 KiB here; two entries of the first are made to lead beyond the end of the file, then it
    // grows by writes that other L2 tables map.
    let base = image("compat=v3,cluster_size=512", &[]);
    let word = |at: u64| u64::from_be_bytes(base[at as usize..][..8].try_into().unwrap());
    let l2 = word(word(40)) & 0xffff_ffff_fe00;
    let end = base.len().next_multiple_of(512) as u64;
    for flag in [0, 1 << 63] {
        let bytes = with(base.clone(), l2 as usize + 16, &(end | flag).to_be_bytes());
        let bytes = with(bytes, l2 as usize + 24, &((end + 512 * 30) | flag).to_be_bytes());
        let mut image =
            Qcow2::open(Memory::new(bytes), None, Options { cache_bytes: 4096, ..Options::default() }).unwrap();
        image.write_at(100_000, &[7; 50_000]).unwrap();
        image.barrier().unwrap();
        assert!(image.get_ref().len() > end + 512 * 40);
        for guest in [2, 3] {
            assert!(image.read_at(guest * 512, &mut [0; 512]).is_err(), "guest cluster {guest}");
            assert!(image.write_at(guest * 512, &[7; 512]).is_err(), "guest cluster {guest}");
        }
        assert!(image.write_at(30 * 512, &[7; 512]).is_err(), "the slice with the wrong entries");
        image.read_at(30 * 512, &mut [0; 512]).unwrap();
        assert_eq!(content_of(&image, 100_000, 50_000), [7; 50_000]);
    }
}

fn content_of(image: &impl ReadAt, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    image.read_at(at, &mut bytes).unwrap();
    bytes
}
