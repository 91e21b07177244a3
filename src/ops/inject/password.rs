use super::Notes;
use super::request::InjectRequest;
use crate::account::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
pub(super) fn inject(_: &mut Editor<'_>, _: &InjectRequest, _: &Secret, _: &mut Notes) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "not yet"))
}
