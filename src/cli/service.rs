//! `nomount service`.

use super::edit::{self, EditArgs};
use super::groupadd::image_only;
use super::sandbox::HostAccess;
use nomount::Result;
use nomount::ops::service::{Action, UnitName, service};
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Enable, disable or mask services of a guest
///
/// This changes the links below /etc/systemd/system as systemctl --root does. A name without a suffix is a service's.
///
/// Example: nomount service enable disk.qcow2 ssh my-app.timer
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start units, as their [Install] sections say, with the units named in Also= and with aliases
    ///
    /// Example: nomount service enable disk.qcow2 ssh getty@ttyS0
    Enable(UnitArgs),
    /// Do not start units by themselves: all links to them go, however they were made
    ///
    /// Example: nomount service disable disk.qcow2 apt-daily.timer
    Disable(UnitArgs),
    /// Do not start units at all
    ///
    /// Example: nomount service mask disk.qcow2 systemd-networkd-wait-online
    Mask(UnitArgs),
    /// Take masks away
    ///
    /// Example: nomount service unmask disk.qcow2 ssh
    Unmask(UnitArgs),
    /// Enable or disable units as the guest's presets say
    ///
    /// Example: nomount service preset disk.qcow2 sshd
    Preset(UnitArgs),
}

#[derive(Debug, clap::Args)]
struct UnitArgs {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// Units; all changes are one commit
    #[arg(value_name = "UNIT", required = true, value_parser = UnitName::parse)]
    units: Vec<UnitName>,
    #[command(flatten)]
    edit: EditArgs,
}

impl Command {
    fn parts(&self) -> (Action, &UnitArgs) {
        match self {
            Self::Enable(args) => (Action::Enable, args),
            Self::Disable(args) => (Action::Disable, args),
            Self::Mask(args) => (Action::Mask, args),
            Self::Unmask(args) => (Action::Unmask, args),
            Self::Preset(args) => (Action::Preset, args),
        }
    }
}

impl Args {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.command.parts().1.edit.json
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let (_, args) = self.command.parts();
        args.edit.access(&args.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (action, args) = args.command.parts();
    let target = image_only(&args.image)?;
    edit::run_telling(&args.edit, &target, |editor| Ok(service(editor, action, &args.units)?.into()))
}
