//! Whole trees, as restorecon(8) does them.

use super::{Policy, XATTR, config};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{FileTree, Follow, GuestPath, MAX_TEXT, Walk, existing, find, read_all};
use std::collections::HashSet;

/// What to relabel.
#[derive(Debug, Clone, Default)]
pub struct Relabel {
    /// Where to begin; links are followed here and nowhere below.
    pub paths: Vec<GuestPath>,
    /// What to leave out, with all that is below.
    pub exclude: Vec<GuestPath>,
    /// How.
    pub options: RelabelOptions,
}

/// How to relabel.
#[derive(Debug, Clone, Copy, Default)]
pub struct RelabelOptions {
    /// Whether the whole context is set. Otherwise a file that has one gets another type only, and keeps a type that is
    /// among the policy's customizable ones.
    pub force: bool,
}

/// What relabelling came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relabelled {
    /// Files looked at.
    pub files: u64,
    /// Files with another context now.
    pub changed: u64,
    /// Files without a context that the policy has none for, either.
    pub bare: u64,
}

/// Gives files the contexts that the guest's policy has for them. [`Unsupported`](ErrorKind::Unsupported) for a guest
/// that does not use SELinux or has no policy with file_contexts.
pub fn relabel(editor: &mut Editor<'_>, request: &Relabel) -> Result<(Relabelled, Vec<String>)> {
    let Some(mut policy) = Policy::of_guest(editor.tree())? else {
        let message = "the guest has no SELinux policy: /etc/selinux/config is missing or says disabled, or the policy \
                       that it names has no file_contexts";
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let customizable = customizable_types(editor.tree())?;
    let mut exclude = HashSet::new();
    for path in &request.exclude {
        exclude.insert(existing(editor.tree(), path, Follow::Last)?.0);
    }
    let mut done = Relabelled::default();
    for path in &request.paths {
        let (top, _) = existing(editor.tree(), path, Follow::Last)?;
        let mut walk = Walk::new(top);
        while let Some((path, stat)) = walk.next(editor.tree())? {
            if exclude.iter().any(|left_out| path == *left_out || path.is_below(left_out)) {
                continue;
            }
            done.files += 1;
            let present = editor.tree().xattrs(&path)?.into_iter().find(|(name, _)| name == XATTR);
            let present = present.map(|(_, context)| context);
            let Some(wanted) = policy.lookup(&path, stat.kind)? else {
                done.bare += u64::from(present.is_none());
                continue;
            };
            if let Some(context) = becomes(present.as_deref(), wanted, request.options.force, &customizable) {
                match editor.set_context(&path, &context) {
                    // A filesystem without attributes gets its context when it is mounted.
                    Err(error) if error.kind() == ErrorKind::Unsupported => {}
                    set => {
                        set?;
                        done.changed += 1;
                    }
                }
            }
        }
    }
    let mut notes = policy.notes();
    if find(editor.tree(), &GuestPath::parse("/.autorelabel")?)?.is_some() {
        notes.push("/.autorelabel is there: the guest relabels itself once more at its next boot".to_owned());
    }
    Ok((done, notes))
}

/// The types that users give files themselves, and that are left to them.
fn customizable_types(tree: &dyn FileTree) -> Result<HashSet<Vec<u8>>> {
    let Some(contexts) = config::contexts_dir(tree)? else { return Ok(HashSet::new()) };
    let path = contexts.join("customizable_types");
    if find(tree, &path)?.is_none() {
        return Ok(HashSet::new());
    }
    let text = read_all(tree, &path, MAX_TEXT)?;
    Ok(text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()).collect())
}

/// The context that replaces the present one, with the NUL byte that the kernel keeps; none when it stays.
fn becomes(present: Option<&[u8]>, wanted: &str, force: bool, customizable: &HashSet<Vec<u8>>) -> Option<Vec<u8>> {
    let with_end = |context: &[u8]| [context, b"\0"].concat();
    let wanted = wanted.as_bytes();
    let Some(present) = present.map(|context| context.strip_suffix(b"\0").unwrap_or(context)) else {
        return Some(with_end(wanted));
    };
    if present == wanted {
        return None;
    }
    let type_of = |context: &[u8]| context.split(|byte| *byte == b':').nth(2).map(<[u8]>::to_vec);
    let (Some(old), Some(new), false) = (type_of(present), type_of(wanted), force) else {
        return Some(with_end(wanted));
    };
    if old == new || customizable.contains(&old) {
        return None;
    }
    let mut fields: Vec<&[u8]> = present.splitn(4, |byte| *byte == b':').collect();
    fields[2] = &new;
    Some(with_end(&fields.join(&b':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_changes_unless_forced() {
        let customizable = HashSet::from([b"public_content_t".to_vec()]);
        let wanted = "system_u:object_r:etc_t:s0";
        let after = |present: Option<&str>, force| {
            let context = becomes(present.map(str::as_bytes), wanted, force, &customizable)?;
            Some(String::from_utf8(context).unwrap())
        };
        let whole = Some(format!("{wanted}\0"));
        assert_eq!(after(None, false), whole);
        assert_eq!(after(Some("system_u:object_r:etc_t:s0\0"), true), None);
        assert_eq!(after(Some("u:object_r:etc_t:s0"), false), None);
        assert_eq!(after(Some("u:object_r:etc_t:s0"), true), whole);
        assert_eq!(after(Some("u:r:tmp_t:s0:c1,c2\0"), false).unwrap(), "u:r:etc_t:s0:c1,c2\0");
        assert_eq!(after(Some("u:r:public_content_t:s0\0"), false), None);
        assert_eq!(after(Some("u:r:public_content_t:s0\0"), true), whole);
        assert_eq!(after(Some("garbage"), false), whole);
    }
}
