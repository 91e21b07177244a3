//! An open filesystem: its device, its layout, and the changes that are not committed yet.

use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::listing::Listings;
use crate::pages::{Cache, PAGE, Pages};
use crate::shape::{BOOT_LEN, FIRST_CLUSTER, Shape};
use crate::time::Time;
use nomount_block::{Budget, ReadAt};
use rpds::HashTrieMapSync;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the filesystem is not told by the device.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// The clock, for every time that a change sets.
    pub now: Time,
}

/// Everything that a change has touched and that is not on the device yet. Cloning it is cheap: it is a savepoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub pages: Pages,
    /// Where the search for a free cluster begins.
    pub next: u32,
    /// Clusters freed, less those taken.
    pub freed: i64,
    /// Numbers of files that were made or moved since the filesystem was opened, by the place of their entry.
    pub numbers: HashTrieMapSync<u64, u64>,
    /// How many numbers were given.
    pub numbered: u64,
}

/// A FAT filesystem on a device.
///
/// Reading needs [`ReadAt`] only. Changes gather in memory; contents of files go to free clusters of the device at
/// once. [`Filesystem::commit`] writes the rest, dropping the filesystem nothing.
#[derive(Debug)]
pub struct Filesystem<D> {
    pub(crate) device: D,
    pub(crate) options: OpenOptions,
    pub(crate) budget: Budget,
    pub(crate) shape: Shape,
    pub(crate) writable: bool,
    /// A commit began to write and did not end, so that nothing is known of what the device has.
    pub(crate) unfinished: bool,
    /// It marked the filesystem as not unmounted properly.
    pub(crate) marked: bool,
    pub(crate) state: State,
    pub(crate) savepoints: Vec<State>,
    /// Clusters taken since the last savepoint: no state that one could go back to reads them, so contents are
    /// written to them at once.
    pub(crate) recent: HashSet<u32>,
    /// Clusters that are free now, but not in a state that one could go back to: what is written there is staged.
    pub(crate) held: HashSet<u32>,
    pub(crate) listings: Mutex<Listings>,
    /// The chain of the file that was read or written last, by its first cluster.
    pub(crate) last_chain: Mutex<Option<(u32, Arc<Chain>)>>,
    cache: Mutex<Cache>,
}

impl<D: ReadAt> Filesystem<D> {
    /// Opens a filesystem for reading.
    pub fn open(device: D, options: OpenOptions) -> Result<Self> {
        Self::open_within(device, options, &Budget::default())
    }

    /// The same with memory from `budget` for what grows with the filesystem.
    pub fn open_within(device: D, options: OpenOptions, budget: &Budget) -> Result<Self> {
        let mut boot = [0; BOOT_LEN];
        if device.len() < BOOT_LEN as u64 {
            return Err(Error::NotFat("the device is shorter than a sector"));
        }
        device.read_at(0, &mut boot)?;
        let shape = Shape::check(&boot, device.len())?;
        let state = State { next: FIRST_CLUSTER, ..State::default() };
        let mut fs = Self {
            device,
            options,
            budget: budget.clone(),
            shape,
            writable: false,
            unfinished: false,
            marked: false,
            state,
            savepoints: Vec::new(),
            recent: HashSet::new(),
            held: HashSet::new(),
            listings: Mutex::default(),
            last_chain: Mutex::default(),
            cache: Mutex::default(),
        };
        if let Some((_, info)) = fs.fs_info()?.filter(|(_, info)| fs.shape.has(info.FSI_Nxt_Free.get())) {
            fs.state.next = info.FSI_Nxt_Free.get();
        }
        Ok(fs)
    }

    /// The device below, without what is not committed.
    pub fn into_device(self) -> D {
        self.device
    }

    /// Where the memory comes from for what grows with the filesystem.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The page with this number, with what is staged.
    pub(crate) fn page(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        if let Some(page) = self.state.pages.get(number) {
            return Ok(Arc::clone(page));
        }
        self.committed_page(number)
    }

    /// The page with this number as it is on the device.
    pub(crate) fn committed_page(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        if let Some(page) = lock(&self.cache).get(number) {
            return Ok(page);
        }
        let (first, count) = Cache::around(number, self.shape.len / PAGE);
        let mut bytes = vec![0; (count * PAGE) as usize];
        self.device.read_at(first * PAGE, &mut bytes)?;
        let mut cache = lock(&self.cache);
        cache.insert(first, &bytes);
        Ok(cache.get(number).expect("it was just read"))
    }

    pub(crate) fn clear_cache(&mut self) {
        *exclusive(&mut self.cache) = Cache::default();
    }

    /// Forgets clean pages that the device has in another form now.
    pub(crate) fn forget_pages(&mut self, numbers: Range<u64>) {
        exclusive(&mut self.cache).remove(numbers);
    }

    /// Reads a piece of a table or directory, inside the filesystem.
    pub(crate) fn get(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let page = self.page(at / PAGE)?;
            let from = (at % PAGE) as usize;
            let len = (buf.len() - done).min(PAGE as usize - from);
            buf[done..done + len].copy_from_slice(&page[from..from + len]);
            done += len;
        }
        Ok(())
    }

    /// Stages a piece of a table or directory, inside the filesystem.
    pub(crate) fn put(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (number, from) = (at / PAGE, (at % PAGE) as usize);
            let len = (data.len() - done).min(PAGE as usize - from);
            let piece = &data[done..done + len];
            if let Some(page) = self.state.pages.get_mut(number) {
                page[from..from + len].copy_from_slice(piece);
            } else {
                let mut page = if len == PAGE as usize { vec![0; len] } else { self.committed_page(number)?.to_vec() };
                page[from..from + len].copy_from_slice(piece);
                self.budget.take("changes of the FAT filesystem", self.state.pages.bytes())?;
                self.state.pages.insert(number, page)?;
            }
            done += len;
        }
        Ok(())
    }

    /// Forgets what was learnt of names and chains.
    pub(crate) fn forget(&mut self) {
        *exclusive(&mut self.listings) = Listings::default();
        *exclusive(&mut self.last_chain) = None;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn exclusive<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}
