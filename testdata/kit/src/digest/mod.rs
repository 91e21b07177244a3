//! Everything a filesystem tree says, read by e2fsprogs (`debugfs`) and never by our own code, so that two states can
//! be compared. It knows every feature that the host's e2fsprogs knows, and reads what is on the disk: replay a journal
//! first ([`crate::judges::e2fsck_recover`]).

mod content;
mod diff;
mod parse;

pub use content::{content_hash, sparse_hash};
pub use diff::{Change, Field};

use crate::judges::at_offset;
use crate::scratch;
use crate::tool::{command, output, text};
use nomount_block::ReadAt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Bytes a name or path is made of; often not UTF-8.
pub type Bytes = Vec<u8>;

/// The kind of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

/// Seconds since 1970 and nanoseconds, as the fields of the inode say.
pub type Time = (i64, u32);

/// What one inode says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Inode number: names with the same one are hard links.
    pub inode: u32,
    /// Kind.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u16,
    /// `i_flags`.
    pub flags: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Project.
    pub project: u32,
    /// Bytes.
    pub size: u64,
    /// Number of names.
    pub links: u32,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Last read.
    pub atime: Time,
    /// Creation; absent from 128-byte inodes.
    pub crtime: Option<Time>,
    /// Major and minor of a device.
    pub device: Option<(u32, u32)>,
    /// Where a symbolic link points.
    pub target: Option<Bytes>,
    /// Hash of a regular file's contents. A hole and zeroes are the same.
    pub content: u128,
    /// Extended attributes: name to value, ACLs in their form on disk.
    pub xattrs: BTreeMap<String, Bytes>,
}

/// A whole tree: path (`/`, `/etc/passwd`) to entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeDigest {
    /// The entries.
    pub entries: BTreeMap<Bytes, Entry>,
}

const ROOT_INODE: u32 = 2;
/// `EXT4_INLINE_DATA_FL`.
const INLINE_DATA: u32 = 0x1000_0000;

impl TreeDigest {
    /// Reads the ext2, ext3 or ext4 filesystem at byte `offset` of a raw file. Panics where debugfs complains: a tree
    /// that cannot be read whole must not pass for an empty one.
    pub fn of_ext(disk: &Path, offset: u64) -> Self {
        let debugfs = Debugfs { disk, offset };
        let names = debugfs.walk();
        let inodes: BTreeSet<u32> = names.iter().map(|(_, inode)| *inode).collect();
        let stats = debugfs.stat(&inodes);
        let contents = debugfs.contents(&stats);
        let entries = names
            .into_iter()
            .map(|(path, inode)| {
                let mut entry = stats[&inode].entry.clone();
                let (hash, target) = &contents[&inode];
                entry.content = *hash;
                entry.target = entry.target.or_else(|| target.clone());
                (path, entry)
            })
            .collect();
        Self { entries }
    }

    /// As [`Self::of_ext`], of any device: it is copied to a temporary file first.
    pub fn of_device(device: &dyn ReadAt) -> Self {
        Self::of_ext(&scratch::device(device), 0)
    }

    /// The entry at an absolute path.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        self.entries.get(path.as_ref())
    }

    /// What differs from `self` to `after`, in the order of paths.
    pub fn diff(&self, after: &Self) -> Vec<Change> {
        diff::diff(self, after)
    }
}

/// The contents of the file at an absolute path in the filesystem at byte `offset` of a raw file. Empty where there is
/// no such file: [`TreeDigest`] says whether there is.
pub fn cat(disk: &Path, offset: u64, path: &str) -> Bytes {
    output(command("debugfs").args(["-R", &format!("cat {path}")]).arg(at_offset(disk, offset))).stdout
}

struct Debugfs<'a> {
    disk: &'a Path,
    offset: u64,
}

impl Debugfs<'_> {
    /// Runs commands in one process and gives the output of each, in order.
    fn run(&self, commands: &[String]) -> Vec<Bytes> {
        if commands.is_empty() {
            return Vec::new();
        }
        let script = scratch::file();
        fs::write(script.path(), commands.join("\n") + "\n").expect("the script is written");
        let done = output(command("debugfs").arg("-f").arg(script.path()).arg(at_offset(self.disk, self.offset)));
        let said = String::from_utf8_lossy(&done.stderr);
        let complaints: Vec<&str> = said.lines().filter(|l| !l.starts_with("debugfs 1.") && !l.is_empty()).collect();
        assert!(done.status.success() && complaints.is_empty(), "debugfs on {}: {said}", self.disk.display());
        parse::sections(&done.stdout, commands).unwrap_or_else(|e| panic!("{e}: {}", text(&done)))
    }

    /// Every name, breadth first: path and inode.
    fn walk(&self) -> Vec<(Bytes, u32)> {
        let mut names = vec![(b"/".to_vec(), ROOT_INODE)];
        let mut seen = BTreeSet::from([ROOT_INODE]);
        let mut level = vec![(Bytes::new(), ROOT_INODE)];
        while !level.is_empty() {
            let commands: Vec<String> = level.iter().map(|(_, inode)| format!("ls -p <{inode}>")).collect();
            let mut next = Vec::new();
            for ((parent, _), listing) in level.iter().zip(self.run(&commands)) {
                for name in parse::listing(&listing).unwrap_or_else(|e| panic!("{}: {e}", self.disk.display())) {
                    let path = [parent.as_slice(), b"/", &name.name].concat();
                    if name.is_dir {
                        assert!(seen.insert(name.inode), "directory inode {} has two names", name.inode);
                        next.push((path.clone(), name.inode));
                    }
                    names.push((path, name.inode));
                }
            }
            level = next;
        }
        names
    }

    fn stat(&self, inodes: &BTreeSet<u32>) -> BTreeMap<u32, parse::Stat> {
        let commands: Vec<String> = inodes.iter().map(|inode| format!("stat <{inode}>")).collect();
        let mut stats: BTreeMap<u32, parse::Stat> = BTreeMap::new();
        for (inode, section) in inodes.iter().zip(self.run(&commands)) {
            let stat = parse::stat(&section)
                .unwrap_or_else(|e| panic!("inode {inode}: {e}: {}", String::from_utf8_lossy(&section)));
            stats.insert(*inode, stat);
        }
        // Long values are left out of `stat`.
        let long: Vec<(u32, String)> =
            stats.iter().flat_map(|(inode, s)| s.long_xattrs.iter().map(|name| (*inode, name.clone()))).collect();
        let commands: Vec<String> = long.iter().map(|(inode, name)| format!("ea_get -rx <{inode}> {name}")).collect();
        for ((inode, name), section) in long.into_iter().zip(self.run(&commands)) {
            let value = parse::ea_value(&section).unwrap_or_else(|e| panic!("inode {inode}, {name}: {e}"));
            stats.get_mut(&inode).expect("listed above").entry.xattrs.insert(name, value);
        }
        stats
    }

    /// Per inode: the hash of its contents, and the target of a symbolic link stored in a block.
    fn contents(&self, stats: &BTreeMap<u32, parse::Stat>) -> BTreeMap<u32, (u128, Option<Bytes>)> {
        let file = File::open(self.disk).unwrap_or_else(|e| panic!("{}: {e}", self.disk.display()));
        let block_size = self.block_size();
        let inline = self.inline_data(stats);
        let read = |(inode, stat): (&u32, &parse::Stat)| {
            let source = match inline.get(inode) {
                Some(bytes) => content::Source::Inline(bytes),
                None => content::Source::Blocks { file: &file, offset: self.offset, block_size, runs: &stat.runs },
            };
            let answer = match stat.entry.kind {
                Kind::File => (content::hash(&source, stat.entry.size), None),
                Kind::Symlink if stat.entry.target.is_none() => (0, Some(content::bytes(&source, stat.entry.size))),
                _ => (0, None),
            };
            (*inode, answer)
        };
        stats.iter().map(read).collect()
    }

    fn inline_data(&self, stats: &BTreeMap<u32, parse::Stat>) -> BTreeMap<u32, Bytes> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inodes: Vec<u32> = stats
            .iter()
            .filter(|(_, s)| s.entry.flags & INLINE_DATA != 0 && s.entry.kind != Kind::Dir)
            .map(|(inode, _)| *inode)
            .collect();
        let path = |inode: u32| -> PathBuf { folder.path().join(inode.to_string()) };
        let commands: Vec<String> =
            inodes.iter().map(|inode| format!("dump <{inode}> {}", path(*inode).display())).collect();
        self.run(&commands);
        inodes.iter().map(|inode| (*inode, fs::read(path(*inode)).expect("debugfs wrote the file"))).collect()
    }

    fn block_size(&self) -> u64 {
        let stats = self.run(&["stats -h".to_owned()]);
        let said = String::from_utf8_lossy(&stats[0]);
        let line = said.lines().find_map(|line| line.strip_prefix("Block size:")).expect("debugfs says the block size");
        line.trim().parse().expect("a number")
    }
}

#[cfg(test)]
mod tests;
