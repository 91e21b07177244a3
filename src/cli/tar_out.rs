//! `nomount tar-out`.

use super::copy_args::{listener, room};
use super::host_output::HostOutput;
use super::sandbox::{HostAccess, new_file};
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::copy::TarWriter;
use nomount::ops::look::Names;
use nomount::ops::populate::{Exclude, GuestTree, GuestWalk};
use nomount::ops::{Compression, Compressor};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing, exists};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

/// Write files of a guest as a tar stream
///
/// The last argument is the file to write, or `-` for standard output, which it is also where no argument is given;
/// before it stand paths in the guest, by default the root directory. One directory is told from itself, as `tar -C DIR
/// .` does; of several paths, or of a file, the names are those from the root directory.
///
/// The stream has owners as numbers and names of the guest, modes, times with nanoseconds, hard links, holes, devices and
/// extended attributes (access lists, capabilities and SELinux labels are among them), as PAX records that GNU tar
/// (--xattrs --xattrs-include='*') reads. The same tree gives the same bytes. Sockets are noted and left out.
///
/// Example: nomount tar-out disk.qcow2 /etc etc.tar.gz
///
/// Example: nomount tar-out disk.qcow2:/srv | tar -tv
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest, then the file of the host
    #[arg(value_name = "[PATH...] TAR|-")]
    paths: Vec<OsString>,
    /// Compress the stream; by default as the name of the file ends: .gz or .tgz, .xz or .txz, .zst or .tzst
    #[arg(long, value_name = "gzip|xz|zstd|none", value_parser = parse_compression)]
    compress: Option<Compress>,
    /// Leave out what has this name, and what is below: patterns as tar takes them, from / those at the top only.
    /// Repeatable
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Print what was written as JSON; the stream cannot go to standard output then
    #[arg(long)]
    pub json: bool,
}

/// A compression, or none.
type Compress = Option<Compression>;

fn parse_compression(text: &str) -> Result<Compress, String> {
    match Compression::parse(text) {
        None if text == "none" => Ok(None),
        None => Err("gzip, xz, zstd or none is needed".to_owned()),
        some => Ok(some),
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image).and(new_file(self.paths.last()))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let exclude = Exclude::new(args.exclude.iter().map(|pattern| pattern.as_bytes()));
    let (file, before) = args.paths.split_last().map_or((None, &[][..]), |(file, before)| (Some(file), before));
    let file = file.filter(|file| *file != "-");
    if args.json && file.is_none() {
        return Err(Error::new(ErrorKind::Usage, "--json needs a file for the stream: standard output has the result"));
    }
    let paths = match (&target.path, before) {
        (None, []) => vec![GuestPath::root()],
        _ => target.guest_paths(before)?,
    };
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let room = room(&session);
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    if let (Some(name), None, []) = (file, &target.path, before)
        && name.as_bytes().starts_with(b"/")
        && GuestPath::parse(name.as_bytes()).is_ok_and(|path| exists(tree, &path))
    {
        let shown = ui::safe(name.as_bytes());
        let error = Error::new(ErrorKind::Usage, format!("{shown} is in the guest, too: which is meant?"));
        return Err(error.hint(format!("`{shown} -` sends what the guest has there to standard output")));
    }
    let mut tops = Vec::new();
    for path in &paths {
        // A directory is looked into, also through a link; of others, a link is a thing of its own.
        let (place, stat) = match existing(tree, path, Follow::Last) {
            Ok(found) if found.1.kind == FileKind::Dir => found,
            _ => existing(tree, path, Follow::NotLast).map_err(named)?,
        };
        tops.push((place, stat.kind == FileKind::Dir));
    }
    let how = match args.compress {
        Some(how) => how,
        None => file.and_then(|file| Compression::of_name(file.as_bytes())),
    };
    let output = HostOutput::open(file.map(OsString::as_os_str), "a tar stream")?;
    let buffered = BufWriter::with_capacity(BUFFER, output);
    let failed = |error| Error::of_host("cannot write the tar stream", error);
    let out = Compressor::new(buffered, how).map_err(failed)?;
    let mut writer = TarWriter::new(out, Names::of_sound(tree).map_err(named)?);
    for (place, is_dir) in &tops {
        let name = match (&tops[..], is_dir) {
            ([_], true) => b".".to_vec(),
            _ if place.is_root() => b".".to_vec(),
            _ => place.to_bytes().split_off(1),
        };
        let walk = GuestWalk::new(place.clone(), room, true, true).without(exclude.clone());
        writer.add(&mut GuestTree::new(tree, walk), &name, &mut listener()).map_err(named)?;
    }
    let (out, written) = writer.finish().map_err(named)?;
    let buffered = out.finish().map_err(failed)?;
    buffered.into_inner().map_err(|error| failed(error.into_error()))?.keep()?;
    written.notes.iter().for_each(|note| ui::note(note));
    if args.json {
        let document = json!({ "volume": volume, "written": written, "notes": written.notes });
        ui::json(document).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}
