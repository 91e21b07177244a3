//! A change of a whole disk: its length, its partition table and what is in its partitions, as one commit.

use super::{Device, redo, spill};
use crate::disk::{Choice, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageOptions, folder_of};
use nomount_block::{Budget, Overlay, ReadAt, Spill};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A change that takes more memory is refused. A filesystem that grows to 16 TiB takes half of it for the bitmaps of
/// groups without checksums; one that keeps a copy of all descriptors in every group would take any amount.
pub const MAX_STAGED: u64 = 2 << 30;

/// A disk with staged changes above it.
pub type Staging = Overlay<Device>;

/// An image whose disk is being changed. Everything is staged in memory, nothing is written before
/// [`DiskEdit::commit`], but for [`DiskEdit::spill`].
#[derive(Debug)]
pub struct DiskEdit {
    staged: Staging,
    path: PathBuf,
    format: Format,
    notes: Vec<String>,
    old_len: u64,
    free: Vec<Range<u64>>,
    dry_run: bool,
    sync: bool,
    memory: Budget,
}

impl DiskEdit {
    /// Opens an image, for writing unless it is a dry run. A commit of it that was interrupted is completed, or taken
    /// back, first; a dry run refuses such an image.
    pub fn open(path: &Path, options: &ImageOptions, dry_run: bool) -> Result<Self> {
        let named = |error: Error| error.in_image(path);
        let options = ImageOptions { write: !dry_run, ..options.clone() };
        let mut image = Image::open(path, &options)?;
        let mut notes = Vec::new();
        if redo::pending(path).map_err(named)? {
            if dry_run {
                return Err(named(redo::unfinished(path)));
            }
            notes.extend(redo::apply(path, &mut image.device).map_err(named)?.describe().map(str::to_owned));
        }
        let mut edit = Self::on_device(image.device, path, dry_run);
        (edit.format, edit.notes, edit.sync) = (image.format, notes, options.sync);
        edit.staged.set_budget(&options.memory);
        edit.memory = options.memory;
        Ok(edit)
    }

    /// Changes a device that somebody else opened; `name` stands for the image in messages, and is where a redo file
    /// would be.
    pub fn on_device(device: Device, name: &Path, dry_run: bool) -> Self {
        let old_len = device.len();
        let mut staged = Overlay::new(device, Spill::Never);
        staged.set_limit(MAX_STAGED);
        Self {
            staged,
            path: name.to_owned(),
            format: Format::Raw,
            notes: Vec::new(),
            old_len,
            free: Vec::new(),
            dry_run,
            sync: true,
            memory: Budget::default(),
        }
    }

    /// The disk as it would be.
    pub fn device(&self) -> &Staging {
        &self.staged
    }

    /// The disk, to be changed.
    pub fn device_mut(&mut self) -> &mut Staging {
        &mut self.staged
    }

    /// What the disk holds, with what is staged.
    pub fn layout(&self, choice: Choice) -> Result<Layout> {
        Layout::read(&self.staged, choice).map_err(|error| error.in_image(&self.path))
    }

    /// Where the memory comes from for what grows with the image.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    /// How the image is stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The image on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The image's folder, where the files are that a commit needs.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Lets what is written as fresh go to the image at once where memory for it ends. For those who write nothing as
    /// fresh but blocks that a filesystem on the disk does not use.
    pub fn spill(&mut self) {
        if !self.dry_run {
            self.staged.set_spill(spill(&self.memory));
        }
    }

    /// Bytes of the disk before the change.
    pub fn old_len(&self) -> u64 {
        self.old_len
    }

    /// What was noticed while opening.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Says that a stretch of the disk belongs to a filesystem which is being changed: what its engine writes as fresh
    /// (see [`nomount_block::WriteAt::write_fresh`]) nothing committed reads. Elsewhere below the old end of the disk
    /// that is not believed: what looks free to a filesystem that grows may be a partition table.
    pub fn owns(&mut self, range: Range<u64>) {
        self.free.push(range);
    }

    /// Makes everything durable, all of it or nothing. A dry run stops here.
    pub fn commit(self) -> Result<()> {
        if self.dry_run || self.staged.log().is_empty() {
            return Ok(());
        }
        let (old_len, free) = (self.old_len, self.free);
        let is_free = |offset: u64, len: u64| {
            let inside = |range: &Range<u64>| range.start <= offset && offset + len <= range.end;
            offset >= old_len || free.iter().any(inside)
        };
        redo::commit(&self.path, self.staged, self.sync, is_free).map_err(|error| {
            let error = if error.kind() == ErrorKind::NoSpace || redo::redo_path(&self.path).exists() {
                error.hint("the image holds the old contents or, after `nomount recover`, all of the new ones")
            } else {
                error
            };
            error.in_image(&self.path)
        })
    }
}
