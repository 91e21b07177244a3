//! Pieces of the volume that a change has touched, and clean ones that are kept for a while.

use crate::error::{Error, Result};
use rpds::RedBlackTreeMapSync;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a page: the least sector, so that no page is in two tables or clusters.
pub(crate) const PAGE: u64 = 512;
/// Pages read at once.
const AHEAD: u64 = 8;
/// The most that a change keeps in memory: tables, directories, and what it writes over. Contents in free clusters do
/// not count.
const MAX_STAGED: usize = 256 << 20;
/// Memory of a staged page.
const PAGE_BYTES: u64 = PAGE + 112;
/// Clean pages that are kept, so that memory does not grow with the image.
const MAX_CLEAN: usize = 4 << 20;

/// Staged pages. The map is persistent: a savepoint is a clone, and costs the same however much is staged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages(RedBlackTreeMapSync<u64, Arc<Vec<u8>>>);

impl Pages {
    /// Memory that they take, with another one, and again for what a commit makes of them.
    pub fn bytes(&self) -> u64 {
        2 * (self.0.size() as u64 + 1) * PAGE_BYTES
    }

    pub fn get(&self, number: u64) -> Option<&Arc<Vec<u8>>> {
        self.0.get(&number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Vec<u8>> {
        self.0.get_mut(&number).map(Arc::make_mut)
    }

    pub fn insert(&mut self, number: u64, page: Vec<u8>) -> Result<()> {
        if self.0.size() >= MAX_STAGED / PAGE as usize {
            let message = format!("the change takes more than {MAX_STAGED} bytes of memory");
            return Err(Error::Limit(message));
        }
        self.0.insert_mut(number, Arc::new(page));
        Ok(())
    }

    /// Forgets pages of a cluster that was freed.
    pub fn remove(&mut self, numbers: Range<u64>) {
        let staged: Vec<u64> = self.range(numbers).map(|(number, _)| number).collect();
        for number in staged {
            self.0.remove_mut(&number);
        }
    }

    pub fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, &Arc<Vec<u8>>)> {
        self.0.range(numbers).map(|(number, page)| (*number, page))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Arc<Vec<u8>>)> {
        self.0.iter().map(|(number, page)| (*number, page))
    }
}

/// Clean pages.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<u64, Arc<Vec<u8>>>);

impl Cache {
    /// First page and number of pages to read where `number` is needed, of `end` pages.
    pub fn around(number: u64, end: u64) -> (u64, u64) {
        let first = number - number % AHEAD;
        (first, AHEAD.min(end - first))
    }

    pub fn get(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        self.0.get(&number).map(Arc::clone)
    }

    pub fn insert(&mut self, first: u64, bytes: &[u8]) {
        if self.0.len() >= MAX_CLEAN / PAGE as usize {
            self.0.clear();
        }
        for (number, page) in (first..).zip(bytes.chunks_exact(PAGE as usize)) {
            self.0.insert(number, Arc::new(page.to_vec()));
        }
    }

    pub fn remove(&mut self, numbers: Range<u64>) {
        if numbers.end - numbers.start > self.0.len() as u64 {
            self.0.retain(|number, _| !numbers.contains(number));
        } else {
            for number in numbers {
                self.0.remove(&number);
            }
        }
    }
}
