//! `nomount edit`.

use super::edit::{self, EditArgs};
use super::target::Target;
use super::{host_file, signal, ui};
use nomount::interrupt::Pending;
use nomount::ops::edit::{edit_text, file_path, sed};
use nomount::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Edit a file of a guest, in your editor or with expressions of sed
///
/// Without -e the file is opened in $VISUAL, $EDITOR or vi, as a private copy on the host; the image is written when
/// the editor ends well and the text has changed. The file keeps owner, mode, extended attributes and SELinux context,
/// and a file that is not changed is not written.
///
/// Expressions: s/PATTERN/REPLACEMENT/ with the flags g, i, I and a number, d, a TEXT, i TEXT, c TEXT, after line
/// numbers, $, /PATTERN/, ranges of them, and !. Patterns are extended regular expressions as of sed -E, without
/// back-references; & and \1 to \9 stand in the replacement for what was matched. Line breaks stay LF or CR LF as they
/// are.
///
/// Example: nomount edit disk.qcow2:/etc/ssh/sshd_config -e 's/^#?(PermitRootLogin) .*/\1 no/'
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without the path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// The path in the guest, where the image has none
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    /// What to do to the text, in place of an editor. Repeatable
    #[arg(long = "expression", visible_alias = "expr", short = 'e', value_name = "EXPR", allow_hyphen_values = true)]
    expressions: Vec<String>,
    /// Keep the old text beside the file, under its name and this suffix
    #[arg(long, short = 'b', value_name = "SUFFIX", allow_hyphen_values = true)]
    backup: Option<OsString>,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let path = file_path(&target.path_texts(args.path.as_slice())?[0])?;
    if target.path.is_some() && args.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "the path is given twice"));
    }
    let backup = args.backup.as_ref().map(|suffix| suffix.as_bytes());
    let script = (!args.expressions.is_empty()).then(|| sed::parse(&args.expressions.join("\n"))).transpose()?;
    edit::run(&args.edit, &target, |editor| {
        edit_text(editor, &path, backup, |text| match &script {
            Some(script) => script.apply(text),
            None => in_editor(text, path.name().unwrap_or_default()),
        })
        .map(|_| ())
    })
}

/// The text as the user leaves it in the editor.
fn in_editor(text: &[u8], name: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: &str, error: std::io::Error| Error::new(ErrorKind::Io, what.to_owned()).caused_by(error);
    // A folder that only the user can enter; gone in the end, whatever happens.
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("nomount-edit-").permissions(private).tempdir();
    let folder = folder.map_err(|error| failed("cannot make a folder for the text", error))?;
    let path = folder.path().to_owned();
    let _pending = Pending::new(move || {
        // Nobody is left to hear of a text that stays.
        let _ = std::fs::remove_dir_all(path);
    });
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let name: Vec<u8> = name.iter().map(|byte| if is_plain(byte) { *byte } else { b'_' }).collect();
    let file = folder.path().join(OsStr::from_bytes(&name));
    std::fs::write(&file, text).map_err(|error| failed("cannot write the text to be edited", error))?;
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| OsString::from("vi"));
    // The variable may hold options, so that a shell must read it; the file is an argument of its own.
    let mut line = editor.clone();
    line.push(" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg(&editor).arg(&file);
    let status = signal::lend_terminal(|| command.status());
    let status = status.map_err(|error| failed("cannot run sh for the editor", error))?;
    if !status.success() {
        let message = format!("the editor {editor:?} failed ({status}): the text is taken as unchanged");
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let text = host_file::read(&file);
    let left = folder.path().to_owned();
    if let Err(error) = folder.close() {
        ui::warning(&format!("a copy of the text must be removed by hand, {}: {error}", left.display()));
    }
    text
}
