//! What can go wrong with a FAT filesystem.

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a filesystem is not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The volume label cannot be stored; the text says why.
    #[error("FAT volume label {label:?} {why}")]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No FAT has so many clusters, or so few, as the volume would have.
    #[error("no {kind} filesystem fits a volume of {len} bytes with sectors of {sector}")]
    Size {
        /// Which one was asked for.
        kind: &'static str,
        /// Bytes of the volume.
        len: u64,
        /// Bytes of a sector.
        sector: u32,
    },
    /// The sector size is not one that FAT has.
    #[error("FAT sectors of {0} bytes are not possible, wanted 512, 1024, 2048 or 4096")]
    Sector(u32),
    /// The device failed.
    #[error("the device of the FAT filesystem failed")]
    Device(#[source] nomount_block::Error),
    /// `fatfs` refused; nothing that was checked before explains it.
    #[error("the FAT filesystem could not be laid out")]
    Layout(#[source] std::io::Error),
}
