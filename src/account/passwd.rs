//! The password file, passwd(5): who has which number and which home directory.

use super::Error;
use super::lines::{check_value, fields, is_name, lines, number, split_break};

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Vec<u8>,
    /// User number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Home directory, as it stands there; may be empty.
    pub home: Vec<u8>,
    /// Login shell; empty means /bin/sh.
    pub shell: Vec<u8>,
    /// Whether the password is in the shadow file: the field is `x`.
    pub shadowed: bool,
}

/// The accounts in `text`, in order. Lines that describe none are passed over, as the C library does.
pub fn users(text: &[u8]) -> impl Iterator<Item = User> {
    lines(text).filter_map(|line| {
        let fields = fields(split_break(line).0);
        let [name, password, uid, gid, _comment, home, rest @ ..] = &fields[..] else { return None };
        if !is_name(name) {
            return None;
        }
        Some(User {
            name: name.to_vec(),
            uid: number(uid)?,
            gid: number(gid)?,
            home: home.to_vec(),
            shell: rest.first().map(|shell| shell.to_vec()).unwrap_or_default(),
            shadowed: *password == b"x",
        })
    })
}

/// The first account of that name.
pub fn find(text: &[u8], name: &[u8]) -> Option<User> {
    users(text).find(|user| user.name == name)
}

/// A field of the password file that may change without the account becoming another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The password, `x` where it is in the shadow file.
    Password = 1,
    /// Real name and the like.
    Comment = 4,
    /// Home directory.
    Home = 5,
    /// Login shell.
    Shell = 6,
}

/// The field of the first line of `user` that describes an account.
pub fn field<'t>(text: &'t [u8], user: &[u8], field: Field) -> Option<&'t [u8]> {
    let line = lines(text).find(|line| users(line).any(|found| found.name == user))?;
    fields(split_break(line).0).get(field as usize).copied()
}

/// `text` with another value in that field of the first line of `user` that describes an account.
///
/// # Errors
///
/// No such line; a value that would break it.
pub fn set_field(text: &[u8], user: &[u8], field: Field, value: &[u8]) -> Result<Vec<u8>, Error> {
    check_value(value)?;
    let mut out = Vec::with_capacity(text.len() + value.len());
    let mut found = false;
    for line in lines(text) {
        if found || !users(line).any(|found| found.name == user) {
            out.extend_from_slice(line);
            continue;
        }
        found = true;
        let (body, line_break) = split_break(line);
        let mut fields = fields(body);
        fields.resize(fields.len().max(Field::Shell as usize + 1), b"");
        fields[field as usize] = value;
        out.extend_from_slice(&fields.join(&b':'));
        out.extend_from_slice(line_break);
    }
    if found { Ok(out) } else { Err(Error::UserNotFound { user: user.to_vec(), file: "password file" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_of_one_line_changes() {
        assert_eq!(field(TEXT, b"root", Field::Comment), Some(&b"root"[..]));
        assert_eq!(field(TEXT, b"nobody", Field::Comment), None);
        let changed = set_field(TEXT, b"root", Field::Shell, b"/bin/zsh").unwrap();
        let wanted = String::from_utf8_lossy(TEXT).replace("root:/root:/bin/bash\r\n", "root:/root:/bin/zsh\r\n");
        assert_eq!(String::from_utf8_lossy(&changed), wanted);
        assert_eq!(set_field(b"u:x:1:1::/h\n", b"u", Field::Comment, b"c").unwrap(), b"u:x:1:1:c:/h:\n");
        assert!(matches!(set_field(TEXT, b"huge", Field::Home, b"/"), Err(Error::UserNotFound { .. })));
        assert!(matches!(set_field(TEXT, b"root", Field::Home, b"/a:b"), Err(Error::Field { .. })));
        let error = set_field(TEXT, b"root", Field::Comment, "é:\x1b".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(r#""é:\u{1b}" cannot be"#), "{error}");
    }

    const TEXT: &[u8] = b"# comment:x:1:1::/:\n\nbroken\nroot:x:zero:0:root:/wrong:/bin/sh\n\
        root:x:0:0:root:/root:/bin/bash\r\nr\xf6t:x:1000:1001:a, b:/home/r\xf6t:/bin/zsh\nroot:x:7:7::/seven:\n\
        +nis:x:9:9::/:\nshort:x:1:1::/home/short\nplain:$1$a$b:5:5::/home/plain:\nhuge:x:4294967295:0::/:\nlast:x:8:8::/l:/s";

    #[test]
    fn the_first_sound_line_counts() {
        let root = find(TEXT, b"root").unwrap();
        assert_eq!((root.uid, root.gid, &root.home[..], &root.shell[..]), (0, 0, &b"/root"[..], &b"/bin/bash"[..]));
        assert!(root.shadowed && !find(TEXT, b"plain").unwrap().shadowed);
        assert_eq!(find(TEXT, b"r\xf6t").unwrap().gid, 1001);
        assert_eq!(find(TEXT, b"short").unwrap().shell, b"");
        assert_eq!(find(TEXT, b"last").unwrap().shell, b"/s");
        for missing in [&b"# comment"[..], b"broken", b"+nis", b"huge", b"", b"ROOT", b"roo"] {
            assert_eq!(find(TEXT, missing), None);
        }
        assert_eq!(users(TEXT).count(), 6);
    }

    #[test]
    fn numbers_are_plain_decimal() {
        for (text, wanted) in [("0", Some(0)), ("4294967294", Some(4_294_967_294)), ("+1", None), ("-1", None)] {
            let line = format!("u:x:{text}:0::/:");
            assert_eq!(find(line.as_bytes(), b"u").map(|user| user.uid), wanted);
        }
        assert_eq!(find(b"u:x:4294967296:0::/:", b"u"), None);
        assert_eq!(find(b"u:x: 1:0::/:", b"u"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_text(text in proptest::collection::vec(proptest::sample::select(b"a:0x\r\n#\xff".to_vec()), 0..80)) {
            for user in users(&text) {
                proptest::prop_assert!(find(&text, &user.name).is_some());
            }
            for group in super::super::group::groups(&text) {
                proptest::prop_assert!(super::super::group::find(&text, &group.name).is_some());
            }
        }
    }
}
