//! A new image that appears under its name when it is complete.

use super::progress;
use nomount::image::{Format, folder_of, relative_backing};
use nomount::interrupt::Temporary;
use nomount::ops::Progress;
use nomount::session::{copy_image, redo_path};
use nomount::{Error, ErrorKind, Result};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A copy of an image, to be changed and then put in place.
pub struct Output {
    file: Temporary,
    name: PathBuf,
    mode: u32,
}

impl Output {
    /// Copies `source` to a file beside `name`, which must be free. Fails when the copy would not find its backing
    /// file from there.
    pub fn prepare(source: &Path, name: &Path, format: Option<Format>, lock: bool) -> Result<Self> {
        if name.exists() {
            return Err(Error::new(ErrorKind::Exists, "the output exists already").in_image(name));
        }
        let moved = folder_of(source).canonicalize().ok() != folder_of(name).canonicalize().ok();
        if moved && let Some(backing) = relative_backing(source, format)? {
            let message = format!("the backing file {} would not be found from another folder", backing.escape_ascii());
            return Err(Error::new(ErrorKind::Refused, message)
                .in_image(source)
                .hint("write the new image into the folder of the old one"));
        }
        let mut listener = progress::begin("copy");
        let mut before = 0;
        let file = copy_image(source, name, lock, &mut |done, total| {
            listener.total(Some(total));
            listener.add(done - before);
            before = done;
        })?;
        let meta = std::fs::metadata(source);
        let mode = meta.map(|meta| meta.permissions().mode() & 0o666).unwrap_or(0o600);
        Ok(Self { file, name: name.to_owned(), mode })
    }

    /// Where the copy is meanwhile.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Drops the file, and with it the redo file that an interrupted commit left beside it. Gives `error` back.
    pub fn drop_after(self, error: Error) -> Error {
        // There is none, unless the filesystem has no journal; nobody would look for it.
        let _ = std::fs::remove_file(redo_path(self.file.path()));
        error
    }

    /// Gives the file its name; with `sync`, file and name are durable afterwards.
    pub fn keep(self, sync: bool) -> Result<()> {
        let failed = |error| Error::of_host("cannot put the output in place", error).in_image(&self.name);
        self.file.as_file().set_permissions(Permissions::from_mode(self.mode)).map_err(failed)?;
        if sync {
            self.file.as_file().sync_all().map_err(failed)?;
        }
        self.file.persist_noclobber(&self.name).map_err(failed)?;
        if sync {
            File::open(folder_of(&self.name)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(())
    }
}
