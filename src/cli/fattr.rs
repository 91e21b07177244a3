//! `nomount getfattr` and `nomount setfattr`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::edit::set_xattr;
use nomount::sandbox::Access;
use nomount::tree::{FileTree, Follow, existing};
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Print extended attributes of files of a guest, of all name spaces
///
/// Example: nomount getfattr -d disk.qcow2:/etc/hosts
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct GetArgs {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Only this attribute, with its value
    #[arg(long, short, value_name = "NAME")]
    name: Option<OsString>,
    /// Values, too
    #[arg(long, short)]
    dump: bool,
    /// How values are printed: text in quotes with octal escapes, or hexadecimal; by default text where it is UTF-8
    #[arg(long, short, value_name = "text|hex", value_parser = ["text", "hex"])]
    encoding: Option<String>,
    /// The bytes of the values and nothing else
    #[arg(long, conflicts_with_all = ["encoding", "json"])]
    only_values: bool,
    /// Look at symbolic links themselves instead of following them inside the guest
    #[arg(long, short = 'h')]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for GetArgs {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs `getfattr`.
pub fn run_get(args: &GetArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    let follow = if args.no_dereference { Follow::NotLast } else { Follow::Last };
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let mut files = Vec::new();
    for path in &paths {
        let (place, _) = existing(tree, path, follow).map_err(named)?;
        let mut xattrs = tree.xattrs(&place).map_err(named)?;
        if let Some(name) = &args.name {
            xattrs.retain(|(present, _)| present == name.as_bytes());
            if xattrs.is_empty() {
                let message = format!("no attribute {}", name.as_bytes().escape_ascii());
                return Err(named(Error::new(ErrorKind::NotFound, message).at_path(path.to_bytes())));
            }
        }
        files.push((place, xattrs));
    }
    let printed = if args.json {
        let files: Vec<Value> = files
            .iter()
            .map(|(path, xattrs)| {
                let list: Vec<Value> = xattrs
                    .iter()
                    .map(|(name, value)| json!({ "name": ui::bytes_json(name), "value_hex": ui::hex(value) }))
                    .collect();
                json!({ "path": ui::bytes_json(&path.to_bytes()), "xattrs": list })
            })
            .collect();
        ui::json(json!({ "volume": volume, "files": files }))
    } else if args.only_values {
        let mut out = std::io::stdout().lock();
        let mut values = files.iter().flat_map(|(_, xattrs)| xattrs).map(|(_, value)| value);
        values.try_for_each(|value| out.write_all(value)).and_then(|()| out.flush())
    } else {
        let values = args.dump || args.name.is_some();
        ui::lines(files.iter().filter(|(_, xattrs)| !xattrs.is_empty()).flat_map(|(path, xattrs)| {
            let first = format!("# file: {}", ui::safe(&path.to_bytes()));
            let line = |(name, value): &(Vec<u8>, Vec<u8>)| match values {
                true => format!("{}={}", ui::safe(name), shown(value, args.encoding.as_deref())),
                false => ui::safe(name),
            };
            std::iter::once(first).chain(xattrs.iter().map(line)).chain([String::new()]).collect::<Vec<_>>()
        }))
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

/// A value as setfattr reads it.
fn shown(value: &[u8], encoding: Option<&str>) -> String {
    let as_text = match encoding {
        Some(encoding) => encoding == "text",
        None => std::str::from_utf8(value).is_ok(),
    };
    if !as_text {
        return format!("0x{}", ui::hex(value));
    }
    let mut text = String::from("\"");
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                other if other.is_control() => {
                    other.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push_str(&format!("\\{byte:03o}")));
                }
                other => text.push(other),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\{byte:03o}")));
    }
    text.push('"');
    text
}

/// Set or remove extended attributes of files of a guest
///
/// NAME begins with its name space: user., trusted., security. or system. VALUE is text, in which \" and \\ and octal
/// \NNN are escapes and quotes around it are left out, or hexadecimal after 0x.
///
/// Example: nomount setfattr -n user.origin -v build-7 disk.qcow2:/etc/hosts
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[group(id = "what", args = ["name", "remove"], required = true)]
pub struct SetArgs {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// The attribute to set
    #[arg(long, short, value_name = "NAME")]
    name: Option<OsString>,
    /// Its value; without, it is empty
    #[arg(long, short, value_name = "VALUE", value_parser = parse_value, allow_hyphen_values = true, requires = "name")]
    value: Option<Bytes>,
    /// The attribute to remove
    #[arg(long, short = 'x', value_name = "NAME")]
    remove: Option<OsString>,
    /// Change symbolic links themselves instead of following them inside the guest
    #[arg(long, short = 'h')]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// A value: a list of bytes would be a list of values.
type Bytes = std::sync::Arc<[u8]>;

impl HostAccess for SetArgs {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs `setfattr`.
pub fn run_set(args: &SetArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    let follow = if args.no_dereference { Follow::NotLast } else { Follow::Last };
    let (name, value) = match (&args.name, &args.remove) {
        (Some(name), _) => (name, Some(args.value.as_deref().unwrap_or_default())),
        (None, Some(name)) => (name, None),
        (None, None) => return Err(Error::new(ErrorKind::Usage, "no attribute is named")),
    };
    edit::run(&args.edit, &target, |editor| {
        paths.iter().try_for_each(|path| set_xattr(editor, path, name.as_bytes(), value, follow))
    })
}

fn parse_value(text: &str) -> Result<Bytes, String> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return hexadecimal(digits)
            .map(Bytes::from)
            .ok_or_else(|| format!("{text:?}: pairs of hexadecimal digits are needed"));
    }
    if text.starts_with("0s") || text.starts_with("0S") {
        return Err("base64 is not read: give the bytes in hexadecimal after 0x".to_owned());
    }
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let mut bytes = Vec::new();
    let mut rest = inner.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = |digits: &[u8]| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) && digits[0] <= b'3';
        rest = match (first, after) {
            (b'\\', digits) if digits.len() >= 3 && octal(&digits[..3]) => {
                bytes.push(digits[..3].iter().fold(0, |value, digit| value << 3 | (digit - b'0')));
                &digits[3..]
            }
            (b'\\', [escaped @ (b'\\' | b'"'), tail @ ..]) => {
                bytes.push(*escaped);
                tail
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    Ok(bytes.into())
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.as_bytes().chunks(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_text_or_hexadecimal() {
        for (text, bytes) in [
            ("plain", &b"plain"[..]),
            ("\"quoted\"", b"quoted"),
            ("0x00fF", b"\x00\xff"),
            (r#"a\"b\\c\000\377"#, b"a\"b\\c\x00\xff"),
            (r"\9 \400 \1", br"\9 \400 \1"),
            ("", b""),
        ] {
            assert_eq!(&*parse_value(text).unwrap(), bytes, "{text}");
        }
        for bad in ["0x0", "0xgg", "0xé", "0sAAA="] {
            assert!(parse_value(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value: Vec<u8>) {
            for encoding in [None, Some("text"), Some("hex")] {
                let text = shown(&value, encoding);
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert_eq!(&*parse_value(&text).unwrap(), &value[..]);
            }
        }
    }
}
