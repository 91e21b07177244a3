//! What an inode lets happen to it, a directory to its names, and how directories count their subdirectories. Each
//! check is one that a kernel makes of root, too.

use crate::dir::Found;
use crate::error::{Error, Result, corrupt};
use crate::features::{compat, ro_compat};
use crate::fs::Filesystem;
use crate::inode::{Inode, ROOT_INO, flags};
use nomount_block::{ReadAt, WriteAt};

/// The most links an inode counts (EXT4_LINK_MAX).
pub(crate) const LINK_MAX: u16 = 65000;
/// The most steps from a directory up to the root: no path is that long.
const MAX_DEPTH: u32 = 1 << 20;

/// Fails, naming the flag, when an inode has one of those listed.
fn refuse(inode: &Inode, list: &[(u32, &str)]) -> Result<()> {
    match list.iter().find(|(flag, _)| inode.has_flag(*flag)) {
        Some((_, why)) => Err(Error::ReadOnly(format!("{} {why}", inode.place()))),
        None => Ok(()),
    }
}

const IMMUTABLE: (u32, &str) = (flags::IMMUTABLE, "has the immutable attribute (chattr +i)");
const APPEND: (u32, &str) = (flags::APPEND, "has the append-only attribute (chattr +a)");
const ENCRYPT: (u32, &str) = (flags::ENCRYPT, "is an encrypted directory: a new name cannot be encrypted");
const CASEFOLD: (u32, &str) = (flags::CASEFOLD, "is a case-folded directory, whose hash is not known here");

impl<D: ReadAt> Filesystem<D> {
    pub(crate) fn refuse_reading_only(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(Error::ReadOnly("it was opened for reading".into())) }
    }

    /// Fails for an inode whose attributes a kernel would not let anyone change.
    pub(crate) fn refuse_protected(&self, inode: &Inode) -> Result<()> {
        self.refuse_reading_only()?;
        refuse(inode, &[IMMUTABLE, APPEND])
    }

    /// Fails for a file whose contents a kernel would not let anyone change, or not without a key.
    pub(crate) fn refuse_writing(&self, inode: &Inode) -> Result<()> {
        self.refuse_reading_only()?;
        let encrypted = (flags::ENCRYPT, "is encrypted");
        refuse(inode, &[IMMUTABLE, APPEND, (flags::VERITY, "is protected by fs-verity"), encrypted])
    }

    /// Fails where a directory takes no new names.
    pub(crate) fn refuse_adding(&self, dir: &Inode) -> Result<()> {
        self.refuse_reading_only()?;
        refuse(dir, &[IMMUTABLE, ENCRYPT, CASEFOLD])
    }

    /// Fails where a directory does not give up names.
    pub(crate) fn refuse_removing(&self, dir: &Inode) -> Result<()> {
        self.refuse_reading_only()?;
        refuse(dir, &[IMMUTABLE, APPEND, CASEFOLD])
    }

    /// Fails where an inode keeps the names it has, and gets no others.
    pub(crate) fn refuse_renaming(&self, inode: &Inode) -> Result<()> {
        refuse(inode, &[IMMUTABLE, APPEND])
    }

    /// Fails for a directory whose names all belong to one project, and an inode of another.
    pub(crate) fn refuse_other_project(&self, dir: &Inode, inode: &Inode) -> Result<()> {
        let (ours, theirs) = (dir.project(), inode.project());
        if dir.has_flag(flags::PROJINHERIT) && ours != theirs {
            let detail = format!("{} is of project {theirs}, {} takes only project {ours}", inode.place(), dir.place());
            return Err(Error::OtherProject(detail));
        }
        Ok(())
    }

    /// The inode that a found name stands for. Inodes that the filesystem keeps for itself have no names.
    pub(crate) fn named_inode(&self, dir: &Inode, found: &Found) -> Result<Inode> {
        let (ino, sb) = (found.ino, &self.state.sb);
        let orphan_file = self.geo.features.compat(compat::ORPHAN_FILE) && ino == sb.s_orphan_file_inum.get();
        if ino < self.geo.first_ino || orphan_file || ino == dir.ino() {
            return Err(corrupt(dir.place(), format!("one of its names stands for inode {ino}")));
        }
        self.live_inode(ino)
    }

    /// Fails when a directory cannot count one more subdirectory.
    pub(crate) fn check_subdirs(&self, dir: &Inode) -> Result<()> {
        let counts_on = self.geo.features.ro_compat(ro_compat::DIR_NLINK);
        if dir.links() >= LINK_MAX && !(counts_on && dir.has_flag(flags::INDEX)) {
            return Err(Error::TooManyLinks(LINK_MAX.into()));
        }
        Ok(())
    }

    /// Fails when directory `dir` lies inside `tree`, or is it.
    pub(crate) fn refuse_inside(&self, tree: u32, dir: &Inode) -> Result<()> {
        let mut here = dir.clone();
        for _ in 0..MAX_DEPTH {
            if here.ino() == tree {
                return Err(Error::Invalid("a directory cannot be moved into itself".into()));
            }
            if here.ino() == ROOT_INO {
                return Ok(());
            }
            here = self.dir_inode(self.parent_of(&here)?)?;
        }
        Err(corrupt(dir.place(), format!("its .. does not lead to the root in {MAX_DEPTH} steps")))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// One more link for a new subdirectory's `..`; beyond the limit the count becomes 1, which means "many".
    pub(crate) fn count_subdir(&self, dir: &mut Inode) {
        let links = dir.links();
        if links != 1 {
            let next = if links >= LINK_MAX { 1 } else { links + 1 };
            dir.base_mut().i_links_count.set(next);
        }
    }

    /// One link less. A count of "many" stays.
    pub(crate) fn uncount_subdir(&self, dir: &mut Inode) {
        let links = dir.links();
        if links > 2 {
            dir.base_mut().i_links_count.set(links - 1);
        }
    }

    /// Stores a directory whose names have changed.
    pub(crate) fn put_changed_dir(&mut self, mut dir: Inode) -> Result<()> {
        let now = self.options.now;
        dir.set_mtime(now);
        dir.set_ctime(now);
        self.put_inode(dir)
    }
}
