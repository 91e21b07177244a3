//! ext2, ext3 and ext4. Inputs are short: they choose one of our own images and say what to spoil in it, and all checksums
//! are made right afterwards, so that what is behind them is reached.

mod base;
pub mod check;
mod image;
mod model;
pub mod ops;
pub mod read;
pub mod replay;
mod walk;

use arbitrary::Unstructured;
use nomount_ext::{CheckOptions, Options, Report, Severity, Time};

/// What filesystems are opened with.
const OPTIONS: Options = Options { now: Time { sec: 1_780_000_000, nsec: 123_456_789 }, seed: 7, mmp_wait: None };
/// No clock for the check: what is spoiled may say any time.
const CHECK: CheckOptions = CheckOptions { now: None };

/// The image that an input of a target stands for.
pub fn image_of(target: &str, data: &[u8]) -> Option<Vec<u8>> {
    let bases = match target {
        "ext_read" | "ext_check" if nomount_ext::probe(data).is_some() => return Some(data.to_vec()),
        "ext_read" | "ext_check" | "ext_ops" => base::all(),
        "ext_replay" => base::live(),
        _ => return None,
    };
    image::spoiled(&mut Unstructured::new(data), bases).ok().map(|(_, image, _)| image)
}

/// Whether a check found nothing that ought to be mended.
fn is_clean(report: &Report) -> bool {
    report.worst() <= Some(Severity::Note)
}
