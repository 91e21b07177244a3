//! Sizes of disks and of what is in them: asked, grown, shrunk.

pub mod e2fsprogs;
mod extend;
mod grow;
mod report;
mod shrink;
mod size;
mod target;
mod volume;

pub use extend::{ExtendRequest, extend};
pub use grow::{GrowRequest, GrowWith, grow, grow_disk};
pub use report::{Change, FilesystemChange, PartitionChange, Resized};
pub use shrink::{ShrinkRequest, ShrinkTo, shrink};
pub use size::{DiskSize, Extendable, VolumeSize, can_resize, disk_size, is_extendable};
pub use target::NewSize;
