//! What an injection is asked to do.

use crate::account::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Owner;
use crate::ops::selinux::Labelling;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// One of the things that can be injected, in the order in which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Public ssh keys of a user.
    Key,
    /// /etc/network/interfaces.
    Net,
    /// /meta.js.
    Metadata,
    /// The password of a user.
    AdminPassword,
    /// Files.
    Files,
}

impl Item {
    /// All, in the order in which they are injected (I3).
    pub const ALL: [Self; 5] = [Self::Key, Self::Net, Self::Metadata, Self::AdminPassword, Self::Files];

    /// The name as Nova, `--mandatory` and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Net => "net",
            Self::Metadata => "metadata",
            Self::AdminPassword => "admin_password",
            Self::Files => "files",
        }
    }

    /// The item of that name; `admin-password` is understood as well, as options are spelt.
    pub fn parse(name: &str) -> Result<Self> {
        let wanted = name.replace('-', "_");
        Self::ALL.into_iter().find(|item| item.name() == wanted).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::new(ErrorKind::Usage, format!("no item {name:?}: there are {known}"))
        })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file to put into the guest.
#[derive(Clone, PartialEq, Eq)]
pub struct InjectFile {
    /// Where; relative means from the root of the guest (V1).
    pub path: Vec<u8>,
    /// All of it.
    pub contents: Vec<u8>,
    /// Permission bits, at most 0o7777 (V4); without, an existing file keeps its own and a new one has 0644.
    pub mode: Option<u32>,
    /// Owner; without, an existing file keeps its own and a new one is root's.
    pub owner: Option<Owner>,
}

/// Shows no contents, which may be secret.
impl fmt::Debug for InjectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectFile")
            .field("path", &self.path.escape_ascii().to_string())
            .field("contents", &format_args!("{} bytes", self.contents.len()))
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .finish()
    }
}

/// What to inject. What is `None` or empty is not asked for (I3), except that an empty key is an error without
/// `nova_compat`.
pub struct InjectRequest {
    /// The text of public keys, one a line.
    pub key: Option<Vec<u8>>,
    /// The contents of /etc/network/interfaces.
    pub net: Option<Vec<u8>>,
    /// Names and values for /meta.js, in the order to be written.
    pub metadata: Option<Vec<(String, String)>>,
    /// The password of `user`.
    pub admin_password: Option<Secret>,
    /// Files, in the order to be written.
    pub files: Vec<InjectFile>,
    /// Items whose failure is a failure of the whole.
    pub mandatory: BTreeSet<Item>,
    /// The very bytes and modes of Nova, always for root. Without it: directories 0755, no second copy of a key, the
    /// home and the numbers of `user` from the guest, a hash of today, SELinux contexts, or where the guest's policy
    /// has none to offer a restorecon that runs.
    pub nova_compat: bool,
    /// Whether new files get SELinux contexts. With `nova_compat` they never do: a restorecon at boot labels the keys.
    pub labelling: Labelling,
    /// Whose keys and password; `root` unless told otherwise.
    pub user: Vec<u8>,
    /// Random bytes for the salt of the password, from the operating system.
    pub salt: [u8; 16],
}

/// Shows names and lengths only: a network file may hold the secret of a wireless network.
impl fmt::Debug for InjectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<&str> = Item::ALL.into_iter().filter(|item| self.asks_for(*item)).map(Item::name).collect();
        f.debug_struct("InjectRequest")
            .field("items", &items)
            .field("files", &self.files)
            .field("mandatory", &self.mandatory)
            .field("nova_compat", &self.nova_compat)
            .field("user", &self.user.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}

impl Default for InjectRequest {
    /// Asks for nothing. The salt is all zeros: set it when a password is asked for.
    fn default() -> Self {
        Self {
            key: None,
            net: None,
            metadata: None,
            admin_password: None,
            files: Vec::new(),
            mandatory: BTreeSet::new(),
            nova_compat: false,
            labelling: Labelling::Auto,
            user: b"root".to_vec(),
            salt: [0; 16],
        }
    }
}

impl InjectRequest {
    /// Whether `item` is asked for.
    pub fn asks_for(&self, item: Item) -> bool {
        match item {
            Item::Key => self.key.as_ref().is_some_and(|key| !(self.nova_compat && key.is_empty())),
            Item::Net => self.net.as_ref().is_some_and(|net| !net.is_empty()),
            Item::Metadata => self.metadata.as_ref().is_some_and(|pairs| !pairs.is_empty()),
            Item::AdminPassword => self.admin_password.as_ref().is_some_and(|password| !password.expose().is_empty()),
            Item::Files => !self.files.is_empty(),
        }
    }

    /// Whether nothing is asked for, so that an image need not be opened (I9).
    pub fn is_empty(&self) -> bool {
        !Item::ALL.into_iter().any(|item| self.asks_for(item))
    }

    /// Whether an item that is asked for is mandatory.
    pub fn has_mandatory(&self) -> bool {
        self.mandatory.iter().any(|item| self.asks_for(*item))
    }

    /// Refuses what no guest could make sense of, before any is looked at.
    pub(super) fn check(&self) -> Result<()> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if self.nova_compat && self.user != b"root" {
            return usage(format!("nova-compat injects for root only, not for {}", self.user.escape_ascii()));
        }
        for file in &self.files {
            if file.path.is_empty() {
                return usage("the path of a file to inject is empty".to_owned());
            }
            if let Some(mode) = file.mode.filter(|mode| *mode > 0o7777) {
                return usage(format!("mode {mode:o} of {} is above 7777", file.path.escape_ascii()));
            }
        }
        Ok(())
    }
}
