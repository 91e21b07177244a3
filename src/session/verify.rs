//! The second opinion: what was written is read back from the staged image by somebody else and compared with what
//! was asked for.

use super::Part;
use crate::disk::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{
    Expectations, Expected, ExtTree, FileKind, FileTree, GuestPath, Looked, REMOVED, differs, look_at_fat,
};
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use nomount_block::{Budget, ReadAt, ReadOnly};
use nomount_ext::{Filesystem, Options};
use std::collections::{BTreeSet, HashSet};

/// Bytes of one piece of contents up to which [`Verify::Auto`] reads it back.
const AUTO_BYTES: u64 = 64 << 20;
/// The independent readers.
const EXT4_VIEW: &str = "ext4-view";
const FATFS: &str = "fatfs";

/// When to ask for a second opinion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// When at most 64 MiB were written.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Who looked at the staged image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// The independent readers, one for each kind of filesystem.
    pub readers: BTreeSet<&'static str>,
    /// Paths that an independent reader, ext4-view or fatfs, confirmed.
    pub independent: usize,
    /// Paths that only our own reader, opened afresh, confirmed.
    pub own: usize,
    /// Why the independent reader could not, for the first of those.
    pub reason: Option<String>,
}

impl Opinion {
    /// What looks at several filesystems came to; none where one of them was not looked at.
    pub(super) fn of_all(all: Vec<Option<Self>>) -> Option<Self> {
        let all: Vec<Self> = all.into_iter().collect::<Option<_>>()?;
        Some(Self {
            readers: all.iter().flat_map(|one| &one.readers).copied().collect(),
            independent: all.iter().map(|one| one.independent).sum(),
            own: all.iter().map(|one| one.own).sum(),
            reason: all.into_iter().find_map(|one| one.reason),
        })
    }
}

/// What ext4-view reads at a time. It asks for each group descriptor of the filesystem by itself, 32 bytes of
/// thousands, so what it reads next is mostly what it read last.
const READ_AHEAD: u64 = 64 << 10;

/// A staged image as ext4-view reads it.
struct Reader {
    staged: Part,
    /// Offset and bytes of the last piece read.
    last: (u64, Vec<u8>),
}

impl Ext4Read for Reader {
    fn read(&mut self, start: u64, dst: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let (at, bytes) = &mut self.last;
        let inside = |at: u64, len: usize| start >= at && start - at + dst.len() as u64 <= len as u64;
        if !inside(*at, bytes.len()) {
            *at = start - start % READ_AHEAD;
            let len = READ_AHEAD.min(self.staged.len().saturating_sub(*at)) as usize;
            bytes.resize(len, 0);
            self.staged.read_at(*at, bytes).inspect_err(|_| bytes.clear())?;
            if !inside(*at, len) {
                return Ok(self.staged.read_at(start, dst)?);
            }
        }
        let from = (start - *at) as usize;
        dst.copy_from_slice(&bytes[from..from + dst.len()]);
        Ok(())
    }
}

/// Compares the staged image with what was asked for. A difference is an error; nothing was committed then.
pub(super) fn look(
    staged: Part,
    content: Content,
    expected: &Expectations,
    verify: Verify,
    memory: &Budget,
) -> Result<Option<Opinion>> {
    let bytes = expected.bytes();
    match verify {
        Verify::Never => return Ok(None),
        Verify::Auto if bytes > AUTO_BYTES => return Ok(None),
        Verify::Auto | Verify::Always => {}
    }
    if content == Content::Vfat {
        let Looked { independent, own, reason } = look_at_fat(&staged, expected)?;
        return Ok(Some(Opinion { readers: [FATFS].into(), independent, own, reason }));
    }
    let own = Filesystem::open_within(ReadOnly(&staged), Options::default(), memory).map_err(|error| match error {
        // The disk's fault, not that of what was written.
        nomount_ext::Error::Device(_) | nomount_ext::Error::OutOfBudget(_) => Error::from(error),
        error => Error::new(ErrorKind::Differs, "the staged filesystem cannot be read").caused_by(error),
    })?;
    let own = ExtTree::new(own);
    let view = Ext4::load(Box::new(Reader { staged: staged.clone(), last: (0, Vec::new()) }));
    let mut opinion = Opinion { readers: [EXT4_VIEW].into(), independent: 0, own: 0, reason: None };
    let mut read = HashSet::new();
    for (path, expected) in expected.iter() {
        // One name of a file is enough to read its contents.
        let contents = expected.is_some_and(|expected| read.insert(expected.ino));
        // Attributes, and whatever ext4-view cannot read, are left to our own reader.
        look_ourselves(&own, path, expected, contents)?;
        let seen = view
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|view| look_independently(view, path, expected, contents).map_err(|error| error.to_string()));
        match seen {
            Ok(None) => opinion.independent += 1,
            Ok(Some(what)) => return Err(differs(path, &what, EXT4_VIEW)),
            Err(reason) => {
                opinion.own += 1;
                opinion.reason.get_or_insert(reason);
            }
        }
    }
    Ok(Some(opinion))
}

fn file_kind(file_type: ext4_view::FileType) -> FileKind {
    match file_type {
        ext4_view::FileType::BlockDevice => FileKind::BlockDevice,
        ext4_view::FileType::CharacterDevice => FileKind::CharDevice,
        ext4_view::FileType::Directory => FileKind::Dir,
        ext4_view::FileType::Fifo => FileKind::Fifo,
        ext4_view::FileType::Regular => FileKind::File,
        ext4_view::FileType::Socket => FileKind::Socket,
        ext4_view::FileType::Symlink => FileKind::Symlink,
    }
}

/// What ext4-view sees differently, if anything.
fn look_independently(
    view: &Ext4,
    path: &GuestPath,
    expected: Option<&Expected>,
    contents: bool,
) -> Result<Option<String>, Ext4Error> {
    let bytes = path.to_bytes();
    let at = ext4_view::Path::try_from(&bytes[..]).map_err(|_| Ext4Error::MalformedPath)?;
    let meta = match (view.symlink_metadata(at), expected) {
        (Err(Ext4Error::NotFound | Ext4Error::NotADirectory), None) => return Ok(None),
        (meta, _) => meta?,
    };
    let Some(expected) = expected else { return Ok(Some(REMOVED.to_owned())) };
    let seen = Seen {
        kind: file_kind(meta.file_type()),
        mode: u32::from(meta.mode() & 0o7777),
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.len(),
        target: if meta.is_symlink() { Some(view.read_link(at)?.as_ref().to_vec()) } else { None },
    };
    if let Some(what) = seen.compare(expected) {
        return Ok(Some(what));
    }
    if expected.contents.is_empty() || !contents {
        return Ok(None);
    }
    let mut file = view.open(at)?;
    for piece in &expected.contents {
        file.seek_to(piece.offset)?;
        if !piece.is_read(|_, buf| file.read_bytes(buf))? {
            return Ok(Some(format!("contents from byte {}", piece.offset)));
        }
    }
    Ok(None)
}

fn look_ourselves<D: nomount_block::WriteAt>(
    tree: &ExtTree<D>,
    path: &GuestPath,
    expected: Option<&Expected>,
    contents: bool,
) -> Result<()> {
    let stat = match (tree.stat(path), expected) {
        (Err(e), None) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        (stat, _) => stat?,
    };
    let Some(expected) = expected else { return Err(differs(path, REMOVED, "a fresh reader")) };
    let seen = Seen {
        kind: stat.kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        size: stat.size,
        target: if stat.kind == FileKind::Symlink { Some(tree.read_link(path)?) } else { None },
    };
    let mut what = seen.compare(expected);
    let more = [
        (stat.ino == expected.ino, "inode"),
        (expected.links.is_none_or(|links| links == stat.links), "number of names"),
        (expected.times.is_none_or(|times| times == (stat.atime, stat.mtime)), "times"),
    ];
    if let Some((_, more)) = more.into_iter().find(|(same, _)| !same) {
        what.get_or_insert(more.to_owned());
    }
    for piece in expected.contents.iter().filter(|_| contents) {
        if !piece.is_read(|offset, buf| tree.read_at(path, offset, buf))? {
            what.get_or_insert(format!("contents from byte {}", piece.offset));
        }
    }
    if !expected.xattrs.is_empty() {
        let found = tree.xattrs(path)?;
        for (name, value) in &expected.xattrs {
            let seen = found.iter().find(|(found, _)| found == name).map(|(_, value)| value);
            if seen != value.as_ref() {
                what.get_or_insert(format!("attribute {}", name.escape_ascii()));
            }
        }
    }
    what.map_or(Ok(()), |what| Err(differs(path, &what, "a fresh reader")))
}

/// What a reader found at a path.
struct Seen {
    kind: FileKind,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    target: Option<Vec<u8>>,
}

impl Seen {
    fn compare(&self, expected: &Expected) -> Option<String> {
        let size_matters = expected.kind == FileKind::File;
        let checks = [
            (self.kind == expected.kind, "type"),
            (self.mode == expected.mode, "mode"),
            ((self.uid, self.gid) == (expected.uid, expected.gid), "owner"),
            (!size_matters || self.size == expected.size, "size"),
            (expected.target.is_none() || self.target == expected.target, "target"),
        ];
        checks.into_iter().find(|(same, _)| !same).map(|(_, what)| what.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Device;
    use super::*;
    use crate::tree::{NewNode, SetAttr, Time};
    use nomount_block::{Memory, Overlay, Shared, Spill, Window};
    use nomount_kit::fixture;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    type Changing<'a> = &'a dyn Fn(&mut dyn FileTree) -> Result<()>;

    /// The staged image after `change`, and what it asked for.
    fn changed(device: Device, change: Changing<'_>) -> (Part, Expectations) {
        let len = device.len();
        let staged = Window::new(Shared::new(Overlay::new(device, Spill::Never)), 0, len).unwrap();
        let mut tree = ExtTree::new(Filesystem::open_for_write(staged, Options::default()).unwrap());
        change(&mut tree).unwrap();
        let (_, expected) = tree.commit().unwrap();
        (tree.into_device(), expected)
    }

    fn every_kind(tree: &mut dyn FileTree) -> Result<()> {
        // First: it takes names of files along that nobody counts.
        tree.remove_tree(&path("/root"))?;
        tree.create(&path("/new"), NewNode::Dir, SetAttr::default())?;
        tree.create(&path("/new/f"), NewNode::File, SetAttr::default())?;
        tree.write_at(&path("/new/f"), 5000, b"contents")?;
        tree.rename(&path("/new"), &path("/moved"))?;
        tree.rename(&path("/etc/hostname"), &path("/etc/shadow"))?;
        tree.link(&path("/etc/group"), &path("/moved/group"))?;
        tree.unlink(&path("/etc/passwd"))?;
        tree.truncate(&path("/etc/group"), 10)?;
        let mtime = Some(Time { sec: 1_000_000_000, nsec: 0 });
        tree.set_attr(&path("/moved/f"), SetAttr { mode: Some(0o600), mtime, ..SetAttr::default() })
    }

    #[test]
    fn what_was_asked_for_is_found_by_both_readers() {
        for name in ["ext2-1k", "ext4-147", "ext4-142"] {
            let (staged, expected) = changed(Box::new(fixture::memory(name)), &every_kind);
            let opinion = look(staged, Content::Ext4, &expected, Verify::Auto, &Budget::default()).unwrap().unwrap();
            assert_eq!((opinion.independent, opinion.own), (expected.len(), 0), "{name}: {opinion:?}");
        }
    }

    #[test]
    fn what_was_not_done_is_noticed() {
        let memory = fixture::memory("ext4-147");
        let (staged, expected) = changed(Box::new(memory), &every_kind);
        let mut all = vec![0; staged.len() as usize];
        staged.read_at(0, &mut all).unwrap();
        let done = Memory::new(all);
        let none = SetAttr::default();
        let undo: [(&str, Changing<'_>); 9] = [
            ("a removed file", &|tree| tree.create(&path("/etc/passwd"), NewNode::File, none)),
            ("a removed directory", &|tree| tree.create(&path("/root"), NewNode::Dir, none)),
            ("the old name", &|tree| tree.create(&path("/new"), NewNode::Dir, none)),
            ("a replaced file", &|tree| {
                tree.unlink(&path("/etc/shadow"))?;
                tree.create(&path("/etc/shadow"), NewNode::File, none)
            }),
            ("a link", &|tree| {
                tree.unlink(&path("/moved/group"))?;
                tree.create(&path("/moved/group"), NewNode::File, none)
            }),
            ("one name more", &|tree| tree.link(&path("/etc/group"), &path("/etc/more"))),
            ("a length", &|tree| tree.truncate(&path("/etc/group"), 11)),
            ("contents", &|tree| tree.write_at(&path("/moved/f"), 5001, b"O")),
            ("a time", &|tree| {
                tree.set_attr(&path("/moved/f"), SetAttr { mtime: Some(Time { sec: 1, nsec: 0 }), ..none })
            }),
        ];
        for (what, change) in undo {
            let (staged, _) = changed(Box::new(done.clone()), change);
            let error = look(staged, Content::Ext4, &expected, Verify::Auto, &Budget::default()).expect_err(what);
            assert!(matches!(error.kind(), ErrorKind::Differs | ErrorKind::NotFound), "{what}: {error}");
        }
    }
}
