//! What a guest is asked to become, one thing at a time.

use crate::account::Secret;
use crate::ops::Owner;
use crate::ops::edit::{ModeChange, sed};
use crate::ops::populate::{Contents, Source};
use crate::tree::GuestPath;
use std::fmt;

/// One operation of virt-customize, by its name there. What comes from the host is loaded already.
pub enum Operation {
    /// A line at the end of a text file, with the line break that the file has; a missing file is created.
    AppendLine {
        /// The file.
        path: GuestPath,
        /// The line, without a break.
        line: Vec<u8>,
    },
    /// Permission bits, links followed.
    Chmod {
        /// What becomes of them.
        mode: ModeChange,
        /// Whose.
        path: GuestPath,
    },
    /// Owner and group, links followed.
    Chown {
        /// By the guest's names, or numbers.
        owner: Owner,
        /// Whose.
        path: GuestPath,
    },
    /// A copy inside the guest, of directories with all that is below and with all attributes, as `cp -a` makes it.
    Copy {
        /// What.
        source: GuestPath,
        /// A new name, or a directory to copy into: as it is given, for a slash at its end counts.
        destination: Vec<u8>,
    },
    /// A file or directory of the host, with all below, into a directory of the guest. Copies are root's.
    CopyIn {
        /// What it is called in the guest; none when only what is in it is copied.
        name: Option<Vec<u8>>,
        /// What there is; the entry itself has an empty path.
        source: Box<dyn Source>,
        /// Where to. It must exist.
        directory: GuestPath,
    },
    /// Removes what a pattern of glob(7) matches, directories with all that is below. Nothing need match.
    Delete(Vec<u8>),
    /// A text changed by expressions. Owner, mode and attributes of the file stay.
    Edit {
        /// The file.
        path: GuestPath,
        /// What is done to its lines.
        script: sed::Script,
    },
    /// A script that runs once, at the next boot.
    Firstboot {
        /// What the file in the guest is called, after a number.
        name: Vec<u8>,
        /// The script, with its interpreter in the first line.
        script: Vec<u8>,
    },
    /// Packages that the guest's own package manager installs at the next boot.
    FirstbootInstall(Vec<String>),
    /// The name of the guest.
    Hostname(String),
    /// Symbolic links, instead of what has their names.
    Link {
        /// What they say.
        target: Vec<u8>,
        /// Their names.
        links: Vec<GuestPath>,
    },
    /// A directory, and those missing on the way.
    Mkdir(GuestPath),
    /// Another name, or another directory.
    Move {
        /// What.
        source: GuestPath,
        /// A new name, or a directory to move into.
        destination: GuestPath,
    },
    /// A password. All are set after every other operation.
    Password {
        /// Whose.
        user: Vec<u8>,
        /// What becomes of it.
        password: NewPassword,
    },
    /// A file whose contents are overwritten before it is gone for good.
    Scrub(GuestPath),
    /// Public keys for a user's authorized_keys.
    SshInject {
        /// Whose.
        user: Vec<u8>,
        /// The text of the keys, one a line.
        keys: Vec<u8>,
    },
    /// What a tar stream holds, with all attributes, into a directory of the guest.
    TarIn {
        /// The stream.
        source: Box<dyn Source>,
        /// Where to. It must exist.
        directory: GuestPath,
    },
    /// The time zone.
    Timezone(String),
    /// A file that is to be there, changed now.
    Touch(GuestPath),
    /// A file that is to be empty.
    Truncate(GuestPath),
    /// All regular files below a directory are to be empty.
    TruncateRecursive(GuestPath),
    /// A file of the host, as a new name or into a directory. A file that exists keeps its owner and mode.
    Upload {
        /// What it is called on the host.
        name: Vec<u8>,
        /// All of it.
        contents: Box<dyn Contents>,
        /// Whether a new file is executable: 0755 and not 0644.
        executable: bool,
        /// A name, or a directory.
        destination: GuestPath,
    },
    /// The contents of a file.
    Write {
        /// Which.
        path: GuestPath,
        /// All of it.
        contents: Vec<u8>,
    },
}

/// What becomes of a user's password.
#[derive(Debug)]
pub enum NewPassword {
    /// This one.
    Set {
        /// The password.
        secret: Secret,
        /// Random bytes for the salt, from the operating system.
        salt: [u8; 16],
        /// Whether it is locked, as `passwd -l` does it: behind a `!`.
        locked: bool,
    },
    /// None that could match. Keys still do.
    Disabled {
        /// Whether that is locked, too.
        locked: bool,
    },
    /// What there is, but locked: behind a `!`, so that unlocking brings it back.
    Locked,
}

impl Operation {
    /// Its name, as the option of the command line without the hyphens.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AppendLine { .. } => "append-line",
            Self::Chmod { .. } => "chmod",
            Self::Chown { .. } => "chown",
            Self::Copy { .. } => "copy",
            Self::CopyIn { .. } => "copy-in",
            Self::Delete(_) => "delete",
            Self::Edit { .. } => "edit",
            Self::Firstboot { .. } => "firstboot",
            Self::FirstbootInstall(_) => "firstboot-install",
            Self::Hostname(_) => "hostname",
            Self::Link { .. } => "link",
            Self::Mkdir(_) => "mkdir",
            Self::Move { .. } => "move",
            Self::Password { .. } => "password",
            Self::Scrub(_) => "scrub",
            Self::SshInject { .. } => "ssh-inject",
            Self::TarIn { .. } => "tar-in",
            Self::Timezone(_) => "timezone",
            Self::Touch(_) => "touch",
            Self::Truncate(_) => "truncate",
            Self::TruncateRecursive(_) => "truncate-recursive",
            Self::Upload { .. } => "upload",
            Self::Write { .. } => "write",
        }
    }

    /// What it is about: a path, a user, a name. Never contents or secrets.
    pub fn subject(&self) -> Vec<u8> {
        match self {
            Self::AppendLine { path, .. }
            | Self::Chmod { path, .. }
            | Self::Chown { path, .. }
            | Self::Mkdir(path)
            | Self::Scrub(path)
            | Self::Touch(path)
            | Self::Truncate(path)
            | Self::TruncateRecursive(path)
            | Self::Write { path, .. }
            | Self::CopyIn { directory: path, .. }
            | Self::Edit { path, .. }
            | Self::TarIn { directory: path, .. }
            | Self::Upload { destination: path, .. } => path.to_bytes(),
            Self::Copy { source, .. } | Self::Move { source, .. } => source.to_bytes(),
            Self::Delete(pattern) => pattern.clone(),
            Self::Firstboot { name, .. } => name.clone(),
            Self::FirstbootInstall(packages) => packages.join(",").into_bytes(),
            Self::Hostname(name) | Self::Timezone(name) => name.clone().into_bytes(),
            Self::Link { target, .. } => target.clone(),
            Self::Password { user, .. } | Self::SshInject { user, .. } => user.clone(),
        }
    }
}

/// Shows what it is about, and no contents: they may be secret.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.subject().escape_ascii())
    }
}
