//! What a filesystem says of itself, and its label.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::geometry::Kind;
use crate::label::check_label;
use crate::listing::{FREE, SLOT};
use crate::raw::{DirEntry, ExtendedBoot, attr};
use nomount_block::{ReadAt, WriteAt};
use std::mem::offset_of;
use zerocopy::{FromBytes, IntoBytes};

/// The signature that says that number and label are there; the other one has the number only.
const WITH_LABEL: u8 = 0x29;
/// What is stored for no label.
const NO_NAME: &[u8; 11] = b"NO NAME    ";

/// A filesystem's own description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Which FAT.
    pub kind: Kind,
    /// Bytes of a sector.
    pub sector: u32,
    /// Bytes of a cluster.
    pub cluster: u32,
    /// How many there are.
    pub clusters: u32,
    /// How many of them are free, counted.
    pub free: u32,
    /// Bytes that the filesystem takes of its volume.
    pub len: u64,
    /// Copies of the table.
    pub tables: usize,
    /// Volume label: that of the root directory, else that of the boot sector.
    pub label: Option<Vec<u8>>,
    /// The number that tells volumes apart, where there is one.
    pub volume_id: Option<u32>,
    /// Whether somebody did not finish writing it.
    pub dirty: bool,
}

impl<D: ReadAt> Filesystem<D> {
    /// What the filesystem says of itself, with what is staged.
    pub fn info(&self) -> Result<Info> {
        let extended = self.extended()?;
        let stored = match self.label_entry()? {
            Some((_, entry)) => Some(entry.DIR_Name),
            None => extended.as_ref().filter(|boot| boot.BS_BootSig == WITH_LABEL).map(|boot| boot.BS_VolLab),
        };
        let label = stored.filter(|stored| stored != NO_NAME).map(|stored| stored.trim_ascii_end().to_vec());
        Ok(Info {
            kind: self.shape.kind,
            sector: self.shape.sector,
            cluster: self.shape.cluster,
            clusters: self.shape.clusters,
            free: self.count_free()?,
            len: self.shape.len,
            tables: 1 + self.shape.fat_copies.len(),
            label: label.filter(|label| !label.is_empty()),
            volume_id: extended.map(|boot| boot.BS_VolID.get()),
            dirty: self.is_dirty()?,
        })
    }

    fn extended(&self) -> Result<Option<ExtendedBoot>> {
        let Some(at) = self.shape.extended_at else { return Ok(None) };
        let mut bytes = [0; size_of::<ExtendedBoot>()];
        self.get(at, &mut bytes)?;
        Ok(Some(ExtendedBoot::read_from_bytes(&bytes).expect("the buffer has its size")))
    }

    /// The label's entry in the root directory, and where it is.
    fn label_entry(&self) -> Result<Option<(u64, DirEntry)>> {
        let root = self.listing(0)?;
        let Some(slot) = root.label else { return Ok(None) };
        let found = self.read_entry(0, &root, slot)?;
        Ok(Some((found.at, found.entry)))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Sets the volume label, in root directory and boot sectors, or takes it away where it is empty.
    pub fn set_label(&mut self, label: &[u8]) -> Result<()> {
        let stored = if label.is_empty() { None } else { Some(check_label(label)?) };
        self.change(|fs| {
            fs.set_boot_label(stored.as_ref().unwrap_or(NO_NAME))?;
            match (fs.label_entry()?, stored) {
                (None, None) => return Ok(()),
                (Some((at, _)), None) => fs.put(at, &[FREE])?,
                (Some((at, mut entry)), Some(stored)) => {
                    entry.DIR_Name = stored;
                    fs.put(at, entry.as_bytes())?;
                }
                (None, Some(stored)) => {
                    let mut entry = fs.new_entry(attr::VOLUME_ID);
                    entry.DIR_Name = stored;
                    let slot = fs.make_room(0, 1)?;
                    let root = fs.listing(0)?;
                    let at = fs.slot_at(0, &root.chain, slot)?;
                    fs.put(at, entry.as_bytes())?;
                    fs.mark_end(0, &root, slot)?;
                }
            }
            fs.forget();
            Ok(())
        })
    }

    fn set_boot_label(&mut self, stored: &[u8; 11]) -> Result<()> {
        let Some(extended) = self.extended()?.filter(|boot| boot.BS_BootSig == WITH_LABEL) else { return Ok(()) };
        let Some(at) = self.shape.extended_at else { return Ok(()) };
        let inside = offset_of!(ExtendedBoot, BS_VolLab) as u64;
        self.put(at + inside, stored)?;
        let Some(copy) = self.shape.boot_copy_at.map(|copy| copy + at) else { return Ok(()) };
        // Only a copy that is one.
        let mut bytes = [0; SLOT];
        let same = &mut bytes[..size_of::<ExtendedBoot>()];
        self.get(copy, same)?;
        if same[offset_of!(ExtendedBoot, BS_BootSig)..][..5] == extended.as_bytes()[2..7] {
            self.put(copy + inside, stored)?;
        }
        Ok(())
    }
}
