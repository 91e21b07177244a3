//! `nomount man`.

use super::sandbox::HostAccess;
use super::{exit, help, ui};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Print a manual page, or write all of them into a directory
///
/// Pages are in the form that man, groff and mandoc read. Without a verb it is the page of nomount itself; `part add`
/// has a page, too.
///
/// Example: nomount man ls | man -l -
///
/// Example: nomount man --dir /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb, and the verb below it if it has some
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Write the page of nomount and of every verb into this directory, as nomount.1, nomount-ls.1, ...
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.dir.as_ref().map_or(Access::none(), |dir| Access::none().folder(dir))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let program = help::definition();
    match &args.dir {
        Some(dir) => write_all(&program, "nomount", dir)?,
        None => {
            let (command, name) = find(&program, &args.verb)?;
            ui::bytes(&page(command, &name)).map_err(ui::output_failed)?;
        }
    }
    Ok(exit::DONE)
}

/// The command of a verb, and the name of its page.
fn find<'a>(program: &'a Command, verb: &[String]) -> Result<(&'a Command, String)> {
    let mut found = (program, "nomount".to_owned());
    for word in verb {
        let below = found.0.find_subcommand(word);
        let below = below.ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("there is no verb {}", verb.join(" ")))
                .hint("`nomount help` lists the verbs")
        })?;
        found = (below, format!("{}-{}", found.1, below.get_name()));
    }
    Ok(found)
}

fn write_all(command: &Command, name: &str, dir: &Path) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot write {}", path.display()))
            .caused_by(error)
            .hint("the directory has to be there")
    })?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.into_iter().try_for_each(|below| write_all(below, &format!("{name}-{}", below.get_name()), dir))
}

fn page(command: &Command, name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    render(command, name, &mut text).expect("memory can be written");
    text
}

fn render(command: &Command, name: &str, text: &mut Vec<u8>) -> std::io::Result<()> {
    let title = name.to_ascii_uppercase();
    let man = Man::new(command.clone()).title(title).section("1").manual("User Commands");
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(text)?;
    }
    let mut last = Roff::new();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = help::split_examples(&after);
    for (heading, lines) in [("NOTES", notes.lines().collect()), ("EXAMPLES", examples)] {
        if !lines.is_empty() && notes != exit::HELP {
            last.control("SH", [heading]).control("nf", []);
            lines.into_iter().for_each(|line: &str| {
                last.text([roman(line)]);
            });
            last.control("fi", []);
        }
    }
    last.control("SH", ["EXIT STATUS"]).text([roman(exit::HELP)]);
    last.to_writer(text)
}
