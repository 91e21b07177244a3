//! The state that only a writer has, and what must be true before the first change.

use crate::error::{Error, Result, corrupt};
use crate::geometry::Geometry;
use crate::image::{Qcow2, read_while_writing};
use crate::info::{Compression, Info, MAX_REFCOUNT_TABLE_BYTES, check_table};
use crate::protect::Protected;
use crate::raw::header::AUTOCLEAR_AT;
use crate::tables::Tables;
use nomount_block::{ReadAt, SetLen};

/// Slices without a free cluster that an open image looks through before it only appends: 64 slices of 4 KiB are
/// the refcounts of 8 GiB at 64 KiB clusters.
const SCAN_SLICES: u32 = 64;

/// What a writer knows beyond the tables.
#[derive(Debug)]
pub(crate) struct Writer {
    pub protected: Protected,
    /// The search for a free cluster begins here.
    pub hint: u64,
    /// Full slices the search may still pass.
    pub scans_left: u32,
    /// Clusters that lose one reference once the change of the pointer to them is durable.
    pub frees: Vec<u64>,
    /// The refcount table is elsewhere than the header says.
    pub reftable_moved: bool,
    /// Written to the device since its last barrier.
    pub unsynced: bool,
    /// The autoclear bits are cleared.
    started: bool,
    /// Writing the tables failed.
    pub failed: bool,
}

impl Writer {
    pub fn new(info: &Info, tables: &Tables, device: &impl ReadAt) -> Result<Self> {
        if info.dirty {
            return Err(Error::Dirty);
        }
        let geo = info.geometry();
        let bytes = u64::from(info.refcount_table_clusters) * geo.cluster();
        if bytes == 0 {
            return Err(corrupt("refcount_table_clusters", 56, 0, "at least 1"));
        }
        if bytes > MAX_REFCOUNT_TABLE_BYTES {
            let limit = MAX_REFCOUNT_TABLE_BYTES;
            return Err(Error::Limit { what: "length of the refcount table", value: bytes, limit });
        }
        check_table("refcount_table_offset", 48, info.refcount_table_offset, bytes, &geo, device.len())?;
        Ok(Self {
            protected: Protected::new(info, tables)?,
            hint: 0,
            scans_left: SCAN_SLICES,
            frees: Vec::new(),
            reftable_moved: false,
            unsynced: false,
            started: false,
            failed: false,
        })
    }
}

/// Everything a change needs, borrowed from the image at once.
pub(crate) struct Change<'a, D> {
    pub device: &'a mut D,
    pub backing: Option<&'a dyn ReadAt>,
    pub tables: &'a mut Tables,
    pub writer: &'a mut Writer,
    pub compression: Compression,
    pub geo: Geometry,
}

impl<D: SetLen> Qcow2<D> {
    /// Begins a change: fails when there may be none, and the first time clears the feature bits of what is not
    /// kept up to date here (dirty bitmaps, and whatever else is marked so), durably before anything else changes.
    pub(crate) fn change(&mut self) -> Result<Change<'_, D>> {
        let writer = self.writer.as_mut().ok_or(Error::ReadOnly)?;
        if writer.failed {
            return Err(Error::Failed);
        }
        if !writer.started {
            if self.info.autoclear_features != 0 {
                writer.failed = true;
                self.device.write_at(AUTOCLEAR_AT, &[0; 8]).map_err(Error::Device)?;
                self.device.barrier().map_err(Error::Device)?;
                writer.failed = false;
                self.info.autoclear_features = 0;
                self.info.bitmaps = false;
            }
            writer.started = true;
        }
        Ok(self.parts().expect("a writer is there"))
    }

    /// The parts of an image that was opened for writing.
    pub(crate) fn parts(&mut self) -> Option<Change<'_, D>> {
        let tables = self.tables.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(Change {
            device: &mut self.device,
            backing: self.backing.as_deref(),
            geo: tables.geo,
            tables,
            writer: self.writer.as_mut()?,
            compression: self.info.compression,
        })
    }
}

impl<D: SetLen> Change<'_, D> {
    /// Reads guest bytes as they are now; beyond the guest's end they are zero.
    pub fn read(&mut self, guest: u64, buf: &mut [u8]) -> Result<()> {
        read_while_writing(self.device, self.backing, self.tables, self.compression, guest, buf)
    }

    /// Writes to the device.
    pub fn put(&mut self, host: u64, data: &[u8]) -> Result<()> {
        self.writer.unsynced = true;
        self.device.write_at(host, data).map_err(Error::Device)
    }

    /// Makes the file at least `end` bytes long.
    pub fn ensure_len(&mut self, end: u64) -> Result<()> {
        if self.device.len() < end {
            self.writer.unsynced = true;
            self.device.set_len(end).map_err(Error::Device)?;
        }
        Ok(())
    }
}
