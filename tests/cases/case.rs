//! One session: its file, and what running it prints, in the form of the file.

use nomount_kit::fixture;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-01-02 00:00:00 UTC: later than everything in the fixtures, and not in the future of the judges.
const NOW: &str = "1767312000";
/// How many seconds one command may take.
const PATIENCE: &str = "120";

/// A file of `testdata/cases`.
pub struct Case {
    pub name: String,
    pub path: PathBuf,
    pub text: String,
}

impl Case {
    pub fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().expect("names of cases are UTF-8").to_owned();
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(text.starts_with("# "), "{name}: the first line says what the case shows: # ...");
        assert!(text.contains("\n$ "), "{name}: there is no command");
        Self { name, path: path.to_owned(), text }
    }

    /// Runs every command in `folder`, one after the other. Gives the file as it is if nothing differs.
    pub fn run(&self, folder: &Path) -> String {
        let mut is = String::new();
        let mut lines = self.text.lines().peekable();
        let mut in_output = false;
        while let Some(line) = lines.next() {
            let Some(first) = line.strip_prefix("$ ") else {
                // What stands here was printed the last time, unless it belongs to the next command.
                if !in_output || line.starts_with("# ") {
                    in_output = false;
                    writeln!(is, "{line}").unwrap();
                } else if line.is_empty() && lines.clone().find(|line| !line.is_empty()).is_some_and(starts_a_part) {
                    writeln!(is).unwrap();
                }
                continue;
            };
            let mut command = first.to_owned();
            writeln!(is, "{line}").unwrap();
            while let Some(more) = lines.next_if(|line| line.starts_with("> ") || *line == ">") {
                writeln!(is, "{more}").unwrap();
                command.push('\n');
                command.push_str(more.strip_prefix("> ").unwrap_or_default());
            }
            is.push_str(&run(&command, folder));
            in_output = true;
        }
        is
    }
}

fn starts_a_part(line: &str) -> bool {
    line.starts_with("$ ") || line.starts_with("# ")
}

/// Runs a command by the shell, and writes down what it printed.
fn run(command: &str, folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_nomount")).parent().unwrap();
    let path = std::env::var("PATH").expect("there is a PATH");
    let images = fixture::folder().canonicalize().unwrap();
    let mut shell = Command::new("timeout");
    shell.args([PATIENCE, "sh", "-c", &format!("umask 022\n{command}")]).current_dir(folder);
    shell.env_clear().env("PATH", format!("{}:{path}:/usr/sbin:/sbin", program.display()));
    shell.envs([("SOURCE_DATE_EPOCH", NOW), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8")]);
    shell.env("IMAGES", &images).env("HOME", folder).stdin(std::process::Stdio::null());
    let done = shell.output().expect("timeout, of coreutils, is there");
    let plain = |bytes: &[u8]| -> String {
        let text = printable(bytes);
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        text.replace(folder.to_str().unwrap(), "$PWD").replace(images.to_str().unwrap(), "$IMAGES")
    };
    let mut text = String::new();
    let out = plain(&done.stdout);
    for line in out.split_inclusive('\n') {
        let special = ["$ ", "# ", "2> ", "=> ", "> ", "\\"].iter().any(|start| line.starts_with(start));
        write!(text, "{}{line}", if special { "\\" } else { "" }).unwrap();
    }
    match out.rsplit_once('\n') {
        _ if out.is_empty() => (),
        // An empty line at the end would be taken for one between commands.
        Some((before, "")) if before.is_empty() || before.ends_with('\n') => text.insert(text.len() - 1, '\\'),
        Some((_, "")) => (),
        _ => text.push_str("\\ no line break\n"),
    }
    plain(&done.stderr).lines().for_each(|line| writeln!(text, "2> {line}").unwrap());
    match done.status.code() {
        Some(0) => (),
        Some(code) => writeln!(text, "=> {code}").unwrap(),
        None => writeln!(text, "=> {}", done.status).unwrap(),
    }
    text
}

/// Text as it is, but without what would spoil a file that people read.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => text.push(character),
                _ if character.is_control() => text.extend(character.escape_default()),
                _ => text.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| write!(text, "\\x{byte:02x}").unwrap());
    }
    text
}

/// Where two texts differ, with two lines around it.
pub fn difference(wanted: &str, is: &str) -> String {
    const AROUND: usize = 2;
    let (wanted, is): (Vec<_>, Vec<_>) = (wanted.lines().collect(), is.lines().collect());
    let same = wanted.iter().zip(&is).take_while(|(a, b)| a == b).count();
    let rest = wanted.len().min(is.len()) - same;
    let tail = wanted.iter().rev().zip(is.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut text = format!("from line {}\n", same + 1);
    let mut put = |sign: &str, lines: &[&str]| lines.iter().for_each(|line| writeln!(text, "{sign}{line}").unwrap());
    put("  ", &wanted[same.saturating_sub(AROUND)..same]);
    put("- ", &wanted[same..wanted.len() - tail]);
    put("+ ", &is[same..is.len() - tail]);
    put("  ", &is[is.len() - tail..is.len() - tail.saturating_sub(AROUND).min(tail)]);
    text
}
