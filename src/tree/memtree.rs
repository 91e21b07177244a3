//! A tree in memory that tests of operations work on: the whole contract of [`FileTree`], plus failures on demand.

use super::{Entries, Entry, FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Time, Xattr};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    File(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, u64>),
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    body: Body,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    atime: Time,
    mtime: Time,
    ctime: Time,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

const ROOT: u64 = 2;
/// The clock of every tree: what exists before a test is older than this.
const NOW: Time = Time { sec: 1_000_000_000, nsec: 5 };

/// A tree in memory. Paths of the building methods are absolute; directories on the way are made.
#[derive(Debug, Clone)]
pub(crate) struct MemTree {
    nodes: BTreeMap<u64, Node>,
    next_ino: u64,
    marks: Vec<BTreeMap<u64, Node>>,
    failing: BTreeSet<GuestPath>,
    /// Calls that changed something, or failed to.
    pub(crate) writes: usize,
    /// The change that fails, counted as `writes` is.
    pub(crate) failing_write: Option<usize>,
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).expect("a test's path is valid")
}

fn error(kind: ErrorKind, message: &str, path: &GuestPath) -> Error {
    Error::new(kind, message).at_path(path.to_bytes())
}

impl MemTree {
    pub(crate) fn new() -> Self {
        let root = Node {
            body: Body::Dir(BTreeMap::new()),
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 2,
            atime: NOW,
            mtime: NOW,
            ctime: NOW,
            xattrs: BTreeMap::new(),
        };
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self { nodes, next_ino: 11, marks: Vec::new(), failing: BTreeSet::new(), writes: 0, failing_write: None }
    }

    pub(crate) fn dir(&mut self, text: &str) -> &mut Self {
        let mut here = GuestPath::root();
        for name in path(text).components() {
            here = here.join(name);
            if self.stat(&here).is_err() {
                self.create(&here, NewNode::Dir, SetAttr::default()).expect("the parent was just made");
            }
        }
        self
    }

    fn parents(&mut self, text: &str) {
        let parent = path(text).parent().expect("not the root");
        self.dir(&parent.to_string());
    }

    /// Creates or overwrites a file, 0644 root:root when new.
    pub(crate) fn file(&mut self, text: &str, contents: impl AsRef<[u8]>) -> &mut Self {
        self.parents(text);
        if self.stat(&path(text)).is_err() {
            self.create(&path(text), NewNode::File, SetAttr::default()).expect("the parent was just made");
        }
        self.write_file(&path(text), contents.as_ref()).expect("a file");
        self
    }

    pub(crate) fn link(&mut self, text: &str, target: &str) -> &mut Self {
        self.raw_link(text, target.as_bytes().to_vec())
    }

    /// A link to bytes that a kernel would not have accepted.
    pub(crate) fn raw_link(&mut self, text: &str, target: Vec<u8>) -> &mut Self {
        self.parents(text);
        self.create(&path(text), NewNode::Symlink(target), SetAttr::default()).expect("a free name");
        self
    }

    /// A second name for a file.
    pub(crate) fn hard_link(&mut self, old: &str, new: &str) -> &mut Self {
        self.parents(new);
        FileTree::link(self, &path(old), &path(new)).expect("an old name and a free one");
        self
    }

    pub(crate) fn chmod(&mut self, text: &str, mode: u32) -> &mut Self {
        self.set_attr(&path(text), SetAttr { mode: Some(mode), ..SetAttr::default() }).expect("it exists");
        self
    }

    pub(crate) fn owner(&mut self, text: &str, uid: u32, gid: u32) -> &mut Self {
        self.set_attr(&path(text), SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() })
            .expect("it exists");
        self
    }

    /// From now on every change to what `text` names, or will name, fails as on a bad disk.
    pub(crate) fn fail_writes_to(&mut self, text: &str) -> &mut Self {
        self.failing.insert(path(text));
        self
    }

    pub(crate) fn bytes(&self, text: &str) -> Vec<u8> {
        match &self.node(&path(text)).unwrap_or_else(|error| panic!("{error}")).body {
            Body::File(contents) => contents.clone(),
            body => panic!("{text} is no file: {body:?}"),
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8(self.bytes(text)).expect("UTF-8")
    }

    pub(crate) fn mode(&self, text: &str) -> u32 {
        self.stat(&path(text)).unwrap_or_else(|error| panic!("{error}")).mode
    }

    /// (uid, gid)
    pub(crate) fn owner_of(&self, text: &str) -> (u32, u32) {
        let stat = self.stat(&path(text)).unwrap_or_else(|error| panic!("{error}"));
        (stat.uid, stat.gid)
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.stat(&path(text)).is_ok()
    }

    /// Everything but inode numbers and times, by path: two trees with equal listings look the same to a guest.
    pub(crate) fn listing(&self) -> BTreeMap<String, String> {
        let mut listing = BTreeMap::new();
        let mut pending = vec![(GuestPath::root(), ROOT)];
        while let Some((path, ino)) = pending.pop() {
            let node = &self.nodes[&ino];
            let body = match &node.body {
                Body::Dir(names) => {
                    pending.extend(names.iter().map(|(name, ino)| (path.join(name), *ino)));
                    "dir".to_owned()
                }
                Body::File(contents) => format!("file {}", contents.escape_ascii()),
                body => format!("{body:?}"),
            };
            let line = format!("{:o} {}:{} {} {:?} {body}", node.mode, node.uid, node.gid, node.links, node.xattrs);
            listing.insert(path.to_string(), line);
        }
        listing
    }

    fn lookup(&self, path: &GuestPath) -> Result<u64> {
        let mut ino = ROOT;
        for (depth, name) in path.components().enumerate() {
            let Body::Dir(names) = &self.nodes[&ino].body else {
                return Err(error(ErrorKind::NotADirectory, "not a directory", &path.prefix(depth)));
            };
            let missing = || error(ErrorKind::NotFound, "no such file or directory", &path.prefix(depth + 1));
            ino = *names.get(name).ok_or_else(missing)?;
        }
        Ok(ino)
    }

    fn node(&self, path: &GuestPath) -> Result<&Node> {
        Ok(&self.nodes[&self.lookup(path)?])
    }

    fn node_mut(&mut self, ino: u64) -> &mut Node {
        self.nodes.get_mut(&ino).expect("every name leads to a node")
    }

    fn count_write(&mut self, path: &GuestPath) -> Result<()> {
        self.writes += 1;
        if self.failing.contains(path) || self.failing_write == Some(self.writes) {
            return Err(error(ErrorKind::Io, "input/output error", path));
        }
        Ok(())
    }

    /// The node to change, stamped with the time.
    fn touch(&mut self, path: &GuestPath) -> Result<&mut Node> {
        let ino = self.lookup(path)?;
        self.count_write(path)?;
        let node = self.node_mut(ino);
        node.ctime = NOW;
        Ok(node)
    }

    fn file_mut(&mut self, path: &GuestPath) -> Result<&mut Vec<u8>> {
        let node = self.touch(path)?;
        node.mtime = NOW;
        match &mut node.body {
            Body::File(contents) => Ok(contents),
            Body::Dir(_) => Err(error(ErrorKind::IsADirectory, "is a directory", path)),
            _ => Err(error(ErrorKind::Refused, "not a regular file", path)),
        }
    }

    /// Puts a name for `ino` in the parent of `path`.
    fn enter(&mut self, path: &GuestPath, ino: u64) -> Result<()> {
        let exists = || error(ErrorKind::Exists, "exists already", path);
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Err(exists()) };
        let parent_ino = self.lookup(&parent)?;
        let node = self.node_mut(parent_ino);
        let Body::Dir(names) = &mut node.body else {
            return Err(error(ErrorKind::NotADirectory, "not a directory", &parent));
        };
        if names.contains_key(name) {
            return Err(exists());
        }
        names.insert(name.to_vec(), ino);
        node.mtime = NOW;
        node.ctime = NOW;
        Ok(())
    }
}

impl MemTree {
    /// The names in a directory that is known to be one.
    fn names(&mut self, ino: u64) -> &mut BTreeMap<Vec<u8>, u64> {
        let node = self.node_mut(ino);
        node.mtime = NOW;
        node.ctime = NOW;
        match &mut node.body {
            Body::Dir(names) => names,
            body => unreachable!("{body:?} has names in it"),
        }
    }

    /// Inode of the directory that `path` is in, the name there, and what it leads to.
    fn named<'p>(&self, path: &'p GuestPath) -> Result<(u64, &'p [u8], u64)> {
        let root = || error(ErrorKind::Invalid, "the root directory stays where it is", path);
        let (parent, name) = (path.parent().ok_or_else(root)?, path.name().ok_or_else(root)?);
        let dir = self.lookup(&parent)?;
        Ok((dir, name, self.lookup(path)?))
    }

    /// Takes a name away, and with the last one the node.
    fn take_name(&mut self, dir: u64, name: &[u8]) {
        let ino = self.names(dir).remove(name).expect("the name was found");
        let node = self.node_mut(ino);
        let is_dir = matches!(node.body, Body::Dir(_));
        node.links -= 1;
        node.ctime = NOW;
        if is_dir || node.links == 0 {
            self.nodes.remove(&ino);
        }
        if is_dir {
            self.node_mut(dir).links -= 1;
        }
    }
}

impl FileTree for MemTree {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        let ino = self.lookup(path)?;
        let node = &self.nodes[&ino];
        let (kind, size, device) = match &node.body {
            Body::File(contents) => (FileKind::File, contents.len(), None),
            Body::Dir(_) => (FileKind::Dir, 4096, None),
            Body::Symlink(target) => (FileKind::Symlink, target.len(), None),
            Body::Fifo => (FileKind::Fifo, 0, None),
            Body::Socket => (FileKind::Socket, 0, None),
            Body::CharDevice(major, minor) => (FileKind::CharDevice, 0, Some((*major, *minor))),
            Body::BlockDevice(major, minor) => (FileKind::BlockDevice, 0, Some((*major, *minor))),
        };
        Ok(Stat {
            kind,
            dev: 0,
            ino,
            mode: node.mode,
            links: node.links,
            uid: node.uid,
            gid: node.gid,
            size: size as u64,
            blocks: size.div_ceil(4096) as u64 * 8,
            device,
            atime: node.atime,
            mtime: node.mtime,
            ctime: node.ctime,
            btime: None,
        })
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match &self.node(path)?.body {
            Body::File(contents) => {
                let rest = usize::try_from(offset).ok().and_then(|at| contents.get(at..)).unwrap_or_default();
                let len = rest.len().min(buf.len());
                buf[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
            Body::Dir(_) => Err(error(ErrorKind::IsADirectory, "is a directory", path)),
            _ => Err(error(ErrorKind::Refused, "not a regular file", path)),
        }
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        let Body::File(contents) = &self.node(path)?.body else {
            return Err(error(ErrorKind::Invalid, "not a regular file", path));
        };
        let blocks = contents.chunks(4096).zip((0..).step_by(4096)).filter(|(block, _)| block.iter().any(|b| *b != 0));
        let mut data: Vec<Range<u64>> = Vec::new();
        for (block, start) in blocks {
            let end = start + block.len() as u64;
            match data.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => data.push(start..end),
            }
        }
        Ok(data)
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        match &self.node(path)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(error(ErrorKind::Invalid, "not a symbolic link", path)),
        }
    }

    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        let Body::Dir(names) = &self.node(path)?.body else {
            return Err(error(ErrorKind::NotADirectory, "not a directory", path));
        };
        let entry = |(name, ino): (&Vec<u8>, &u64)| {
            Ok(Entry { name: name.clone(), kind: self.stat(&path.join(name))?.kind, ino: *ino })
        };
        Ok(names.iter().map(entry).collect::<Result<Vec<_>>>()?.into())
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        Ok(self.node(path)?.xattrs.clone().into_iter().collect())
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        self.count_write(path)?;
        let parent_path = path.parent().ok_or_else(|| error(ErrorKind::Exists, "exists already", path))?;
        let parent = self.node(&parent_path)?;
        let (set_gid, parent_gid) = (parent.mode & 0o2000, parent.gid);
        let is_dir = matches!(node, NewNode::Dir);
        let (body, mode) = match node {
            NewNode::File => (Body::File(Vec::new()), 0o644),
            NewNode::Dir => (Body::Dir(BTreeMap::new()), 0o755 | set_gid),
            NewNode::Symlink(target) => (Body::Symlink(target), 0o777),
            NewNode::Fifo => (Body::Fifo, 0o644),
            NewNode::Socket => (Body::Socket, 0o644),
            NewNode::CharDevice(major, minor) => (Body::CharDevice(major, minor), 0o644),
            NewNode::BlockDevice(major, minor) => (Body::BlockDevice(major, minor), 0o644),
        };
        let new = Node {
            body,
            mode: attr.mode.unwrap_or(mode),
            uid: attr.uid.unwrap_or(0),
            gid: attr.gid.unwrap_or(if set_gid != 0 { parent_gid } else { 0 }),
            links: if is_dir { 2 } else { 1 },
            atime: attr.atime.unwrap_or(NOW),
            mtime: attr.mtime.unwrap_or(NOW),
            ctime: NOW,
            xattrs: BTreeMap::new(),
        };
        let ino = self.next_ino;
        self.enter(path, ino)?;
        self.next_ino += 1;
        self.nodes.insert(ino, new);
        if is_dir {
            let parent = self.lookup(&parent_path)?;
            self.node_mut(parent).links += 1;
        }
        Ok(())
    }

    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        *self.file_mut(path)? = contents.to_vec();
        Ok(())
    }

    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.file_mut(path)?.extend_from_slice(contents);
        Ok(())
    }

    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        let contents = self.file_mut(path)?;
        if !data.is_empty() {
            let end = offset as usize + data.len();
            contents.resize(contents.len().max(end), 0);
            contents[offset as usize..end].copy_from_slice(data);
        }
        Ok(())
    }

    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        self.file_mut(path)?.resize(size as usize, 0);
        Ok(())
    }

    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        let ino = self.lookup(old)?;
        self.count_write(new)?;
        if matches!(self.nodes[&ino].body, Body::Dir(_)) {
            return Err(error(ErrorKind::IsADirectory, "is a directory", new));
        }
        self.enter(new, ino)?;
        let node = self.node_mut(ino);
        node.links += 1;
        node.ctime = NOW;
        Ok(())
    }

    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let (dir, name, ino) = self.named(from)?;
        let root = || error(ErrorKind::Invalid, "the root directory stays where it is", to);
        let (new_parent, new_name) = (to.parent().ok_or_else(root)?, to.name().ok_or_else(root)?);
        let new_dir = self.lookup(&new_parent)?;
        self.count_write(from)?;
        let is_dir = |tree: &Self, ino: u64| matches!(tree.nodes[&ino].body, Body::Dir(_));
        match self.lookup(to) {
            Ok(over) if over == ino => return Ok(()),
            Ok(over) => match (is_dir(self, ino), is_dir(self, over)) {
                (true, false) => return Err(error(ErrorKind::NotADirectory, "not a directory", from)),
                (false, true) => return Err(error(ErrorKind::IsADirectory, "is a directory", from)),
                (true, true) if !self.names(over).is_empty() => {
                    return Err(error(ErrorKind::NotEmpty, "directory not empty", from));
                }
                _ => self.take_name(new_dir, new_name),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        if is_dir(self, ino) && (to.is_below(from) || to == from) {
            return Err(error(ErrorKind::Invalid, "a directory cannot go into itself", from));
        }
        if is_dir(self, ino) {
            self.node_mut(dir).links -= 1;
            self.node_mut(new_dir).links += 1;
        }
        self.names(dir).remove(name);
        self.names(new_dir).insert(new_name.to_vec(), ino);
        self.node_mut(ino).ctime = NOW;
        Ok(())
    }

    /// At once: there is no commit to wait for.
    fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        self.file_mut(path)?.fill(0);
        Ok(())
    }

    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        let (dir, name, ino) = self.named(path)?;
        self.count_write(path)?;
        if matches!(self.nodes[&ino].body, Body::Dir(_)) {
            return Err(error(ErrorKind::IsADirectory, "is a directory", path));
        }
        self.take_name(dir, name);
        Ok(())
    }

    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        let (dir, name, ino) = self.named(path)?;
        self.count_write(path)?;
        match &self.nodes[&ino].body {
            Body::Dir(names) if names.is_empty() => {}
            Body::Dir(_) => return Err(error(ErrorKind::NotEmpty, "directory not empty", path)),
            _ => return Err(error(ErrorKind::NotADirectory, "not a directory", path)),
        }
        self.take_name(dir, name);
        Ok(())
    }

    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        let (_, _, ino) = self.named(path)?;
        let Body::Dir(names) = self.nodes[&ino].body.clone() else { return self.unlink(path).map(|()| 1) };
        let mut removed = 1;
        for name in names.keys() {
            removed += self.remove_tree(&path.join(name))?;
        }
        self.rmdir(path)?;
        Ok(removed)
    }

    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        if attr.mode.is_some_and(|mode| mode > 0o7777) {
            return Err(error(ErrorKind::Invalid, "mode above 7777", path));
        }
        let node = self.touch(path)?;
        node.mode = attr.mode.unwrap_or(node.mode);
        node.uid = attr.uid.unwrap_or(node.uid);
        node.gid = attr.gid.unwrap_or(node.gid);
        node.atime = attr.atime.unwrap_or(node.atime);
        node.mtime = attr.mtime.unwrap_or(node.mtime);
        Ok(())
    }

    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        let node = self.touch(path)?;
        match value {
            Some(value) => {
                node.xattrs.insert(name.to_vec(), value.to_vec());
            }
            None => {
                let missing = || error(ErrorKind::NotFound, "no such extended attribute", path);
                node.xattrs.remove(name).ok_or_else(missing)?;
            }
        }
        Ok(())
    }

    fn savepoint(&mut self) -> Savepoint {
        self.marks.push(self.nodes.clone());
        Savepoint(self.marks.len() as u64 - 1)
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        let index = savepoint.0 as usize;
        self.marks.truncate(index + 1);
        // A mark that was dropped by an earlier rollback is a mistake of the caller that a test must see.
        self.nodes = self.marks.pop().filter(|_| self.marks.len() == index).expect("the mark is still there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        super::super::contract::check(&mut MemTree::new());
    }

    #[test]
    fn hard_links_are_one_file() {
        let mut tree = MemTree::new();
        tree.file("/d/f", "x").hard_link("/d/f", "/g").file("/g", "y");
        assert_eq!((tree.text("/d/f").as_str(), tree.stat(&path("/d/f")).unwrap().links), ("y", 2));
    }
}
