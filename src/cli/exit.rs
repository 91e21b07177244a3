//! Exit codes: what a script can tell apart.

use nomount::ErrorKind;

/// Done.
pub const DONE: u8 = 0;
/// Failed, or not everything that was asked for was done.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// Refused, or not safe.
pub const REFUSED: u8 = 3;
const UNSUPPORTED: u8 = 4;
const BUSY: u8 = 5;
const NO_SPACE: u8 = 6;
/// The image contradicts itself.
pub const CORRUPT: u8 = 7;
/// A bug in nomount.
pub const BUG: u8 = 70;

/// What `--help` says of them.
pub const HELP: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused for safety, 4 unsupported feature, \
                        5 image in use, 6 no space, 7 image corrupt, 70 a bug in nomount.";

/// The exit code for a kind of failure.
pub fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage | ErrorKind::Invalid => USAGE,
        ErrorKind::Refused => REFUSED,
        ErrorKind::Unsupported => UNSUPPORTED,
        ErrorKind::Busy => BUSY,
        ErrorKind::NoSpace => NO_SPACE,
        ErrorKind::Corrupt => CORRUPT,
        _ => FAILED,
    }
}

/// The word for a kind of failure in JSON.
pub fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Exists => "exists",
        ErrorKind::NotADirectory => "not_a_directory",
        ErrorKind::IsADirectory => "is_a_directory",
        ErrorKind::NotEmpty => "not_empty",
        ErrorKind::OtherFilesystem => "other_filesystem",
        ErrorKind::Loop => "loop",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Refused => "refused",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Busy => "busy",
        ErrorKind::NoSpace => "no_space",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Differs => "differs",
        ErrorKind::Limit => "limit",
        ErrorKind::OutOfBudget => "out_of_budget",
        _ => "io",
    }
}

/// What the user can do about a failure.
pub fn hint(error: &nomount::Error) -> Option<&str> {
    let of_kind = || (error.kind() == ErrorKind::OutOfBudget).then_some("--max-memory grants more, such as 1G");
    error.hint_text().or_else(of_kind)
}

/// Says that a panic is our fault, and where it happened, and ends the process: there may be nothing that unwinds, since
/// the program that is handed out is smaller without.
pub fn report_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    super::ui::complain(&format!(
        "nomount: this is a bug in nomount{place}; nothing was committed by this step: {panic}"
    ));
    nomount::interrupt::abandon();
    std::process::exit(i32::from(BUG));
}
