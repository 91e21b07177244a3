//! Which hash a guest can verify, judged by the guest's own files.

use super::crypt::Method;

/// What is known of a guest. All of it is text or names out of the image; whatever is missing is left empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guest<'a> {
    /// /etc/login.defs.
    pub login_defs: &'a [u8],
    /// /etc/pam.d/common-password, or system-auth where there is none of that name.
    pub pam: &'a [u8],
    /// Names of files that begin with `libcrypt` in the library directories.
    pub libcrypt: &'a [&'a [u8]],
    /// `ID` of os-release, without quotes.
    pub os_id: &'a [u8],
    /// `VERSION_ID` of os-release, without quotes.
    pub os_version: &'a [u8],
}

/// A method and why it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// SHA-512 or yescrypt.
    pub method: Method,
    /// Why, for people.
    pub reason: &'static str,
}

/// The strongest method that the guest is known to verify: yescrypt where the guest itself shows that it does, and
/// SHA-512 otherwise, which every C library of the last fifteen years verifies.
///
/// A library of libxcrypt is not enough: 4.0 to 4.2 (RHEL 8) carry the same names and do not verify yescrypt. So
/// there must be either a setting that makes the guest write yescrypt, or a distribution that is known to ship 4.3
/// or later. A guest that is set to SHA-512 gets SHA-512.
pub fn supported_by_guest(guest: &Guest<'_>) -> Choice {
    let sha512 = |reason| Choice { method: Method::Sha512, reason };
    let yescrypt = |reason| Choice { method: Method::Yescrypt, reason };
    if matches!(guest.os_id, b"alpine" | b"postmarketos" | b"openwrt") {
        return sha512("the guest uses musl, which verifies SHA-512 and not yescrypt");
    }
    if !guest.libcrypt.iter().any(|name| is_libxcrypt(name)) {
        return sha512("the guest has no libxcrypt, so nothing shows that it verifies yescrypt");
    }
    match (pam_method(guest.pam), login_defs_method(guest.login_defs)) {
        (Some(Setting::Yescrypt), _) => yescrypt("the guest's PAM is set to yescrypt"),
        (Some(Setting::Other), _) => sha512("the guest's PAM is set to another method than yescrypt"),
        (None, Some(Setting::Yescrypt)) => yescrypt("the guest's login.defs is set to yescrypt"),
        (None, Some(Setting::Other)) => sha512("the guest's login.defs is set to another method than yescrypt"),
        (None, None) if ships_yescrypt(guest) => yescrypt("this distribution's libxcrypt verifies yescrypt"),
        (None, None) => sha512("nothing shows that the guest verifies yescrypt"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Yescrypt,
    Other,
}

impl Setting {
    /// libxcrypt brought gost-yescrypt together with yescrypt, so either shows that both are verified.
    fn of(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"yescrypt" | b"gost_yescrypt" | b"gost-yescrypt" => Some(Self::Yescrypt),
            b"sha512" | b"sha256" | b"md5" | b"des" | b"bcrypt" | b"blowfish" | b"bigcrypt" => Some(Self::Other),
            _ => None,
        }
    }
}

/// glibc's own library is `libcrypt-2.31.so` behind a link `libcrypt.so.1`; libxcrypt's files end in 1.1.0 or 2.0.0.
fn is_libxcrypt(name: &[u8]) -> bool {
    name.starts_with(b"libcrypt.so.1.1.") || name.starts_with(b"libcrypt.so.2")
}

/// The last method named on a `password` line of pam_unix.
fn pam_method(text: &[u8]) -> Option<Setting> {
    logical_lines(text).iter().filter_map(|line| pam_line(line)).next_back()
}

fn pam_line(line: &[u8]) -> Option<Setting> {
    let mut words = words(line);
    let kind = words.next()?;
    if kind.strip_prefix(b"-").unwrap_or(kind) != b"password" {
        return None;
    }
    // The control field may be several words in brackets; the module is the first word that names one.
    words.by_ref().find(|word| word.rsplit(|byte| *byte == b'/').next() == Some(b"pam_unix.so"))?;
    words.filter_map(Setting::of).next_back()
}

/// `ENCRYPT_METHOD`, the last one if there are several.
fn login_defs_method(text: &[u8]) -> Option<Setting> {
    let value = |line: &Vec<u8>| {
        let mut words = words(line);
        (words.next()? == b"ENCRYPT_METHOD").then(|| words.next()).flatten().and_then(Setting::of)
    };
    logical_lines(text).iter().filter_map(value).next_back()
}

/// Lines without comments, those that end in a backslash joined with the next.
fn logical_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    for line in text.split(|byte| *byte == b'\n') {
        let code = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let joined = code.strip_suffix(b"\\");
        out.last_mut().expect("one line is always there").extend_from_slice(joined.unwrap_or(code));
        match joined {
            Some(_) => out.last_mut().expect("one line is always there").push(b' '),
            None => out.push(Vec::new()),
        }
    }
    out
}

fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Distributions whose libxcrypt is 4.3 or later from that release on. SUSE is left out: its releases differ.
fn ships_yescrypt(guest: &Guest<'_>) -> bool {
    let major = guest.os_version.split(|byte| *byte == b'.').next().unwrap_or_default();
    let major: u32 = std::str::from_utf8(major).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    match guest.os_id {
        b"arch" | b"kali" => true,
        b"debian" => major >= 11,
        b"ubuntu" => major >= 20,
        b"fedora" => major >= 30,
        b"rhel" | b"centos" | b"rocky" | b"almalinux" | b"ol" => major >= 9,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XCRYPT: &[&[u8]] = &[b"libcrypt.so.1", b"libcrypt.so.1.1.0"];
    const GLIBC: &[&[u8]] = &[b"libcrypt.so.1", b"libcrypt-2.31.so"];
    const DEBIAN_12: &[u8] =
        b"# here are the per-package modules\npassword\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n\
        password\trequisite\t\t\tpam_deny.so\n";
    const UBUNTU_20: &[u8] = b"password [success=1 default=ignore] pam_unix.so obscure sha512\n";

    fn method(pam: &[u8], login_defs: &[u8], libcrypt: &[&[u8]], id: &str, version: &str) -> Method {
        let (os_id, os_version) = (id.as_bytes(), version.as_bytes());
        supported_by_guest(&Guest { login_defs, pam, libcrypt, os_id, os_version }).method
    }

    #[test]
    fn what_real_systems_get() {
        use Method::{Sha512, Yescrypt};
        let sha512 = b"MD5_CRYPT_ENAB no\nENCRYPT_METHOD SHA512\n";
        let yescrypt = b"#ENCRYPT_METHOD DES\nENCRYPT_METHOD\tYESCRYPT\n";
        let red_hat = b"password    sufficient    pam_unix.so sha512 shadow nullok use_authtok\n";
        let fedora = b"-password   sufficient    /usr/lib64/security/pam_unix.so yescrypt shadow \\\n  nullok\n";
        // Debian 11 and 12 say SHA512 in login.defs, which PAM overrides.
        assert_eq!(method(DEBIAN_12, sha512, XCRYPT, "debian", "12"), Yescrypt);
        assert_eq!(method(DEBIAN_12, yescrypt, XCRYPT, "debian", "13"), Yescrypt);
        assert_eq!(method(UBUNTU_20, sha512, XCRYPT, "ubuntu", "20.04"), Sha512);
        assert_eq!(method(b"", sha512, GLIBC, "debian", "10"), Sha512);
        assert_eq!(method(red_hat, sha512, XCRYPT, "rhel", "8.9"), Sha512);
        assert_eq!(method(fedora, yescrypt, &[b"libcrypt.so.2.0.0"], "fedora", "41"), Yescrypt);
        assert_eq!(method(b"", b"", &[], "alpine", "3.20"), Sha512);
        assert_eq!(method(DEBIAN_12, yescrypt, XCRYPT, "alpine", "3.20"), Sha512);
        assert_eq!(method(b"", b"", &[], "", ""), Sha512);
    }

    #[test]
    fn without_settings_the_release_decides() {
        use Method::{Sha512, Yescrypt};
        for (id, version, wanted) in [
            ("debian", "11", Yescrypt),
            ("debian", "10", Sha512),
            ("debian", "", Sha512),
            ("rhel", "8.9", Sha512),
            ("rocky", "9.3", Yescrypt),
            ("fedora", "29", Sha512),
            ("arch", "", Yescrypt),
            ("sles", "15.5", Sha512),
            ("unheard", "99", Sha512),
        ] {
            assert_eq!(method(b"", b"", XCRYPT, id, version), wanted, "{id} {version}");
            assert_eq!(method(b"", b"", GLIBC, id, version), Sha512, "{id} {version} with glibc's library");
        }
    }

    #[test]
    fn settings_are_read_as_their_programs_read_them() {
        for (pam, wanted) in [
            (&b"password sufficient pam_unix.so sha512 yescrypt"[..], Some(Setting::Yescrypt)),
            (b"#password sufficient pam_unix.so yescrypt", None),
            (b"auth sufficient pam_unix.so yescrypt", None),
            (b"password sufficient pam_pwhistory.so yescrypt", None),
            (b"password sufficient pam_unix.so # yescrypt", None),
            (b"password sufficient pam_unix.so md5", Some(Setting::Other)),
            (b"password sufficient pam_unix.so gost_yescrypt\r", Some(Setting::Yescrypt)),
        ] {
            assert_eq!(pam_method(pam), wanted, "{}", pam.escape_ascii());
        }
        for (text, wanted) in [
            (&b"ENCRYPT_METHOD SHA512\nENCRYPT_METHOD YESCRYPT"[..], Some(Setting::Yescrypt)),
            (b"  ENCRYPT_METHOD DES # YESCRYPT", Some(Setting::Other)),
            (b"ENCRYPT_METHOD", None),
            (b"XENCRYPT_METHOD YESCRYPT\n\xff\xfe", None),
        ] {
            assert_eq!(login_defs_method(text), wanted, "{}", text.escape_ascii());
        }
    }
}
