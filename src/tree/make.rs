//! Making directories and writing files by path, with links followed inside the guest.

use super::resolve::{Follow, must_be_file, resolve};
use super::{FileKind, FileTree, GuestPath, NewNode, SetAttr};
use crate::error::{Error, ErrorKind, Result};

/// What writing to a path came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file that was written, links followed.
    pub path: GuestPath,
    /// Its length before, in bytes; none when it was created.
    pub before: Option<u64>,
    /// Its length now, in bytes.
    pub after: u64,
    /// Whether anything was written: contents that are there already are left alone, with their times.
    pub changed: bool,
}

/// The directories that were missing on the way to a path, and the place it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeDirs {
    /// The directory, links followed.
    pub path: GuestPath,
    /// What was created, outermost first.
    pub created: Vec<GuestPath>,
}

/// Creates `path` and every directory missing on the way with attributes `new`; one that exists stays as it is (V2).
///
/// A link to a directory is followed; a link to nothing is an error, as for mkdir(1).
pub fn make_dirs(tree: &mut dyn FileTree, path: &GuestPath, new: SetAttr) -> Result<MadeDirs> {
    let mut here = GuestPath::root();
    let mut created = Vec::new();
    for name in path.components() {
        let next = here.join(name);
        match resolve(tree, &next, Follow::Last)? {
            found if found.stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Dir) => here = found.path,
            found if found.stat.is_some() => {
                return Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(next.to_bytes()));
            }
            found if found.path != next => {
                let message = format!("a symbolic link to {}, which does not exist", found.path);
                return Err(Error::new(ErrorKind::NotFound, message).at_path(next.to_bytes()));
            }
            _ => {
                tree.create(&next, NewNode::Dir, new)?;
                created.push(next.clone());
                here = next;
            }
        }
    }
    Ok(MadeDirs { path: here, created })
}

/// Makes `contents` the whole of the file that `path` leads to.
///
/// A file that exists keeps inode, owner, mode and extended attributes (L2); one that does not is created with
/// attributes `new`, also through a link to it. Its directory must exist.
pub fn replace(tree: &mut dyn FileTree, path: &GuestPath, contents: &[u8], new: SetAttr) -> Result<Written> {
    let found = resolve(tree, path, Follow::Last)?;
    let after = contents.len() as u64;
    let Some(stat) = found.stat else {
        return create(tree, found.path, contents, new);
    };
    must_be_file(&found.path, &stat)?;
    let changed = stat.size != after || !holds(tree, &found.path, contents)?;
    if changed {
        tree.write_file(&found.path, contents)?;
    }
    Ok(Written { path: found.path, before: Some(stat.size), after, changed })
}

/// Adds `contents` to the end of the file that `path` leads to, and creates it as [`replace`] does.
pub fn append(tree: &mut dyn FileTree, path: &GuestPath, contents: &[u8], new: SetAttr) -> Result<Written> {
    let found = resolve(tree, path, Follow::Last)?;
    let Some(stat) = found.stat else {
        return create(tree, found.path, contents, new);
    };
    must_be_file(&found.path, &stat)?;
    let after = stat.size.saturating_add(contents.len() as u64);
    if !contents.is_empty() {
        tree.append_file(&found.path, contents)?;
    }
    Ok(Written { path: found.path, before: Some(stat.size), after, changed: !contents.is_empty() })
}

fn create(tree: &mut dyn FileTree, path: GuestPath, contents: &[u8], new: SetAttr) -> Result<Written> {
    tree.create(&path, NewNode::File, new)?;
    if !contents.is_empty() {
        tree.write_file(&path, contents)?;
    }
    Ok(Written { path, before: None, after: contents.len() as u64, changed: true })
}

/// Whether the file begins with exactly `contents`.
fn holds(tree: &dyn FileTree, path: &GuestPath, contents: &[u8]) -> Result<bool> {
    let mut buffer = vec![0; contents.len().min(1 << 16)];
    let mut done = 0;
    while done < contents.len() {
        let part = &mut buffer[..(contents.len() - done).min(1 << 16)];
        let read = tree.read_at(path, done as u64, part)?;
        if read == 0 || part[..read] != contents[done..done + read] {
            return Ok(false);
        }
        done += read;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::memtree::MemTree;
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    const MODE_700: SetAttr = SetAttr { mode: Some(0o700), uid: None, gid: None, atime: None, mtime: None };

    #[test]
    fn v2_make_path_creates_what_is_missing_and_repeats_quietly() {
        let mut tree = MemTree::new();
        tree.dir("/var/lib").link("/opt", "var/lib");
        let made = make_dirs(&mut tree, &path("/opt/a/b"), MODE_700).unwrap();
        assert_eq!(made.path, path("/var/lib/a/b"));
        assert_eq!(made.created, [path("/var/lib/a"), path("/var/lib/a/b")]);
        assert_eq!(tree.mode("/var/lib/a"), 0o700);
        assert_eq!(tree.mode("/var/lib"), 0o755);
        assert_eq!(make_dirs(&mut tree, &path("/opt/a/b"), SetAttr::default()).unwrap().created, []);
        assert_eq!(tree.mode("/var/lib/a/b"), 0o700);
        assert!(make_dirs(&mut tree, &GuestPath::root(), MODE_700).unwrap().path.is_root());
    }

    #[test]
    fn v2_make_path_refuses_files_and_dangling_links() {
        let mut tree = MemTree::new();
        tree.file("/f", "").link("/gone", "nowhere");
        let kind = |tree: &mut MemTree, text: &str| make_dirs(tree, &path(text), MODE_700).unwrap_err().kind();
        assert_eq!(kind(&mut tree, "/f"), ErrorKind::NotADirectory);
        assert_eq!(kind(&mut tree, "/f/x"), ErrorKind::NotADirectory);
        assert_eq!(kind(&mut tree, "/gone/x"), ErrorKind::NotFound);
    }

    #[test]
    fn v2_append_and_replace_create_what_is_missing() {
        let mut tree = MemTree::new();
        tree.dir("/d").link("/l", "d/new");
        let written = append(&mut tree, &path("/l"), b"1", SetAttr::default()).unwrap();
        assert_eq!((written.path, written.before, written.after), (path("/d/new"), None, 1));
        append(&mut tree, &path("/l"), b"2", SetAttr::default()).unwrap();
        assert_eq!(tree.text("/d/new"), "12");
        replace(&mut tree, &path("/d/other"), b"3", MODE_700).unwrap();
        assert_eq!((tree.text("/d/other").as_str(), tree.mode("/d/other")), ("3", 0o700));
        assert_eq!(replace(&mut tree, &path("/no/x"), b"", MODE_700).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn l2_an_existing_file_keeps_inode_owner_mode_and_attributes() {
        let mut tree = MemTree::new();
        tree.file("/etc/f", "long old contents").owner("/etc/f", 5, 6).chmod("/etc/f", 0o4640).link("/l", "/etc/f");
        tree.set_xattr(&path("/etc/f"), b"security.selinux", Some(b"etc_t")).unwrap();
        let before = tree.stat(&path("/etc/f")).unwrap();
        let written = replace(&mut tree, &path("/l"), b"new", MODE_700).unwrap();
        assert_eq!((written.before, written.after, written.changed), (Some(17), 3, true));
        let after = tree.stat(&path("/etc/f")).unwrap();
        assert_eq!((after.ino, after.mode, after.uid, after.gid), (before.ino, 0o4640, 5, 6));
        assert_eq!(tree.xattrs(&path("/etc/f")).unwrap(), [(b"security.selinux".to_vec(), b"etc_t".to_vec())]);
        assert_eq!(tree.text("/etc/f"), "new");
    }

    #[test]
    fn equal_contents_are_not_written_again() {
        let mut tree = MemTree::new();
        let big = vec![7; 200_000];
        tree.file("/f", &big);
        tree.fail_writes_to("/f");
        assert!(!replace(&mut tree, &path("/f"), &big, SetAttr::default()).unwrap().changed);
        assert!(replace(&mut tree, &path("/f"), &big[1..], SetAttr::default()).is_err());
    }

    #[test]
    fn devices_and_directories_are_not_written_to() {
        let mut tree = MemTree::new();
        tree.dir("/d");
        tree.create(&path("/sda"), NewNode::BlockDevice(8, 0), SetAttr::default()).unwrap();
        let kind = |tree: &mut MemTree, text: &str| replace(tree, &path(text), b"x", MODE_700).unwrap_err().kind();
        assert_eq!(kind(&mut tree, "/sda"), ErrorKind::Refused);
        assert_eq!(kind(&mut tree, "/d"), ErrorKind::IsADirectory);
    }
}
