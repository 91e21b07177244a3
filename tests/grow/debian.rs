//! Full Debian systems, from 4 to 40 GiB.

use crate::common::{long, run, text};
use crate::matrix::TOOLS;
use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, require, scratch};
use std::fs;
use std::path::Path;

const TO: u64 = 40 << 30;

fn grow(release: Release, layout: Layout, container: Container) {
    let what = format!("{release:?}, {layout:?}, {container:?}");
    let Some(original) = debian::image(release, layout, container) else { return };
    // An overlay's backing file is named relative to it.
    let overlay = container == Container::Overlay;
    let beside = original.with_file_name(format!("grown-{}", std::process::id()));
    let copy = if overlay {
        fs::copy(&original, &beside).unwrap();
        tempfile::TempPath::try_from_path(beside).unwrap()
    } else {
        scratch::copy(&original)
    };
    let raw = |image: &Path| match container {
        Container::Raw => scratch::copy(image),
        _ => scratch::raw_of(image, "qcow2"),
    };
    let offset = layout.root_offset();
    let before = TreeDigest::of_ext(&raw(&copy), offset);
    let ran = run(["grow", &text(&copy), "40G", "--no-sync", "--allow-backing", "--grow-with=native"]);
    assert_eq!(ran.code, Some(0), "{what}: {ran:?}");
    if container != Container::Raw {
        judges::qemu_img_check(&copy, Leaks::Allowed).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let disk = raw(&copy);
    assert_eq!(fs::metadata(&disk).unwrap().len(), TO, "{what}");
    if layout == Layout::Gpt {
        judges::sgdisk_v(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    judges::e2fsck_fn(&disk, offset).unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = TreeDigest::of_ext(&disk, offset);
    assert!(after == before, "{what}: {:?}", before.diff(&after));
}

#[test]
fn debian_from_4_to_40_gib() {
    if !require(TOOLS) {
        return;
    }
    let few = [
        (Release::Bookworm, Layout::None, Container::Raw),
        (Release::Trixie, Layout::Gpt, Container::Qcow2Zstd),
        (Release::Bookworm, Layout::Gpt, Container::Overlay),
    ];
    let containers = [Container::Raw, Container::Qcow2, Container::Qcow2Zlib, Container::Qcow2Zstd, Container::Overlay];
    let all = Release::ALL.into_iter().flat_map(|release| {
        let layouts = [Layout::Gpt, Layout::None].into_iter();
        layouts.flat_map(move |layout| containers.map(|container| (release, layout, container)))
    });
    let cases: Vec<_> = if long() { all.collect() } else { few.to_vec() };
    cases.into_iter().for_each(|(release, layout, container)| grow(release, layout, container));
}

/// Swap, which nobody made yet, lies behind the root: neither is grown by guessing.
#[test]
fn a_partition_that_has_no_room_behind_it_is_refused() {
    if !require(TOOLS) {
        return;
    }
    let Some(image) = debian::image(Release::Trixie, Layout::Mbr, Container::Qcow2) else { return };
    let copy = scratch::copy(&image);
    let before = scratch::fingerprint(&copy);
    let ran = run(["grow", &text(&copy), "40G"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("partition 6 (unknown)") && ran.stderr.contains("choose one"),
        "{ran:?}"
    );
    let ran = run(["grow", &text(&copy), "40G", "--expand", "/dev/sda5"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("partition 6 (unknown) begins at byte"), "{ran:?}");
    assert_eq!(scratch::fingerprint(&copy), before);
}
