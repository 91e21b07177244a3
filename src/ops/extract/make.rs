//! Making files, links and nodes.

use super::{Extractor, Pending};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt;
use crate::ops::host_dir::{Facts, HostDir, host_error, host_time};
use crate::tree::{FileKind, GuestPath, Stat, Xattr};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags, fchmod, fchown, fsetxattr, ftruncate, futimens,
    linkat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Bytes of a file that are held at once.
const BUFFER: u64 = 1 << 20;
/// Permission bits of programs that run as somebody else.
pub(super) const SET_ID: u32 = 0o6000;

/// The error for something that could not be made. A name that is taken was made by the image itself: the directory
/// was empty.
pub(super) fn not_made(what: &str, path: &GuestPath, error: Errno) -> Error {
    match error {
        Errno::EXIST => {
            Error::new(ErrorKind::Corrupt, "two entries of one name in the directory").at_path(path.to_bytes())
        }
        error => host_error(&format!("make the {what}"), path, error),
    }
}

/// Both times of a file.
pub(super) fn times(stat: &Stat) -> Timestamps {
    Timestamps { last_access: host_time(stat.atime), last_modification: host_time(stat.mtime) }
}

impl Extractor<'_> {
    pub(super) fn make_dir(&mut self, dir: &HostDir, name: &[u8], path: &GuestPath) -> Result<HostDir> {
        let _step = interrupt::step();
        let made = mkdirat(dir, name, Mode::RWXU).and_then(|()| dir.subdir(name));
        made.map_err(|e| not_made("directory", path, e))
    }

    /// Makes anything but a directory.
    pub(super) fn make(&mut self, dir: &HostDir, name: &[u8], path: GuestPath, stat: Stat) -> Result<()> {
        if stat.links > 1
            && let Some(first) = self.first.get(&stat.id())
        {
            let first = &self.linked[*first].path;
            self.make_link(first, dir, name, &path)?;
            self.linked.push(Pending { path, stat, xattrs: Vec::new() });
            return Ok(());
        }
        let mut xattrs = self.tree.xattrs(&path)?;
        let host = match stat.kind {
            FileKind::File => {
                self.make_file(dir, name, &path, &stat, &mut xattrs)?;
                true
            }
            FileKind::Symlink => {
                let target = self.tree.read_link(&path)?;
                if target.contains(&0) {
                    let message = "the target of a symbolic link contains a NUL byte";
                    return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
                }
                let _step = interrupt::step();
                symlinkat(&*target, dir, name).map_err(|e| not_made("symbolic link", &path, e))?;
                self.give(dir, name, &path, &stat)?;
                true
            }
            _ => self.make_node(dir, name, &path, &stat)?,
        };
        self.done.xattrs_recorded += xattrs.len() as u64;
        if stat.links > 1 {
            self.first.insert(stat.id(), self.linked.len());
            self.linked.push(Pending { path, stat, xattrs });
            return Ok(());
        }
        let host = if host { Some(facts(dir, name, &path)?) } else { None };
        self.tell(&path, &stat, host, &xattrs)
    }

    fn make_link(&self, first: &GuestPath, dir: &HostDir, name: &[u8], path: &GuestPath) -> Result<()> {
        let (Some(parent), Some(old)) = (first.parent(), first.name()) else { return Ok(()) };
        let from = self.top.descend(&parent).map_err(|e| not_made("hard link", path, e))?;
        let _step = interrupt::step();
        match linkat(&from, old, dir, name, AtFlags::empty()) {
            // A device that was only recorded has no first name here.
            Err(Errno::NOENT) => Ok(()),
            done => done.map_err(|e| not_made("hard link", path, e)),
        }
    }

    fn make_file(
        &mut self,
        dir: &HostDir,
        name: &[u8],
        path: &GuestPath,
        stat: &Stat,
        xattrs: &mut Vec<Xattr>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let step = interrupt::step();
        let made = openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(|e| not_made("file", path, e))?;
        // One that fills a file holds nobody up who wants the process to stop.
        drop(step);
        let file = File::from(made);
        for stretch in self.tree.data(path)? {
            self.budget.bytes(stretch.end - stretch.start, path)?;
            let mut at = stretch.start;
            while at < stretch.end {
                self.buffer.resize((stretch.end - at).min(BUFFER) as usize, 0);
                let read = self.tree.read_at(path, at, &mut self.buffer)?;
                if read == 0 {
                    break;
                }
                let failed = |e: std::io::Error| {
                    let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
                    host_error("write the file", path, errno)
                };
                file.write_all_at(&self.buffer[..read], at).map_err(failed)?;
                at += read as u64;
                self.done.bytes += read as u64;
            }
        }
        ftruncate(&file, stat.size)
            .map_err(|e| host_error(&format!("give {} bytes to the file", stat.size), path, e))?;
        set_xattrs(&file, xattrs);
        self.give_open(&file, path, stat)
    }

    fn make_node(&mut self, dir: &HostDir, name: &[u8], path: &GuestPath, stat: &Stat) -> Result<bool> {
        let (kind, device) = match stat.kind {
            FileKind::Fifo => (FileType::Fifo, 0),
            FileKind::Socket => (FileType::Socket, 0),
            _ if !self.how.devices => return Ok(false),
            kind => {
                let (major, minor) = stat.device.unwrap_or_default();
                let block = kind == FileKind::BlockDevice;
                (if block { FileType::BlockDevice } else { FileType::CharacterDevice }, makedev(major, minor))
            }
        };
        let _step = interrupt::step();
        match mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device) {
            Err(Errno::PERM) if stat.device.is_some() => return Ok(false),
            made => made.map_err(|e| not_made(stat.kind.noun(), path, e))?,
        }
        self.give(dir, name, path, stat)?;
        Ok(true)
    }

    /// Gives owner, mode and times to something that cannot be opened.
    fn give(&mut self, dir: &HostDir, name: &[u8], path: &GuestPath, stat: &Stat) -> Result<()> {
        let failed = |e| host_error("set the attributes", path, e);
        let made = dir.made(name, stat.kind).map_err(failed)?;
        let now = dir.facts(name).map_err(failed)?;
        self.owner(&now, stat, |uid, gid| made.chown(Some(uid), Some(gid)));
        if stat.kind != FileKind::Symlink {
            made.chmod(stat.mode).map_err(failed)?;
        }
        made.set_times(&times(stat)).map_err(failed)
    }

    /// Gives owner, mode and times to an open file or directory.
    pub(super) fn give_open(&mut self, open: impl AsFd, path: &GuestPath, stat: &Stat) -> Result<()> {
        let failed = |e| host_error("set the attributes", path, e);
        let now = Facts::of_open(&open).map_err(failed)?;
        self.owner(&now, stat, |uid, gid| fchown(&open, Some(uid), Some(gid)));
        let mut mode = stat.mode;
        if stat.kind == FileKind::File && !self.how.set_id && mode & SET_ID != 0 {
            mode &= !SET_ID;
            self.done.set_id_recorded += 1;
        }
        fchmod(&open, Mode::from_raw_mode(mode)).map_err(failed)?;
        futimens(&open, &times(stat)).map_err(failed)
    }

    /// Gives it its owner on the host, where there is one and the caller may.
    fn owner(&mut self, now: &Facts, stat: &Stat, chown: impl FnOnce(Uid, Gid) -> rustix::io::Result<()>) {
        let wanted = (self.how.uids.to_host(stat.uid), self.how.gids.to_host(stat.gid));
        let given = match wanted {
            (Some(uid), Some(gid)) if (uid, gid) == (now.uid, now.gid) => true,
            (Some(uid), Some(gid)) => chown(Uid::from_raw(uid), Gid::from_raw(gid)).is_ok(),
            _ => false,
        };
        self.done.owners_recorded += u64::from(!given);
    }
}

/// Sets the attributes that the host takes from a program and leaves the others in the list.
pub(super) fn set_xattrs(open: impl AsFd, xattrs: &mut Vec<Xattr>) {
    xattrs.retain(|(name, value)| {
        let set = name.starts_with(b"user.") && fsetxattr(&open, &**name, value, XattrFlags::CREATE).is_ok();
        !set
    });
}

pub(super) fn facts(dir: &HostDir, name: &[u8], path: &GuestPath) -> Result<Facts> {
    dir.facts(name).map_err(|e| host_error("read what was made", path, e))
}
