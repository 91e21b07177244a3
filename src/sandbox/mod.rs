//! Locking the process in, for whoever asks: from then on it can do to the host what it said it would, and no more,
//! whatever a file that it reads makes of it.
//!
//! On Linux Landlock holds it to the files that were named, without network and without signals to others, and seccomp
//! to the system calls that this library needs. A kernel that has neither, or only one, locks in as well as it can:
//! [`Locked`] tells. Elsewhere nothing is locked.
//!
//! Rules cannot be taken back, and hold for all programs that are started afterwards. Those of files bind the calling
//! thread and the threads that it starts, so [`enter`] belongs before any other thread.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod filter;
#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod calls {
    /// Nobody has tried which calls are needed here.
    pub(super) fn restrict(_: &super::Access) -> crate::Result<bool> {
        Ok(false)
    }
}
#[cfg(target_os = "linux")]
mod files;

use crate::error::Result;
use std::path::{Path, PathBuf};

/// What is done to a path of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
    Folder,
    Tree,
    Empty,
    Program,
}

/// What a process will do to the host. At first that is nothing; files that are open already stay as they are.
///
/// Paths are looked up when the process is [locked in](enter), links followed. One that is missing then is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    uses: Vec<(PathBuf, Use)>,
    programs: bool,
    preloaded: bool,
}

impl Access {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    fn with(mut self, path: &Path, how: Use) -> Self {
        self.uses.push((path.to_owned(), how));
        self
    }

    /// Reads a file, or a directory and all below.
    #[must_use]
    pub fn read(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), Use::Read)
    }

    /// Reads and changes a file or device that exists.
    #[must_use]
    pub fn write(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), Use::Write)
    }

    /// Makes, changes, renames and removes files in this folder. Landlock cannot tell it from the folders below.
    #[must_use]
    pub fn folder(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), Use::Folder)
    }

    /// Looks which devices and mounts this host has, and who uses them.
    #[must_use]
    pub fn devices(self) -> Self {
        // The files of a process have other inodes each time that the kernel forgot them: no rule of their own holds.
        ["/proc", "/sys/block", "/sys/dev/block", "/sys/devices"].into_iter().fold(self, Self::read)
    }

    /// Removes folders without anything in them from this one.
    #[must_use]
    pub fn empty_folders(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), Use::Empty)
    }

    /// Makes, changes and removes everything below this directory, and the directory. Where it is missing, below the
    /// nearest one that exists on the way to it.
    #[must_use]
    pub fn tree(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let there = path.ancestors().find(|path| path.exists());
        self.with(there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")), Use::Tree)
    }

    /// Runs programs of the system, and of these folders beside it. They are held to the same files, but read and
    /// execute the system's own.
    #[must_use]
    pub fn programs<P: AsRef<Path>>(mut self, folders: impl IntoIterator<Item = P>) -> Self {
        self.programs = true;
        folders.into_iter().fold(self, |access, folder| access.with(folder.as_ref(), Use::Program))
    }

    /// Has code of others in it from the start, as fakeroot and its like bring with LD_PRELOAD: what that calls nobody
    /// knows, and it asks servers of its own. It is held to the files all the same, and kept from what nobody needs.
    #[must_use]
    pub fn preloaded(mut self) -> Self {
        self.preloaded = true;
        self
    }

    /// This and the other, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.uses.extend(other.uses);
        self.programs |= other.programs;
        self.preloaded |= other.preloaded;
        self
    }
}

/// How far a process is locked in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Locked {
    /// To the files that it named, by Landlock.
    pub files: bool,
    /// To the system calls that it needs, by seccomp.
    pub calls: bool,
}

impl Locked {
    /// By all that this system has.
    pub fn fully(self) -> bool {
        self.files && self.calls
    }
}

/// Locks the process in, before it reads what others made. Fails where the system has the means and they fail.
pub fn enter(access: &Access) -> Result<Locked> {
    #[cfg(target_os = "linux")]
    {
        let files = files::restrict(access)?;
        let calls = calls::restrict(access)?;
        Ok(Locked { files, calls })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = access;
        Ok(Locked::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tree_is_the_nearest_directory_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Access::none().with(folder.path(), Use::Tree);
        assert_eq!(Access::none().tree(folder.path()), wanted);
        assert_eq!(Access::none().tree(folder.path().join("no/such")), wanted);
        assert_eq!(Access::none().tree("no-such"), Access::none().with(Path::new("."), Use::Tree));
    }

    #[test]
    fn both_are_allowed_together() {
        let both = Access::none().read("a").and(Access::none().write("b").programs(["c"]));
        assert_eq!(both, Access::none().read("a").write("b").programs(["c"]));
        assert!(both.programs && both.uses.len() == 3);
    }
}
