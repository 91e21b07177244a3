//! What the guest itself mounts over (P4): what belongs on a filesystem that is not part of the tree, because it is on
//! another disk or is none that can be opened, is written below its mount point and not seen by the guest.

use crate::ops::change::Change;
use crate::ops::guest::fstab;
use crate::tree::{FileTree, Follow, GuestPath, resolve};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of /etc/fstab that are looked at.
const MAX_MOUNTS: usize = 256;

/// A warning for each mount point in the guest's fstab that hides some of `changes`.
pub(in crate::ops) fn point_out_hidden(tree: &dyn FileTree, changes: &[Change]) -> Vec<String> {
    if changes.is_empty() {
        return Vec::new();
    }
    let seen = tree.mount_points();
    let points: BTreeSet<GuestPath> = fstab(tree)
        .iter()
        .filter(|entry| entry.mount_point.starts_with('/'))
        .take(MAX_MOUNTS)
        .filter_map(|entry| GuestPath::parse(&entry.mount_point).ok())
        // Changes have their links followed, so mount points must too.
        .filter_map(|path| resolve(tree, &path, Follow::Last).ok())
        .map(|found| found.path)
        .filter(|path| !path.is_root() && !seen.contains(path))
        .collect();
    let mut hidden: BTreeMap<&GuestPath, Vec<&GuestPath>> = BTreeMap::new();
    for Change { path, .. } in changes {
        // A path below several is hidden by the deepest.
        let above = points.iter().filter(|point| is_below(path, point));
        if let Some(point) = above.max_by_key(|point| point.components().len()) {
            let paths = hidden.entry(point).or_default();
            if paths.last() != Some(&path) {
                paths.push(path);
            }
        }
    }
    let warn = |(point, paths): (&GuestPath, Vec<&GuestPath>)| {
        let more = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
        let first = paths.first()?;
        Some(format!("{point} is another filesystem in the guest's fstab: {first}{more} will be hidden there"))
    };
    hidden.into_iter().filter_map(warn).collect()
}

/// Whether `path` is below `folder`, and not it.
fn is_below(path: &GuestPath, folder: &GuestPath) -> bool {
    path.components().len() > folder.components().len()
        && path.components().zip(folder.components()).all(|(a, b)| a == b)
}
