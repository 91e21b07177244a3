//! What `--help` shows: verbs in groups, everything on one page, an example at its end.

use super::Cli;
use clap::builder::Resettable;
use clap::{Command, CommandFactory};

/// How wide help is at most. A narrower terminal gets narrower options, but the same list of verbs.
pub const WIDTH: usize = 100;

/// Verbs by what people come for, in the order in which they are shown.
const GROUPS: &[(&str, &[&str])] = &[
    ("Look at files", &["ls", "cat", "stat", "find", "readlink", "getfattr", "du", "checksum", "mtree", "diff"]),
    ("Move files in and out", &["cp", "copy-in", "copy-out", "upload", "download", "tar-in", "tar-out", "container"]),
    (
        "Change files",
        &[
            "write", "append", "edit", "truncate", "touch", "mkdir", "rm", "rmdir", "mv", "ln", "mknod", "chmod",
            "chown", "setfattr", "relabel",
        ],
    ),
    ("Customize a guest", &["customize", "inject", "sysprep", "useradd", "groupadd", "service", "seed"]),
    (
        "Disks and filesystems",
        &[
            "info",
            "inspect",
            "inspect-safety",
            "filesystems",
            "partitions",
            "df",
            "size",
            "can-resize",
            "is-partitionless",
            "check",
            "mkfs",
            "part",
            "grow",
            "shrink",
            "extend",
            "recover",
        ],
    ),
    ("Automate", &["apply", "run", "completion", "man", "json", "help"]),
];

/// The heading of what stands behind a verb's options.
const EXAMPLES: &str = "Example:";

/// The whole command line as completion and man pages describe it: a sentence for each verb, more text below it, and
/// the example last.
pub fn definition() -> Command {
    let mut command = example_last(Cli::command());
    // Adds `help` and the like, which are to be described, too.
    command.build();
    command
}

/// The command line as it is parsed, with its help.
pub fn command() -> Command {
    let command = one_page(example_last(Cli::command()));
    let template = with_list(&command, &groups(&command));
    command.help_template(template)
}

fn example_last(command: Command) -> Command {
    let command = command.mut_subcommands(example_last);
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (about, mut examples) = split_examples(&long);
    let (notes, more) = split_examples(&after);
    examples.extend(more);
    if examples.is_empty() {
        return command;
    }
    let header = command.get_styles().get_header();
    let mut after = format!("{header}{EXAMPLES}{header:#}");
    examples.iter().for_each(|example| after.push_str(&format!("\n  {example}")));
    if !notes.is_empty() {
        after = format!("{notes}\n\n{after}");
    }
    let short = about.is_empty() || command.get_about().is_some_and(|text| text.to_string() == about);
    let about = if short { Resettable::Reset } else { Resettable::Value(about.to_owned().into()) };
    command.after_help(after).long_about(about)
}

/// Splits the examples off the end of a text. Each begins with `Example: `, or they stand below a heading.
pub fn split_examples(text: &str) -> (&str, Vec<&str>) {
    let is_heading = |line: &str| line.starts_with("Example: ") || line == "Example:" || line == "Examples:";
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_heading(line.trim_end()) {
            let lines = text[at..].lines().map(|line| line.strip_prefix("Example: ").unwrap_or(line).trim());
            return (text[..at].trim_end(), lines.filter(|line| !line.is_empty() && !is_heading(line)).collect());
        }
        at += line.len();
    }
    (text.trim_end(), Vec::new())
}

/// Makes `-h` and `--help` the same page, on which each option takes a line or a few.
fn one_page(command: Command) -> Command {
    // The list of verbs shows the first sentence alone, so it is made before the page's own text replaces it.
    let template = command.has_subcommands().then(|| with_list(&command, &[("Commands", names(&command))]));
    let command = command.mut_subcommands(one_page).mut_args(|argument| match argument.get_long_help().cloned() {
        Some(text) => argument.help(text).long_help(None::<&str>),
        None => argument,
    });
    let command = match command.get_long_about().cloned() {
        Some(text) => command.about(text).long_about(None::<&str>),
        None => command,
    };
    match template {
        Some(template) => command.help_template(template),
        None => command,
    }
}

fn names(command: &Command) -> Vec<&str> {
    command.get_subcommands().map(Command::get_name).collect()
}

/// The groups with the verbs that there are.
fn groups(command: &Command) -> Vec<(&'static str, Vec<&str>)> {
    let there = names(command);
    let known = |verb: &&&str| there.contains(*verb) || **verb == "help";
    GROUPS.iter().map(|(name, verbs)| (*name, verbs.iter().filter(known).copied().collect())).collect()
}

/// A template of help in which verbs stand below headings.
fn with_list(command: &Command, groups: &[(&str, Vec<&str>)]) -> String {
    let column = groups.iter().flat_map(|(_, verbs)| verbs).map(|verb| verb.len()).max().unwrap_or_default() + 4;
    let (header, literal) = (command.get_styles().get_header(), command.get_styles().get_literal());
    let mut list = String::new();
    for (heading, verbs) in groups {
        list.push_str(&format!("{header}{heading}:{header:#}\n"));
        for verb in verbs {
            let about = command.find_subcommand(verb).and_then(Command::get_about).map(ToString::to_string);
            let about = about.unwrap_or_else(|| "Print this message or the help of a command".to_owned());
            let first = about.split("\n\n").next().unwrap_or_default();
            list.push_str(&format!(
                "  {literal}{verb}{literal:#}{:gap$}{}\n",
                "",
                wrapped(first, column),
                gap = column - 2 - verb.len()
            ));
        }
        list.push('\n');
    }
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n{{options}}{{after-help}}"
    )
}

/// Breaks a text into lines that begin at `column` and end before [`WIDTH`].
fn wrapped(text: &str, column: usize) -> String {
    let mut lines = String::new();
    let mut at = column;
    for word in text.split(' ') {
        let len = word.chars().count();
        if at > column && at + 1 + len > WIDTH {
            lines.push_str(&format!("\n{:column$}", ""));
            at = column;
        } else if at > column {
            lines.push(' ');
            at += 1;
        }
        lines.push_str(word);
        at += len;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_one_group() {
        let shown: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        for verb in names(&Cli::command()) {
            assert_eq!(shown.iter().filter(|shown| **shown == verb).count(), 1, "{verb}");
        }
    }

    #[test]
    fn definitions_are_sound() {
        command().debug_assert();
        definition().debug_assert();
    }

    #[test]
    fn examples_are_found_in_every_spelling() {
        for text in
            ["text\n\nExample: a\n\nExample: b", "text\n\nExamples:\n  a\n  b\n", "text\nExample:\n a\nExample: b"]
        {
            assert_eq!(split_examples(text), ("text", vec!["a", "b"]), "{text:?}");
        }
        assert_eq!(split_examples("For Example: a"), ("For Example: a", vec![]));
    }

    #[test]
    fn lines_end_before_the_width() {
        let text = wrapped(&"word ".repeat(60), 20);
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }
}
