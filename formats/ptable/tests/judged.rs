//! What is read is what sgdisk, sfdisk, fdisk, partx and the gpt crate read.

mod common;

use common::{Image, cloud_image, have, partx, put_entry, rows, run};
use nomount_ptable::{Note, Scheme, Table, read};

const MIB: u64 = 1 << 20;

fn table_of(image: &Image) -> Table {
    read(&image.device()).unwrap().expect("a table")
}

#[test]
fn gpt_of_a_cloud_image_keeps_its_numbers() {
    if !have(&["sgdisk", "partx"]) {
        return;
    }
    let image = cloud_image(32 * MIB);
    let table = table_of(&image);
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 512));
    assert_eq!(table.disk_id.to_string(), "11111111-2222-3333-4444-555555555555");
    assert_eq!(table.notes, []);
    assert_eq!(rows(&table).iter().map(|row| row.number).collect::<Vec<_>>(), [1, 14, 15]);
    assert_eq!(rows(&table), partx(&image.path(), 512));

    let root = table.partition(1).unwrap();
    assert!(root.bootable && !table.partition(14).unwrap().bootable);
    assert_eq!(root.attributes, 1 << 59 | 1 << 2);
    assert_eq!(table.partition(15).unwrap().name, "grün");
    let raw = &image.bytes()[root.entry_offset as usize..][..128];
    assert_eq!(raw, root.raw_entry);
    let text = run("sgdisk", &["-i", "1"], &image.path(), "");
    for line in [
        &format!("First sector: {} ", root.start / 512),
        &format!("Last sector: {} ", root.end() / 512 - 1),
        "Attribute flags: 0800000000000004",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn the_gpt_crate_reads_the_same() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let theirs = gpt::GptConfig::new().open(image.path()).unwrap();
    let block = gpt::disk::LogicalBlockSize::Lb512;
    let ours = table_of(&image);
    assert_eq!(ours.partitions.len(), theirs.partitions().len());
    for (number, partition) in theirs.partitions() {
        let our = ours.partition(*number).unwrap();
        assert_eq!(our.start, partition.bytes_start(block).unwrap());
        assert_eq!(our.len, partition.bytes_len(block).unwrap());
        assert_eq!(our.partuuid.as_deref().unwrap(), partition.part_guid.to_string().to_lowercase());
        assert_eq!(our.type_id.to_string(), partition.part_type_guid.guid.to_string().to_lowercase());
        assert_eq!(our.name, partition.name);
    }
}

#[test]
fn gpt_with_sectors_of_4096_bytes() {
    if !have(&["fdisk", "partx"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("fdisk", &["-b", "4096"], &image.path(), "g\nn\n1\n\n+4M\nn\n14\n\n+4M\nn\n15\n\n\nw\n");
    let table = table_of(&image);
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 4096));
    assert_eq!(table.notes, []);
    assert_eq!(rows(&table).len(), 3);
    assert_eq!(rows(&table), partx(&image.path(), 4096));

    // The same with the primary header gone.
    let mut bytes = image.bytes();
    bytes[4096..8192].fill(0);
    let damaged = table_of(&Image::with(&bytes));
    assert!(matches!(damaged.notes[..], [Note::BackupUsed { .. }]), "{:?}", damaged.notes);
    assert_eq!(rows(&damaged), rows(&table));
}

#[test]
fn a_table_of_1024_entries_is_read_and_a_larger_one_refused() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    run("sgdisk", &["-S", "1024", "-n", "1:2048:+1M", "-n", "1000:0:+1M"], &image.path(), "");
    let table = table_of(&image);
    assert_eq!(table.partitions.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 1000]);

    let image = Image::new(16 * MIB);
    run("sgdisk", &["-S", "1028", "-n", "1:4096:+1M"], &image.path(), "");
    let error = read(&image.device()).unwrap_err().to_string();
    assert!(error.contains("NumberOfPartitionEntries is 1028, wanted 1 to 1024"), "{error}");
}

#[test]
fn a_damaged_primary_is_replaced_by_the_backup_and_said() {
    if !have(&["sgdisk", "partx"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let whole = rows(&table_of(&image));
    for (at, what) in [(512, "no signature"), (512 + 40, "checksum is"), (1024 + 7, "checksum of the entries")] {
        let mut bytes = image.bytes();
        bytes[at] ^= 0x20;
        let image = Image::with(&bytes);
        let table = table_of(&image);
        assert_eq!(rows(&table), whole);
        assert_eq!(rows(&table), partx(&image.path(), 512));
        let note = table.notes[0].to_string();
        assert!(note.starts_with("primary GPT is damaged (header at byte 512: ") && note.contains(what), "{note}");
        assert!(note.contains(&format!("backup at byte {} was used", 16 * MIB - 512)), "{note}");
    }
}

#[test]
fn a_damaged_backup_is_said() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let whole = rows(&table_of(&image));
    let mut bytes = image.bytes();
    let last = bytes.len() - 512;
    bytes[last + 20] ^= 1;
    let table = table_of(&Image::with(&bytes));
    assert_eq!(rows(&table), whole);
    assert!(matches!(&table.notes[..], [Note::BackupDamaged(damage)] if damage.offset == last as u64));
}

#[test]
fn both_damaged_is_an_error_that_names_both() {
    if !have(&["sgdisk"]) {
        return;
    }
    let mut bytes = cloud_image(16 * MIB).bytes();
    let last = bytes.len() - 512;
    bytes[512] = 0;
    bytes[last + 72] ^= 1;
    let error = read(&Image::with(&bytes).device()).unwrap_err().to_string();
    assert!(error.contains("primary header at byte 512: no signature"), "{error}");
    assert!(error.contains(&format!("backup header at byte {last}: checksum is")), "{error}");

    // Without the protective MBR nothing claims that there is a table.
    bytes[446..510].fill(0);
    assert_eq!(read(&Image::with(&bytes).device()).unwrap(), None);
}

#[test]
fn a_grown_and_a_cut_device() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let whole = rows(&table_of(&image));
    let mut grown = image.bytes();
    grown.resize(20 << 20, 0);
    let table = table_of(&Image::with(&grown));
    assert_eq!(rows(&table), whole);
    assert_eq!(table.notes, [Note::BackupNotAtEnd { backup: 16 * MIB - 512, last: 20 * MIB - 512 }]);

    // The backup is not at the end, and only the damaged primary knows where it is.
    grown[512 + 8] ^= 1;
    let table = table_of(&Image::with(&grown));
    assert_eq!(rows(&table), whole);
    assert!(matches!(table.notes[..], [Note::BackupUsed { backup, .. }] if backup == 16 * MIB - 512));

    let mut cut = image.bytes();
    cut.truncate(8 << 20);
    let table = table_of(&Image::with(&cut));
    assert_eq!(rows(&table).iter().map(|row| row.number).collect::<Vec<_>>(), [14, 15]);
    assert!(table.notes.iter().any(|note| matches!(note, Note::BeyondEnd { number: 1, .. })), "{:?}", table.notes);
    assert!(table.notes.iter().any(|note| matches!(note, Note::BackupDamaged(_))), "{:?}", table.notes);
}

#[test]
fn a_backup_that_says_something_else_is_said() {
    if !have(&["sgdisk"]) {
        return;
    }
    let one = cloud_image(16 * MIB).bytes();
    let other = Image::with(&one);
    run("sgdisk", &["-c", "1:other"], &other.path(), "");
    let mut mixed = one;
    mixed[8 << 20..].copy_from_slice(&other.bytes()[8 << 20..]);
    let table = table_of(&Image::with(&mixed));
    assert_eq!(table.partition(1).unwrap().name, "root");
    assert_eq!(table.notes, [Note::BackupDiffers { backup: 16 * MIB - 512 }]);
}

#[test]
fn a_hybrid_mbr_is_read_as_gpt() {
    if !have(&["sgdisk"]) {
        return;
    }
    let image = cloud_image(16 * MIB);
    let whole = rows(&table_of(&image));
    run("sgdisk", &["-h", "1:15"], &image.path(), "");
    let table = table_of(&image);
    assert_eq!((table.scheme, rows(&table)), (Scheme::Gpt, whole));
    assert_eq!(table.notes, [Note::HybridMbr { entries: 2 }]);
}

#[test]
fn an_mbr_over_an_old_gpt_wins_and_no_mbr_at_all_is_said() {
    if !have(&["sgdisk", "partx"]) {
        return;
    }
    let mut bytes = cloud_image(16 * MIB).bytes();
    put_entry(&mut bytes, 0, 0, 0x83, 2048, 4096);
    let image = Image::with(&bytes);
    let table = table_of(&image);
    assert_eq!((table.scheme, &table.notes[..]), (Scheme::Mbr, &[Note::GptIgnored][..]));
    assert_eq!(rows(&table), partx(&image.path(), 512));

    bytes[..512].fill(0);
    let table = table_of(&Image::with(&bytes));
    assert_eq!((table.scheme, &table.notes[..]), (Scheme::Gpt, &[Note::NoProtectiveMbr][..]));
}

const LOGICAL: &str = "label: dos\nlabel-id: 0x1234abcd\n\
    start=2048,size=8192,type=83,bootable\nstart=10240,size=81920,type=f\nstart=92160,size=4096,type=82\n\n\
    start=12288,size=8192,type=83\nstart=24576,size=4096,type=82\nstart=32768,size=8192,type=8e\n";

/// Compares with sfdisk: number, start, length and type of every partition, extended ones included.
fn assert_sfdisk_agrees(image: &Image) -> Table {
    let table = table_of(image);
    let json = run("sfdisk", &["--json"], &image.path(), "");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let judged = json["partitiontable"]["partitions"].as_array().unwrap();
    let node = image.path().display().to_string();
    let judged: Vec<_> = judged
        .iter()
        .map(|p| {
            let number: u32 = p["node"].as_str().unwrap().trim_start_matches(&node).parse().unwrap();
            let (start, len) = (p["start"].as_u64().unwrap() * 512, p["size"].as_u64().unwrap() * 512);
            (number, start, len, p["type"].as_str().unwrap().to_owned(), p["bootable"].as_bool().unwrap_or(false))
        })
        .collect();
    let ours: Vec<_> =
        table.partitions.iter().map(|p| (p.number, p.start, p.len, p.type_id.to_string(), p.bootable)).collect();
    assert_eq!(ours, judged);
    table
}

#[test]
fn mbr_with_logical_partitions() {
    if !have(&["sfdisk", "partx"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("sfdisk", &["-q"], &image.path(), LOGICAL);
    let table = assert_sfdisk_agrees(&image);
    assert_eq!(rows(&table), partx(&image.path(), 512));
    assert_eq!(table.notes, []);
    assert_eq!(table.disk_id.to_string(), "1234abcd");
    assert_eq!(table.partition(6).unwrap().partuuid.as_deref(), Some("1234abcd-06"));
    assert!(table.partition(2).unwrap().is_extended() && !table.partition(2).unwrap().logical);
    for partition in &table.partitions {
        let raw = &image.bytes()[partition.entry_offset as usize..][..16];
        assert_eq!((raw, partition.logical), (&partition.raw_entry[..], partition.number >= 5));
    }

    // Deleting renumbers what follows, whichever it is.
    for delete in ["5", "6", "7"] {
        let image = Image::new(64 * MIB);
        run("sfdisk", &["-q"], &image.path(), LOGICAL);
        run("sfdisk", &["-q", "--delete", "@", delete], &image.path(), "");
        let table = assert_sfdisk_agrees(&image);
        assert_eq!(rows(&table), partx(&image.path(), 512));
        assert_eq!(table.partitions.iter().filter(|p| p.logical).count(), 2);
    }
}

/// Sector 0: extended partition 2 at sector 2048, 10,000 sectors; nothing in its chain yet.
fn extended() -> Vec<u8> {
    let mut bytes = vec![0; 16 << 20];
    bytes[440..444].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
    put_entry(&mut bytes, 0, 0, 0x83, 100, 1000);
    put_entry(&mut bytes, 0, 1, 0x05, 2048, 10_000);
    bytes
}

/// Chains that tools of the day no longer write. The judge is libblkid, which numbers as the kernel does.
#[test]
fn odd_chains_are_numbered_as_linux_does() {
    if !have(&["partx"]) {
        return;
    }
    // The first record describes no partition and links on.
    let mut empty_first = extended();
    put_entry(&mut empty_first, 2048, 1, 0x05, 1000, 2000);
    put_entry(&mut empty_first, 3048, 0, 0x83, 10, 500);
    // One in the middle does not.
    let mut empty_middle = extended();
    put_entry(&mut empty_middle, 2048, 0, 0x83, 10, 500);
    put_entry(&mut empty_middle, 2048, 1, 0x05, 1000, 2000);
    put_entry(&mut empty_middle, 3048, 1, 0x05, 4000, 2000);
    put_entry(&mut empty_middle, 6048, 0, 0x82, 10, 500);
    // The link comes first, and the chain runs backwards.
    let mut link_first = extended();
    put_entry(&mut link_first, 2048, 0, 0x05, 5000, 1000);
    put_entry(&mut link_first, 2048, 1, 0x83, 10, 500);
    put_entry(&mut link_first, 7048, 0, 0x83, 10, 500);
    put_entry(&mut link_first, 7048, 1, 0x0f, 1000, 1000);
    put_entry(&mut link_first, 3048, 0, 0x8e, 10, 500);
    // Boot flags that no tool writes.
    let mut flags = empty_middle.clone();
    flags[2048 * 512 + 446] = 0x31;
    // All four entries, as OS/2 does; and garbage in the last two.
    let mut four = extended();
    put_entry(&mut four, 2048, 0, 0x83, 10, 500);
    put_entry(&mut four, 2048, 2, 0x83, 1000, 500);
    put_entry(&mut four, 2048, 3, 0x83, 9_800, 500);
    // An extended partition without any record.
    let none = extended();

    let cases = [
        ("empty first", empty_first, 1),
        ("empty middle", empty_middle, 2),
        ("link first", link_first, 3),
        ("flags", flags, 2),
        ("four", four, 2),
        ("none", none, 0),
    ];
    for (name, bytes, logical) in cases {
        let image = Image::with(&bytes);
        let table = table_of(&image);
        assert_eq!(rows(&table), partx(&image.path(), 512), "{name}");
        assert_eq!(table.partitions.iter().filter(|p| p.logical).count(), logical, "{name}");
        assert_eq!(table.notes, [], "{name}");
    }
}

/// Why the chain is not left to mbrman: it counts a record without a partition.
#[test]
fn mbrman_numbers_empty_records() {
    let mut bytes = extended();
    put_entry(&mut bytes, 2048, 1, 0x05, 1000, 2000);
    put_entry(&mut bytes, 3048, 0, 0x83, 10, 500);
    let theirs = mbrman::MBR::read_from(&mut std::io::Cursor::new(&bytes), 512).unwrap();
    assert!(theirs[5].sectors == 0 && theirs[6].sectors == 500);
    let ours = table_of(&Image::with(&bytes));
    assert_eq!(ours.partition(5).unwrap().len, 500 * 512);
}

#[test]
fn filesystems_on_the_whole_device_are_no_tables() {
    if !have(&["mkfs.fat", "mke2fs"]) {
        return;
    }
    for args in [&["-F", "12"][..], &["-F", "16"], &["-F", "32"], &["-F", "16", "--mbr=y"]] {
        let image = Image::new(64 * MIB);
        run("mkfs.fat", args, &image.path(), "");
        assert_eq!(read(&image.device()).unwrap(), None, "mkfs.fat {args:?}");
    }
    let image = Image::new(16 * MIB);
    run("mke2fs", &["-q", "-t", "ext4"], &image.path(), "");
    let mut bytes = image.bytes();
    assert_eq!(read(&image.device()).unwrap(), None);
    // A boot loader in its boot block: the signature, and code where entries would be.
    bytes[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(read(&Image::with(&bytes).device()).unwrap(), None);
    put_entry(&mut bytes, 0, 0, 0x65, 0x7361_6572, 0x6c62_6169);
    assert_eq!(read(&Image::with(&bytes).device()).unwrap(), None);
    put_entry(&mut bytes, 0, 0, 0xee, 0x7361_6572, 0x6c62_6169);
    assert_eq!(read(&Image::with(&bytes).device()).unwrap(), None);
    // A sound entry: the disk was partitioned later, or the table is older. Nobody can tell.
    put_entry(&mut bytes, 0, 0, 0x83, 2048, 2048);
    let error = read(&Image::with(&bytes).device()).unwrap_err().to_string();
    assert!(error.starts_with("device begins with an ext superblock and also has a sound MBR"), "{error}");
}
