//! Copying trees into a guest, out of it and inside of it, by the rules that cp(1), tar(1) and `docker cp` have.
//!
//! What a [`Source`] tells is made in the guest by one [`Placer`], whose options say which attributes count and what
//! becomes of what is in the way. Contents pass through a buffer of fixed size, and holes stay holes.

mod copy_in;
mod copy_out;
mod destination;
mod place;
mod tar;
#[cfg(test)]
mod tests;
mod upload;
mod whiteout;
mod within;

pub use copy_in::copy_in;
pub use copy_out::{OutOptions, copy_out};
pub use destination::{SourceName, destination, directory};
pub use tar::TarWriter;
pub use upload::{Stream, upload};
pub use within::copy_within;

use super::edit::ModeChange;
use super::guest_names::Owner;
use serde::Serialize;

/// Which attributes of the source a copy has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Permission bits, the set-id bits included.
    pub mode: bool,
    /// Owner and group, by their numbers.
    pub ownership: bool,
    /// When the contents were changed last.
    pub timestamps: bool,
    /// Extended attributes: access lists, capabilities and labels are among them.
    pub xattrs: bool,
    /// Names of one file stay names of one file.
    pub links: bool,
}

impl Keep {
    /// All of them.
    pub const ALL: Self = Self { mode: true, ownership: true, timestamps: true, xattrs: true, links: true };
}

/// When a copy has holes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sparse {
    /// Where the source has them.
    #[default]
    Auto,
    /// Wherever 4 KiB are zero.
    Always,
    /// Nowhere.
    Never,
}

/// What becomes of what is in the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// As with cp(1): files are replaced, directories filled; a link to a directory is filled, too. A directory and
    /// something else are never exchanged.
    #[default]
    Merge,
    /// As with tar(1): everything gives way but a directory that is not empty.
    Unpack {
        /// A link to a directory stays where the source has a directory.
        keep_directory_symlink: bool,
    },
    /// As with a layer of an OCI image: everything gives way, and names that begin with `.wh.` remove.
    Layer,
}

/// How to copy into a guest.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Attributes that come from the source. Without them a copy is root's, has mode 0644, or 0755 where it is a
    /// directory or executable, and is as old as the session.
    pub keep: Keep,
    /// Without [`Keep::mode`], copies have those permissions of the source that a umask of 022 leaves, as with cp(1):
    /// what only some may read in a guest stays so in its copy.
    pub modes_of_source: bool,
    /// Owner of everything, by the names of the guest, whatever the source says.
    pub owner: Option<Owner>,
    /// Change of all modes but those of symbolic links.
    pub mode: Option<ModeChange>,
    /// Holes.
    pub sparse: Sparse,
    /// What is in the way.
    pub existing: Existing,
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Files of any kind, directories that were there included.
    pub entries: u64,
    /// Of these, directories.
    pub directories: u64,
    /// Of these, further names of files.
    pub hard_links: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
    /// What was left out, and what was added.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Attributes that the filesystem cannot store.
    #[serde(skip)]
    lost: Repeated,
    /// Further names of files that it has not, and that became files of their own.
    #[serde(skip)]
    split: Repeated,
}

/// What happened to many files for the same reason, and is told once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Repeated {
    /// Of the first file.
    first: Option<String>,
    count: u64,
}

impl Repeated {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
        self.count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.first = self.first.take().or(other.first);
        self.count += other.count;
    }

    /// In one line: what was done about it, and how often.
    fn told(&self, done: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        let more = match self.count {
            0 | 1 => String::new(),
            2 => ", here and at 1 more".to_owned(),
            count => format!(", here and at {} more", count - 1),
        };
        Some(format!("{first}: {done}{more}"))
    }
}

impl Copied {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.directories += other.directories;
        self.hard_links += other.hard_links;
        self.bytes += other.bytes;
        self.notes.extend(other.notes);
        self.lost.merge(other.lost);
        self.split.merge(other.split);
    }

    /// What is to be told of it: the notes, and one for all attributes that were lost.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        let repeated = [self.lost.told("left out"), self.split.told("copied")];
        self.notes.iter().cloned().chain(repeated.into_iter().flatten())
    }
}
