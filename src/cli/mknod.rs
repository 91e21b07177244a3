//! `nomount mknod`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::ops::edit::{ModeChange, make_node};
use nomount::sandbox::Access;
use nomount::tree::{GuestPath, NewNode};
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;

/// Make a device or a named pipe in a guest
///
/// TYPE is b for a block device, c or u for a character device, each with its MAJOR and MINOR number, or p for a named
/// pipe. Numbers may begin with 0x or, octal, with 0.
///
/// Example: nomount mknod -m 666 disk.qcow2:/srv/null c 1 3
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// The path in the guest, where the image has none, then the type and the numbers
    #[arg(value_name = "[PATH] TYPE [MAJOR MINOR]", required = true, num_args = 1..=4)]
    rest: Vec<OsString>,
    /// Mode, octal or symbolic
    #[arg(long, short, value_name = "MODE", allow_hyphen_values = true, value_parser = ModeChange::parse)]
    mode: Option<ModeChange>,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let (path, what) = args.rest.split_at(usize::from(target.path.is_none()));
    let path = GuestPath::parse(&target.path_texts(path)?[0])?;
    let node = node(what)?;
    edit::run(&args.edit, &target, |editor| make_node(editor, &path, node, args.mode.as_ref()))
}

fn node(what: &[OsString]) -> Result<NewNode> {
    let usage = |message: String| Error::new(ErrorKind::Usage, message);
    let words: Vec<&str> = what.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match words[..] {
        ["p"] => Ok(NewNode::Fifo),
        ["p", ..] => Err(usage("a named pipe has no numbers".to_owned())),
        ["b", major, minor] => Ok(NewNode::BlockDevice(number(major)?, number(minor)?)),
        ["c" | "u", major, minor] => Ok(NewNode::CharDevice(number(major)?, number(minor)?)),
        ["b" | "c" | "u", ..] => Err(usage("a device needs its major and minor number".to_owned())),
        _ => Err(usage(format!("type {:?}: b, c, u or p is needed", words.first().unwrap_or(&"")))),
    }
}

fn number(text: &str) -> Result<u32> {
    let parsed = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
        _ => text.parse(),
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    parsed
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("device number {text:?}: a number is needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_numbers() {
        let node = |words: &[&str]| node(&words.iter().map(OsString::from).collect::<Vec<_>>()).ok();
        assert_eq!(node(&["c", "0x10", "010"]), Some(NewNode::CharDevice(16, 8)));
        assert_eq!(node(&["u", "0", "5"]), Some(NewNode::CharDevice(0, 5)));
        assert_eq!(node(&["b", "8", "1"]), Some(NewNode::BlockDevice(8, 1)));
        assert_eq!(node(&["p"]), Some(NewNode::Fifo));
        for bad in [
            &[][..],
            &["p", "1", "2"],
            &["c"],
            &["c", "1"],
            &["b", "-1", "0"],
            &["b", "08", "0"],
            &["b", "+1", "0"],
            &["x"],
        ] {
            assert_eq!(node(bad), None, "{bad:?}");
        }
    }
}
