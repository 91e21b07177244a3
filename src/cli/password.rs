//! Where a password comes from. It is never part of a message.

use nomount::account::Secret;
use nomount::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// Characters of a random password: none that looks like another.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// How many of them.
const RANDOM_LEN: usize = 16;
/// The longest line that is read for a password.
const MAX_LINE: u64 = 4096;

/// What the help says of selectors.
pub const HELP: &str = "file:FILE (first line), env:NAME, fd:NUMBER, - (standard input), random, or password:TEXT";

/// A password, and whether it must be shown because nobody knows it yet.
pub struct Chosen {
    pub secret: Secret,
    pub random: bool,
}

/// Random bytes from the operating system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    // The system call itself: a static program finds no other way to it, and an empty root folder has no /dev.
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(some) => filled += some,
            Err(Errno::INTR) => (),
            Err(error) => {
                let error = io::Error::from(error);
                return Err(Error::new(ErrorKind::Io, "the operating system gives no random bytes").caused_by(error));
            }
        }
    }
    Ok(bytes)
}

/// Reads a password as a selector of the command line says.
pub fn choose(selector: &str) -> Result<Chosen> {
    if is_text(selector) {
        super::ui::warning("a password on the command line is seen by everyone on this machine; use file: or fd:");
    }
    read(selector)
}

/// Whether a selector is the password itself.
pub fn is_text(selector: &str) -> bool {
    selector.starts_with("password:")
}

/// Reads a password as a selector says.
pub fn read(selector: &str) -> Result<Chosen> {
    let given = |secret| Chosen { secret, random: false };
    let secret = match selector.split_once(':') {
        Some(("file", path)) => first_line(open(path)?, &format!("file:{path}"))?,
        Some(("fd", number)) => {
            let number: u32 = number.parse().map_err(|_| usage(format!("fd:{number}: not a number")))?;
            first_line(open(&format!("/dev/fd/{number}"))?, &format!("fd:{number}"))?
        }
        Some(("env", name)) => {
            let value = std::env::var_os(name).ok_or_else(|| usage(format!("env:{name}: no such variable")))?;
            Secret::new(std::os::unix::ffi::OsStringExt::into_vec(value))
        }
        Some(("password", text)) => Secret::new(text.as_bytes().to_vec()),
        None if selector == "-" => first_line(io::stdin(), "standard input")?,
        None if selector == "random" => return Ok(Chosen { secret: random()?, random: true }),
        // The text may be the password itself: it is not repeated.
        _ => return Err(usage(format!("the password selector is unknown; it must be {HELP}"))),
    };
    if secret.expose().is_empty() {
        return Err(usage("the password is empty".to_owned()));
    }
    Ok(given(secret))
}

/// The file of the host that a selector reads, where it reads one.
pub fn file(selector: Option<&str>) -> Option<String> {
    match selector?.split_once(':')? {
        ("file", path) => Some(path.to_owned()),
        ("fd", number) => Some(format!("/dev/fd/{number}")),
        _ => None,
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("cannot read the password from {path}")).caused_by(error)
    })
}

fn first_line(source: impl Read, name: &str) -> Result<Secret> {
    let mut line = Vec::new();
    let read = BufReader::new(source).take(MAX_LINE + 1).read_until(b'\n', &mut line);
    read.map_err(|error| Error::new(ErrorKind::Io, format!("cannot read the password from {name}")).caused_by(error))?;
    if line.len() as u64 > MAX_LINE {
        return Err(usage(format!("the first line of {name} is longer than {MAX_LINE} bytes")));
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(Secret::new(line))
}

fn random() -> Result<Secret> {
    // Bytes beyond the last whole multiple of the alphabet are left out, so that each character is as likely.
    let fair = 256 - 256 % ALPHABET.len();
    let mut text = Vec::with_capacity(RANDOM_LEN);
    while text.len() < RANDOM_LEN {
        let usable = random_bytes::<32>()?.into_iter().filter(|byte| usize::from(*byte) < fair);
        text.extend(usable.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]).take(RANDOM_LEN - text.len()));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_gives_its_first_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"s3cret pass:word\r\nmore\n").unwrap();
        let chosen = choose(&format!("file:{}", file.path().display())).unwrap();
        assert_eq!(chosen.secret.expose(), b"s3cret pass:word");
    }

    #[test]
    fn a_text_may_contain_colons() {
        assert_eq!(choose("password:a:b").unwrap().secret.expose(), b"a:b");
    }

    #[test]
    fn random_ones_differ_and_are_long_enough() {
        let (one, two) = (choose("random").unwrap(), choose("random").unwrap());
        assert!(one.random && one.secret.expose().len() == RANDOM_LEN && one.secret.expose() != two.secret.expose());
    }

    #[test]
    fn what_may_be_the_password_itself_is_not_repeated() {
        let error = choose("hunter2").err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }
}
