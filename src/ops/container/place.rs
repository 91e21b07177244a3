//! Where a container's directory and its manifest are.

use crate::error::{Error, ErrorKind, Result};
use crate::image::folder_of;
use crate::ops::host_dir::{HostDir, remove};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the manifest's name adds to the directory's.
const SUFFIX: &str = ".nomount-manifest";

/// A container's directory, its parent, and the manifest beside it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) manifest: PathBuf,
    parent: PathBuf,
    name: OsString,
}

impl Place {
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Usage, format!("{} is no directory to work in", dir.display()));
        // `DIR/` and `DIR/.` are the directory, too; one that ends in `..` has no name to put a manifest beside.
        let clean: PathBuf = dir.components().collect();
        let name = clean.file_name().ok_or_else(invalid)?.to_owned();
        let parent = folder_of(&clean).to_owned();
        let mut manifest = name.clone();
        manifest.push(SUFFIX);
        Ok(Self { manifest: clean.with_file_name(manifest), dir: clean, parent, name })
    }

    /// Whether the directory is there, be it as a link or file.
    pub(super) fn dir_exists(&self) -> bool {
        self.dir.symlink_metadata().is_ok()
    }

    /// Removes the directory with everything in it. Returns how many names went.
    pub(super) fn remove_dir(&self) -> Result<u64> {
        let parent = match HostDir::open(&self.parent) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        remove(&parent, self.name.as_bytes()).map_err(|error| error.in_image(&self.dir))
    }

    /// Removes the manifest, if it is there.
    pub(super) fn remove_manifest(&self) -> Result<()> {
        match fs::remove_file(&self.manifest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot remove {}", self.manifest.display());
                Err(Error::new(ErrorKind::Io, message).caused_by(error))
            }
            _ => Ok(()),
        }
    }
}
