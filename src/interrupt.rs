//! What a program that is told to stop waits for, and what it removes.
//!
//! A change can be left at any moment: before its commit nothing that counts is written, and a commit that stops midway
//! is completed or taken back later. But a commit is short, and to wait for it spares that later step; and files that
//! were to get their name at the end would stay behind. So commits and such files are known here, and whoever handles
//! signals calls [`stop`] before the process ends. The library itself handles none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, remove_file};
use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::NamedTempFile;

/// Held for reading by every commit.
static COMMITS: RwLock<()> = RwLock::new(());
/// Held for reading while something is made in a directory that goes if the process ends.
static STEPS: RwLock<()> = RwLock::new(());
/// How to take back what consists of more than a file.
static UNDO: Mutex<BTreeMap<u64, Box<dyn FnOnce() + Send>>> = Mutex::new(BTreeMap::new());
/// Files that are of no use if the process ends now.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Files that were of no use any more and could not be removed.
static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// While it lives, nothing is committed and no unfinished file gets a name.
#[derive(Debug)]
pub struct Stopped {
    _commits: RwLockWriteGuard<'static, ()>,
    _steps: RwLockWriteGuard<'static, ()>,
    _unfinished: MutexGuard<'static, BTreeSet<PathBuf>>,
}

/// Waits for commits that have begun, then removes the files and directories that are not finished. The process should
/// end before what it answers is dropped.
pub fn stop() -> Stopped {
    let commits = COMMITS.write().unwrap_or_else(PoisonError::into_inner);
    let steps = STEPS.write().unwrap_or_else(PoisonError::into_inner);
    take_back_all(std::mem::take(&mut *undo()));
    let unfinished = unfinished();
    for path in unfinished.iter() {
        // One that is gone, or cannot be removed, keeps nobody from stopping.
        let _ = remove_file(path);
    }
    Stopped { _commits: commits, _steps: steps, _unfinished: unfinished }
}

/// The latest first.
fn take_back_all(all: BTreeMap<u64, Box<dyn FnOnce() + Send>>) {
    all.into_values().rev().for_each(|take_back| take_back());
}

/// Removes the files that are not finished, for a process that ends because of a bug in it: without waiting for anything,
/// since whoever is waited for may be the one that ends.
pub fn abandon() {
    if let Ok(mut all) = UNDO.try_lock() {
        take_back_all(std::mem::take(&mut *all));
    }
    let Ok(list) = UNFINISHED.try_lock() else { return };
    for path in list.iter() {
        // As above.
        let _ = remove_file(path);
    }
}

/// To be held while an image is being changed in place.
pub(crate) fn committing() -> RwLockReadGuard<'static, ()> {
    COMMITS.read().unwrap_or_else(PoisonError::into_inner)
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that should be gone and are not, because the host did not let them be removed. Each is told once.
pub fn left_behind() -> Vec<PathBuf> {
    std::mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Notes a file that stays after the attempt to remove it.
fn removed(path: &Path, result: Result<()>) {
    if result.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }
}

fn undo() -> MutexGuard<'static, BTreeMap<u64, Box<dyn FnOnce() + Send>>> {
    UNDO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be held while one entry is made in a directory that a [`Pending`] takes back: what is removed does not grow
/// meanwhile. Not while another one is held.
pub(crate) fn step() -> RwLockReadGuard<'static, ()> {
    STEPS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is taken back if the process ends before this is dropped.
#[derive(Debug)]
#[must_use = "it is forgotten when this is dropped"]
pub struct Pending {
    key: u64,
}

impl Pending {
    /// `take_back` runs when the process is told to stop; nothing hears of what fails in it. It must not ask this
    /// module for anything.
    pub fn new(take_back: impl FnOnce() + Send + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        undo().insert(key, Box::new(take_back));
        Self { key }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        undo().remove(&self.key);
    }
}

/// A file that is being made under a name of its own. It is removed when this is dropped, unless it was finished.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    keep: bool,
}

impl Unfinished {
    /// Makes a file: `make` creates it at `path`, and fails where something is there already.
    pub fn make<T>(path: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<(Self, T)> {
        let mut list = unfinished();
        let made = make(path)?;
        list.insert(path.to_owned());
        Ok((Self { path: path.to_owned(), keep: false }, made))
    }

    /// The file is complete and stays.
    pub fn finish(mut self) {
        self.keep = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut list = unfinished();
        list.remove(&self.path);
        if !self.keep {
            removed(&self.path, remove_file(&self.path));
        }
    }
}

/// A temporary file that may get a name when it is complete. Without one it goes when this is dropped.
#[derive(Debug)]
pub struct Temporary {
    file: Option<NamedTempFile>,
    path: PathBuf,
}

impl Temporary {
    /// A new file in `folder`, called PREFIX, something random, SUFFIX. Only its owner can read it.
    pub fn create(folder: &Path, prefix: &str, suffix: &str) -> Result<Self> {
        let mut list = unfinished();
        let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
        let path = file.path().to_owned();
        list.insert(path.clone());
        Ok(Self { file: Some(file), path })
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for reading and writing.
    pub fn as_file(&self) -> &File {
        self.file.as_ref().expect("it is there until it gets its name").as_file()
    }

    /// Gives it its name, which must be free.
    pub fn persist_noclobber(mut self, name: &Path) -> Result<File> {
        let mut list = unfinished();
        let file = self.file.take().expect("it is there until it gets its name");
        list.remove(&self.path);
        file.persist_noclobber(name).map_err(|error| error.error)
    }

    /// Gives it its name, in place of what may have it already.
    pub fn persist(mut self, name: &Path) -> Result<File> {
        let mut list = unfinished();
        let file = self.file.take().expect("it is there until it gets its name");
        list.remove(&self.path);
        file.persist(name).map_err(|error| error.error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let mut list = unfinished();
            list.remove(&self.path);
            removed(&self.path, file.close());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_goes_unless_it_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let dropped = Temporary::create(folder.path(), ".a-", ".part").unwrap();
        let path = dropped.path().to_owned();
        assert!(path.exists() && unfinished().contains(&path));
        drop(dropped);
        assert!(!path.exists() && !unfinished().contains(&path));
        let kept = Temporary::create(folder.path(), ".a-", ".part").unwrap();
        let name = folder.path().join("kept");
        kept.persist_noclobber(&name).unwrap();
        let other = Temporary::create(folder.path(), ".a-", ".part").unwrap();
        assert!(other.persist_noclobber(&name).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_pending_is_taken_back_unless_it_was_dropped() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let pending = |number: u32| {
            let sender = sender.clone();
            Pending::new(move || sender.send(number).unwrap())
        };
        let (first, second, third) = (pending(1), pending(2), pending(3));
        drop(second);
        let mine: Vec<_> = [&first, &third].iter().filter_map(|pending| undo().remove_entry(&pending.key)).collect();
        take_back_all(mine.into_iter().collect());
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn an_unfinished_file_goes_unless_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let (unfinished, _) = Unfinished::make(&path, |path| File::create_new(path)).unwrap();
        assert!(Unfinished::make(&path, |path| File::create_new(path)).is_err());
        drop(unfinished);
        assert!(!path.exists());
        let (unfinished, _) = Unfinished::make(&path, |path| File::create_new(path)).unwrap();
        unfinished.finish();
        assert!(path.exists());
    }
}
