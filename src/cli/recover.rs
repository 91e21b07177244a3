//! `nomount recover`.

use super::sandbox::HostAccess;
use super::target::{ContainerArgs, DeviceArgs, Target};
use super::{exit, ui};
use nomount::Result;
use nomount::sandbox::Access;
use nomount::session::Recovered;
use serde_json::json;
use std::ffi::OsString;

/// Complete a commit that was interrupted
///
/// Needed where a commit goes through a file beside the image, IMAGE.nomount-redo: filesystems without a journal,
/// partition tables, changes of size. One that had only begun is taken back instead. Opening such an image for writing
/// does the same.
///
/// Example: nomount recover disk.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    #[command(flatten)]
    open: ContainerArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.changing(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let done = nomount::session::recover(&target.image, &args.device.on(args.open.image_options()))
        .map_err(|error| error.in_image(&target.image))?;
    if args.json {
        let (recovered, taken_back) = (done == Recovered::Completed, done == Recovered::TakenBack);
        ui::json(json!({
            "image": target.image.display().to_string(),
            "recovered": recovered,
            "taken_back": taken_back,
        }))
        .map_err(ui::output_failed)?;
    } else {
        let text = match done {
            Recovered::Nothing => "there is nothing to recover",
            Recovered::Completed => "the interrupted commit is complete",
            Recovered::TakenBack => "the interrupted commit had only begun and was taken back",
        };
        ui::lines([format!("{}: {text}", target.image.display())]).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}
