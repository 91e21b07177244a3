//! `nomount recover`.

use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::Result;
use serde_json::json;
use std::ffi::OsString;

/// Complete a commit that was interrupted
///
/// Only images whose filesystem has no journal need it: their commit goes through a file beside the image. Opening
/// such an image for writing does the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let done = nomount::session::recover(&target.image, &args.open.image_options())
        .map_err(|error| error.in_image(&target.image))?;
    if args.json {
        ui::json(json!({ "image": target.image.display().to_string(), "recovered": done }))
            .map_err(ui::output_failed)?;
    } else {
        let text = if done { "the interrupted commit is complete" } else { "there is nothing to recover" };
        ui::lines([format!("{}: {text}", target.image.display())]).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}
