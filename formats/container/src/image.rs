//! Bounded reads of the file that is judged.

use nomount_block::{ReadAt, Result};

/// Read at once from the beginning: all magics but that of an ISO, and most of what is judged.
const HEAD: u64 = 4096;
/// Where the volume descriptors of ISO 9660 and UDF begin, in bytes.
pub(crate) const DESCRIPTORS_AT: u64 = 32768;
/// Read there: a descriptor, and the one after it, which tells UDF.
const DESCRIPTORS: u64 = 4096;

/// The file, and the two places that tell its format.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    device: &'a dyn ReadAt,
    /// The first bytes, up to [`HEAD`].
    pub(crate) head: Vec<u8>,
    /// What stands at [`DESCRIPTORS_AT`], up to [`DESCRIPTORS`].
    pub(crate) descriptors: Vec<u8>,
}

impl<'a> Image<'a> {
    pub(crate) fn read(device: &'a dyn ReadAt) -> Result<Self> {
        let mut image = Self { device, head: Vec::new(), descriptors: Vec::new() };
        image.head = image.up_to(0, HEAD)?;
        image.descriptors = image.up_to(DESCRIPTORS_AT, DESCRIPTORS)?;
        Ok(image)
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.device.len()
    }

    /// The bytes at `at`; none where the file ends before.
    pub(crate) fn exactly(&self, at: u64, len: u64) -> Result<Option<Vec<u8>>> {
        match at.checked_add(len) {
            Some(end) if end <= self.len() => self.up_to(at, len).map(Some),
            _ => Ok(None),
        }
    }

    fn up_to(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let len = len.min(self.len().saturating_sub(at));
        let mut bytes = vec![0; len as usize];
        if len > 0 {
            self.device.read_at(at, &mut bytes)?;
        }
        Ok(bytes)
    }
}

/// The `N` bytes at `at`, which the caller knows to be there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of that length")
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
