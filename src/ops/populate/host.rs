//! A directory of the host, or one file.

use super::{Contents, Item, Meta, Node, Source, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::Time;
use rustix::fs::{SeekFrom, lgetxattr, llistxattr, seek};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest list of names, and the longest value, that Linux has.
const MAX_XATTR: usize = 64 << 10;
/// Directories deeper than this are refused: no path of the host reaches them at once.
const MAX_DEPTH: usize = 2048;
/// Name spaces that a filesystem of the ext family has.
const NAMESPACES: &[&[u8]] = &[b"user.", b"trusted.", b"security.", b"system.posix_acl_"];

/// A directory of the host and everything below it, sorted by name. Symbolic links are told and never followed.
#[derive(Debug)]
pub struct HostTree {
    root: PathBuf,
    /// Tell the directory itself, too.
    top: bool,
    links: bool,
    xattrs: bool,
    /// Device and inode number of a file that must not be part of the tree: the image that is filled.
    image: Option<(u64, u64)>,
    /// First paths of files with several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Room for names, and for a value, of extended attributes.
    scratch: Vec<u8>,
}

impl HostTree {
    /// The tree below `root`. A tree that holds `image` is refused.
    pub fn new(root: impl Into<PathBuf>, image: Option<&Path>) -> Self {
        let image = image.and_then(|path| path.metadata().ok()).map(|meta| (meta.dev(), meta.ino()));
        let (linked, scratch) = (HashMap::new(), vec![0; MAX_XATTR]);
        Self { root: root.into(), top: false, links: true, xattrs: true, image, linked, scratch }
    }

    /// What is at `root`, whatever it is: the first entry has an empty path.
    pub fn with_top(root: impl Into<PathBuf>, image: Option<&Path>) -> Self {
        Self { top: true, ..Self::new(root, image) }
    }

    /// Whether to tell further names of a file as such; otherwise each is a file.
    pub fn links(self, links: bool) -> Self {
        Self { links, ..self }
    }

    /// Whether to read extended attributes.
    pub fn xattrs(self, xattrs: bool) -> Self {
        Self { xattrs, ..self }
    }

    fn host(&self, path: &[u8]) -> PathBuf {
        // Joined with nothing, it would end with a slash, which follows links.
        if path.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path)) }
    }

    fn entry(
        &mut self,
        path: &[u8],
        notes: &mut Vec<String>,
        visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
    ) -> Result<bool> {
        let host = self.host(path);
        let found = std::fs::symlink_metadata(&host).map_err(|e| unreadable(&host, e))?;
        let id = (found.dev(), found.ino());
        if self.image == Some(id) {
            return Err(Error::new(ErrorKind::Refused, "the image lies in what it is filled from"));
        }
        let is_dir = found.is_dir();
        if self.links && !is_dir && found.nlink() > 1 {
            if let Some(first) = self.linked.get(&id) {
                visit(Item { path, node: Node::HardLink(first), meta: Meta::default() })?;
                return Ok(false);
            }
            self.linked.insert(id, path.to_vec());
        }
        let mut meta = meta(&found);
        if self.xattrs {
            meta.xattrs = xattrs(&host, path, &mut self.scratch, notes)?;
        }
        let kind = found.file_type();
        let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        let node = if is_dir {
            Node::Dir
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&host).map_err(|e| unreadable(&host, e))?;
            visit(Item { path, node: Node::Symlink(target.as_os_str().as_bytes()), meta })?;
            return Ok(false);
        } else if kind.is_char_device() {
            Node::CharDevice(major, minor)
        } else if kind.is_block_device() {
            Node::BlockDevice(major, minor)
        } else if kind.is_fifo() {
            Node::Fifo
        } else if kind.is_socket() {
            Node::Socket
        } else {
            let mut contents = HostContents::open(&host, &found)?;
            let len = contents.len;
            visit(Item { path, node: Node::File(len, &mut contents), meta })?;
            return Ok(false);
        };
        visit(Item { path, node, meta })?;
        Ok(is_dir)
    }

    /// Names in a directory, the last one first.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let host = self.host(path);
        let list = std::fs::read_dir(&host).map_err(|e| unreadable(&host, e))?;
        let mut names: Vec<Vec<u8>> = list
            .map(|entry| entry.map(|entry| entry.file_name().into_vec()))
            .collect::<Result<_, _>>()
            .map_err(|e| unreadable(&host, e))?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

impl Source for HostTree {
    fn each(&mut self, notes: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()> {
        if self.top && !self.entry(b"", notes, visit)? {
            return Ok(());
        }
        let mut open = vec![(Vec::new(), self.names(b"")?)];
        while let Some((dir, names)) = open.last_mut() {
            let Some(name) = names.pop() else {
                open.pop();
                continue;
            };
            let path = if dir.is_empty() { name } else { [&dir[..], b"/", &name].concat() };
            if self.entry(&path, notes, visit)? {
                if open.len() >= MAX_DEPTH {
                    let message = format!("more than {MAX_DEPTH} directories below each other");
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                let names = self.names(&path)?;
                open.push((path, names));
            }
        }
        Ok(())
    }
}

fn meta(found: &Metadata) -> Meta {
    Meta {
        mode: (found.mode() & 0o7777) as u16,
        uid: found.uid(),
        gid: found.gid(),
        mtime: Time { sec: found.mtime(), nsec: found.mtime_nsec() as u32 },
        xattrs: Vec::new(),
    }
}

fn xattrs(host: &Path, path: &[u8], scratch: &mut [u8], notes: &mut Vec<String>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let len = match llistxattr(host, &mut *scratch) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(len) => len,
        Err(e) => return Err(unreadable(host, e)),
    };
    let names = scratch[..len].to_vec();
    let mut list = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if !NAMESPACES.iter().any(|prefix| name.starts_with(prefix)) {
            notes.push(format!("/{}: attribute {} is left out", path.escape_ascii(), name.escape_ascii()));
            continue;
        }
        let len = lgetxattr(host, name, &mut *scratch).map_err(|e| unreadable(host, e))?;
        list.push((name.to_vec(), scratch[..len].to_vec()));
    }
    list.sort();
    Ok(list)
}

/// A file of the host, without its holes.
#[derive(Debug)]
struct HostContents {
    file: File,
    path: PathBuf,
    len: u64,
    at: u64,
    /// Where the stretch of data that is being read ends.
    data_end: u64,
}

impl HostContents {
    fn open(host: &Path, found: &Metadata) -> Result<Self> {
        // A pipe that took the file's place would wait for its other end.
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(host).map_err(|e| unreadable(host, e))?;
        // A file with a block for each of its bytes has no holes to look for.
        let full = found.blocks() * 512 >= found.len();
        let data_end = if full { found.len() } else { 0 };
        Ok(Self { file, path: host.to_owned(), len: found.len(), at: 0, data_end })
    }
}

impl Contents for HostContents {
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        if self.at >= self.data_end && self.at < self.len {
            self.at = match seek(&self.file, SeekFrom::Data(self.at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => self.len,
                Err(_) => self.at,
            };
            self.data_end = seek(&self.file, SeekFrom::Hole(self.at)).unwrap_or(self.len).min(self.len);
        }
        if self.at >= self.len {
            return Ok(None);
        }
        let want = ((self.data_end.max(self.at + 1) - self.at) as usize).min(buf.len());
        let got = loop {
            match self.file.read_at(&mut buf[..want], self.at) {
                // A signal came; nothing is wrong with the file.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|e| unreadable(&self.path, e))?,
            }
        };
        if got == 0 {
            let message = format!("{} became shorter while it was read", self.path.display());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let start = self.at;
        self.at += got as u64;
        Ok(Some((start, got)))
    }

    fn stretches(&self) -> Option<&[Range<u64>]> {
        None
    }
}
