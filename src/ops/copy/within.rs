//! Copying inside a guest.

use super::place::{Placer, Thing};
use super::{Copied, CopyOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Progress;
use crate::ops::editor::Editor;
use crate::ops::populate::GuestWalk;
use crate::tree::{FileKind, FileTree, GuestPath, NewNode};

/// Copies what is at `from`, and all below, to `to`. No links are in either, and the directory of `to` exists.
///
/// A file onto itself and a directory into itself are refused, as cp(1) does.
pub fn copy_within(
    editor: &mut Editor<'_>,
    from: &GuestPath,
    to: &GuestPath,
    how: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, why).at_path(from.to_bytes()));
    if to.is_below(from) {
        return refused("a directory cannot be copied into itself");
    }
    let source = editor.tree().stat(from)?;
    if from == to
        || source.ino != 0
            && source.kind != FileKind::Dir
            && editor.tree().stat(to).is_ok_and(|stat| stat.id() == source.id())
    {
        return refused("source and destination are the same file");
    }
    if from.is_below(to) && source.kind != FileKind::Dir {
        return Err(Error::new(ErrorKind::IsADirectory, "is a directory").at_path(to.to_bytes()));
    }
    let mut placer = Placer::new(editor, to.clone(), how)?;
    // The session's own filesystem says when there is no room.
    let mut walk = GuestWalk::new(from.clone(), u64::MAX, how.keep.links, how.keep.xattrs);
    while let Some(met) = walk.next(editor.tree())? {
        let (path, meta) = (&met.path[..], met.meta());
        if let Some(first) = &met.first {
            placer.place(editor, path, Thing::HardLink(first), meta, progress)?;
            continue;
        }
        let (major, minor) = met.stat.device.unwrap_or_default();
        let node = match met.stat.kind {
            FileKind::File => {
                let mut data = met.data();
                let mut next = |tree: &dyn FileTree, buf: &mut [u8]| data.next(tree, buf);
                placer.place(editor, path, Thing::File(met.stat.size, &mut next), meta, progress)?;
                continue;
            }
            FileKind::Dir => {
                placer.place(editor, path, Thing::Dir, meta, progress)?;
                continue;
            }
            FileKind::Symlink => NewNode::Symlink(met.target(editor.tree())?),
            FileKind::CharDevice => NewNode::CharDevice(major, minor),
            FileKind::BlockDevice => NewNode::BlockDevice(major, minor),
            FileKind::Fifo => NewNode::Fifo,
            FileKind::Socket => NewNode::Socket,
        };
        placer.place(editor, path, Thing::Node(node), meta, progress)?;
    }
    placer.finish_dirs(editor)
}
