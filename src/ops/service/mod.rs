//! Which services a guest starts: what systemctl(1) does with `--root`, to links below /etc/systemd/system.

mod disable;
mod enable;
mod install;
mod mask;
mod name;
mod preset;
mod units;

pub use name::UnitName;

use super::editor::Editor;
use crate::error::{Error, ErrorKind, Result};

/// What becomes of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Started, as their `[Install]` section says.
    Enable,
    /// Not started by themselves: all links to them go.
    Disable,
    /// Not started at all.
    Mask,
    /// No longer masked.
    Unmask,
    /// Enabled or disabled, as the guest's presets say.
    Preset,
}

/// Does `action` to `units`, one after the other. What is so already stays. Returns what is to be noticed.
///
/// A unit that the guest lacks is [`NotFound`](ErrorKind::NotFound); enabling a masked one is
/// [`Refused`](ErrorKind::Refused); a guest without systemd is [`Unsupported`](ErrorKind::Unsupported).
pub fn service(editor: &mut Editor<'_>, action: Action, units: &[UnitName]) -> Result<Vec<String>> {
    units::must_be_systemd(editor.tree())?;
    let mut notes = Vec::new();
    for unit in units {
        match action {
            Action::Enable => enable::enable(editor, unit, &mut notes)?,
            Action::Disable => disable::disable(editor, unit, &mut notes)?,
            Action::Mask => mask::mask(editor, unit, &mut notes)?,
            Action::Unmask => mask::unmask(editor, unit)?,
            Action::Preset => preset::preset(editor, unit, &mut notes)?,
        }
    }
    Ok(notes)
}

fn missing(unit: &UnitName) -> Error {
    let message = format!("the guest has no unit {unit}");
    Error::new(ErrorKind::NotFound, message).hint("scripts in /etc/init.d without a unit are not enabled here")
}

#[cfg(test)]
mod tests;
