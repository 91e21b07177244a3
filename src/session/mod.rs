//! One piece of work on one image: open, stage, look at what would be, commit or drop.

mod check;
mod copy;
mod disk_edit;
mod identity;
mod inspect;
mod redo;
#[cfg(test)]
mod redo_matrix;
mod verify;

pub use check::{Checked, check_image};
pub use copy::copy_image;
pub use disk_edit::{DiskEdit, MAX_STAGED, Staging};
pub use redo::{Recovered, recover, redo_path};
pub use verify::{Opinion, Verify};

use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageOptions};
use crate::tree::{ExtTree, FileTree, Time};
use nomount_block::{Overlay, SetLen, Spill, Window};
use nomount_ext::{Committed, Filesystem, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Staged bytes beyond which contents of files go to free space of the image before the commit.
pub const STAGING_BUDGET: u64 = 64 << 20;

type Device = Box<dyn SetLen>;
type Staged = Window<Overlay<Device>>;

/// How to open a session. What the library cannot know of itself, the clock and randomness, is given here.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// How to open the image.
    pub image: ImageOptions,
    /// Which volume to work on.
    pub partition: Choice,
    /// The time that changed files get.
    pub now: Time,
    /// Where the generation numbers of new files start from; the same seed and time give the same bytes.
    pub seed: u32,
    /// Whether a second reader looks at the result before it is committed.
    pub verify: Verify,
    /// The image is never written: for looking at what would happen.
    pub dry_run: bool,
    /// How to let time pass, to see whether a filesystem with feature mmp is in use that seems to be.
    pub mmp_wait: Option<fn(Duration)>,
}

/// A tree of files in an image, open for reading or for changes.
#[derive(Debug)]
pub struct Session {
    tree: ExtTree<Staged>,
    layout: Layout,
    volume: Volume,
    path: PathBuf,
    format: Format,
    notes: Vec<String>,
    options: SessionOptions,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Blocks of the filesystem written; all zero when nothing had to be.
    pub blocks: Committed,
    /// Who looked at the result before it was committed.
    pub opinion: Option<Opinion>,
}

impl Session {
    /// Opens an image as `options` say and finds the volume to work on.
    ///
    /// An image with an unfinished commit of ours beside it (see [`redo_path`]) is completed first when it is opened
    /// for writing, and refused otherwise.
    pub fn open(path: impl AsRef<Path>, options: SessionOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::open_unnamed(path, options).map_err(|error| error.in_image(path))
    }

    fn open_unnamed(path: &Path, options: SessionOptions) -> Result<Self> {
        let mut notes = Vec::new();
        let mut image_options = options.image.clone();
        // A dry run shows what would happen to an image that it cannot, and need not, write.
        image_options.write &= !options.dry_run;
        let mut image = Image::open(path, &image_options)?;
        if redo::pending(path)? {
            if !image_options.write {
                return Err(redo::unfinished(path));
            }
            notes.extend(redo::apply(path, &mut image.device)?.describe().map(str::to_owned));
        }
        Self::on_device(image.device, path, image.format, notes, options)
    }

    /// Opens a session on a device that somebody else opened; `name` stands for the image in messages, and is where a
    /// redo file would be.
    pub fn open_device(device: Box<dyn SetLen>, name: impl AsRef<Path>, options: SessionOptions) -> Result<Self> {
        let name = name.as_ref();
        Self::on_device(device, name, Format::Raw, Vec::new(), options).map_err(|error| error.in_image(name))
    }

    fn on_device(
        device: Device,
        path: &Path,
        format: Format,
        mut notes: Vec<String>,
        options: SessionOptions,
    ) -> Result<Self> {
        let layout = Layout::read(&device, options.partition)?;
        if let Some(table) = &layout.table {
            notes.extend(table.notes.iter().map(ToString::to_string));
        }
        let volume = inspect::choose(&device, &layout, options.partition)?;
        let spill = if options.dry_run { Spill::Never } else { Spill::Through { budget: STAGING_BUDGET } };
        let staged = Window::new(Overlay::new(device, spill), volume.start, volume.len)?;
        let now = nomount_ext::Time { sec: options.now.sec, nsec: options.now.nsec };
        let ext = Options { now, seed: options.seed, mmp_wait: options.mmp_wait };
        let named = |error: nomount_ext::Error| Error::from(error).in_volume(volume.to_string());
        if !volume.content.is_ext() {
            return Err(not_supported(volume.content).in_volume(volume.to_string()));
        }
        let fs = if options.image.write {
            Filesystem::open_for_write(staged, ext).map_err(named)?
        } else {
            let fs = Filesystem::open(staged, ext).map_err(named)?;
            if fs.replayed_blocks() > 0 {
                notes.push(format!(
                    "{} blocks are read from the journal, which was not replayed yet",
                    fs.replayed_blocks()
                ));
            }
            fs
        };
        let path = path.to_owned();
        Ok(Self { tree: ExtTree::new(fs), layout, volume, path, format, notes, options })
    }

    /// The tree of files: read it, change it.
    pub fn tree(&mut self) -> &mut dyn FileTree {
        &mut self.tree
    }

    /// The filesystem's own description.
    pub fn filesystem(&self) -> nomount_ext::Info {
        self.tree.filesystem().info()
    }

    /// What the disk holds.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The volume that is worked on.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// How the image is stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What was noticed while opening: a damaged partition table that has a good copy, a journal not replayed yet.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Makes every change durable, all of them or none, but for a change that exceeds the filesystem's journal: see
    /// [`Committed::transactions`]. A dry run goes as far as the second opinion and stops.
    pub fn commit(self) -> Result<Commit> {
        let (path, volume) = (self.path.clone(), self.volume.to_string());
        self.commit_unnamed().map_err(|error| error.in_volume(volume).in_image(path))
    }

    fn commit_unnamed(mut self) -> Result<Commit> {
        let (blocks, expected) = self.tree.commit()?;
        if blocks.is_empty() {
            return Ok(Commit { blocks, opinion: None });
        }
        let staged = Arc::new(self.tree.into_device());
        let opinion = verify::look(&staged, &expected, self.options.verify)?;
        let staged = Arc::try_unwrap(staged).map_err(|_| {
            Error::new(ErrorKind::Differs, "the second reader still holds the staged image; nothing was committed")
        })?;
        let overlay = staged.into_inner();
        if self.options.dry_run {
            return Ok(Commit { blocks, opinion });
        }
        let interrupted = |error: Error, who: &str| {
            let new = match blocks.transactions {
                0 | 1 => "all of the new ones".to_owned(),
                several => format!("those of its first transactions, of {several} that are each consistent"),
            };
            error.hint(format!("the image holds the old contents or, after {who}, {new}"))
        };
        if blocks.journaled {
            let who = "its journal is replayed by nomount, e2fsck or a boot";
            overlay.commit().map_err(|error| interrupted(error.into(), who))?;
        } else {
            redo::commit(&self.path, overlay, self.options.image.sync, |_, _| true)
                .map_err(|error| interrupted(error, "`nomount recover`"))?;
        }
        Ok(Commit { blocks, opinion })
    }
}

fn not_supported(content: Content) -> Error {
    let message = match content {
        Content::Unknown => "no filesystem is recognised here".to_owned(),
        content => format!("{content} is not supported, only ext2, ext3 and ext4 are"),
    };
    Error::new(ErrorKind::Unsupported, message)
}
