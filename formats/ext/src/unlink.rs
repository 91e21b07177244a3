//! Taking names away, and freeing what has none left.

use crate::dir::{Found, check_name};
use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::FileBlock;
use crate::inode::{Inode, flags};
use crate::map::MAP_END;
use nomount_block::WriteAt;
use std::collections::HashSet;

impl<D: WriteAt> Filesystem<D> {
    /// Takes a name away from what is not a directory. With the last one, everything that the inode has is freed.
    pub fn unlink(&mut self, dir: u32, name: &[u8]) -> Result<()> {
        let dir = self.dir_inode(dir)?;
        self.refuse_removing(&dir)?;
        let found = self.find_name(&dir, name)?;
        let inode = self.named_inode(&dir, &found)?;
        if inode.is_dir() {
            return Err(Error::IsDirectory);
        }
        self.refuse_renaming(&inode)?;
        self.changing(|fs| fs.remove_name(dir, name, &found, inode))
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, dir: u32, name: &[u8]) -> Result<()> {
        let dir = self.dir_inode(dir)?;
        self.refuse_removing(&dir)?;
        let found = self.find_name(&dir, name)?;
        let inode = self.named_inode(&dir, &found)?;
        if !inode.is_dir() {
            return Err(Error::NotDirectory);
        }
        self.refuse_renaming(&inode)?;
        if !self.is_empty_dir(&inode)? {
            return Err(Error::NotEmpty);
        }
        self.changing(|fs| fs.remove_name(dir, name, &found, inode))
    }

    /// Removes a name and, if it stands for a directory, everything below it first. Returns how many names went.
    ///
    /// Each removal is a change of its own. When one of them is refused (the immutable attribute) or fails, those
    /// before it stand: take a savepoint first to have all or nothing.
    pub fn remove_tree(&mut self, dir: u32, name: &[u8]) -> Result<u64> {
        let top = self.dir_inode(dir)?;
        self.refuse_removing(&top)?;
        let found = self.find_name(&top, name)?;
        if !self.named_inode(&top, &found)?.is_dir() {
            self.unlink(dir, name)?;
            return Ok(1);
        }
        let mut removed = 0;
        let mut way = vec![Step { dir, name: name.to_vec(), found, next: 0 }];
        let mut on_way = HashSet::from([dir, found.ino]);
        while let Some(step) = way.last_mut() {
            let here = self.dir_inode(step.found.ino)?;
            self.refuse_removing(&here)?;
            let blocks = if here.has_flag(flags::INLINE_DATA) { 1 } else { self.dir_blocks(&here)? };
            let mut child = None;
            while step.next < blocks && child.is_none() {
                child = self.first_name(&here, step.next)?;
                step.next += u32::from(child.is_none());
            }
            let Some((name, found)) = child else {
                // All blocks were seen to be empty.
                let Step { dir, name, found, .. } = way.pop().expect("the loop runs while there is one");
                on_way.remove(&found.ino);
                self.refuse_renaming(&here)?;
                let parent = self.dir_inode(dir)?;
                self.changing(|fs| fs.remove_name(parent, &name, &found, here))?;
                removed += 1;
                continue;
            };
            check_name(&name)?;
            let inode = self.named_inode(&here, &found)?;
            if !inode.is_dir() {
                self.refuse_renaming(&inode)?;
                self.changing(|fs| fs.remove_name(here, &name, &found, inode))?;
                removed += 1;
            } else if on_way.insert(found.ino) {
                way.push(Step { dir: here.ino(), name, found, next: 0 });
            } else {
                return Err(corrupt(here.place(), format!("contains directory {}, which contains it", found.ino)));
            }
        }
        Ok(removed)
    }

    /// Finds a name that is to go or to change.
    pub(crate) fn find_name(&self, dir: &Inode, name: &[u8]) -> Result<Found> {
        check_name(name)?;
        self.find_in(dir, name)?.ok_or(Error::NotFound)
    }

    /// Takes out a name and one link of its inode; a directory has no other.
    fn remove_name(&mut self, mut dir: Inode, name: &[u8], found: &Found, inode: Inode) -> Result<()> {
        self.remove_entry(&mut dir, name, found.place)?;
        if inode.is_dir() {
            self.uncount_subdir(&mut dir);
        }
        self.put_changed_dir(dir)?;
        self.drop_link(inode)
    }

    /// One link less for an inode whose name is gone. A directory has no other.
    pub(crate) fn drop_link(&mut self, mut inode: Inode) -> Result<()> {
        let links = inode.links();
        if inode.is_dir() || links <= 1 {
            return self.release_inode(inode);
        }
        inode.base_mut().i_links_count.set(links - 1);
        inode.set_ctime(self.options.now);
        self.put_inode(inode)
    }

    /// Frees an inode that has no name left, with everything it has: blocks, the map's blocks, attributes.
    pub(crate) fn release_inode(&mut self, mut inode: Inode) -> Result<()> {
        if self.has_map(&inode) {
            if inode.is_dir() {
                // Blocks of directories are staged: they must not be written over what may get their place.
                for run in self.load_map(&inode)?.runs {
                    (run.block..run.block + u64::from(run.len)).for_each(|block| self.state.staged.remove(block));
                }
            }
            self.unmap(&mut inode, 0, MAP_END)?;
        }
        self.release_xattrs(&mut inode)?;
        self.clear_inode(&inode)
    }

    /// Gives back the number of an inode that has nothing any more. The one place where an inode ends.
    pub(crate) fn clear_inode(&mut self, inode: &Inode) -> Result<()> {
        self.free_inode_number(inode.ino(), inode.is_dir())?;
        // A small time of deletion would read as a link of the orphan list: the inode is cleared as a whole instead.
        let mut cleared = Inode::new_zeroed(inode.ino(), self.geo.inode_size);
        cleared.base_mut().i_generation.set(inode.base().i_generation.get());
        self.put_inode(cleared)
    }
}

/// A directory that is being emptied.
struct Step {
    /// Where its name is, the name, and what was found there.
    dir: u32,
    name: Vec<u8>,
    found: Found,
    /// Blocks before this one are empty.
    next: FileBlock,
}
