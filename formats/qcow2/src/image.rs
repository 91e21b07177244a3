//! An open image and how it is read.

use crate::error::{Error, Result};
use crate::inflate::inflate;
use crate::info::{Compression, Info, read_info};
use crate::tables::{Source, Tables};
use crate::writer::Writer;
use nomount_block::{Extent, ExtentKind, ReadAt, check_range};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How to open an image.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing is written, and what only matters to a writer (refcounts, the dirty bit) is not looked at.
    pub read_only: bool,
    /// Memory for cached tables, in bytes. When changed tables fill half of it they are written.
    pub cache_bytes: usize,
}

impl Default for Options {
    /// For writing, with 8 MiB of tables.
    fn default() -> Self {
        Self { read_only: false, cache_bytes: 8 << 20 }
    }
}

/// An open qcow2 image, seen as the guest's device.
///
/// Changes are durable after [`nomount_block::WriteAt::barrier`]; dropping the image without one leaves the old
/// mapping: what was written to clusters that were allocated before is there, new clusters are not.
#[derive(Debug)]
pub struct Qcow2<D> {
    pub(crate) device: D,
    pub(crate) backing: Option<Box<dyn ReadAt>>,
    pub(crate) info: Info,
    pub(crate) tables: Mutex<Tables>,
    /// There when the image was opened for writing.
    pub(crate) writer: Option<Writer>,
}

impl<D: ReadAt> Qcow2<D> {
    /// Opens the image on `device`. `backing` must be there exactly when the image names a backing file, see
    /// [`read_info`]; beyond its end it reads as zero.
    ///
    /// Reads the header and the snapshot table; no other table is looked at before it is needed.
    pub fn open(device: D, backing: Option<Box<dyn ReadAt>>, options: Options) -> Result<Self> {
        let info = read_info(&device)?;
        if info.corrupt {
            return Err(Error::MarkedCorrupt);
        }
        match (&info.backing_file, &backing) {
            (Some(name), None) => return Err(Error::BackingMissing(name.clone())),
            (None, Some(_)) => return Err(Error::BackingUnexpected),
            _ => {}
        }
        let tables = Tables::new(&info, options.cache_bytes, device.len());
        let writer = if options.read_only { None } else { Some(Writer::new(&info, &tables, &device)?) };
        Ok(Self { device, backing, info, tables: Mutex::new(tables), writer })
    }

    /// What the image says about itself, as of when it was opened; the guest's length is the present one.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The device below.
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// The device below; changes since the last barrier are dropped.
    pub fn into_inner(self) -> D {
        self.device
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // The tables are changed only through `&mut self`; a reader that panicked left at most a colder cache.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_run(&self, guest: u64, buf: &mut [u8]) -> Result<usize> {
        let (source, len) = self.lock().run(&self.device, guest, buf.len() as u64)?;
        let buf = &mut buf[..len as usize];
        match source {
            Source::Compressed(range, within) => {
                let known = self.lock().inflated.get(range);
                let cluster = match known {
                    Some(cluster) => cluster,
                    None => {
                        let size = self.info.cluster_size();
                        let cluster = inflate(&self.device, range, self.info.compression, size, guest)?;
                        self.lock().inflated.put(range, cluster.clone());
                        cluster
                    }
                };
                buf.copy_from_slice(&cluster[within as usize..][..buf.len()]);
            }
            _ => read_plain(&self.device, self.backing.as_deref(), source, guest, buf)?,
        }
        Ok(buf.len())
    }
}

/// Reads a stretch of the guest that is not compressed.
fn read_plain(
    device: &impl ReadAt,
    backing: Option<&dyn ReadAt>,
    source: Source,
    guest: u64,
    buf: &mut [u8],
) -> Result<()> {
    match (source, backing) {
        // The last cluster of a file may be cut short.
        (Source::Data(host), _) => read_short(device, host, buf).map_err(Error::Device),
        (Source::Backing, Some(backing)) => read_short(backing, guest, buf).map_err(Error::Backing),
        _ => {
            buf.fill(0);
            Ok(())
        }
    }
}

/// Reads what there is and fills up with zeroes.
fn read_short<R: ReadAt + ?Sized>(device: &R, offset: u64, buf: &mut [u8]) -> nomount_block::Result<()> {
    let there = device.len().saturating_sub(offset).min(buf.len() as u64) as usize;
    buf[there..].fill(0);
    if there > 0 { device.read_at(offset, &mut buf[..there]) } else { Ok(()) }
}

/// Reads guest bytes while the image is being changed. What lies beyond the guest's end is zero.
pub(crate) fn read_while_writing(
    device: &impl ReadAt,
    backing: Option<&dyn ReadAt>,
    tables: &mut Tables,
    compression: Compression,
    guest: u64,
    buf: &mut [u8],
) -> Result<()> {
    let inside = tables.geo.size.saturating_sub(guest).min(buf.len() as u64) as usize;
    let (mut rest, outside) = buf.split_at_mut(inside);
    outside.fill(0);
    let mut at = guest;
    while !rest.is_empty() {
        let (source, len) = tables.run(device, at, rest.len() as u64)?;
        let (now, after) = rest.split_at_mut(len as usize);
        match source {
            Source::Compressed(range, within) => {
                let cluster = match tables.inflated.get(range) {
                    Some(cluster) => cluster,
                    None => {
                        let cluster = inflate(device, range, compression, tables.geo.cluster(), at)?;
                        tables.inflated.put(range, cluster.clone());
                        cluster
                    }
                };
                now.copy_from_slice(&cluster[within as usize..][..now.len()]);
            }
            _ => read_plain(device, backing, source, at, now)?,
        }
        rest = after;
        at += len;
    }
    Ok(())
}

impl<D: ReadAt> ReadAt for Qcow2<D> {
    fn len(&self) -> u64 {
        self.info.virtual_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> nomount_block::Result<()> {
        check_range(offset, buf.len() as u64, self.len())?;
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            done += self.read_run(at, &mut buf[done..]).map_err(|e| e.at(at))?;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> nomount_block::Result<Extent> {
        check_range(offset, 1, self.len())?;
        self.extent(offset).map_err(|e| e.at(offset))
    }
}

/// What the guest holds from `guest` on, for at most `max` bytes, as far as the tables in memory map it.
pub(crate) fn extent_of(
    device: &impl ReadAt,
    backing: Option<&dyn ReadAt>,
    tables: &mut Tables,
    guest: u64,
    max: u64,
) -> Result<Extent> {
    let (source, len) = tables.run(device, guest, max)?;
    let kind = match source {
        Source::Zero => ExtentKind::Zero,
        Source::Data(_) | Source::Compressed(..) => ExtentKind::Data,
        Source::Backing => return backing_extent(backing, guest, len),
    };
    Ok(Extent { kind, len })
}

/// Narrows a stretch that comes from the backing device to what that says: zero stays zero.
fn backing_extent(backing: Option<&dyn ReadAt>, guest: u64, len: u64) -> Result<Extent> {
    let Some(backing) = backing.filter(|backing| guest < backing.len()) else {
        return Ok(Extent { kind: ExtentKind::Zero, len });
    };
    let below = backing.extent_at(guest).map_err(Error::Backing)?;
    let kind = if below.kind == ExtentKind::Zero { ExtentKind::Zero } else { ExtentKind::Backing };
    Ok(Extent { kind, len: len.min(below.len) })
}

impl<D: ReadAt> Qcow2<D> {
    /// As [`ReadAt::extent_at`], for an offset inside the guest.
    pub(crate) fn extent(&self, offset: u64) -> Result<Extent> {
        let rest = self.info.virtual_size - offset;
        extent_of(&self.device, self.backing.as_deref(), &mut self.lock(), offset, rest)
    }
}
