//! A file or block device of the host.

use crate::{Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, SetLen, WriteAt, check_range};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// An open file of the host. All access is by offset; the file's own position is not used.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    len: u64,
    sync: bool,
}

impl HostFile {
    /// Wraps an open file; its length is taken now. With `sync` false, barriers order nothing on the medium: for
    /// images that are thrown away if the machine stops.
    pub fn new(file: File, sync: bool) -> Result<Self> {
        let meta = file.metadata().map_err(|e| Error::from_io(0, e))?;
        let len = if meta.is_file() {
            meta.len()
        } else {
            seek(&file, SeekFrom::End(0)).map_err(|e| Error::from_io(0, e.into()))?
        };
        Ok(Self { file, len, sync })
    }

    /// The open file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }
}

impl ReadAt for HostFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.len)?;
        self.file.read_exact_at(buf, offset).map_err(|e| Error::from_io(offset, e))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len)?;
        let rest = self.len - offset;
        // A host that knows no holes (EINVAL) has only data; ENXIO says that no data follows.
        let data = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => {
                return Ok(Extent { kind: ExtentKind::Zero, len: rest });
            }
            Err(_) => {
                return Ok(Extent { kind: ExtentKind::Data, len: rest });
            }
        };
        if data > offset {
            return Ok(Extent { kind: ExtentKind::Zero, len: rest.min(data - offset) });
        }
        let hole = seek(&self.file, SeekFrom::Hole(offset)).unwrap_or(self.len);
        let len = hole.checked_sub(offset).filter(|len| *len > 0).unwrap_or(rest);
        Ok(Extent { kind: ExtentKind::Data, len: len.min(rest) })
    }
}

impl WriteAt for HostFile {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        check_range(offset, data.len() as u64, self.len)?;
        self.file.write_all_at(data, offset).map_err(|e| Error::from_io(offset, e))
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.len)?;
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, offset, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NODEV | rustix::io::Errno::INVAL) => {
                self.write_zeroes(offset, len)
            }
            Err(e) => Err(Error::from_io(offset, e.into())),
        }
    }

    fn barrier(&mut self) -> Result<()> {
        if self.sync {
            self.file.sync_data().map_err(|e| Error::from_io(0, e))?;
        }
        Ok(())
    }
}

impl SetLen for HostFile {
    fn set_len(&mut self, len: u64) -> Result<()> {
        if len > i64::MAX as u64 {
            return Err(Error::with_source(ErrorKind::Limit, len, "no file can be that long"));
        }
        self.file.set_len(len).map_err(|e| Error::from_io(len, e))?;
        self.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_seen_and_discard_makes_zeroes() {
        let mut file = HostFile::new(tempfile::tempfile().unwrap(), true).unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(file.extent_at(0).unwrap().kind, ExtentKind::Zero);
        file.write_at(65536, &[9; 65536]).unwrap();
        assert_eq!(file.extent_at(65536 + 5).unwrap().kind, ExtentKind::Data);
        file.discard(65536, 65536).unwrap();
        let mut back = [1; 4096];
        file.read_at(65536, &mut back).unwrap();
        assert_eq!(back, [0; 4096]);
        file.barrier().unwrap();
    }

    #[test]
    fn a_range_beyond_the_end_is_refused_not_extended() {
        let mut file = HostFile::new(tempfile::tempfile().unwrap(), false).unwrap();
        file.set_len(10).unwrap();
        assert_eq!(file.write_at(8, &[0; 3]).unwrap_err().kind(), ErrorKind::OutOfBounds);
        assert_eq!(file.len(), 10);
    }
}
