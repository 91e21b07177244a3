//! Putting bytes into the blocks of a file: where each goes, and what is copied with it.

use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use crate::map::{Mapping, Run};
use nomount_block::WriteAt;

/// Blocks copied with one call, so that the buffer stays small whatever a cluster's size.
const COPY_BLOCKS: u32 = 256;

/// What is written: bytes, and the whole blocks at their ends.
struct Bytes<'a> {
    data: &'a [u8],
    offset: u64,
    block_size: u64,
    /// The first and the last block where the data fills only a part of them, as they are to be.
    first: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Bytes<'_> {
    fn first_block(&self) -> u64 {
        self.offset / self.block_size
    }

    fn end_block(&self) -> u64 {
        (self.offset + self.data.len() as u64).div_ceil(self.block_size)
    }

    /// Calls `write` with the bytes of file blocks `from..to`, in pieces, each with its first block.
    fn each(&self, from: u64, to: u64, mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut at = from;
        if let Some(bytes) = self.first.as_ref().filter(|_| at == self.first_block()) {
            write(at, bytes)?;
            at += 1;
        }
        let last = self.last.as_ref().filter(|_| to == self.end_block() && at < to);
        let whole_end = to - u64::from(last.is_some());
        if at < whole_end {
            let start = (at * self.block_size - self.offset) as usize;
            write(at, &self.data[start..start + ((whole_end - at) * self.block_size) as usize])?;
        }
        last.map_or(Ok(()), |bytes| write(whole_end, bytes))
    }
}

/// Where a stretch of a file is written to.
enum Place {
    /// To the blocks that it has.
    Same(BlockNr),
    /// To these, which it has without having written to them: their extent is to be marked written.
    Unwritten(BlockNr),
    /// To these, which are a hole in a cluster that it has.
    InCluster(BlockNr),
    /// To new blocks.
    New,
}

impl<D: WriteAt> Filesystem<D> {
    /// Puts bytes, at least one, into the blocks of a file. The inode's size tells what of its blocks means
    /// something, and is left as it is.
    pub(crate) fn put(&mut self, inode: &mut Inode, offset: u64, data: &[u8]) -> Result<()> {
        let block_size = u64::from(self.geo.block_size);
        let mut bytes = Bytes { data, offset, block_size, first: None, last: None };
        let (first, end) = (bytes.first_block(), bytes.end_block());
        let skip = (offset % block_size) as usize;
        let data_end = offset + data.len() as u64;
        let cut_off = !data_end.is_multiple_of(block_size);
        if skip > 0 || (cut_off && end == first + 1) {
            let mut block = self.block_contents(inode, first)?;
            let len = data.len().min(block.len() - skip);
            block[skip..skip + len].copy_from_slice(&data[..len]);
            bytes.first = Some(block);
        }
        if cut_off && end > first + 1 {
            let mut block = self.block_contents(inode, end - 1)?;
            let len = (data_end % block_size) as usize;
            block[..len].copy_from_slice(&data[data.len() - len..]);
            bytes.last = Some(block);
        }
        let mut at = first;
        while at < end {
            let (place, len) = self.place_for(inode, at, end)?;
            match place {
                Place::New => {
                    let mut to = at + len;
                    while to < end
                        && let (Place::New, more) = self.place_for(inode, to, end)?
                    {
                        to += more;
                    }
                    self.put_new(inode, &bytes, at, to)?;
                    at = to;
                }
                Place::Same(block) => {
                    self.write_blocks(&bytes, at, block, len)?;
                    at += len;
                }
                Place::Unwritten(block) => {
                    self.write_blocks(&bytes, at, block, len)?;
                    let (removed, _) = self.take_out(inode, at, at + len)?;
                    if removed.iter().map(|run| u64::from(run.len)).sum::<u64>() != len {
                        return Err(corrupt(inode.place(), format!("file block {at} is mapped in two ways")));
                    }
                    self.map_run(inode, run_at(at, block, len, false))?;
                    at += len;
                }
                Place::InCluster(block) => {
                    self.write_blocks(&bytes, at, block, len)?;
                    self.map_run(inode, run_at(at, block, len, false))?;
                    at += len;
                }
            }
        }
        self.remember_tail(inode, end - 1)
    }

    /// What file block `at` and those up to `end` that are alike are written to.
    fn place_for(&self, inode: &Inode, at: u64, end: u64) -> Result<(Place, u64)> {
        let mapping = self.map_at(inode, at)?;
        let mut len = mapping.len.min(end - at);
        let ratio = u64::from(self.geo.cluster_ratio());
        if ratio == 1 {
            return Ok(match mapping.block {
                None => (Place::New, len),
                // Nothing reads them, whatever state they are from.
                Some(block) if mapping.unwritten => (Place::Unwritten(block), len),
                Some(block) => {
                    let own = self.is_own(block);
                    let alike = (1..len).take_while(|step| self.is_own(block + step) == own).count() as u64;
                    (if own { Place::Same(block) } else { Place::New }, 1 + alike)
                }
            });
        }
        // The blocks of a cluster stay together: if it may not be written over, all of it moves.
        len = len.min(ratio - at % ratio);
        let cluster = match mapping.block {
            Some(block) => Some(self.geo.cluster_start(block)),
            None => self.cluster_of(inode, at)?,
        };
        let Some(cluster) = cluster.filter(|cluster| self.is_own(*cluster)) else {
            return Ok((Place::New, (ratio - at % ratio).min(end - at)));
        };
        Ok(match mapping.block {
            None => (Place::InCluster(cluster + at % ratio), len),
            Some(block) if mapping.unwritten => (Place::Unwritten(block), len),
            Some(block) => (Place::Same(block), len),
        })
    }

    /// Writes file blocks `from..to` to new blocks, in place of those that they had.
    fn put_new(&mut self, inode: &mut Inode, bytes: &Bytes<'_>, from: u64, to: u64) -> Result<()> {
        let ratio = u64::from(self.geo.cluster_ratio());
        let mut at = from / ratio * ratio;
        let end = to.div_ceil(ratio) * ratio;
        let below = self.end_for(inode);
        let mut goal = self.goal_after(inode, at as FileBlock)?;
        while at < end {
            let want = (end - at).min(u64::from(self.geo.blocks_per_group)) as u32;
            let (block, len) = self.alloc_run_below(goal, want, below)?;
            let len = u64::from(len);
            // Of a cluster that is written in part, the rest comes along.
            let (lower, upper) = (from.max(at), to.min(at + len));
            let mut kept = self.copy_blocks(inode, (at, lower), block)?;
            kept.extend(self.copy_blocks(inode, (upper, at + len), block + (upper - at))?);
            self.unmap(inode, at, at + len)?;
            self.write_blocks(bytes, lower, block + (lower - at), upper - lower)?;
            kept.push(run_at(lower, block + (lower - at), upper - lower, false));
            kept.sort_by_key(|run| run.file_block);
            kept.into_iter().try_for_each(|run| self.map_run(inode, run))?;
            self.add_blocks(inode, len as i64)?;
            at += len;
            goal = block + len;
        }
        Ok(())
    }

    /// Copies what file blocks `from..to` hold to the blocks from `target` on. Returns the runs that map them there.
    fn copy_blocks(&mut self, inode: &Inode, (from, to): (u64, u64), target: BlockNr) -> Result<Vec<Run>> {
        let size = u64::from(self.geo.block_size);
        let mut runs = Vec::new();
        let mut at = from;
        while at < to.min(crate::map::MAP_END) {
            let mapping = self.map_at(inode, at)?;
            let len = mapping.len.min(to - at);
            if let Some(block) = mapping.block {
                let run = run_at(at, target + (at - from), len, mapping.unwritten);
                let mut done = 0;
                while done < len && !run.unwritten {
                    let mut bytes = vec![0; ((len - done).min(COPY_BLOCKS.into()) * size) as usize];
                    self.read_data(block + done, 0, &mut bytes)?;
                    self.device.write_fresh((run.block + done) * size, &bytes)?;
                    done += bytes.len() as u64 / size;
                }
                runs.push(run);
            }
            at += len;
        }
        Ok(runs)
    }

    /// Writes `len` of the blocks of `bytes`, from file block `at` on, to the blocks from `block` on.
    fn write_blocks(&mut self, bytes: &Bytes<'_>, at: u64, block: BlockNr, len: u64) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let device = &mut self.device;
        bytes.each(at, at + len, |file_block, piece| Ok(device.write_fresh((block + (file_block - at)) * size, piece)?))
    }

    /// Where file block `at` is; those past the last possible one are a hole.
    pub(super) fn map_at(&self, inode: &Inode, at: u64) -> Result<Mapping> {
        match FileBlock::try_from(at) {
            Ok(file_block) => self.map_block(inode, file_block),
            Err(_) => Ok(Mapping { block: None, len: u64::MAX - at, unwritten: false }),
        }
    }

    /// A block of a file as it reads: zero where it is not written, and behind the end of the file.
    fn block_contents(&self, inode: &Inode, at: u64) -> Result<Vec<u8>> {
        let mut block = vec![0; self.block_size()];
        let start = at * u64::from(self.geo.block_size);
        let len = inode.size().saturating_sub(start).min(block.len() as u64) as usize;
        let mapping = self.map_at(inode, at)?;
        if let Some(number) = mapping.block.filter(|_| !mapping.unwritten && len > 0) {
            self.read_data(number, 0, &mut block[..len])?;
        }
        Ok(block)
    }

    /// Makes the part of the last block behind the end of a file zero, before the file gets longer.
    pub(crate) fn clean_tail(&mut self, inode: &mut Inode) -> Result<()> {
        let block_size = u64::from(self.geo.block_size);
        let size = inode.size();
        let skip = size % block_size;
        let mapping = self.map_at(inode, size / block_size)?;
        let Some(block) = mapping.block.filter(|_| skip > 0 && !mapping.unwritten) else {
            return Ok(());
        };
        let mut tail = vec![0; (block_size - skip) as usize];
        self.read_data(block, skip, &mut tail)?;
        if tail.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        tail.fill(0);
        self.put(inode, size, &tail)
    }

    /// Makes bytes `from..to`, which are in one block, zero. A hole stays one.
    pub(super) fn zero(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<()> {
        let mapping = self.map_at(inode, from / u64::from(self.geo.block_size))?;
        if from < to && mapping.block.is_some() && !mapping.unwritten {
            self.put(inode, from, &vec![0; (to - from) as usize])?;
        }
        Ok(())
    }

    /// Remembers that this change wrote the cluster of file block `at`: more may follow.
    fn remember_tail(&mut self, inode: &Inode, at: u64) -> Result<()> {
        if !self.savepoints.is_empty()
            && let Some(block) = self.map_at(inode, at)?.block
        {
            self.own_tails.insert(self.geo.cluster_start(block));
        }
        Ok(())
    }
}

fn run_at(file_block: u64, block: BlockNr, len: u64, unwritten: bool) -> Run {
    // Both fit: they are in a file, whose blocks are numbered with 32 bits.
    Run { file_block: file_block as FileBlock, block, len: len as u32, unwritten }
}
