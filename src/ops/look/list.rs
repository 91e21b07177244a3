//! The files in directories, as ls(1) goes through them.

use crate::error::Result;
use crate::tree::{FileKind, FileTree, GuestPath, Stat, Walk};
use nomount_block::Budget;

/// A file, and where a symbolic link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path, without links in it but a last one.
    pub path: GuestPath,
    /// What is known of it.
    pub stat: Stat,
    /// The target of a symbolic link; raw bytes.
    pub target: Option<Vec<u8>>,
}

/// Looks at what is at `path`, without following it.
pub fn look(tree: &dyn FileTree, path: &GuestPath) -> Result<FileInfo> {
    let stat = tree.stat(path)?;
    with_target(tree, path.clone(), stat)
}

pub(super) fn with_target(tree: &dyn FileTree, path: GuestPath, stat: Stat) -> Result<FileInfo> {
    let target = if stat.kind == FileKind::Symlink { Some(tree.read_link(&path)?) } else { None };
    Ok(FileInfo { path, stat, target })
}

/// Which files are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Names that begin with a dot, too.
    pub all: bool,
    /// Directories below, too.
    pub recursive: bool,
}

/// A directory and what is in it, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The directory.
    pub path: GuestPath,
    /// The files in it.
    pub files: Vec<FileInfo>,
}

/// Memory of a file that is told of, its path among it, while the list grows.
const FILE_BYTES: u64 = 448;

/// Gives `sink` the directory `top`, which has no links in it, and with `recursive` those below, each before what is
/// in it. The files of one directory take their memory from `memory`. Errors as [`Walk`].
pub fn list(
    tree: &dyn FileTree,
    top: &GuestPath,
    options: ListOptions,
    memory: &Budget,
    sink: &mut dyn FnMut(Folder) -> Result<()>,
) -> Result<()> {
    let hidden = |path: &GuestPath| !options.all && path.name().is_some_and(|name| name.starts_with(b"."));
    let mut folders = Walk::to_depth(top.clone(), if options.recursive { usize::MAX } else { 1 });
    while let Some((path, stat)) = folders.next(tree)? {
        if stat.kind != FileKind::Dir || path != *top && (!options.recursive || hidden(&path)) {
            folders.prune();
            continue;
        }
        let mut files = Vec::new();
        let mut held = memory.hold("the files of a directory");
        let mut inside = Walk::to_depth(path.clone(), 1);
        inside.next(tree)?;
        while let Some((path, stat)) = inside.next(tree)? {
            if !hidden(&path) {
                let file = with_target(tree, path, stat)?;
                held.grow(FILE_BYTES + file.target.as_ref().map_or(0, |target| target.len() as u64))?;
                files.push(file);
            }
        }
        sink(Folder { path, files })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn shown(options: ListOptions) -> Vec<String> {
        let mut tree = MemTree::new();
        tree.file("/d/b", "").file("/d/.h/x", "").file("/d/a/c", "").link("/d/l", "a").dir("/d/empty");
        let mut lines = Vec::new();
        let top = GuestPath::parse("/d").unwrap();
        list(&tree, &top, options, &Budget::default(), &mut |folder| {
            let names: Vec<String> = folder.files.iter().map(|file| file.path.to_string()).collect();
            lines.push(format!("{}: {}", folder.path, names.join(" ")));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn directories_with_what_is_in_them() {
        let options = ListOptions::default();
        assert_eq!(shown(options), ["/d: /d/a /d/b /d/empty /d/l"]);
        let all = ListOptions { all: true, ..options };
        assert_eq!(shown(all), ["/d: /d/.h /d/a /d/b /d/empty /d/l"]);
        let recursive = ListOptions { recursive: true, ..options };
        assert_eq!(shown(recursive), ["/d: /d/a /d/b /d/empty /d/l", "/d/a: /d/a/c", "/d/empty: "]);
        assert_eq!(shown(ListOptions { all: true, recursive: true })[1], "/d/.h: /d/.h/x");
    }
}
