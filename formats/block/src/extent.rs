//! Where the bytes of a range come from, without reading them.

/// What a stretch of a device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Bytes stored in this device.
    Data,
    /// Reads as zero and costs nothing to read: a hole, a zero cluster.
    Zero,
    /// Bytes that come from a backing image.
    Backing,
}

/// A stretch of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// What it holds.
    pub kind: ExtentKind,
    /// Its length in bytes, at least 1, ending at the device's end at the latest. The next stretch may be of the
    /// same kind: an answer may be shorter than the truth, never longer.
    pub len: u64,
}
