//! Making a filesystem in an image, empty or filled with a tree.

mod swap;
mod template;
mod tool;

pub use swap::SwapOptions;
pub use template::{Template, Templates, check_label, type_for_os};
pub use tool::Tool;

use super::populate::{Fill, Filled, HostTree, TarStream, populate};
use crate::disk::{Choice, Content, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageOptions};
use crate::interrupt::Unfinished;
use crate::session::redo_path;
use nomount_block::{HostFile, ReadAt, Window, WriteAt};
use nomount_ext::{Filesystem, MkfsOptions, Options};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes in which signatures are, from the beginning (Btrfs: 64 KiB) and from the end (GPT, RAID: less than 160 KiB).
const HEAD: u64 = 1 << 20;
const TAIL: u64 = 192 << 10;

/// Where the files come from.
#[derive(Debug)]
pub enum From {
    /// A directory of the host.
    Dir(PathBuf),
    /// A tar stream, read to its end.
    Tar(TarStream<Box<dyn Read>>),
}

/// Which filesystem.
#[derive(Debug, Clone)]
pub enum What {
    /// ext2, ext3 or ext4. Its size is that of the request.
    Ext(Box<MkfsOptions>),
    /// FAT. Where its partition begins is filled in.
    Fat(nomount_fat::Options),
    /// A swap area.
    Swap(SwapOptions),
    /// What a program of the host makes.
    Tool(Tool),
}

/// What was made.
#[derive(Debug)]
pub enum Made {
    /// ext2, ext3 or ext4.
    Ext(Box<nomount_ext::Made>),
    /// FAT.
    Fat(nomount_fat::Made),
    /// A swap area of so many pages of 4 KiB, with that of its header.
    Swap(u32),
    /// What this command made, or would make; `TARGET` stands for what it formats.
    Tool(String),
}

/// What to make, and where.
#[derive(Debug)]
pub struct MkfsRequest {
    /// How to open the image; it is opened for writing in any case.
    pub image: ImageOptions,
    /// The whole device, or a partition by its number.
    pub partition: Choice,
    /// Bytes of the filesystem. An image that is missing is made that long, a raw one that is shorter too.
    pub size: Option<u64>,
    /// The filesystem.
    pub what: What,
    /// Of ext only: give the blocks of a file back to the host before. A device of the host is only zeroed where it must be.
    pub discard: bool,
    /// Overwrite what is recognised there.
    pub force: bool,
    /// Files to begin with; ext only.
    pub from: Option<From>,
    /// How they are made.
    pub fill: Fill,
    /// Where the generation numbers of their inodes start from.
    pub seed: u32,
    /// Write nothing.
    pub dry_run: bool,
}

/// What was made.
#[derive(Debug)]
pub struct MkfsReport {
    /// The filesystem.
    pub made: Made,
    /// What it was filled with.
    pub filled: Option<Filled>,
    /// The partition; none for the whole device.
    pub partition: Option<u32>,
    /// Whether the image was made, too.
    pub created: bool,
}

/// Makes a filesystem in the image at `path`.
///
/// Where a filesystem, a partition table or anything else is recognised, it is refused without `force`. An image that
/// was made by this call is removed when it fails.
pub fn mkfs(path: &Path, request: MkfsRequest) -> Result<MkfsReport> {
    let named = |error: Error| error.in_image(path);
    if request.from.is_some() && !matches!(request.what, What::Ext(_)) {
        return Err(named(Error::new(ErrorKind::Unsupported, "only ext2, ext3 and ext4 are filled with files here")));
    }
    let length = match path.metadata() {
        Ok(meta) if meta.is_file() => Some(meta.len()),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return create(path, request).map_err(named),
        Err(error) => return Err(named(Error::new(ErrorKind::Io, "cannot look at the image").caused_by(error))),
    };
    // Only a raw image of its own grows: in others the size is that of the guest's disk.
    let raw = request.image.format == Some(Format::Raw) || length == Some(0);
    let whole = !matches!(request.partition, Choice::Number(_));
    existing(path, request, raw && whole).map_err(named)
}

/// A new image, raw or qcow2.
fn create(path: &Path, request: MkfsRequest) -> Result<MkfsReport> {
    let Some(size) = request.size else {
        let error = Error::new(ErrorKind::NotFound, "the image does not exist");
        return Err(error.hint("give a size after its name, as in `nomount mkfs disk.img 4G`, to make it"));
    };
    if matches!(request.partition, Choice::Number(_)) {
        return Err(Error::new(ErrorKind::NotFound, "the image does not exist, and so has no partitions"));
    }
    // Refused before anything is made.
    let made = plan(&request.what, size)?;
    if request.dry_run {
        return Ok(MkfsReport { made, filled: None, partition: None, created: true });
    }
    let failed = |error| Error::of_host("cannot make the image", error);
    let new = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let (unfinished, file) = Unfinished::make(path, new).map_err(failed)?;
    // Zeroes in a new file, or in one of no bytes, are no container.
    let format = request.image.format.unwrap_or(Format::Raw);
    let empty = match format {
        Format::Raw => file.set_len(size).map_err(failed),
        Format::Qcow2 => container(file, size, request.image.sync),
    };
    let how = ImageOptions { format: Some(format), ..request.image.clone() };
    let result = empty.and_then(|()| existing(path, MkfsRequest { image: how, ..request }, false));
    let result = result.map(|report| MkfsReport { created: true, ..report });
    if result.is_ok() {
        unfinished.finish();
    }
    result
}

/// An empty qcow2 image for a guest's disk of `size` bytes.
fn container(file: File, size: u64, sync: bool) -> Result<()> {
    let options = nomount_qcow2::CreateOptions::new(size);
    nomount_qcow2::create(HostFile::new(file, sync)?, &options, None)?;
    Ok(())
}

/// What would be made in a volume of `len` bytes.
fn plan(what: &What, len: u64) -> Result<Made> {
    Ok(match what {
        What::Ext(options) => Made::Ext(Box::new(nomount_ext::plan(len, options)?)),
        What::Fat(options) => Made::Fat(nomount_fat::plan(len, options)?),
        What::Swap(_) => Made::Swap(swap::pages(len)?),
        What::Tool(tool) => {
            let words = tool.find(OsStr::new("TARGET"))?.1;
            Made::Tool(words.join(OsStr::new(" ")).to_string_lossy().into_owned())
        }
    })
}

fn make(what: &What, device: &mut impl WriteAt) -> Result<Made> {
    Ok(match what {
        What::Ext(options) => Made::Ext(Box::new(nomount_ext::mkfs(device, options)?)),
        What::Fat(options) => {
            nomount_fat::plan(device.len(), options)?;
            wipe(device)?;
            Made::Fat(nomount_fat::mkfs(device, options)?)
        }
        What::Swap(options) => {
            swap::pages(device.len())?;
            wipe(device)?;
            Made::Swap(swap::mkswap(device, options)?)
        }
        What::Tool(tool) => Made::Tool(tool.run(device)?),
    })
}

/// Zeroes where other filesystems, tables and RAID members have their signatures, at both ends: what writes little
/// would leave them standing, and with two of them a device is nothing to those who look.
fn wipe(device: &mut impl WriteAt) -> Result<()> {
    let len = device.len();
    device.discard(0, len.min(HEAD))?;
    let tail = len.min(TAIL);
    device.discard(len - tail, tail)?;
    Ok(())
}

/// With `grow`, the image becomes as long as is asked for: once it is locked, and nothing is in the way.
fn existing(path: &Path, mut request: MkfsRequest, grow: bool) -> Result<MkfsReport> {
    let write = !request.dry_run;
    let how = ImageOptions { write, ..request.image.clone() };
    let mut image = Image::open(path, &how)?;
    let mut place = place(&image.device, request.partition, request.force)?;
    let redo = redo_path(path);
    if redo.exists() {
        if !request.force {
            return Err(Error::new(ErrorKind::Refused, "an unfinished commit lies beside the image")
                .hint("complete it with `nomount recover`, or drop it with --force"));
        }
        if write {
            std::fs::remove_file(&redo)
                .map_err(|error| Error::new(ErrorKind::Io, "cannot remove the unfinished commit").caused_by(error))?;
        }
    }
    if let Some(want) = request.size
        && grow
        && write
        && image.device.len() < want
    {
        image.device.set_len(want)?;
        place.len = want;
    }
    let mut len = place.len;
    match &mut request.what {
        What::Ext(options) => {
            let whole = place.partition.is_none() && request.size.is_none_or(|size| size == image.device.len());
            options.size = if whole { None } else { request.size.or(Some(place.len)) };
            options.discard = request.discard && path.metadata().is_ok_and(|meta| meta.is_file());
        }
        other => {
            if let Some(size) = request.size {
                if size > len {
                    let message = format!("{size} bytes are more than the {len} that are there");
                    return Err(Error::new(ErrorKind::NoSpace, message));
                }
                len = size;
            }
            if let What::Fat(options) = other {
                options.hidden_sectors = u32::try_from(place.start / 512).unwrap_or(0);
            }
        }
    }
    let partition = place.partition;
    if !write {
        let made = plan(&request.what, len)?;
        return Ok(MkfsReport { made, filled: None, partition, created: false });
    }
    let volume = partition.map_or("whole device".to_owned(), |number| format!("partition {number}"));
    let named = |error: Error| error.in_volume(volume.clone());
    let mut window = Window::new(image.device, place.start, len)?;
    let made = make(&request.what, &mut window).map_err(named)?;
    let filled = match (request.from, &request.what) {
        (Some(from), What::Ext(options)) => {
            let ext = Options { now: options.now, seed: request.seed, ..Options::default() };
            Some(
                fill(path, window, from, request.fill, ext)
                    .map_err(|error| named(error).hint("the filesystem was made, and has only a part of the files"))?,
            )
        }
        _ => None,
    };
    Ok(MkfsReport { made, filled, partition, created: false })
}

fn fill<D: WriteAt>(path: &Path, device: D, from: From, how: Fill, options: Options) -> Result<Filled> {
    let mut fs = Filesystem::open_for_write(device, options)?;
    match from {
        From::Dir(root) => populate(&mut fs, &mut HostTree::new(root, Some(path)), how),
        From::Tar(mut stream) => populate(&mut fs, &mut stream, how),
    }
}

/// Where the filesystem goes.
struct Place {
    start: u64,
    len: u64,
    partition: Option<u32>,
}

fn place(device: &dyn ReadAt, choice: Choice, force: bool) -> Result<Place> {
    let holds = |what: String| {
        Err(Error::new(ErrorKind::Refused, format!("there is {what} already")).hint("--force overwrites it"))
    };
    match choice {
        Choice::Inspect => Err(Error::new(ErrorKind::Usage, "name a partition by its number, or none")),
        Choice::Number(number) => {
            let layout = Layout::read(device, choice)?;
            let volume = layout.partition(number)?;
            match volume.content {
                Content::Unknown => {}
                Content::Extended => {
                    return Err(Error::new(ErrorKind::Usage, format!("partition {number} is an extended one")));
                }
                content if !force => {
                    return holds(format!("a filesystem or the like ({content}) in partition {number}"));
                }
                _ => {}
            }
            Ok(Place { start: volume.start, len: volume.len, partition: Some(number) })
        }
        Choice::Auto | Choice::Whole => {
            if !force {
                let whole = Layout::read(device, Choice::Whole)?;
                if let Some(volume) = whole.volumes.iter().find(|volume| volume.content != Content::Unknown) {
                    return holds(format!("a filesystem or the like ({})", volume.content));
                }
                if let Some(table) = Layout::read(device, Choice::Auto)?.table {
                    return holds(format!("a partition table with {} partitions", table.partitions.len()));
                }
            }
            Ok(Place { start: 0, len: device.len(), partition: None })
        }
    }
}
