//! What to open and how: the one place where a host file becomes a device.

mod backing;
mod host_use;
mod lock;
pub mod safety;

pub use backing::{Backing, MAX_CHAIN};
pub use host_use::{LOOKED_AT, user_of};

use crate::error::{Error, ErrorKind, Result};
use lock::{Lock, LockKind};
use nomount_block::{Budget, HostFile, ReadAt, SetLen};
use nomount_container::Format as Container;
use nomount_qcow2::Qcow2;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Memory for the tables of a qcow2 image, in bytes.
const TABLE_CACHE: usize = 8 << 20;

/// How an image stores the guest's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One to one.
    Raw,
    /// QEMU's qcow2, versions 2 and 3.
    Qcow2,
}

impl Format {
    /// The name as qemu-img spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Raw, Self::Qcow2].into_iter().find(|format| format.name() == name)
    }
}

/// How to open an image.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// The format; without it the container's magic decides. With [`Format::Raw`] no header is ever read.
    pub format: Option<Format>,
    /// Whether the image will be changed.
    pub write: bool,
    /// Which backing files may be opened.
    pub backing: Backing,
    /// Whether barriers reach the medium; without, a loss of power may damage the image.
    pub sync: bool,
    /// Whether other users of the image are looked for, as QEMU does; for writing, this host's mounts among them.
    pub lock: bool,
    /// Whether a block device of this host may be written.
    pub device: bool,
    /// Where the memory comes from for what grows with the image. Clones of these options share it.
    pub memory: Budget,
}

impl Default for ImageOptions {
    /// For reading, format by magic, no backing files, with locks, no block devices, in 256 MiB.
    fn default() -> Self {
        Self {
            format: None,
            write: false,
            backing: Backing::Refused,
            sync: true,
            lock: true,
            device: false,
            memory: Budget::default(),
        }
    }
}

/// An open image.
#[derive(Debug)]
pub struct Image {
    /// The guest's device.
    pub device: Box<dyn SetLen>,
    /// Where it is on the host.
    pub path: PathBuf,
    /// How it is stored.
    pub format: Format,
    /// What a qcow2 image says of itself.
    pub qcow2: Option<nomount_qcow2::Info>,
    /// Backing files that were opened, nearest first.
    pub chain: Vec<PathBuf>,
    /// Bytes that the image takes on the host.
    pub host_bytes: u64,
    /// Held until the image is closed.
    _locks: Vec<Lock>,
}

impl Image {
    /// Opens the image at `path`.
    pub fn open(path: &Path, options: &ImageOptions) -> Result<Self> {
        Self::open_unnamed(path, options).map_err(|error| error.in_image(path))
    }

    fn open_unnamed(path: &Path, options: &ImageOptions) -> Result<Self> {
        let file = match options.write {
            true => host_use::open_for_writing(path, options)?,
            false => open_file(path, false, OFlags::empty())?,
        };
        let mut locks = Vec::new();
        if options.lock {
            let kind = if options.write { LockKind::Write } else { LockKind::Read };
            locks.push(Lock::take(&file, kind)?);
        }
        let host_bytes = allocated(&file)?;
        let file = HostFile::new(file, options.sync)?;
        let format = match options.format {
            Some(format) => format,
            None => probe(&file)?,
        };
        let (device, qcow2, chain): (Box<dyn SetLen>, _, _) = match format {
            Format::Raw => (Box::new(file), None, Vec::new()),
            Format::Qcow2 => {
                let info = read_qcow2(&file)?;
                let mut chain = Vec::new();
                let below = backing::open(&info, path, options, &mut chain, &mut locks)?;
                let how = nomount_qcow2::Options { read_only: !options.write, cache_bytes: TABLE_CACHE };
                let image = Qcow2::open(file, below, how)?;
                (Box::new(image), Some(info), chain)
            }
        };
        Ok(Self { device, path: path.to_owned(), format, qcow2, chain, host_bytes, _locks: locks })
    }
}

/// Opens the file of an image to copy it. With `lock`, nobody can open it for writing as long as the file is open.
pub(crate) fn open_to_copy(path: &Path, lock: bool) -> Result<File> {
    let file = open_file(path, false, OFlags::empty())?;
    if lock {
        // The lock belongs to the open file, not to the value that took it.
        drop(Lock::take(&file, LockKind::Read)?);
    }
    Ok(file)
}

/// The name of an image's backing file, where it counts from the image's own folder.
pub fn relative_backing(path: &Path, format: Option<Format>) -> Result<Option<Vec<u8>>> {
    let named = |error: Error| error.in_image(path);
    let file =
        HostFile::new(open_file(path, false, OFlags::empty()).map_err(named)?, false).map_err(|e| named(e.into()))?;
    let format = format.map_or_else(|| probe(&file), Ok).map_err(named)?;
    let info = match format {
        Format::Raw => return Ok(None),
        Format::Qcow2 => read_qcow2(&file).map_err(named)?,
    };
    Ok(info.backing_file.filter(|name| !name.starts_with(b"/")))
}

/// Opens a regular file or a block device of the host, with these flags besides.
fn open_file(path: &Path, write: bool, flags: OFlags) -> Result<File> {
    let host = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
            _ => ErrorKind::Io,
        };
        Error::new(kind, if write { "cannot open for writing" } else { "cannot open" }).caused_by(error)
    };
    // Not blocking: a named pipe would wait for its other end.
    let flags = flags.union(OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path).map_err(host)?;
    let file_type = file.metadata().map_err(host)?.file_type();
    if file_type.is_file() || file_type.is_block_device() {
        return Ok(file);
    }
    let what = if file_type.is_dir() { "a directory" } else { "neither a file nor a block device" };
    Err(Error::new(ErrorKind::Usage, format!("not an image: it is {what}")))
}

fn allocated(file: &File) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata().map_err(|e| Error::new(ErrorKind::Io, "cannot look at the file").caused_by(e))?;
    Ok(meta.blocks() * 512)
}

/// Tells the format by the magic: qcow2, or raw where the file's bytes are the guest's. What several formats claim is
/// refused: which of them is meant is not for the image to say.
pub(crate) fn probe(file: &dyn ReadAt) -> Result<Format> {
    let found = nomount_container::recognise(file)?;
    match found[..] {
        [Container::Qcow2] => Ok(Format::Qcow2),
        _ if found.iter().all(|format| format.is_one_to_one()) => Ok(Format::Raw),
        [other] => {
            let message = format!("{} images are not supported", described(other));
            Err(Error::new(ErrorKind::Unsupported, message).hint(
                "convert it with `qemu-img convert -O qcow2`, or name --format raw if these are the disk's own bytes",
            ))
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|format| format.name()).collect();
            let message = format!("several formats claim this image: {}", names.join(", "));
            Err(Error::new(ErrorKind::Refused, message)
                .hint("say with --format which one it is, if you know who made it"))
        }
    }
}

fn described(format: Container) -> &'static str {
    match format {
        Container::Luks => "LUKS encryption",
        other => other.name(),
    }
}

/// What the header of a qcow2 image says, of a file that was named as one.
fn read_qcow2(file: &HostFile) -> Result<nomount_qcow2::Info> {
    nomount_qcow2::read_info(file).map_err(|error| match error {
        nomount_qcow2::Error::NotQcow2 => {
            let found = nomount_container::recognise(file).unwrap_or_default();
            let name = match found[..] {
                [] => "raw",
                [Container::Qcow2] => return error.into(),
                [format, ..] => described(format),
            };
            Error::new(ErrorKind::Corrupt, format!("not a qcow2 image: its first bytes are those of {name}"))
                .hint("name the format that it has with --format, or none to have it looked at")
        }
        error => error.into(),
    })
}

/// The folder that a path names a file in: the current one where it names none.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn error(path: &Path, options: &ImageOptions) -> Error {
        Image::open(path, options).map(|_| ()).unwrap_err()
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let options = ImageOptions::default();
        assert_eq!(error(Path::new("/"), &options).kind(), ErrorKind::Usage);
        assert_eq!(error(Path::new("/dev/null"), &options).kind(), ErrorKind::Usage);
        assert_eq!(error(Path::new("/nonexistent"), &options).kind(), ErrorKind::NotFound);
    }

    /// A file that begins as each of the pieces says.
    fn made_of(pieces: &[(usize, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; 65536];
        pieces.iter().for_each(|(at, piece)| bytes[*at..*at + piece.len()].copy_from_slice(piece));
        file(&bytes)
    }

    const QCOW2: (usize, &[u8]) = (0, b"QFI\xfb\0\0\0\x03");
    const MBR: (usize, &[u8]) = (510, b"\x55\xaa");
    const ISO: (usize, &[u8]) = (32768, b"\x01CD001\x01");

    #[test]
    fn a_format_that_is_not_opened_is_named() {
        for (at, magic, name) in [
            (0, &b"KDMV"[..], "vmdk"),
            (0, b"# Disk DescriptorFile\nversion=1\n", "vmdk"),
            (0, b"COWD", "vmdk"),
            (0, b"vhdxfile", "vhdx"),
            (0, b"conectix", "vhd"),
            (0, b"QED\0", "qed"),
            (0, b"LUKS\xba\xbe", "LUKS encryption"),
            (0, b"QFI\xfb\0\0\0\x01", "qcow"),
            (0x40, &[0x7f, 0x10, 0xda, 0xbe], "vdi"),
            (0, b"WithoutFreeSpace", "parallels"),
        ] {
            let error = error(made_of(&[(at, magic)]).path(), &ImageOptions::default());
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(&format!("{name} images")), "{error}");
        }
    }

    #[test]
    fn what_several_formats_claim_is_refused_until_one_is_named() {
        let default = ImageOptions::default();
        let raw = ImageOptions { format: Some(Format::Raw), ..ImageOptions::default() };
        let luks = (0, &b"LUKS\xba\xbe"[..]);
        for (pieces, names) in [
            (&[QCOW2, MBR][..], "qcow2, mbr"),
            (&[QCOW2, ISO], "qcow2, iso"),
            (&[QCOW2, (0x40, &[0x7f, 0x10, 0xda, 0xbe])], "qcow2, vdi"),
            (&[luks, MBR, ISO], "luks, iso, mbr"),
        ] {
            let file = made_of(pieces);
            let error = error(file.path(), &default);
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(error.message().contains(names) && error.hint_text().unwrap().contains("--format"), "{error}");
            assert_eq!(Image::open(file.path(), &raw).unwrap().format, Format::Raw);
        }
    }

    /// A disk of an ISO that boots from a stick, and what an earlier filesystem left in free space.
    #[test]
    fn disks_whose_bytes_are_the_guests_are_opened_whatever_else_they_hold() {
        let deep = (40000, &b"LUKS\xba\xbe"[..]);
        for pieces in [&[ISO][..], &[ISO, MBR], &[MBR, deep], &[(1080, b"\x53\xef"), ISO, deep], &[]] {
            let image = Image::open(made_of(pieces).path(), &ImageOptions::default()).unwrap();
            assert_eq!(image.format, Format::Raw);
        }
    }

    #[test]
    fn a_file_that_is_not_the_qcow2_it_was_said_to_be_is_told_apart() {
        let options = ImageOptions { format: Some(Format::Qcow2), ..ImageOptions::default() };
        for (pieces, name) in [(&[][..], "raw"), (&[MBR], "mbr"), (&[(0, &b"KDMV"[..])], "vmdk")] {
            let error = error(made_of(pieces).path(), &options);
            let words = format!("not a qcow2 image: its first bytes are those of {name}");
            assert!(error.kind() == ErrorKind::Corrupt && error.message() == words, "{error}");
        }
    }

    /// CVE-2010-3851, CVE-2026-24708: a guest writes a qcow2 header into its raw disk.
    #[test]
    fn raw_is_raw_whatever_its_bytes_look_like() {
        let mut bytes = vec![0; 65536];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        let file = file(&bytes);
        let options = ImageOptions { format: Some(Format::Raw), ..ImageOptions::default() };
        let image = Image::open(file.path(), &options).unwrap();
        let mut back = vec![0; 65536];
        image.device.read_at(0, &mut back).unwrap();
        assert_eq!(back, bytes);
        assert!(Image::open(file.path(), &ImageOptions::default()).is_err());
    }

    #[test]
    fn a_second_writer_is_refused_and_two_readers_are_not() {
        let file = file(&[0; 4096]);
        let write = ImageOptions { write: true, ..ImageOptions::default() };
        // A lock that was dropped lives on in a process that another test starts, from its fork to its exec.
        let open = |options: &ImageOptions| {
            let tries = (0..3000).map(|_| {
                let image = Image::open(file.path(), options);
                image.inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(10)))
            });
            tries.filter_map(Result::ok).next().expect("nobody has it open")
        };
        let reader = open(&ImageOptions::default());
        let second = open(&ImageOptions::default());
        assert_eq!(error(file.path(), &write).kind(), ErrorKind::Busy);
        drop((reader, second));
        let writer = open(&write);
        assert_eq!(error(file.path(), &write).kind(), ErrorKind::Busy);
        assert_eq!(error(file.path(), &ImageOptions::default()).kind(), ErrorKind::Busy);
        drop(writer);
        open(&write);
    }
}
