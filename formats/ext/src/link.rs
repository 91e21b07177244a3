//! More names for a file.

use crate::dir::check_name;
use crate::error::{Error, Result};
use crate::fs::Filesystem;
use crate::names::LINK_MAX;
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Gives inode `ino` another name, in directory `dir`. Anything but a directory can have more than one name, up to
    /// 65,000.
    pub fn link(&mut self, ino: u32, dir: u32, name: &[u8]) -> Result<()> {
        let mut dir = self.dir_inode(dir)?;
        self.refuse_adding(&dir)?;
        check_name(name)?;
        let mut inode = self.live_inode(ino)?;
        let Some(file_type) = inode.file_type().filter(|_| !inode.is_dir()) else {
            return Err(Error::IsDirectory);
        };
        if ino < self.geo.first_ino {
            return Err(Error::Invalid(format!("inode {ino} is the filesystem's own")));
        }
        self.refuse_renaming(&inode)?;
        self.refuse_other_project(&dir, &inode)?;
        if self.lookup_in(&dir, name)?.is_some() {
            return Err(Error::Exists);
        }
        let links = inode.links();
        if links >= LINK_MAX {
            return Err(Error::TooManyLinks(LINK_MAX.into()));
        }
        self.changing(|fs| {
            inode.base_mut().i_links_count.set(links + 1);
            inode.set_ctime(fs.options.now);
            fs.put_inode(inode)?;
            fs.add_entry(&mut dir, name, ino, file_type)?;
            fs.put_changed_dir(dir)
        })
    }
}
