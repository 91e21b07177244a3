//! Edits of a GPT: sgdisk and sfdisk find nothing to say, make the same table from the same edit, and the gpt crate
//! and gptman read what was meant.

mod common;

use common::{Image, cloud_image, have, rows, run};
use nomount_block::{Memory, ReadAt};
use nomount_ptable::{DiskId, EditError, Editor, Guid, NewPartition, Note, Scheme, TypeId, read};

const MIB: u64 = 1 << 20;

fn gpt_type(text: &str) -> TypeId {
    TypeId::parse(text, Scheme::Gpt).unwrap()
}

fn guid(byte: u8) -> Guid {
    Guid([byte; 16])
}

fn open(image: &Image) -> Editor {
    Editor::open(&image.device()).unwrap().expect("a table")
}

/// Writes the edits, grown to `len` first, and lets the judges look.
fn write(editor: &Editor, image: &Image, len: u64) -> Image {
    let mut bytes = image.bytes();
    bytes.resize(len as usize, 0);
    let mut device = Memory::new(bytes);
    editor.write(&mut device).unwrap();
    let written = Image::with(device.bytes());
    if !entries_elsewhere(editor) {
        judge(&written);
    }
    let table = read(&device).unwrap().unwrap();
    assert_eq!(&table, editor.table());
    written
}

/// sgdisk warns of entries that are not behind the header.
fn entries_elsewhere(editor: &Editor) -> bool {
    editor.table().partitions.iter().any(|partition| partition.entry_offset >= 1000 * 512)
}

fn judge(image: &Image) {
    let said = run("sgdisk", &["-v"], &image.path(), "");
    let damage = ["Warning", "Problem", "ERROR", "invalid", "corrupt", "Caution: The CRC"];
    assert!(said.contains("No problems found") && !damage.iter().any(|word| said.contains(word)), "{said}");
    let said = run("sfdisk", &["--verify"], &image.path(), "");
    assert!(said.contains("No errors detected"), "{said}");
}

fn dump(image: &Image) -> String {
    let text = run("sfdisk", &["--dump"], &image.path(), "");
    text.replace(&image.path().display().to_string(), "disk")
}

#[test]
fn growth_is_that_of_sgdisk() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let mut editor = open(&image);
    editor.set_device_len(48 * MIB).unwrap();
    let limit = editor.grow_limit(1).unwrap();
    assert_eq!(limit, 47 * MIB, "the last MiB holds the backup");
    let root = editor.table().partition(1).unwrap().clone();
    editor.resize(1, limit - root.start).unwrap();
    let ours = write(&editor, &image, 48 * MIB);

    let theirs = Image::with(&image.bytes());
    std::fs::File::options().write(true).open(theirs.path()).unwrap().set_len(48 * MIB).unwrap();
    let (start, end) = ((root.start / 512).to_string(), (limit / 512 - 1).to_string());
    let new = format!("1:{start}:{end}");
    let args = ["-e", "-d", "1", "-a", "1", "-n", &new, "-t", "1:8304", "-c", "1:root"];
    let more = ["-A", "1:set:2", "-A", "1:set:59", "-u", "1:aaaaaaaa-0000-0000-0000-000000000001"];
    run("sgdisk", &[&args[..], &more].concat(), &theirs.path(), "");
    assert_eq!(dump(&ours), dump(&theirs));
    // Every byte but those of the old backup, which sgdisk leaves, and the protective entry's CHS.
    let (ours, theirs) = (ours.bytes(), theirs.bytes());
    let differ: Vec<usize> = (0..ours.len()).filter(|at| ours[*at] != theirs[*at]).collect();
    let old = (32 * MIB - 33 * 512) as usize..(32 * MIB) as usize;
    assert!(differ.iter().all(|at| old.contains(at)), "{:?}", &differ[..differ.len().min(20)]);
    assert!(ours[old].iter().all(|byte| *byte == 0));
}

#[test]
fn numbers_attributes_and_unknown_bytes_stay() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let before = rows(open(&image).table());
    let mut editor = open(&image);
    let data = NewPartition { len: Some(2 * MIB), ..NewPartition::new(gpt_type("home"), guid(7)) };
    editor.resize(1, 20 * MIB).unwrap();
    let number = editor.add(&NewPartition { name: "daten".into(), attributes: 1 << 60, ..data }).unwrap();
    assert_eq!(number, 2);
    editor.set_type(15, gpt_type("xbootldr")).unwrap();
    editor.set_name(15, "größer 𝄞").unwrap();
    editor.set_bootable(1, false).unwrap();
    let written = write(&editor, &image, 32 * MIB);
    let after = rows(editor.table());
    assert_eq!(after.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 14, 15]);
    assert_eq!((after[0].start, &after[0].uuid, after[0].len), (before[0].start, &before[0].uuid, 20 * MIB));
    assert_eq!(after[2], before[1]);
    assert_eq!((&after[3].name[..], after[3].start), ("größer 𝄞", before[2].start));
    assert_eq!(editor.table().partition(1).unwrap().attributes, 1 << 59);
    assert_eq!((after[1].start, after[1].len), (after[0].start + 20 * MIB, 2 * MIB));

    // The gpt crate and gptman, which share no code with it.
    let theirs = gpt::GptConfig::new().open(written.path()).unwrap();
    for row in &after {
        let partition = &theirs.partitions()[&row.number];
        let block = gpt::disk::LogicalBlockSize::Lb512;
        assert_eq!((partition.bytes_start(block).unwrap(), partition.bytes_len(block).unwrap()), (row.start, row.len));
        assert_eq!((partition.part_guid.to_string(), &partition.name), (row.uuid.clone(), &row.name));
    }
    let mut file = std::io::Cursor::new(written.bytes());
    let mut theirs = gptman::GPT::read_from(&mut file, 512).unwrap();
    theirs.write_into(&mut file).unwrap();
    assert!(file.into_inner() == written.bytes(), "gptman writes the same bytes");
}

#[test]
fn a_new_table_is_that_of_sfdisk() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let disk = guid(0xdd);
    let mut editor = Editor::create(Scheme::Gpt, 64 * MIB, 512, DiskId::Guid(disk)).unwrap();
    let esp = NewPartition { len: Some(8 * MIB), ..NewPartition::new(gpt_type("esp"), guid(1)) };
    let bios = NewPartition { number: Some(14), start: Some(34 * 512), ..NewPartition::new(gpt_type("bios"), guid(2)) };
    assert_eq!(editor.add(&esp).unwrap(), 1);
    assert_eq!(editor.add(&bios).unwrap(), 14);
    assert_eq!(editor.add(&NewPartition::new(gpt_type("root-x86-64"), guid(3))).unwrap(), 2);
    let ours = write(&editor, &Image::new(64 * MIB), 64 * MIB);
    let dumped = dump(&ours);
    let theirs = Image::new(64 * MIB);
    run("sfdisk", &["-q"], &theirs.path(), &dumped.replace("device: disk\n", ""));
    assert_eq!(dump(&theirs), dumped);
    assert!(dumped.contains("disk14 : start=          34, size=        2014"), "{dumped}");
    assert!(dumped.contains("disk2 : start=       18432, size=      110592"), "{dumped}");
}

#[test]
fn sectors_of_4096_bytes() {
    if !have(&["fdisk", "partx"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("fdisk", &["-b", "4096"], &image.path(), "g\nn\n1\n\n+4M\nn\n14\n\n+4M\nw\n");
    let mut editor = open(&image);
    editor.set_device_len(100 * MIB).unwrap();
    editor.resize(14, editor.grow_limit(14).unwrap() - editor.table().partition(14).unwrap().start).unwrap();
    let mut device = image.device();
    nomount_block::SetLen::set_len(&mut device, 100 * MIB).unwrap();
    editor.write(&mut device).unwrap();
    let table = read(&device).unwrap().unwrap();
    assert_eq!((&table, &table.notes[..]), (editor.table(), &[][..]));
    assert_eq!(rows(&table), common::partx(&Image::with(device.bytes()).path(), 4096));
    assert_eq!(table.partition(14).unwrap().end(), 99 * MIB);
    let theirs = gptman::GPT::read_from(&mut std::io::Cursor::new(device.bytes()), 4096).unwrap();
    assert_eq!((theirs.header.backup_lba, theirs.header.last_usable_lba), (25_599, 25_594));

    // New ones, over a table of the other size.
    let disk = DiskId::Guid(guid(4));
    for (size, other) in [(4096, 512), (512, 4096)] {
        let mut device = Memory::zeroed(16 << 20);
        Editor::create(Scheme::Gpt, 16 * MIB, other, disk).unwrap().write(&mut device).unwrap();
        let mut editor = Editor::create(Scheme::Gpt, 16 * MIB, size, disk).unwrap();
        editor.add(&NewPartition::new(gpt_type("linux"), guid(9))).unwrap();
        editor.write(&mut device).unwrap();
        assert_eq!(read(&device).unwrap().as_ref(), Some(editor.table()), "{size} over {other}");
    }
}

#[test]
fn damage_and_a_misplaced_backup_are_put_right_and_said() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let whole = rows(open(&image).table());
    let last = (32 * MIB - 512) as usize;
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Damage<'_>); 7] = [
        ("primary header", &|bytes| bytes[512 + 40] ^= 1),
        ("primary entries", &|bytes| bytes[1024 + 40] ^= 1),
        ("primary gone", &|bytes| bytes[512..512 * 34].fill(0)),
        ("backup", &|bytes| bytes[last + 20] ^= 1),
        ("grown", &|bytes| bytes.resize(40 << 20, 0)),
        ("grown and primary damaged", &|bytes| {
            bytes.resize((32 << 20) + 4096, 0);
            bytes[1024 + 40] ^= 1;
        }),
        ("no protective MBR", &|bytes| bytes[446..512].fill(0)),
    ];
    for (name, damage) in cases {
        let mut bytes = image.bytes();
        damage(&mut bytes);
        let damaged = Image::with(&bytes);
        let mut editor = open(&damaged);
        assert_eq!(editor.repairs().len(), 1, "{name}: {:?}", editor.repairs());
        editor.set_name(1, "mended").unwrap();
        let written = write(&editor, &damaged, bytes.len() as u64);
        let table = read(&written.device()).unwrap().unwrap();
        assert_eq!(table.notes, [], "{name}");
        assert_eq!(table.partition(1).unwrap().name, "mended");
        assert_eq!(rows(&table)[1..], whole[1..], "{name}");
        assert_eq!(open(&written).repairs(), []);
    }
}

/// Boards that boot from sectors behind the header have their entries elsewhere: sgdisk -j.
#[test]
fn entries_elsewhere_stay_there() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    run("sgdisk", &["-j", "1000", "-n", "1:4096:+2M"], &image.path(), "");
    let mut bytes = image.bytes();
    bytes[1024..1000 * 512].fill(0xb0);
    for damage in [None, Some(512 + 40), Some(1000 * 512 + 3), Some(512)] {
        let mut bytes = bytes.clone();
        if let Some(at) = damage {
            bytes[at] ^= 1;
        }
        let damaged = Image::with(&bytes);
        let mut editor = open(&damaged);
        editor.set_name(1, "kept").unwrap();
        let written = write(&editor, &damaged, 16 * MIB);
        let said = run("sgdisk", &["-v"], &written.path(), "");
        assert!(said.contains("No problems found") && !said.contains("CRC"), "{said}");
        let written = written.bytes();
        assert!(written[1024..1000 * 512].iter().all(|byte| *byte == 0xb0), "{damage:?}");
    }
}

#[test]
fn the_protective_mbr_follows_and_the_boot_code_stays() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let mut bytes = image.bytes();
    bytes[..440].fill(0x90);
    for (size, expected) in [(None, 20 * 2048 - 1), (Some(u32::MAX), u32::MAX), (Some(5), 20 * 2048 - 1)] {
        if let Some(size) = size {
            bytes[458..462].copy_from_slice(&size.to_le_bytes());
        }
        let image = Image::with(&bytes);
        let mut editor = open(&image);
        editor.set_device_len(20 * MIB).unwrap();
        let written = write(&editor, &image, 20 * MIB).bytes();
        assert!(written[..440].iter().all(|byte| *byte == 0x90));
        assert_eq!(written[446..451], bytes[446..451]);
        assert_eq!(written[458..462], expected.to_le_bytes());
    }
    // Something else where the entries would be.
    bytes[446..510].fill(0x31);
    let editor = open(&Image::with(&bytes));
    assert_eq!(editor.repairs(), [Note::NoProtectiveMbr]);
    let error = editor.write(&mut Memory::new(bytes)).unwrap_err();
    assert!(matches!(error, EditError::Sector0), "{error}");
}

#[test]
fn a_hybrid_mbr_keeps_its_partitions() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    run("sgdisk", &["-h", "15"], &image.path(), "");
    let mut editor = open(&image);
    assert!(matches!(editor.delete(15), Err(EditError::Hybrid { number: 15 })));
    assert!(matches!(editor.resize(15, MIB), Err(EditError::Hybrid { number: 15 })));
    editor.resize(1, 4 * MIB).unwrap();
    assert_eq!(editor.table().notes, [Note::HybridMbr { entries: 1 }]);
    let mut device = image.device();
    editor.write(&mut device).unwrap();
    assert_eq!(device.bytes()[..512], image.bytes()[..512]);
    assert_eq!(read(&device).unwrap().as_ref(), Some(editor.table()));
}

#[test]
fn shrinking_moves_the_backup_before_the_device_is_cut() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let mut editor = open(&image);
    let error = editor.set_device_len(16 * MIB).unwrap_err();
    assert!(matches!(error, EditError::DoesNotFit { number: 1, .. }), "{error}");
    editor.resize(1, 4 * MIB).unwrap();
    let least = editor.minimum_device_len();
    assert_eq!(least, editor.table().partition(1).unwrap().end() + 33 * 512);
    assert!(editor.set_device_len(least - 512).is_err());
    editor.set_device_len(least).unwrap();
    let mut device = image.device();
    editor.write(&mut device).unwrap();
    let mut bytes = device.into_bytes();
    assert_eq!(read(&Memory::new(bytes.clone())).unwrap().unwrap().partitions, editor.table().partitions);
    assert!(bytes[least as usize..].iter().all(|byte| *byte == 0), "the old backup is cleared");
    bytes.truncate(least as usize);
    judge(&Image::with(&bytes));
    assert_eq!(read(&Memory::new(bytes)).unwrap().as_ref(), Some(editor.table()));
}

#[test]
fn what_cannot_be_is_refused_before_anything_changes() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let mut editor = open(&image);
    let before = editor.table().clone();
    let new = NewPartition::new(gpt_type("linux"), guid(9));
    let root = before.partition(1).unwrap().clone();
    let with = |change: &dyn Fn(&mut NewPartition)| {
        let mut new = new.clone();
        change(&mut new);
        new
    };
    let refusals = [
        (with(&|new| new.number = Some(14)), "partition 14 is there already"),
        (with(&|new| new.number = Some(129)), "this GPT has 1 to 128"),
        (with(&|new| new.number = Some(0)), "this GPT has 1 to 128"),
        (with(&|new| new.start = Some(root.start + MIB)), "overlap partition 1"),
        (with(&|new| new.start = Some(512)), "where partitions may be"),
        (with(&|new| new.start = Some(1000)), "start 1000 is no multiple"),
        (with(&|new| new.len = Some(0)), "0 bytes"),
        (with(&|new| new.len = Some(MIB)), "the largest has 0"),
        (with(&|new| new.type_id = TypeId::Mbr(0x83)), "a GPT has GUIDs"),
        (with(&|new| new.type_id = TypeId::Gpt(guid(0))), "unused entry"),
        (with(&|new| new.guid = guid(0)), "one of unused entries"),
        (with(&|new| new.logical = true), "GPT has no logical"),
        (with(&|new| new.start = Some(34 * 512)).clone(), ""),
    ];
    for (new, reason) in &refusals[..refusals.len() - 1] {
        let error = editor.add(new).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, wanted {reason}");
    }
    for (name, reason) in [("x".repeat(37), "37 UTF-16"), ("a\0b".to_owned(), "NUL")] {
        let error = editor.set_name(1, &name).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(editor.set_name(1, &"𝄞".repeat(18)).is_ok() && editor.set_name(1, "root").is_ok());
    assert!(matches!(editor.delete(2), Err(EditError::NotFound { number: 2, there }) if there == [1, 14, 15]));
    assert!(matches!(editor.resize(14, 2 * MIB), Err(EditError::Overlap { other: Some(15), .. })));
    assert!(matches!(editor.resize(1, 64 * MIB), Err(EditError::Outside { .. })));
    assert!(matches!(editor.resize(1, u64::MAX - 511), Err(EditError::Outside { .. })));
    assert_eq!(editor.table(), &before);
    let owner = editor.add(&NewPartition { guid: guid(9), ..refusals.last().unwrap().0.clone() }).unwrap();
    assert_eq!(owner, 2);
    let error = editor.add(&NewPartition { number: Some(3), ..new }).unwrap_err();
    assert!(error.to_string().contains("that of partition 2"), "{error}");
    let short = Memory::zeroed(1 << 20);
    assert!(
        matches!(editor.write(&mut short.clone()), Err(EditError::DeviceTooShort { len, .. }) if len == short.len())
    );
    assert!(Editor::create(Scheme::Gpt, 34 * 1024 - 512, 512, DiskId::Guid(guid(1))).is_err());
    assert!(Editor::create(Scheme::Gpt, 1 << 20, 1024, DiskId::Guid(guid(1))).is_err());
    assert!(Editor::create(Scheme::Gpt, 1 << 20, 512, DiskId::Signature(1)).is_err());
}

#[test]
fn types_are_those_of_sfdisk_and_sgdisk() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    // sgdisk's codes, one partition each.
    let codes: Vec<String> = (0..=0xffff_u32).map(|code| format!("{code:04x}")).collect();
    let known: Vec<(&String, TypeId)> =
        codes.iter().filter_map(|code| Some((code, TypeId::parse(code, Scheme::Gpt).ok()?))).collect();
    assert!(known.len() > 30, "{}", known.len());
    let image = Image::new(64 * MIB);
    let mut args = Vec::new();
    for (i, (code, _)) in (1..).zip(&known) {
        let start = 2048 * i;
        args.extend(["-n".to_owned(), format!("{i}:{start}:+100"), "-t".to_owned(), format!("{i}:{code}")]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run("sgdisk", &args, &image.path(), "");
    let table = read(&image.device()).unwrap().unwrap();
    for (partition, (code, type_id)) in table.partitions.iter().zip(&known) {
        assert_eq!(partition.type_id, *type_id, "{code}");
    }
    // sfdisk's aliases.
    for (label, scheme, aliases) in [
        ("gpt", Scheme::Gpt, &["linux", "swap", "home", "uefi", "raid", "lvm", "L", "S", "H", "U", "R", "V"][..]),
        ("dos", Scheme::Mbr, &["linux", "swap", "uefi", "raid", "lvm", "extended", "L", "S", "E", "X", "U", "R", "V"]),
    ] {
        for alias in aliases {
            let image = Image::new(16 * MIB);
            run("sfdisk", &["-q"], &image.path(), &format!("label: {label}\nstart=2048,type={alias}\n"));
            let table = read(&image.device()).unwrap().unwrap();
            let ours = TypeId::parse(alias, scheme).unwrap();
            assert_eq!(table.partitions[0].type_id, ours, "{label} {alias}");
        }
    }
}
