//! `nomount tar-in`.

use super::copy_args::{into_dir, listener, more};
use super::edit::{self, EditArgs};
use super::sandbox::{HostAccess, read_file};
use super::target::Target;
use nomount::ops::copy::{CopyOptions, Existing, Keep, copy_in};
use nomount::ops::decompressed;
use nomount::ops::populate::TarStream;
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Unpack a tar stream into a directory of a guest
///
/// gzip, xz and zstd are recognised by their first bytes. Owners are taken by number; modes, times with nanoseconds,
/// hard links, holes, devices and extended attributes, with access lists, capabilities and SELinux labels among them,
/// are as the stream has them. As tar does, it replaces what is in the way, but for directories that are not empty, and
/// gives directories that are there the attributes of the stream; links of the guest on the way to a file are
/// followed inside the guest. An entry with `..` in its name is refused, and so is one that a link of the stream itself
/// would lead out of the directory: then nothing is written.
///
/// With --oci-layer, a whiteout `.wh.NAME` removes NAME and `.wh..wh..opq` all that was in its directory before.
///
/// Example: nomount tar-in disk.qcow2 site.tar.zst /srv
///
/// Example: docker export web | nomount tar-in root.img -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without the directory in it
    #[arg(value_name = "IMAGE[@PARTITION][:/DIR]")]
    image: OsString,
    /// A file of the host, or `-` for standard input
    #[arg(value_name = "TAR|-")]
    tar: OsString,
    /// The directory in the guest, which must exist; by default the root directory
    #[arg(value_name = "DIR")]
    dir: Option<OsString>,
    /// Make the directory if it is missing, and those on the way
    #[arg(long, short = 'D')]
    parents: bool,
    /// The stream is a layer of an OCI or Docker image: whiteouts remove, and everything gives way
    #[arg(long, conflicts_with = "keep_directory_symlink")]
    oci_layer: bool,
    /// Keep a symbolic link to a directory where the stream has a directory of that name
    #[arg(long)]
    keep_directory_symlink: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image).and(read_file(Some(&self.tar)))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let dir = target.guest_path(args.dir.as_ref())?.unwrap_or_default();
    let mut stream = TarStream::new(decompressed(open(&args.tar, "a tar stream")?)?);
    let existing = match args.oci_layer {
        true => Existing::Layer,
        false => Existing::Unpack { keep_directory_symlink: args.keep_directory_symlink },
    };
    let options = CopyOptions { keep: Keep::ALL, existing, ..CopyOptions::default() };
    edit::run_telling(&args.edit, &target, |editor| {
        let dir = into_dir(editor, &dir, args.parents)?;
        copy_in(editor, &mut stream, &dir, &options, &mut listener()).map(more)
    })
}

/// The bytes of a file of the host, or of standard input, which may not be a terminal: `what` says what is expected.
pub fn open(name: &OsStr, what: &str) -> Result<Box<dyn Read>> {
    if name == "-" {
        let input = std::io::stdin();
        if input.is_terminal() {
            let error = Error::new(ErrorKind::Usage, format!("{what} is not read from a terminal"));
            return Err(error.hint("name a file, or send one with a pipe"));
        }
        return Ok(Box::new(input));
    }
    let path = Path::new(name);
    let file = std::fs::File::open(path).map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Error::new(kind, format!("cannot read {}", path.display())).caused_by(error)
    })?;
    // Opening one succeeds, reading it fails without its name.
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::new(ErrorKind::IsADirectory, format!("cannot read {}: is a directory", path.display())));
    }
    Ok(Box::new(file))
}
