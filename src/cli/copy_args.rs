//! What commands that copy files share.

use super::edit::More;
use super::progress;
use super::target::Target;
use nomount::ops::copy::{Copied, CopyOptions, Existing, Keep, SourceName, Sparse, directory};
use nomount::ops::edit::{ModeChange, make_dir};
use nomount::ops::populate::HostTree;
use nomount::ops::{Editor, Owner};
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result, Session};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Which attributes copies have.
#[derive(Debug, Clone, clap::Args)]
pub struct KeepArgs {
    /// Keep owner, mode with its set-id bits, times, extended attributes, and hard links
    #[arg(long, short = 'a')]
    pub archive: bool,
    /// Keep only some of them; without a list mode, ownership and timestamps
    #[arg(
        long,
        short = 'p',
        value_name = "mode,ownership,timestamps,xattr,links",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "mode,ownership,timestamps",
        value_parser = parse_keep
    )]
    preserve: Option<Keep>,
}

fn parse_keep(text: &str) -> Result<Keep, String> {
    let mut keep = Keep::default();
    for word in text.split(',') {
        match word {
            "mode" => keep.mode = true,
            "ownership" => keep.ownership = true,
            "timestamps" => keep.timestamps = true,
            "xattr" => keep.xattrs = true,
            "links" => keep.links = true,
            "all" => keep = Keep::ALL,
            _ => return Err(format!("{word:?} is not known")),
        }
    }
    Ok(keep)
}

impl KeepArgs {
    /// What is to be kept.
    pub fn keep(&self) -> Keep {
        if self.archive { Keep::ALL } else { self.preserve.unwrap_or_default() }
    }
}

/// How to copy into an image.
#[derive(Debug, Clone, clap::Args)]
pub struct IntoArgs {
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Owner of the copies, by the names of the guest; by default root:root
    #[arg(long, value_name = "USER[:GROUP]", value_parser = parse_owner)]
    chown: Option<Owner>,
    /// Mode of the copies, octal or symbolic; by default 0755 for directories and programs, 0644 for others
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, value_parser = ModeChange::parse)]
    chmod: Option<ModeChange>,
    /// Holes: where the source has them, wherever 4 KiB are zero, or nowhere
    #[arg(long, value_name = "auto|always|never", default_value = "auto", value_parser = parse_sparse)]
    sparse: Sparse,
}

fn parse_owner(text: &str) -> Result<Owner, String> {
    Owner::parse(text).map_err(|error| error.to_string())
}

fn parse_sparse(text: &str) -> Result<Sparse, String> {
    match text {
        "auto" => Ok(Sparse::Auto),
        "always" => Ok(Sparse::Always),
        "never" => Ok(Sparse::Never),
        _ => Err("auto, always or never is needed".to_owned()),
    }
}

impl IntoArgs {
    /// The same as the library takes it.
    pub fn options(&self) -> CopyOptions {
        CopyOptions {
            keep: self.keep.keep(),
            modes_of_source: false,
            owner: self.chown.clone(),
            mode: self.chmod.clone(),
            sparse: self.sparse,
            existing: Existing::Merge,
        }
    }

    /// Fails where nothing is copied into an image.
    pub fn only_keep(&self) -> Result<()> {
        if self.chown.is_some() || self.chmod.is_some() || self.sparse != Sparse::Auto {
            let message = "--chown, --chmod and --sparse are for copies into an image";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(())
    }
}

/// A file or directory of the host that is copied into an image.
pub struct Local {
    path: PathBuf,
    pub name: SourceName,
}

impl Local {
    /// What `text` names; with `follow` a link is followed, otherwise it is copied itself.
    pub fn find(text: &OsStr, follow: bool) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
            Error::new(kind, format!("cannot read {}", Path::new(text).display())).caused_by(error)
        };
        let mut path = PathBuf::from(text);
        let contents = contents_only(text.as_bytes());
        let is_dir =
            if follow || contents { path.metadata() } else { path.symlink_metadata() }.map_err(failed)?.is_dir();
        let name = match path.file_name() {
            Some(name) if !contents => Some(name.to_owned()),
            _ if contents => None,
            // `..` and the like have a name, too.
            _ => path.canonicalize().map_err(failed)?.file_name().map(OsStr::to_owned),
        };
        if follow {
            path = path.canonicalize().map_err(failed)?;
        }
        Ok(Self { path, name: SourceName { name: name.map(|name| name.as_bytes().to_vec()), is_dir } })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that is there, unless `image` is part of it.
    pub fn tree(&self, image: &Target, keep: Keep) -> HostTree {
        HostTree::with_top(&self.path, Some(&image.image)).links(keep.links).xattrs(keep.xattrs)
    }
}

/// Whether a path means what is in a directory, not the directory: it ends with `/.` or is `.`.
pub fn contents_only(path: &[u8]) -> bool {
    path == b"." || path.ends_with(b"/.") || path.ends_with(b"/./")
}

/// The directory to copy into, which with `parents` is made first.
pub fn into_dir(editor: &mut Editor<'_>, path: &GuestPath, parents: bool) -> Result<GuestPath> {
    if parents && !path.is_root() {
        make_dir(editor, path, None, true)?;
    }
    directory(editor.tree(), path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.hint("--parents makes it"),
        _ => error,
    })
}

/// Bytes of all that a session's tree is on: no tree has more.
pub fn room(session: &Session) -> u64 {
    let mounted = session.mounts().iter().filter_map(|mount| mount.volume.as_ref());
    mounted.chain([session.volume()]).fold(0, |sum, volume| sum.saturating_add(volume.len))
}

/// Who hears of how far copies have come.
pub fn listener() -> progress::Listener {
    progress::begin("copy")
}

/// What is told of copies.
pub fn more(copied: Copied) -> More {
    let line = format!(
        "  {} entries ({} directories, {} hard links), {} bytes of contents",
        copied.entries, copied.directories, copied.hard_links, copied.bytes
    );
    More {
        line: Some(line),
        members: vec![("copied", json!(copied))],
        notes: copied.remarks().collect(),
        ..More::default()
    }
}
