//! Edits of an MBR and its chain: sfdisk finds nothing to say and makes the same table from the same edit; libblkid
//! numbers the partitions as we do.

mod common;

use common::{Image, have, partx, put_entry, rows, run};
use nomount_block::Memory;
use nomount_ptable::{DiskId, EditError, Editor, Guid, NewPartition, Scheme, TypeId, read};

const MIB: u64 = 1 << 20;
const TOOLS: &[&str] = &["sfdisk", "partx"];

/// Primary 1 and 3, extended 2 with 5, 6 and 7; the disk has 64 MiB and room behind each.
const TABLE: &str = "label: dos\nlabel-id: 0x1234abcd\n\
    start=2048,size=8192,type=83,bootable\nstart=12288,size=81920,type=f\nstart=98304,size=4096,type=82\n\n\
    start=14336,size=8192,type=83\nstart=26624,size=4096,type=82\nstart=40960,size=8192,type=8e\n";

/// The root is logical and last, as Debian's installer makes it.
const LOGICAL_ROOT: &str = "label: dos\nlabel-id: 0x1234abcd\n\
    start=2048,size=8192,type=83,bootable\nstart=12286,size=81922,type=5\n\n\
    start=12288,size=8192,type=82\nstart=22528,size=71680,type=83\n";

fn image(script: &str) -> Image {
    let image = Image::new(64 * MIB);
    run("sfdisk", &["-q"], &image.path(), script);
    image
}

fn open(image: &Image) -> Editor {
    Editor::open(&image.device()).unwrap().expect("a table")
}

fn new(byte: u8) -> NewPartition {
    NewPartition::new(TypeId::Mbr(byte), Guid([0; 16]))
}

fn logical(byte: u8) -> NewPartition {
    NewPartition { logical: true, ..new(byte) }
}

fn write(editor: &Editor, image: &Image) -> Image {
    let mut device = image.device();
    editor.write(&mut device).unwrap();
    assert_eq!(read(&device).unwrap().as_ref(), Some(editor.table()));
    let written = Image::with(device.bytes());
    let said = run("sfdisk", &["--verify"], &written.path(), "");
    assert!(said.contains("No errors detected"), "{said}");
    assert_eq!(rows(editor.table()), partx(&written.path(), 512));
    written
}

fn dump(image: &Image) -> String {
    let text = run("sfdisk", &["--dump"], &image.path(), "");
    text.replace(&image.path().display().to_string(), "disk")
}

/// Number, first sector and sectors of all partitions.
fn places(editor: &Editor) -> Vec<(u32, u64, u64)> {
    editor.table().partitions.iter().map(|p| (p.number, p.start / 512, p.len / 512)).collect()
}

#[test]
fn deletion_is_that_of_sfdisk() {
    if !have(TOOLS) {
        return;
    }
    for (number, renumbered) in [(1, &[][..]), (3, &[]), (5, &[(6, 5), (7, 6)]), (6, &[(7, 6)]), (7, &[])] {
        let image = image(TABLE);
        let mut editor = open(&image);
        assert_eq!(editor.delete(number).unwrap().renumbered, renumbered);
        let ours = write(&editor, &image);
        let theirs = Image::with(&image.bytes());
        run("sfdisk", &["-q", "--delete", "@", &number.to_string()], &theirs.path(), "");
        assert_eq!(dump(&ours), dump(&theirs), "without {number}");
    }
    // All, from the front and from the back.
    for numbers in [[5, 5, 5, 2, 1, 3], [7, 6, 5, 3, 2, 1]] {
        let image = image(TABLE);
        let mut editor = open(&image);
        for number in numbers {
            editor.delete(number).unwrap();
        }
        assert_eq!(editor.table().partitions, []);
        let mut device = image.device();
        editor.write(&mut device).unwrap();
        assert_eq!(read(&device).unwrap(), None, "without partitions nobody calls it a table");
        let mut again = Editor::open(&device).unwrap().expect("the disk signature is there");
        assert_eq!(again.table().disk_id, DiskId::Signature(0x1234_abcd));
        assert_eq!(again.add(&new(0x83)).unwrap(), 1);
    }
}

#[test]
fn growth_is_that_of_sfdisk() {
    if !have(TOOLS) {
        return;
    }
    for (number, limit) in [(1, 12_288), (2, 98_304), (3, 131_072), (5, 24_576), (6, 38_912), (7, 98_304)] {
        let image = image(TABLE);
        let mut editor = open(&image);
        assert_eq!(editor.grow_limit(number).unwrap(), limit * 512, "partition {number}");
        let before = places(&editor);
        let start = editor.table().partition(number).unwrap().start;
        assert!(matches!(
            editor.resize(number, limit * 512 + 512 - start),
            Err(EditError::Overlap { .. } | EditError::Outside { .. })
        ));
        assert_eq!(places(&editor), before);
        editor.resize(number, limit * 512 - start).unwrap();
        let ours = write(&editor, &image);
        // sfdisk does not let the extended partition follow: it is told to grow first.
        let theirs = Image::with(&image.bytes());
        if number == 7 {
            run("sfdisk", &["-q", "-N", "2", "@"], &theirs.path(), &format!(",{}\n", limit - 12_288));
        }
        let size = format!(",{}\n", limit - start / 512);
        run("sfdisk", &["-q", "-N", &number.to_string(), "@"], &theirs.path(), &size);
        assert_eq!(dump(&ours), dump(&theirs), "partition {number}");
        assert_eq!(&ours.bytes()[..440], &image.bytes()[..440]);
    }
}

#[test]
fn a_logical_root_takes_the_extended_partition_along_to_the_end_of_a_grown_disk() {
    if !have(TOOLS) {
        return;
    }
    let small = image(LOGICAL_ROOT);
    let mut bytes = small.bytes();
    bytes[..440].fill(0x90);
    bytes.resize(100 << 20, 0);
    let grown = Image::with(&bytes);
    let mut editor = open(&grown);
    let root = editor.table().partition(6).unwrap().clone();
    assert_eq!(editor.grow_limit(6).unwrap(), 100 * MIB);
    assert_eq!(editor.grow_limit(5).unwrap(), 20_480 * 512, "the record of the next is in the way");
    editor.resize(6, 100 * MIB - root.start).unwrap();
    assert_eq!(places(&editor)[1], (2, 12_286, 200 * 1024 - 12_286));
    let written = write(&editor, &grown);
    let after = written.bytes();
    let sectors = (0..bytes.len()).step_by(512).filter(|at| bytes[*at..at + 512] != after[*at..at + 512]).count();
    // Sector 0, the record whose link has a length, the record itself.
    assert_eq!(sectors, 3);
    assert!(after[..440].iter().all(|byte| *byte == 0x90));

    // Before the device has grown it is known by its coming length.
    let mut editor = open(&small);
    editor.set_device_len(80 * MIB).unwrap();
    assert_eq!(editor.grow_limit(6).unwrap(), 80 * MIB);
    assert!(matches!(editor.write(&mut small.device()), Err(EditError::DeviceTooShort { .. })));
    assert_eq!(editor.minimum_device_len(), root.end());
    assert!(matches!(editor.set_device_len(40 * MIB), Err(EditError::DoesNotFit { number: 2 | 6, .. })));
}

#[test]
fn additions_are_those_of_sfdisk() {
    if !have(TOOLS) {
        return;
    }
    let image = image(TABLE);
    let mut editor = open(&image);
    assert_eq!(editor.add(&NewPartition { bootable: true, ..new(0xef) }).unwrap(), 4);
    assert_eq!(editor.add(&NewPartition { len: Some(2 * MIB), ..logical(0x83) }).unwrap(), 8);
    assert_eq!(editor.add(&NewPartition { start: Some(60_000 * 512), ..logical(0x8e) }).unwrap(), 9);
    let written = write(&editor, &image);
    let places = places(&editor);
    assert_eq!(places[3], (4, 102_400, 131_072 - 102_400));
    assert_eq!(places[7], (8, 32_768, 4096), "the first free MiB behind its record");
    assert_eq!(places[8], (9, 60_000, 94_208 - 60_000));
    assert!(!editor.table().partition(1).unwrap().bootable, "one is active");
    // Made again by sfdisk from its own dump.
    let theirs = Image::new(64 * MIB);
    run("sfdisk", &["-q", "--force"], &theirs.path(), &dump(&written).replace("device: disk\n", ""));
    assert_eq!(dump(&theirs), dump(&written));
}

#[test]
fn a_new_table_with_everything() {
    if !have(TOOLS) {
        return;
    }
    let mut editor = Editor::create(Scheme::Mbr, 64 * MIB, 512, DiskId::Signature(0xfeed_f00d)).unwrap();
    assert_eq!(editor.add(&NewPartition { len: Some(8 * MIB), ..new(0x83) }).unwrap(), 1);
    assert_eq!(editor.add(&NewPartition { number: Some(4), ..new(0x05) }).unwrap(), 4);
    for number in 5..10 {
        assert_eq!(editor.add(&NewPartition { len: Some(4 * MIB), ..logical(0x83) }).unwrap(), number);
    }
    assert_eq!(editor.add(&logical(0x82)).unwrap(), 10);
    // Rubbish where records will be, and another table before.
    let mut bytes = vec![0x55; 64 << 20];
    for at in (510..bytes.len()).step_by(512) {
        bytes[at..at + 2].copy_from_slice(&[0x55, 0xaa]);
    }
    let mut device = Memory::new(bytes);
    Editor::create(Scheme::Gpt, 64 * MIB, 512, DiskId::Guid(Guid([5; 16]))).unwrap().write(&mut device).unwrap();
    let before = Image::with(device.bytes());
    let written = write(&editor, &before);
    assert!(written.bytes()[..440].iter().all(|byte| *byte == 0x55), "boot code");
    assert_eq!(read(&written.device()).unwrap().unwrap().notes, [], "no GPT is left");
    let sizes: Vec<u64> = places(&editor).iter().map(|place| place.2).collect();
    assert_eq!(sizes, [16_384, 112_640, 8192, 8192, 8192, 8192, 8192, 57_344 + 2048]);
    let theirs = Image::new(64 * MIB);
    run("sfdisk", &["-q"], &theirs.path(), &dump(&written).replace("device: disk\n", ""));
    assert_eq!(dump(&theirs), dump(&written));
}

/// A filesystem on the whole device would make the new table ambiguous.
#[test]
fn a_new_table_takes_the_place_of_a_filesystem() {
    if !have(&["mkfs.fat", "mke2fs"]) {
        return;
    }
    for (tool, args) in [("mkfs.fat", &["-F", "16"][..]), ("mke2fs", &["-q", "-t", "ext4"])] {
        for scheme in [Scheme::Gpt, Scheme::Mbr] {
            let image = Image::new(16 * MIB);
            run(tool, args, &image.path(), "");
            let (id, type_id) = match scheme {
                Scheme::Gpt => (DiskId::Guid(Guid([1; 16])), TypeId::parse("linux", scheme).unwrap()),
                Scheme::Mbr => (DiskId::Signature(1), TypeId::Mbr(0x83)),
            };
            let mut editor = Editor::create(scheme, 16 * MIB, 512, id).unwrap();
            editor.add(&NewPartition::new(type_id, Guid([2; 16]))).unwrap();
            let mut device = image.device();
            editor.write(&mut device).unwrap();
            assert_eq!(read(&device).unwrap().as_ref(), Some(editor.table()), "{scheme} over {tool}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    if !have(TOOLS) {
        return;
    }
    let image = image(TABLE);
    let mut editor = open(&image);
    let before = places(&editor);
    let refusals = [
        (NewPartition { number: Some(1), ..new(0x83) }, "partition 1 is there already"),
        (NewPartition { number: Some(5), ..new(0x83) }, "primary partitions have 1 to 4"),
        (NewPartition { number: Some(9), ..logical(0x83) }, "the next logical partition has 8"),
        (NewPartition { start: Some(20 * 2048 * 512), ..new(0x83) }, "overlap partition 2"),
        (NewPartition { start: Some(98_304 * 512), ..logical(0x83) }, "where partitions may be"),
        (NewPartition { start: Some(14_336 * 512), ..logical(0x83) }, "overlap partition 5"),
        // The sector in front is the last of partition 5: there is no room for a record.
        (NewPartition { start: Some(22_528 * 512), len: Some(512), ..logical(0x83) }, "overlap partition 5"),
        (new(0x05), "partition 2 is a second extended"),
        (new(0xee), "announces a GPT"),
        (new(0), "unused entry"),
        (logical(0x0f), "links logical partitions"),
        (NewPartition { name: "root".into(), ..new(0x83) }, "MBR has no partition names"),
        (NewPartition { attributes: 1, ..new(0x83) }, "MBR has no partition attributes"),
        (NewPartition::new(TypeId::parse("esp", Scheme::Gpt).unwrap(), Guid([1; 16])), "bytes as types"),
    ];
    for (new, reason) in &refusals {
        let error = editor.add(new).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, wanted {reason}");
    }
    let error = editor.delete(2).unwrap_err().to_string();
    assert_eq!(error, "extended partition 2 holds partition 5, 6, 7");
    assert!(matches!(editor.resize(2, 36_000 * 512), Err(EditError::Overlap { other: Some(7), .. })));
    assert!(matches!(editor.resize(1, 0), Err(EditError::Empty)));
    assert!(matches!(editor.set_type(1, TypeId::Mbr(0x05)), Err(EditError::BadType { .. })));
    assert!(matches!(editor.set_type(6, TypeId::Mbr(0x05)), Err(EditError::BadType { .. })));
    assert!(matches!(editor.set_name(1, "x"), Err(EditError::Unfit { .. })));
    assert!(matches!(editor.delete(8), Err(EditError::NotFound { number: 8, .. })));
    assert_eq!(places(&editor), before);
    editor.set_type(2, TypeId::Mbr(0x05)).unwrap();
    editor.set_type(6, TypeId::Mbr(0x8e)).unwrap();
    editor.set_bootable(3, true).unwrap();
    write(&editor, &image);

    let mut editor = Editor::create(Scheme::Mbr, 3 << 40, 512, DiskId::Signature(1)).unwrap();
    let error = editor.add(&NewPartition { start: Some(MIB), len: Some(2 << 40), ..new(0x83) }).unwrap_err();
    assert!(matches!(error, EditError::Outside { last, .. } if last == 512 * u64::from(u32::MAX)), "{error}");
    editor.add(&NewPartition { len: Some(MIB), ..new(0x83) }).unwrap();
    assert_eq!(editor.grow_limit(1).unwrap(), (2 << 40) - MIB);
    assert!(matches!(editor.resize(1, 2 << 40), Err(EditError::Beyond32Bits { .. })));
    assert!(matches!(editor.add(&logical(0x83)), Err(EditError::NoExtended)));
    assert!(Editor::create(Scheme::Mbr, 1 << 20, 4096, DiskId::Signature(1)).is_err());
}

/// Chains that tools of the day no longer write: partitions are changed where they are.
#[test]
fn odd_chains() {
    if !have(&["partx"]) {
        return;
    }
    let mut extended = vec![0; 16 << 20];
    put_entry(&mut extended, 0, 1, 0x05, 2048, 20_000);
    // The first record describes no partition; the second, behind the third, two.
    put_entry(&mut extended, 2048, 0, 0x05, 8000, 2000);
    put_entry(&mut extended, 10_048, 0, 0x83, 10, 500);
    put_entry(&mut extended, 10_048, 1, 0x83, 600, 500);
    put_entry(&mut extended, 10_048, 2, 0x0f, 1000, 1000);
    put_entry(&mut extended, 3048, 0, 0x8e, 10, 500);
    let image = Image::with(&extended);
    let check = |edit: &dyn Fn(&mut Editor)| {
        let mut editor = open(&image);
        edit(&mut editor);
        let mut device = image.device();
        editor.write(&mut device).unwrap();
        assert_eq!(read(&device).unwrap().as_ref(), Some(editor.table()));
        assert_eq!(rows(editor.table()), partx(&Image::with(device.bytes()).path(), 512));
        places(&editor)[1..].to_vec()
    };
    let all = check(&|_| {});
    assert_eq!(all, [(5, 10_058, 500), (6, 10_648, 500), (7, 3058, 500)]);
    assert_eq!(check(&|editor| drop(editor.delete(5).unwrap())), [(5, 10_648, 500), (6, 3058, 500)]);
    assert_eq!(check(&|editor| drop(editor.delete(7).unwrap())), all[..2]);
    let grown = check(&|editor| {
        assert_eq!(editor.grow_limit(5).unwrap(), 10_648 * 512);
        assert_eq!(editor.grow_limit(7).unwrap(), 8192 * 512, "rounded down from the next record");
        editor.resize(7, (10_048 - 3058) * 512).unwrap();
    });
    assert_eq!(grown[2], (7, 3058, 10_048 - 3058));
    let added = check(&|editor| {
        assert_eq!(editor.add(&NewPartition { len: Some(512), ..logical(0x83) }).unwrap(), 8);
    });
    assert_eq!(added[3], (8, 4096, 1));

    // What follows in a broken chain would be lost for good.
    let mut broken = image.bytes();
    broken[3048 * 512 + 510] = 0;
    let mut editor = open(&Image::with(&broken));
    for error in [editor.delete(5).unwrap_err(), editor.add(&logical(0x83)).unwrap_err(), editor.delete(2).unwrap_err()]
    {
        assert!(matches!(error, EditError::BrokenChain), "{error}");
    }
    put_entry(&mut broken, 0, 2, 0x0f, 30_000, 1000);
    let error = Editor::open(&Image::with(&broken).device()).unwrap_err();
    assert!(matches!(error, EditError::SecondExtended { number: 3 }), "{error}");
}
