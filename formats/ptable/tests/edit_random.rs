//! Random edits, compared with a plain list of partitions; and random edits of corrupt tables.

mod common;

use common::{ENTRIES, Image, LAST, gpt, have, put_entry, run, seal};
use nomount_block::Memory;
use nomount_ptable::{DiskId, EditError, Editor, Guid, NewPartition, Scheme, TypeId, read};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const MIB: u64 = 1 << 20;

/// Seed and rounds: `NOMOUNT_SEED`, `NOMOUNT_LONG=1`.
fn plan(short: u32, long: u32) -> (StdRng, u32) {
    let seed = std::env::var("NOMOUNT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let rounds = if std::env::var_os("NOMOUNT_LONG").is_some() { long } else { short };
    println!("NOMOUNT_SEED={seed}, {rounds} rounds");
    (StdRng::seed_from_u64(seed), rounds)
}

/// A partition of the model. Its number is what the table calls it; the other fields do not change by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    number: u32,
    start: u64,
    len: u64,
    type_id: TypeId,
    name: String,
}

fn parts(editor: &Editor) -> Vec<Part> {
    let part = |p: &nomount_ptable::Partition| Part {
        number: p.number,
        start: p.start,
        len: p.len,
        type_id: p.type_id,
        name: p.name.clone(),
    };
    editor.table().partitions.iter().map(part).collect()
}

fn new_partition(random: &mut StdRng, scheme: Scheme, len: u64) -> NewPartition {
    let type_id = match scheme {
        Scheme::Gpt => TypeId::Gpt(Guid([random.random_range(1..=255); 16])),
        Scheme::Mbr => TypeId::Mbr([0x83, 0x82, 0x8e, 0x05][random.random_range(0..4)]),
    };
    NewPartition {
        number: random.random_bool(0.2).then(|| random.random_range(0..12)),
        start: random.random_bool(0.3).then(|| random.random_range(0..len / 512) * 512),
        len: random.random_bool(0.9).then(|| random.random_range(1..len / 4096) * 512),
        logical: scheme == Scheme::Mbr && random.random_bool(0.6),
        ..NewPartition::new(type_id, Guid(random.random()))
    }
}

/// One random edit of table and model. Whatever is refused changes nothing.
fn step(random: &mut StdRng, editor: &mut Editor, model: &mut Vec<Part>, len: u64) {
    let scheme = editor.table().scheme;
    let number = match model.len() {
        0 => 1,
        count => model[random.random_range(0..count)].number,
    };
    let at = |model: &[Part], number| model.iter().position(|part| part.number == number);
    let before = parts(editor);
    let result: Result<(), EditError> = match random.random_range(0..6) {
        0 | 1 => editor.add(&new_partition(random, scheme, len)).map(|number| {
            let added = parts(editor).into_iter().find(|part| part.number == number).expect("it was added");
            model.push(added);
        }),
        2 if random.random_bool(0.5) => editor.delete(number).map(|deleted| {
            model.remove(at(model, number).expect("it was there"));
            for part in model.iter_mut() {
                if let Some((_, new)) = deleted.renumbered.iter().find(|(old, _)| *old == part.number) {
                    part.number = *new;
                }
            }
        }),
        2 | 3 => {
            let limit = editor.grow_limit(number).ok();
            let index = at(model, number);
            let new_len = match (limit, index) {
                (Some(limit), Some(index)) if random.random_bool(0.5) => limit - model[index].start,
                _ => random.random_range(0..len / 1024) * 512,
            };
            editor.resize(number, new_len).map(|()| {
                let index = index.expect("it was there");
                model[index].len = new_len;
                let end = model[index].start + new_len;
                // The extended partition follows a logical one.
                if let Some(extended) = editor.table().partitions.iter().find(|p| p.is_extended())
                    && let Some(part) = model.iter_mut().find(|part| part.number == extended.number)
                    && number >= 5
                {
                    part.len = part.len.max(end - part.start);
                }
            })
        }
        4 => editor.set_name(number, "näme").map(|()| {
            let index = at(model, number).expect("it was there");
            model[index].name = "näme".to_owned();
        }),
        _ => {
            let type_id = new_partition(random, scheme, len).type_id;
            editor.set_type(number, type_id).map(|()| {
                let index = at(model, number).expect("it was there");
                model[index].type_id = type_id;
            })
        }
    };
    if let Err(error) = result {
        assert_eq!(parts(editor), before, "{error}");
    }
    model.sort_by_key(|part| part.number);
    assert_eq!(&parts(editor), model);
    assert_eq!(editor.table().notes, [], "overlaps, or out of place");
}

fn random_edits(scheme: Scheme, short: u32, judges: &[&str]) {
    if !have(judges) {
        return;
    }
    let (mut random, rounds) = plan(short, short * 100);
    for round in 0..rounds {
        let mut len = random.random_range(4..24) * MIB;
        let disk_id = match scheme {
            Scheme::Gpt => DiskId::Guid(Guid(random.random())),
            Scheme::Mbr => DiskId::Signature(random.random_range(1..=u32::MAX)),
        };
        let sector_size = if scheme == Scheme::Gpt && round % 4 == 3 { 4096 } else { 512 };
        let mut device = Memory::zeroed(len as usize);
        let mut editor = Editor::create(scheme, len, sector_size, disk_id).unwrap();
        editor.write(&mut device).unwrap();
        let mut model = Vec::new();
        for _ in 0..random.random_range(1..5) {
            if random.random_bool(0.3) {
                len += random.random_range(1..2048) * 4096;
                nomount_block::SetLen::set_len(&mut device, len).unwrap();
            }
            editor = Editor::open(&device).unwrap().expect("a table");
            assert_eq!(parts(&editor), model);
            for _ in 0..random.random_range(0..12) {
                step(&mut random, &mut editor, &mut model, len);
            }
            editor.write(&mut device).unwrap();
            let table = read(&device).unwrap();
            match &table {
                Some(table) => assert_eq!(table, editor.table()),
                None => assert!(scheme == Scheme::Mbr && model.is_empty()),
            }
        }
        if sector_size != 512 || model.is_empty() {
            continue;
        }
        let image = Image::with(device.bytes());
        let said = run("sfdisk", &["--verify"], &image.path(), "");
        assert!(said.contains("No errors detected"), "{said}");
        if scheme == Scheme::Gpt {
            let said = run("sgdisk", &["-v"], &image.path(), "");
            assert!(said.contains("No problems found") && !said.contains("Warning"), "{said}");
        } else {
            assert_eq!(common::rows(editor.table()), common::partx(&image.path(), 512));
        }
    }
}

#[test]
fn gpt_follows_the_model() {
    random_edits(Scheme::Gpt, 40, &["sfdisk", "sgdisk"]);
}

#[test]
fn mbr_follows_the_model() {
    random_edits(Scheme::Mbr, 60, &["sfdisk", "partx"]);
}

/// Extended partition 2, a chain of three records that runs forwards and back.
fn mbr() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    put_entry(&mut bytes, 0, 0, 0x83, 64, 100);
    put_entry(&mut bytes, 0, 1, 0x05, 200, 1500);
    put_entry(&mut bytes, 200, 0, 0x83, 10, 100);
    put_entry(&mut bytes, 200, 1, 0x05, 900, 300);
    put_entry(&mut bytes, 1100, 0, 0x83, 10, 100);
    put_entry(&mut bytes, 1100, 1, 0x05, 400, 300);
    put_entry(&mut bytes, 600, 0, 0x83, 10, 100);
    bytes
}

#[test]
fn corrupt_tables_are_edited_or_refused() {
    let (mut random, rounds) = plan(4_000, 200_000);
    let bases = [gpt(), mbr()];
    // Offsets where a change matters: sector 0's entries, headers, entries, records.
    let spots = [
        vec![446..512, 512..604, 1024..1024 + 3 * ENTRIES, LAST..LAST + 92, LAST - 32 * 512..LAST - 32 * 512 + 384],
        vec![440..512, 200 * 512 + 446..201 * 512, 1100 * 512 + 446..1101 * 512, 600 * 512 + 446..601 * 512],
    ];
    let (mut opened, mut written) = (0, 0);
    for _ in 0..rounds {
        let kind = random.random_range(0..2);
        let mut bytes = bases[kind].clone();
        for _ in 0..random.random_range(1..8) {
            let spot = spots[kind][random.random_range(0..spots[kind].len())].clone();
            let at = random.random_range(spot);
            bytes[at] = if random.random_bool(0.3) { 0xff } else { random.random() };
        }
        if kind == 0 && random.random_bool(0.9) {
            seal(&mut bytes, 512);
            seal(&mut bytes, LAST);
        }
        if random.random_bool(0.3) {
            bytes.resize(random.random_range(600..3000) * 512, 0);
        }
        let len = bytes.len() as u64;
        let mut device = Memory::new(bytes);
        let Ok(Some(mut editor)) = Editor::open(&device) else { continue };
        opened += 1;
        let scheme = editor.table().scheme;
        if random.random_bool(0.3) {
            let _ = editor.set_device_len(random.random_range(0..len / 512) * 512);
        }
        editor.minimum_device_len();
        for _ in 0..random.random_range(0..6) {
            let number = random.random_range(0..9);
            let _ = match random.random_range(0..5) {
                0 => editor.add(&new_partition(&mut random, scheme, len)).map(drop),
                1 => editor.delete(number).map(drop),
                2 => editor.resize(number, random.random_range(0..4000) * 512),
                3 => editor.grow_limit(number).and_then(|limit| editor.resize(number, limit / 1024 * 512)),
                _ => editor.set_bootable(number, true),
            };
        }
        if editor.write(&mut device).is_err() {
            continue;
        }
        written += 1;
        if scheme == Scheme::Mbr && editor.table().partitions.is_empty() {
            // Without partitions it is no table; a GPT that was there before is found again.
            read(&device).unwrap();
            continue;
        }
        let table = read(&device).unwrap().expect("a table");
        assert_eq!(table.partitions, editor.table().partitions);
        assert_eq!(parts(&Editor::open(&device).unwrap().expect("a table")), parts(&editor));
    }
    assert!(opened > rounds / 4 && written > rounds / 8, "{opened} opened, {written} written of {rounds}");
}
