//! What the guest itself mounts over (P4): Nova mounts every filesystem of a guest that it inspects, here only the root
//! is open, so what belongs on another filesystem is written below its mount point and not seen by the guest.

use crate::ops::change::Change;
use crate::ops::guest::fstab;
use crate::tree::{FileTree, Follow, GuestPath, resolve};

/// Lines of /etc/fstab that are looked at.
const MAX_MOUNTS: usize = 1024;

/// A warning for each mount point in the guest's fstab that hides some of `changes`.
pub(super) fn point_out_hidden(tree: &dyn FileTree, changes: &[Change]) -> Vec<String> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut points: Vec<GuestPath> = fstab(tree)
        .iter()
        .filter(|entry| entry.mount_point.starts_with('/'))
        .take(MAX_MOUNTS)
        .filter_map(|entry| GuestPath::parse(&entry.mount_point).ok())
        // Changes have their links followed, so mount points must too.
        .filter_map(|path| resolve(tree, &path, Follow::Last).ok())
        .map(|found| found.path)
        .filter(|path| !path.is_root())
        .collect();
    points.sort();
    points.dedup();
    // A path below several is hidden by the deepest.
    let hider =
        |change: &Change| points.iter().filter(|p| is_below(&change.path, p)).max_by_key(|p| p.components().len());
    let hidden_by = |point: &GuestPath| {
        let mut paths: Vec<&GuestPath> =
            changes.iter().filter(|change| hider(change) == Some(point)).map(|change| &change.path).collect();
        paths.dedup();
        paths
    };
    let warn = |point: &GuestPath| {
        let paths = hidden_by(point);
        let (first, more) = (paths.first()?, paths.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("{point} is another filesystem in the guest's fstab: {first}{more} will be hidden there"))
    };
    points.iter().filter_map(warn).collect()
}

/// Whether `path` is below `folder`, and not it.
fn is_below(path: &GuestPath, folder: &GuestPath) -> bool {
    path.components().len() > folder.components().len()
        && path.components().zip(folder.components()).all(|(a, b)| a == b)
}
