//! Following symbolic links inside a guest, the way the guest's own kernel would, and never out of it.

use super::{FileKind, FileTree, GuestPath, MAX_NAME, MAX_PATH, Stat};
use crate::error::{Error, ErrorKind, Result};

/// Symbolic links followed for one path, as MAXSYMLINKS of Linux.
pub const MAX_LINKS: usize = 40;

/// Components looked up for one path, those of the links on the way included. Linux bounds this only through
/// `MAX_LINKS` paths of `MAX_PATH` bytes; no sane guest comes near, and a hostile one must not keep us busy.
pub const MAX_STEPS: usize = 4096;

/// The largest configuration file that is read as a whole, in bytes: passwd files of big sites have a few MiB.
pub const MAX_TEXT: u64 = 16 << 20;

/// Whether the last component is followed when it is a symbolic link; the ones before it always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// As open(2) does.
    Last,
    /// As lstat(2) and O_NOFOLLOW do.
    NotLast,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without symbolic links in it, save a last one that was not to be followed.
    pub path: GuestPath,
    /// What is there; none when the last component is missing in a directory that exists.
    pub stat: Option<Stat>,
}

/// Follows `path` from the root of `tree`.
///
/// An absolute link starts again at the guest's root, and `..` in a link stops there (Z2). Errors:
/// [`NotFound`](ErrorKind::NotFound) when a directory on the way is missing,
/// [`NotADirectory`](ErrorKind::NotADirectory) when it is none, [`Loop`](ErrorKind::Loop) after [`MAX_LINKS`] links
/// (Z3), [`Limit`](ErrorKind::Limit) after [`MAX_STEPS`] components or when the result is longer than [`MAX_PATH`].
pub fn resolve(tree: &dyn FileTree, path: &GuestPath, follow: Follow) -> Result<Resolved> {
    // A stack: the next component is at its end.
    let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut here = GuestPath::root();
    let mut stat = tree.stat(&here)?;
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = pending.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            let message = format!("more than {MAX_STEPS} components with symbolic links followed");
            return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
        }
        if stat.kind != FileKind::Dir {
            return Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(here.to_bytes()));
        }
        match name.as_slice() {
            b"." => continue,
            b".." => {
                here = here.parent().unwrap_or_default();
                stat = tree.stat(&here)?;
                continue;
            }
            _ => {}
        }
        let next = here.join(&name);
        if next.to_bytes().len() > MAX_PATH {
            let message = format!("the path is longer than {MAX_PATH} bytes with symbolic links followed");
            return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
        }
        let found = match tree.stat(&next) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound && pending.is_empty() => {
                return Ok(Resolved { path: next, stat: None });
            }
            Err(error) => return Err(error),
        };
        if found.kind == FileKind::Symlink && (follow == Follow::Last || !pending.is_empty()) {
            links += 1;
            if links > MAX_LINKS {
                let message = format!("more than {MAX_LINKS} symbolic links on the way");
                return Err(Error::new(ErrorKind::Loop, message).at_path(path.to_bytes()));
            }
            let target = tree.read_link(&next)?;
            if push_target(&mut pending, &target).map_err(|error| error.at_path(next.to_bytes()))? {
                here = GuestPath::root();
                stat = tree.stat(&here)?;
            }
            continue;
        }
        here = next;
        stat = found;
    }
    Ok(Resolved { path: here, stat: Some(stat) })
}

/// Puts the components of a link's target before what is pending; says whether it is absolute.
fn push_target(pending: &mut Vec<Vec<u8>>, target: &[u8]) -> Result<bool> {
    let invalid = |why: &str| Error::new(ErrorKind::Invalid, format!("invalid symbolic link: {why}"));
    if target.is_empty() {
        return Err(invalid("its target is empty"));
    }
    if target.len() > MAX_PATH {
        return Err(invalid("its target is longer than 4096 bytes"));
    }
    if target.contains(&0) {
        return Err(invalid("its target contains a NUL byte"));
    }
    // A slash at the end asks for a directory, which the lookup of "." does.
    if target.ends_with(b"/") {
        pending.push(b".".to_vec());
    }
    for name in target.split(|byte| *byte == b'/').rev().filter(|name| !name.is_empty()) {
        if name.len() > MAX_NAME {
            return Err(invalid("a name in its target is longer than 255 bytes"));
        }
        pending.push(name.to_vec());
    }
    Ok(target[0] == b'/')
}

/// What is at `path` with links followed; none when it, or a directory on the way, is missing.
pub fn find(tree: &dyn FileTree, path: &GuestPath) -> Result<Option<Resolved>> {
    match resolve(tree, path, Follow::Last) {
        Ok(resolved) => Ok(resolved.stat.is_some().then_some(resolved)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether something can be reached at `path`: any failure to find out, such as a dangling or looping link, counts as
/// no (V3).
pub fn exists(tree: &dyn FileTree, path: &GuestPath) -> bool {
    matches!(find(tree, path), Ok(Some(_)))
}

/// Where `path` leads, and what is there; [`NotFound`](ErrorKind::NotFound) when nothing is.
pub fn existing(tree: &dyn FileTree, path: &GuestPath, follow: Follow) -> Result<(GuestPath, Stat)> {
    let found = resolve(tree, path, follow)?;
    let missing = || Error::new(ErrorKind::NotFound, "no such file or directory").at_path(path.to_bytes());
    Ok((found.path, found.stat.ok_or_else(missing)?))
}

/// Reads the regular file that `path` leads to, links followed.
///
/// A file longer than `limit` bytes is refused with [`Limit`](ErrorKind::Limit) before anything is read.
pub fn read_all(tree: &dyn FileTree, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
    let missing = || Error::new(ErrorKind::NotFound, "no such file").at_path(path.to_bytes());
    let resolved = resolve(tree, path, Follow::Last)?;
    let stat = resolved.stat.ok_or_else(missing)?;
    must_be_file(&resolved.path, &stat)?;
    if stat.size > limit {
        let message = format!("the file has {} bytes, more than the {limit} that are read", stat.size);
        return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
    }
    let mut contents = vec![0; stat.size as usize];
    let mut done = 0;
    while done < contents.len() {
        match tree.read_at(&resolved.path, done as u64, &mut contents[done..])? {
            0 => break,
            read => done += read,
        }
    }
    contents.truncate(done);
    Ok(contents)
}

/// Reads the text that `path` leads to, of at most [`MAX_TEXT`] bytes; none when it, or a directory on the way, is missing.
pub fn read_text(tree: &dyn FileTree, path: &GuestPath) -> Result<Option<Vec<u8>>> {
    find(tree, path)?.map(|_| read_all(tree, path, MAX_TEXT)).transpose()
}

/// Refuses what is no regular file, by name.
pub(super) fn must_be_file(path: &GuestPath, stat: &Stat) -> Result<()> {
    match stat.kind {
        FileKind::File => Ok(()),
        FileKind::Dir => Err(Error::new(ErrorKind::IsADirectory, "is a directory").at_path(path.to_bytes())),
        kind => {
            let message = format!("not a regular file but a {}", kind.noun());
            Err(Error::new(ErrorKind::Refused, message).at_path(path.to_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memtree::MemTree;
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn leads(tree: &MemTree, text: &str) -> String {
        resolve(tree, &path(text), Follow::Last).unwrap().path.to_string()
    }

    #[test]
    fn z2_links_stay_inside_the_guest() {
        let mut tree = MemTree::new();
        tree.dir("/etc").dir("/root/secret").file("/etc/passwd", "guest");
        tree.link("/absolute", "/etc/passwd").link("/etc/relative", "passwd").link("/chain", "etc/../absolute");
        tree.link("/root/secret/up", "../../../../../../../etc/passwd").link("/etc/dir", "..//.//etc/");
        for text in ["/absolute", "/etc/relative", "/chain", "/root/secret/up", "/etc/dir/passwd"] {
            assert_eq!(leads(&tree, text), "/etc/passwd", "{text}");
        }
        assert_eq!(leads(&tree, "/etc/dir"), "/etc");
    }

    #[test]
    fn the_last_link_is_followed_only_when_asked() {
        let mut tree = MemTree::new();
        tree.dir("/a/b").link("/l", "a").link("/a/b/m", "/a");
        let found = resolve(&tree, &path("/l/b/m"), Follow::NotLast).unwrap();
        assert_eq!((found.path.to_string().as_str(), found.stat.unwrap().kind), ("/a/b/m", FileKind::Symlink));
        assert_eq!(leads(&tree, "/l/b/m"), "/a");
    }

    #[test]
    fn says_whether_the_last_component_exists() {
        let mut tree = MemTree::new();
        tree.dir("/a").link("/dangling", "a/new").file("/f", "").link("/f_as_dir", "f/").link("/deep", "no/new");
        let found = resolve(&tree, &path("/dangling"), Follow::Last).unwrap();
        assert_eq!((found.path.to_string().as_str(), found.stat), ("/a/new", None));
        let kind = |text: &str| resolve(&tree, &path(text), Follow::Last).unwrap_err().kind();
        assert_eq!(kind("/no/new"), ErrorKind::NotFound);
        assert_eq!(kind("/deep"), ErrorKind::NotFound);
        assert_eq!(kind("/f/x"), ErrorKind::NotADirectory);
        assert_eq!(kind("/f_as_dir"), ErrorKind::NotADirectory);
    }

    #[test]
    fn v3_a_link_that_leads_nowhere_does_not_exist() {
        let mut tree = MemTree::new();
        tree.dir("/a").link("/dangling", "a/new").link("/loop", "loop").link("/deep", "no/new").link("/ok", "a");
        for text in ["/dangling", "/loop", "/deep", "/a/b/c"] {
            assert!(!exists(&tree, &path(text)), "{text}");
        }
        assert!(exists(&tree, &path("/ok")) && exists(&tree, &path("/")));
    }

    #[test]
    fn z3_forty_links_are_followed_and_no_more() {
        let mut tree = MemTree::new();
        tree.file("/l0", "end");
        for number in 1..=41 {
            tree.link(&format!("/l{number}"), &format!("l{}", number - 1));
        }
        assert_eq!(leads(&tree, "/l40"), "/l0");
        let error = resolve(&tree, &path("/l41"), Follow::Last).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Loop);
        tree.link("/x", "y").link("/y", "/x/z");
        assert_eq!(resolve(&tree, &path("/x/f"), Follow::Last).unwrap_err().kind(), ErrorKind::Loop);
    }

    #[test]
    fn a_hostile_target_is_invalid_or_limited() {
        let mut tree = MemTree::new();
        tree.dir("/d");
        for (name, target) in [("/nul", b"a\0b".to_vec()), ("/empty", vec![]), ("/long", vec![b'a'; 300])] {
            tree.raw_link(name, target);
            assert_eq!(resolve(&tree, &path(name), Follow::Last).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        }
        // Twenty links of 4,000 bytes, none of which is wrong alone.
        tree.raw_link("/s0", b"d".to_vec());
        for number in 1..20 {
            let target = format!("{}s{}", "d/../".repeat(800), number - 1);
            tree.raw_link(&format!("/s{number}"), target.into_bytes());
        }
        assert_eq!(resolve(&tree, &path("/s19"), Follow::Last).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn reads_whole_files_up_to_the_limit() {
        let mut tree = MemTree::new();
        tree.file("/f", "12345").link("/l", "f").dir("/d");
        assert_eq!(read_all(&tree, &path("/l"), 5).unwrap(), b"12345");
        let kind = |text: &str, limit| read_all(&tree, &path(text), limit).unwrap_err().kind();
        assert_eq!(kind("/f", 4), ErrorKind::Limit);
        assert_eq!(kind("/d", 4), ErrorKind::IsADirectory);
        assert_eq!(kind("/no", 4), ErrorKind::NotFound);
    }

    proptest! {
        // Whatever the links say, the walk ends, and what it finds is the real place: resolving it again changes
        // nothing, and no component of it is a link.
        #[test]
        fn z2_any_web_of_links_ends_inside_the_guest(
            targets in prop::collection::vec("(/)?((\\.\\.|\\.|a|b|l[0-7])(/{1,2})){0,5}(\\.\\.|a|b|l[0-7])", 8),
            start in "(a/|b/|l[0-7]/){0,3}(a|b|l[0-7]|new)",
        ) {
            let mut tree = MemTree::new();
            tree.dir("/a/b").dir("/b/a").file("/a/b/f", "x");
            for (number, target) in targets.iter().enumerate() {
                let dir = ["", "/a", "/a/b", "/b"][number % 4];
                tree.link(&format!("{dir}/l{number}"), target);
            }
            if let Ok(found) = resolve(&tree, &path(&start), Follow::Last) {
                let again = resolve(&tree, &found.path, Follow::NotLast).unwrap();
                prop_assert_eq!(&again.path, &found.path);
                prop_assert_eq!(again.stat.as_ref(), found.stat.as_ref());
                prop_assert!(again.stat.is_none_or(|stat| stat.kind != FileKind::Symlink));
            }
        }
    }
}
