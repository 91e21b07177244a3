//! Who says whether what is there is what should be.

use super::tree::{Ino, Tree, plain};
use crate::common::our_digest;
use nomount_block::{Memory, ReadAt};
use nomount_ext::{Error, Filesystem, Report, Severity};
use nomount_kit::digest::{Change, Kind, content_hash};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{TreeDigest, judges, scratch};
use std::path::Path;

/// Larger files are holes for the most part, and ext4-view returns them whole.
const MAX_CONTENTS: u64 = 1 << 20;
/// Differences that are told.
const TOLD: usize = 3;

/// Said of a tree that is not the model's.
pub const DIFFERENT: &str = "paths differ";

/// What a judge says against it.
pub type Verdict = Result<(), String>;

fn same(who: &str, tree: &Tree, found: TreeDigest) -> Verdict {
    let changes = tree.digest().diff(&plain(found));
    if changes.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = changes.iter().take(TOLD).map(tell).collect();
    Err(format!("read by {who}, {} {DIFFERENT}:\n{}", changes.len(), told.join("\n")))
}

fn tell(change: &Change) -> String {
    match change {
        Change::Changed { before, after, .. } => format!("{change:?}\n  wanted {before:?}\n  found  {after:?}"),
        Change::Added(_, entry) | Change::Removed(_, entry) => format!("{change:?} {entry:?}"),
    }
}

/// Our own reader.
pub fn by_us<D: ReadAt>(fs: &Filesystem<D>, tree: &Tree) -> Verdict {
    same("us", tree, our_digest(fs))
}

/// The engine's own checker.
pub fn by_checker(report: Result<Report, Error>) -> Verdict {
    let report = report.map_err(|error| format!("checker: {error}"))?;
    match report.worst() {
        None | Some(Severity::Note) => Ok(()),
        Some(_) => Err(format!("checker: {report}")),
    }
}

/// Whether e2fsck has nothing to say but that extent trees could do with fewer blocks: that is no fault, and the kernel
/// leaves such trees, too.
fn is_wide(file: &Path) -> bool {
    let done = output(command("e2fsck").arg("-fn").arg(file));
    let said = text(&done);
    let harmless = |line: &str| {
        line.contains("could be narrower") || line.contains("could be shorter") || line.contains("Optimize? no")
    };
    let known = |line: &str| line.starts_with("e2fsck 1.") || line.starts_with("Pass ") || line.ends_with(" blocks");
    done.status.success() && said.lines().all(|line| line.is_empty() || known(line) || harmless(line))
}

/// e2fsck, which must be silent, and debugfs.
pub fn by_e2fsprogs(image: &Memory, tree: &Tree) -> Verdict {
    let file = scratch::device(image);
    judges::e2fsck_fn(&file, 0).or_else(|error| if is_wide(&file) { Ok(()) } else { Err(error.to_string()) })?;
    same("debugfs", tree, TreeDigest::of_ext(&file, 0))
}

/// Whether ext4-view gets to an inode: it takes no time outside 32 bits, here or on the way.
fn is_viewed(tree: &Tree, ino: Ino) -> bool {
    let node = tree.node(ino);
    let times = [Some(node.atime), Some(node.mtime), Some(node.ctime), node.crtime];
    let known = times.iter().flatten().all(|(sec, _)| (0..1 << 31).contains(sec));
    known && node.at.iter().all(|(dir, _)| is_viewed(tree, *dir))
}

/// Whether a file has all its blocks: ext4-view takes holes for other things than zeroes.
fn is_whole<D: ReadAt>(fs: &Filesystem<D>, ino: Ino, size: u64) -> Result<bool, Error> {
    let blocks: u64 = fs.runs(ino)?.iter().filter(|run| !run.unwritten).map(|run| u64::from(run.len)).sum();
    Ok(blocks >= size.div_ceil(fs.geometry().block_size.into()))
}

/// The other reader in Rust, of an image that `fs` has committed.
pub fn by_ext4_view<D: ReadAt>(image: &Memory, fs: &Filesystem<D>, tree: &Tree) -> Verdict {
    let bytes = image.bytes().to_vec();
    let other = ext4_view::Ext4::load(Box::new(bytes)).map_err(|error| format!("ext4-view: {error}"))?;
    let entries = tree.digest().entries;
    for (path, wanted) in &entries {
        if !is_viewed(tree, wanted.inode) {
            continue;
        }
        let against = |what: &dyn std::fmt::Display| format!("ext4-view: {}: {what}", path.escape_ascii());
        let path = ext4_view::Path::try_from(path.as_slice()).map_err(|error| against(&error))?;
        let found = other.symlink_metadata(path).map_err(|error| against(&error))?;
        if (found.mode() & 0o7777, found.uid(), found.gid()) != (wanted.mode, wanted.uid, wanted.gid) {
            return Err(against(&format!("{found:?}, wanted {wanted:?}")));
        }
        let equal = match wanted.kind {
            Kind::File
                if wanted.size <= MAX_CONTENTS
                    && is_whole(fs, wanted.inode, wanted.size).map_err(|e| against(&e))? =>
            {
                content_hash(&other.read(path).map_err(|error| against(&error))?) == wanted.content
            }
            Kind::Symlink => {
                let target = other.read_link(path).map_err(|error| against(&error))?;
                wanted.target.as_deref() == Some(target.as_ref())
            }
            Kind::Dir => {
                let entries = other.read_dir(path).map_err(|error| against(&error))?;
                let names = entries.collect::<Result<Vec<_>, _>>().map_err(|error| against(&error))?;
                let named = names.iter().filter(|entry| !matches!(entry.file_name().as_ref(), b"." | b".."));
                named.count() == tree.node(wanted.inode).names.size()
            }
            _ => true,
        };
        if !equal {
            return Err(against(&"contents differ"));
        }
    }
    Ok(())
}
