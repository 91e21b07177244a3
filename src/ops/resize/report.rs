//! What a change of size did.

use crate::disk::Layout;
use crate::error::Result;
use nomount_ptable::Table;

/// Bytes before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: u64,
    /// After; the same where nothing changed.
    pub to: u64,
}

impl Change {
    /// Whether anything changed.
    pub fn is_change(self) -> bool {
        self.from != self.to
    }
}

/// What became of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange {
    /// Its number.
    pub number: u32,
    /// Its length.
    pub size: Change,
}

impl PartitionChange {
    /// The partitions whose length is another one in `after`, which has those of `before`.
    pub(super) fn all(before: &Layout, after: &Table) -> Result<Vec<Self>> {
        let mut changes = Vec::new();
        for partition in &after.partitions {
            let size = Change { from: before.partition(partition.number)?.len, to: partition.len };
            if size.is_change() {
                changes.push(Self { number: partition.number, size });
            }
        }
        Ok(changes)
    }
}

/// What became of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemChange {
    /// What it is, as blkid spells it.
    pub content: &'static str,
    /// Its size; the same where it was left alone.
    pub size: Change,
    /// Who changed it: `native` or `resize2fs`; nobody where it was left alone.
    pub by: Option<&'static str>,
    /// Why it was left alone, or why it was not changed natively.
    pub reason: Option<String>,
    /// What a user may want to know of the result.
    pub notes: Vec<String>,
}

/// What a change of size did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The guest's disk.
    pub disk: Change,
    /// Partitions that changed, an extended one before the logical one in it.
    pub partitions: Vec<PartitionChange>,
    /// The filesystem in the partition, or on the disk; none where none is recognised.
    pub filesystem: Option<FilesystemChange>,
    /// What was noticed.
    pub notes: Vec<String>,
}
