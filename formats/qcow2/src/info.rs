//! What an image says about itself: header, extensions and snapshot table, checked.

use crate::error::{Error, Result, Unsupported, corrupt};
use crate::geometry::Geometry;
use crate::raw::entry::ENTRY;
use crate::raw::header::*;
use crate::raw::snapshot::{SNAPSHOT_SIZE_AT, SnapshotHeader};
use byteorder::{BigEndian, ByteOrder};
use nomount_block::ReadAt;
use zerocopy::FromBytes;

/// QEMU accepts no longer L1 table; at 64 KiB clusters it maps 2 PiB.
pub const MAX_L1_BYTES: u64 = 32 << 20;
/// QEMU accepts no longer refcount table.
pub const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
/// QEMU accepts no more snapshots.
pub const MAX_SNAPSHOTS: u32 = 65536;
/// The snapshot table, with all names, is read whole; 4 MiB is about 50,000 ordinary snapshots.
pub const MAX_SNAPSHOT_TABLE_BYTES: u64 = 4 << 20;
/// The specification's limit on the name of a backing file.
pub const MAX_BACKING_NAME: u32 = 1023;
/// Guest lengths are file lengths, so they fit a signed 64-bit number.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Raw deflate.
    Zlib,
    /// Zstandard frames.
    Zstd,
}

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identifier, unique in the image; bytes as stored.
    pub id: Vec<u8>,
    /// Its name; bytes as stored.
    pub name: Vec<u8>,
    /// The guest's length in bytes when it was taken; version 2 need not say.
    pub virtual_size: Option<u64>,
    pub(crate) l1_offset: u64,
    pub(crate) l1_entries: u32,
}

/// Everything the header, its extensions and the snapshot table say that a caller may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Format version, 2 or 3.
    pub version: u32,
    /// Guest length in bytes.
    pub virtual_size: u64,
    /// Base-2 logarithm of the cluster size, 9 to 21.
    pub cluster_bits: u32,
    /// Bits of a refcount: 1, 2, 4, 8, 16, 32 or 64.
    pub refcount_bits: u32,
    /// How compressed clusters are compressed.
    pub compression: Compression,
    /// Clusters are divided into 32 subclusters.
    pub extended_l2: bool,
    /// The image allows lazy refcounts.
    pub lazy_refcounts: bool,
    /// The image was not closed, its refcounts may be stale: can be read, not written.
    pub dirty: bool,
    /// The image is marked corrupt: is not opened.
    pub corrupt: bool,
    /// Name of the backing file, as stored: a path or a protocol string, never opened by this crate.
    pub backing_file: Option<Vec<u8>>,
    /// Format name of the backing file. Without one, probing it would let the guest choose its format.
    pub backing_format: Option<Vec<u8>>,
    /// The internal snapshots.
    pub snapshots: Vec<Snapshot>,
    /// The image has persistent dirty bitmaps that are valid; the first write makes them invalid.
    pub bitmaps: bool,
    /// Feature bits that any program that does not know them clears when it writes.
    pub autoclear_features: u64,
    pub(crate) l1_offset: u64,
    pub(crate) l1_entries: u64,
    pub(crate) refcount_table_offset: u64,
    pub(crate) refcount_table_clusters: u32,
    pub(crate) snapshots_offset: u64,
    pub(crate) snapshots_bytes: u64,
}

impl Info {
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            cluster_bits: self.cluster_bits,
            refcount_order: self.refcount_bits.trailing_zeros(),
            extended_l2: self.extended_l2,
            version: self.version,
            size: self.virtual_size,
        }
    }

    /// Bytes of a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }
}

/// Whether the first bytes of a device are those of a qcow2 image.
pub fn probe(first_bytes: &[u8]) -> bool {
    // Version 1 shares the magic and is another format.
    first_bytes.len() >= 8 && first_bytes[..4] == MAGIC && first_bytes[4..8] != [0, 0, 0, 1]
}

/// Reads and checks the header, its extensions and the snapshot table, opening nothing that they name.
///
/// Fails for what is not qcow2, for unsupported features and for structures that contradict the specification.
/// An image marked corrupt is described.
pub fn read_info(device: &impl ReadAt) -> Result<Info> {
    let len = device.len();
    if len < u64::from(V2_LENGTH) {
        return Err(Error::NotQcow2);
    }
    let mut bytes = [0; FULL_LENGTH as usize];
    let have = len.min(FULL_LENGTH.into()) as usize;
    device.read_at(0, &mut bytes[..have]).map_err(Error::Device)?;
    if bytes[..4] != MAGIC {
        return Err(Error::NotQcow2);
    }
    let (head, rest) = HeaderV2::read_from_prefix(&bytes).expect("the buffer is longer than the header");
    let version = head.version.get();
    let v3 = match version {
        2 => None,
        3 => Some(HeaderV3::read_from_prefix(rest).expect("the buffer is longer than the header").0),
        _ => return Err(Error::Unsupported(Unsupported::Version(version))),
    };
    let method = head.crypt_method.get();
    if method != 0 {
        return Err(Error::Unsupported(Unsupported::Encryption(method)));
    }
    let cluster_bits = head.cluster_bits.get();
    if !(9..=21).contains(&cluster_bits) {
        return Err(corrupt("cluster_bits", 20, cluster_bits.into(), "9 to 21"));
    }
    let header_length = v3.map_or(V2_LENGTH, |v3| v3.header_length.get());
    let cluster = 1u64 << cluster_bits;
    if header_length < v3.map_or(V2_LENGTH, |_| V3_LENGTH)
        || !header_length.is_multiple_of(8)
        || u64::from(header_length) > cluster.min(len)
    {
        return Err(corrupt(
            "header_length",
            100,
            header_length.into(),
            "a multiple of 8 from 104 to the cluster size",
        ));
    }
    let incompatible = v3.map_or(0, |v3| v3.incompatible_features.get());
    let known = INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_COMPRESSION | INCOMPAT_EXTENDED_L2;
    if incompatible & INCOMPAT_DATA_FILE != 0 {
        return Err(Error::Unsupported(Unsupported::ExternalDataFile));
    }
    if incompatible & !known != 0 {
        return Err(Error::Unsupported(Unsupported::IncompatibleBits(incompatible & !known)));
    }
    let extended_l2 = incompatible & INCOMPAT_EXTENDED_L2 != 0;
    if extended_l2 && cluster_bits < 14 {
        return Err(corrupt("cluster_bits", 20, cluster_bits.into(), "at least 14 with extended L2 entries"));
    }
    let kind = if header_length >= FULL_LENGTH { bytes[COMPRESSION_TYPE_AT] } else { 0 };
    let compression = match kind {
        0 => Compression::Zlib,
        1 => Compression::Zstd,
        _ => return Err(Error::Unsupported(Unsupported::Compression(kind))),
    };
    if (compression == Compression::Zlib) != (incompatible & INCOMPAT_COMPRESSION == 0) {
        let wanted = "0 exactly when the compression feature bit is clear";
        return Err(corrupt("compression_type", COMPRESSION_TYPE_AT as u64, kind.into(), wanted));
    }
    let refcount_order = v3.map_or(4, |v3| v3.refcount_order.get());
    if refcount_order > 6 {
        return Err(corrupt("refcount_order", 96, refcount_order.into(), "at most 6"));
    }
    let virtual_size = head.size.get();
    if virtual_size > MAX_SIZE {
        return Err(Error::Limit { what: "virtual size", value: virtual_size, limit: MAX_SIZE });
    }
    let mut info = Info {
        version,
        virtual_size,
        cluster_bits,
        refcount_bits: 1 << refcount_order,
        compression,
        extended_l2,
        lazy_refcounts: v3.is_some_and(|v3| v3.compatible_features.get() & COMPAT_LAZY_REFCOUNTS != 0),
        dirty: incompatible & INCOMPAT_DIRTY != 0,
        corrupt: incompatible & INCOMPAT_CORRUPT != 0,
        backing_file: None,
        backing_format: None,
        snapshots: Vec::new(),
        bitmaps: false,
        autoclear_features: v3.map_or(0, |v3| v3.autoclear_features.get()),
        l1_offset: head.l1_table_offset.get(),
        l1_entries: head.l1_size.get().into(),
        refcount_table_offset: head.refcount_table_offset.get(),
        refcount_table_clusters: head.refcount_table_clusters.get(),
        snapshots_offset: head.snapshots_offset.get(),
        snapshots_bytes: 0,
    };
    check_l1(&info, len)?;
    read_extensions(device, &head, header_length, &mut info)?;
    read_snapshots(device, head.nb_snapshots.get(), &mut info)?;
    Ok(info)
}

/// Checks a guest length against what the format and QEMU hold.
pub(crate) fn check_size(geo: &Geometry) -> Result<()> {
    if geo.size > MAX_SIZE {
        return Err(Error::Limit { what: "virtual size", value: geo.size, limit: MAX_SIZE });
    }
    check_l1_entries(geo.l1_needed())
}

fn check_l1_entries(entries: u64) -> Result<()> {
    let value = entries.saturating_mul(ENTRY);
    if value > MAX_L1_BYTES {
        return Err(Error::Limit { what: "length of the L1 table", value, limit: MAX_L1_BYTES });
    }
    Ok(())
}

fn check_l1(info: &Info, len: u64) -> Result<()> {
    let geo = info.geometry();
    check_l1_entries(info.l1_entries)?;
    if info.l1_entries < geo.l1_needed() {
        return Err(corrupt("l1_size", 36, info.l1_entries, "enough entries for the virtual size"));
    }
    if info.l1_entries > 0 {
        check_table("l1_table_offset", 40, info.l1_offset, info.l1_entries * ENTRY, &geo, len)?;
    }
    Ok(())
}

/// Checks a table's place: aligned, not the header, inside the file.
pub(crate) fn check_table(
    what: &'static str,
    at: u64,
    offset: u64,
    bytes: u64,
    geo: &Geometry,
    len: u64,
) -> Result<()> {
    // The last table of a file may be cut short inside its last cluster.
    let inside = offset.checked_add(bytes).is_some_and(|end| end <= len.next_multiple_of(geo.cluster()));
    if !geo.valid_cluster(offset, len) || !inside {
        return Err(corrupt(what, at, offset, "a cluster-aligned table inside the file"));
    }
    Ok(())
}

/// Reads the first cluster's extensions and the backing file name after them.
fn read_extensions(device: &impl ReadAt, head: &HeaderV2, header_length: u32, info: &mut Info) -> Result<()> {
    let name_at = head.backing_file_offset.get();
    let name_len = head.backing_file_size.get();
    let first_cluster = info.cluster_size().min(device.len());
    if name_at != 0 {
        if name_len > MAX_BACKING_NAME {
            return Err(Error::Limit {
                what: "length of the backing file name",
                value: name_len.into(),
                limit: MAX_BACKING_NAME.into(),
            });
        }
        let end = name_at.checked_add(name_len.into());
        if name_at < header_length.into() || end.is_none_or(|end| end > first_cluster) {
            return Err(corrupt("backing_file_offset", 8, name_at, "a name inside the first cluster"));
        }
        let mut name = vec![0; name_len as usize];
        device.read_at(name_at, &mut name).map_err(Error::Device)?;
        info.backing_file = (!name.is_empty()).then_some(name);
    }
    let end = if name_at != 0 { name_at } else { first_cluster };
    let mut at = u64::from(header_length);
    while at + 8 <= end {
        let mut head = [0; 8];
        device.read_at(at, &mut head).map_err(Error::Device)?;
        let kind = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let len = u64::from(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        if kind == EXT_END {
            break;
        }
        if len > end - at - 8 {
            return Err(corrupt("header extension length", at + 4, len, "an extension inside the first cluster"));
        }
        match kind {
            EXT_BACKING_FORMAT => {
                let mut name = vec![0; len.min(MAX_BACKING_NAME.into()) as usize];
                device.read_at(at + 8, &mut name).map_err(Error::Device)?;
                info.backing_format = Some(name);
            }
            EXT_BITMAPS => info.bitmaps = info.autoclear_features & AUTOCLEAR_BITMAPS != 0,
            _ => {}
        }
        at += 8 + len.next_multiple_of(8);
    }
    Ok(())
}

fn read_snapshots(device: &impl ReadAt, count: u32, info: &mut Info) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    if count > MAX_SNAPSHOTS {
        return Err(Error::Limit { what: "number of snapshots", value: count.into(), limit: MAX_SNAPSHOTS.into() });
    }
    let start = info.snapshots_offset;
    let geo = info.geometry();
    check_table("snapshots_offset", 64, start, size_of::<SnapshotHeader>() as u64, &geo, device.len())?;
    let available = (device.len() - start).min(MAX_SNAPSHOT_TABLE_BYTES);
    let mut table = Vec::new();
    let mut at = 0u64;
    for _ in 0..count {
        let head_len = size_of::<SnapshotHeader>() as u64;
        fill(device, start, at + head_len, available, &mut table)?;
        let (head, _) = SnapshotHeader::read_from_prefix(&table[at as usize..]).expect("so much was read");
        let (id_len, name_len) = (u64::from(head.id_str_size.get()), u64::from(head.name_size.get()));
        let id_at = at + head_len + u64::from(head.extra_data_size.get());
        let end = id_at + id_len + name_len;
        fill(device, start, end, available, &mut table)?;
        let (offset, entries) = (head.l1_table_offset.get(), head.l1_size.get());
        let size_at = at + head_len + SNAPSHOT_SIZE_AT;
        let virtual_size = (size_at + 8 <= id_at).then(|| BigEndian::read_u64(&table[size_at as usize..]));
        if u64::from(entries) * ENTRY > MAX_L1_BYTES {
            let value = u64::from(entries) * ENTRY;
            return Err(Error::Limit { what: "length of a snapshot's L1 table", value, limit: MAX_L1_BYTES });
        }
        if entries > 0 {
            let bytes = u64::from(entries) * ENTRY;
            check_table("snapshot L1 table offset", start + at, offset, bytes, &geo, device.len())?;
        }
        info.snapshots.push(Snapshot {
            id: table[id_at as usize..(id_at + id_len) as usize].to_vec(),
            name: table[(id_at + id_len) as usize..end as usize].to_vec(),
            virtual_size,
            l1_offset: offset,
            l1_entries: entries,
        });
        at = end.next_multiple_of(8);
    }
    info.snapshots_bytes = at;
    Ok(())
}

/// Reads on until `table` holds `wanted` bytes of the snapshot table at `start`.
fn fill(device: &impl ReadAt, start: u64, wanted: u64, available: u64, table: &mut Vec<u8>) -> Result<()> {
    /// Read at once, enough for most tables.
    const PIECE: u64 = 4096;
    if wanted > available {
        let wanted_text = "entries inside the file and 4 MiB";
        return Err(corrupt("snapshot table length", start, wanted, wanted_text));
    }
    let have = table.len() as u64;
    if wanted > have {
        let to = wanted.next_multiple_of(PIECE).min(available);
        table.resize(to as usize, 0);
        device.read_at(start + have, &mut table[have as usize..]).map_err(Error::Device)?;
    }
    Ok(())
}
