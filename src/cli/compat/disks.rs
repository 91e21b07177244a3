//! The options that all tools of libguestfs have: which disks, in which format.

use crate::cli::target::reading;
use clap::ArgMatches;
use nomount::image::{Backing, Format, ImageOptions};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Which disks.
#[derive(Debug, clap::Args)]
pub struct Disks {
    /// A disk image. Repeatable for the disks of one machine, where several can be opened
    #[arg(short = 'a', long = "add", value_name = "FILE")]
    add: Vec<OsString>,
    /// Format of the images that follow; without a value it is told by their magic
    #[arg(long, value_name = "raw|qcow2", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
          value_parser = ["raw", "qcow2", "auto"])]
    format: Vec<String>,
    /// Open the backing files of a qcow2 image, from its own folder or from DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    allow_backing: Option<Option<PathBuf>>,
    /// There is no virtual machine that could be watched: nothing more is printed
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Like -v
    #[arg(short = 'x')]
    trace: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(short = 'd', long, hide = true)]
    domain: Vec<OsString>,
    #[arg(short = 'c', long, hide = true)]
    connect: Option<OsString>,
    #[arg(long, hide = true)]
    key: Vec<OsString>,
    #[arg(long, hide = true)]
    keys_from_stdin: bool,
    #[arg(long, hide = true)]
    echo_keys: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "512")]
    blocksize: Vec<String>,
}

/// A disk, and how to open it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    format: Option<String>,
    backing: Option<Option<PathBuf>>,
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

impl Disks {
    /// Fails for what cannot be done here.
    fn check(&self) -> Result<()> {
        if let Some(domain) = self.domain.first() {
            let message = format!("-d {}: machines of libvirt cannot be asked for their disks", domain.display());
            return Err(unsupported(message).hint("name the disk with -a; `virsh domblklist` tells it"));
        }
        if self.connect.is_some() {
            return Err(unsupported("-c: libvirt is not connected to").hint("name the disk with -a"));
        }
        if !self.key.is_empty() || self.keys_from_stdin {
            return Err(unsupported("--key, --keys-from-stdin: encrypted disks cannot be opened"));
        }
        if let Some(size) = self.blocksize.iter().find(|size| *size != "512") {
            let message = format!("--blocksize={size}: the size of sectors is told by the partition table alone");
            return Err(unsupported(message));
        }
        Ok(())
    }

    /// The disks: those of -a, else by the old way of the tool the first of its `arguments`, all but `behind`.
    pub fn images(&self, matches: &ArgMatches, arguments: &mut Vec<OsString>, behind: usize) -> Result<Vec<Image>> {
        self.check()?;
        let image = |path: OsString, format: Option<&String>| {
            if path.as_bytes().windows(3).any(|part| part == b"://") {
                let message = format!("{}: only files of this host are opened", path.display());
                return Err(unsupported(message));
            }
            Ok(Image { path: path.into(), format: format.cloned(), backing: self.allow_backing.clone() })
        };
        let indices = |name: &str| matches.indices_of(name).into_iter().flatten().collect::<Vec<_>>();
        let formats: Vec<(usize, &String)> = indices("format").into_iter().zip(&self.format).collect();
        let before = |at: usize| formats.iter().rev().find(|(index, _)| *index < at).map(|(_, format)| *format);
        if !self.add.is_empty() {
            let places = indices("add").into_iter().zip(&self.add);
            return places.map(|(at, path)| image(path.clone(), before(at))).collect();
        }
        let old = arguments.len().saturating_sub(behind);
        if old == 0 {
            return Err(Error::new(ErrorKind::Usage, "no disk is given").hint("name one with -a"));
        }
        arguments.drain(..old).map(|path| image(path, before(usize::MAX))).collect()
    }

    /// The one disk: several would be those of one machine.
    pub fn image(&self, matches: &ArgMatches, arguments: &mut Vec<OsString>, behind: usize) -> Result<Image> {
        let images = self.images(matches, arguments, behind)?;
        match &images[..] {
            [image] => Ok(image.clone()),
            several => Err(unsupported(format!("{} disks are given: one is opened at a time", several.len()))
                .hint("give the disk that the files are on")),
        }
    }
}

impl Image {
    /// How to open it for reading.
    pub fn options(&self) -> ImageOptions {
        let backing = match &self.backing {
            None => Backing::Refused,
            Some(None) => Backing::Beside,
            Some(Some(folder)) => Backing::In(folder.clone()),
        };
        let format = self.format.as_deref().and_then(Format::parse);
        ImageOptions { format, backing, ..ImageOptions::default() }
    }

    /// What that takes of the host.
    pub fn access(&self) -> Access {
        reading(&self.path, &self.options().backing)
    }

    /// The same as options of nomount.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            self.format.iter().map(|format| format!("--format={format}").into()).collect();
        match &self.backing {
            None => {}
            Some(None) => arguments.push("--allow-backing".into()),
            Some(Some(folder)) => {
                let mut argument = OsString::from("--allow-backing=");
                argument.push(folder);
                arguments.push(argument);
            }
        }
        arguments
    }
}

/// Which filesystem is the root.
#[derive(Debug, clap::Args)]
pub struct Mounts {
    /// Take this partition, such as /dev/sda1, for the root directory, in place of the guest's own
    #[arg(short = 'm', long = "mount", value_name = "DEV[:/]")]
    mount: Vec<String>,
}

impl Mounts {
    /// The option of nomount that says the same.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let [mount] = &self.mount[..] else {
            return match self.mount.len() {
                0 => Ok(Vec::new()),
                _ => Err(unsupported("-m: one filesystem can be chosen, as the root directory")
                    .hint("without -m all that the guest mounts by its fstab is there")),
            };
        };
        let mut parts = mount.splitn(3, ':');
        let device = parts.next().unwrap_or_default();
        match (parts.next(), parts.next()) {
            (None | Some("" | "/"), None | Some("" | "ro" | "rw")) => Ok(vec![format!("--partition={device}").into()]),
            (None | Some("" | "/"), Some(options)) => {
                Err(unsupported(format!("-m {mount}: there are no mount options ({options})")))
            }
            (Some(point), _) => Err(unsupported(format!("-m {mount}: a filesystem is opened at /, not at {point}"))),
        }
    }
}
