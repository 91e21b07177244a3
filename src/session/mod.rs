//! One piece of work on one image: open, stage, look at what would be, commit or drop.

mod check;
mod copy;
mod disk_edit;
mod identity;
mod inspect;
mod mounted;
mod mounts;
mod redo;
#[cfg(test)]
mod redo_matrix;
mod verify;

pub use check::{Checked, check_image};
pub use copy::copy_image;
pub use disk_edit::{DiskEdit, MAX_STAGED, Staging};
pub use mounts::Mount;
pub use redo::{Recovered, recover, redo_path};
pub use verify::{Opinion, Verify};

use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageOptions};
use crate::interrupt;
use crate::tree::{FileTree, MountTree, Time};
use mounted::Mounted;
use nomount_block::{Budget, Overlay, SetLen, Shared, Spill, Window};
use nomount_ext::{Committed, Filesystem};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Staged bytes beyond which contents of files go to free space of the image before the commit.
pub const STAGING_BUDGET: u64 = 64 << 20;
/// Contents of files take at most one part in so many of the memory that is granted.
const STAGING_PART: u64 = 4;

type Device = Box<dyn SetLen>;
/// A disk with staged changes, of all its filesystems.
type Disk = Shared<Overlay<Device>>;
/// A volume of it.
type Part = Window<Disk>;

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
    /// Only the chosen volume is opened, although it is a guest's root whose fstab names others.
    pub root_only: bool,
    /// How to let time pass, to see whether a filesystem with feature mmp is in use that seems to be.
    pub mmp_wait: Option<fn(Duration)>,
}

/// A tree of files in an image, open for reading or for changes.
#[derive(Debug)]
pub struct Session {
    tree: MountTree<Mounted>,
    disk: Disk,
    layout: Layout,
    volume: Volume,
    mounts: Vec<Mount>,
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
    /// Who looked at the result before it was committed, of all filesystems that were changed.
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
        let (volume, is_root) = inspect::choose(&device, &layout, options.partition, &options.image.memory)?;
        let spill = if options.dry_run { Spill::Never } else { spill(&options.image.memory) };
        let mut overlay = Overlay::new(device, spill);
        overlay.set_budget(&options.image.memory);
        let disk = Shared::new(overlay);
        let part = Window::new(disk.clone(), volume.start, volume.len)?;
        let root = if options.image.write {
            Mounted::for_changes(part, &volume, &options)?
        } else {
            let root = Mounted::for_reading(part, &volume, &options, false)?;
            let replayed = root.ext().map_or(0, Filesystem::replayed_blocks);
            if replayed > 0 {
                notes.push(format!("{replayed} blocks are read from the journal, which was not replayed yet"));
            }
            root
        };
        let mut tree = MountTree::new(root);
        let follow = is_root && !options.root_only;
        let mounts = if follow { mounts::mount_all(&mut tree, &disk, &layout, &volume, &options) } else { Vec::new() };
        let path = path.to_owned();
        Ok(Self { tree, disk, layout, volume, mounts, path, format, notes, options })
    }

    /// Where the memory comes from for what grows with the image.
    pub fn memory(&self) -> &Budget {
        &self.options.image.memory
    }

    /// The tree of files: read it, change it.
    pub fn tree(&mut self) -> &mut dyn FileTree {
        &mut self.tree
    }

    /// What the disk holds.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What a guest's fstab names besides its root, and whether it is part of the tree. Empty for a volume that was
    /// chosen by its number.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The volume that is worked on; of several, the one with the root.
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
        let mut changed = Vec::new();
        for (_, mounted) in self.tree.iter_mut() {
            let (blocks, expected) = mounted.commit()?;
            if !blocks.is_empty() {
                changed.push((mounted.volume().clone(), blocks, expected));
            }
        }
        let Self { tree, disk, path, options, .. } = self;
        drop(tree);
        let mut opinions = Vec::new();
        for (volume, _, expected) in &changed {
            let part = Window::new(disk.clone(), volume.start, volume.len)?;
            let seen = verify::look(part, volume.content, expected, options.verify, &options.image.memory);
            opinions.push(seen.map_err(|error| error.in_volume(volume.to_string()))?);
        }
        let opinion = Opinion::of_all(opinions);
        let overlay = disk.into_inner().ok_or_else(|| {
            Error::new(ErrorKind::Differs, "the second reader still holds the staged image; nothing was committed")
        })?;
        let blocks = match &changed[..] {
            [] => return Ok(Commit { blocks: Committed::default(), opinion: None }),
            [(_, blocks, _)] => *blocks,
            // Journals know nothing of each other: what makes several filesystems change at once is the redo file.
            several => Committed {
                in_place: several.iter().map(|(_, blocks, _)| blocks.in_place).sum(),
                protected: several.iter().map(|(_, blocks, _)| blocks.protected).sum(),
                journaled: false,
                transactions: 1,
            },
        };
        if options.dry_run {
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
            let _committing = interrupt::committing();
            overlay.commit().map_err(|error| interrupted(error.into(), who))?;
        } else {
            redo::commit(&path, overlay, options.image.sync, |_, _| true)
                .map_err(|error| interrupted(error, "`nomount recover`"))?;
        }
        Ok(Commit { blocks, opinion })
    }
}

/// What becomes of contents that are staged, with so much memory.
fn spill(memory: &Budget) -> Spill {
    Spill::Through { budget: STAGING_BUDGET.min(memory.limit() / STAGING_PART) }
}

fn not_supported(content: Content) -> Error {
    let message = match content {
        Content::Unknown => "no filesystem is recognised here".to_owned(),
        content => format!("{content} is not supported, only ext2, ext3, ext4 and vfat are"),
    };
    Error::new(ErrorKind::Unsupported, message)
}
