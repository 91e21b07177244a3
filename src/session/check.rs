//! Checking the filesystems of an image, also those that cannot be opened.

use super::{inspect, redo};
use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ImageOptions};
use crate::tree::Time;
use nomount_block::{Budget, ReadAt, ReadOnly, Window};
use nomount_ext::{CheckOptions, Options, Report};
use std::path::Path;

/// A volume and what was found in it.
#[derive(Debug)]
pub struct Checked {
    /// Where the filesystem is.
    pub volume: Volume,
    /// What is wrong with it.
    pub report: Report,
}

/// Checks the filesystem that `partition` means; with [`Choice::Auto`] all ext filesystems of the image. Nothing is
/// written: a journal is replayed in memory. Gives also what was noticed of the partition table.
pub fn check_image(
    path: &Path,
    options: &ImageOptions,
    partition: Choice,
    now: Time,
) -> Result<(Vec<Checked>, Vec<String>)> {
    let named = |error: Error| error.in_image(path);
    let image = Image::open(path, &ImageOptions { write: false, ..options.clone() })?;
    if redo::pending(path)? {
        return Err(named(redo::unfinished(path)));
    }
    let layout = Layout::read(&image.device, partition).map_err(named)?;
    let notes = layout.table.iter().flat_map(|table| &table.notes).map(ToString::to_string).collect();
    let mut checked = Vec::new();
    for volume in volumes(&image.device, &layout, partition, &options.memory).map_err(named)? {
        let report = check_volume(&image.device, &volume, now, &options.memory)
            .map_err(|error| named(error.in_volume(volume.to_string())))?;
        checked.push(Checked { volume, report });
    }
    Ok((checked, notes))
}

fn volumes(device: &dyn ReadAt, layout: &Layout, choice: Choice, memory: &Budget) -> Result<Vec<Volume>> {
    if choice != Choice::Auto {
        let (volume, _) = inspect::choose(device, layout, choice, memory)?;
        // Where the caller says that it is one, a superblock that cannot be recognised is what is found.
        return match volume.content {
            content if content.is_ext() || content == Content::Unknown => Ok(vec![volume]),
            content => Err(not_checked(content).in_volume(volume.to_string())),
        };
    }
    let found: Vec<Volume> = layout.volumes.iter().filter(|volume| volume.content.is_ext()).cloned().collect();
    match (found.is_empty(), layout.volumes.first()) {
        (false, _) => Ok(found),
        (true, Some(volume)) => Err(not_checked(volume.content).in_volume(volume.to_string())),
        (true, None) => Err(not_checked(Content::Unknown)),
    }
}

fn check_volume(device: &dyn ReadAt, volume: &Volume, now: Time, memory: &Budget) -> Result<Report> {
    let window = Window::new(ReadOnly(device), volume.start, volume.len)?;
    let now = nomount_ext::Time { sec: now.sec, nsec: now.nsec };
    Ok(nomount_ext::check_within(window, Options::default(), &CheckOptions { now: Some(now) }, memory)?)
}

fn not_checked(content: Content) -> Error {
    let message = match content {
        Content::Unknown => "no filesystem is recognised here".to_owned(),
        content => format!("checking {content} is not supported, only ext2, ext3 and ext4"),
    };
    Error::new(ErrorKind::Unsupported, message)
}
