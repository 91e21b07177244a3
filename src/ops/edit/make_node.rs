//! `mknod`.

use super::mode::{ModeChange, UMASK};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{Follow, GuestPath, NewNode, resolve};

/// The highest major number of a device, as Linux stores it: 12 bits.
pub const MAX_MAJOR: u32 = 0xfff;
/// The highest minor number of a device, as Linux stores it: 20 bits.
pub const MAX_MINOR: u32 = 0xf_ffff;

/// Makes a device, a named pipe or a socket, root's with mode 0644; a symbolic `mode` starts from 0666.
pub fn make_node(editor: &mut Editor<'_>, path: &GuestPath, node: NewNode, mode: Option<&ModeChange>) -> Result<()> {
    if let NewNode::CharDevice(major, minor) | NewNode::BlockDevice(major, minor) = node
        && (major > MAX_MAJOR || minor > MAX_MINOR)
    {
        let message = format!("device {major}, {minor} is beyond {MAX_MAJOR}, {MAX_MINOR}");
        return Err(Error::new(ErrorKind::Invalid, message).at_path(path.to_bytes()));
    }
    let found = resolve(editor.tree(), path, Follow::NotLast)?;
    if found.stat.is_some() {
        return Err(Error::new(ErrorKind::Exists, "file exists").at_path(path.to_bytes()));
    }
    let mode = mode.map_or(0o666 & !UMASK, |mode| mode.apply(0o666, false));
    editor.node(&found.path, node, mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;
    use crate::tree::{FileKind, FileTree};

    #[test]
    fn numbers_are_those_that_linux_can_store() {
        let mut tree = MemTree::new();
        let mut mknod = |text: &str, node, mode: Option<&str>| {
            let mode = mode.map(|mode| ModeChange::parse(mode).unwrap());
            let path = GuestPath::parse(text).unwrap();
            make_node(&mut Editor::new(&mut tree), &path, node, mode.as_ref()).map_err(|error| error.kind())
        };
        mknod("/null", NewNode::CharDevice(1, 3), Some("666")).unwrap();
        mknod("/high", NewNode::BlockDevice(MAX_MAJOR, MAX_MINOR), Some("o-r")).unwrap();
        mknod("/pipe", NewNode::Fifo, None).unwrap();
        assert_eq!(mknod("/x", NewNode::CharDevice(MAX_MAJOR + 1, 0), None), Err(ErrorKind::Invalid));
        assert_eq!(mknod("/x", NewNode::CharDevice(0, MAX_MINOR + 1), None), Err(ErrorKind::Invalid));
        assert_eq!(mknod("/pipe", NewNode::Fifo, None), Err(ErrorKind::Exists));
        let stat = tree.stat(&GuestPath::parse("/null").unwrap()).unwrap();
        assert_eq!((stat.kind, stat.device, stat.mode), (FileKind::CharDevice, Some((1, 3)), 0o666));
        assert_eq!((tree.mode("/high"), tree.mode("/pipe")), (0o662, 0o644));
    }
}
