//! Moving names.

use crate::dir::{Found, check_name};
use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode};
use nomount_block::WriteAt;

/// What a rename does, after it was found possible.
struct Move<'a> {
    from: Inode,
    name: &'a [u8],
    /// The directory of the new name, where that is another one.
    to: Option<Inode>,
    new_name: &'a [u8],
    inode: Inode,
    file_type: FileType,
    /// What has the new name so far.
    target: Option<(Found, Inode)>,
}

impl<D: WriteAt> Filesystem<D> {
    /// Moves a name, as rename(2) does: what has the new name is replaced, if it is of the same kind (and empty, for
    /// directories); two names of one inode stay as they are; a directory cannot go into itself.
    pub fn rename(&mut self, dir: u32, name: &[u8], new_dir: u32, new_name: &[u8]) -> Result<()> {
        let from = self.dir_inode(dir)?;
        let to = if new_dir == dir { None } else { Some(self.dir_inode(new_dir)?) };
        let into = to.as_ref().unwrap_or(&from);
        self.refuse_removing(&from)?;
        let found = self.find_name(&from, name)?;
        check_name(new_name)?;
        let over = self.find_in(into, new_name)?;
        let inode = self.named_inode(&from, &found)?;
        if over.is_some_and(|over| over.ino == found.ino) {
            return Ok(());
        }
        self.refuse_adding(into)?;
        self.refuse_renaming(&inode)?;
        self.refuse_other_project(into, &inode)?;
        let Some(file_type) = inode.file_type() else {
            return Err(corrupt(inode.place(), format!("mode is {:#o}", inode.mode())));
        };
        if let (true, Some(to)) = (inode.is_dir(), &to) {
            self.refuse_inside(inode.ino(), to)?;
        }
        let target = match over {
            Some(over) => {
                self.refuse_removing(into)?;
                let target = self.named_inode(into, &over)?;
                self.refuse_renaming(&target)?;
                match (inode.is_dir(), target.is_dir()) {
                    (true, false) => return Err(Error::NotDirectory),
                    (false, true) => return Err(Error::IsDirectory),
                    (true, true) if !self.is_empty_dir(&target)? => return Err(Error::NotEmpty),
                    _ => {}
                }
                Some((over, target))
            }
            None => {
                if let (true, Some(to)) = (inode.is_dir(), &to) {
                    self.check_subdirs(to)?;
                }
                None
            }
        };
        self.changing(|fs| fs.move_name(Move { from, name, to, new_name, inode, file_type, target }))
    }

    fn move_name(&mut self, change: Move<'_>) -> Result<()> {
        let Move { mut from, name, mut to, new_name, mut inode, file_type, target } = change;
        let ino = inode.ino();
        let into = to.as_mut().unwrap_or(&mut from);
        match &target {
            Some((over, _)) => self.point_entry(into, new_name, over.place, (ino, file_type))?,
            None => self.add_entry(into, new_name, ino, file_type)?,
        }
        if inode.is_dir() && to.is_some() {
            let parent = to.as_ref().map_or(from.ino(), Inode::ino);
            self.set_parent(&mut inode, parent)?;
        }
        // Adding may have moved entries about: where the old name is must be asked again.
        let found = self.find_name(&from, name)?;
        self.remove_entry(&mut from, name, found.place)?;
        if inode.is_dir() {
            self.uncount_subdir(&mut from);
            // A directory that is replaced gives its link to the one that takes its place.
            let into = to.as_mut().unwrap_or(&mut from);
            if target.is_none() {
                self.count_subdir(into);
            }
        }
        inode.set_ctime(self.options.now);
        self.put_inode(inode)?;
        self.put_changed_dir(from)?;
        if let Some(to) = to {
            self.put_changed_dir(to)?;
        }
        match target {
            Some((_, target)) => self.drop_link(target),
            None => Ok(()),
        }
    }
}
