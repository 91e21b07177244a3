//! What the tests of the program share: running it, and the request that they make.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod hostile;
pub mod session;

use nomount_kit::{scratch, tool};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@host";
pub const PASSWORD: &str = "correct horse: battery 'staple'";
pub const NET: &str =
    "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 192.0.2.7/24\n";
pub const META: &str = r#"{"role": "web"}"#;
pub const CONF: &str = "listen = 0.0.0.0:80\n";

/// Whether the whole product is tried.
pub fn long() -> bool {
    std::env::var_os("NOMOUNT_LONG").is_some_and(|value| value == "1")
}

/// The program, with nothing of the caller's environment that it looks at.
pub fn nomount() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.env_remove("SOURCE_DATE_EPOCH").env_remove("NOMOUNT_NO_SANDBOX");
    command
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    ran(nomount().args(args))
}

/// Runs a command and takes its output, which must be UTF-8.
pub fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = tool::output(command);
    let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// The host files of the request, and its command line.
pub struct Request {
    pub folder: TempDir,
}

impl Request {
    pub fn new() -> Self {
        let folder = scratch::folder();
        let files = [("id_ed25519.pub", format!("{KEY}\n")), ("pw", format!("{PASSWORD}\nnot this\n"))];
        let more = [("interfaces", NET.to_owned()), ("local.conf", CONF.to_owned())];
        for (name, text) in files.into_iter().chain(more) {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Everything but the password.
    pub fn without_password(&self) -> Vec<String> {
        let file = format!("{}:/etc/app/app.conf", self.shown("local.conf"));
        let (key, net) = (self.shown("id_ed25519.pub"), self.shown("interfaces"));
        ["--key", &key, "--net", &net, "--metadata", "role=web", "--file", &file, "--mandatory", "key,files"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Everything.
    pub fn all(&self) -> Vec<String> {
        let mut args = self.without_password();
        args.extend(["--admin-password".to_owned(), format!("file:{}", self.shown("pw"))]);
        args
    }
}

/// The first lines of /etc/shadow of root: line, its fields.
pub fn shadow_fields<'a>(shadow: &'a str, user: &str) -> Vec<&'a str> {
    let line = shadow.lines().find(|line| line.split(':').next() == Some(user));
    line.unwrap_or_else(|| panic!("no {user} in shadow")).split(':').collect()
}

/// Whether the host's own crypt(3) makes `hash` from the password.
pub fn is_hash_of(hash: &str, password: &str) -> bool {
    let made = ran(Command::new("perl").args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, hash]));
    assert_eq!(made.code, Some(0), "{made:?}");
    hash.len() > 20 && made.stdout == hash
}

/// The verbs that a page of help lists.
pub fn listed(page: &str) -> Vec<String> {
    let names = page.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  ").map(|(name, _)| name));
    let is_verb = |name: &&str| name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.contains(' ');
    names.filter(is_verb).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The names of all verbs.
pub fn verbs() -> Vec<String> {
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0), "{help:?}");
    listed(&help.stdout)
}

/// The path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().expect("temporary names are UTF-8").to_owned()
}
