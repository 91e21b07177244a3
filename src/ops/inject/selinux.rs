//! Contexts of injected keys on SELinux guests whose policy cannot be read, and with `nova_compat`: a restorecon in
//! rc.local, run at every boot (K3 to K5).
//!
//! Such keys have no context, and sshd may not read them before they get one. What runs rc.local differs:
//! on systemd it is rc-local.service, which a generator pulls in when the script is executable, and which names the
//! script in its own text; other inits run /etc/rc.d/rc.local or /etc/rc.local.

use super::{Notes, rc_local};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest::{self, Init};
use crate::ops::selinux::is_enabled;
use crate::tree::{FileKind, FileTree, Follow, GuestPath, MAX_TEXT, exists, find, read_all, read_text, resolve};

/// Where systemd looks for units, the first that has one wins; /run is empty in an image.
const UNIT_DIRS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Where systemd looks for generators.
const GENERATORS: [&str; 4] = [
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
];

/// The link that enables the service without a generator.
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// K3 and K4 to the byte, the faults of K5 included.
pub(super) fn restore_as_nova(editor: &mut Editor<'_>) -> Result<()> {
    let tree = editor.tree();
    if !exists(tree, &GuestPath::parse("/etc/selinux")?) {
        return Ok(());
    }
    let mut script = GuestPath::parse("/etc/rc.local")?;
    let rc_d = GuestPath::parse("/etc/rc.d")?;
    if !exists(tree, &script) && exists(tree, &rc_d) {
        script = rc_d.join("rc.local");
    }
    let first = if exists(tree, &script) { "" } else { "#!/bin/sh" };
    let lines = format!(
        "{first}\n# Added by Nova to ensure injected ssh keys have the right context\n\
         restorecon -RF root/.ssh 2>/dev/null || :\n"
    );
    let place = editor.append(&script, lines.as_bytes(), Wanted::default())?;
    editor.set(&place, Wanted::mode(0o700))
}

/// Makes an SELinux guest restore the contexts below `dir` at boot; does nothing in another guest.
pub(super) fn restore(editor: &mut Editor<'_>, dir: &GuestPath, notes: &mut Notes) -> Result<()> {
    if !is_enabled(editor.tree())? {
        return Ok(());
    }
    let is_systemd = guest::init(editor.tree()) == Some(Init::Systemd);
    let unit = if is_systemd { find_unit(editor.tree())? } else { None };
    let script = match unit.as_ref().and_then(|unit| unit.script.clone()) {
        Some(script) => script,
        None => usual_script(editor.tree())?,
    };
    add_line(editor, &script, dir, notes)?;
    if is_systemd {
        enable(editor, unit, &script, notes)?;
    } else {
        let init = "the guest does not run systemd: its own init must be set to run";
        notes.warn(format!("{init} {script}, which restores the SELinux contexts of the keys"));
    }
    Ok(())
}

/// The script that inits other than systemd run, and that systemd's units name unless built otherwise.
fn usual_script(tree: &dyn FileTree) -> Result<GuestPath> {
    let script = GuestPath::parse("/etc/rc.local")?;
    let rc_d = GuestPath::parse("/etc/rc.d")?;
    Ok(if !exists(tree, &script) && exists(tree, &rc_d) { rc_d.join("rc.local") } else { script })
}

fn add_line(editor: &mut Editor<'_>, script: &GuestPath, dir: &GuestPath, notes: &mut Notes) -> Result<()> {
    editor.make_dirs(&script.parent().unwrap_or_default(), Wanted::default())?;
    let line = [b"restorecon -RF ", quoted(dir).as_slice(), b" 2>/dev/null || :"].concat();
    let found = resolve(editor.tree(), script, Follow::Last)?;
    let before = match found.stat {
        Some(_) => read_all(editor.tree(), script, MAX_TEXT)?,
        None => Vec::new(),
    };
    let comment = "Added by nomount: gives injected ssh keys their SELinux context";
    let after = rc_local::with_line(&before, comment, &line).map_err(|error| error.at_path(script.to_bytes()))?;
    if let Some(after) = after {
        editor.replace(script, &after, Wanted::mode(0o755))?;
    }
    let Some(stat) = found.stat else { return Ok(()) };
    // Who may read it may run it: 0644 becomes 0755, 0600 becomes 0700.
    let executable = stat.mode | (stat.mode & 0o444) >> 2;
    if stat.mode & 0o111 == 0 && !before.is_empty() {
        notes.warn(format!("{script} was not executable and is now: what else is in it runs at boot, too"));
    }
    if !before.is_empty() && !before.starts_with(b"#!") {
        notes.warn(format!("{script} does not begin with #! and an interpreter: systemd cannot run it"));
    }
    editor.set(&found.path, Wanted::mode(executable))
}

/// A path as one word of a shell.
fn quoted(path: &GuestPath) -> Vec<u8> {
    let bytes = path.to_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,".contains(byte);
    if bytes.iter().all(is_plain) {
        return bytes;
    }
    let mut out = b"'".to_vec();
    for byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(byte),
        }
    }
    out.push(b'\'');
    out
}

/// rc-local.service of a systemd guest.
#[derive(Debug)]
struct Unit {
    path: GuestPath,
    is_masked: bool,
    /// The script that its text names.
    script: Option<GuestPath>,
}

fn find_unit(tree: &dyn FileTree) -> Result<Option<Unit>> {
    for dir in UNIT_DIRS {
        let path = GuestPath::parse(dir)?.join("rc-local.service");
        let found = match resolve(tree, &path, Follow::NotLast) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            found => found?,
        };
        let Some(stat) = found.stat else { continue };
        // Masked is a link to /dev/null, which no image has, or an empty file.
        let to_null = stat.kind == FileKind::Symlink && tree.read_link(&found.path)? == b"/dev/null";
        if to_null || stat.kind == FileKind::File && stat.size == 0 {
            return Ok(Some(Unit { path, is_masked: true, script: None }));
        }
        if let Some(text) = read_text(tree, &path)? {
            return Ok(Some(Unit { path, is_masked: false, script: script_of(&text) }));
        }
    }
    Ok(None)
}

/// The script that the unit starts only if it is executable, or else the one it starts.
fn script_of(unit: &[u8]) -> Option<GuestPath> {
    let value = |key: &[u8]| {
        let mut lines = unit.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let value = lines.find_map(|line| line.strip_prefix(key))?;
        let word = value.trim_ascii().split(u8::is_ascii_whitespace).next()?;
        let prefix = word.iter().take_while(|byte| b"|!-@:+".contains(byte)).count();
        let path = &word[prefix..];
        if path.starts_with(b"/") { GuestPath::parse(path).ok().filter(|path| !path.is_root()) } else { None }
    };
    value(b"ConditionFileIsExecutable=").or_else(|| value(b"ExecStart="))
}

/// Makes systemd run the script, unless it does already.
fn enable(editor: &mut Editor<'_>, unit: Option<Unit>, script: &GuestPath, notes: &mut Notes) -> Result<()> {
    let restores = "which restores the SELinux contexts of the keys";
    if unit.as_ref().is_some_and(|unit| unit.is_masked) {
        notes.warn(format!("rc-local.service is masked: {script}, {restores}, will not run until it is unmasked"));
        return Ok(());
    }
    let link = GuestPath::parse(WANTS)?.join("rc-local.service");
    let is_linked = resolve(editor.tree(), &link, Follow::NotLast).is_ok_and(|found| found.stat.is_some());
    let has_generator = GENERATORS.iter().any(|dir| {
        GuestPath::parse(dir).is_ok_and(|dir| exists(editor.tree(), &dir.join("systemd-rc-local-generator")))
    });
    if unit.is_none() || !is_linked && !has_generator {
        let target = match unit {
            Some(unit) => unit.path,
            None => create_unit(editor, script)?,
        };
        if !is_linked {
            let (wants, _) = editor.make_dirs(&GuestPath::parse(WANTS)?, Wanted::default())?;
            editor.symlink(&wants.join("rc-local.service"), &target.to_bytes())?;
        }
        notes.note(format!("rc-local.service was enabled, as nothing ran {script} at boot"));
    }
    notes.note(format!("rc-local.service runs {script} at boot, {restores}"));
    Ok(())
}

/// Writes the unit that this guest lacks; systemd has begun to leave it out.
fn create_unit(editor: &mut Editor<'_>, script: &GuestPath) -> Result<GuestPath> {
    let path = GuestPath::parse("/etc/systemd/system/rc-local.service")?;
    if find(editor.tree(), &path)?.is_some() {
        return Err(Error::new(ErrorKind::Refused, "not a unit that can be read").at_path(path.to_bytes()));
    }
    let text = format!(
        "[Unit]\nDescription=Run {script}\nConditionFileIsExecutable={script}\n\n\
         [Service]\nType=oneshot\nExecStart={script} start\nRemainAfterExit=yes\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    editor.make_dirs(&GuestPath::parse("/etc/systemd/system")?, Wanted::default())?;
    editor.replace(&path, text.as_bytes(), Wanted::mode(0o644))?;
    Ok(path)
}
