//! Scripts of guestfish(1): a command a line, of which those that are about files are done here.

mod command;
mod copy;
mod words;

use super::Silent;
use super::edit::{self, LinkOptions, NewSize, RemoveOptions, RenameOptions, TouchOptions};
use super::editor::Editor;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, Time, existing, find, read_all, resolve};
use command::{Command, Question, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a script may print and download: they are held until all of it is committed.
const MAX_OUTPUT: u64 = 256 << 20;
/// The longest file that is copied inside the guest.
const MAX_COPY: u64 = 1 << 30;

/// A script, all of whose lines are known and make sense.
#[derive(Debug)]
pub struct Script {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    line: usize,
    /// Whether its failure does not matter.
    optional: bool,
    command: Command,
}

/// What a script gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes to be printed as they are.
    Bytes(Vec<u8>),
    /// Lines to be printed: names from the guest, without breaks.
    Lines(Vec<Vec<u8>>),
    /// A file of the host to be written.
    Save {
        /// Its name, as the script has it.
        name: String,
        /// All of it.
        contents: Vec<u8>,
    },
    /// What went wrong in a line that may fail.
    Failed(String),
}

impl Script {
    /// Reads a script. An error names the line: commands that are not known, or not supported, are refused before
    /// anything is done.
    pub fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > words::MAX_SCRIPT {
            return Err(Error::new(ErrorKind::Limit, "the script is longer than 16 MiB"));
        }
        let mut steps = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let (optional, line) = match line.strip_prefix(b"-") {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let words = words::split(line).map_err(|why| at_line(number, ErrorKind::Usage, &why))?;
            if words.is_empty() {
                continue;
            }
            let command = command::parse(&words).map_err(|refusal| match refusal {
                Refusal::Usage(why) => at_line(number, ErrorKind::Usage, &why),
                Refusal::Unsupported(why) => {
                    let name = String::from_utf8_lossy(&words[0]).into_owned();
                    at_line(number, ErrorKind::Unsupported, &format!("{name} is not supported: {why}"))
                }
            })?;
            steps.push(Step { line: number + 1, optional, command });
        }
        let script = Self { steps };
        let mounts = script.mounts().collect::<BTreeSet<_>>();
        if mounts.len() > 1 {
            return Err(Error::new(ErrorKind::Unsupported, "the script mounts more than one filesystem at /"));
        }
        Ok(script)
    }

    fn mounts(&self) -> impl Iterator<Item = Option<u32>> {
        self.steps.iter().filter_map(|step| match step.command {
            Command::Mount(partition) => Some(partition),
            _ => None,
        })
    }

    /// The filesystem that it mounts at /, if it says so: a partition, or none for the whole disk.
    pub fn mount(&self) -> Option<Option<u32>> {
        self.mounts().next()
    }

    /// The files of the host that it uploads.
    pub fn sources(&self) -> BTreeSet<&str> {
        let local = self.steps.iter().filter_map(|step| match &step.command {
            Command::Upload { local, .. } => Some(local.as_str()),
            _ => None,
        });
        local.collect()
    }

    /// The files of the host that it downloads to.
    pub fn destinations(&self) -> BTreeSet<&str> {
        let local = self.steps.iter().filter_map(|step| match &step.command {
            Command::Download { local, .. } => Some(local.as_str()),
            _ => None,
        });
        local.collect()
    }

    /// Does all of it, up to `quit`. `files` are its [sources](Self::sources). Work in [`edit`](super::edit::edit) to
    /// have all of it or nothing.
    pub fn run(&self, editor: &mut Editor<'_>, files: &BTreeMap<String, Vec<u8>>, now: Time) -> Result<Vec<Output>> {
        let mut context = Context { files, now, output: Vec::new(), room: MAX_OUTPUT };
        for step in &self.steps {
            if step.command == Command::Quit {
                break;
            }
            let start = editor.mark();
            match context.run(editor, &step.command) {
                Ok(()) => {}
                Err(error) if step.optional => {
                    editor.rollback(start);
                    context.output.push(Output::Failed(format!("line {}: {error}", step.line)));
                }
                Err(error) => return Err(error.during(&format!("line {}", step.line))),
            }
        }
        Ok(context.output)
    }
}

fn at_line(index: usize, kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, format!("line {}: {why}", index + 1))
}

struct Context<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    now: Time,
    output: Vec<Output>,
    /// Bytes of output that may still come.
    room: u64,
}

impl Context<'_> {
    fn run(&mut self, editor: &mut Editor<'_>, command: &Command) -> Result<()> {
        match command {
            Command::Write { path, contents, append: false } => edit::write(editor, path, contents),
            Command::Write { path, contents, append: true } => edit::append(editor, path, contents),
            Command::Upload { local, path } => {
                let missing = || Error::new(ErrorKind::NotFound, format!("{local} was not given with the script"));
                edit::write(editor, path, self.files.get(local).ok_or_else(missing)?)
            }
            Command::Download { path, local } => {
                let contents = self.read(editor.tree(), path)?;
                self.output.push(Output::Save { name: local.clone(), contents });
                Ok(())
            }
            Command::Mkdir { path, mode, parents } => edit::make_dir(editor, path, mode.as_ref(), *parents),
            Command::Touch(path) => {
                let (atime, mtime) = (Some(self.now), Some(self.now));
                edit::touch(editor, path, TouchOptions { atime, mtime, no_create: false, follow: Follow::Last })
            }
            Command::Truncate { path, size } => {
                existing(editor.tree(), path, Follow::Last)?;
                edit::truncate(editor, path, NewSize::To(*size), true)
            }
            Command::Remove { path, recursive, force } => {
                edit::remove(editor, path, RemoveOptions { recursive: *recursive, empty_dirs: false, force: *force })
            }
            Command::RemoveDir(path) => edit::remove_dir(editor, path, false),
            Command::Rename { from, to, exactly } => {
                let options = RenameOptions { no_target_dir: *exactly, ..RenameOptions::default() };
                edit::rename(editor, std::slice::from_ref(from), to, options, &mut Silent).map(drop)
            }
            Command::Copy { from, to, archive } => copy::copy(editor, from, to, *archive),
            Command::Link { target, path, force } => edit::hard_link(editor, target, path, exact(*force)),
            Command::Symlink { target, path, force } => edit::symlink(editor, target, path, exact(*force)),
            Command::Chmod { mode, path } => edit::chmod(editor, path, mode, false),
            Command::Chown { owner, path, follow } => edit::chown(editor, path, owner, last(*follow), false),
            Command::MakeNode { path, node, mode } => edit::make_node(editor, path, node.clone(), Some(mode)),
            Command::SetXattr { path, name, value, follow } => {
                edit::set_xattr(editor, path, name, value.as_deref(), last(*follow))
            }
            Command::Print(question, path) => self.answer(editor.tree(), *question, path),
            Command::Echo(text) => self.print(vec![text.clone()]),
            Command::Mount(_) | Command::Nothing | Command::Quit => Ok(()),
        }
    }

    fn answer(&mut self, tree: &dyn FileTree, question: Question, path: &GuestPath) -> Result<()> {
        let kind = |follow| match resolve(tree, path, follow) {
            Ok(found) => Ok(found.stat.map(|stat| stat.kind)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        };
        let text = match question {
            Question::Contents => {
                let contents = self.read(tree, path)?;
                self.output.push(Output::Bytes(contents));
                return Ok(());
            }
            Question::Names => {
                let (dir, _) = existing(tree, path, Follow::Last)?;
                let mut names: Vec<Vec<u8>> = tree.entries(&dir)?.into_iter().map(|entry| entry.name).collect();
                names.sort();
                return self.print(names);
            }
            Question::Target => {
                let (place, stat) = existing(tree, path, Follow::NotLast)?;
                if stat.kind != FileKind::Symlink {
                    return Err(Error::new(ErrorKind::Invalid, "not a symbolic link").at_path(path.to_bytes()));
                }
                return self.print(vec![tree.read_link(&place)?]);
            }
            Question::Size => existing(tree, path, Follow::Last)?.1.size.to_string(),
            Question::Exists => kind(Follow::Last)?.is_some().to_string(),
            // As guestfish: what a link leads to is not asked.
            Question::IsFile => (kind(Follow::NotLast)? == Some(FileKind::File)).to_string(),
            Question::IsDir => (kind(Follow::NotLast)? == Some(FileKind::Dir)).to_string(),
            Question::IsSymlink => (kind(Follow::NotLast)? == Some(FileKind::Symlink)).to_string(),
        };
        self.print(vec![text.into_bytes()])
    }

    fn read(&mut self, tree: &dyn FileTree, path: &GuestPath) -> Result<Vec<u8>> {
        if find(tree, path)?.and_then(|found| found.stat).is_some_and(|stat| stat.size > self.room) {
            return Err(self.too_much().at_path(path.to_bytes()));
        }
        let contents = read_all(tree, path, self.room)?;
        self.room -= contents.len() as u64;
        Ok(contents)
    }

    fn print(&mut self, lines: Vec<Vec<u8>>) -> Result<()> {
        let len: u64 = lines.iter().map(|line| line.len() as u64 + 1).sum();
        self.room = self.room.checked_sub(len).ok_or_else(|| self.too_much())?;
        self.output.push(Output::Lines(lines));
        Ok(())
    }

    fn too_much(&self) -> Error {
        Error::new(ErrorKind::Limit, "the script prints and downloads more than 256 MiB")
            .hint("`nomount cat` and `nomount download` have no such limit")
    }
}

/// A link of exactly that name.
fn exact(force: bool) -> LinkOptions {
    LinkOptions { force, no_target_dir: true, no_dereference: true }
}

fn last(follow: bool) -> Follow {
    if follow { Follow::Last } else { Follow::NotLast }
}

#[cfg(test)]
mod tests;
