//! `nomount truncate`.

use super::bytes;
use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::edit::{NewSize, truncate};
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Set the length of files of a guest, and create those that are missing
///
/// What is added is a hole, which reads as zero. SIZE is in bytes, or with K, M, G, T in units of 1024; with + or - in
/// front it is added or taken away, with < or > it is the most or the least, with / or % the file is rounded down or up to
/// a multiple of it.
///
/// Example: nomount truncate -s 0 disk.qcow2:/var/log/wtmp
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// The length
    #[arg(long, short, value_name = "[+-<>/%]SIZE", value_parser = parse, allow_hyphen_values = true)]
    size: NewSize,
    /// Do not create what is missing
    #[arg(long, short = 'c')]
    no_create: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

fn parse(text: &str) -> Result<NewSize, String> {
    let size = |text: &str| match text.strip_prefix('+') {
        Some(_) => Err(format!("{text:?}: one sign is enough")),
        None => bytes::parse(text, 1),
    };
    let unit = |text: &str| match size(text) {
        Ok(0) => Err("a multiple of 0 cannot be had".to_owned()),
        size => size,
    };
    match text.split_at_checked(1) {
        Some(("+", more)) => size(more).map(NewSize::Plus),
        Some(("-", less)) => size(less).map(NewSize::Minus),
        Some(("<", most)) => size(most).map(NewSize::AtMost),
        Some((">", least)) => size(least).map(NewSize::AtLeast),
        Some(("/", down)) => unit(down).map(NewSize::RoundDown),
        Some(("%", up)) => unit(up).map(NewSize::RoundUp),
        _ => size(text).map(NewSize::To),
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    edit::run(&args.edit, &target, |editor| {
        paths.iter().try_for_each(|path| truncate(editor, path, args.size, args.no_create))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_depend_on_the_old_one() {
        for (text, size) in [
            ("10", NewSize::To(10)),
            ("+1K", NewSize::Plus(1024)),
            ("-2", NewSize::Minus(2)),
            ("<3M", NewSize::AtMost(3 << 20)),
            (">4", NewSize::AtLeast(4)),
            ("/512", NewSize::RoundDown(512)),
            ("%4K", NewSize::RoundUp(4096)),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for bad in ["", "+", "x", "/0", "%0", "++1", "é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
