//! Removing a tree of the host that somebody else may still be writing to.

use super::{HostDir, host_error};
use crate::error::Result;
use crate::tree::GuestPath;
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;

/// Directories that are open at once; deeper ones are moved up first.
const MAX_OPEN: usize = 64;
/// Names tried for a directory that is moved up.
const MAX_NAMES: u32 = 1 << 20;

struct Level {
    dir: HostDir,
    /// Where it is in the one before.
    name: Vec<u8>,
    names: Vec<Vec<u8>>,
    path: GuestPath,
}

/// Removes `name` from `parent` with everything below it, however deep. Returns how many names went; what is gone
/// already is no error. Links are removed, not followed, and mount points are not crossed.
pub(crate) fn remove(parent: &HostDir, name: &[u8]) -> Result<u64> {
    let root = GuestPath::root();
    let mut removed = 0;
    let mut moved = 0;
    let mut way = match open(parent, name, root.clone()) {
        Ok(level) => vec![level],
        Err(Errno::NOENT) => return Ok(0),
        Err(e) => return Err(host_error("remove the directory", &root, e)),
    };
    loop {
        let depth = way.len();
        let Some(level) = way.last_mut() else { return Ok(removed) };
        let Some(name) = level.names.pop() else {
            let Level { dir, name, path, .. } = way.pop().expect("there is one");
            drop(dir);
            let above = way.last().map_or(parent, |level| &level.dir);
            removed += gone(unlinkat(above, &*name, AtFlags::REMOVEDIR), "remove the directory", &path)?;
            continue;
        };
        let path = level.path.join(&name);
        match unlinkat(&level.dir, &*name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            done => {
                removed += gone(done, "remove the file", &path)?;
                continue;
            }
        }
        if depth >= MAX_OPEN {
            let new = move_up(&way, &name, &mut moved).map_err(|e| host_error("remove the directory", &path, e))?;
            way[0].names.push(new);
            continue;
        }
        match open(&level.dir, &name, path.clone()) {
            Ok(level) => way.push(level),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(host_error("remove the directory", &path, e)),
        }
    }
}

/// Removes everything from `dir`.
pub(crate) fn remove_contents(dir: &HostDir) -> Result<()> {
    let root = GuestPath::root();
    for name in dir.names().map_err(|e| host_error("read the directory", &root, e))? {
        match unlinkat(dir, &*name, AtFlags::empty()) {
            Err(Errno::ISDIR) => drop(remove(dir, &name)?),
            done => drop(gone(done, "remove the file", &root.join(&name))?),
        }
    }
    Ok(())
}

fn open(parent: &HostDir, name: &[u8], path: GuestPath) -> Result<Level, Errno> {
    let dir = parent.subdir(name)?;
    let names = dir.names()?;
    Ok(Level { dir, name: name.to_vec(), names, path })
}

/// Moves a directory of the innermost level into the outermost one, under a name that is free there.
fn move_up(way: &[Level], name: &[u8], moved: &mut u32) -> Result<Vec<u8>, Errno> {
    let (Some(top), Some(here)) = (way.first(), way.last()) else { return Err(Errno::INVAL) };
    while *moved < MAX_NAMES {
        *moved += 1;
        let new = format!("nomount-{moved}").into_bytes();
        match renameat(&here.dir, name, &top.dir, &*new) {
            Ok(()) => return Ok(new),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::TOOBIG)
}

fn gone(done: Result<(), Errno>, what: &str, path: &GuestPath) -> Result<u64> {
    match done {
        Ok(()) => Ok(1),
        Err(Errno::NOENT) => Ok(0),
        Err(e) => Err(host_error(what, path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, mkdirat};
    use std::os::unix::fs::symlink;

    #[test]
    fn z4_trees_deeper_than_any_path_go_and_links_stay_where_they_lead() {
        let folder = nomount_kit::scratch::folder();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let top = HostDir::open(folder.path()).unwrap();
        mkdirat(&top, "deep", Mode::RWXU).unwrap();
        let mut here = top.subdir(b"deep").unwrap();
        let name = vec![b'd'; 200];
        for level in 0..300 {
            mkdirat(&here, &*name, Mode::RWXU).unwrap();
            here = here.subdir(&name).unwrap();
            rustix::fs::symlinkat("/", &here, "root").unwrap();
            if level % 50 == 0 {
                mkdirat(&here, "closed", Mode::empty()).unwrap();
            }
        }
        drop(here);
        symlink(&outside, folder.path().join("deep/link")).unwrap();
        // The directory itself, 300 below it with a link in each, the link, and 6 closed ones.
        assert_eq!(remove(&top, b"deep").unwrap(), 1 + 300 * 2 + 1 + 6);
        assert_eq!(remove(&top, b"deep").unwrap(), 0);
        assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"x");
    }
}
