//! `nomount json`.

use super::sandbox::HostAccess;
use super::{exit, ui};
use nomount::Result;
use nomount::sandbox::Access;

/// What the documents hold, for people; a test compares it with what the verbs print.
const TEXT: &str = include_str!("json.md");

/// Print what the JSON documents of all verbs hold
///
/// Example: nomount json | less
#[derive(Debug, clap::Args)]
pub struct Args {}

impl HostAccess for Args {
    fn access(&self) -> Access {
        Access::none()
    }
}

/// Runs the command.
pub fn run(_: &Args) -> Result<u8> {
    ui::bytes(TEXT.as_bytes()).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}
