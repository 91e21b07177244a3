//! What should be there: inodes by their numbers, with names, attributes and contents.

use super::contents::Contents;
use crate::common::our_digest;
use nomount_block::ReadAt;
use nomount_ext::{Filesystem, ROOT_INO, incompat, ro_compat};
use nomount_kit::TreeDigest;
use nomount_kit::digest::{Entry, Kind};
use rpds::RedBlackTreeMapSync;
use std::collections::BTreeMap;

pub type Ino = u32;
/// Seconds and nanoseconds.
pub type Stamp = (i64, u32);

/// Flags that the model follows: those that a user may change.
pub const FLAGS: u32 = SYNC | IMMUTABLE | APPEND | NODUMP | NOATIME | DIRSYNC | TOPDIR | PROJINHERIT;
pub const SYNC: u32 = 0x8;
pub const IMMUTABLE: u32 = 0x10;
pub const APPEND: u32 = 0x20;
pub const NODUMP: u32 = 0x40;
pub const NOATIME: u32 = 0x80;
pub const DIRSYNC: u32 = 0x1_0000;
pub const TOPDIR: u32 = 0x2_0000;
pub const PROJINHERIT: u32 = 0x2000_0000;
/// What is not understood well enough to be changed, or not at all: encrypted, protected by verity, case-folded.
const FOREIGN: u32 = 0x800 | 0x10_0000 | 0x4000_0000;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// An inode.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub project: u32,
    pub flags: u32,
    pub links: u32,
    pub atime: Stamp,
    pub mtime: Stamp,
    pub ctime: Stamp,
    pub crtime: Option<Stamp>,
    pub device: Option<(u32, u32)>,
    pub target: Option<Vec<u8>>,
    pub contents: Contents,
    /// Of a directory.
    pub names: RedBlackTreeMapSync<Vec<u8>, Ino>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where its names are; the root has none.
    pub at: Vec<(Ino, Vec<u8>)>,
    /// Whether it maps its blocks by extents, if it is a file.
    pub extents: bool,
    /// Left alone: it, or something above or below it, is not to be changed.
    pub kept: bool,
}

/// What a filesystem's features and shape mean to its inodes.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    pub block_size: u64,
    pub extents: bool,
    pub project: bool,
    /// Whether inodes have room for more than 32 bits of time.
    pub large_inodes: bool,
}

impl Traits {
    /// A time as an inode keeps it.
    pub fn stored(&self, (sec, nsec): Stamp) -> Stamp {
        const LAST: i64 = i32::MAX as i64 + (3 << 32);
        if self.large_inodes {
            (sec.clamp(i32::MIN.into(), LAST), nsec)
        } else {
            (sec.clamp(i32::MIN.into(), i32::MAX.into()), 0)
        }
    }
}

/// A whole tree. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Tree {
    pub nodes: RedBlackTreeMapSync<Ino, Node>,
    pub traits: Traits,
    pub now: Stamp,
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/').expect("paths are absolute");
    (&path[..slash.max(1)], &path[slash + 1..])
}

impl Tree {
    /// What is there when it begins.
    pub fn of<D: ReadAt>(fs: &Filesystem<D>, now: Stamp) -> Self {
        let digest = our_digest(fs);
        let features = fs.geometry().features;
        let traits = Traits {
            block_size: fs.geometry().block_size.into(),
            extents: features.incompat(incompat::EXTENTS),
            project: features.ro_compat(ro_compat::PROJECT),
            large_inodes: fs.geometry().inode_size > 128,
        };
        let mut nodes = BTreeMap::new();
        for entry in digest.entries.values() {
            nodes.entry(entry.inode).or_insert_with(|| load(fs, entry, &traits));
        }
        for (path, entry) in digest.entries.iter().filter(|(path, _)| *path != b"/") {
            let (dir, name) = split(path);
            let parent = digest.entries[dir].inode;
            nodes.get_mut(&parent).unwrap().names.insert_mut(name.to_vec(), entry.inode);
            nodes.get_mut(&entry.inode).unwrap().at.push((parent, name.to_vec()));
        }
        let tree = Self { nodes: nodes.into_iter().collect(), traits, now: traits.stored(now) };
        tree.with_kept()
    }

    /// Marks what is above and below what is kept, and `lost+found`, which e2fsck wants to be there.
    fn with_kept(mut self) -> Self {
        let kept: Vec<Ino> = self.nodes.iter().filter(|(_, node)| node.kept).map(|(ino, _)| *ino).collect();
        for ino in kept {
            let mut above = vec![ino];
            while let Some(ino) = above.pop() {
                self.node_mut(ino).kept = ino != ROOT_INO;
                above.extend(self.node(ino).at.iter().map(|(dir, _)| *dir));
            }
            let mut below = vec![ino];
            while let Some(ino) = below.pop() {
                self.node_mut(ino).kept = true;
                below.extend(self.node(ino).names.values());
            }
        }
        if let Some(ino) = self.node(ROOT_INO).names.get(&b"lost+found"[..]).copied() {
            self.node_mut(ino).kept = true;
        }
        self
    }

    pub fn get(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub fn node(&self, ino: Ino) -> &Node {
        self.get(ino).expect("only inodes of the tree are asked for")
    }

    pub fn node_mut(&mut self, ino: Ino) -> &mut Node {
        self.nodes.get_mut(&ino).expect("only inodes of the tree are asked for")
    }

    /// A node that is as wanted, by a number.
    pub fn pick(&self, number: u16, wanted: impl Fn(&Node) -> bool) -> Option<Ino> {
        let (last, _) = self.nodes.last()?;
        let start = (u64::from(number) * 2_654_435_761 % (u64::from(*last) + 1)) as Ino;
        let mut all = self.nodes.range(start..).chain(self.nodes.range(..start));
        all.find(|(_, node)| wanted(node) && !node.kept).map(|(ino, _)| *ino)
    }

    /// A name, by a number: its directory and what it is there.
    pub fn pick_name(&self, number: u16) -> Option<(Ino, Vec<u8>)> {
        let at = &self.node(self.pick(number, |node| !node.at.is_empty())?).at;
        Some(at[usize::from(number) % at.len()].clone())
    }

    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        self.node(dir).names.get(name).copied()
    }

    /// Whether directory `dir` is `tree` or lies inside it.
    pub fn is_inside(&self, dir: Ino, tree: Ino) -> bool {
        let mut here = dir;
        loop {
            match self.node(here).at.first() {
                _ if here == tree => return true,
                Some((above, _)) => here = *above,
                None => return false,
            }
        }
    }

    /// The same in the judges' terms.
    pub fn digest(&self) -> TreeDigest {
        let mut digest = TreeDigest::default();
        let mut todo = vec![(Vec::new(), ROOT_INO)];
        while let Some((path, ino)) = todo.pop() {
            let node = self.node(ino);
            todo.extend(node.names.iter().map(|(name, ino)| ([&path[..], b"/", name].concat(), *ino)));
            let path = if path.is_empty() { b"/".to_vec() } else { path };
            digest.entries.insert(path, node.entry(ino));
        }
        digest
    }
}

/// A judge's digest without what the model does not follow: how large directories are, and flags of the
/// filesystem's own.
pub fn plain(mut tree: TreeDigest) -> TreeDigest {
    for entry in tree.entries.values_mut() {
        entry.flags &= FLAGS;
        if entry.kind == Kind::Dir {
            entry.size = 0;
        }
    }
    tree
}

impl Node {
    fn entry(&self, ino: Ino) -> Entry {
        let size = match (self.kind, &self.target) {
            (Kind::Dir, _) => 0,
            (_, Some(target)) => target.len() as u64,
            _ => self.contents.size(),
        };
        Entry {
            inode: ino,
            kind: self.kind,
            mode: self.mode,
            flags: self.flags,
            uid: self.uid,
            gid: self.gid,
            project: self.project,
            size,
            links: self.links,
            mtime: self.mtime,
            ctime: self.ctime,
            atime: self.atime,
            crtime: self.crtime,
            device: self.device,
            target: self.target.clone(),
            content: if self.kind == Kind::File { self.contents.hash() } else { 0 },
            xattrs: self
                .xattrs
                .iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.clone()))
                .collect(),
        }
    }
}

fn load<D: ReadAt>(fs: &Filesystem<D>, entry: &Entry, traits: &Traits) -> Node {
    let mut contents = Contents::default();
    if entry.kind == Kind::File {
        contents.truncate(entry.size);
        for run in fs.runs(entry.inode).unwrap().iter().filter(|run| !run.unwritten) {
            let start = u64::from(run.file_block) * traits.block_size;
            let len = (u64::from(run.len) * traits.block_size).min(entry.size.saturating_sub(start));
            let mut bytes = vec![0; len as usize];
            fs.read(entry.inode, start, &mut bytes).unwrap();
            contents.write(start, &bytes);
        }
        if entry.flags & INLINE_DATA != 0 {
            let mut bytes = vec![0; entry.size as usize];
            fs.read(entry.inode, 0, &mut bytes).unwrap();
            contents.write(0, &bytes);
        }
        assert_eq!(contents.hash(), entry.content, "inode {}", entry.inode);
    }
    Node {
        kind: entry.kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        project: entry.project,
        flags: entry.flags & FLAGS,
        links: entry.links,
        atime: entry.atime,
        mtime: entry.mtime,
        ctime: entry.ctime,
        crtime: entry.crtime,
        device: entry.device,
        target: entry.target.clone(),
        contents,
        names: RedBlackTreeMapSync::default(),
        xattrs: entry.xattrs.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect(),
        at: Vec::new(),
        extents: entry.flags & EXTENTS != 0 || (entry.flags & INLINE_DATA != 0 && traits.extents),
        kept: entry.flags & FOREIGN != 0,
    }
}
