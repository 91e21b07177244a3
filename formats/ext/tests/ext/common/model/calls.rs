//! Calls of the engine, as data.

use super::acl::Acl;
use super::tree::Ino;
use nomount_block::WriteAt;
use nomount_ext::{Attrs, Error, Filesystem, New};
use nomount_kit::digest::Kind;
use std::fmt;
use std::ops::Deref;

/// Bytes of a name or a file, told in short.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TOLD: usize = 24;
        match self.0.get(..TOLD) {
            None => write!(f, "b\"{}\"", self.0.escape_ascii()),
            Some(start) => write!(f, "b\"{}...\" ({} bytes)", start.escape_ascii(), self.0.len()),
        }
    }
}

/// A call of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Create {
        dir: Ino,
        name: Bytes,
        what: What,
        attrs: Attrs,
    },
    Link {
        ino: Ino,
        dir: Ino,
        name: Bytes,
    },
    Unlink {
        dir: Ino,
        name: Bytes,
    },
    Rmdir {
        dir: Ino,
        name: Bytes,
    },
    RemoveTree {
        dir: Ino,
        name: Bytes,
    },
    Rename {
        dir: Ino,
        name: Bytes,
        to: Ino,
        new_name: Bytes,
    },
    WriteContents {
        ino: Ino,
        data: Bytes,
    },
    Append {
        ino: Ino,
        data: Bytes,
    },
    WriteAt {
        ino: Ino,
        at: u64,
        data: Bytes,
    },
    Truncate {
        ino: Ino,
        size: u64,
    },
    Punch {
        ino: Ino,
        at: u64,
        len: u64,
    },
    Allocate {
        ino: Ino,
        at: u64,
        len: u64,
    },
    SetAttrs {
        ino: Ino,
        attrs: Attrs,
    },
    SetXattr {
        ino: Ino,
        name: Bytes,
        value: Option<Bytes>,
    },
    /// An access control list, for access or for what is created in a directory; an empty one for none.
    SetAcl {
        ino: Ino,
        default: bool,
        list: Option<Acl>,
    },
    RemoveAcl {
        ino: Ino,
        default: bool,
    },
}

/// What is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    File,
    Dir,
    Symlink(Bytes),
    Fifo,
    Socket,
    Char(u32, u32),
    Block(u32, u32),
}

/// What the engine says when it has done as told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// The inode that was made.
    pub ino: Ino,
    /// Names that were removed.
    pub removed: u64,
}

/// The attribute that an access control list is.
pub fn acl_name(default: bool) -> &'static [u8] {
    if default { b"system.posix_acl_default" } else { b"system.posix_acl_access" }
}

impl What {
    pub fn told(&self) -> New<'_> {
        match self {
            Self::File => New::File,
            Self::Dir => New::Dir,
            Self::Symlink(target) => New::Symlink(target),
            Self::Fifo => New::Fifo,
            Self::Socket => New::Socket,
            Self::Char(major, minor) => New::CharDevice(*major, *minor),
            Self::Block(major, minor) => New::BlockDevice(*major, *minor),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::File => Kind::File,
            Self::Dir => Kind::Dir,
            Self::Symlink(_) => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
            Self::Char(..) => Kind::Char,
            Self::Block(..) => Kind::Block,
        }
    }
}

impl Call {
    /// Makes the call.
    pub fn on<D: WriteAt>(&self, fs: &mut Filesystem<D>) -> Result<Done, Error> {
        match self {
            Self::Create { dir, name, what, attrs } => {
                return fs.create(*dir, name, &what.told(), *attrs).map(|ino| Done { ino, removed: 0 });
            }
            Self::RemoveTree { dir, name } => {
                return fs.remove_tree(*dir, name).map(|removed| Done { ino: 0, removed });
            }
            Self::Link { ino, dir, name } => fs.link(*ino, *dir, name),
            Self::Unlink { dir, name } => fs.unlink(*dir, name),
            Self::Rmdir { dir, name } => fs.rmdir(*dir, name),
            Self::Rename { dir, name, to, new_name } => fs.rename(*dir, name, *to, new_name),
            Self::WriteContents { ino, data } => fs.write_contents(*ino, data),
            Self::Append { ino, data } => fs.append(*ino, data),
            Self::WriteAt { ino, at, data } => fs.write_at(*ino, *at, data),
            Self::Truncate { ino, size } => fs.truncate(*ino, *size),
            Self::Punch { ino, at, len } => fs.punch(*ino, *at, *len),
            Self::Allocate { ino, at, len } => fs.allocate(*ino, *at, *len),
            Self::SetAttrs { ino, attrs } => fs.set_attrs(*ino, *attrs),
            Self::SetXattr { ino, name, value } => fs.set_xattr(*ino, name, value.as_deref()),
            Self::SetAcl { ino, default, list } => {
                let given = list.as_ref().map_or_else(|| vec![2, 0, 0, 0], Acl::given);
                fs.set_xattr(*ino, acl_name(*default), Some(&given))
            }
            Self::RemoveAcl { ino, default } => fs.set_xattr(*ino, acl_name(*default), None),
        }?;
        Ok(Done::default())
    }

    /// What kind of call it is, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { what: What::File, .. } => "create a file",
            Self::Create { what: What::Dir, .. } => "create a directory",
            Self::Create { what: What::Symlink(_), .. } => "create a symbolic link",
            Self::Create { .. } => "create another",
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Rmdir { .. } => "rmdir",
            Self::RemoveTree { .. } => "remove a tree",
            Self::Rename { .. } => "rename",
            Self::WriteContents { .. } => "replace",
            Self::Append { .. } => "append",
            Self::WriteAt { .. } => "write",
            Self::Truncate { .. } => "truncate",
            Self::Punch { .. } => "punch",
            Self::Allocate { .. } => "allocate",
            Self::SetAttrs { .. } => "set attributes",
            Self::SetXattr { value: Some(_), .. } => "set an extended attribute",
            Self::SetXattr { value: None, .. } => "remove an extended attribute",
            Self::SetAcl { .. } => "set an access control list",
            Self::RemoveAcl { .. } => "remove an access control list",
        }
    }
}
