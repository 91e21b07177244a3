//! Naming an image, a partition in it, and a path in that.

use super::{memory, ui};
use clap::Args;
use nomount::disk::Choice;
use nomount::image::{Backing, Format, ImageOptions, folder_of};
use nomount::sandbox::Access;
use nomount::tree::{GuestPath, Time};
use nomount::{Error, ErrorKind, Result, Session, SessionOptions};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Options that every command has which opens an image.
#[derive(Debug, Clone, Args)]
pub struct ContainerArgs {
    /// Format of the image; by default told by its magic. With raw no header is ever read
    #[arg(long, short = 'f', value_name = "raw|qcow2|auto", default_value = "auto", value_parser = parse_format)]
    format: FormatChoice,
    /// Open the backing files of a qcow2 image, from its own folder or from DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    allow_backing: Option<Option<PathBuf>>,
    /// Do not look whether a virtual machine or another program has the image open
    #[arg(long)]
    no_lock: bool,
}

/// Options that every command has which works on a volume of an image.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    #[command(flatten)]
    container: ContainerArgs,
    /// Partition: a number, `none` or 0 for the whole device, `inspect` or -1 to look for the guest's root
    #[arg(long, value_name = "N|none|inspect", allow_hyphen_values = true, value_parser = Choice::parse)]
    partition: Option<Choice>,
}

/// Options of every command that changes an image.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Also change a block device of this host; one that is mounted or in use otherwise needs --no-lock, too
    #[arg(long)]
    allow_device: bool,
}

impl DeviceArgs {
    /// How to open the image for changes, where it would be opened for reading like this.
    pub fn on(&self, image: ImageOptions) -> ImageOptions {
        ImageOptions { device: self.allow_device, ..image }
    }
}

/// A format, or none to look at the magic.
type FormatChoice = Option<Format>;

fn parse_format(text: &str) -> Result<FormatChoice, String> {
    match text {
        "auto" => Ok(None),
        name => Format::parse(name).map(Some).ok_or_else(|| "only raw, qcow2 and auto are known".to_owned()),
    }
}

impl ContainerArgs {
    /// How to open the image for reading.
    pub fn image_options(&self) -> ImageOptions {
        let backing = match &self.allow_backing {
            None => Backing::Refused,
            Some(None) => Backing::Beside,
            Some(Some(folder)) => Backing::In(folder.clone()),
        };
        ImageOptions {
            format: self.format,
            backing,
            lock: !self.no_lock,
            memory: memory::budget(),
            ..ImageOptions::default()
        }
    }
}

/// What opening images takes of the host. `named` is the image, with or without a partition and a path in it.
impl ContainerArgs {
    /// For reading.
    pub fn reading(&self, named: &OsString) -> Access {
        self.reading_image(&Target::parse(named.clone()).image)
    }

    /// For changing it in place.
    pub fn changing(&self, named: &OsString) -> Access {
        self.changing_image(&Target::parse(named.clone()).image)
    }

    fn reading_image(&self, image: &Path) -> Access {
        reading(image, &self.image_options().backing)
    }

    fn changing_image(&self, image: &Path) -> Access {
        changing(image, &self.image_options().backing)
    }
}

/// What opening an image with such backing files for reading takes of the host.
pub fn reading(image: &Path, backing: &Backing) -> Access {
    let access = Access::none().read(image);
    match backing {
        Backing::Refused => access,
        // That of the image itself, where its own name is a link.
        Backing::Beside => match image.canonicalize() {
            Ok(image) => access.read(folder_of(&image)),
            Err(_) => access,
        },
        Backing::In(folder) => access.read(folder),
    }
}

/// The same for changing it in place.
pub fn changing(image: &Path, backing: &Backing) -> Access {
    // A redo file lies beside it meanwhile; and a device that others use is left alone.
    reading(image, backing).write(image).folder(folder_of(image)).devices()
}

/// The same of images and their volumes.
impl ImageArgs {
    /// For reading.
    pub fn reading(&self, named: &OsString) -> Access {
        self.container.reading(named)
    }

    /// For changing it in place.
    pub fn changing(&self, named: &OsString) -> Access {
        self.container.changing(named)
    }

    /// For reading.
    pub fn reading_target(&self, target: &Target) -> Access {
        self.container.reading_image(&target.image)
    }

    /// For changing it in place.
    pub fn changing_target(&self, target: &Target) -> Access {
        self.container.changing_image(&target.image)
    }
}

impl ImageArgs {
    /// How to open the image for reading.
    pub fn image_options(&self) -> ImageOptions {
        self.container.image_options()
    }

    /// Which volume to work on: the option, or the `@N` of the image's name.
    pub fn choice(&self, target: &Target) -> Result<Choice> {
        match (self.partition, target.partition) {
            (Some(_), Some(_)) => {
                Err(Error::new(ErrorKind::Usage, "the partition is given twice, with @ and --partition"))
            }
            (choice, named) => Ok(choice.or(named).unwrap_or_default()),
        }
    }

    /// Opens an image for reading, and tells what was noticed.
    pub fn open(&self, target: &Target) -> Result<Session> {
        self.open_with(target, self.image_options())
    }

    /// The same with other options of the image.
    pub fn open_with(&self, target: &Target, image: ImageOptions) -> Result<Session> {
        let partition = self.choice(target)?;
        let options = SessionOptions { image, partition, ..Default::default() };
        let session = Session::open(&target.image, options)?;
        session.notes().iter().for_each(|text| ui::note(text));
        Ok(session)
    }
}

/// `IMAGE`, `IMAGE:/path`, `IMAGE@2:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The image on the host.
    pub image: PathBuf,
    /// The partition named with `@`.
    pub partition: Option<Choice>,
    /// The path in the guest.
    pub path: Option<Vec<u8>>,
}

impl Target {
    /// Reads a target. A file of the host that has the whole text as its name is an image without a path.
    pub fn parse(text: OsString) -> Self {
        let whole = PathBuf::from(&text);
        let bytes = text.into_vec();
        let split = bytes.windows(2).position(|pair| pair == b":/");
        let (image, path) = match split {
            Some(at) if at > 0 && !whole.exists() => (bytes[..at].to_vec(), Some(bytes[at + 1..].to_vec())),
            _ => (bytes, None),
        };
        if !PathBuf::from(OsStr::from_bytes(&image)).exists()
            && let Some(at) = image.iter().rposition(|byte| *byte == b'@')
            && let Some(choice) = std::str::from_utf8(&image[at + 1..]).ok().and_then(|text| Choice::parse(text).ok())
        {
            let image = PathBuf::from(OsStr::from_bytes(&image[..at]));
            return Self { image, partition: Some(choice), path };
        }
        Self { image: PathBuf::from(OsString::from_vec(image)), partition: None, path }
    }

    /// The paths in the guest: the target's own and those given as arguments, at least one.
    pub fn guest_paths(&self, arguments: &[OsString]) -> Result<Vec<GuestPath>> {
        self.path_texts(arguments)?.iter().map(GuestPath::parse).collect()
    }

    /// The same as they are given. An argument may name the image again.
    pub fn path_texts(&self, arguments: &[OsString]) -> Result<Vec<Vec<u8>>> {
        let own = self.path.clone().into_iter();
        let paths: Vec<Vec<u8>> = own.chain(arguments.iter().map(|argument| self.path_text(argument))).collect();
        if paths.is_empty() { Err(Error::new(ErrorKind::Usage, "no path is given")) } else { Ok(paths) }
    }

    /// The path of an argument, which may be `IMAGE:/path` of this image.
    pub fn path_text(&self, argument: &OsString) -> Vec<u8> {
        let named = Self::parse(argument.clone());
        match named.path {
            Some(path) if named.image == self.image && named.partition == self.partition => path,
            _ => argument.as_bytes().to_vec(),
        }
    }

    /// The path in the guest: the target's own, or the one given as an argument of its own.
    pub fn guest_path(&self, argument: Option<&OsString>) -> Result<Option<GuestPath>> {
        match (&self.path, argument) {
            (Some(_), Some(_)) => Err(Error::new(ErrorKind::Usage, "the path is given twice")),
            (Some(path), None) => GuestPath::parse(path).map(Some),
            (None, Some(path)) => GuestPath::parse(path.as_bytes()).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// The time that changed files get: SOURCE_DATE_EPOCH where it is set, else now.
pub fn now() -> Result<Time> {
    if let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let sec = text.to_str().and_then(|text| text.parse().ok()).filter(|sec: &i64| *sec >= 0);
        return sec.map(|sec| Time { sec, nsec: 0 }).ok_or_else(|| {
            let message = format!("SOURCE_DATE_EPOCH is {text:?}, expected seconds since 1970");
            Error::new(ErrorKind::Usage, message)
        });
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is wrong anyhow.
    let since = since.unwrap_or_default();
    Ok(Time { sec: since.as_secs() as i64, nsec: since.subsec_nanos() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_partitions_and_paths() {
        let target = |image: &str, partition, path: Option<&str>| Target {
            image: image.into(),
            partition,
            path: path.map(|path| path.as_bytes().to_vec()),
        };
        for (text, wanted) in [
            ("no-such.img", target("no-such.img", None, None)),
            ("no-such.img:/etc", target("no-such.img", None, Some("/etc"))),
            ("no-such.img@2:/etc:/x", target("no-such.img", Some(Choice::Number(2)), Some("/etc:/x"))),
            ("no-such.img@none", target("no-such.img", Some(Choice::Whole), None)),
            ("no-such@host.img", target("no-such@host.img", None, None)),
        ] {
            assert_eq!(Target::parse(text.into()), wanted, "{text}");
        }
    }

    #[test]
    fn an_argument_may_name_the_image_again() {
        let target = Target::parse("no-such.img@2:/etc".into());
        let arguments = ["no-such.img@2:/var", "no-such.img:/tmp", "srv", "/a:/b"].map(OsString::from);
        let paths = target.guest_paths(&arguments).unwrap();
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/etc", "/var", "/no-such.img:/tmp", "/srv", "/a:/b"]);
        assert!(Target::parse("no-such.img".into()).guest_paths(&[]).is_err());
    }
}
