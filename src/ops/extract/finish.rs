//! What can be done, and told, only when everything is made.

use super::make::{facts, set_xattrs};
use super::{Extractor, Pending};
use crate::error::Result;
use crate::ops::host_dir::{Facts, host_error};
use crate::tree::{FileKind, GuestPath};
use rustix::io::Errno;

impl Extractor<'_> {
    /// Tells of the files with several names, and gives directories their attributes, the innermost first: a mode may
    /// forbid to enter one.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut parent = (GuestPath::root(), None);
        for Pending { path, stat, xattrs } in std::mem::take(&mut self.linked) {
            let (Some(folder), Some(name)) = (path.parent(), path.name()) else { continue };
            if parent.1.is_none() || parent.0 != folder {
                let dir = self.top.descend(&folder).map_err(|e| host_error("open the directory", &folder, e))?;
                parent = (folder, Some(dir));
            }
            let Some(dir) = &parent.1 else { continue };
            let host = match dir.facts(name) {
                Err(Errno::NOENT) if matches!(stat.kind, FileKind::CharDevice | FileKind::BlockDevice) => None,
                _ => Some(facts(dir, name, &path)?),
            };
            self.tell(&path, &stat, host, &xattrs)?;
        }
        drop(parent);
        while let Some(Pending { path, stat, mut xattrs }) = self.dirs.pop() {
            let opened = self.top.descend(&path).and_then(|dir| {
                // Only the directory itself is needed: those on the way get their attributes later.
                rustix::io::dup(&dir)
            });
            let dir = opened.map_err(|e| host_error("open the directory", &path, e))?;
            set_xattrs(&dir, &mut xattrs);
            self.done.xattrs_recorded += xattrs.len() as u64;
            self.give_open(&dir, &path, &stat)?;
            let host = Facts::of_open(&dir).map_err(|e| host_error("read what was made", &path, e))?;
            self.tell(&path, &stat, Some(host), &xattrs)?;
        }
        Ok(())
    }
}
