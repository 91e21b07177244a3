//! `nomount customize`.

mod load;
mod operations;
mod report;

pub use load::Loaded;
pub use operations::OperationArgs;
pub use report::run_and_report;

use super::edit::EditArgs;
use super::sandbox::HostAccess;
use super::target::{Target, now};
use clap::ValueEnum;
use nomount::account::crypt::Method;
use nomount::ops::Editor;
use nomount::ops::customize::{Done, Settings, apply, relabel_all};
use nomount::ops::selinux::Labelling;
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Make a guest what it should be, without running it
///
/// Operations are those of virt-customize. They are done in the order of the command line, but passwords are set after
/// all others; all of them are one commit, or nothing is changed. Nothing else is changed either: no random seed and no
/// machine-id is written. Programs of the guest are never run: what needs them can be left to its next boot, with
/// --firstboot, --firstboot-command and --firstboot-install.
///
/// Modes are octal, as 644, or symbolic. Owners are names of the guest, or numbers. What is copied in is root's, with
/// mode 0644, or 0755 if it is executable on the host.
///
/// Example: nomount customize disk.qcow2 --hostname web1 --ssh-inject root --root-password file:pw
///
/// Example: nomount customize disk.qcow2 --firstboot-command 'apt-get -y install nginx' --delete '/var/log/*.gz'
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    operations: OperationArgs,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Options that are for all operations.
#[derive(Debug, clap::Args)]
pub struct SettingArgs {
    /// How passwords are hashed, whatever the guest's own files say
    #[arg(long, value_name = "METHOD", value_enum)]
    password_crypto: Option<Crypto>,
    /// Give all files of the guest the SELinux contexts of its own policy at the end, not only those that are new
    #[arg(long)]
    selinux_relabel: bool,
    /// Give no file an SELinux context: as --selinux none
    #[arg(long, conflicts_with = "selinux_relabel")]
    no_selinux_relabel: bool,
    /// Leave this out of --selinux-relabel, and all that is below. Repeatable
    #[arg(long, value_name = "DIR", requires = "selinux_relabel")]
    selinux_relabel_exclude: Vec<OsString>,
    /// There is no log file in the guest that could be left out
    #[arg(long, hide = true)]
    no_logfile: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Crypto {
    Md5,
    Sha256,
    Sha512,
    Yescrypt,
}

impl SettingArgs {
    /// What they come to.
    pub fn settings(&self) -> Result<Settings> {
        let method = |crypto| match crypto {
            Crypto::Md5 => Method::Md5,
            Crypto::Sha256 => Method::Sha256,
            Crypto::Sha512 => Method::Sha512,
            Crypto::Yescrypt => Method::Yescrypt,
        };
        Ok(Settings { now: now()?, password_method: self.password_crypto.map(method) })
    }
}

impl SettingArgs {
    /// Which files get SELinux contexts while they are made.
    fn labelling(&self, edit: &EditArgs) -> Labelling {
        if self.no_selinux_relabel { Labelling::None } else { edit.selinux }
    }

    /// What comes at the very end.
    pub fn finish(&self, editor: &mut Editor<'_>) -> Result<Option<Done>> {
        if !self.selinux_relabel {
            return Ok(None);
        }
        let exclude = self.selinux_relabel_exclude.iter().map(|dir| GuestPath::parse(dir.as_bytes()));
        relabel_all(editor, &exclude.collect::<Result<Vec<_>>>()?).map(Some)
    }
}

/// The image of a command that works on a whole guest.
pub fn whole_image(image: &OsString) -> Result<Target> {
    let target = Target::parse(image.clone());
    match target.path {
        Some(_) => Err(Error::new(ErrorKind::Usage, "the image is given with a path: the operations have their own")),
        None => Ok(target),
    }
}

/// Operations that were read, with what they take from the host.
pub struct Ready<'a> {
    args: &'a Args,
    target: Target,
    loaded: Loaded,
}

impl HostAccess for Ready<'_> {
    fn access(&self) -> Access {
        self.loaded.access(&self.args.edit, &self.target)
    }
}

impl Loaded {
    /// What operations on this image take of the host.
    pub fn access(&self, edit: &EditArgs, target: &Target) -> Access {
        self.trees.iter().fold(edit.access_to(target), |access, tree| access.read(tree))
    }
}

/// Reads the operations.
pub fn load(args: &Args) -> Result<Ready<'_>> {
    let target = whole_image(&args.image)?;
    let loaded = args.operations.load(&target)?;
    Ok(Ready { args, target, loaded })
}

/// Runs the command.
pub fn run(ready: Ready<'_>) -> Result<u8> {
    let Ready { args, target, loaded: Loaded { operations, passwords, .. } } = ready;
    if operations.is_empty() && !args.settings.selinux_relabel {
        return Err(Error::new(ErrorKind::Usage, "no operation is given").hint("see nomount customize --help"));
    }
    let settings = args.settings.settings()?;
    run_and_report(&args.edit, &args.settings, &target, &passwords, |editor| apply(editor, operations, &settings))
}
