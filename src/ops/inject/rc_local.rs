//! The text of an rc.local script: where a command goes so that it runs.

use crate::error::{Error, ErrorKind, Result};

/// Shells whose scripts take our line.
const SHELLS: [&[u8]; 7] = [b"sh", b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh"];

/// The script with `line` in it, after `comment`; none when it runs that line already.
///
/// The line goes to the end, or before the `exit` that ends the script, on a line of its own (K4). A script that no
/// shell would read is refused.
pub(super) fn with_line(script: &[u8], comment: &str, line: &[u8]) -> Result<Option<Vec<u8>>> {
    if script.is_empty() {
        return Ok(Some([b"#!/bin/sh\n# ", comment.as_bytes(), b"\n", line, b"\n"].concat()));
    }
    must_be_shell(script)?;
    let end = end_of_commands(script);
    let (reached, rest) = script.split_at(end);
    if reached.split(|byte| *byte == b'\n').any(|present| present.trim_ascii() == line) {
        return Ok(None);
    }
    let newline: &[u8] = if reached.is_empty() || reached.ends_with(b"\n") { b"" } else { b"\n" };
    Ok(Some([reached, newline, b"# ", comment.as_bytes(), b"\n", line, b"\n", rest].concat()))
}

fn must_be_shell(script: &[u8]) -> Result<()> {
    let refuse = |why: String| Err(Error::new(ErrorKind::Refused, why));
    if script.contains(&0) {
        return refuse("it is no script: it contains a NUL byte".to_owned());
    }
    let Some(first) = script.strip_prefix(b"#!") else { return Ok(()) };
    let first = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut name = || words.next().and_then(|word| word.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
    let interpreter = match name() {
        b"env" | b"busybox" => name(),
        interpreter => interpreter,
    };
    if SHELLS.contains(&interpreter) {
        return Ok(());
    }
    refuse(format!("it is no shell script: its interpreter is \"{}\"", interpreter.escape_ascii()))
}

/// Where the commands end: at the first `exit` that starts a line outside of any compound command, or at the end.
fn end_of_commands(script: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    for line in script.split_inclusive(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| byte.is_ascii_whitespace() || *byte == b';').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let last = words.take_while(|word| !word.starts_with(b"#")).last().unwrap_or(first);
        let closes = |word: &[u8]| matches!(word, b"fi" | b"esac" | b"done" | b"}");
        let opens = matches!(first, b"if" | b"case" | b"for" | b"while" | b"until") || last == b"{";
        if opens && !closes(last) {
            depth += 1;
        } else if closes(first) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && line.starts_with(b"exit") && first == b"exit" {
            return at;
        }
        at += line.len();
    }
    script.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(script: &str) -> Option<String> {
        with_line(script.as_bytes(), "why", b"run || :").unwrap().map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn k3_a_new_script_has_an_interpreter() {
        assert_eq!(with("").unwrap(), "#!/bin/sh\n# why\nrun || :\n");
    }

    #[test]
    fn k4_starts_on_a_new_line_when_the_file_lacks_one() {
        assert_eq!(with("#!/bin/sh\necho done").unwrap(), "#!/bin/sh\necho done\n# why\nrun || :\n");
        assert_eq!(with("#!/bin/sh\necho done\n").unwrap(), "#!/bin/sh\necho done\n# why\nrun || :\n");
    }

    #[test]
    fn k5_goes_before_a_final_exit() {
        for exit in ["exit 0\n", "exit 0", "exit\n", "exit 0 # bye\n\n", "exit $?; \n"] {
            let script = format!("#!/bin/bash\nif x; then\n  exit 1\nfi\n{exit}");
            let wanted = format!("#!/bin/bash\nif x; then\n  exit 1\nfi\n# why\nrun || :\n{exit}");
            assert_eq!(with(&script).unwrap(), wanted);
        }
        // Inside of a compound command it is not final, wherever the line begins.
        let script = "#!/bin/sh -e\nif x\nthen\nexit 0\nfi\nf() {\nexit 1\n}\nfor a in b; do c; done\nexiting\n";
        assert_eq!(with(script).unwrap(), format!("{script}# why\nrun || :\n"));
    }

    #[test]
    fn k5_is_not_repeated_but_a_line_after_exit_does_not_count() {
        let once = with("#!/bin/sh\nexit 0\n").unwrap();
        assert_eq!(with(&once), None);
        assert_eq!(with("#!/bin/sh\n  run || :  \n"), None);
        let unreached = "#!/bin/sh\nexit 0\n\n# Added by Nova\nrun || :\n";
        assert_eq!(with(unreached).unwrap(), "#!/bin/sh\n# why\nrun || :\nexit 0\n\n# Added by Nova\nrun || :\n");
    }

    #[test]
    fn what_no_shell_reads_is_refused() {
        for script in ["#!/usr/bin/python3\n", "#!/usr/bin/env perl\n", "\x7fELF\0", "#!\n"] {
            assert_eq!(with_line(script.as_bytes(), "", b"x").unwrap_err().kind(), ErrorKind::Refused, "{script}");
        }
        for script in ["#!/usr/bin/env bash\n", "#! /bin/busybox sh\n", "echo\n"] {
            assert!(with_line(script.as_bytes(), "", b"x").unwrap().is_some(), "{script}");
        }
    }
}
