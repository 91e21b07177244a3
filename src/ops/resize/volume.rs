//! Which partition, or the whole disk, is to change its size.

use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};

/// The volume that `choice` means; by default the whole disk, or the partition that is last on it.
pub(super) fn choose(layout: &Layout, choice: Choice) -> Result<Volume> {
    match choice {
        Choice::Number(number) => {
            let volume = layout.partition(number)?;
            if volume.content == Content::Extended {
                let message = format!("partition {number} is extended: it changes with the logical partition in it");
                return Err(Error::new(ErrorKind::Usage, message));
            }
            Ok(volume.clone())
        }
        Choice::Inspect => Err(Error::new(ErrorKind::Usage, "name the partition by its number")),
        Choice::Whole | Choice::Auto => {
            let places = layout.volumes.iter().filter(|volume| volume.content != Content::Extended);
            let last = places.max_by_key(|volume| volume.start);
            let last = last.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no partition"))?;
            if last.partition.is_some() && matches!(last.content, Content::Swap | Content::Unknown) {
                let message = format!("the last partition holds no filesystem; there is: {}", layout.list());
                return Err(Error::new(ErrorKind::Usage, message).hint("choose one with its number"));
            }
            Ok(last.clone())
        }
    }
}
