//! `nomount run`.

use super::edit::{self, EditArgs, More};
use super::groupadd::image_only;
use super::host_output::HostOutput;
use super::sandbox::{HostAccess, new_file};
use super::target::{Target, now};
use super::{host_file, ui};
use nomount::disk::Choice;
use nomount::ops::script::{Output, Script};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Run a script of guestfish commands that are about files
///
/// A command a line, quoted as for guestfish: '...', "..." with escapes, # for comments, - before a command whose
/// failure does not matter. All of it is one commit; what is not known or not supported is refused before anything is
/// done. Modes are octal, owners may be names of the guest. What the script prints and downloads comes after the commit,
/// on standard output; what changed is told on standard error.
///
/// Commands: cat chmod chown cp cp-a download echo exists filesize is-dir is-file is-symlink lchown ln ln-f ln-s ln-sf
/// lremovexattr ls lsetxattr mkdir mkdir-mode mkdir-p mkfifo mknod-b mknod-c mv read-file readlink removexattr rename rm
/// rm-f rm-rf rmdir setxattr touch truncate truncate-size upload write write-append, exit and quit. `mount DEVICE /`
/// chooses the partition; run, launch, sync, umount-all and shutdown do nothing.
///
/// Example: printf 'mkdir-p /srv/www\nwrite /srv/www/index.html hello\n' | nomount run disk.qcow2 -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// The script; `-` is standard input
    #[arg(value_name = "SCRIPT|-")]
    script: PathBuf,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// A script that was read, with what it uploads.
pub struct Loaded<'a> {
    args: &'a Args,
    target: Target,
    script: Script,
    files: BTreeMap<String, Vec<u8>>,
}

impl HostAccess for Loaded<'_> {
    fn access(&self) -> Access {
        let downloads = self.script.destinations().into_iter().map(|name| new_file(Some(name)));
        downloads.fold(self.args.edit.access_to(&self.target), Access::and)
    }
}

/// Reads the script and what it names.
pub fn load(args: &Args) -> Result<Loaded<'_>> {
    let mut target = image_only(&args.image)?;
    let is_stdin = args.script == Path::new("-");
    let text = if is_stdin { host_file::standard_input("the script")? } else { host_file::read(&args.script)? };
    let named = |error: Error| if is_stdin { error } else { error.at_path(args.script.display().to_string()) };
    let script = Script::parse(&text).map_err(named)?;
    if let Some(partition) = script.mount() {
        // Refused when the command line names one, too: either could be meant.
        if target.partition.is_some() {
            return Err(Error::new(ErrorKind::Usage, "the partition is given twice, with @ and by the script's mount"));
        }
        target.partition = Some(partition.map_or(Choice::Whole, Choice::Number));
    }
    let mut files = BTreeMap::new();
    for source in script.sources() {
        files.insert(source.to_owned(), host_file::read(Path::new(source))?);
    }
    Ok(Loaded { args, target, script, files })
}

/// Runs the command.
pub fn run(loaded: Loaded<'_>) -> Result<u8> {
    let Loaded { args, target, script, files } = loaded;
    let time = now()?;
    let mut output = Vec::new();
    let code = edit::run_telling(&args.edit, &target, |editor| {
        output = script.run(editor, &files, time)?;
        let printed = output.iter().flat_map(printed).collect::<Vec<_>>();
        Ok(More { members: vec![("output", json!(printed))], on_stderr: true, ..More::default() })
    })?;
    output.into_iter().try_for_each(|output| give(output, &args.edit))?;
    Ok(code)
}

/// What was printed, for JSON.
fn printed(output: &Output) -> Vec<Value> {
    match output {
        Output::Bytes(bytes) => vec![ui::bytes_json(bytes)],
        Output::Lines(lines) => lines.iter().map(|line| ui::bytes_json(line)).collect(),
        Output::Save { .. } | Output::Failed(_) => Vec::new(),
    }
}

fn give(output: Output, args: &EditArgs) -> Result<()> {
    match output {
        Output::Bytes(_) | Output::Lines(_) if args.json => Ok(()),
        Output::Bytes(bytes) => ui::bytes(&bytes).map_err(ui::output_failed),
        Output::Lines(lines) => ui::raw_lines(lines.iter().map(Vec::as_slice)).map_err(ui::output_failed),
        Output::Failed(why) => {
            ui::note(&why);
            Ok(())
        }
        Output::Save { name, .. } if args.dry_run => {
            ui::note(&format!("would write {name}"));
            Ok(())
        }
        Output::Save { name, contents } => {
            let mut output = HostOutput::open(Some(OsStr::new(&name)), "a file")?;
            let written = output.write_all(&contents);
            written.map_err(|error| Error::of_host(format!("cannot write {name}"), error))?;
            output.keep()
        }
    }
}
