//! What the kernel says of this process in `/proc/self/status`: read once, before the process is locked in.

use std::sync::OnceLock;

static TEXT: OnceLock<String> = OnceLock::new();

/// Reads it, unless that was done.
pub fn remember() {
    text();
}

fn text() -> &'static str {
    TEXT.get_or_init(|| std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The value of a line, where there is one.
fn value(name: &str) -> Option<&'static str> {
    text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The bits that new files of this process do not get.
pub fn umask() -> u32 {
    value("Umask").and_then(|mask| u32::from_str_radix(mask, 8).ok()).unwrap_or(0o022)
}

/// The signals that this process was started to ignore: bit N-1 stands for signal N.
pub fn ignored() -> u64 {
    value("SigIgn").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or_default()
}
