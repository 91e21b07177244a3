//! Partition tables: read, edited, written, read again. The input is the disk.

use nomount_block::Memory;
use nomount_ptable::{DiskId, Editor, Guid, NewPartition, Scheme, TypeId, read};

/// As long as a table with a backup and some room needs; libFuzzer's inputs are short.
const DISK: usize = 256 << 10;

pub fn body(data: &[u8]) {
    let mut disk = Memory::new(data.to_vec());
    let Ok(Some(table)) = read(&disk) else { return };
    for partition in &table.partitions {
        assert!(partition.start + partition.len <= data.len() as u64, "{partition:?} ends behind the disk");
    }
    let Ok(Some(mut editor)) = Editor::open(&disk) else { return };
    for partition in &table.partitions {
        // Each may be refused.
        let _ = editor.grow_limit(partition.number);
        let _ = editor.resize(partition.number, partition.len / 2);
    }
    if editor.write(&mut disk).is_ok() {
        let again = read(&disk).expect("what was written can be read").expect("a table is still there");
        assert_eq!(again.partitions.len(), editor.table().partitions.len());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let ids = [
        (Scheme::Gpt, DiskId::Guid(Guid([7; 16])), TypeId::Gpt(Guid([9; 16]))),
        (Scheme::Mbr, DiskId::Signature(7), TypeId::Mbr(0x83)),
    ];
    ids.into_iter()
        .map(|(scheme, disk_id, type_id)| {
            let mut disk = Memory::zeroed(DISK);
            let mut editor = Editor::create(scheme, DISK as u64, 512, disk_id).expect("room for a table");
            for number in 0..2 {
                let len = Some(32 << 10);
                let start = Some((64 + number * 64) << 10);
                let new = NewPartition { start, len, ..NewPartition::new(type_id, Guid([number as u8 + 1; 16])) };
                editor.add(&new).expect("room for a partition");
            }
            editor.write(&mut disk).expect("memory takes it");
            disk.into_bytes()
        })
        .collect()
}
