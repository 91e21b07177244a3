//! `nomount json`.

use super::{exit, ui};
use nomount::Result;

/// What the documents hold, for people; a test compares it with what the verbs print.
const TEXT: &str = include_str!("json.md");

/// Print what the JSON documents of all verbs hold
///
/// Example: nomount json | less
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_: &Args) -> Result<u8> {
    ui::bytes(TEXT.as_bytes()).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}
