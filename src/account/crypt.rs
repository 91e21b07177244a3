//! Password hashes as crypt(3) of libxcrypt writes and reads them, crypt(5).

use super::{Error, Secret};
use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
use std::fmt;
use yescrypt::Yescrypt;

/// Longest password in bytes: libxcrypt and PAM take 511. The work of SHA-crypt grows with its square.
pub const MAX_PASSWORD: usize = 511;
/// Most rounds of a SHA-crypt hash that is verified; 5,000 is the default, 20,000,000 takes 13 seconds.
pub const MAX_ROUNDS: u32 = 1_000_000;
/// Most memory that verifying a yescrypt hash may take; the default is 16 MiB.
pub const MAX_YESCRYPT_MEMORY: u64 = 128 << 20;

/// The characters of a salt.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What sha-crypt writes for the default number of rounds; crypt(3) leaves it out.
const DEFAULT_ROUNDS: &str = "rounds=5000$";
/// 32 bytes in the base64 of crypt(5).
const YESCRYPT_DIGEST: usize = 43;

/// How a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Traditional DES: eight characters count. For systems that know nothing else.
    Des,
    /// `$1$`. For systems that know nothing better, and what Nova writes.
    Md5,
    /// `$5$`, 5,000 rounds.
    Sha256,
    /// `$6$`, 5,000 rounds.
    Sha512,
    /// `$y$j9T$`, the default cost of libxcrypt.
    Yescrypt,
}

impl Method {
    /// How many random bytes [`hash`] takes for the salt.
    pub fn salt_len(self) -> usize {
        match self {
            Self::Des => 2,
            Self::Md5 => 8,
            // 16 characters, the most that crypt(3) reads.
            Self::Sha256 | Self::Sha512 => 12,
            Self::Yescrypt => 16,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Des => "des",
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Yescrypt => "yescrypt",
        })
    }
}

/// The hash of `password` for the password field, with a salt made of `salt`: [`Method::salt_len`] random bytes.
///
/// # Errors
///
/// A password that crypt(3) would cut or refuse; the wrong number of salt bytes.
pub fn hash(method: Method, password: &[u8], salt: &[u8]) -> Result<Secret, Error> {
    check_password(password)?;
    if salt.len() != method.salt_len() {
        return Err(Error::SaltLength { method, len: salt.len(), wanted: method.salt_len() });
    }
    let hash = match method {
        Method::Des => des(&letters(salt), password),
        Method::Md5 => md5(&format!("$1${}$", letters(salt)), password),
        Method::Sha256 => sha(ShaCrypt::SHA256, password, salt),
        Method::Sha512 => sha(ShaCrypt::SHA512, password, salt),
        Method::Yescrypt => {
            Yescrypt::default().hash_password_with_salt(password, salt).ok().map(|hash| hash.as_str().to_owned())
        }
    };
    hash.map(Secret::new).ok_or(Error::Hash { method })
}

/// Whether `password` is the one of `hash`, a password field. A locked or disabled field matches nothing.
///
/// # Errors
///
/// A hash of an unknown kind, a malformed one, one that asks for more work than [`MAX_ROUNDS`] or
/// [`MAX_YESCRYPT_MEMORY`]; a password that crypt(3) would cut or refuse.
pub fn verify(hash: &Secret, password: &[u8]) -> Result<bool, Error> {
    check_password(password)?;
    let bytes = hash.expose();
    if matches!(bytes.first(), Some(b'!' | b'*')) {
        return Ok(false);
    }
    // In between `$` every character is one of the alphabet, or the `=` of a parameter.
    if !bytes.iter().all(|byte| ALPHABET.contains(byte) || matches!(byte, b'$' | b'=')) {
        return Err(Error::UnknownHash);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::UnknownHash)?;
    if let Some(rest) = text.strip_prefix("$y$") {
        check_yescrypt(rest)?;
        return matches(Yescrypt::default().verify_password(password, text));
    }
    if let Some(rest) = text.strip_prefix("$5$").or_else(|| text.strip_prefix("$6$")) {
        check_sha(rest)?;
        return matches(ShaCrypt::default().verify_password(password, text));
    }
    let known = if text.starts_with("$1$") {
        text.split('$').count() == 4 && text.len() <= "$1$".len() + 8 + 1 + 22
    } else {
        text.len() == 13 && !text.contains(['$', '='])
    };
    if !known {
        return Err(Error::UnknownHash);
    }
    let again = if text.starts_with("$1$") { md5(text, password) } else { des(&text[..2], password) };
    let again = Secret::new(again.ok_or(Error::UnknownHash)?);
    Ok(same(again.expose(), bytes))
}

fn check_password(password: &[u8]) -> Result<(), Error> {
    if password.len() > MAX_PASSWORD {
        return Err(Error::PasswordTooLong { len: password.len(), limit: MAX_PASSWORD });
    }
    if password.contains(&0) {
        return Err(Error::PasswordNul);
    }
    Ok(())
}

/// Salt characters, six bits of each random byte.
fn letters(salt: &[u8]) -> String {
    salt.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

#[allow(deprecated, reason = "pwhash warns that MD5 is weak; here the user asked for it")]
fn md5(setup: &str, password: &[u8]) -> Option<String> {
    pwhash::md5_crypt::hash_with(setup, password).ok()
}

#[allow(deprecated, reason = "pwhash warns that DES is weak; here the user asked for it")]
fn des(salt: &str, password: &[u8]) -> Option<String> {
    pwhash::unix_crypt::hash_with(salt, password).ok()
}

fn sha(hasher: ShaCrypt, password: &[u8], salt: &[u8]) -> Option<String> {
    let hash = hasher.hash_password_with_salt(password, salt).ok()?;
    Some(hash.as_str().replacen(DEFAULT_ROUNDS, "", 1))
}

fn matches(result: sha_crypt::password_hash::Result<()>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(sha_crypt::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(Error::UnknownHash),
    }
}

/// What follows `$5$` or `$6$`: rounds, salt and digest.
fn check_sha(rest: &str) -> Result<(), Error> {
    let mut fields: Vec<_> = rest.split('$').collect();
    if let Some(rounds) = fields[0].strip_prefix("rounds=") {
        let rounds: u32 = rounds.parse().map_err(|_| Error::UnknownHash)?;
        if rounds > MAX_ROUNDS {
            return Err(Error::TooCostly { what: "rounds", found: rounds.into(), limit: MAX_ROUNDS.into() });
        }
        // sha-crypt would take fewer than this for a salt.
        if rounds < sha_crypt::Params::ROUNDS_MIN {
            return Err(Error::UnknownHash);
        }
        fields.remove(0);
    }
    let sound = matches!(fields[..], [salt, digest] if salt.len() <= 16 && matches!(digest.len(), 43 | 86));
    if sound { Ok(()) } else { Err(Error::UnknownHash) }
}

/// What follows `$y$`: parameters, salt and digest. The parameters are those that crypt_gensalt(3) writes, `j` and
/// two numbers; more than those would bring parallelism and time costs that no system sets.
fn check_yescrypt(rest: &str) -> Result<(), Error> {
    let fields: Vec<_> = rest.split('$').collect();
    let [cost, salt, digest] = fields[..] else { return Err(Error::UnknownHash) };
    if !cost.starts_with('j') || cost.len() > 3 || salt.len() > 86 || digest.len() != YESCRYPT_DIGEST {
        return Err(Error::UnknownHash);
    }
    let params: yescrypt::Params = cost.parse().map_err(|_| Error::UnknownHash)?;
    let memory = params.n().saturating_mul(128 * u64::from(params.r()));
    if memory > MAX_YESCRYPT_MEMORY {
        return Err(Error::TooCostly { what: "bytes of memory", found: memory, limit: MAX_YESCRYPT_MEMORY });
    }
    Ok(())
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const METHODS: [Method; 5] = [Method::Des, Method::Md5, Method::Sha256, Method::Sha512, Method::Yescrypt];

    fn text(hash: &Secret) -> &str {
        std::str::from_utf8(hash.expose()).unwrap()
    }

    /// Salt bytes that become these characters.
    fn bytes_of(salt: &str) -> Vec<u8> {
        salt.bytes().map(|c| ALPHABET.iter().position(|a| *a == c).unwrap() as u8).collect()
    }

    /// Case A2: the vector of Nova's own tests; of the salt it passes, crypt(3) reads eight characters.
    #[test]
    fn a2_the_md5_vector() {
        let hashed = hash(Method::Md5, b"123456", &bytes_of("12345678")).unwrap();
        assert_eq!(text(&hashed), "$1$12345678$a4ge4d5iJ5vwvbFS88TEN0");
        assert!(verify(&hashed, b"123456").unwrap());
    }

    /// crypt(3) through perl: the setting is our own hash, so that it must come back.
    fn crypt3(password: &[u8], setting: &str) -> Option<String> {
        let script = "local $/; binmode STDIN; my $s = shift; print crypt(scalar <STDIN>, $s)";
        let child =
            Command::new("perl").args(["-e", script, setting]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            assert!(std::env::var_os("CI").is_none(), "perl is missing");
            println!("not run: perl missing");
            return None;
        };
        child.stdin.take().unwrap().write_all(password).unwrap();
        Some(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
    }

    #[test]
    fn crypt3_finds_the_same_hashes() {
        let long = [b'x'; MAX_PASSWORD];
        let passwords: [&[u8]; 6] =
            [b"", b"a", b"correct horse: battery$staple", "pässwörd €".as_bytes(), b"\xff\x01\x80 ", &long];
        for method in METHODS {
            for (index, password) in passwords.iter().enumerate() {
                let salt: Vec<u8> = (0..method.salt_len()).map(|n| (n * 37 + index * 101 + 3) as u8).collect();
                let hashed = hash(method, password, &salt).unwrap();
                let Some(judged) = crypt3(password, text(&hashed)) else { return };
                assert_eq!(text(&hashed), judged, "{method}, password {index}");
                assert!(verify(&hashed, password).unwrap(), "{method}, password {index}");
                assert!(!verify(&hashed, b"another").unwrap(), "{method}, password {index}");
            }
        }
    }

    #[test]
    fn hashes_have_the_form_that_crypt_expects() {
        for (method, prefix, len) in [
            (Method::Des, "", 13),
            (Method::Md5, "$1$", 34),
            (Method::Sha256, "$5$", 63),
            (Method::Sha512, "$6$", 106),
            (Method::Yescrypt, "$y$j9T$", 73),
        ] {
            let hashed = hash(method, b"secret", &vec![0xa5; method.salt_len()]).unwrap();
            assert!(text(&hashed).starts_with(prefix));
            assert_eq!(text(&hashed).len(), len, "{method}");
            let other = hash(method, b"secret", &vec![0x5a; method.salt_len()]).unwrap();
            assert_ne!(text(&hashed), text(&other));
        }
    }

    #[test]
    fn hashes_with_other_costs_are_verified() {
        for setting in
            ["$6$rounds=1000$saltsalt", "$5$rounds=12345$s", "$y$j75$abcdefgh", "$y$jAT$abcdefgh", "$1$ab$", "ab"]
        {
            let Some(hashed) = crypt3(b"pw", setting) else { return };
            let hashed = Secret::new(hashed);
            assert_eq!(verify(&hashed, b"pw"), Ok(true), "{setting}");
            assert!(!verify(&hashed, b"pv").unwrap(), "{setting}");
        }
    }

    #[test]
    fn costs_are_capped_and_nonsense_is_refused() {
        let digest = "a".repeat(86);
        let costly = Secret::new(format!("$6$rounds=1000001$salt${digest}"));
        let error = verify(&costly, b"x").unwrap_err();
        assert_eq!(error.to_string(), "password hash asks for 1000001 rounds, at most 1000000 are accepted");
        let costly = Secret::new(format!("$y$jLT$abcdefgh${}", &digest[..43]));
        assert!(matches!(verify(&costly, b"x"), Err(Error::TooCostly { what: "bytes of memory", .. })));
        let nonsense = [
            "",
            "x",
            "$",
            "$$",
            "$6$",
            "$6$salt",
            "$6$rounds=$salt$",
            "$6$rounds=99999999999$s$a",
            "$6$rounds=10$s$a",
            "$y$",
            "$y$j9T",
            "$y$j9T$$",
            "$y$zzz$abc$def",
            "$2b$05$abcdefghijklmnopqrstuu",
            "$7$CU..../....abc",
            "$1$",
            "$1$a",
            "$1$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa$b$c",
            "ab:cdefghijklm",
            "ab\n",
            "ü",
            "$6$ü$a",
            "________________",
        ];
        for hash in nonsense {
            assert_eq!(verify(&Secret::new(hash), b"x"), Err(Error::UnknownHash), "{hash:?}");
        }
        for locked in ["!", "*", "!!", "!$6$a$b"] {
            assert_eq!(verify(&Secret::new(locked), b""), Ok(false));
        }
    }

    #[test]
    fn passwords_that_crypt_would_cut_are_refused() {
        assert_eq!(hash(Method::Sha512, b"a\0b", &[0; 12]).unwrap_err(), Error::PasswordNul);
        let error = hash(Method::Sha512, &[b'a'; 512], &[0; 12]).unwrap_err();
        assert_eq!(error, Error::PasswordTooLong { len: 512, limit: 511 });
        let error = hash(Method::Sha512, b"secret", &[0; 16]).unwrap_err();
        assert_eq!(error.to_string(), "salt for sha512 has 16 bytes, wanted 12");
    }

    proptest::proptest! {
        /// The libraries are reached with every shape that the checks let through, and do not panic.
        #[test]
        fn strange_hashes_do_no_harm(
            kind in proptest::sample::select(vec!["", "$1$", "$5$", "$6$", "$5$rounds=1000$", "$y$", "$y$j"]),
            cost in "[./0-9A-Za-z]{0,3}",
            salt in "[./0-9A-Za-z$=]{0,20}",
            digest in proptest::sample::select(vec![0_usize, 1, 13, 22, 42, 43, 44, 86]),
        ) {
            for hash in [format!("{kind}{cost}{salt}"), format!("{kind}{cost}${salt}${}", "z".repeat(digest))] {
                proptest::prop_assert_ne!(verify(&Secret::new(hash), b"password"), Ok(true));
            }
        }
    }
}
