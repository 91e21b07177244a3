//! `nomount upload` and `nomount download`.

use super::copy_args::{listener, more};
use super::edit::{self, EditArgs};
use super::host_output::HostOutput;
use super::sandbox::{HostAccess, new_file, read_file};
use super::tar_in::open;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::Progress;
use nomount::ops::copy::{Copied, Stream, upload};
use nomount::ops::edit::file_path;
use nomount::ops::populate::{GuestData, HostTree, Node, Source};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Read at a time.
const BUFFER: usize = 1 << 20;

/// Replace the contents of a file of a guest by those of a file of the host, however long
///
/// A file that exists keeps its owner, mode, extended attributes and other names, and symbolic links are followed inside
/// the guest; a new one is root's with mode 0644, in a directory that exists. Holes stay holes.
///
/// Example: nomount upload disk.qcow2 backup.sql /var/lib/backup.sql
///
/// Example: curl -s https://example.org/data | nomount upload disk.qcow2 - /srv/data
#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// The image, with or without the path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// A file of the host, or `-` for standard input
    #[arg(value_name = "LOCAL|-")]
    local: OsString,
    /// The path in the guest, where the image has none
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Write a file of a guest to a file of the host, however long
///
/// Symbolic links are followed inside the guest. The file of the host appears under its name when it is complete, with
/// the holes that it has in the guest, and keeps its own mode.
///
/// Example: nomount download disk.qcow2 /var/log/syslog syslog
///
/// Example: nomount download disk.qcow2:/var/lib/db.tar - | tar -t
#[derive(Debug, clap::Args)]
pub struct DownloadArgs {
    /// The image, with or without the path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// The path in the guest, where the image has none, then a file of the host, or `-` for standard output
    #[arg(value_name = "[PATH] LOCAL|-", num_args = 1..=2, required = true)]
    rest: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Print what was written as JSON; the file cannot go to standard output then
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for UploadArgs {
    fn access(&self) -> Access {
        self.edit.access(&self.image).and(read_file(Some(&self.local)))
    }
}

/// Runs `upload`.
pub fn run_upload(args: &UploadArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let path: Vec<OsString> = args.path.iter().cloned().collect();
    let [path] = &target.path_texts(&path)?[..] else {
        return Err(Error::new(ErrorKind::Usage, "the path is given twice"));
    };
    let path = file_path(path)?;
    let local = Path::new(&args.local);
    let plain = args.local != "-" && local.metadata().is_ok_and(|meta| meta.is_file());
    if !plain {
        let mut stream = Stream::new(open(&args.local, "the contents")?);
        return edit::run_telling(&args.edit, &target, |editor| {
            upload(editor, &path, &mut stream, None, &mut listener()).map(more)
        });
    }
    let failed = |error| Error::new(ErrorKind::Io, format!("cannot read {}", local.display())).caused_by(error);
    let local = local.canonicalize().map_err(failed)?;
    let mut tree = HostTree::with_top(local, Some(&target.image)).xattrs(false);
    edit::run_telling(&args.edit, &target, |editor| {
        let mut copied = Copied::default();
        tree.each(&mut Vec::new(), &mut |item| {
            let Node::File(size, contents) = item.node else {
                return Err(Error::new(ErrorKind::Invalid, "only the contents of a file can be sent"));
            };
            copied = upload(editor, &path, contents, Some(size), &mut listener())?;
            Ok(())
        })?;
        Ok(more(copied))
    })
}

impl HostAccess for DownloadArgs {
    fn access(&self) -> Access {
        self.open.reading(&self.image).and(new_file(self.rest.last()))
    }
}

/// Runs `download`.
pub fn run_download(args: &DownloadArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let (file, before) = args.rest.split_last().expect("one is required");
    if target.path.is_none() && before.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "a path of the guest and a file of the host, or `-`, are needed"));
    }
    let [path] = &target.guest_paths(before)?[..] else {
        return Err(Error::new(ErrorKind::Usage, "the path is given twice"));
    };
    let file = Some(file).filter(|file| *file != "-");
    if args.json && file.is_none() {
        return Err(Error::new(ErrorKind::Usage, "--json needs a file: standard output has the result"));
    }
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let tree: &dyn FileTree = session.tree();
    let done = download(tree, path, file.map(Path::new));
    let (size, bytes) = done.map_err(|error| error.in_volume(&volume).in_image(&target.image))?;
    if args.json {
        let document =
            json!({ "volume": volume, "path": ui::bytes_json(&path.to_bytes()), "size": size, "bytes": bytes });
        ui::json(document).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}

/// Writes the file; its length, and the bytes of it that are no holes.
fn download(tree: &dyn FileTree, path: &GuestPath, to: Option<&Path>) -> Result<(u64, u64)> {
    let (place, stat) = existing(tree, path, Follow::Last)?;
    if stat.kind != FileKind::File {
        let kind = if stat.kind == FileKind::Dir { ErrorKind::IsADirectory } else { ErrorKind::Invalid };
        let message = format!("is a {}, not a regular file", stat.kind.noun());
        return Err(Error::new(kind, message).at_path(path.to_bytes()));
    }
    let mut output = match to {
        None => HostOutput::Standard(std::io::stdout()),
        Some(to) => HostOutput::open(Some(to.as_os_str()), "a file")?,
    };
    let failed = |error| Error::of_host("cannot write the file", error);
    let mut progress = listener();
    progress.total(Some(stat.size));
    progress.at(&place.to_bytes());
    let (mut buffer, mut bytes, mut at) = (vec![0; BUFFER], 0, 0);
    let mut data = GuestData::new(tree, &place)?;
    while let Some((offset, len)) = data.next(tree, &mut buffer)? {
        match output.regular() {
            Some(file) => file.write_all_at(&buffer[..len], offset).map_err(failed)?,
            None => {
                zeroes(&mut output, offset.saturating_sub(at)).map_err(failed)?;
                output.write_all(&buffer[..len]).map_err(failed)?;
            }
        }
        progress.add(len as u64);
        bytes += len as u64;
        at = offset + len as u64;
    }
    match output.regular() {
        Some(file) => file.set_len(stat.size).map_err(failed)?,
        None => zeroes(&mut output, stat.size.saturating_sub(at)).map_err(failed)?,
    }
    output.keep()?;
    Ok((stat.size, bytes))
}

fn zeroes(out: &mut impl Write, len: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), len), out).map(drop)
}
