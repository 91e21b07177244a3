//! Changing the guest's length: what cases the random operations of the other tests do not reach.

mod support;

use imago::file::File as ImagoFile;
use imago::qcow2::Qcow2 as Imago;
use imago::{FormatAccess, FormatDriverBuilder, PermissiveImplicitOpenGate};
use nomount_block::{Fault, FaultPlan, HostFile, Memory, ReadAt, Record, SetLen, WriteAt};
use nomount_qcow2::{CreateOptions, Error, Options, Qcow2, Unsupported, create, read_info};
use std::error::Error as _;
use std::path::Path;
use support::*;

const M: u64 = 1 << 20;
const T: u64 = 1 << 40;

fn made(path: &Path, options: &str, size: &str) {
    ok("qemu-img", &["create", "-f", "qcow2", "-o", options, path.to_str().unwrap(), size]);
}

/// The length by three other readers.
fn told(path: &Path) -> u64 {
    let info = ok("qemu-img", &["info", "--output=json", "-f", "qcow2", path.to_str().unwrap()]);
    // Those of the nodes below are indented further.
    let size = info.lines().find_map(|line| line.strip_prefix("    \"virtual-size\": ")).unwrap();
    let size: u64 = size.trim_end_matches(',').parse().unwrap();
    let image = Imago::<ImagoFile>::builder_path(path).open(PermissiveImplicitOpenGate::default()).unwrap();
    assert_eq!(FormatAccess::new(image).size(), size);
    assert_eq!(read_info(&host(path)).unwrap().virtual_size, size);
    size
}

fn bytes_at(image: &impl ReadAt, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![1; len];
    image.read_at(at, &mut bytes).unwrap();
    bytes
}

#[test]
fn other_readers_see_the_new_length_and_the_old_contents() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    for (options, sizes) in [
        ("compat=v3", [4096 * M, 40 << 30, 16 * T, 100 << 30, 3 * M]),
        ("compat=0.10", [4096 * M, 40 << 30, 16 * T, 100 << 30, 3 * M]),
        ("compat=v3,cluster_size=2M,refcount_bits=64", [4 * M, 40 << 30, 1024 * T, 100 << 30, 3 * M]),
        ("compat=v3,cluster_size=512", [4 * M, 2 * M + 512, 100 << 30, 5 << 30, 3 * M]),
    ] {
        made(&path, options, "3M");
        let mut image = open(&path, None, 1 << 20);
        image.write_at(M, &[3; 69 << 10]).unwrap();
        for size in sizes {
            image.set_len(size).unwrap();
            assert_eq!(image.len(), size);
            qemu_check(&path, false);
            assert_eq!(told(&path), size, "{options}");
            image.write_at(size - 5000, &[9; 5000]).unwrap();
            image.barrier().unwrap();
            qemu_check(&path, false);
            let command = format!("read -P 9 {} 4608", size - 4608);
            let read =
                ok("qemu-io", &["-f", "qcow2", "-r", "-c", &command, "-c", "read -P 3 1M 69k", path.to_str().unwrap()]);
            assert!(!read.contains("failed"), "{options}, {size}: {read}");
        }
        image.discard(0, image.len()).unwrap();
        image.set_len(0).unwrap();
        qemu_check(&path, false);
        assert_eq!(told(&path), 0);
    }
}

#[test]
fn an_image_that_was_empty_grows() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    std::fs::File::create(&path).unwrap();
    let mut image = create(host(&path), &CreateOptions::new(0), None).unwrap();
    image.set_len(T).unwrap();
    image.write_at(T / 2, &[5; 4096]).unwrap();
    image.barrier().unwrap();
    qemu_check(&path, false);
    assert_eq!(told(&path), T);
    assert_eq!(bytes_at(&open(&path, None, 0), T / 2, 4096), [5; 4096]);
}

#[test]
fn what_was_mapped_beyond_the_end_does_not_show_when_it_grows() {
    if !judges() {
        return;
    }
    for options in ["compat=v3", "compat=0.10", "compat=v3,cluster_size=512", "compat=v3,extended_l2=on"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.qcow2");
        made(&path, options, "2M");
        let text = path.to_str().unwrap();
        ok("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 2M", text]);
        // As a crash while it shrinks leaves it: the header has the new length, all is still mapped.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[24..32].copy_from_slice(&700_000u64.to_be_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let mut image = open(&path, None, 1 << 20);
        image.set_len(900_000).unwrap();
        image.set_len(3 * M).unwrap();
        let mut wanted = vec![7; 700_000];
        wanted.resize(3 * M as usize, 0);
        same(options, &content(&image), &wanted);
        drop(image);
        qemu_check(&path, false);
        same(options, &qemu_content(&path, None), &wanted);
    }
}

#[test]
fn a_longer_backing_file_does_not_show_in_the_new_area() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (base, path) = (dir.path().join("base.raw"), dir.path().join("image.qcow2"));
    std::fs::write(&base, vec![8; 5_000_000]).unwrap();
    for options in
        ["compat=v3", "compat=0.10", "compat=v3,cluster_size=512", "compat=v3,cluster_size=16K,extended_l2=on"]
    {
        let (base, text) = (base.to_str().unwrap(), path.to_str().unwrap());
        ok("qemu-img", &["create", "-f", "qcow2", "-o", options, "-F", "raw", "-b", base, text, "1000448"]);
        for size in [1_500_160, 4_000_256, 8 * M] {
            let mut image = open(&path, Some((Path::new(base), "raw")), 1 << 20);
            image.set_len(size).unwrap();
            drop(image);
            let mut wanted = vec![8; 1_000_448];
            wanted.resize(size as usize, 0);
            qemu_check(&path, false);
            same(options, &qemu_content(&path, None), &wanted);
            same(options, &content(&open(&path, Some((Path::new(base), "raw")), 0)), &wanted);
        }
        if !options.contains("0.10") {
            assert!(std::fs::metadata(&path).unwrap().len() < 2 * M, "{options}: zeroes are said, not written");
        }
    }
}

#[test]
fn shrinking_gives_the_storage_back() {
    if !judges() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    made(&path, "compat=v3,cluster_size=4096", "64M");
    let mut image = open(&path, None, 1 << 20);
    image.write_at(0, &vec![3; 64 * M as usize]).unwrap();
    image.barrier().unwrap();
    let before = std::fs::metadata(&path).unwrap().blocks();
    image.set_len(M).unwrap();
    let after = std::fs::metadata(&path).unwrap().blocks();
    assert!(after * 20 < before, "{after} blocks of {before} are still there");
    assert_eq!(content(&image), vec![3; M as usize]);
    qemu_check(&path, false);
}

/// The image's bytes, and the refusal of a length.
fn refusal(bytes: &[u8], len: u64) -> nomount_block::Error {
    let mut image = Qcow2::open(Memory::new(bytes.to_vec()), None, Options::default()).unwrap();
    let old = image.len();
    let error = image.set_len(len).unwrap_err();
    assert_eq!(image.get_ref().bytes(), bytes, "a refusal changes nothing");
    assert_eq!(image.len(), old);
    image.write_at(0, &[1; 4096]).unwrap();
    image.barrier().unwrap();
    error
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    made(&path, "compat=v3,cluster_size=512", "1M");
    let bytes = std::fs::read(&path).unwrap();
    for len in [(128 << 30) + 1, i64::MAX as u64, u64::MAX] {
        let error = refusal(&bytes, len);
        assert!(matches!(error.source().unwrap().downcast_ref(), Some(Error::Limit { .. })), "{len}: {error:?}");
    }
    let mut image = Qcow2::open(Memory::new(bytes), None, Options::default()).unwrap();
    image.set_len(128 << 30).unwrap();
    check::assert_clean(image.get_ref().bytes());
    let read_only = Options { read_only: true, ..Options::default() };
    let mut image = Qcow2::open(image.into_inner(), None, read_only).unwrap();
    assert!(image.set_len(1).is_err());
}

#[test]
fn snapshots_without_a_length_refuse_another_and_those_with_one_keep_it() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    let text = path.to_str().unwrap();
    made(&path, "compat=0.10", "1M");
    ok("qemu-img", &["snapshot", "-c", "kept", text]);
    let error = refusal(&std::fs::read(&path).unwrap(), 2 * M);
    let refused = Error::Unsupported(Unsupported::LengthWithSnapshots);
    assert_eq!(error.source().unwrap().to_string(), refused.to_string());

    made(&path, "compat=v3", "1M");
    ok("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 1M", text]);
    ok("qemu-img", &["snapshot", "-c", "kept", text]);
    let mut image = open(&path, None, 1 << 20);
    assert_eq!(image.info().snapshots[0].virtual_size, Some(M));
    image.set_len(M / 2 + 9).unwrap();
    image.set_len(2 * M).unwrap();
    drop(image);
    qemu_check(&path, false);
    ok("qemu-img", &["snapshot", "-a", "kept", text]);
    assert_eq!(told(&path), M);
    assert_eq!(content(&open(&path, None, 0)), vec![7; M as usize]);
}

#[test]
fn a_wrong_table_beyond_the_new_end_leaves_the_image_alone() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    made(&path, "compat=v3,cluster_size=4096", "16M");
    ok("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 16M", path.to_str().unwrap()]);
    let good = std::fs::read(&path).unwrap();
    let word = |at: u64| u64::from_be_bytes(good[at as usize..][..8].try_into().unwrap());
    let l1 = word(40);
    // The third L2 table: its entry in the L1 table, its refcount, and an entry of it.
    let l2 = word(l1 + 16) & 0xffff_ffff_fe00;
    let count = word(word(48)) + l2 / 4096 * 2;
    for (at, value) in [(l1 + 16, &[0xff; 8][..]), (count, &[0; 2]), (l2 + 800, &[0xff; 8])] {
        let mut bytes = good.clone();
        bytes[at as usize..][..value.len()].copy_from_slice(value);
        for len in [5 * M, 4 * M, 4096] {
            let mut image = Qcow2::open(Memory::new(bytes.clone()), None, Options::default()).unwrap();
            assert!(image.set_len(len).is_err(), "{at:#x}, {len}");
            assert_eq!((image.len(), image.get_ref().bytes()), (16 * M, &bytes[..]));
        }
    }
}

#[test]
fn an_l1_entry_of_flags_alone_frees_nothing() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    made(&path, "compat=v3,cluster_size=4096", "16M");
    let mut bytes = std::fs::read(&path).unwrap();
    let l1 = u64::from_be_bytes(bytes[40..48].try_into().unwrap()) as usize;
    bytes[l1 + 8] = 0x80;
    let mut image = Qcow2::open(Memory::new(bytes), None, Options::default()).unwrap();
    image.set_len(0).unwrap();
    check::assert_clean(image.get_ref().bytes());
    assert_eq!(read_info(image.get_ref()).unwrap(), *image.info());
}

/// The device's changes while the length changes: their number, and the bytes written.
fn cost(image: &mut Qcow2<Fault<HostFile>>, len: u64) -> (usize, usize, u64) {
    let (before, reads) = (image.get_ref().log().len(), image.get_ref().reads());
    image.set_len(len).unwrap();
    let log = &image.get_ref().log()[before..];
    let bytes = log.iter().map(|record| if let Record::Write { data, .. } = record { data.len() } else { 0 }).sum();
    (log.len(), bytes, image.get_ref().reads() - reads)
}

#[test]
fn growing_costs_the_same_for_every_length() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.qcow2");
    made(&path, "compat=v3", "4G");
    ok("qemu-io", &["-f", "qcow2", "-c", "write 0 100M", path.to_str().unwrap()]);
    let device = Fault::new(host(&path), FaultPlan::default());
    let mut image = Qcow2::open(device, None, Options::default()).unwrap();
    for (what, len) in [("inside the L1 table's cluster", 40 << 30), ("with a longer L1 table", 16 * T)] {
        let (records, bytes, reads) = cost(&mut image, len);
        println!("{what}: {records} changes of the device, {bytes} bytes, {reads} reads");
        assert!(records <= 12 && bytes <= 32 << 10 && reads <= 12, "{what}: {records}, {bytes}, {reads}");
    }
    let (records, bytes, reads) = cost(&mut image, 4 << 30);
    println!("back: {records} changes of the device, {bytes} bytes, {reads} reads");
    assert!(records <= 12 && bytes <= 32 << 10 && reads <= 80, "back: {records}, {bytes}, {reads}");
    qemu_check(&path, false);
}
