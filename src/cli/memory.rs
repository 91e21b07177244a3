//! The memory that is granted to what grows with the images of a command.

use super::bytes;
use nomount_block::Budget;
use std::sync::OnceLock;

/// With less no sound image could be worked on.
const LEAST: u64 = 16 << 20;

static BUDGET: OnceLock<Budget> = OnceLock::new();

/// Reads the value of --max-memory.
pub fn parse(text: &str) -> Result<u64, String> {
    let size = bytes::parse(text, 1)?;
    if size < LEAST { Err(format!("{text} is too little, at least {}M is needed", LEAST >> 20)) } else { Ok(size) }
}

/// Says how much it is, before anything is opened.
pub fn set(limit: Option<u64>) {
    // Only the first one counts, and there is only one.
    let _ = BUDGET.set(limit.map(Budget::new).unwrap_or_default());
}

/// What all images of the command share.
pub fn budget() -> Budget {
    BUDGET.get_or_init(Budget::default).clone()
}
