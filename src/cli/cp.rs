//! `nomount cp`.

use super::copy_args::{IntoArgs, Local, contents_only, listener, more, room};
use super::copy_out::report;
use super::edit::{self, EditArgs, More};
use super::host_output::HostOutput;
use super::sandbox::HostAccess;
use super::tar_in::open;
use super::target::Target;
use nomount::image::folder_of;
use nomount::ops::copy::{
    Copied, CopyOptions, Existing, Keep, OutOptions, SourceName, TarWriter, copy_in, copy_out, copy_within,
    destination, directory,
};
use nomount::ops::look::Names;
use nomount::ops::populate::{GuestTree, GuestWalk, TarStream};
use nomount::ops::{Editor, decompressed};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing};
use nomount::{Error, ErrorKind, Result, Session};
use std::ffi::{OsStr, OsString};
use std::io::BufWriter;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Copy files and directories into an image, out of it, inside it, or from one to another
///
/// IMAGE:/path, or IMAGE@2:/path for a partition, is in a guest; everything else is on the host, and `-` is a tar stream
/// on standard input or output. The rules are those of `docker cp`: into a directory that exists under the own name, as
/// the new name otherwise; SRC/. stands for what is in SRC; directories are copied with all that is in them, with -r and
/// without; symbolic links are copied themselves, those that are named followed with -L. Several sources need a directory.
///
/// Copies in an image are root's. Those of the host's files have mode 0644, or 0755 for directories and programs; those
/// from a guest have the mode they have there, less set-id bits and what a umask of 022 takes. On the host they belong to
/// the caller and have their modes without set-id bits. --archive and --preserve keep more. What has the name already is
/// replaced, a directory filled. A stream keeps what it says.
///
/// Example: nomount cp app.conf disk.qcow2:/etc/app/
///
/// Example: nomount cp -a disk.qcow2:/var/www/. other.qcow2@2:/srv/www
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to copy, then where
    #[arg(value_name = "[IMAGE:]SRC... [IMAGE:]DST", num_args = 2.., required = true)]
    paths: Vec<OsString>,
    /// Directories with all that is in them, as without it
    #[arg(long, short = 'r', short_alias = 'R')]
    recursive: bool,
    /// Follow symbolic links that are named as sources
    #[arg(long, short = 'L')]
    follow_link: bool,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// One side of a copy.
enum Side {
    Guest(Target, Vec<u8>),
    Host(OsString),
    Stream,
}

impl Side {
    fn parse(text: &OsString) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        let mut target = Target::parse(text.clone());
        match target.path.take() {
            Some(path) => Self::Guest(target, path),
            None => Self::Host(text.clone()),
        }
    }
}

fn usage(text: &str) -> Error {
    Error::new(ErrorKind::Usage, text)
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let (to, sources) = self.paths.split_last().expect("two are required");
        let read = |access: Access, source| match Side::parse(source) {
            Side::Guest(target, _) => access.and(self.edit.open.reading_target(&target)),
            Side::Host(path) => access.read(path),
            Side::Stream => access,
        };
        let access = sources.iter().fold(Access::none(), read);
        match Side::parse(to) {
            Side::Guest(target, _) => access.and(self.edit.access_to(&target)),
            Side::Stream => access,
            Side::Host(path) if Path::new(&path).is_dir() => access.tree(path),
            Side::Host(path) => {
                let path = Path::new(&path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
                access.tree(folder_of(&path))
            }
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (to, sources) = args.paths.split_last().expect("two are required");
    let sources: Vec<Side> = sources.iter().map(Side::parse).collect();
    match Side::parse(to) {
        Side::Guest(target, path) => into_guest(args, sources, &target, &path),
        to => out_of_guest(args, sources, &to),
    }
}

/// A place of another image, opened for as long as it is copied.
struct Other {
    session: Session,
    image: PathBuf,
    place: GuestPath,
    name: SourceName,
}

impl Other {
    fn open(args: &Args, target: &Target, path: &[u8], lock: bool) -> Result<Self> {
        let mut image = args.edit.open.image_options();
        image.lock &= lock;
        let mut session = args.edit.open.open_with(target, image)?;
        let volume = session.volume().to_string();
        let found = find(session.tree(), path, args.follow_link);
        let (place, name) = found.map_err(|error| error.in_volume(volume).in_image(&target.image))?;
        Ok(Self { session, image: target.image.clone(), place, name })
    }

    /// What is copied, and how errors of it are named.
    fn walk(&self, keep: Keep) -> GuestWalk {
        GuestWalk::new(self.place.clone(), room(&self.session), keep.links, keep.xattrs)
    }

    fn named(&self) -> impl Fn(Error) -> Error + use<> {
        let (volume, image) = (self.session.volume().to_string(), self.image.clone());
        move |error| error.in_volume(&volume).in_image(&image)
    }
}

/// Where a source is in a guest, and the name that its copy has.
fn find(tree: &dyn FileTree, text: &[u8], follow: bool) -> Result<(GuestPath, SourceName)> {
    let path = GuestPath::parse(text)?;
    let contents = contents_only(text);
    let follow = if follow || contents || text.ends_with(b"/") { Follow::Last } else { Follow::NotLast };
    let (place, stat) = existing(tree, &path, follow)?;
    let is_dir = stat.kind == FileKind::Dir;
    if !is_dir && (contents || text.ends_with(b"/")) {
        return Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(text));
    }
    let name = path.name().filter(|_| !contents).map(<[u8]>::to_vec);
    Ok((place, SourceName { name, is_dir }))
}

/// What is copied into a guest.
enum Source {
    Local(Local),
    Stream(TarStream<Box<dyn std::io::Read>>),
    Within(Vec<u8>),
    Other(Box<Other>),
}

fn into_guest(args: &Args, sources: Vec<Side>, target: &Target, to: &[u8]) -> Result<u8> {
    let options = args.into.options();
    let of_guest = CopyOptions { modes_of_source: true, ..options.clone() };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut opened = Vec::new();
    for side in sources {
        opened.push(match side {
            Side::Host(text) => Source::Local(Local::find(&text, args.follow_link)?),
            Side::Stream => Source::Stream(TarStream::new(decompressed(open(OsStr::new("-"), "a tar stream")?)?)),
            Side::Guest(source, path) => {
                let same_image = real(&source.image) == real(&target.image);
                if same_image && args.edit.open.choice(&source)? == args.edit.open.choice(target)? {
                    Source::Within(path)
                } else {
                    // Two volumes of one image: it is the other session that holds the lock.
                    Source::Other(Box::new(Other::open(args, &source, &path, !same_image)?))
                }
            }
        });
    }
    let several = opened.len() > 1;
    edit::run_telling(&args.edit, target, |editor| {
        let mut copied = Copied::default();
        for source in opened {
            let how = match source {
                Source::Within(_) | Source::Other(_) => &of_guest,
                Source::Local(_) | Source::Stream(_) => &options,
            };
            copied.add(copy_one(editor, source, args, target, to, several, how)?);
        }
        Ok::<More, Error>(more(copied))
    })
}

fn copy_one(
    editor: &mut Editor<'_>,
    source: Source,
    args: &Args,
    target: &Target,
    to: &[u8],
    several: bool,
    how: &CopyOptions,
) -> Result<Copied> {
    match source {
        Source::Local(local) => {
            let place = destination(editor.tree(), to, &local.name, several)?;
            copy_in(editor, &mut local.tree(target, how.keep), &place, how, &mut listener())
        }
        Source::Stream(mut stream) => {
            let dir = directory(editor.tree(), &GuestPath::parse(to)?)?;
            let existing = Existing::Unpack { keep_directory_symlink: false };
            let how = CopyOptions { keep: Keep::ALL, existing, ..how.clone() };
            copy_in(editor, &mut stream, &dir, &how, &mut listener())
        }
        Source::Within(path) => {
            let (from, name) = find(editor.tree(), &path, args.follow_link)?;
            let place = destination(editor.tree(), to, &name, several)?;
            copy_within(editor, &from, &place, how, &mut listener())
        }
        Source::Other(mut other) => {
            let place = destination(editor.tree(), to, &other.name, several)?;
            let walk = other.walk(how.keep);
            copy_in(editor, &mut GuestTree::new(other.session.tree(), walk), &place, how, &mut listener())
        }
    }
}

fn out_of_guest(args: &Args, sources: Vec<Side>, to: &Side) -> Result<u8> {
    args.into.only_keep()?;
    if args.edit.output.is_some() || args.edit.dry_run {
        return Err(usage("--output and --dry-run are for copies into an image"));
    }
    let mut others = Vec::new();
    for side in sources {
        let Side::Guest(source, path) = side else {
            let error = usage("neither side is in an image");
            return Err(error.hint("a path in an image is written IMAGE:/path"));
        };
        others.push(Other::open(args, &source, &path, true)?);
    }
    let volume = others.first().map(|other| other.session.volume().to_string()).unwrap_or_default();
    let copied = match to {
        Side::Host(to) => to_host(args, &mut others, to)?,
        _ if args.edit.json => return Err(usage("--json cannot be where the stream is, on standard output")),
        _ => to_stream(&mut others)?,
    };
    report(args.edit.json, &volume, &copied)
}

fn to_host(args: &Args, others: &mut [Other], to: &OsStr) -> Result<Copied> {
    let how = OutOptions { keep: args.into.keep.keep(), devices: args.into.keep.archive };
    let several = others.len() > 1;
    let mut copied = Copied::default();
    for other in others {
        let (dir, name) = host_destination(to, &other.name, several)?;
        let (walk, named) = (other.walk(how.keep), other.named());
        let mut source = GuestTree::new(other.session.tree(), walk);
        copied.add(copy_out(&mut source, &dir, name.as_deref(), how, &mut listener()).map_err(named)?);
    }
    Ok(copied)
}

/// A tar stream of everything, each source under its name, as `docker cp` gives it.
fn to_stream(others: &mut [Other]) -> Result<Copied> {
    let out = BufWriter::new(HostOutput::open(None, "a tar stream")?);
    let names = match others.first_mut() {
        Some(first) => Names::of_sound(first.session.tree())?,
        None => Names::default(),
    };
    let mut writer = TarWriter::new(out, names);
    for other in others {
        let (walk, named) = (other.walk(Keep::ALL), other.named());
        let name = other.name.name.clone().unwrap_or_else(|| b".".to_vec());
        writer.add(&mut GuestTree::new(other.session.tree(), walk), &name, &mut listener()).map_err(named)?;
    }
    Ok(writer.finish()?.1)
}

/// The directory of the host that a source goes into, and the name that it has there; none for what is in it.
fn host_destination(to: &OsStr, source: &SourceName, several: bool) -> Result<(PathBuf, Option<Vec<u8>>)> {
    let path = Path::new(to);
    let fails = |kind, what: &str| Err(Error::new(kind, format!("{}: {what}", path.display())));
    let must_be_dir = several || to.as_bytes().ends_with(b"/") || contents_only(to.as_bytes());
    match path.metadata() {
        Ok(meta) if meta.is_dir() => return Ok((path.to_owned(), source.name.clone())),
        Ok(_) if must_be_dir || source.is_dir => return fails(ErrorKind::NotADirectory, "not a directory of the host"),
        Ok(meta) if !meta.is_file() => {
            let error = Error::new(ErrorKind::Refused, format!("{} is no regular file", path.display()));
            return Err(error.hint("`nomount download` writes into pipes and devices"));
        }
        Err(_) if several || must_be_dir && !source.is_dir => {
            return fails(ErrorKind::NotFound, "no such directory of the host");
        }
        _ => {}
    }
    // A link to a file is written through.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let Some(name) = path.file_name() else { return fails(ErrorKind::Invalid, "not a name for a copy") };
    let dir = folder_of(&path);
    Ok((dir.to_owned(), Some(name.to_owned().into_vec())))
}
