//! Corrupt tables: one field at a time with the exact complaint, then many random changes.

mod common;

use common::{ENTRIES, LAST, LEN, crc32, gpt, put, put_entry, seal};
use nomount_block::{Fault, FaultPlan, Memory, ReadAt};
use nomount_ptable::{Damage, DamageKind, Error, MAX_EBRS, MAX_LOGICAL, Note, Scheme, Table, read};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn table(bytes: &[u8]) -> Table {
    read(&Memory::new(bytes.to_vec())).unwrap().expect("a table")
}

fn numbers(table: &Table) -> Vec<u32> {
    table.partitions.iter().map(|p| p.number).collect()
}

#[test]
fn the_table_made_by_hand_is_sound() {
    let table = table(&gpt());
    assert_eq!((numbers(&table), &table.notes[..]), (vec![1, 3], &[][..]));
    assert_eq!((table.partitions[1].start, table.partitions[1].len), (264 * 512, 100 * 512));
}

#[test]
fn each_field_of_the_header_is_checked() {
    let huge = u64::MAX / 4;
    // Offset and length of the field, its value, its name.
    let cases = [
        (8, 4, 0x20000, "Revision"),
        (12, 4, 91, "HeaderSize"),
        (12, 4, 513, "HeaderSize"),
        (24, 8, 2, "MyLBA"),
        (40, 8, huge, "FirstUsableLBA"),
        (72, 8, huge, "PartitionEntryLBA"),
        (72, 8, (LAST / 512 - 30) as u64, "PartitionEntryLBA"),
        (80, 4, 0, "NumberOfPartitionEntries"),
        (80, 4, 1025, "NumberOfPartitionEntries"),
        (80, 4, 0xffff_ffff, "NumberOfPartitionEntries"),
        (84, 4, 64, "SizeOfPartitionEntry"),
        (84, 4, 256, "SizeOfPartitionEntry"),
        (84, 4, 0xffff_ffff, "SizeOfPartitionEntry"),
    ];
    for (offset, len, value, wanted) in cases {
        let mut bytes = gpt();
        put(&mut bytes, 512 + offset, len, value);
        seal(&mut bytes, 512);
        let damaged = table(&bytes);
        assert_eq!(numbers(&damaged), [1, 3]);
        let [Note::BackupUsed { primary, backup }] = &damaged.notes[..] else { panic!("{:?}", damaged.notes) };
        assert_eq!((primary.offset, *backup), (512, LAST as u64));
        let DamageKind::Field { name, found, .. } = &primary.kind else { panic!("{primary:?}") };
        assert_eq!((*name, *found), (wanted, value));

        // The backup in the same state: refused, with both named.
        put(&mut bytes, LAST + offset, len, value);
        seal(&mut bytes, LAST);
        let error = read(&Memory::new(bytes)).unwrap_err();
        let Error::GptDamaged { primary, backup } = error else { panic!("{error}") };
        assert_eq!((primary.offset, backup.offset), (512, LAST as u64));
    }
}

#[test]
fn a_wrong_checksum_is_named() {
    let mut bytes = gpt();
    bytes[512 + 57] ^= 1;
    let header = table(&bytes).notes;
    assert!(
        matches!(header[..], [Note::BackupUsed { primary: Damage { kind: DamageKind::HeaderCrc { .. }, .. }, .. }]),
        "{header:?}"
    );
    let mut bytes = gpt();
    bytes[1024 + 60] ^= 1;
    let entries = table(&bytes).notes;
    assert!(
        matches!(entries[..], [Note::BackupUsed { primary: Damage { kind: DamageKind::EntriesCrc { .. }, .. }, .. }]),
        "{entries:?}"
    );
}

/// Changes entry 3 of the primary, with both checksums right again.
fn with_entry(first: u64, last: u64) -> Vec<u8> {
    let mut bytes = gpt();
    put(&mut bytes, 1024 + 2 * ENTRIES + 32, 8, first);
    put(&mut bytes, 1024 + 2 * ENTRIES + 40, 8, last);
    seal(&mut bytes, 512);
    bytes
}

#[test]
fn entries_that_make_no_sense_are_left_out_and_said() {
    let sectors = (LEN / 512) as u64;
    for (first, last) in [(264, sectors), (sectors, sectors), (u64::MAX - 1, u64::MAX), (0, u64::MAX), (1, u64::MAX)] {
        let table = table(&with_entry(first, last));
        assert_eq!(numbers(&table), [1]);
        assert!(matches!(table.notes[1], Note::BeyondEnd { number: 3, .. }), "{:?}", table.notes);
    }
    let reversed = table(&with_entry(300, 200));
    assert_eq!(numbers(&reversed), [1]);
    assert_eq!(reversed.notes[1], Note::Reversed { number: 3, first_lba: 300, last_lba: 200 });
    // No length, no partition, and nothing to say beyond the difference from the backup.
    let empty = table(&with_entry(300, 299));
    assert_eq!((numbers(&empty), empty.notes.len()), (vec![1], 1));
    let overlapping = table(&with_entry(163, 300));
    assert_eq!(overlapping.notes[1], Note::Overlap { first: 1, second: 3 });
    let outside = table(&with_entry(1, 2));
    assert_eq!(outside.notes[1], Note::OutsideUsable { number: 3 });
}

#[test]
fn a_leftover_without_protection_is_no_table() {
    let mut bytes = gpt();
    bytes[..1024].fill(0);
    assert_eq!(read(&Memory::new(bytes)).unwrap(), None);
}

#[test]
fn two_sound_headers_are_refused() {
    // A second primary at byte 4096, with its own array behind the last partition.
    let mut bytes = gpt();
    put(&mut bytes, 512 + 80, 4, 16);
    seal(&mut bytes, 512);
    let header = bytes[LAST..LAST + 92].to_vec();
    bytes[4096..4096 + 92].copy_from_slice(&header);
    put(&mut bytes, 4096 + 24, 8, 1);
    put(&mut bytes, 4096 + 72, 8, 128);
    let crc = crc32(&bytes[128 * 4096..][..128 * ENTRIES]);
    put(&mut bytes, 4096 + 88, 4, crc.into());
    put(&mut bytes, 4096 + 16, 4, 0);
    let crc = crc32(&bytes[4096..4096 + 92]);
    put(&mut bytes, 4096 + 16, 4, crc.into());
    assert!(matches!(read(&Memory::new(bytes)), Err(Error::TwoGpts)));
}

/// A sound MBR: partition 1, extended partition 2 with three records at sectors 200, 400, 600.
fn mbr() -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    put_entry(&mut bytes, 0, 0, 0x83, 10, 100);
    put_entry(&mut bytes, 0, 1, 0x05, 200, 1000);
    for (record, link) in [(200, 200), (400, 400), (600, 0)] {
        put_entry(&mut bytes, record, 0, 0x83, 10, 100);
        if link != 0 {
            put_entry(&mut bytes, record, 1, 0x05, link, 200);
        }
    }
    bytes
}

#[test]
fn a_chain_that_loops_is_refused() {
    assert_eq!(numbers(&table(&mbr())), [1, 2, 5, 6, 7]);
    for (record, link) in [(600, 0), (600, 200), (600, 400), (200, 0)] {
        let mut bytes = mbr();
        put_entry(&mut bytes, record, 1, 0x05, link, 200);
        let error = read(&Memory::new(bytes)).unwrap_err();
        assert!(matches!(error, Error::EbrLoop { offset } if offset == u64::from(200 + link) * 512), "{error}");
    }
    // Two extended partitions that share a chain.
    let mut bytes = mbr();
    put_entry(&mut bytes, 0, 2, 0x0f, 200, 1000);
    assert!(matches!(read(&Memory::new(bytes)), Err(Error::EbrLoop { offset: 102_400 })));
}

#[test]
fn a_chain_that_breaks_is_said() {
    let mut bytes = mbr();
    bytes[600 * 512 + 510] = 0;
    let broken = table(&bytes);
    assert_eq!(numbers(&broken), [1, 2, 5, 6]);
    assert_eq!(broken.notes, [Note::BrokenChain { offset: 600 * 512, beyond_end: false }]);

    let mut bytes = mbr();
    put_entry(&mut bytes, 400, 1, 0x05, u32::MAX, u32::MAX);
    let broken = table(&bytes);
    assert_eq!(numbers(&broken), [1, 2, 5, 6]);
    let offset = (200 + u64::from(u32::MAX)) * 512;
    assert_eq!(broken.notes, [Note::BrokenChain { offset, beyond_end: true }]);
}

#[test]
fn partitions_out_of_bounds_are_left_out_and_said() {
    let mut bytes = mbr();
    put_entry(&mut bytes, 0, 2, 0x83, 2000, 49);
    put_entry(&mut bytes, 0, 3, 0x83, u32::MAX, u32::MAX);
    put_entry(&mut bytes, 400, 0, 0x83, u32::MAX, u32::MAX);
    put_entry(&mut bytes, 600, 0, 0x83, 500, 200);
    let table = table(&bytes);
    assert_eq!(numbers(&table), [1, 2, 5, 7]);
    let left_out: Vec<_> = table
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::BeyondEnd { number, .. } => Some(*number),
            _ => None,
        })
        .collect();
    assert_eq!(left_out, [6, 3, 4]);
    assert!(table.notes.contains(&Note::OutsideExtended { number: 7, extended: 2 }), "{:?}", table.notes);
}

#[test]
fn chains_are_bounded() {
    let chain = |records: u32, sys: u8| {
        let mut bytes = vec![0; 4 << 20];
        put_entry(&mut bytes, 0, 0, 0x05, 10, 8000);
        for index in 0..records {
            put_entry(&mut bytes, u64::from(10 + index * 4), 0, sys, 1, u32::from(sys != 0));
            if index + 1 < records {
                put_entry(&mut bytes, u64::from(10 + index * 4), 1, 0x05, (index + 1) * 4, 4);
            }
        }
        read(&Memory::new(bytes))
    };
    let longest = chain(MAX_LOGICAL as u32, 0x83).unwrap().unwrap();
    assert_eq!(longest.partitions.len(), MAX_LOGICAL + 1);
    assert_eq!(longest.partitions.last().unwrap().number, 132);
    assert!(matches!(chain(MAX_LOGICAL as u32 + 1, 0x83), Err(Error::TooManyLogical { limit: MAX_LOGICAL })));
    assert!(chain(MAX_EBRS as u32, 0).is_ok());
    assert!(matches!(chain(MAX_EBRS as u32 + 1, 0), Err(Error::TooManyEbrs { limit: MAX_EBRS })));
}

#[test]
fn a_boot_sector_with_stray_entries_is_no_table() {
    let mut fat = vec![0; LEN];
    fat[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    put(&mut fat, 11, 2, 512);
    fat[13] = 4;
    fat[14] = 1;
    fat[16] = 2;
    fat[21] = 0xf8;
    // Covers its own sector; lies outside.
    for (start, sectors) in [(0, 2048), (1, 2048), (2048, 1)] {
        put_entry(&mut fat, 0, 0, 0x06, start, sectors);
        assert_eq!(read(&Memory::new(fat.clone())).unwrap(), None);
    }
    put_entry(&mut fat, 0, 0, 0x06, 100, 100);
    assert!(matches!(read(&Memory::new(fat.clone())), Err(Error::Ambiguous { table: Scheme::Mbr, .. })));
    for oem in [b"NTFS    ", b"EXFAT   "] {
        let mut other = fat.clone();
        other[11..22].fill(0);
        other[3..11].copy_from_slice(oem);
        put_entry(&mut other, 0, 0, 0x07, 0, 2048);
        assert_eq!(read(&Memory::new(other)).unwrap(), None);
    }
    // A boot loader that jumps too, but has no parameter block, does not hide the table.
    fat[11..22].fill(0);
    assert_eq!(numbers(&table(&fat)), [1]);
}

#[test]
fn what_is_no_table() {
    let mut no_entry = vec![0; LEN];
    put_entry(&mut no_entry, 0, 0, 0x83, 100, 0);
    let mut no_signature = mbr();
    no_signature[510] = 0;
    let mut odd_flag = mbr();
    odd_flag[446 + 3 * 16] = 0x7f;
    for bytes in [no_entry, no_signature, odd_flag, vec![0; LEN], Vec::new(), vec![0xff; 511], vec![0xff; 512]] {
        assert_eq!(read(&Memory::new(bytes)).unwrap(), None);
    }
    // The smallest device that can have a table: it claims a GPT and has no room for one.
    let mut tiny = vec![0; 512];
    put_entry(&mut tiny, 0, 0, 0xee, 1, 1);
    assert!(matches!(read(&Memory::new(tiny)), Err(Error::GptDamaged { .. })));
}

#[test]
fn a_failing_device_is_reported() {
    for bytes in [gpt(), mbr()] {
        let device = Fault::new(Memory::new(bytes.clone()), FaultPlan::default());
        read(&device).unwrap().unwrap();
        for fail_read in 0..device.reads() {
            let plan = FaultPlan { fail_read: Some(fail_read), ..FaultPlan::default() };
            let device = Fault::new(Memory::new(bytes.clone()), plan);
            assert!(matches!(read(&device), Err(Error::Device(_))), "read {fail_read}");
        }
    }
}

#[test]
fn random_changes_do_no_harm() {
    let seed = std::env::var("NOMOUNT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    let rounds = if std::env::var_os("NOMOUNT_LONG").is_some() { 400_000 } else { 4_000 };
    println!("NOMOUNT_SEED={seed}, {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);
    let bases = [gpt(), mbr()];
    let mut outcomes = [0; 3];
    for round in 0..rounds {
        let is_gpt = round % 2 == 0;
        let mut bytes = bases[usize::from(!is_gpt)].clone();
        for _ in 0..random.random_range(1..6) {
            let at = if is_gpt {
                *[446, 512, 512, 1024, 1024 + 2 * ENTRIES, LAST].get(random.random_range(0..6)).unwrap()
            } else {
                [0, 200, 400, 600][random.random_range(0..4)] * 512 + 446
            };
            let at = at + random.random_range(0..92).min(LEN - at - 1);
            let value = [0, 1, 0x05, 0x0f, 0x7f, 0x80, 0xee, 0xff, random.random()][random.random_range(0..9)];
            let len = [1, 1, 4, 8][random.random_range(0..4)].min(LEN - at);
            bytes[at..at + len].fill(value);
        }
        if is_gpt && random.random_range(0..4) != 0 {
            seal(&mut bytes, 512);
            seal(&mut bytes, LAST);
        }
        let device = Fault::new(Memory::new(bytes), FaultPlan::default());
        let result = read(&device);
        // No input makes it read much: headers, entries and a bounded chain.
        assert!(device.reads() < 400, "round {round}: {} reads", device.reads());
        match result {
            Ok(Some(table)) => {
                outcomes[0] += 1;
                for p in &table.partitions {
                    assert!(p.len > 0 && p.start + p.len <= device.len(), "round {round}: {p:?}");
                    assert!(p.entry_offset + p.raw_entry.len() as u64 <= device.len(), "round {round}: {p:?}");
                }
                assert!(table.partitions.is_sorted_by(|a, b| a.number < b.number), "round {round}");
                let _ = table.notes.iter().map(ToString::to_string).collect::<Vec<_>>();
            }
            Ok(None) => outcomes[1] += 1,
            Err(error) => {
                outcomes[2] += 1;
                assert!(!matches!(error, Error::Device(_)), "round {round}: a range was not checked: {error:?}");
            }
        }
    }
    println!("tables, none, errors: {outcomes:?}");
    assert!(outcomes.iter().all(|count| *count > rounds / 100), "{outcomes:?}");
}
