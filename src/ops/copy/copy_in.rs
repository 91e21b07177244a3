//! Copying what a source tells into a guest.

use super::place::{Placer, Thing};
use super::{Copied, CopyOptions};
use crate::error::Result;
use crate::ops::Progress;
use crate::ops::editor::Editor;
use crate::ops::populate::{Contents, Item, Node, Source};
use crate::tree::{FileTree, GuestPath, NewNode};

/// Makes everything that `source` tells at `to`: the entry with an empty path there, all others below. No links are in
/// `to`, and its directory exists.
pub fn copy_in(
    editor: &mut Editor<'_>,
    source: &mut dyn Source,
    to: &GuestPath,
    how: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied> {
    let mut placer = Placer::new(editor, to.clone(), how)?;
    let mut notes = Vec::new();
    source.each(&mut notes, &mut |item| {
        let Item { path, node, meta } = item;
        let node = match node {
            Node::File(size, contents) => {
                let mut next = read(contents);
                return placer.place(editor, path, Thing::File(size, &mut next), meta, progress);
            }
            Node::HardLink(target) => return placer.place(editor, path, Thing::HardLink(target), meta, progress),
            Node::Dir => return placer.place(editor, path, Thing::Dir, meta, progress),
            Node::Symlink(target) => NewNode::Symlink(target.to_vec()),
            Node::CharDevice(major, minor) => NewNode::CharDevice(major, minor),
            Node::BlockDevice(major, minor) => NewNode::BlockDevice(major, minor),
            Node::Fifo => NewNode::Fifo,
            Node::Socket => NewNode::Socket,
        };
        placer.place(editor, path, Thing::Node(node), meta, progress)
    })?;
    placer.note(notes);
    placer.finish_dirs(editor)
}

/// Contents that do not depend on the tree that is written.
fn read(contents: &mut dyn Contents) -> impl FnMut(&dyn FileTree, &mut [u8]) -> Result<Option<(u64, usize)>> {
    |_, buf| contents.next_data(buf)
}
