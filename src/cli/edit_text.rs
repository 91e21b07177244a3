//! `nomount edit`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use super::waiting_editor::Waiting;
use nomount::ops::edit::{edit_text, file_path, sed};
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

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

/// What is done to the text.
enum How {
    Script(sed::Script),
    Editor(Waiting),
}

/// A file to edit, with the editor that waits for it.
pub struct Loaded<'a> {
    args: &'a Args,
    target: Target,
    path: GuestPath,
    how: How,
}

impl HostAccess for Loaded<'_> {
    fn access(&self) -> Access {
        let image = self.args.edit.access_to(&self.target);
        match &self.how {
            How::Script(_) => image,
            How::Editor(editor) => image.and(editor.access()),
        }
    }
}

/// Reads the expressions, or starts what waits for the text.
pub fn load(args: &Args) -> Result<Loaded<'_>> {
    let target = Target::parse(args.image.clone());
    let path = file_path(&target.path_texts(args.path.as_slice())?[0])?;
    if target.path.is_some() && args.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "the path is given twice"));
    }
    let how = match &args.expressions[..] {
        [] => How::Editor(Waiting::start(path.name().unwrap_or_default())?),
        expressions => How::Script(sed::parse(&expressions.join("\n"))?),
    };
    Ok(Loaded { args, target, path, how })
}

/// Runs the command.
pub fn run(loaded: Loaded<'_>) -> Result<u8> {
    let Loaded { args, target, path, how } = loaded;
    let backup = args.backup.as_ref().map(|suffix| suffix.as_bytes());
    edit::run(&args.edit, &target, |editor| {
        edit_text(editor, &path, backup, |text| match how {
            How::Script(script) => script.apply(text),
            How::Editor(editor) => editor.edit(text),
        })
        .map(|_| ())
    })
}
