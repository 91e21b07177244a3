//! Values of a recipe that are checked as it is read, so that an error names their line.

use crate::account::check_name;
use crate::ops::Owner;
use crate::ops::edit::{ModeChange, file_path};
use crate::ops::service::UnitName;
use crate::tree::GuestPath;
use serde::Deserialize;

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
