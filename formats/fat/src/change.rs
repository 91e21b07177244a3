//! Changes: each is made or not, and all can be taken back to a savepoint.

use crate::error::{Error, Result};
use crate::fs::Filesystem;
use nomount_block::{Budget, WriteAt};

impl<D: WriteAt> Filesystem<D> {
    /// Opens a filesystem for changes.
    pub fn open_for_write(device: D, options: crate::OpenOptions) -> Result<Self> {
        Self::open_for_write_within(device, options, &Budget::default())
    }

    /// The same with memory from `budget` for what grows with the filesystem.
    pub fn open_for_write_within(device: D, options: crate::OpenOptions, budget: &Budget) -> Result<Self> {
        let mut fs = Self::open_within(device, options, budget)?;
        fs.writable = true;
        Ok(fs)
    }

    /// Makes a change; when it fails nothing is changed.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        let before = self.state.clone();
        let changed = change(self);
        if changed.is_err() {
            self.state = before;
            self.forget();
        }
        changed
    }

    /// Marks the state now. Marks nest: going back to one drops later ones.
    pub fn savepoint(&mut self) -> usize {
        self.savepoints.push(self.state.clone());
        self.recent.clear();
        self.savepoints.len() - 1
    }

    /// Takes everything back that happened since the mark; a mark that is gone changes nothing.
    pub fn rollback(&mut self, mark: usize) {
        if mark < self.savepoints.len() {
            self.state = self.savepoints.swap_remove(mark);
            self.savepoints.truncate(mark);
            self.recent.clear();
            self.forget();
        }
    }
}
