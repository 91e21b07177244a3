//! FAT filesystems, made, read and changed, judged by fsck.fat, mtools and fatfs.

mod commit;
mod common;
mod faults;
mod hostile;
mod mkfs;
mod model;
mod names;
