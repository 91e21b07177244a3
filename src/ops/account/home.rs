//! A home directory for a new user, and a place for mail.

use super::files::Files;
use crate::account::group;
use crate::account::login_defs::useradd_default;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest_names;
use crate::tree::{FileKind, FileTree, Follow, GuestPath, Stat, Walk, find, read_all, resolve};

/// The most names in /etc/skel that are copied. A Debian has three.
const MAX_SKEL_NAMES: usize = 4096;
/// The longest file of /etc/skel that is copied, in bytes, and all of them together.
const MAX_SKEL_BYTES: u64 = 64 << 20;

/// Makes the home directory of a user that is there, if it is missing.
pub(crate) fn ensure_home(editor: &mut Editor<'_>, name: &[u8]) -> Result<()> {
    let files = Files::read(editor.tree())?;
    let user = guest_names::user(editor.tree(), name)?;
    make(editor, &files, &GuestPath::parse(&user.home)?, (user.uid, user.gid)).map(drop)
}

/// Makes `home` for `owner` with what is in /etc/skel; one that is there stays as it is. Says whether it was made.
pub(super) fn make(editor: &mut Editor<'_>, files: &Files, home: &GuestPath, owner: (u32, u32)) -> Result<bool> {
    let (Some(parent), Some(name)) = (home.parent(), home.name()) else { return Ok(false) };
    if find(editor.tree(), home)?.is_some() {
        return Ok(false);
    }
    let (parent, _) = editor.make_dirs(&parent, Wanted::all(0o755, (0, 0)))?;
    let home = parent.join(name);
    let skel = GuestPath::parse(useradd_default(&files.useradd, "SKEL").unwrap_or(b"/etc/skel"))?;
    let skel = resolve(editor.tree(), &skel, Follow::Last).map_or(skel, |found| found.path);
    let names = skeleton(editor.tree(), &skel)?;
    editor.make_dir(&home, |_| 0o700)?;
    for (from, stat) in &names {
        copy(editor, from, stat, &from.moved(&skel, &home), owner)?;
    }
    // The last thing: until then nobody else looks in.
    editor.set(&home, Wanted::all(mode(files), owner))?;
    Ok(true)
}

/// HOME_MODE, or what UMASK leaves of everything.
fn mode(files: &Files) -> u32 {
    let defs = files.login_defs();
    let mode = defs.number("HOME_MODE").filter(|mode| *mode <= 0o7777);
    mode.unwrap_or_else(|| 0o777 & !defs.number("UMASK").unwrap_or(0o022))
}

/// What is below `skel`, directories before what is in them; nothing where that is no directory.
fn skeleton(tree: &dyn FileTree, skel: &GuestPath) -> Result<Vec<(GuestPath, Stat)>> {
    let mut names = Vec::new();
    if !tree.stat(skel).is_ok_and(|stat| stat.kind == FileKind::Dir) {
        return Ok(names);
    }
    let limit = |what: &str| Err(Error::new(ErrorKind::Limit, what).at_path(skel.to_bytes()));
    let mut walk = Walk::new(skel.clone());
    let mut bytes = 0_u64;
    while let Some((path, stat)) = walk.next(tree)? {
        if path == *skel {
            continue;
        }
        bytes = bytes.saturating_add(if stat.kind == FileKind::File { stat.size } else { 0 });
        if names.len() == MAX_SKEL_NAMES {
            return limit("it holds more than 4096 names to copy");
        }
        if bytes > MAX_SKEL_BYTES {
            return limit("it holds more than 64 MiB to copy");
        }
        names.push((path, stat));
    }
    Ok(names)
}

fn copy(editor: &mut Editor<'_>, from: &GuestPath, stat: &Stat, to: &GuestPath, owner: (u32, u32)) -> Result<()> {
    match stat.kind {
        FileKind::Dir => editor.make_dir(to, |_| stat.mode)?,
        FileKind::File => {
            let contents = read_all(editor.tree(), from, MAX_SKEL_BYTES)?;
            editor.replace(to, &contents, Wanted::mode(stat.mode))?;
        }
        FileKind::Symlink => {
            let target = editor.tree().read_link(from)?;
            editor.symlink(to, &target)?;
        }
        kind => {
            let message = format!("a {} is not copied to a home directory", kind.noun());
            return Err(Error::new(ErrorKind::Refused, message).at_path(from.to_bytes()));
        }
    }
    for (name, value) in editor.tree().xattrs(from)? {
        // Labels and capabilities belong to the place, not to the contents.
        if !name.starts_with(b"security.") {
            editor.set_xattr(to, &name, Some(&value))?;
        }
    }
    let mode = (stat.kind != FileKind::Symlink).then_some(stat.mode);
    editor.set(to, Wanted { mode, uid: Some(owner.0), gid: Some(owner.1) })
}

/// Makes the file that mail is delivered to, where the guest's settings ask for one and its directory is there.
pub(super) fn make_mailbox(editor: &mut Editor<'_>, files: &Files, name: &[u8], owner: (u32, u32)) -> Result<()> {
    if !useradd_default(&files.useradd, "CREATE_MAIL_SPOOL").is_some_and(|value| value.eq_ignore_ascii_case(b"yes")) {
        return Ok(());
    }
    let dir = GuestPath::parse(files.login_defs().value("MAIL_DIR").unwrap_or(b"/var/mail"))?;
    let Some(dir) = find(editor.tree(), &dir)? else { return Ok(()) };
    if find(editor.tree(), &dir.path.join(name))?.is_some() {
        return Ok(());
    }
    // Delivery goes by the group, where there is one.
    let wanted = match group::find(&files.group, b"mail") {
        Some(mail) => Wanted::all(0o660, (owner.0, mail.gid)),
        None => Wanted::all(0o600, owner),
    };
    editor.replace(&dir.path.join(name), b"", wanted).map(drop)
}
