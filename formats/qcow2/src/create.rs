//! Making a new, empty image.

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::image::{Options, Qcow2};
use crate::info::{MAX_BACKING_NAME, check_size};
use crate::raw::entry::ENTRY;
use crate::raw::header::*;
use crate::refcount;
use nomount_block::{ReadAt, SetLen};
use zerocopy::IntoBytes;

/// Refcounts of 16 bits, as everything writes them.
const REFCOUNT_ORDER: u32 = 4;

/// What a new image is like: version 3, refcounts of 16 bits, nothing allocated.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Guest length in bytes.
    pub virtual_size: u64,
    /// Base-2 logarithm of the cluster size, 9 to 21.
    pub cluster_bits: u32,
    /// Name and format name of the backing file, as stored in the image; at most 1023 bytes of name. Nothing is
    /// opened.
    pub backing: Option<(Vec<u8>, Vec<u8>)>,
}

impl CreateOptions {
    /// Clusters of 64 KiB, no backing file.
    pub fn new(virtual_size: u64) -> Self {
        Self { virtual_size, cluster_bits: 16, backing: None }
    }

    fn geometry(&self) -> Result<Geometry> {
        let cluster_bits = self.cluster_bits;
        if !(9..=21).contains(&cluster_bits) {
            return Err(Error::BadOption { what: "cluster_bits", value: cluster_bits.into() });
        }
        let size = self.virtual_size;
        let geo = Geometry { cluster_bits, refcount_order: REFCOUNT_ORDER, extended_l2: false, version: 3, size };
        check_size(&geo)?;
        Ok(geo)
    }

    /// The bytes from the end of the fixed header on: the backing format extension, the end of the extensions, and
    /// the backing name; and the offset of the name in the file.
    fn extensions(&self) -> Result<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        let Some((name, format)) = &self.backing else {
            return Ok((vec![0; 8], 0));
        };
        for (what, text) in [("length of the backing file name", name), ("length of the backing format name", format)] {
            if text.is_empty() || text.len() > MAX_BACKING_NAME as usize {
                return Err(Error::BadOption { what, value: text.len() as u64 });
            }
        }
        bytes.extend(EXT_BACKING_FORMAT.to_be_bytes());
        bytes.extend((format.len() as u32).to_be_bytes());
        bytes.extend(format);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend([0; 8]);
        let name_at = u64::from(V3_LENGTH) + bytes.len() as u64;
        bytes.extend(name);
        Ok((bytes, name_at))
    }
}

/// Makes an image on an empty device and opens it for writing. `backing` must be there exactly when a backing file is
/// named, as in [`Qcow2::open`].
///
/// The header is written after everything it leads to is durable, so that a crash leaves an image or no image.
pub fn create<D: SetLen>(mut device: D, options: &CreateOptions, backing: Option<Box<dyn ReadAt>>) -> Result<Qcow2<D>> {
    if device.len() != 0 {
        return Err(Error::BadOption { what: "file, not empty, with a length", value: device.len() });
    }
    let geo = options.geometry()?;
    let (extensions, name_at) = options.extensions()?;
    let header_len = u64::from(V3_LENGTH) + extensions.len() as u64;
    if header_len > geo.cluster() {
        return Err(Error::Limit { what: "length of the header", value: header_len, limit: geo.cluster() });
    }
    // One cluster of header, then the refcount table, its blocks, and the L1 table.
    let l1_clusters = geo.clusters_for(geo.l1_needed() * ENTRY);
    let (mut table, mut blocks) = (1, 1);
    let total = loop {
        let total = 1 + table + blocks + l1_clusters;
        let needed = total.div_ceil(geo.refcounts_per_block());
        if needed <= blocks && geo.clusters_for(needed * ENTRY) <= table {
            break total;
        }
        blocks = needed.max(blocks);
        table = geo.clusters_for(blocks * ENTRY);
    };
    let bits = geo.cluster_bits;
    device.set_len(total << bits).map_err(Error::Device)?;
    let block_offsets = (0..blocks).flat_map(|block| ((1 + table + block) << bits).to_be_bytes());
    device.write_at(1 << bits, &block_offsets.collect::<Vec<u8>>()).map_err(Error::Device)?;
    for block in 0..blocks {
        let first = block * geo.refcounts_per_block();
        let used = geo.refcounts_per_block().min(total - first);
        let mut counts = vec![0; (used as usize) << REFCOUNT_ORDER >> 3];
        (0..used as usize).for_each(|index| refcount::set(&mut counts, index, REFCOUNT_ORDER, 1));
        device.write_at((1 + table + block) << bits, &counts).map_err(Error::Device)?;
    }
    device.barrier().map_err(Error::Device)?;
    let v2 = HeaderV2 {
        magic: MAGIC,
        version: 3.into(),
        backing_file_offset: name_at.into(),
        backing_file_size: options.backing.as_ref().map_or(0, |(name, _)| name.len() as u32).into(),
        cluster_bits: bits.into(),
        size: geo.size.into(),
        crypt_method: 0.into(),
        l1_size: (geo.l1_needed() as u32).into(),
        l1_table_offset: if l1_clusters > 0 { ((1 + table + blocks) << bits).into() } else { 0.into() },
        refcount_table_offset: (1 << bits).into(),
        refcount_table_clusters: (table as u32).into(),
        nb_snapshots: 0.into(),
        snapshots_offset: 0.into(),
    };
    let v3 = HeaderV3 {
        incompatible_features: 0.into(),
        compatible_features: 0.into(),
        autoclear_features: 0.into(),
        refcount_order: REFCOUNT_ORDER.into(),
        header_length: V3_LENGTH.into(),
    };
    device.write_at(0, &[v2.as_bytes(), v3.as_bytes(), &extensions].concat()).map_err(Error::Device)?;
    device.barrier().map_err(Error::Device)?;
    Qcow2::open(device, backing, Options::default())
}
