//! The only place that prints.

use super::{exit, memory, progress};
use nomount::Error;
use nomount_block::Held;
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};

/// The version of the JSON that is printed; it changes when something is renamed or removed.
pub const SCHEMA: u32 = 1;

/// Bytes from an image as text: UTF-8 as it is, everything else and every control character escaped.
pub fn safe(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// Bytes from an image as JSON: a string where they are UTF-8, else an object with them in hexadecimal.
pub fn bytes_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The columns of the terminal that standard output is; none where it is none.
pub fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Prints lines to standard output.
pub fn lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> io::Result<()> {
    let _hidden = progress::hidden();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in lines {
        writeln!(out, "{}", line.as_ref())?;
    }
    out.flush()
}

/// Prints bytes to standard output, as they are.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let _hidden = progress::hidden();
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints lines that came from an image: byte for byte, but on a terminal escaped.
pub fn raw_lines<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    if io::stdout().is_terminal() {
        return lines(texts.into_iter().map(safe));
    }
    let _hidden = progress::hidden();
    let mut out = io::BufWriter::new(io::stdout().lock());
    texts.into_iter().try_for_each(|text| out.write_all(text).and_then(|()| out.write_all(b"\n")))?;
    out.flush()
}

/// Standard output for what is printed while it is found: a tree of any size takes no memory.
#[derive(Debug)]
pub struct Stream {
    out: io::BufWriter<io::StdoutLock<'static>>,
    is_terminal: bool,
}

impl Stream {
    /// Standard output, for one caller at a time.
    pub fn open() -> Self {
        let out = io::stdout().lock();
        let is_terminal = out.is_terminal();
        Self { out: io::BufWriter::new(out), is_terminal }
    }

    /// Prints a line with bytes from an image: as they are, but on a terminal escaped.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self.is_terminal {
            true => self.out.write_all(safe(bytes).as_bytes()),
            false => self.out.write_all(bytes),
        }
        .and_then(|()| self.out.write_all(b"\n"))
        .map_err(output_failed)
    }

    /// Prints a line that has nothing from an image in it, or only what is escaped.
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        writeln!(self.out, "{text}").map_err(output_failed)
    }

    /// Prints bytes and a zero byte.
    pub fn zero_terminated(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).and_then(|()| self.out.write_all(&[0])).map_err(output_failed)
    }

    /// Prints what is not printed yet.
    pub fn end(mut self) -> Result<(), Error> {
        self.out.flush().map_err(output_failed)
    }
}

/// Prints a JSON document to standard output, with the schema's version first.
pub fn json(value: Value) -> io::Result<()> {
    lines([pretty(&document(value))])
}

/// The same as one line, where there may be many.
pub fn json_line(value: Value) -> io::Result<()> {
    lines([document(value).to_string()])
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can be printed")
}

fn document(value: Value) -> Value {
    let mut document = serde_json::Map::from_iter([("schema".to_owned(), json!(SCHEMA))]);
    match value {
        Value::Object(fields) => document.extend(fields),
        other => drop(document.insert("result".to_owned(), other)),
    }
    Value::Object(document)
}

/// A list of a JSON document that is printed once it is whole: until then the text of its members is kept, which is
/// small beside the members.
#[derive(Debug)]
pub struct JsonList {
    text: String,
    held: Held,
}

impl JsonList {
    /// An empty list.
    pub fn new() -> Self {
        Self { text: String::new(), held: memory::budget().hold("the list in JSON") }
    }

    /// Adds a member.
    pub fn push(&mut self, member: &Value) -> Result<(), Error> {
        let text = pretty(member);
        // A list in an object of the document; line breaks are between tokens only. A text may have room for twice it.
        let text = format!("{}\n    {}", if self.text.is_empty() { "" } else { "," }, text.replace('\n', "\n    "));
        self.held.grow(2 * text.len() as u64)?;
        self.text.push_str(&text);
        Ok(())
    }

    /// Prints the document with these fields and then the list, called `name`.
    pub fn print(self, fields: Value, name: &str) -> Result<(), Error> {
        const MARK: &str = "[]";
        let mut fields = fields;
        fields[name] = json!([]);
        let text = pretty(&document(fields));
        // The list is the last field.
        let (before, after) = text.rsplit_once(MARK).expect("an empty list was just put there");
        let _hidden = progress::hidden();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let end = if self.text.is_empty() { "" } else { "\n  " };
        [before, "[", &self.text, end, "]", after, "\n"]
            .iter()
            .try_for_each(|part| out.write_all(part.as_bytes()))
            .and_then(|()| out.flush())
            .map_err(output_failed)
    }
}

/// Prints how far work has come as a line of JSON, on standard error.
pub fn progress_line(progress: &Value) {
    complain(&json!({ "schema": SCHEMA, "progress": progress }).to_string());
}

/// Prints a line to standard error. Where that is closed or full, nobody is left to hear of it; the work goes on.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints something to be noticed, on standard error.
pub fn note(text: &str) {
    let _hidden = progress::hidden();
    complain(&format!("nomount: {text}"));
}

/// Prints something that may not be as wished, on standard error.
pub fn warning(text: &str) {
    let _hidden = progress::hidden();
    complain(&format!("nomount: warning: {text}"));
}

/// Prints an error with its causes and what to do about it; with `as_json` on standard output.
pub fn error(error: &Error, as_json: bool) {
    if as_json {
        let place = error.place();
        let document = json!({ "error": {
            "kind": exit::word(error.kind()),
            "exit_code": exit::code(error.kind()),
            "message": error.chain(),
            "image": place.image.as_ref().map(|path| path.display().to_string()),
            "volume": place.volume,
            "path": place.path.as_deref().map(bytes_json),
            "hint": exit::hint(error),
        }});
        // Nobody is there to hear of a closed pipe.
        let _ = json(document);
        return;
    }
    let _hidden = progress::hidden();
    let place = error.place().to_string();
    complain(&format!("nomount: {place}{}{}", if place.is_empty() { "" } else { ": " }, error.chain()));
    if let Some(hint) = exit::hint(error) {
        complain(&format!("hint: {hint}"));
    }
}

/// Prints what is wrong with a command line; with `as_json` on standard output.
pub fn usage_error(error: &clap::Error, as_json: bool) {
    if !as_json {
        // A closed pipe is the only failure, and nobody is there to hear of it.
        let _ = error.print();
        return;
    }
    let text = error.render().to_string();
    let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let words: Vec<&str> = message.strip_prefix("error: ").unwrap_or(message).split_whitespace().collect();
    let tip = rest.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let error = Error::new(nomount::ErrorKind::Usage, words.join(" "));
    self::error(&tip.into_iter().fold(error, |error, tip| error.hint(tip.to_owned())), true);
}

/// Whether an error means only that nobody reads the output any more.
pub fn is_broken_pipe(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error for output that cannot be written.
pub fn output_failed(error: io::Error) -> Error {
    Error::of_host("cannot write the output", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_cannot_control_a_terminal() {
        assert_eq!(safe(b"caf\xc3\xa9 \x1b[31m\n\xff\\"), "caf\u{e9} \\u{1b}[31m\\n\\xff\\\\");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_in_hexadecimal() {
        assert_eq!(bytes_json(b"a"), json!("a"));
        assert_eq!(bytes_json(b"\xff\x00"), json!({ "hex": "ff00" }));
    }
}
