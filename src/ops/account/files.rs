//! The files that hold accounts, and the settings for new ones.

use crate::account::ids::{Side, choose};
use crate::account::login_defs::{ID_MAX, ID_MIN, LoginDefs};
use crate::account::{Error as AccountError, group, passwd};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileTree, GuestPath, read_text};
use std::collections::BTreeSet;

pub(crate) const PASSWD: &str = "/etc/passwd";
pub(crate) const SHADOW: &str = "/etc/shadow";
pub(crate) const GROUP: &str = "/etc/group";
pub(crate) const GSHADOW: &str = "/etc/gshadow";

/// The texts as they are in the guest. What is absent there is absent here.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) passwd: Vec<u8>,
    pub(crate) shadow: Option<Vec<u8>>,
    pub(crate) group: Vec<u8>,
    pub(crate) gshadow: Option<Vec<u8>>,
    login_defs: Vec<u8>,
    pub(crate) useradd: Vec<u8>,
}

impl Files {
    /// Reads them; passwd and group must be there.
    pub(crate) fn read(tree: &dyn FileTree) -> Result<Self> {
        let must = |path| {
            text(tree, path)?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the guest has no such file, and so no accounts to add to")
                    .at_path(path)
                    .hint("some guests, such as CirrOS, make their accounts at the first boot")
            })
        };
        Ok(Self {
            passwd: must(PASSWD)?,
            shadow: text(tree, SHADOW)?,
            group: must(GROUP)?,
            gshadow: text(tree, GSHADOW)?,
            login_defs: text(tree, "/etc/login.defs")?.unwrap_or_default(),
            useradd: text(tree, "/etc/default/useradd")?.unwrap_or_default(),
        })
    }

    pub(crate) fn login_defs(&self) -> LoginDefs<'_> {
        LoginDefs(&self.login_defs)
    }

    pub(crate) fn free_uid(&self, system: bool) -> Result<u32> {
        let taken = passwd::users(&self.passwd).map(|user| user.uid).collect();
        self.free_id("UID", &taken, system, None)
    }

    pub(crate) fn free_gid(&self, system: bool, preferred: Option<u32>) -> Result<u32> {
        let taken = group::groups(&self.group).map(|group| group.gid).collect();
        self.free_id("GID", &taken, system, preferred)
    }

    /// `kind` is `UID` or `GID`, as the settings are called.
    fn free_id(&self, kind: &str, taken: &BTreeSet<u32>, system: bool, preferred: Option<u32>) -> Result<u32> {
        let defs = self.login_defs();
        let setting = |name: String, otherwise| defs.number(&name).unwrap_or(otherwise);
        let min = setting(format!("{kind}_MIN"), ID_MIN);
        let (range, side) = if system {
            let first = setting(format!("SYS_{kind}_MIN"), 101);
            (first..=setting(format!("SYS_{kind}_MAX"), min.saturating_sub(1)), Side::Top)
        } else {
            (min..=setting(format!("{kind}_MAX"), ID_MAX), Side::Bottom)
        };
        choose(taken, range.clone(), side, preferred).ok_or_else(|| {
            let message = format!("no {} from {} to {} is free", kind.to_lowercase(), range.start(), range.end());
            Error::new(ErrorKind::Limit, message)
                .hint("the range is that of the guest's /etc/login.defs: name a number")
        })
    }

    /// The group that `text` names, or whose number it is.
    pub(crate) fn find_group(&self, text: &[u8]) -> Result<group::Group> {
        let number = || std::str::from_utf8(text).ok()?.parse().ok().and_then(|gid| group::find_id(&self.group, gid));
        group::find(&self.group, text).or_else(number).ok_or_else(|| {
            let message = format!("group {} not found in group file", text.escape_ascii());
            Error::new(ErrorKind::NotFound, message).at_path(GROUP)
        })
    }

    /// Adds `group`, with no members and no password, to the texts.
    pub(crate) fn add_group(&mut self, name: &[u8], gid: u32) -> Result<()> {
        let number = gid.to_string();
        // Without gshadow nobody may have the password: `!` is none.
        let password: &[u8] = if self.gshadow.is_some() { b"x" } else { b"!" };
        self.group = add(&self.group, &[name, password, number.as_bytes(), b""], GROUP)?;
        if let Some(gshadow) = &self.gshadow {
            self.gshadow = Some(add(gshadow, &[name, b"!", b"", b""], GSHADOW)?);
        }
        Ok(())
    }

    /// Adds `user` to the members of `group` in the texts.
    pub(crate) fn add_member(&mut self, group: &[u8], user: &[u8]) -> Result<()> {
        self.group = group::add_member(&self.group, group, user).map_err(|error| wrong(error, GROUP))?;
        if let Some(gshadow) = &self.gshadow {
            let added = group::add_member(gshadow, group, user).map_err(|error| wrong(error, GSHADOW))?;
            self.gshadow = Some(added);
        }
        Ok(())
    }

    /// Writes the texts back; those that did not change are not touched.
    pub(crate) fn write(&self, editor: &mut Editor<'_>) -> Result<()> {
        let optional = [(SHADOW, self.shadow.as_ref()), (GSHADOW, self.gshadow.as_ref())];
        for (path, text) in [(GROUP, Some(&self.group)), optional[1], (PASSWD, Some(&self.passwd)), optional[0]] {
            if let Some(text) = text {
                editor.replace(&GuestPath::parse(path)?, text, Wanted::default())?;
            }
        }
        Ok(())
    }
}

/// A text of the guest; none where it has no such file.
pub(super) fn text(tree: &dyn FileTree, path: &str) -> Result<Option<Vec<u8>>> {
    read_text(tree, &GuestPath::parse(path)?)
}

pub(super) fn add(text: &[u8], values: &[&[u8]], path: &str) -> Result<Vec<u8>> {
    crate::account::add_entry(text, values).map_err(|error| wrong(error, path))
}

/// An error of the text in `path`.
pub(crate) fn wrong(error: AccountError, path: &str) -> Error {
    let kind = match error {
        AccountError::UserNotFound { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, error.to_string()).at_path(path)
}

/// Makes `user`, who must be there, a member of `group`, a name or a number.
pub(crate) fn add_to_group(editor: &mut Editor<'_>, user: &[u8], group: &[u8]) -> Result<()> {
    let mut files = Files::read(editor.tree())?;
    let group = files.find_group(group)?;
    files.add_member(&group.name, user)?;
    files.write(editor)
}
