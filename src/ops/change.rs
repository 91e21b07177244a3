//! What an operation changes, one difference at a time: for reports and dry runs.

use crate::tree::GuestPath;
use serde::{Serialize, Serializer};
use std::fmt;

/// One difference that an operation made. Contents are never part of it, so that no secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where, symbolic links followed.
    #[serde(serialize_with = "path_text")]
    pub path: GuestPath,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// A kind of difference. Lengths are in bytes; modes are written in octal in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum What {
    /// A directory that was not there.
    CreatedDir {
        /// Permission bits.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A file that was not there.
    CreatedFile {
        /// Permission bits.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Its length.
        after: u64,
    },
    /// A symbolic link that was not there.
    CreatedLink {
        /// What it points to, as it says.
        #[serde(serialize_with = "bytes_text")]
        target: Vec<u8>,
    },
    /// Other contents in the same file.
    Replaced {
        /// Length before.
        before: u64,
        /// Length now.
        after: u64,
    },
    /// More at the end of a file.
    Appended {
        /// Length before.
        before: u64,
        /// Length now.
        after: u64,
    },
    /// Other permission bits.
    Mode {
        /// Before.
        #[serde(serialize_with = "octal")]
        before: u32,
        /// Now.
        #[serde(serialize_with = "octal")]
        after: u32,
    },
    /// Another owner or group, each as (uid, gid).
    Owner {
        /// Before.
        before: (u32, u32),
        /// Now.
        after: (u32, u32),
    },
    /// An extended attribute that is gone.
    RemovedXattr {
        /// Its full name.
        #[serde(serialize_with = "bytes_text")]
        name: Vec<u8>,
    },
}

fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}

fn path_text<S: Serializer>(path: &GuestPath, serializer: S) -> Result<S::Ok, S::Error> {
    bytes_text(&path.to_bytes(), serializer)
}

/// As text when it is UTF-8, otherwise with other bytes escaped.
fn bytes_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.collect_str(&bytes.escape_ascii()),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::CreatedDir { mode, uid, gid } => write!(f, "create directory {path} (mode {mode:04o}, {uid}:{gid})"),
            What::CreatedFile { mode, uid, gid, after } => {
                write!(f, "create {path} (mode {mode:04o}, {uid}:{gid}, {after} bytes)")
            }
            What::CreatedLink { target } => write!(f, "create link {path} -> {}", target.escape_ascii()),
            What::Replaced { before, after } => write!(f, "replace {path} ({before} -> {after} bytes)"),
            What::Appended { before, after } => write!(f, "append to {path} ({before} -> {after} bytes)"),
            What::Mode { before, after } => write!(f, "chmod {path} ({before:04o} -> {after:04o})"),
            What::Owner { before, after } => {
                write!(f, "chown {path} ({}:{} -> {}:{})", before.0, before.1, after.0, after.1)
            }
            What::RemovedXattr { name } => write!(f, "remove attribute {} of {path}", name.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_serializes() {
        let path = GuestPath::parse(b"/a/\xc3\xa9\x1b").unwrap();
        let change = Change { path, what: What::Mode { before: 0o644, after: 0o4755 } };
        assert_eq!(change.to_string(), r"chmod /a/\xc3\xa9\x1b (0644 -> 4755)");
        let json = serde_json::to_string(&change).unwrap();
        assert_eq!(json, r#"{"path":"/a/é\u001b","change":"mode","before":"0644","after":"4755"}"#);
    }
}
