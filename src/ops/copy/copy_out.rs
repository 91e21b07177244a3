//! Copying what a source tells into a directory of the host.
//!
//! Whatever an image says, nothing outside the directory is read, written or linked to: everything is reached through
//! descriptors without following links, files get their name when they are complete, and a name that is taken by a link
//! is taken from it.

use super::{Copied, Keep};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::{self, Pending, Unfinished};
use crate::ops::Progress;
use crate::ops::host_dir::{Facts, HostDir, host_error, host_time, remove};
use crate::ops::populate::{Contents, Item, Meta, Node, Source, clean};
use crate::tree::{FileKind, GuestPath, Xattr};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags, fchmod, fchown, fsetxattr, ftruncate, futimens,
    linkat, makedev, mkdirat, mknodat, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a file that are held at once.
const BUFFER: usize = 1 << 20;
/// Names that are tried for a file that is not complete yet.
const MAX_TRIES: u32 = 1000;
/// Permission bits of programs that run as somebody else.
const SET_ID: u32 = 0o6000;

/// How to copy to the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutOptions {
    /// Attributes that come from the guest. Without them copies belong to the caller, have the mode without set-id and
    /// sticky bits, and are new.
    pub keep: Keep,
    /// Make device nodes, where the caller may.
    pub devices: bool,
}

/// What the host could not be given.
#[derive(Debug, Default)]
struct Lost {
    owners: u64,
    xattrs: u64,
    devices: u64,
    sockets: u64,
}

/// A directory that this call made in one that was there.
struct New {
    path: GuestPath,
    _pending: Pending,
}

struct Out<'a> {
    top: HostDir,
    /// Where that is.
    real: PathBuf,
    /// As the user knows it.
    dir: &'a Path,
    how: OutOptions,
    /// The directory of the last entry.
    parent: Option<(GuestPath, HostDir)>,
    /// Directories that were made: their modes may forbid to enter them.
    later: Vec<(GuestPath, Meta)>,
    /// The outermost of them, which go again when something fails or the process is told to stop.
    new: Vec<New>,
    buffer: Vec<u8>,
    done: Copied,
    lost: Lost,
}

/// Makes everything that `source` tells in the directory `dir` of the host: the entry with an empty path under `name`,
/// or where there is none as `dir` itself, which is left as it is. When it fails, directories that it made are removed
/// with what is in them; files that it completed in others stay.
pub fn copy_out(
    source: &mut dyn Source,
    dir: &Path,
    name: Option<&[u8]>,
    how: OutOptions,
    progress: &mut dyn Progress,
) -> Result<Copied> {
    let real = dir.canonicalize().map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Error::new(kind, format!("cannot open the directory {}", dir.display())).caused_by(error)
    })?;
    let top = HostDir::open(&real)?;
    let (buffer, done) = (vec![0; BUFFER], Copied::default());
    let (later, new, lost) = (Vec::new(), Vec::new(), Lost::default());
    let mut out = Out { top, real, dir, how, parent: None, later, new, buffer, done, lost };
    let mut notes = Vec::new();
    let place = |path: &[u8]| -> Result<GuestPath> {
        let mut place = GuestPath::root();
        let path = clean(path)?;
        for part in name.into_iter().chain(path.split(|byte| *byte == b'/')).filter(|part| !part.is_empty()) {
            place = place.join(part);
        }
        Ok(place)
    };
    let copied = source.each(&mut notes, &mut |item| {
        let to = place(item.path)?;
        progress.at(&to.to_bytes());
        let first = match &item.node {
            Node::HardLink(target) => Some(place(target)?),
            _ => None,
        };
        out.entry(&to, first.as_ref(), item, progress)
    });
    let finished = copied.and_then(|()| out.finish_dirs());
    if let Err(error) = finished {
        return Err(out.take_back(error));
    }
    out.done.notes.extend(notes);
    out.tell_lost();
    Ok(out.done)
}

impl Out<'_> {
    fn failed<'e>(&'e self, what: &'e str, to: &'e GuestPath) -> impl Fn(Errno) -> Error + 'e {
        let path = self.shown(to);
        move |errno| {
            let kind = match errno {
                Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorKind::NoSpace,
                Errno::NOTDIR | Errno::LOOP => ErrorKind::NotADirectory,
                Errno::ISDIR => ErrorKind::IsADirectory,
                Errno::NOENT => ErrorKind::NotFound,
                Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Refused,
                _ => ErrorKind::Io,
            };
            let message = format!("cannot {what} {} on the host", path.as_os_str().as_bytes().escape_ascii());
            Error::new(kind, message).caused_by(std::io::Error::from(errno))
        }
    }

    /// The path as the user knows it.
    fn shown(&self, to: &GuestPath) -> PathBuf {
        to.components().fold(self.dir.to_owned(), |path, name| path.join(std::ffi::OsStr::from_bytes(name)))
    }

    fn entry(
        &mut self,
        to: &GuestPath,
        first: Option<&GuestPath>,
        item: Item<'_>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.done.entries += 1;
        let (Some(parent), Some(name)) = (to.parent(), to.name()) else {
            self.done.directories += 1;
            return match item.node {
                Node::Dir => Ok(()),
                _ => Err(Error::new(ErrorKind::NotADirectory, format!("{} is a directory", self.dir.display()))),
            };
        };
        // One that fills a file holds nobody up who wants the process to stop.
        let _step = (!matches!(item.node, Node::File(..))).then(interrupt::step);
        let dir = match self.parent.take() {
            Some((path, dir)) if path == parent => dir,
            _ => self.top.descend(&parent).map_err(self.failed("enter the directory of", to))?,
        };
        let meta = &item.meta;
        match item.node {
            Node::Dir => self.make_dir(&dir, name, to, item.meta)?,
            Node::File(size, contents) => self.make_file(&dir, name, to, meta, (size, contents), progress)?,
            Node::HardLink(_) => self.make_link(first.unwrap_or(to), &dir, name, to)?,
            Node::Symlink(target) => {
                self.give_way(&dir, name, to)?;
                symlinkat(target, &dir, name).map_err(self.failed("make the symbolic link", to))?;
                self.give(&dir, name, to, meta, FileKind::Symlink)?;
            }
            Node::Fifo => self.make_node(&dir, name, to, meta, (FileType::Fifo, 0))?,
            Node::CharDevice(major, minor) => {
                self.make_node(&dir, name, to, meta, (FileType::CharacterDevice, makedev(major, minor)))?;
            }
            Node::BlockDevice(major, minor) => {
                self.make_node(&dir, name, to, meta, (FileType::BlockDevice, makedev(major, minor)))?;
            }
            Node::Socket => self.lost.sockets += 1,
        }
        self.parent = Some((parent, dir));
        Ok(())
    }

    fn make_dir(&mut self, dir: &HostDir, name: &[u8], to: &GuestPath, meta: Meta) -> Result<()> {
        self.done.directories += 1;
        match mkdirat(dir, name, Mode::RWXU) {
            Ok(()) => {
                self.later.push((to.clone(), meta));
                // Depth first: what is below the last one comes before the next.
                if !self.new.last().is_some_and(|last| to.is_below(&last.path)) {
                    let (real, path) = (self.real.clone(), to.clone());
                    let take_back = move || {
                        // Nobody is left to hear of one that stays.
                        let _ = HostDir::open(&real).and_then(|top| remove_at(&top, &path));
                    };
                    self.new.push(New { path: to.clone(), _pending: Pending::new(take_back) });
                }
            }
            Err(Errno::EXIST) => {
                // It is filled and stays as it is; a link to one is none.
                dir.subdir(name).map_err(self.failed("enter", to))?;
            }
            Err(errno) => return Err(self.failed("make the directory", to)(errno)),
        }
        Ok(())
    }

    fn make_file(
        &mut self,
        dir: &HostDir,
        name: &[u8],
        to: &GuestPath,
        meta: &Meta,
        (size, contents): (u64, &mut dyn Contents),
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let step = interrupt::step();
        let (temporary, unfinished, file) = self.temporary(dir, to)?;
        drop(step);
        self.fill(&file, to, size, contents, progress)?;
        let _step = interrupt::step();
        self.give_open(&file, to, meta)?;
        renameat(dir, &*temporary, dir, name).map_err(self.failed("write", to))?;
        unfinished.finish();
        Ok(())
    }

    /// A new file beside the one that it will be, and its name.
    fn temporary(&self, dir: &HostDir, to: &GuestPath) -> Result<(Vec<u8>, Unfinished, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut last = Errno::EXIST;
        for number in 0..MAX_TRIES {
            let name = format!(".nomount-{}-{number}", std::process::id());
            let path = self.shown(to).with_file_name(&name);
            let make = |_: &Path| Ok(openat(dir, &*name, flags, Mode::RUSR | Mode::WUSR)?);
            match Unfinished::make(&path, make) {
                Ok((unfinished, file)) => return Ok((name.into_bytes(), unfinished, File::from(file))),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    last = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    break;
                }
            }
        }
        Err(self.failed("write", to)(last))
    }

    fn fill(
        &mut self,
        file: &File,
        to: &GuestPath,
        size: u64,
        contents: &mut dyn Contents,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        while let Some((offset, len)) = contents.next_data(&mut self.buffer)? {
            let written = file.write_all_at(&self.buffer[..len], offset);
            written.map_err(|error| self.failed("write", to)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            self.done.bytes += len as u64;
            progress.add(len as u64);
        }
        ftruncate(file, size).map_err(self.failed("write", to))
    }

    fn make_link(&mut self, first: &GuestPath, dir: &HostDir, name: &[u8], to: &GuestPath) -> Result<()> {
        let (Some(parent), Some(old)) = (first.parent(), first.name()) else { return Ok(()) };
        let from = self.top.descend(&parent).map_err(self.failed("make the hard link", to))?;
        self.give_way(dir, name, to)?;
        match linkat(&from, old, dir, name, AtFlags::empty()) {
            // A device that was left out has no first name here.
            Err(Errno::NOENT) => Ok(()),
            made => {
                self.done.hard_links += 1;
                made.map_err(self.failed("make the hard link", to))
            }
        }
    }

    fn make_node(
        &mut self,
        dir: &HostDir,
        name: &[u8],
        to: &GuestPath,
        meta: &Meta,
        (kind, device): (FileType, u64),
    ) -> Result<()> {
        let is_device = kind != FileType::Fifo;
        if is_device && !self.how.devices {
            self.lost.devices += 1;
            return Ok(());
        }
        self.give_way(dir, name, to)?;
        let mode = Mode::from_raw_mode(self.mode(meta, false));
        match mknodat(dir, name, kind, mode, device) {
            Err(Errno::PERM) if is_device => {
                self.lost.devices += 1;
                return Ok(());
            }
            made => made.map_err(self.failed("make", to))?,
        }
        let kind = match kind {
            FileType::Fifo => FileKind::Fifo,
            FileType::CharacterDevice => FileKind::CharDevice,
            _ => FileKind::BlockDevice,
        };
        self.give(dir, name, to, meta, kind)
    }

    /// Removes what has the name, but for a directory.
    fn give_way(&self, dir: &HostDir, name: &[u8], to: &GuestPath) -> Result<()> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("replace", to)(errno)),
        }
    }

    fn mode(&self, meta: &Meta, owned: bool) -> u32 {
        let mode = u32::from(meta.mode);
        match (self.how.keep.mode, owned) {
            (true, true) => mode,
            // Nobody else's program may run as the one who copies.
            (true, false) => mode & !SET_ID,
            (false, _) => mode & 0o777,
        }
    }

    /// Gives owner, mode and times to something that cannot be opened.
    fn give(&mut self, dir: &HostDir, name: &[u8], to: &GuestPath, meta: &Meta, kind: FileKind) -> Result<()> {
        let made = dir.made(name, kind).map_err(self.failed("set the attributes of", to))?;
        if self.how.keep.ownership {
            let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
            self.lost.owners += u64::from(made.chown(uid, gid).is_err());
        }
        if kind != FileKind::Symlink {
            // Whatever the caller's umask is.
            made.chmod(self.mode(meta, false)).map_err(self.failed("set the mode of", to))?;
        }
        if self.how.keep.timestamps {
            // Not every filesystem has times of links.
            let _ = made.set_times(&times(meta));
        }
        Ok(())
    }

    /// Gives owner, attributes, mode and times to an open file or directory.
    fn give_open(&mut self, open: impl AsFd, to: &GuestPath, meta: &Meta) -> Result<()> {
        let now = Facts::of_open(&open).map_err(self.failed("look at", to))?;
        let mut owned = (now.uid, now.gid) == (meta.uid, meta.gid);
        if self.how.keep.ownership && !owned {
            owned = fchown(&open, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))).is_ok();
            self.lost.owners += u64::from(!owned);
        }
        let owned = owned && self.how.keep.ownership;
        if self.how.keep.xattrs {
            // Capabilities of a program are what set-id bits are.
            let given = |(name, value): &&Xattr| {
                (owned || name != b"security.capability")
                    && fsetxattr(&open, &**name, value, XattrFlags::empty()).is_ok()
            };
            self.lost.xattrs += meta.xattrs.iter().filter(|xattr| !given(xattr)).count() as u64;
        }
        let mode = Mode::from_raw_mode(self.mode(meta, owned));
        fchmod(&open, mode).map_err(self.failed("set the mode of", to))?;
        if self.how.keep.timestamps {
            futimens(&open, &times(meta)).map_err(self.failed("set the times of", to))?;
        }
        Ok(())
    }

    /// The innermost first.
    fn finish_dirs(&mut self) -> Result<()> {
        self.parent = None;
        while let Some((to, meta)) = self.later.pop() {
            let opened = self.top.descend(&to).and_then(|dir| rustix::io::dup(&dir));
            let dir = opened.map_err(self.failed("enter", &to))?;
            self.give_open(&dir, &to, &meta)?;
        }
        Ok(())
    }

    /// Removes the directories that were made, after `error`; what goes wrong with that is said, too.
    fn take_back(&mut self, error: Error) -> Error {
        self.parent = None;
        let failed = self.new.drain(..).filter_map(|new| remove_at(&self.top, &new.path).err());
        failed.fold(error, |error, also| error.and(&also))
    }

    fn tell_lost(&mut self) {
        let why = if self.how.devices { "the caller may not make them" } else { "only --archive makes them" };
        for (count, what) in [
            (self.lost.owners, "owners could not be kept: the caller may not give files away".to_owned()),
            (self.lost.xattrs, "extended attributes could not be kept on the host".to_owned()),
            (self.lost.devices, format!("device nodes are left out: {why}")),
            (self.lost.sockets, "sockets are left out".to_owned()),
        ] {
            if count > 0 {
                self.done.notes.push(format!("{count} {what}"));
            }
        }
    }
}

/// Removes a directory with all that is in it.
fn remove_at(top: &HostDir, path: &GuestPath) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(()) };
    let parent = top.descend(&parent).map_err(|errno| host_error("enter the directory", &parent, errno))?;
    remove(&parent, name).map(drop)
}

fn times(meta: &Meta) -> Timestamps {
    let time = host_time(meta.mtime);
    Timestamps { last_access: time, last_modification: time }
}
