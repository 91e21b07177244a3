//! What is remembered of each inode between the passes: eight bytes, and only where a group has inodes in use.

/// Inodes whose notes are allocated together.
const CHUNK: u32 = 64;

/// What is known of an inode.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Note {
    /// Bits of [`Note`].
    pub bits: u8,
    /// `i_links_count`.
    pub links: u16,
    /// Names that were found.
    pub names: u32,
}

impl Note {
    /// `file_type` of a directory entry that stands for it.
    pub const TYPE: u8 = 0x07;
    /// In use: it has links, or is reserved.
    pub const USED: u8 = 0x08;
    /// A directory with an index, whose links may say "many".
    pub const INDEXED: u8 = 0x10;
    /// Holds the value of an extended attribute.
    pub const VALUE: u8 = 0x20;
    /// Waits for its deletion: it has no links and is in use all the same.
    pub const ORPHAN: u8 = 0x40;
    /// What it is cannot be told.
    pub const BROKEN: u8 = 0x80;

    pub fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    pub fn is_dir(self) -> bool {
        self.bits & Self::TYPE == 2
    }
}

type Chunk = Box<[Note; CHUNK as usize]>;

/// The notes of all inodes.
#[derive(Debug)]
pub(super) struct Notes {
    groups: Vec<Option<Box<[Option<Chunk>]>>>,
    per_group: u32,
    /// Memory of chunks and lists of them.
    bytes: u64,
}

impl Notes {
    /// Memory of a group that nothing is known of.
    pub const PLACE: usize = size_of::<Option<Box<[Option<Chunk>]>>>();

    pub fn new(groups: u32, per_group: u32) -> Self {
        Self { groups: vec![None; groups as usize], per_group, bytes: 0 }
    }

    /// Memory that they take besides the places of groups.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is known of an inode, whose number is in range.
    pub fn get(&self, ino: u32) -> Note {
        let (group, index) = ((ino - 1) / self.per_group, (ino - 1) % self.per_group);
        let chunk = self.groups[group as usize].as_ref().and_then(|chunks| chunks[(index / CHUNK) as usize].as_ref());
        chunk.map_or_else(Note::default, |chunk| chunk[(index % CHUNK) as usize])
    }

    pub fn get_mut(&mut self, ino: u32) -> &mut Note {
        let (group, index) = ((ino - 1) / self.per_group, (ino - 1) % self.per_group);
        let bytes = &mut self.bytes;
        let chunks = self.groups[group as usize].get_or_insert_with(|| {
            let chunks: Box<[Option<Chunk>]> = vec![None; self.per_group.div_ceil(CHUNK) as usize].into();
            *bytes += size_of_val(&chunks[..]) as u64;
            chunks
        });
        let chunk = chunks[(index / CHUNK) as usize].get_or_insert_with(|| {
            *bytes += size_of::<[Note; CHUNK as usize]>() as u64;
            Box::new([Note::default(); CHUNK as usize])
        });
        &mut chunk[(index % CHUNK) as usize]
    }

    /// The inodes of a group that something is known of.
    pub fn of_group(&self, group: u32) -> impl Iterator<Item = (u32, Note)> + '_ {
        let chunks = self.groups[group as usize].iter().flat_map(|chunks| chunks.iter().enumerate());
        let first = group * self.per_group + 1;
        chunks.filter_map(|(at, chunk)| Some((at as u32 * CHUNK, chunk.as_ref()?))).flat_map(move |(start, chunk)| {
            let notes = chunk.iter().enumerate().filter(|(_, note)| note.bits != 0 || note.names != 0);
            notes.map(move |(at, note)| (first + start + at as u32, *note))
        })
    }
}
