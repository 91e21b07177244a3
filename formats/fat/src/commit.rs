//! Writing what is staged to the device.

use crate::error::Result;
use crate::fs::{Filesystem, State};
use crate::pages::PAGE;
use crate::raw::{ExtendedBoot, FsInfo};
use nomount_block::{ReadAt, WriteAt};
use zerocopy::{FromBytes, IntoBytes};

/// Bit 0 of `BS_Reserved1`: somebody writes, or did not finish.
const DIRTY: u8 = 1;
/// Signatures of [`FsInfo`].
const LEAD: u32 = 0x4161_5252;
const STRUCTURE: u32 = 0x6141_7272;
const TRAIL: u32 = 0xaa55_0000;
/// Nobody knows how many clusters are free.
const UNKNOWN: u32 = u32::MAX;
/// Bytes of one write.
const MAX_WRITE: usize = 1 << 20;

/// The page of the boot sector.
#[derive(Debug)]
struct Mark {
    /// Byte offset.
    at: u64,
    /// What it holds while somebody writes, and when nobody does.
    marked: Vec<u8>,
    clean: Vec<u8>,
}

/// What a commit wrote, contents in free clusters not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Pieces of 512 bytes of tables, directories, and contents that were written over.
    pub blocks: usize,
}

impl Committed {
    /// Whether there was anything to write.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// Where the state byte is, if there is one.
    fn state_at(&self) -> Option<u64> {
        self.shape.extended_at.map(|at| at + std::mem::offset_of!(ExtendedBoot, BS_Reserved1) as u64)
    }

    /// Whether the filesystem says that somebody did not finish writing it.
    pub(crate) fn is_dirty(&self) -> Result<bool> {
        let mut state = [0];
        self.state_at().map_or(Ok(()), |at| self.get(at, &mut state))?;
        Ok(state[0] & DIRTY != 0)
    }

    /// What FAT32 knows of its free clusters, and where that is.
    pub(crate) fn fs_info(&self) -> Result<Option<(u64, FsInfo)>> {
        let Some(at) = self.shape.info_at else { return Ok(None) };
        let mut bytes = [0; 512];
        self.get(at, &mut bytes)?;
        let info = FsInfo::read_from_bytes(&bytes).expect("512 bytes");
        let signatures = (info.FSI_LeadSig.get(), info.FSI_StrucSig.get(), info.FSI_TrailSig.get());
        Ok((signatures == (LEAD, STRUCTURE, TRAIL)).then_some((at, info)))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Writes what is staged to the device, and forgets the savepoints.
    ///
    /// FAT has no journal, so whoever must survive a crash puts a device below that makes all writes since the first
    /// barrier one: a staging layer with a redo file does. Without one, a crash leaves at worst what fsck.fat repairs:
    ///
    /// 1. Contents went to clusters that are free in the committed table while the changes were made. Nothing reads
    ///    them. A barrier.
    /// 2. The filesystem is marked as not unmounted properly, if it was not so before and can be. A barrier: from here
    ///    on every system knows that it must be checked.
    /// 3. Tables, directories and contents that are written over, by ascending offset. A barrier.
    /// 4. The mark is taken away, if step 2 made it: a filesystem that somebody else left so stays so.
    ///
    /// What is written again in full is the same, so that a commit which failed can be tried again.
    pub fn commit(&mut self) -> Result<Committed> {
        if self.state.pages.iter().next().is_some() {
            self.change(Self::count_freed)?;
        }
        let mut pages = Vec::new();
        for (number, page) in self.state.pages.iter() {
            // The device as it is now: what is written fresh does not go through the clean pages.
            let mut before = [0; PAGE as usize];
            self.device.read_at(number * PAGE, &mut before)?;
            if self.unfinished || before != page[..] {
                pages.push((number, std::sync::Arc::clone(page)));
            }
        }
        let committed = Committed { blocks: pages.len() };
        if !pages.is_empty() {
            self.unfinished = true;
            self.device.barrier()?;
            let mark = self.mark()?;
            if let Some(Mark { at, marked, .. }) = &mark {
                self.marked = true;
                self.device.write_at(*at, marked)?;
                self.device.barrier()?;
            }
            for run in pages.chunk_by(|a, b| a.0 + 1 == b.0).flat_map(|run| run.chunks(MAX_WRITE / PAGE as usize)) {
                let bytes: Vec<u8> = run
                    .iter()
                    .flat_map(|(number, page)| match &mark {
                        // The boot sector goes with the mark.
                        Some(Mark { at, marked, .. }) if number * PAGE == *at => marked.clone(),
                        _ => page.to_vec(),
                    })
                    .collect();
                self.device.write_at(run[0].0 * PAGE, &bytes)?;
            }
            self.device.barrier()?;
            if let Some(Mark { at, clean, .. }) = &mark {
                self.device.write_at(*at, clean)?;
                self.device.barrier()?;
                self.marked = false;
            }
        }
        self.unfinished = false;
        let State { next, numbers, numbered, .. } = std::mem::take(&mut self.state);
        self.state = State { next, numbers, numbered, ..State::default() };
        self.savepoints.clear();
        self.recent.clear();
        self.held.clear();
        self.clear_cache();
        Ok(committed)
    }

    /// The boot sector to mark; none where somebody else marked it, or there is no place for the mark.
    fn mark(&self) -> Result<Option<Mark>> {
        let Some(at) = self.state_at() else { return Ok(None) };
        if self.is_dirty()? && !self.marked {
            return Ok(None);
        }
        let mut marked = self.page(at / PAGE)?.to_vec();
        let mut clean = marked.clone();
        marked[(at % PAGE) as usize] |= DIRTY;
        clean[(at % PAGE) as usize] &= !DIRTY;
        Ok(Some(Mark { at: at / PAGE * PAGE, marked, clean }))
    }

    /// Brings what FAT32 knows of its free clusters up to date, where it knows it. A number that cannot be right
    /// becomes unknown; one that was wrong stays as wrong as it was.
    fn count_freed(&mut self) -> Result<()> {
        if self.state.freed == 0 {
            return Ok(());
        }
        let Some((at, mut info)) = self.fs_info()? else { return Ok(()) };
        if info.FSI_Free_Count.get() != UNKNOWN {
            let free = i64::from(info.FSI_Free_Count.get()) + self.state.freed;
            let free = u32::try_from(free).ok().filter(|free| *free <= self.shape.clusters);
            info.FSI_Free_Count.set(free.unwrap_or(UNKNOWN));
        }
        info.FSI_Nxt_Free.set(self.state.next);
        self.state.freed = 0;
        self.put(at, info.as_bytes())
    }
}
