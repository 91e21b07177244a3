//! The shadow file, shadow(5): changing the password field of one user and nothing else.

use super::lines::{fields, lines, split_break};
use super::{Error, Secret};

/// Longest password field accepted; crypt(3) makes at most 383 characters.
pub const MAX_FIELD: usize = 512;

const FILE: &str = "shadow file";

/// What becomes of the password field.
#[derive(Debug)]
pub enum Change<'a> {
    /// Replaced by this hash.
    Hash(&'a Secret),
    /// Kept behind a `!`, so that no password matches and unlocking brings it back; a locked one stays as it is.
    Lock,
    /// Replaced by `*`: no password matches. Keys still do.
    Disable,
}

/// Makes `change` in every line of `user`. With `last_change`, in days since 1970, the third field says so too.
/// Every other field, line and line break stays as it is.
///
/// # Errors
///
/// No line of that user; a name or a hash that would break the line.
pub fn change(text: &[u8], user: &[u8], change: &Change<'_>, last_change: Option<u32>) -> Result<Vec<u8>, Error> {
    if user.is_empty() || user.iter().any(|byte| matches!(byte, b':' | b'\n' | b'\r' | 0)) {
        return Err(Error::UserName { user: user.to_vec(), file: FILE });
    }
    if let Change::Hash(hash) = change {
        let hash = hash.expose();
        if hash.len() > MAX_FIELD || hash.iter().any(|byte| *byte == b':' || byte.is_ascii_control()) {
            return Err(Error::PasswordField { limit: MAX_FIELD });
        }
    }
    let mut found = false;
    let mut out = Vec::with_capacity(text.len() + MAX_FIELD);
    for line in lines(text) {
        let (body, line_break) = split_break(line);
        let mut fields = fields(body);
        if fields.len() < 2 || fields[0] != user {
            out.extend_from_slice(line);
            continue;
        }
        found = true;
        let password = new_field(change, fields[1]);
        fields[1] = &password;
        let days = last_change.map(|days| days.to_string());
        match (&days, fields.get_mut(2)) {
            (Some(days), Some(field)) => *field = days.as_bytes(),
            (Some(days), None) => fields.push(days.as_bytes()),
            (None, _) => {}
        }
        out.extend_from_slice(&fields.join(&b':'));
        out.extend_from_slice(line_break);
    }
    if found { Ok(out) } else { Err(Error::UserNotFound { user: user.to_vec(), file: FILE }) }
}

/// The password field of the first line of `user`.
pub fn password<'t>(text: &'t [u8], user: &[u8]) -> Option<&'t [u8]> {
    let mut entries = lines(text).map(|line| fields(split_break(line).0));
    entries.find(|fields| fields[0] == user).and_then(|fields| fields.get(1).copied())
}

fn new_field(change: &Change<'_>, old: &[u8]) -> Vec<u8> {
    match change {
        Change::Hash(hash) => hash.expose().to_vec(),
        Change::Lock if old.starts_with(b"!") => old.to_vec(),
        Change::Lock => [b"!", old].concat(),
        Change::Disable => b"*".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &[u8], user: &str, hash: &str, days: Option<u32>) -> Result<Vec<u8>, Error> {
        change(text, user.as_bytes(), &Change::Hash(&Secret::new(hash)), days)
    }

    /// Case A1: every line of the user, every other field and the end of the file kept.
    #[test]
    fn a1_every_line_of_the_user_and_nothing_else() {
        let text = b"root:$1$12345678$a4ge4d5iJ5vwvbFS88TEN0:14917:0:99999:7:::\nbin:*:14495:0:99999:7:::\n\
            root:!:1::::::x:y\nroots:a:1\n#root:b:2\n root:c:3\nroot\n\n\xff\xfe:z\nroot:old";
        let wanted = b"root:NEW:14917:0:99999:7:::\nbin:*:14495:0:99999:7:::\n\
            root:NEW:1::::::x:y\nroots:a:1\n#root:b:2\n root:c:3\nroot\n\n\xff\xfe:z\nroot:NEW";
        assert_eq!(set(text, "root", "NEW", None).unwrap(), wanted);
    }

    #[test]
    fn the_first_line_tells_the_password() {
        let text = b"#u:no\nuu:no\nu:yes:1\r\nu:second\nlast";
        assert_eq!(password(text, b"u"), Some(&b"yes"[..]));
        assert_eq!((password(text, b"last"), password(text, b"none")), (None, None));
    }

    #[test]
    fn line_breaks_are_kept() {
        assert_eq!(set(b"root:a\r\nb:c\r\n", "root", "N", None).unwrap(), b"root:N\r\nb:c\r\n");
        assert_eq!(set(b"root:a:1\r\n", "root", "N", Some(2)).unwrap(), b"root:N:2\r\n");
        assert_eq!(set(b"root:a\r", "root", "N", Some(2)).unwrap(), b"root:N:2");
    }

    #[test]
    fn the_last_change_is_set_only_when_asked() {
        assert_eq!(set(b"u:a:14917:0::::\n", "u", "N", Some(20_000)).unwrap(), b"u:N:20000:0::::\n");
        assert_eq!(set(b"u:a\n", "u", "N", Some(20_000)).unwrap(), b"u:N:20000\n");
        assert_eq!(set(b"u:a::0\n", "u", "N", Some(0)).unwrap(), b"u:N:0:0\n");
    }

    #[test]
    fn lock_and_disable() {
        let lock = |text: &[u8]| change(text, b"u", &Change::Lock, None).unwrap();
        assert_eq!(lock(b"u:$6$a$b:1\n"), b"u:!$6$a$b:1\n");
        assert_eq!(lock(&lock(b"u:$6$a$b:1\n")), b"u:!$6$a$b:1\n");
        assert_eq!(lock(b"u::1\n"), b"u:!:1\n");
        assert_eq!(change(b"u:h:1\n", b"u", &Change::Disable, None).unwrap(), b"u:*:1\n");
    }

    #[test]
    fn errors_name_the_user_and_never_the_hash() {
        let error = set(b"bin:*:1\nroot\n", "root", "SECRET", None).unwrap_err();
        assert_eq!(error.to_string(), "user root not found in the shadow file");
        for hash in ["SEC:RET", "SEC\nRET", "SEC\0RET", &"SECRET".repeat(100)] {
            let error = set(b"root:a", "root", hash, None).unwrap_err();
            assert_eq!(error, Error::PasswordField { limit: MAX_FIELD });
            assert!(!format!("{error} {error:?}").contains("RET"));
        }
        for user in ["", "a:b", "root\n", "a\r"] {
            assert!(matches!(set(b"root:a\na:b\n:c", user, "h", None), Err(Error::UserName { .. })), "{user:?}");
        }
        assert_eq!(format!("{:?}", Change::Hash(&Secret::new("h"))), "Hash(<SANITIZED>)");
    }

    proptest! {
        /// Arbitrary bytes around the user's lines come out as they went in.
        #[test]
        fn other_lines_stay_byte_for_byte(
            mut before in prop::collection::vec(any::<u8>(), 0..40),
            rest in "[a-z0-9:!*]{0,20}",
            after in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            before.push(b'\n');
            prop_assume!(!lines(&before).chain(lines(&after)).any(|line| line.starts_with(b"user:")));
            let line = |field: &str| [b"user:", field.as_bytes(), b":", rest.as_bytes(), b"\n"].concat();
            let text = [&before[..], &line("old"), &after].concat();
            let wanted = [&before[..], &line("new"), &after].concat();
            prop_assert_eq!(set(&text, "user", "new", None).unwrap(), wanted);
        }

        /// Only the second field differs, whatever the text; doing it twice is doing it once.
        #[test]
        fn nothing_else_differs(text in prop::collection::vec(prop::sample::select(b"ur:!x\r\n\xff".to_vec()), 0..60)) {
            if let Ok(out) = set(&text, "u", "new", None) {
                prop_assert_eq!(lines(&text).count(), lines(&out).count());
                for (old, new) in lines(&text).zip(lines(&out)) {
                    if let Some(tail) = old.strip_prefix(b"u:") {
                        let field = tail.iter().position(|b| matches!(b, b':' | b'\n')).unwrap_or(tail.len());
                        let field = if tail[..field].ends_with(b"\r") && tail[field..].starts_with(b"\n") { field - 1 } else { field };
                        prop_assert_eq!(new, [b"u:new", &tail[field..]].concat());
                    } else {
                        prop_assert_eq!(old, new);
                    }
                }
                prop_assert_eq!(set(&out, "u", "new", None).unwrap(), out);
            } else {
                prop_assert!(!lines(&text).any(|line| line.starts_with(b"u:")));
            }
        }
    }
}
