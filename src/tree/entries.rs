//! The names in a directory, with the memory that they take.

use super::Entry;
use nomount_block::{Budget, Held, OutOfBudget};
use std::ops::{Deref, DerefMut};

/// Memory of an entry besides its name: itself, room for as many again, and what the name's place takes.
const ENTRY_BYTES: u64 = 112;

/// The names in a directory. Their memory is given back when the list goes, or becomes an iterator: whoever keeps much
/// of it takes it apart.
#[derive(Debug, Default)]
pub struct Entries {
    list: Vec<Entry>,
    held: Option<Held>,
}

impl Entries {
    /// None yet, with memory from `budget`.
    pub fn within(budget: &Budget) -> Self {
        Self { list: Vec::new(), held: Some(budget.hold("the names of a directory")) }
    }

    /// Adds one.
    pub fn push(&mut self, entry: Entry) -> Result<(), OutOfBudget> {
        if let Some(held) = &mut self.held {
            held.grow(ENTRY_BYTES + entry.name.len() as u64)?;
        }
        self.list.push(entry);
        Ok(())
    }

    /// The entries, and what holds their memory.
    pub fn into_parts(self) -> (Vec<Entry>, Option<Held>) {
        (self.list, self.held)
    }
}

impl From<Vec<Entry>> for Entries {
    /// A list that takes its memory from nowhere.
    fn from(list: Vec<Entry>) -> Self {
        Self { list, held: None }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.list
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut [Entry] {
        &mut self.list
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}
