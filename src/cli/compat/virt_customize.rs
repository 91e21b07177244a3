//! `virt-customize`.

use super::disks::Disks;
use super::{Next, Stop, parse};
use crate::cli::ui;
use clap::Parser;
use nomount::{Error, ErrorKind};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Make a guest what it should be, as virt-customize of libguestfs
///
/// Operations are those of `nomount customize`, which has help on them: they are done in order, passwords last, as one
/// commit. Programs of the guest are not run, and nothing is changed that was not asked for: no machine-id, no random
/// seed. Modes are octal.
#[derive(Debug, Parser)]
#[command(name = "virt-customize", version, disable_help_flag = true)]
#[command(override_usage = "virt-customize [OPTIONS] -a FILE [--OPERATION VALUE]...")]
#[command(after_help = "Example:\n  virt-customize -a disk.qcow2 --hostname web1 --ssh-inject root")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    /// Show what would change and write nothing
    #[arg(short = 'n', long, visible_alias = "dryrun")]
    dry_run: bool,
    /// Nothing is printed but problems
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Memory of a virtual machine, of which there is none
    #[arg(short = 'm', long, value_name = "MIB")]
    memsize: Option<u32>,
    /// Its processors
    #[arg(long, value_name = "N")]
    smp: Option<u32>,
    /// Its network
    #[arg(long, overrides_with = "no_network")]
    network: bool,
    /// The same as without it: nothing here goes over a network
    #[arg(long)]
    no_network: bool,
    /// Messages are not coloured
    #[arg(long, visible_alias = "colours")]
    colors: bool,
    /// Messages are not wrapped
    #[arg(long)]
    wrap: bool,
    #[arg(long, hide = true)]
    attach: Vec<OsString>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    attach_format: Vec<OsString>,
    /// New files get no SELinux contexts
    #[arg(long)]
    no_selinux_relabel: bool,
    /// Does nothing, as there: what is touched gets its context
    #[arg(long)]
    selinux_relabel: bool,
}

/// Long options that are read here, and whether a value follows.
const OWN: &[(&str, bool)] = &[
    ("add", true),
    ("format", false),
    ("allow-backing", false),
    ("domain", true),
    ("connect", true),
    ("key", true),
    ("keys-from-stdin", false),
    ("echo-keys", false),
    ("blocksize", false),
    ("verbose", false),
    ("version", false),
    ("help", false),
    ("dry-run", false),
    ("dryrun", false),
    ("quiet", false),
    ("memsize", true),
    ("smp", true),
    ("network", false),
    ("no-network", false),
    ("colors", false),
    ("colours", false),
    ("wrap", false),
    ("attach", true),
    ("attach-format", false),
    ("no-selinux-relabel", false),
    ("selinux-relabel", false),
];
/// Operations without a value.
const FLAGS: &[&str] = &["update", "no-logfile"];
/// Short options that are read here and have a value.
const SHORT_WITH_VALUE: &[u8] = b"acdm";

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (own, operations) = divide(arguments);
    let (args, matches) = parse::<Args>(&own)?;
    if !args.attach.is_empty() || !args.attach_format.is_empty() {
        let message = "--attach: no virtual machine runs that a disk could be attached to";
        let error = Error::new(ErrorKind::Unsupported, message);
        return Err(error.hint("--copy-in, --upload and --tar-in take files of the host").into());
    }
    let image = args.disks.image(&matches, &mut Vec::new(), 0)?;
    for (at, operation) in operations.iter().enumerate() {
        let text = operation.to_string_lossy();
        let value = match text.strip_prefix("--chmod") {
            Some("") => operations.get(at + 1).map(|value| value.to_string_lossy().into_owned()),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        value.iter().for_each(|value| warn_of_decimal(value));
    }
    let mut line: Vec<OsString> = vec!["nomount".into(), "customize".into()];
    line.extend(image.arguments());
    line.extend(args.dry_run.then(|| "--dry-run".into()));
    line.extend(args.no_selinux_relabel.then(|| "--selinux=none".into()));
    // Never taken for an option, whatever the file is called.
    let path = image.path.into_os_string();
    let dot = if path.as_bytes().starts_with(b"-") { &b"./"[..] } else { b"" };
    line.push(OsString::from_vec([dot, path.as_bytes()].concat()));
    line.extend(operations);
    Ok(Next::Run(line))
}

/// The command line in two: what is read here, with the program's name, and the operations with their values.
fn divide(arguments: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let (mut own, mut operations) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    own.extend(rest.next().cloned());
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        let (is_own, takes_next) = match bytes.strip_prefix(b"--") {
            Some(long) => {
                let name = long.split(|byte| *byte == b'=').next().unwrap_or_default();
                let has_value = name.len() < long.len();
                match OWN.iter().find(|(own, _)| own.as_bytes() == name) {
                    Some((_, value)) => (true, *value && !has_value),
                    None => (false, !has_value && !FLAGS.iter().any(|flag| flag.as_bytes() == name)),
                }
            }
            // The value may follow in the same word.
            None => (true, bytes.len() == 2 && bytes[0] == b'-' && SHORT_WITH_VALUE.contains(&bytes[1])),
        };
        let part = if is_own { &mut own } else { &mut operations };
        part.push(argument.clone());
        if takes_next {
            part.extend(rest.next().cloned());
        }
    }
    (own, operations)
}

/// What virt-customize takes for decimal is octal here: that may be what was meant all along, or not.
fn warn_of_decimal(value: &str) {
    let mode = value.split(':').next().unwrap_or_default();
    let is_decimal = !mode.starts_with('0') && !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(number) = mode.parse::<u32>().ok().filter(|_| is_decimal) {
        ui::warning(&format!(
            "--chmod {mode} is octal here, 0{mode}; virt-customize takes it for decimal, which is 0{number:o}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(line: &str) -> (String, String) {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let (own, operations) = divide(&arguments);
        let joined = |part: Vec<OsString>| part.join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        (joined(own), joined(operations))
    }

    #[test]
    fn operations_keep_their_values_whatever_they_look_like() {
        let (own, operations) = divided(
            "virt-customize --format=raw -a x.img --write -a --delete=/x -q --update -n --hostname --format -m 512 --smp 2",
        );
        assert_eq!(own, "virt-customize --format=raw -a x.img -q -n -m 512 --smp 2");
        assert_eq!(operations, "--write -a --delete=/x --update --hostname --format");
        let (own, operations) = divided("virt-customize --add=x --run");
        assert_eq!((own.as_str(), operations.as_str()), ("virt-customize --add=x", "--run"));
    }
}
