//! An edit that is interrupted at any write leaves the old table or the new, and can be made again.

mod common;

use common::{gpt, put_entry};
use nomount_block::{Memory, Overlay, Spill, WriteAt};
use nomount_kit::crash::{Plan, each_state};
use nomount_ptable::{DiskId, Editor, Guid, NewPartition, Scheme, Table, TypeId, read};

/// What a user sees of a table: everything but where its entries were read from.
fn seen(table: &Table) -> Vec<(u32, u64, u64, TypeId, String, bool)> {
    let seen = |p: &nomount_ptable::Partition| (p.number, p.start, p.len, p.type_id, p.name.clone(), p.bootable);
    table.partitions.iter().map(seen).collect()
}

/// The same without the extended partition, which may be the longer one already.
fn without_extended(table: &Table) -> Vec<(u32, u64, u64, TypeId, String, bool)> {
    let mut seen = seen(table);
    seen.retain(|(_, _, _, type_id, ..)| !matches!(type_id, TypeId::Mbr(0x05 | 0x0f)));
    seen
}

/// Interrupts the edit of `base` everywhere.
fn crash(name: &str, base: Vec<u8>, edit: impl Fn(&mut Editor)) {
    crash_before_cut(name, base, 0, edit);
}

/// The same with a device that loses `cut` bytes when the edit is done.
fn crash_before_cut(name: &str, base: Vec<u8>, cut: usize, edit: impl Fn(&mut Editor)) {
    let base = Memory::new(base);
    let old = read(&base).unwrap().expect("a table");
    let mut editor = Editor::open(&base).unwrap().expect("a table");
    edit(&mut editor);
    let mut staged = Overlay::new(base.clone(), Spill::Never);
    editor.write(&mut staged).unwrap();
    let log = staged.log().to_vec();
    let mut counts = (0, 0);
    each_state(&base, &log, &Plan::bounded(60), |state, path| {
        let mut device = Memory::new(std::fs::read(path).unwrap());
        let table = read(&device).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
        let table = table.unwrap_or_else(|| panic!("{name}, {state:?}: no table"));
        let view = if editor.table().scheme == Scheme::Mbr { without_extended } else { seen };
        if view(&table) == view(editor.table()) {
            counts.1 += 1;
        } else if view(&table) == view(&old) {
            counts.0 += 1;
            // Nothing is in the way of trying again.
            let mut again = Editor::open(&device).unwrap().expect("a table");
            edit(&mut again);
            again.write(&mut device).unwrap();
            let mut bytes = device.into_bytes();
            bytes.truncate(bytes.len() - cut);
            let device = Memory::new(bytes);
            let table = read(&device).unwrap().expect("a table");
            assert_eq!((&table, &table.notes[..]), (editor.table(), &[][..]), "{name}, {state:?}");
        } else {
            panic!("{name}, {state:?}: {table:#?}");
        }
    });
    assert!(counts.0 > 0 && counts.1 > 0, "{name}: {counts:?}");
}

#[test]
fn gpt_old_or_new() {
    let rename = |editor: &mut Editor| editor.set_name(3, "new").unwrap();
    let grow = |editor: &mut Editor| {
        editor.resize(3, 300 * 512).unwrap();
        rename(editor);
    };
    crash("in place", gpt(), rename);
    for more in [512, 10 * 512, 32 * 512, 33 * 512, 34 * 512, 100 * 512] {
        let mut grown = gpt();
        grown.resize(grown.len() + more, 0);
        crash(&format!("grown by {more}"), grown.clone(), grow);
        for damage in [512 + 40, 1024 + 40] {
            grown[damage] ^= 1;
            crash(&format!("grown by {more}, primary damaged at {damage}"), grown.clone(), grow);
            grown[damage] ^= 1;
        }
    }
    for less in [512, 10 * 512, 33 * 512, 100 * 512] {
        crash_before_cut(&format!("to be cut by {less}"), gpt(), less, |editor| {
            rename(editor);
            editor.set_device_len((1 << 20) - less as u64).unwrap();
        });
    }
    for (name, damage) in
        [("signature", 512), ("header", 512 + 40), ("entries", 1024 + 40), ("backup", (1 << 20) - 500)]
    {
        let mut damaged = gpt();
        damaged[damage] ^= 1;
        crash(&format!("damaged {name}"), damaged, grow);
    }
    let mut unprotected = gpt();
    unprotected[..512].fill(0);
    crash("no protective MBR", unprotected, rename);
}

#[test]
fn gpt_of_4096_byte_sectors() {
    let mut device = Memory::zeroed(4 << 20);
    let mut editor = Editor::create(Scheme::Gpt, 4 << 20, 4096, DiskId::Guid(Guid([1; 16]))).unwrap();
    editor.add(&NewPartition::new(TypeId::Gpt(Guid([2; 16])), Guid([3; 16]))).unwrap();
    editor.write(&mut device).unwrap();
    for more in [0, 4096, 5 * 4096, 1 << 20] {
        let mut bytes = device.bytes().to_vec();
        bytes.resize(bytes.len() + more, 0);
        crash("4096", bytes, |editor| editor.resize(1, 1 << 20).unwrap());
    }
}

/// Extended partition 2 with 5, 6 and 7; room in it and behind it.
fn mbr() -> Vec<u8> {
    let mut bytes = vec![0; 4 << 20];
    put_entry(&mut bytes, 0, 0, 0x83, 64, 100);
    put_entry(&mut bytes, 0, 1, 0x05, 1024, 3000);
    for (record, next) in [(1024, Some(1500)), (1500, Some(2000)), (2000, None)] {
        put_entry(&mut bytes, record, 0, 0x83, 10, 300);
        if let Some(next) = next {
            put_entry(&mut bytes, record, 1, 0x05, next - 1024, 310);
        }
    }
    bytes
}

#[test]
fn mbr_old_or_new() {
    for number in [1, 5, 6, 7] {
        crash("delete", mbr(), |editor| drop(editor.delete(number).unwrap()));
        crash("shrink", mbr(), |editor| editor.resize(number, 512).unwrap());
        crash("type", mbr(), |editor| editor.set_type(number, TypeId::Mbr(0x8e)).unwrap());
    }
    crash("grow", mbr(), |editor| editor.resize(6, 400 * 512).unwrap());
    crash("grow with the extended partition", mbr(), |editor| {
        let start = editor.table().partition(7).unwrap().start;
        editor.resize(7, editor.grow_limit(7).unwrap() - start).unwrap();
    });
    crash("add", mbr(), |editor| {
        let new = NewPartition::new(TypeId::Mbr(0x82), Guid([0; 16]));
        let new = NewPartition { logical: true, start: Some(3000 * 512), len: Some(100 * 512), ..new };
        assert_eq!(editor.add(&new).unwrap(), 8);
    });
}

/// Several edits of the chain in one: any mixture of them is a table.
#[test]
fn several_edits_of_a_chain_leave_partitions_old_or_new() {
    let base = Memory::new(mbr());
    let old = read(&base).unwrap().unwrap();
    let mut editor = Editor::open(&base).unwrap().unwrap();
    editor.delete(6).unwrap();
    editor.resize(6, 500 * 512).unwrap();
    let new = NewPartition::new(TypeId::Mbr(0x82), Guid([0; 16]));
    let new = NewPartition { logical: true, len: Some(100 * 512), ..new };
    editor.add(&NewPartition { start: Some(1600 * 512), ..new.clone() }).unwrap();
    editor.add(&NewPartition { start: Some(3000 * 512), ..new }).unwrap();
    editor.delete(5).unwrap();
    let mut staged = Overlay::new(base.clone(), Spill::Never);
    editor.write(&mut staged).unwrap();
    staged.barrier().unwrap();
    let known: Vec<(u64, u64)> =
        old.partitions.iter().chain(&editor.table().partitions).map(|p| (p.start, p.len)).collect();
    let states = each_state(&base, staged.log(), &Plan::bounded(200), |state, path| {
        let device = Memory::new(std::fs::read(path).unwrap());
        let table = read(&device).unwrap().unwrap();
        assert!(table.partitions.iter().all(|p| known.contains(&(p.start, p.len))), "{state:?}: {table:#?}");
        if state.is_complete(staged.log()) {
            assert_eq!(&table, editor.table());
        }
    });
    assert!(states >= 4, "{states}");
}
