//! Swap areas, as Linux and `mkswap` have them: version 1, pages of 4 KiB, numbers of the machine's own order, which
//! is little-endian wherever such images are used.

use crate::error::{Error, ErrorKind, Result};
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::WriteAt;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// The kernel takes no fewer.
const MIN_PAGES: u64 = 10;
/// Where the header begins; a boot loader may be before it.
const HEADER: usize = 1024;
const MAGIC: &[u8; 10] = b"SWAPSPACE2";

/// What a swap area is called.
#[derive(Debug, Clone, Default)]
pub struct SwapOptions {
    /// Its label, at most 15 bytes.
    pub label: Vec<u8>,
    /// Its UUID.
    pub uuid: [u8; 16],
}

/// How many pages a swap area of `len` bytes has, with that of its header.
pub(super) fn pages(len: u64) -> Result<u32> {
    let pages = len / PAGE;
    if pages < MIN_PAGES {
        let message = format!("a swap area of {len} bytes is too small");
        return Err(Error::new(ErrorKind::NoSpace, message).hint("it needs at least 40 KiB"));
    }
    // The number of the last page is what is stored.
    u32::try_from(pages).map_err(|_| Error::new(ErrorKind::Limit, format!("a swap area of {len} bytes is too large")))
}

/// Makes a swap area of the whole device, and answers its pages.
pub(super) fn mkswap(device: &mut impl WriteAt, options: &SwapOptions) -> Result<u32> {
    let pages = pages(device.len())?;
    let mut page = vec![0; PAGE as usize];
    let header = &mut page[HEADER..];
    LittleEndian::write_u32(header, 1);
    LittleEndian::write_u32(&mut header[4..], pages - 1);
    header[12..28].copy_from_slice(&options.uuid);
    header[28..28 + options.label.len()].copy_from_slice(&options.label);
    page[PAGE as usize - MAGIC.len()..].copy_from_slice(MAGIC);
    device.write_at(0, &page)?;
    device.barrier()?;
    Ok(pages)
}
