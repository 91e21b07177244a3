//! What something new takes from its directory's default access control list.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode};
use crate::xattr::acl_form::Acl;
use crate::xattr::name::{ACL_ACCESS, ACL_DEFAULT};
use nomount_block::{ReadAt, WriteAt};

/// Lists for something new, in the form on disk.
#[derive(Debug, Default)]
pub(crate) struct NewLists {
    access: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
}

impl<D: ReadAt> Filesystem<D> {
    /// The permission bits and lists of something new that is asked for with `mode`. Without a default list in the
    /// directory, `mode` is used as it is, or 0644 (0755 for a directory): as under a umask of 022. With one, of the
    /// bits asked for (0666 or 0777) those stay that the list allows, and the umask counts for nothing.
    pub(crate) fn inherit_lists(&self, dir: &Inode, file_type: FileType, mode: Option<u16>) -> Result<(u16, NewLists)> {
        let is_dir = file_type == FileType::Directory;
        if file_type == FileType::Symlink {
            return Ok((mode.unwrap_or(0o777), NewLists::default()));
        }
        let Some(stored) = self.stored_xattr(dir, ACL_DEFAULT, b"")? else {
            return Ok((mode.unwrap_or(if is_dir { 0o755 } else { 0o644 }), NewLists::default()));
        };
        let list = Acl::from_disk(&stored).map_err(|error| crate::error::corrupt(dir.place(), error.to_string()))?;
        let asked = mode.unwrap_or(if is_dir { 0o777 } else { 0o666 });
        let mode = asked & (!0o777 | list.mode().0);
        let access = list.with_mode(mode);
        let (_, plain) = access.mode();
        let access = if plain { None } else { Some(access.to_disk()) };
        Ok((mode, NewLists { access, default: is_dir.then_some(stored) }))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Gives a new inode its lists. The inode is changed, not stored.
    pub(crate) fn give_lists(&mut self, inode: &mut Inode, lists: NewLists) -> Result<()> {
        for (index, list) in [(ACL_ACCESS, lists.access), (ACL_DEFAULT, lists.default)] {
            if list.is_some() {
                let plan = self.plan_xattr(inode, index, b"", list)?;
                self.apply_xattr(inode, plan)?;
            }
        }
        Ok(())
    }
}
