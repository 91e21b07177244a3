//! `nomount relabel`.

use super::edit::{self, EditArgs, More};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::selinux::{Relabel, RelabelOptions, relabel};
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Give the files of a guest the SELinux contexts of its own policy
///
/// What restorecon -R does in the guest, without starting it: contexts come from the file_contexts of the policy that
/// /etc/selinux/config names. A file without a context gets the whole of it; one that has a context gets another type
/// only, and keeps one of the policy's customizable types. -F sets whole contexts. Without a path it is the whole tree.
/// Symbolic links are labelled, not followed, but for a path that is given.
///
/// Example: nomount relabel disk.qcow2 --exclude /var/lib/containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Leave this out, and all that is below. Repeatable
    #[arg(long, value_name = "PATH")]
    exclude: Vec<OsString>,
    /// Set whole contexts, and customizable types as well
    #[arg(long, short = 'F')]
    force: bool,
    /// List all files that get another context, however many
    #[arg(long, short = 'v')]
    verbose: bool,
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
    let has_path = target.path.is_some() || !args.paths.is_empty();
    let paths = if has_path { target.guest_paths(&args.paths)? } else { vec![GuestPath::root()] };
    let exclude: Result<Vec<GuestPath>> = args.exclude.iter().map(|path| GuestPath::parse(path.as_bytes())).collect();
    let request = Relabel { paths, exclude: exclude?, options: RelabelOptions { force: args.force } };
    edit::run_telling(&args.edit, &target, |editor| {
        let (done, notes) = relabel(editor, &request)?;
        let bare = if done.bare > 0 { format!(", {} without one", done.bare) } else { String::new() };
        let line = format!("  {} files looked at, {} with another context now{bare}", done.files, done.changed);
        Ok(More {
            notes,
            line: Some(line),
            list_all: args.verbose,
            members: vec![("files", json!(done.files)), ("changed", json!(done.changed)), ("bare", json!(done.bare))],
            ..More::default()
        })
    })
}
