//! Which volume to work on.

use super::not_supported;
use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::guest::{RootVerdict, looks_like_root};
use crate::tree::ExtTree;
use nomount_block::{Budget, ReadAt, ReadOnly, Window};
use nomount_ext::{Filesystem, Options};

/// Finds the volume that `choice` means, and tells whether it was looked for and found to be a guest's root.
pub(super) fn choose(device: &dyn ReadAt, layout: &Layout, choice: Choice, memory: &Budget) -> Result<(Volume, bool)> {
    let named = |volume: &Volume| (volume.clone(), false);
    match choice {
        Choice::Whole => Ok(named(whole(layout)?)),
        Choice::Number(number) => {
            let volume = layout.partition(number)?;
            if volume.content == Content::Extended {
                let message = format!("partition {number} is extended: it holds the logical partitions from 5 on");
                return Err(Error::new(ErrorKind::Usage, message));
            }
            Ok(named(volume))
        }
        Choice::Auto => match whole(layout) {
            Ok(whole) if whole.content != Content::Unknown => Ok(named(whole)),
            _ => match (find_root(device, layout, memory), only_one(layout)) {
                // A disk that carries files, as a stick does.
                (Err(error), Some(volume)) if error.kind() == ErrorKind::NotFound => Ok(named(volume)),
                (root, _) => Ok((root?, true)),
            },
        },
        Choice::Inspect => Ok((find_root(device, layout, memory)?, true)),
    }
}

fn whole(layout: &Layout) -> Result<&Volume> {
    let found = layout.volumes.first().filter(|volume| volume.partition.is_none());
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, "the device is partitioned"))
}

/// The only filesystem of any kind, if it can be opened.
fn only_one(layout: &Layout) -> Option<&Volume> {
    let mut all = layout.volumes.iter().filter(|volume| volume.content.is_filesystem());
    let only = all.next().filter(|_| all.next().is_none())?;
    (only.content.is_ext() || only.content == Content::Vfat).then_some(only)
}

/// The one volume with the root of a guest (P3): none, or several, is an error that lists what was seen.
fn find_root(device: &dyn ReadAt, layout: &Layout, memory: &Budget) -> Result<Volume> {
    let mut seen = Vec::new();
    let mut roots = Vec::new();
    for volume in &layout.volumes {
        let verdict = match volume.content {
            content if content.is_ext() => judge(device, volume, memory),
            Content::Extended => continue,
            Content::Vfat => Ok(RootVerdict::NotRoot("no guest has its root there".to_owned())),
            content => Err(not_supported(content)),
        };
        match verdict {
            Ok(verdict) => {
                if verdict.is_root() {
                    roots.push(volume);
                }
                seen.push(format!("{volume}: {}", verdict.why()));
            }
            Err(error) => seen.push(format!("{volume}: {}", error.message())),
        }
    }
    let list = if seen.is_empty() { "there is no partition".to_owned() } else { seen.join("; ") };
    match roots[..] {
        [root] => Ok(root.clone()),
        [] => Err(Error::new(ErrorKind::NotFound, format!("no operating system found: {list}"))
            .hint("choose with --partition N, or --partition none for the whole device")),
        _ => Err(Error::new(ErrorKind::Usage, format!("multi-boot operating system found: {list}"))
            .hint("choose with --partition N")),
    }
}

fn judge(device: &dyn ReadAt, volume: &Volume, memory: &Budget) -> Result<RootVerdict> {
    let window = Window::new(ReadOnly(device), volume.start, volume.len)?;
    let tree = ExtTree::new(Filesystem::open_within(window, Options::default(), memory)?);
    Ok(looks_like_root(&tree))
}
