//! What an operation changes, one difference at a time: for reports and dry runs.

use crate::tree::{FileKind, GuestPath, Time};
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
    /// A device, a named pipe or a socket that was not there.
    CreatedNode {
        /// What it is.
        kind: FileKind,
        /// Permission bits.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Major and minor number of a device.
        device: Option<(u32, u32)>,
    },
    /// Another name for a file.
    Linked {
        /// A name that it has had.
        #[serde(serialize_with = "path_text")]
        target: GuestPath,
    },
    /// A name is gone, and what was below it.
    Removed {
        /// What it was.
        kind: FileKind,
        /// Names that went, its own included.
        names: u64,
    },
    /// What a file holds, to be overwritten at the end of the commit. Its name goes with the next change.
    Scrubbed {
        /// Its length.
        before: u64,
    },
    /// The name is another now.
    Renamed {
        /// The new one.
        #[serde(serialize_with = "path_text")]
        to: GuestPath,
        /// What had that name before and is gone.
        replaced: Option<FileKind>,
    },
    /// Another length: what was cut off is gone, what was added is zero.
    Truncated {
        /// Length before.
        before: u64,
        /// Length now.
        after: u64,
    },
    /// Other times.
    Times {
        /// Last access.
        atime: Time,
        /// Last change of contents.
        mtime: Time,
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
    /// An extended attribute that is new or has another value.
    SetXattr {
        /// Its full name.
        #[serde(serialize_with = "bytes_text")]
        name: Vec<u8>,
        /// Length of the value.
        len: u64,
    },
    /// An SELinux context that was given by the guest's own policy.
    Labelled {
        /// The context.
        #[serde(serialize_with = "bytes_text")]
        context: Vec<u8>,
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
            What::CreatedNode { kind, mode, uid, gid, device } => {
                let device = device.map(|(major, minor)| format!("{major}, {minor}, ")).unwrap_or_default();
                write!(f, "create {} {path} ({device}mode {mode:04o}, {uid}:{gid})", kind.noun())
            }
            What::Linked { target } => write!(f, "link {path} to the file {target}"),
            What::Removed { kind: FileKind::Dir, names } if *names > 1 => {
                write!(f, "remove directory {path} and {} names below", names - 1)
            }
            What::Removed { kind, .. } => write!(f, "remove {} {path}", kind.noun()),
            What::Scrubbed { before } => write!(f, "scrub {path} ({before} bytes)"),
            What::Renamed { to, replaced } => {
                let over = replaced.map(|kind| format!(" over a {}", kind.noun())).unwrap_or_default();
                write!(f, "rename {path} to {to}{over}")
            }
            What::Truncated { before, after } => write!(f, "truncate {path} ({before} -> {after} bytes)"),
            What::Times { atime, mtime } => {
                let text = |time: &Time| format!("{}.{:09}", time.sec, time.nsec);
                write!(f, "touch {path} (accessed {}, modified {})", text(atime), text(mtime))
            }
            What::SetXattr { name, len } => write!(f, "set attribute {} of {path} ({len} bytes)", name.escape_ascii()),
            What::Labelled { context } => write!(f, "label {path} {}", context.escape_ascii()),
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
        let shown = |what: What| Change { path: GuestPath::parse("/f").unwrap(), what }.to_string();
        let device = Some((1, 3));
        for (what, text) in [
            (What::Removed { kind: FileKind::Dir, names: 3 }, "remove directory /f and 2 names below"),
            (What::Removed { kind: FileKind::Dir, names: 1 }, "remove directory /f"),
            (What::Scrubbed { before: 7 }, "scrub /f (7 bytes)"),
            (
                What::Renamed { to: GuestPath::root().join("g"), replaced: Some(FileKind::File) },
                "rename /f to /g over a regular file",
            ),
            (
                What::CreatedNode { kind: FileKind::CharDevice, mode: 0o666, uid: 0, gid: 0, device },
                "create character device /f (1, 3, mode 0666, 0:0)",
            ),
            (
                What::Times { atime: Time { sec: -1, nsec: 5 }, mtime: Time::default() },
                "touch /f (accessed -1.000000005, modified 0.000000000)",
            ),
        ] {
            assert_eq!(shown(what), text);
        }
        let removed = serde_json::to_value(What::Removed { kind: FileKind::Dir, names: 3 }).unwrap();
        assert_eq!(removed, serde_json::json!({ "change": "removed", "kind": "directory", "names": 3 }));
    }
}
