//! Names as they are found, spelt, refused, and read where nobody could have written them.

use crate::common::{MIB, judge, mcopy_all, mkfs_fat, open, parts, read_all};
use nomount_block::Memory;
use nomount_fat::{Attrs, Error, Filesystem, OpenOptions, View};
use nomount_kit::require;

fn names(fs: &Filesystem<Memory>, dir: &str) -> Vec<String> {
    fs.entries(&parts(dir)).unwrap().iter().map(|entry| entry.name.escape_ascii().to_string()).collect()
}

#[test]
fn case_is_kept_and_does_not_matter() {
    if !require(&["mkfs.fat", "fsck.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 12", MIB));
    fs.create_dir(&parts("/Program Files"), Attrs::default()).unwrap();
    fs.create_file(&parts("/program files/ReadMe.TXT"), Attrs::default()).unwrap();
    for path in ["/PROGRA~1/README.TXT", "/Program Files/readme.txt", "/PROGRAM FILES/ReadMe.TXT"] {
        assert!(!fs.stat(&parts(path)).unwrap().is_dir, "{path}");
        assert!(matches!(fs.create_file(&parts(path), Attrs::default()), Err(Error::Exists(_))));
        assert_eq!(fs.spelling(&parts(path)).unwrap(), parts("/Program Files/ReadMe.TXT"));
    }
    let error = fs.create_file(&parts("/PROGRA~1"), Attrs::default()).unwrap_err();
    assert_eq!(error.to_string(), "file exists: it is another name of Program Files");
    // Another spelling is another name, and replaces nothing.
    fs.rename(&parts("/progra~1/readme.txt"), &parts("/program files/README.TXT")).unwrap();
    fs.rename(&parts("/Program Files"), &parts("/program FILES")).unwrap();
    assert_eq!(
        (names(&fs, "/"), names(&fs, "/PROGRAM FILES")),
        (vec!["program FILES".into()], vec!["README.TXT".into()])
    );
    assert!(matches!(fs.rename(&parts("/program files"), &parts("/PROGRAM FILES/x/y")), Err(Error::NotFound)));
    assert!(matches!(fs.rename(&parts("/program files"), &parts("/PROGRA~1/x")), Err(Error::Place(_))));
    fs.commit().unwrap();
    judge(fs.device(), "names in any case");
}

#[test]
fn what_no_reader_agrees_on_is_refused_by_name() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 12", MIB));
    fs.create_file(&parts("/f"), Attrs::default()).unwrap();
    for name in [&b"a:b"[..], b"a?", b"end.", b"end ", b"\x01", b"\xff", b".", b".."] {
        let said = [
            fs.create_file(&[name], Attrs::default()),
            fs.create_dir(&[name], Attrs::default()),
            fs.rename(&parts("/f"), &[name]),
        ];
        for error in said {
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{}: {error}", name.escape_ascii());
        }
    }
    assert_eq!(names(&fs, "/"), ["f"]);
}

/// The root directory of FAT12, made by hand.
fn with_root(entries: &[[u8; 32]]) -> Memory {
    let mut bytes = mkfs_fat("-F 12 -s 1", MIB).into_bytes();
    let field = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let root = (field(14) + 2 * field(22)) * 512;
    for (number, entry) in entries.iter().enumerate() {
        bytes[root + number * 32..][..32].copy_from_slice(entry);
    }
    Memory::new(bytes)
}

fn short(name: &[u8; 11], attr: u8, case: u8) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    (entry[11], entry[12]) = (attr, case);
    entry
}

fn long(order: u8, units: &[u16; 13], of: &[u8; 11]) -> [u8; 32] {
    let mut entry = [0; 32];
    (entry[0], entry[11]) = (order, 0x0f);
    entry[13] = of.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte));
    let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
    for (at, unit) in places.zip(units) {
        entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

#[test]
fn names_that_nobody_could_have_written_are_listed() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    let units = |text: &[u16]| {
        let mut all = [0xffff; 13];
        all[..text.len()].copy_from_slice(text);
        if text.len() < 13 {
            all[text.len()] = 0;
        }
        all
    };
    let slash = units(&[b'a'.into(), b'/'.into()]);
    let half = units(&[b'h'.into(), 0xd800, b'x'.into()]);
    let volume = with_root(&[
        short(b"LABEL      ", 0x08, 0),
        long(0x41, &half, b"HALF~1     "),
        short(b"HALF~1     ", 0x20, 0),
        long(0x41, &slash, b"SLASH~1    "),
        short(b"SLASH~1    ", 0x20, 0),
        // Of another name, out of order, without an end, of a name that was removed.
        long(0x41, &half, b"OTHER      "),
        short(b"LOWER   TXT", 0x20, 0x18),
        long(0x42, &half, b"ORDER      "),
        short(b"ORDER      ", 0x20, 0),
        long(0x01, &half, b"ORPHAN     "),
        short(b"\xe5RPHAN     ", 0x20, 0),
        short(b"\x05\x80      \x9b  ", 0x20, 0),
        short(b"A/B\x01    C  ", 0x20, 0),
        short(b"TWICE      ", 0x20, 0),
        short(b"TWICE      ", 0x20, 0),
        short(b".          ", 0x10, 0),
    ]);
    let mut fs = open(volume);
    let wanted = [
        "h\\xed\\xa0\\x80x",
        "SLASH~1",
        "lower.txt",
        "ORDER",
        "\\xcf\\x83\\xc3\\x87.\\xc2\\xa2",
        "A_B_.C",
        "TWICE",
        "TWICE",
    ];
    assert_eq!(names(&fs, "/"), wanted);
    // They are found under what they are shown as, and can be removed, one after the other.
    for (left, name) in fs.entries(&[]).unwrap().into_iter().map(|entry| entry.name).enumerate() {
        fs.unlink(&[&name]).unwrap();
        assert_eq!(names(&fs, "/").len(), wanted.len() - 1 - left);
    }
    assert_eq!(fs.info().unwrap().label.as_deref(), Some(&b"LABEL"[..]));
}

#[test]
fn the_end_of_a_directory_moves_with_what_is_added() {
    if !require(&["mkfs.fat", "mcopy"]) {
        return;
    }
    // Behind the end there may be anything.
    let garbage = short(b"GARBAGE    ", 0x20, 0);
    let end = [0; 32];
    let mut fs = open(with_root(&[short(b"F          ", 0x20, 0), end, garbage, garbage, garbage, garbage]));
    fs.create_file(&parts("/a long name"), Attrs::default()).unwrap();
    assert_eq!(names(&fs, "/"), ["F", "a long name"]);
    fs.commit().unwrap();
    let volume = fs.into_device();
    assert_eq!(read_all(&open(volume.clone())).len(), 2);
    assert_eq!(mcopy_all(&volume).len(), 2);
    assert_eq!(View::open(&volume).unwrap().dir(&[]).unwrap().unwrap().names().count(), 2);
}

#[test]
fn a_directory_that_is_in_itself_is_corrupt() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 12 -s 1", MIB));
    fs.create_dir(&parts("/D"), Attrs::default()).unwrap();
    fs.create_dir(&parts("/D/E"), Attrs::default()).unwrap();
    fs.commit().unwrap();
    let mut bytes = fs.into_device().into_bytes();
    // E is at the first cluster of D now.
    let at = bytes.windows(12).rposition(|window| window == b"E          \x10").unwrap();
    bytes[at + 26..at + 28].copy_from_slice(&2u16.to_le_bytes());
    let volume = Memory::new(bytes);
    let fs = Filesystem::open(&volume, OpenOptions::default()).unwrap();
    assert_eq!(fs.stat(&parts("/D/E/E")).unwrap().number, fs.stat(&parts("/D")).unwrap().number);
    assert!(matches!(open(volume).remove_tree(&parts("/D")), Err(Error::Corrupt(_))));
}
