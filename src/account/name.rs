//! Names that accounts may have.

use super::Error;

/// The longest name: what utmp(5) holds.
pub const MAX_ACCOUNT_NAME: usize = 32;

/// Whether a new user or group may be called `name`: ASCII letters, digits, `_`, `.` and `-`, and a `$` at the end.
/// Not first `-`, not digits alone, which would be taken for a number, and not `.` or `..`, which would be its home.
pub fn check_name(name: &[u8]) -> Result<(), Error> {
    let refuse = |why| Err(Error::AccountName { name: name.to_vec(), why });
    let body = name.strip_suffix(b"$").unwrap_or(name);
    if body.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > MAX_ACCOUNT_NAME {
        return refuse("it is longer than 32 bytes");
    }
    if body == b"." || body == b".." {
        return refuse("it is a directory of every directory");
    }
    if name.iter().all(u8::is_ascii_digit) {
        return refuse("it would be taken for a number");
    }
    if body[0] == b'-' {
        return refuse("it begins with a dash");
    }
    if !body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')) {
        return refuse("only letters, digits, \"_\", \".\" and \"-\" are possible");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_useradd_takes() {
        for good in ["a", "alice", "_apt", "web-1", "Bob.Jones", "host$", "0x", &"a".repeat(32)] {
            assert_eq!(check_name(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in
            ["", "$", ".", "..", "-a", "123", "a:b", "a b", "a/b", "a\n", "é", "a$b", "+nis", "#a", &"a".repeat(33)]
        {
            assert!(matches!(check_name(bad.as_bytes()), Err(Error::AccountName { .. })), "{bad}");
        }
    }
}
