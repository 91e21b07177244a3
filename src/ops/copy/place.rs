//! Making one file after another in a guest.

use super::{Copied, CopyOptions, Existing, Sparse};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::populate::{GuestData, Meta, clean, split};
use crate::ops::{Progress, Silent};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, MAX_NAME, MAX_PATH, NewNode, SetAttr, Stat, Xattr, resolve};
use std::collections::HashSet;

/// Bytes of a file that are held at once.
const BUFFER: usize = 1 << 20;
/// Zeroes of this length and place may become a hole.
const HOLE: usize = 4096;

/// The next piece of a file's data: where it begins and how many bytes of the buffer it fills. It may read the tree
/// that is written.
pub(super) type NextData<'a> = dyn FnMut(&dyn FileTree, &mut [u8]) -> Result<Option<(u64, usize)>> + 'a;

/// What to make.
pub(super) enum Thing<'a> {
    /// A regular file of so many bytes.
    File(u64, &'a mut NextData<'a>),
    Dir,
    /// Another name of what is at this path below the top.
    HardLink(&'a [u8]),
    /// Anything else.
    Node(NewNode),
}

/// A directory whose attributes wait until everything is in it: a default access list would be inherited, and new
/// names change the time.
struct Late {
    place: GuestPath,
    meta: Meta,
    made: bool,
}

/// Makes what sources tell below one place of a guest.
pub(super) struct Placer<'a> {
    how: &'a CopyOptions,
    owner: (Option<u32>, Option<u32>),
    /// Where the entry with the empty path goes. No links are in it.
    top: GuestPath,
    /// The directory of the last entry, as it was told and where it is.
    parent: Option<(Vec<u8>, GuestPath)>,
    later: Vec<Late>,
    /// Symbolic links that were made here.
    links: HashSet<GuestPath>,
    /// All that a layer has made, which its own whiteouts leave alone.
    pub(super) made: HashSet<GuestPath>,
    buffer: Vec<u8>,
    /// What has attributes that the filesystem cannot store.
    lossy: HashSet<GuestPath>,
    done: Copied,
}

impl<'a> Placer<'a> {
    /// Something that makes files at `top`, whose directory exists and in which there are no links.
    pub(super) fn new(editor: &Editor<'_>, top: GuestPath, how: &'a CopyOptions) -> Result<Self> {
        let owner = how.owner.as_ref().map(|owner| owner.look_up(editor.tree())).transpose()?.unwrap_or_default();
        Ok(Self {
            how,
            owner,
            top,
            parent: None,
            later: Vec::new(),
            links: HashSet::new(),
            made: HashSet::new(),
            buffer: vec![0; BUFFER],
            lossy: HashSet::new(),
            done: Copied::default(),
        })
    }

    /// Makes one thing at `path` below the top.
    pub(super) fn place(
        &mut self,
        editor: &mut Editor<'_>,
        path: &[u8],
        thing: Thing<'_>,
        meta: Meta,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let path = clean(path)?;
        let place = if path.is_empty() {
            self.top.clone()
        } else {
            let (parent, name) = split(&path);
            let dir = self.dir(editor, parent)?;
            if self.how.existing == Existing::Layer && self.whiteout(editor, &dir, name)? {
                return Ok(());
            }
            joined(&dir, name)?
        };
        progress.at(&place.to_bytes());
        if self.how.existing == Existing::Layer {
            self.made.insert(place.clone());
        }
        self.done.entries += 1;
        match thing {
            Thing::Dir => self.make_dir(editor, &place, meta),
            Thing::HardLink(target) => self.link(editor, &clean(target)?, &place),
            Thing::File(size, next) => {
                self.give_way(editor, &place)?;
                self.begin(editor, &place, NewNode::File, self.attr(&meta, FileKind::File))?;
                self.write(editor, &place, size, next, progress)?;
                self.finish(editor, &place, &meta, FileKind::File)
            }
            Thing::Node(node) => {
                self.give_way(editor, &place)?;
                let kind = if let NewNode::Symlink(_) = &node { FileKind::Symlink } else { FileKind::Fifo };
                if kind == FileKind::Symlink {
                    self.links.insert(place.clone());
                }
                self.begin(editor, &place, node, self.attr(&meta, kind))?;
                self.finish(editor, &place, &meta, kind)
            }
        }
    }

    /// Gives directories their attributes, the innermost first.
    pub(super) fn finish_dirs(mut self, editor: &mut Editor<'_>) -> Result<Copied> {
        while let Some(Late { place, meta, made }) = self.later.pop() {
            if made {
                let attr = self.asked_for(&meta, FileKind::Dir);
                self.as_far_as_can_be(&place, attr, self.xattrs(&meta), |attr, xattrs| {
                    editor.finish_dir(&place, attr, xattrs)
                })?;
            } else {
                self.change_dir(editor, &place, &meta)?;
            }
        }
        Ok(self.done)
    }

    /// Of a directory that was there, only what was asked for changes.
    fn change_dir(&mut self, editor: &mut Editor<'_>, place: &GuestPath, meta: &Meta) -> Result<()> {
        let (keep, before) = (self.how.keep, editor.tree().stat(place)?.mode);
        let base = if keep.mode { u32::from(meta.mode) } else { before };
        let mode = self.how.mode.as_ref().map(|change| change.apply(base, true));
        let time = keep.timestamps.then_some(meta.mtime);
        let attr = SetAttr {
            mode: mode.or(keep.mode.then_some(base)),
            uid: self.owner.0.or(keep.ownership.then_some(meta.uid)),
            gid: self.owner.1.or(keep.ownership.then_some(meta.gid)),
            atime: time,
            mtime: time,
        };
        self.as_far_as_can_be(place, attr, self.xattrs(meta), |attr, xattrs| {
            for (name, value) in xattrs {
                editor.set_xattr(place, name, Some(value))?;
            }
            editor.set(place, Wanted { mode: attr.mode, uid: attr.uid, gid: attr.gid })?;
            editor.set_times(place, attr.atime, attr.mtime)
        })
    }

    /// Sets attributes. What the filesystem cannot store of those that came along with a file is noted and left out;
    /// it is an error where it was asked for by itself.
    fn as_far_as_can_be(
        &mut self,
        place: &GuestPath,
        attr: SetAttr,
        xattrs: &[Xattr],
        mut set: impl FnMut(SetAttr, &[Xattr]) -> Result<()>,
    ) -> Result<()> {
        let explicit = self.explicit(attr);
        let fewer = [(attr, xattrs), (attr, &[]), (explicit, &[])];
        for (attr, xattrs) in fewer {
            match set(attr, xattrs) {
                Err(error) if error.kind() == ErrorKind::Unsupported => self.lose(place, &error),
                result => return result,
            }
        }
        // The root directory may have no times.
        set(SetAttr { atime: None, mtime: None, ..explicit }, &[])
    }

    /// Of these attributes, those that were asked for by themselves, and times.
    fn explicit(&self, attr: SetAttr) -> SetAttr {
        SetAttr {
            mode: attr.mode.filter(|_| self.how.mode.is_some()),
            uid: attr.uid.filter(|_| self.owner.0.is_some()),
            gid: attr.gid.filter(|_| self.owner.1.is_some()),
            ..attr
        }
    }

    /// Notes that not all attributes of a file can be stored.
    fn lose(&mut self, place: &GuestPath, error: &Error) {
        if self.lossy.insert(place.clone()) {
            self.done.lost.add(|| format!("{place}: {}", error.message()));
        }
    }

    fn begin(&mut self, editor: &mut Editor<'_>, place: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        let made = editor.begin(place, node.clone(), attr);
        match made {
            // A link or a device that cannot be made is none without its owner either.
            Err(error) if error.kind() == ErrorKind::Unsupported && matches!(node, NewNode::File | NewNode::Dir) => {
                self.lose(place, &error);
                editor.begin(place, node, self.explicit(attr))
            }
            made => made,
        }
    }

    /// Adds to what is told at the end.
    pub(super) fn note(&mut self, notes: impl IntoIterator<Item = String>) {
        self.done.notes.extend(notes);
    }

    /// All attributes of something new, or of something the source tells.
    fn attr(&self, meta: &Meta, kind: FileKind) -> SetAttr {
        let keep = self.how.keep;
        let plain = match kind {
            _ if self.how.modes_of_source => u32::from(meta.mode) & 0o755,
            FileKind::Dir => 0o755,
            _ if meta.mode & 0o111 != 0 => 0o755,
            _ => 0o644,
        };
        let mode = if keep.mode { u32::from(meta.mode) } else { plain };
        let mode = self.how.mode.as_ref().map_or(mode, |change| change.apply(mode, kind == FileKind::Dir));
        let (uid, gid) = if keep.ownership { (meta.uid, meta.gid) } else { (0, 0) };
        let time = keep.timestamps.then_some(meta.mtime);
        SetAttr {
            // A link has all bits, whatever a source says.
            mode: (kind != FileKind::Symlink).then_some(mode),
            uid: Some(self.owner.0.unwrap_or(uid)),
            gid: Some(self.owner.1.unwrap_or(gid)),
            atime: time,
            mtime: time,
        }
    }

    /// Those that something new does not have when it is made, or may have lost since: what nobody asked for is as the
    /// filesystem has it.
    fn asked_for(&self, meta: &Meta, kind: FileKind) -> SetAttr {
        let all = self.attr(meta, kind);
        let mode = all.mode.filter(|_| self.how.keep.mode || self.how.mode.is_some());
        SetAttr { mode, atime: all.atime, mtime: all.mtime, ..SetAttr::default() }
    }

    fn xattrs<'m>(&self, meta: &'m Meta) -> &'m [Xattr] {
        if self.how.keep.xattrs { &meta.xattrs } else { &[] }
    }

    fn finish(&mut self, editor: &mut Editor<'_>, place: &GuestPath, meta: &Meta, kind: FileKind) -> Result<()> {
        let (attr, exactly) = (self.asked_for(meta, kind), self.how.keep.xattrs);
        self.as_far_as_can_be(place, attr, self.xattrs(meta), |attr, xattrs| {
            editor.finish(place, attr, xattrs, exactly)
        })
    }

    /// The directory at a path below the top. Links that were there before are followed inside the guest; those that
    /// were made here lead nowhere but below the top. What is missing is made, as tar does.
    fn dir(&mut self, editor: &mut Editor<'_>, path: &[u8]) -> Result<GuestPath> {
        if let Some((told, place)) = &self.parent
            && told == path
        {
            return Ok(place.clone());
        }
        let mut here = self.top.clone();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let next = joined(&here, name)?;
            let is_dir = |kind| kind == FileKind::Dir;
            here = match editor.tree().stat(&next) {
                Ok(stat) if is_dir(stat.kind) => next,
                Ok(stat) if stat.kind == FileKind::Symlink => {
                    let found = resolve(editor.tree(), &next, Follow::Last)?;
                    if !found.stat.is_some_and(|stat| is_dir(stat.kind)) {
                        return Err(not_a_dir(&next));
                    }
                    if self.links.contains(&next) && found.path != self.top && !found.path.is_below(&self.top) {
                        let message = format!("a symbolic link of the source itself leads out, to {}", found.path);
                        return Err(Error::new(ErrorKind::Refused, message).at_path(next.to_bytes()));
                    }
                    found.path
                }
                Ok(_) => return Err(not_a_dir(&next)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_missing(editor, &next)?;
                    next
                }
                Err(error) => return Err(error),
            };
        }
        self.parent = Some((path.to_vec(), here.clone()));
        Ok(here)
    }

    fn make_missing(&mut self, editor: &mut Editor<'_>, place: &GuestPath) -> Result<()> {
        self.done.notes.push(format!("{place}: made, because there is no entry for it"));
        self.done.directories += 1;
        if self.how.existing == Existing::Layer {
            self.made.insert(place.clone());
        }
        let (uid, gid) = (self.owner.0.unwrap_or(0), self.owner.1.unwrap_or(0));
        let attr = SetAttr { mode: Some(0o755), uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
        self.begin(editor, place, NewNode::Dir, attr)?;
        editor.finish(place, SetAttr::default(), &[], false)
    }

    fn make_dir(&mut self, editor: &mut Editor<'_>, place: &GuestPath, meta: Meta) -> Result<()> {
        self.done.directories += 1;
        let there = match editor.tree().stat(place) {
            Ok(stat) => Some(stat.kind),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match (there, self.how.existing) {
            (Some(FileKind::Dir), _) => {
                self.later.push(Late { place: place.clone(), meta, made: false });
                return Ok(());
            }
            (Some(FileKind::Symlink), Existing::Merge | Existing::Unpack { keep_directory_symlink: true }) => {
                // Looked at, and refused, when something is to go into it.
                let found = resolve(editor.tree(), place, Follow::Last)?;
                if found.stat.is_some_and(|stat| stat.kind == FileKind::Dir) {
                    return Ok(());
                }
                if self.how.existing == Existing::Merge {
                    return Err(not_a_dir(place));
                }
                self.remove(editor, place)?;
            }
            (Some(_), Existing::Merge) => return Err(not_a_dir(place)),
            (Some(_), _) => self.remove(editor, place)?,
            (None, _) => {}
        }
        let attr = self.attr(&meta, FileKind::Dir);
        self.begin(editor, place, NewNode::Dir, attr)?;
        editor.finish(place, SetAttr::default(), &[], self.how.keep.xattrs)?;
        self.later.push(Late { place: place.clone(), meta, made: true });
        Ok(())
    }

    fn link(&mut self, editor: &mut Editor<'_>, target: &[u8], place: &GuestPath) -> Result<()> {
        self.done.hard_links += 1;
        let (parent, name) = split(target);
        let target = if target.is_empty() {
            self.top.clone()
        } else {
            let kept = self.parent.clone();
            let dir = self.dir(editor, parent)?;
            self.parent = kept;
            joined(&dir, name)?
        };
        let first = editor.tree().stat(&target).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let message = format!("hard link to {target}, which does not exist");
                Error::new(ErrorKind::NotFound, message).at_path(place.to_bytes())
            }
            _ => error,
        })?;
        match editor.tree().stat(place) {
            Ok(stat) if target == *place || stat.ino != 0 && stat.id() == first.id() => return Ok(()),
            _ => self.give_way(editor, place)?,
        }
        if first.kind == FileKind::Symlink {
            self.links.insert(place.clone());
        }
        match editor.link(&target, place) {
            Err(error) if error.kind() == ErrorKind::Unsupported && first.kind == FileKind::File => {
                self.done.split.add(|| format!("{place}: {}", error.message()));
                self.done.hard_links -= 1;
                self.copy(editor, &target, &first, place)
            }
            linked => linked,
        }
    }

    /// Makes a file of its own of what would be another name of `target`.
    fn copy(&mut self, editor: &mut Editor<'_>, target: &GuestPath, first: &Stat, place: &GuestPath) -> Result<()> {
        let time = self.how.keep.timestamps.then_some(first.mtime);
        let (mode, uid, gid) = (Some(first.mode), Some(first.uid), Some(first.gid));
        editor.begin(place, NewNode::File, SetAttr { mode, uid, gid, atime: time, mtime: time })?;
        let mut data = GuestData::new(editor.tree(), target)?;
        let mut next = |tree: &dyn FileTree, buf: &mut [u8]| data.next(tree, buf);
        self.write(editor, place, first.size, &mut next, &mut Silent)?;
        editor.finish(place, SetAttr { atime: time, mtime: time, ..SetAttr::default() }, &[], false)
    }

    /// Removes what is at `place`, where something else than a directory is to be.
    fn give_way(&mut self, editor: &mut Editor<'_>, place: &GuestPath) -> Result<()> {
        let kind = match editor.tree().stat(place) {
            Ok(stat) => stat.kind,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if kind == FileKind::Dir && self.how.existing == Existing::Merge {
            let message = "a directory is in the place of what is no directory";
            return Err(Error::new(ErrorKind::IsADirectory, message).at_path(place.to_bytes()));
        }
        self.remove(editor, place)
    }

    fn remove(&mut self, editor: &mut Editor<'_>, place: &GuestPath) -> Result<()> {
        // Directories may have been reached through it.
        self.parent = None;
        self.links.remove(place);
        if self.how.existing == Existing::Layer { editor.remove_tree(place) } else { editor.remove(place) }
    }

    fn write(
        &mut self,
        editor: &mut Editor<'_>,
        place: &GuestPath,
        size: u64,
        next: &mut NextData<'_>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let mut end = 0;
        while let Some((offset, len)) = next(editor.tree(), &mut self.buffer)? {
            let piece = &self.buffer[..len];
            match self.how.sparse {
                Sparse::Auto => editor.fill(place, offset, piece)?,
                Sparse::Always => each_data(offset, piece, |at, data| editor.fill(place, at, data))?,
                Sparse::Never => {
                    zeroes(editor, place, end, offset)?;
                    editor.fill(place, offset, piece)?;
                }
            }
            self.done.bytes += len as u64;
            progress.add(len as u64);
            end = offset + len as u64;
        }
        match self.how.sparse {
            Sparse::Never => zeroes(editor, place, end, size),
            _ if end < size || self.how.sparse == Sparse::Always => editor.fill_to(place, size.max(end)),
            _ => Ok(()),
        }
    }
}

fn not_a_dir(place: &GuestPath) -> Error {
    Error::new(ErrorKind::NotADirectory, "not a directory").at_path(place.to_bytes())
}

/// A name in a directory; refused where no kernel would have it.
fn joined(dir: &GuestPath, name: &[u8]) -> Result<GuestPath> {
    let invalid = |why: String| Err(Error::new(ErrorKind::Invalid, why).at_path(dir.to_bytes()));
    if name.contains(&0) {
        return invalid(format!("the name {} contains a NUL byte", name.escape_ascii()));
    }
    if name.len() > MAX_NAME {
        return invalid(format!("a name of {} bytes is longer than {MAX_NAME}", name.len()));
    }
    let place = dir.join(name);
    if place.to_bytes().len() > MAX_PATH {
        return invalid(format!("a path in it is longer than {MAX_PATH} bytes"));
    }
    Ok(place)
}

fn zeroes(editor: &mut Editor<'_>, place: &GuestPath, from: u64, to: u64) -> Result<()> {
    let zero = vec![0; BUFFER.min(to.saturating_sub(from) as usize)];
    let mut at = from;
    while at < to {
        let len = (to - at).min(BUFFER as u64);
        editor.fill(place, at, &zero[..len as usize])?;
        at += len;
    }
    Ok(())
}

/// Calls `write` with the stretches of `piece`, which is at `offset` of a file, that are not zero.
fn each_data(offset: u64, piece: &[u8], mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    // The first part ends where holes may begin.
    let mut cut = (HOLE - (offset % HOLE as u64) as usize).min(piece.len());
    let (mut from, mut at) = (0, 0);
    while at < piece.len() {
        if piece[at..cut].iter().all(|byte| *byte == 0) {
            if from < at {
                write(offset + from as u64, &piece[from..at])?;
            }
            from = cut;
        }
        at = cut;
        cut = (cut + HOLE).min(piece.len());
    }
    if from < at { write(offset + from as u64, &piece[from..at]) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_become_holes_where_blocks_are() {
        let mut piece = vec![1; 3 * HOLE];
        piece[HOLE - 10..2 * HOLE].fill(0);
        let found = |offset, piece: &[u8]| {
            let mut found = Vec::new();
            each_data(offset, piece, |at, data| {
                found.push((at, data.len()));
                Ok(())
            })
            .unwrap();
            found
        };
        assert_eq!(found(0, &piece), [(0, HOLE), (2 * HOLE as u64, HOLE)]);
        assert_eq!(found(10, &piece), [(10, HOLE - 10), (2 * HOLE as u64, HOLE + 10)]);
        assert_eq!(found(5, &[0; 100]), []);
    }
}
