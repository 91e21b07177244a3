//! Judging an image: whether it is safe to open, asked before anything opens it.

use super::{allocated, open_file};
use crate::error::Result;
use nomount_block::{HostFile, ReadAt};
pub use nomount_container::{Format as Container, Outcome, Verdict};
use rustix::fs::OFlags;
use std::path::Path;

/// What was found out about an image, without opening it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Formats, rules, virtual size.
    pub verdict: Verdict,
    /// Length of the file, or of the block device, in bytes.
    pub file_size: u64,
    /// Bytes that the image takes on the host.
    pub host_bytes: u64,
}

/// Judges the image at `path`; with `claim` it also has to be of that format. Reads a few kilobytes, whoever else has
/// the image open.
///
/// # Errors
///
/// What is neither a file nor a block device; a failure of the host.
pub fn judge(path: &Path, claim: Option<Container>) -> Result<Judged> {
    let judged = || {
        let file = open_file(path, false, OFlags::empty())?;
        let host_bytes = allocated(&file)?;
        let file = HostFile::new(file, false)?;
        let verdict = nomount_container::judge(&file, claim)?;
        Ok(Judged { verdict, file_size: file.len(), host_bytes })
    };
    judged().map_err(|error: crate::Error| error.in_image(path))
}
