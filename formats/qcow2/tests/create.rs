//! New images, judged by qemu-img.

mod support;

use nomount_block::{Fault, FaultPlan, HostFile, Memory, Record, WriteAt};
use nomount_qcow2::{CreateOptions, Error, create, probe};
use std::fs::File;
use std::path::Path;
use support::*;

fn empty(path: &Path) -> HostFile {
    File::create(path).unwrap();
    host(path)
}

#[test]
fn new_images_are_sound_and_take_writes() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.qcow2");
    let sizes = [0, 1 << 20, (4 << 30) + 512, 2 << 40];
    for cluster_bits in [9, 12, 16, 21] {
        for virtual_size in sizes.into_iter().filter(|size| cluster_bits > 9 || *size <= 5 << 30) {
            let what = format!("{virtual_size} bytes, clusters of {cluster_bits} bits");
            let options = CreateOptions { cluster_bits, ..CreateOptions::new(virtual_size) };
            let mut image = create(empty(&path), &options, None).unwrap();
            qemu_check(&path, false);
            let told = ok("qemu-img", &["info", "--output=json", "-f", "qcow2", path.to_str().unwrap()]);
            for wanted in [
                format!("\"virtual-size\": {virtual_size},"),
                format!("\"cluster-size\": {},", 1 << cluster_bits),
                "\"compat\": \"1.1\"".to_owned(),
                "\"refcount-bits\": 16".to_owned(),
            ] {
                assert!(told.contains(&wanted), "{what}: {wanted} is not in {told}");
            }
            for at in [0, virtual_size / 2, virtual_size.saturating_sub(9000)] {
                let len = 9000.min(virtual_size - at);
                image.write_at(at, &vec![7; len as usize]).unwrap();
            }
            image.barrier().unwrap();
            qemu_check(&path, false);
            if virtual_size > 0 {
                let command = format!("read -P 7 {} 4608", virtual_size / 2);
                let read = ok("qemu-io", &["-f", "qcow2", "-r", "-c", &command, path.to_str().unwrap()]);
                assert!(!read.contains("failed"), "{what}: {read}");
            }
        }
    }
}

#[test]
fn an_overlay_shows_its_backing_file() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (base, path) = (dir.path().join("base image.raw"), dir.path().join("over.qcow2"));
    let mut model: Vec<u8> = (0..1 << 20u32).map(|at| (at / 1000) as u8).collect();
    std::fs::write(&base, &model).unwrap();
    let name = base.to_str().unwrap().as_bytes().to_vec();
    let options = CreateOptions { backing: Some((name, b"raw".to_vec())), ..CreateOptions::new(1 << 20) };
    let mut image = create(empty(&path), &options, Some(Box::new(host(&base)))).unwrap();
    image.write_at(70_000, &[9; 5000]).unwrap();
    model[70_000..75_000].fill(9);
    image.barrier().unwrap();
    same("ours", &content(&image), &model);
    qemu_check(&path, false);
    same("qemu-img", &qemu_content(&path, None), &model);
}

#[test]
fn the_header_comes_last() {
    let device = Fault::new(Memory::default(), FaultPlan::default());
    let log = create(device, &CreateOptions::new(1 << 30), None).unwrap().into_inner().into_parts().1;
    let header = log.iter().position(|r| matches!(r, Record::Write { offset: 0, data } if probe(data))).unwrap();
    assert_eq!(log[header - 1], Record::Barrier);
    assert_eq!(log[header + 1..], [Record::Barrier]);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let new = |options: CreateOptions| create(Memory::default(), &options, None).unwrap_err();
    let plain = CreateOptions::new(1 << 20);
    assert!(matches!(new(CreateOptions { cluster_bits: 8, ..plain.clone() }), Error::BadOption { value: 8, .. }));
    assert!(matches!(new(CreateOptions { cluster_bits: 22, ..plain.clone() }), Error::BadOption { value: 22, .. }));
    assert!(matches!(new(CreateOptions::new(u64::MAX)), Error::Limit { .. }));
    assert!(matches!(new(CreateOptions { cluster_bits: 9, ..CreateOptions::new(2 << 40) }), Error::Limit { .. }));
    for (name, format) in [(0, 3), (1024, 3), (9, 0)] {
        let backing = Some((vec![b'a'; name], vec![b'r'; format]));
        assert!(matches!(new(CreateOptions { backing, ..plain.clone() }), Error::BadOption { .. }), "{name} {format}");
    }
    let backing = Some((vec![b'a'; 600], b"raw".to_vec()));
    assert!(matches!(new(CreateOptions { backing, cluster_bits: 9, ..plain.clone() }), Error::Limit { .. }));
    let error = create(Memory::zeroed(512), &plain, None).unwrap_err();
    assert!(matches!(error, Error::BadOption { value: 512, .. }), "a file with something in it is left alone");
}
