//! Giving attributes to what has just been made and cannot be opened: links, pipes, device nodes.

use super::{HostDir, through};
use crate::tree::FileKind;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timestamps, Uid, chmod, chownat, openat, utimensat};
use rustix::io::{Errno, Result};
use std::os::fd::OwnedFd;

/// Something that is held, whatever happens to its name.
#[derive(Debug)]
pub(crate) struct Made {
    fd: OwnedFd,
    mode: u32,
}

impl HostDir {
    /// Holds what was just made under `name`. Whoever else may write to the directory can have put something in its
    /// place, be it a link to a file or another name of one: what is of another kind, or has several names, is refused.
    pub(crate) fn made(&self, name: &[u8], kind: FileKind) -> Result<Made> {
        let fd = openat(self, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let facts = super::Facts::of_open(&fd)?;
        if facts.kind != kind || facts.links != 1 {
            return Err(Errno::STALE);
        }
        Ok(Made { fd, mode: facts.mode })
    }
}

impl Made {
    /// Gives it its owner.
    pub(crate) fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<()> {
        chownat(&self.fd, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    /// Gives it its mode. Not for links, which have none.
    pub(crate) fn chmod(&self, mode: u32) -> Result<()> {
        if mode == self.mode { Ok(()) } else { chmod(through(&self.fd), Mode::from_raw_mode(mode)) }
    }

    /// Gives it its times, where the host can: Linux before 5.8 cannot.
    pub(crate) fn set_times(&self, times: &Timestamps) -> Result<()> {
        match utimensat(&self.fd, "", times, AtFlags::EMPTY_PATH) {
            Err(Errno::INVAL) => Ok(()),
            set => set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, mknodat};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn z4_what_took_the_place_of_a_node_keeps_its_attributes() {
        let folder = nomount_kit::scratch::folder();
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "x").unwrap();
        std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o600)).unwrap();
        let dir = HostDir::open(folder.path()).unwrap();
        mknodat(&dir, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        let made = dir.made(b"pipe", FileKind::Fifo).unwrap();
        made.chmod(0o640).unwrap();
        assert_eq!(dir.facts(b"pipe").unwrap().mode, 0o640);
        // It was held before its name was given to a link: nothing reaches what that leads to.
        std::fs::remove_file(folder.path().join("pipe")).unwrap();
        std::os::unix::fs::symlink("outside", folder.path().join("pipe")).unwrap();
        made.chmod(0o666).unwrap();
        assert_eq!(dir.facts(b"outside").unwrap().mode, 0o600);
        assert!(dir.made(b"pipe", FileKind::Fifo).is_err());
        // Another name of a file.
        std::fs::hard_link(&outside, folder.path().join("second")).unwrap();
        assert!(dir.made(b"second", FileKind::File).is_err());
    }
}
