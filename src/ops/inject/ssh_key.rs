//! The item `key`: public keys into the authorized_keys of a user (K1, K2).

use super::public_key::{Entry, KeyLines};
use super::request::InjectRequest;
use super::{Notes, nova, selinux};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest_names::{self, User};
use crate::ops::selinux::{Labelling, has_policy};
use crate::tree::{FileKind, Follow, GuestPath, Stat, find, read_text, resolve};

/// What K2 writes before each key.
const NOVA_COMMENT: &[u8] = b"\n# The following ssh key was injected by Nova\n";

/// Adds the keys in `text`.
pub(super) fn inject(editor: &mut Editor<'_>, request: &InjectRequest, text: &[u8], notes: &mut Notes) -> Result<()> {
    if request.nova_compat {
        return inject_as_nova(editor, text);
    }
    inject_once(editor, &request.user, request.labelling, text, notes)
}

/// Adds the keys in `text` to those of the user `name`, as the item does; gives what may not be as wished.
pub(in crate::ops) fn add_keys(editor: &mut Editor<'_>, name: &[u8], text: &[u8]) -> Result<Vec<String>> {
    let mut notes = Notes::default();
    inject_once(editor, name, Labelling::Auto, text, &mut notes)?;
    notes.warnings.append(&mut notes.notes);
    Ok(notes.warnings)
}

/// K1 to K4 to the byte: always /root, always appended.
fn inject_as_nova(editor: &mut Editor<'_>, text: &[u8]) -> Result<()> {
    let ssh_dir = GuestPath::parse("/root/.ssh")?;
    let (ssh_dir, _) = editor.make_dirs(&ssh_dir, Wanted::default())?;
    let root = nova::root_by_name(editor.tree())?;
    editor.set(&ssh_dir, Wanted::all(0o700, root))?;
    let entry = [NOVA_COMMENT, nova::strip(text), b"\n"].concat();
    let keys = editor.append(&ssh_dir.join("authorized_keys"), &entry, Wanted::default())?;
    editor.set(&keys, Wanted::mode(0o600))?;
    selinux::restore_as_nova(editor)
}

/// Adds the keys that are not there yet, and makes sshd accept the file.
fn inject_once(
    editor: &mut Editor<'_>,
    name: &[u8],
    labelling: Labelling,
    text: &[u8],
    notes: &mut Notes,
) -> Result<()> {
    let keys = KeyLines::parse(text)?;
    for (number, line) in keys.iter().enumerate() {
        if Entry::parse(line).is_none() {
            notes.warn(format!("key {} does not look like an ssh public key: sshd may ignore it", number + 1));
        }
    }
    let user = user_or_root(editor, name, notes)?;
    let home = home_of(&user, name)?;
    let owner = (user.uid, user.gid);
    if find(editor.tree(), &home)?.is_none() {
        editor.make_dirs(&home.parent().unwrap_or_default(), Wanted::all(0o755, (0, 0)))?;
        notes.warn(format!("the guest had no {home}: it was created, without the files that useradd would copy"));
    }
    let (home_dir, _) = editor.make_dirs(&home, Wanted::all(0o700, owner))?;
    // Checked before anything is followed for writing: a user of the guest must not aim us at files of others.
    let ssh_dir = home_dir.join(".ssh");
    must_be_own(editor, &ssh_dir, &home_dir, &user)?;
    let (ssh_dir, _) = editor.make_dirs(&ssh_dir, Wanted::all(0o700, owner))?;
    editor.set(&ssh_dir, Wanted::all(0o700, owner))?;

    let file = ssh_dir.join("authorized_keys");
    must_be_own(editor, &file, &home_dir, &user)?;
    let present = read_text(editor.tree(), &file)?.unwrap_or_default();
    let addition = missing_lines(&present, &keys, notes);
    let file = editor.append(&file, &addition, Wanted::all(0o600, owner))?;
    editor.set(&file, Wanted::all(0o600, owner))?;
    // With a policy that can be read, all new files get their contexts in the end.
    if labelling == Labelling::None || has_policy(editor.tree())? {
        return Ok(());
    }
    selinux::restore(editor, &home.join(".ssh"), notes)
}

/// The user in the guest's passwd. Root is known without: some guests make their passwd at the first boot (V5).
fn user_or_root(editor: &Editor<'_>, name: &[u8], notes: &mut Notes) -> Result<User> {
    match guest_names::user(editor.tree(), name) {
        Err(error) if error.kind() == ErrorKind::NotFound && name == b"root" => {
            notes.warn(format!("{error}: taken as 0:0 with home /root"));
            Ok(User { uid: 0, gid: 0, home: b"/root".to_vec() })
        }
        found => found,
    }
}

fn home_of(user: &User, name: &[u8]) -> Result<GuestPath> {
    let refuse = |why: &str| {
        let home = user.home.escape_ascii();
        Error::new(ErrorKind::Refused, format!("user {} has {why} home directory: \"{home}\"", name.escape_ascii()))
    };
    if !user.home.starts_with(b"/") {
        return Err(refuse("no absolute"));
    }
    // What Debian gives to users that must have none.
    if user.home.starts_with(b"/nonexistent") {
        return Err(refuse("no"));
    }
    GuestPath::parse(&user.home).map_err(|error| refuse("an invalid").caused_by(error))
}

/// Refuses a `path` that leads out of the home of an ordinary user, or to a file of somebody else: who plants such a
/// link or name would be given the file. Root could change any file as it is.
fn must_be_own(editor: &Editor<'_>, path: &GuestPath, home: &GuestPath, user: &User) -> Result<()> {
    if user.uid == 0 {
        return Ok(());
    }
    let found = resolve(editor.tree(), path, Follow::Last)?;
    let is_below = found.path != *home
        && found.path.components().len() >= home.components().len()
        && found.path.components().zip(home.components()).all(|(a, b)| a == b);
    let message = if !is_below {
        format!("it leads to {}, outside of the user's home", found.path)
    } else if let Some(stat) = found.stat.filter(|stat| stat.uid != user.uid && stat.uid != 0 || is_shared(stat, user))
    {
        format!("it belongs to uid {}, not to the user", stat.uid)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Refused, message).at_path(path.to_bytes()))
}

/// Whether a file of root has other names, which may be where it really belongs.
fn is_shared(stat: &Stat, user: &User) -> bool {
    stat.uid != user.uid && stat.kind != FileKind::Dir && stat.links > 1
}

/// The lines of `keys` that `present` lacks, beginning on a line of their own. One pass over `present`, which the guest
/// made as long as it liked.
fn missing_lines(present: &[u8], keys: &KeyLines, notes: &mut Notes) -> Vec<u8> {
    let mut wanted: Vec<Wish<'_>> = Vec::new();
    for line in keys.iter() {
        let wish = Wish { line, entry: Entry::parse(line), is_there: false };
        if !wanted.iter().any(|other| other.is_met_by(line, wish.entry.as_ref())) {
            wanted.push(wish);
        }
    }
    for line in present.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let entry = Entry::parse(line);
        for wish in wanted.iter_mut().filter(|wish| !wish.is_there && wish.is_met_by(line, entry.as_ref())) {
            wish.is_there = true;
            let options = |entry: Option<&Entry<'_>>| entry.map_or(Vec::new(), |entry| entry.options.to_vec());
            let present = options(entry.as_ref());
            if present != options(wish.entry.as_ref()) {
                let present = present.escape_ascii();
                notes.warn(format!("the key is there already with other options, which stay: \"{present}\""));
            }
        }
    }
    let mut addition = Vec::new();
    for wish in wanted.iter().filter(|wish| !wish.is_there) {
        if addition.is_empty() && !present.is_empty() && !present.ends_with(b"\n") {
            addition.push(b'\n');
        }
        addition.extend_from_slice(wish.line);
        addition.push(b'\n');
    }
    addition
}

/// A line that the file must have.
struct Wish<'a> {
    line: &'a [u8],
    entry: Option<Entry<'a>>,
    is_there: bool,
}

impl Wish<'_> {
    /// Whether `line`, or the key in it, is the one.
    fn is_met_by(&self, line: &[u8], entry: Option<&Entry<'_>>) -> bool {
        match (&self.entry, entry) {
            (Some(key), Some(entry)) => key.is_same_key(entry),
            _ => self.line == line,
        }
    }
}
