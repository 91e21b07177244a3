//! Contents of files and targets of symbolic links.

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{FileType, Inode, flags};
use crate::map::{FileMap, Run};
use crate::xattr::is_inline_data;
use nomount_block::{ReadAt, WriteAt};

/// Longest target that fits the inode itself, without a NUL.
pub(crate) const FAST_SYMLINK: usize = 59;
/// Blocks written with one call, so that the buffer stays small whatever a file's size.
const WRITE_BLOCKS: u32 = 256;

impl<D: ReadAt> Filesystem<D> {
    /// Reads a regular file at byte `offset`; short only at its end. Returns how many bytes.
    pub fn read(&self, ino: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let inode = self.live_inode(ino)?;
        match inode.file_type() {
            Some(FileType::Regular) => self.read_inode(&inode, offset, buf),
            Some(FileType::Directory) => Err(Error::IsDirectory),
            _ => Err(Error::NotFile),
        }
    }

    pub(crate) fn read_inode(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = inode.size().saturating_sub(offset);
        let len = left.min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        if len == 0 {
            return Ok(0);
        }
        if inode.has_flag(flags::INLINE_DATA) {
            let (start, more) = self.inline_parts(inode)?;
            let all = [&start[..], &more].concat();
            let Some(part) = all.get(offset as usize..offset as usize + len) else {
                let detail = format!("{} bytes long, but {} are stored inline", inode.size(), all.len());
                return Err(corrupt(inode.place(), detail));
            };
            buf.copy_from_slice(part);
            return Ok(len);
        }
        if inode.has_flag(flags::ENCRYPT) {
            return Err(Error::Unsupported(format!("{} is encrypted", inode.place())));
        }
        let size = u64::from(self.geo.block_size);
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let skip = at % size;
            let file_block = FileBlock::try_from(at / size)
                .map_err(|_| corrupt(inode.place(), format!("size {} is beyond any map", inode.size())))?;
            let mapping = self.map_block(inode, file_block)?;
            let here = (mapping.len.saturating_mul(size) - skip).min((len - done) as u64) as usize;
            let out = &mut buf[done..done + here];
            match mapping.block.filter(|_| !mapping.unwritten) {
                Some(block) => self.read_data(block, skip, out)?,
                None => out.fill(0),
            }
            done += here;
        }
        Ok(len)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, ino: u32) -> Result<Vec<u8>> {
        let inode = self.live_inode(ino)?;
        if inode.file_type() != Some(FileType::Symlink) {
            return Err(Error::NotSymlink);
        }
        let len = inode.size();
        if len == 0 || len >= u64::from(self.geo.block_size).min(4096 + 1) {
            return Err(corrupt(inode.place(), format!("symbolic link's target has {len} bytes")));
        }
        if inode.is_fast_symlink(&self.geo) {
            return match inode.base().i_block.get(..len as usize) {
                Some(target) => Ok(target.to_vec()),
                None => Err(corrupt(inode.place(), format!("symbolic link's target has {len} bytes, 60 fit"))),
            };
        }
        let mut target = vec![0; len as usize];
        self.read_inode(&inode, 0, &mut target)?;
        Ok(target)
    }

    /// The two places of inline contents: the 60 bytes of the inode, and the value of `system.data`.
    pub(crate) fn inline_parts(&self, inode: &Inode) -> Result<([u8; 60], Vec<u8>)> {
        let found =
            self.inode_xattrs(inode)?.into_iter().find(|(entry, name, _)| is_inline_data(entry.e_name_index, name));
        match found {
            Some((_, _, value)) => Ok((inode.base().i_block, value)),
            None => Err(corrupt(inode.place(), "inline contents without system.data")),
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Where the blocks of a new file should go: the data area of its inode's group.
    pub(crate) fn goal_of(&self, ino: u32) -> BlockNr {
        let (group, _) = self.geo.group_of_inode(ino);
        self.geo.group_start(group)
    }

    /// Replaces the contents of a regular file. New contents go to new blocks; the old ones are freed.
    pub fn write_contents(&mut self, ino: u32, contents: &[u8]) -> Result<()> {
        let mut inode = self.file_for_change(ino)?;
        let mut map = self.load_map(&inode)?;
        self.changing(|fs| {
            fs.replace_tail(&mut inode, &mut map, 0, contents)?;
            fs.finish_write(inode, &map, contents.len() as u64)
        })
    }

    /// Adds to the end of a regular file. Its last block, if partly filled, is written anew.
    pub fn append(&mut self, ino: u32, contents: &[u8]) -> Result<()> {
        if contents.is_empty() {
            return Ok(());
        }
        let mut inode = self.file_for_change(ino)?;
        let size = inode.size();
        let kept = size - size % u64::from(self.geo.block_size);
        let mut tail = vec![0; (size - kept) as usize];
        self.read_inode(&inode, kept, &mut tail)?;
        tail.extend_from_slice(contents);
        let mut map = self.load_map(&inode)?;
        self.changing(|fs| {
            fs.replace_tail(&mut inode, &mut map, kept, &tail)?;
            fs.finish_write(inode, &map, kept + tail.len() as u64)
        })
    }

    fn file_for_change(&self, ino: u32) -> Result<Inode> {
        let inode = self.live_inode(ino)?;
        self.refuse_protected(&inode)?;
        match inode.file_type() {
            Some(FileType::Regular) => Ok(inode),
            Some(FileType::Directory) => Err(Error::IsDirectory),
            _ => Err(Error::NotFile),
        }
    }

    fn finish_write(&mut self, mut inode: Inode, map: &FileMap, size: u64) -> Result<()> {
        let goal = map.runs.first().map_or_else(|| self.goal_of(inode.ino()), |run| run.block);
        self.store_map(&mut inode, map, goal)?;
        self.need_large_file(size)?;
        inode.set_size(size);
        let now = self.options.now;
        inode.set_mtime(now);
        inode.set_ctime(now);
        self.put_inode(inode)
    }

    /// Frees everything from byte `from` on, a multiple of the block size, and puts `contents` there.
    pub(crate) fn replace_tail(
        &mut self,
        inode: &mut Inode,
        map: &mut FileMap,
        from: u64,
        contents: &[u8],
    ) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let end = from.saturating_add(contents.len() as u64);
        let max = self.max_file_size(inode);
        if end > max {
            return Err(Error::FileTooLarge { size: end, max });
        }
        for run in map.split_off(from / size) {
            self.free_blocks(run.block, run.len.into())?;
        }
        let mut goal = match map.runs.last() {
            Some(last) => last.block + u64::from(last.len),
            None => self.goal_of(inode.ino()),
        };
        let mut file_block = (from / size) as FileBlock;
        let mut rest = contents;
        while !rest.is_empty() {
            let want = (rest.len() as u64).div_ceil(size).min(u64::from(self.geo.blocks_per_group)) as u32;
            let (block, len) = self.alloc_run(goal, want)?;
            let bytes = rest.len().min((u64::from(len) * size) as usize);
            let (here, after) = rest.split_at(bytes);
            self.write_fresh_blocks(block, here)?;
            map.push(Run { file_block, block, len, unwritten: false })?;
            file_block += len;
            goal = block + u64::from(len);
            rest = after;
        }
        Ok(())
    }

    /// Writes contents to blocks that nothing committed uses, the last one filled up with zeroes.
    fn write_fresh_blocks(&mut self, block: BlockNr, contents: &[u8]) -> Result<()> {
        let size = self.block_size();
        let mut at = block * size as u64;
        for piece in contents.chunks(size * WRITE_BLOCKS as usize) {
            if piece.len() % size == 0 {
                self.device.write_fresh(at, piece)?;
            } else {
                let mut padded = piece.to_vec();
                padded.resize(piece.len().next_multiple_of(size), 0);
                self.device.write_fresh(at, &padded)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn max_file_size(&self, inode: &Inode) -> u64 {
        let size = u64::from(self.geo.block_size);
        if inode.has_flag(flags::EXTENTS) {
            return size * u64::from(u32::MAX);
        }
        let pointers = size / 4;
        let blocks = 12 + pointers + pointers * pointers + pointers * pointers * pointers;
        size * blocks.min(u64::from(u32::MAX))
    }
}
