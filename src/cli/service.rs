//! `nomount service`.

use super::edit::{self, EditArgs};
use super::groupadd::image_only;
use super::ui;
use nomount::Result;
use nomount::ops::service::{Action, UnitName, service};
use std::ffi::OsString;

/// Enable, disable or mask services of a guest
///
/// This changes the links below /etc/systemd/system as systemctl --root does. A name without a suffix is a service's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  nomount service enable disk.qcow2 ssh my-app.timer\n  \
                        nomount service mask disk.qcow2 systemd-networkd-wait-online")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start units, as their [Install] sections say, with the units named in Also= and with aliases
    #[command(after_help = "Example:\n  nomount service enable disk.qcow2 ssh getty@ttyS0")]
    Enable(UnitArgs),
    /// Do not start units by themselves: all links to them go, however they were made
    #[command(after_help = "Example:\n  nomount service disable disk.qcow2 apt-daily.timer")]
    Disable(UnitArgs),
    /// Do not start units at all
    #[command(after_help = "Example:\n  nomount service mask disk.qcow2 systemd-networkd-wait-online")]
    Mask(UnitArgs),
    /// Take masks away
    #[command(after_help = "Example:\n  nomount service unmask disk.qcow2 ssh")]
    Unmask(UnitArgs),
    /// Enable or disable units as the guest's presets say
    #[command(after_help = "Example:\n  nomount service preset disk.qcow2 sshd")]
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

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (action, args) = args.command.parts();
    let target = image_only(&args.image)?;
    let mut notes = Vec::new();
    let code = edit::run(&args.edit, &target, |editor| {
        notes = service(editor, action, &args.units)?;
        Ok(())
    })?;
    notes.iter().for_each(|text| ui::note(text));
    Ok(code)
}
