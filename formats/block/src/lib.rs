//! Bytes addressed by offset: the one seam that every format stands on.
//!
//! A container (qcow2), a partition (a [`Window`]), a staging area (an [`Overlay`]) and a host file
//! (a [`HostFile`]) are all the same thing to a filesystem: [`WriteAt`]. Offsets and lengths are bytes.
//! Reads take `&self`, writes `&mut self`: many readers, one writer.
#![forbid(unsafe_code)]

mod budget;
mod copy;
mod error;
mod extent;
mod fault;
mod file;
mod memory;
mod overlay;
mod read_only;
mod shared;
mod traits;
mod window;

pub use budget::{Budget, DEFAULT_MEMORY, Held, OutOfBudget};
pub use copy::copy_to_zeroed;
pub use error::{Error, ErrorKind, Result};
pub use extent::{Extent, ExtentKind};
pub use fault::{Fault, FaultPlan};
pub use file::HostFile;
pub use memory::{Bytes, Memory};
pub use overlay::{Overlay, Record, Spill, replay};
pub use read_only::ReadOnly;
pub use shared::Shared;
pub use traits::{ReadAt, SetLen, WriteAt, check_range};
pub use window::Window;
