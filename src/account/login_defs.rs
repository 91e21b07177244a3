//! Settings for new accounts: login.defs(5), and `/etc/default/useradd`, useradd(8).

use super::lines::{lines, split_break};

/// The first number of a user or a group of people where `UID_MIN`, `GID_MIN` do not say, login.defs(5).
pub const ID_MIN: u32 = 1000;
/// The last one where `UID_MAX`, `GID_MAX` do not say.
pub const ID_MAX: u32 = 60_000;

/// The text of login.defs: a name and a value a line.
#[derive(Debug, Clone, Copy)]
pub struct LoginDefs<'t>(pub &'t [u8]);

impl<'t> LoginDefs<'t> {
    /// The value of `name`; the last one if there are several, without quotation marks around it.
    pub fn value(&self, name: &str) -> Option<&'t [u8]> {
        let value = |line: &'t [u8]| {
            let line = split_break(line).0.trim_ascii();
            let rest =
                line.strip_prefix(name.as_bytes()).filter(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"))?;
            let rest = rest.trim_ascii_start();
            let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
            rest.split(|byte| *byte == b'"').next()
        };
        lines(self.0).filter_map(value).last()
    }

    /// A number: decimal, octal after `0`, hexadecimal after `0x`. What is none counts as absent.
    pub fn number(&self, name: &str) -> Option<u32> {
        let text = std::str::from_utf8(self.value(name)?).ok()?;
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
            None => (text, 10),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        u32::from_str_radix(digits, radix).ok().filter(|_| plain)
    }

    /// Whether it is `yes`; absent is `otherwise`.
    pub fn flag(&self, name: &str, otherwise: bool) -> bool {
        self.value(name).map_or(otherwise, |value| value.eq_ignore_ascii_case(b"yes"))
    }
}

/// The value of `name` in the text of /etc/default/useradd, `NAME=VALUE` a line; none when it is empty.
pub fn useradd_default<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    let value = |line: &'t [u8]| split_break(line).0.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    lines(text).filter_map(value).last().map(<[u8]>::trim_ascii_end).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_a_line() {
        let defs = LoginDefs(
            b"# UID_MIN 5\nUID_MIN\t\t 1000  \nUID_MIN 2000\r\n  GID_MIN 7\nUMASK 022\nHEX 0x10\nUID_MINX 3\nBAD 1o\n\
            MINUS -1\nCREATE_HOME YES\nMAIL_DIR \"/var/mail\" # x\nEMPTY\n\xff\xfe",
        );
        for (name, wanted) in [
            ("UID_MIN", Some(2000)),
            ("GID_MIN", Some(7)),
            ("UMASK", Some(0o22)),
            ("HEX", Some(16)),
            ("BAD", None),
            ("MINUS", None),
            ("EMPTY", None),
            ("NONE", None),
        ] {
            assert_eq!(defs.number(name), wanted, "{name}");
        }
        assert!(defs.flag("CREATE_HOME", false) && !defs.flag("UMASK", true) && defs.flag("NONE", true));
        assert_eq!(defs.value("MAIL_DIR"), Some(&b"/var/mail"[..]));
        let text = b"# SHELL=/x\nSHELL=/bin/bash\nGROUP=\nHOME=/home \n";
        assert_eq!(useradd_default(text, "SHELL"), Some(&b"/bin/bash"[..]));
        assert_eq!(useradd_default(text, "HOME"), Some(&b"/home"[..]));
        assert_eq!(useradd_default(text, "GROUP"), None);
    }
}
