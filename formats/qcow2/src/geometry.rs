//! Sizes that follow from the header: cluster, subcluster, table and refcount arithmetic.

/// The fixed numbers of one image. All fields were bounded when the header was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// 9 to 21.
    pub cluster_bits: u32,
    /// 0 to 6.
    pub refcount_order: u32,
    /// 16-byte L2 entries with 32 subclusters.
    pub extended_l2: bool,
    /// 2 or 3.
    pub version: u32,
    /// Guest length in bytes.
    pub size: u64,
}

impl Geometry {
    /// Bytes of a cluster.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an L2 entry.
    pub fn l2_entry(&self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Entries of an L2 table.
    pub fn l2_entries(&self) -> u64 {
        self.cluster() / self.l2_entry()
    }

    /// Guest bytes that one L2 table maps.
    pub fn l2_span(&self) -> u64 {
        self.l2_entries() << self.cluster_bits
    }

    /// L1 entries needed for the guest length.
    pub fn l1_needed(&self) -> u64 {
        self.size.div_ceil(self.l2_span())
    }

    /// Subclusters of a cluster: 1 without extended L2.
    pub fn subclusters(&self) -> u32 {
        if self.extended_l2 { 32 } else { 1 }
    }

    /// Bytes of a subcluster.
    pub fn subcluster(&self) -> u64 {
        self.cluster() / u64::from(self.subclusters())
    }

    /// A bit for each subcluster.
    pub fn all_subclusters(&self) -> u32 {
        if self.extended_l2 { u32::MAX } else { 1 }
    }

    /// Bits for the subclusters that `start..end`, offsets inside a cluster with `start < end`, touches.
    pub fn touched(&self, start: u64, end: u64) -> u32 {
        let first = start / self.subcluster();
        let last = (end - 1) / self.subcluster();
        let count = last - first + 1;
        (((1u64 << count) - 1) << first) as u32
    }

    /// Clusters whose refcounts fit one refcount block.
    pub fn refcounts_per_block(&self) -> u64 {
        (self.cluster() * 8) >> self.refcount_order
    }

    /// Offset inside its cluster.
    pub fn in_cluster(&self, offset: u64) -> u64 {
        offset & (self.cluster() - 1)
    }

    /// The start of its cluster.
    pub fn align_down(&self, offset: u64) -> u64 {
        offset & !(self.cluster() - 1)
    }

    /// Clusters needed for so many bytes.
    pub fn clusters_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster())
    }

    /// Whether a host cluster offset is aligned, nonzero and begins inside a file of `len` bytes.
    pub fn valid_cluster(&self, offset: u64, len: u64) -> bool {
        offset != 0 && self.in_cluster(offset) == 0 && offset < len
    }
}
