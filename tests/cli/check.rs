//! `check`: what it says of images with and without fault, and that it writes nothing.

use crate::common::{nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_kit::{fixture, scratch};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

#[test]
fn a_guest_without_fault_gives_one_line_and_0() {
    let guest = fixture::guest();
    let before = state(&guest);
    let ran = run(["check", &text(&guest)]);
    assert_eq!((ran.code, &ran.stderr[..]), (Some(0), ""), "{ran:?}");
    assert!(ran.stdout.starts_with("partition 1 (ext4): nothing found; "), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    let document = json(&run(["check", "--json", &format!("{}@1", text(&guest))]));
    let volume = &document["volumes"][0];
    assert_eq!(
        (&volume["partition"], &volume["sound"], &volume["counts"]["corrupt"]),
        (&1.into(), &true.into(), &0.into())
    );
    assert_eq!(volume["findings"].as_array().unwrap().len(), 0);
    assert!(state(&guest) == before);
}

#[test]
fn a_fault_is_named_and_gives_7() {
    const FREE_INODES: u64 = 1024 + 0x10;
    let image = fixture::file("ext2-1k");
    OpenOptions::new().write(true).open(&image).unwrap().write_all_at(&[1, 0, 0, 0], FREE_INODES).unwrap();
    let before = state(&image);
    let ran = run(["check", &text(&image)]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.stdout.starts_with("corrupt: superblock: 1 inodes free, expected "), "{ran:?}");
    assert!(ran.stdout.contains(" [PR_5_FREE_INODE_COUNT]\nwhole device (ext2): 1 corrupt; "), "{ran:?}");
    let ran = run(["check", "--json", &text(&image)]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let document = json(&ran);
    let volume = &document["volumes"][0];
    assert_eq!((&volume["sound"], &volume["counts"]["corrupt"]), (&false.into(), &1.into()));
    let finding = &volume["findings"][0];
    assert_eq!((&finding["id"], &finding["e2fsck_silent"]), (&"PR_5_FREE_INODE_COUNT".into(), &false.into()));
    assert!(state(&image) == before);
}

#[test]
fn a_journal_to_be_replayed_is_no_fault() {
    let image = fixture::file("dirty-csum3");
    let before = state(&image);
    let ran = run(["check", &text(&image)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("recovery: journal: ") && ran.stdout.contains("1 recovery; "), "{ran:?}");
    assert!(state(&image) == before);
}

#[test]
fn what_is_no_filesystem_is_said_to_be_none() {
    let guest = Guest::new();
    let image = scratch::file();
    image.as_file().set_len(1 << 20).unwrap();
    let path = text(image.path());
    assert_eq!(run(["check", &path]).code, Some(4));
    // Where the caller says that there is one, its superblock is what is wrong.
    let ran = run(["check", "--partition", "none", &path]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.stdout.contains("[PR_0_SB_CORRUPT]"), "{ran:?}");
    let ran = run(["check", &format!("{}@15", guest.arg())]);
    assert!(ran.code == Some(4) && ran.stderr.contains("checking vfat is not supported"), "{ran:?}");
    let refused = fixture::file("unknown-incompat");
    let ran = run(["check", &text(&refused)]);
    assert!(ran.code == Some(4) && ran.stderr.contains("FEATURE_I31"), "{ran:?}");
}

#[test]
fn a_deterministic_answer_follows_from_the_bytes_alone() {
    let guest = Guest::new();
    let image = guest.arg();
    let before = state(&guest.image);
    let first = run(["check", "--deterministic", &image]);
    assert_eq!((first.code, &first.stderr[..]), (Some(0), ""), "{first:?}");
    assert!(first.stdout.ends_with("\nverdict: walked\n") && !first.stdout.contains(&image), "{first:?}");
    assert!(state(&guest.image) == before && guest.names() == ["guest.qcow2"]);

    // Another name, folder, length on the host, time, owner of a lock, and an unfinished commit beside it.
    let other = guest.path("sub@2:name");
    fs::copy(&guest.image, &other).unwrap();
    let redo = nomount::session::redo_path(&other);
    fs::write(&redo, "not looked at").unwrap();
    let _writer = nomount::image::Image::open(
        &other,
        &nomount::image::ImageOptions { write: true, ..nomount::image::ImageOptions::default() },
    )
    .unwrap();
    let mut command = nomount();
    command.env("SOURCE_DATE_EPOCH", "not a number").env("LC_ALL", "tr_TR.UTF-8").env("COLUMNS", "10");
    let again = ran(command.args(["--progress", "json", "check", "--deterministic"]).arg(&other));
    assert_eq!((again.code, again.stdout, again.stderr), (first.code, first.stdout.clone(), String::new()));

    // From standard input, and several in one call, in their order.
    let mut command = nomount();
    let input = ran(command.args(["check", "--deterministic", "-"]).stdin(File::open(&guest.image).unwrap()));
    assert_eq!(input.stdout, first.stdout);
    let several = run(["check", "--deterministic", &image, &text(&other)]);
    assert_eq!(several.stdout, first.stdout.repeat(2));
}

#[test]
fn a_deterministic_exit_code_is_that_of_the_worst_image() {
    let sound = text(&fixture::file("ext2-1k").keep().unwrap());
    let corrupt = text(&fixture::file("ext2-1k").keep().unwrap());
    OpenOptions::new().write(true).open(&corrupt).unwrap().write_all_at(&[1], 1024 + 0x10).unwrap();
    let unknown = text(&fixture::file("unknown-incompat").keep().unwrap());
    for (images, code) in [
        (&[&sound][..], 0),
        (&[&sound, &unknown], 4),
        (&[&corrupt, &sound], 7),
        (&[&unknown, &corrupt, &sound], 7),
        (&[&"/nonexistent".to_owned()], 1),
    ] {
        let args = ["check".to_owned(), "--deterministic".to_owned(), "--json".to_owned()];
        let done = run(args.iter().chain(images.iter().copied()));
        assert_eq!(done.code, Some(code), "{images:?}: {done:?}");
        if code != 1 {
            assert_eq!(done.stdout.lines().count(), images.len(), "{done:?}");
        }
    }
    for name in [&sound, &corrupt, &unknown] {
        fs::remove_file(name).unwrap();
    }
    // Without the option it is one image, and with it nothing that would need another file.
    assert_eq!(run(["check", "a", "b"]).code, Some(2));
    assert_eq!(run(["check", "--deterministic", "--allow-backing", "a"]).code, Some(2));
}
