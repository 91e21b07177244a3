//! Values of a recipe that are checked as it is read, so that an error names their line.

use crate::account::check_name;
use crate::ops::Owner;
use crate::ops::customize::{check_hostname, check_timezone};
use crate::ops::edit::{ModeChange, file_path};
use crate::ops::service::UnitName;
use crate::tree::GuestPath;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// An absolute path of the guest, not the root directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Path(pub(super) GuestPath);

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("{text:?} is no absolute path"));
        }
        let path = file_path(text.trim_end_matches('/').as_bytes());
        path.map(Self).map_err(|error| format!("{text:?}: {}", error.message()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Permission bits as chmod(1) takes them, in quotation marks: a bare number would not be octal.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Mode(pub(super) ModeChange);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ModeChange::parse(&text).map(Self).map_err(|error| error.message().to_owned())
    }
}

/// `USER`, `USER:GROUP` or `:GROUP`, names of the guest or numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OwnerText(pub(super) Owner);

impl TryFrom<String> for OwnerText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Owner::parse(&text).map(Self).map_err(|error| error.message().to_owned())
    }
}

/// The name of a unit of systemd.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Unit(pub(super) UnitName);

impl TryFrom<String> for Unit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        UnitName::parse(&text).map(Self).map_err(|error| error.message().to_owned())
    }
}

/// The name of a user or group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_name(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(text))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name for the guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hostname(pub(super) String);

impl TryFrom<String> for Hostname {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_hostname(&text).map_err(|error| error.message().to_owned())?;
        Ok(Self(text))
    }
}

/// The name of a time zone; whether the guest has it is seen later.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Zone(pub(super) String);

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_timezone(&text).map_err(|error| error.message().to_owned())?;
        Ok(Self(text))
    }
}

/// What crypt(3) makes of a password, or what locks an account: begins with `$`, `_`, `!` or `*`, or is the 13
/// characters of traditional DES. Anything else may be the password itself: it is not repeated, and not written.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PasswordHash(pub(super) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_des = text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
        if is_des || text.starts_with(['$', '_', '!', '*']) {
            return Ok(Self(text));
        }
        Err("password-hash is no hash of crypt(3); a password itself is given as password = \"file:FILE\"")
    }
}

/// A table whose keys differ: also those that are written in different ways, as `/a` and `/a/`, and those of JSON, where
/// the last would win.
pub(super) fn unique<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct Unique<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Visitor<'de> for Unique<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = entries.next_key::<K>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("the recipe says two things of {key}")));
                }
                map.insert(key, entries.next_value()?);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Unique(PhantomData))
}

/// Text without line breaks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Line(pub(super) String);

impl TryFrom<String> for Line {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(['\n', '\r']) { Err("a line has a line break in it".to_owned()) } else { Ok(Self(text)) }
    }
}
