//! What can go wrong with the text of accounts. No password and no hash is ever part of it.

use super::crypt::Method;

/// A failure in the text of accounts or in hashing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No line of that user.
    #[error("user {} not found in the {file}", .user.escape_ascii())]
    UserNotFound {
        /// The user.
        user: Vec<u8>,
        /// `password file` or `shadow file`.
        file: &'static str,
    },
    /// A user name that no account file can hold.
    #[error("user name {:?} cannot be in the {file}: it is empty or has a colon or a line break", String::from_utf8_lossy(.user))]
    UserName {
        /// The name.
        user: Vec<u8>,
        /// `password file` or `shadow file`.
        file: &'static str,
    },
    /// A name that no new account may have.
    #[error("account name {:?} is not possible: {why}", String::from_utf8_lossy(.name))]
    AccountName {
        /// The name.
        name: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that would break the line it is put into.
    #[error("{:?} cannot be in an account file: it has a colon, a control character or, as a member, a comma, or is too long", String::from_utf8_lossy(.value))]
    Field {
        /// The value.
        value: Vec<u8>,
    },
    /// A password field that would break the line it is put into.
    #[error("password field has a colon, a control character or more than {limit} bytes")]
    PasswordField {
        /// How long it may be.
        limit: usize,
    },
    /// A password longer than crypt(3) takes.
    #[error("password has {len} bytes, at most {limit} are possible")]
    PasswordTooLong {
        /// Its length in bytes.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// crypt(3) would stop at a NUL and ignore the rest.
    #[error("password contains a NUL byte")]
    PasswordNul,
    /// The wrong amount of randomness for a salt.
    #[error("salt for {method} has {len} bytes, wanted {wanted}")]
    SaltLength {
        /// The method.
        method: Method,
        /// How many bytes came.
        len: usize,
        /// How many it takes.
        wanted: usize,
    },
    /// A hash of a kind that is not known, or that is malformed.
    #[error("password hash is of an unknown kind or malformed")]
    UnknownHash,
    /// A hash that asks for more work than is reasonable.
    #[error("password hash asks for {found} {what}, at most {limit} are accepted")]
    TooCostly {
        /// `rounds` or `bytes of memory`.
        what: &'static str,
        /// How much it asks for.
        found: u64,
        /// How much is accepted.
        limit: u64,
    },
    /// The hashing library refused what it was given.
    #[error("{method} refused the password or the salt")]
    Hash {
        /// The method.
        method: Method,
    },
}
