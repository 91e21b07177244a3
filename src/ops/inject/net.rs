//! The item `net`: /etc/network/interfaces, replaced as a whole (N1).

use super::request::InjectRequest;
use super::{Notes, nova};
use crate::error::Result;
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{GuestPath, exists};

/// Where ifupdown, of any make, has its programs.
const IFUP: [&str; 4] = ["/sbin/ifup", "/usr/sbin/ifup", "/bin/ifup", "/usr/bin/ifup"];

/// Writes `interfaces` there.
pub(super) fn inject(
    editor: &mut Editor<'_>,
    request: &InjectRequest,
    interfaces: &[u8],
    notes: &mut Notes,
) -> Result<()> {
    let (dir, _) = editor.make_dirs(&GuestPath::parse("/etc/network")?, Wanted::default())?;
    if request.nova_compat {
        let root = nova::root_by_name(editor.tree())?;
        editor.set(&dir, Wanted::all(0o744, root))?;
    } else if !IFUP.iter().any(|path| GuestPath::parse(path).is_ok_and(|path| exists(editor.tree(), &path))) {
        notes.warn("the guest has no ifup program: nothing there seems to read /etc/network/interfaces".to_owned());
    }
    editor.replace(&dir.join("interfaces"), interfaces, Wanted::default())?;
    Ok(())
}
