//! Hostile values that were once taken: each panicked, looped, or would have done harm.

use crate::common::OPTIONS;
use nomount_block::Memory;
use nomount_ext::{Attrs, CheckOptions, Error, Filesystem, New, Options, ROOT_INO, check};
use nomount_kit::ext_layout::{Kind, Layout, Place, le32};
use nomount_kit::fixture;

/// A fixture to be spoiled.
struct Spoiled {
    bytes: Vec<u8>,
    layout: Layout,
}

impl Spoiled {
    fn of(name: &str) -> Self {
        let bytes = fixture::bytes(name);
        let layout = Layout::of(&bytes).expect("an ext image");
        Self { bytes, layout }
    }

    fn place(&self, wanted: impl Fn(&Kind) -> bool) -> Place {
        self.layout.places(&self.bytes).into_iter().find(|place| wanted(&place.kind)).expect("the fixture has one")
    }

    /// Writes into a structure and makes its checksum right.
    fn put(&mut self, place: &Place, offset: usize, bytes: &[u8]) {
        self.bytes[place.at + offset..][..bytes.len()].copy_from_slice(bytes);
        self.layout.fix(&mut self.bytes, place);
    }

    fn put_inode(&mut self, ino: u32, offset: usize, bytes: &[u8]) {
        let place = Place { kind: Kind::Inode(ino), at: self.layout.inode(ino), fields: 0..0 };
        self.put(&place, offset, bytes);
    }

    fn ino(&self, path: &[u8]) -> u32 {
        Filesystem::open(Memory::new(self.bytes.clone()), Options::default()).unwrap().resolve(path).unwrap()
    }

    fn open(self) -> Filesystem<Memory> {
        Filesystem::open_for_write(Memory::new(self.bytes), OPTIONS).unwrap()
    }
}

fn told(error: &Error, word: &str) {
    assert!(error.to_string().contains(word), "{error}");
}

/// Two entries with one value: each fits, both together do not, and writing them again ran below the block's start.
#[test]
fn attributes_that_share_their_value() {
    let mut image = Spoiled::of("ext4-1k");
    let block = image.place(|kind| *kind == Kind::XattrBlock);
    let holder = (1..=image.layout.groups * 512).find(|ino| {
        let at = image.layout.inode(*ino);
        at + 256 <= image.bytes.len() && le32(&image.bytes, at + 0x68) as usize * image.layout.block == block.at
    });
    let entry = |name: u8| {
        let mut entry = [0; 20];
        (entry[0], entry[1], entry[16]) = (1, 1, name);
        entry[2..4].copy_from_slice(&224u16.to_le_bytes());
        entry[8..12].copy_from_slice(&800u32.to_le_bytes());
        entry
    };
    image.put(&block, 32, &[&entry(b'a')[..], &entry(b'b'), &[0; 4]].concat());
    let mut fs = image.open();
    let holder = holder.unwrap();
    told(&fs.xattrs(holder).unwrap_err(), "overlaps");
    told(&fs.set_xattr(holder, b"user.c", Some(&[1; 500])).unwrap_err(), "overlaps");
}

/// An assertion took it for granted that somebody uses an attribute block that is in use.
#[test]
fn an_attribute_block_that_nobody_counts() {
    let mut image = Spoiled::of("ext4-1k");
    let block = image.place(|kind| *kind == Kind::XattrBlock);
    image.put(&block, 4, &[0; 4]);
    image.put(&block, 32, &[0; 4]);
    let holder = (11..512)
        .find(|ino| le32(&image.bytes, image.layout.inode(*ino) + 0x68) as usize * image.layout.block == block.at);
    let mut fs = image.open();
    told(&fs.set_xattr(holder.unwrap(), b"user.c", Some(&[1; 500])).unwrap_err(), "h_refcount");
}

/// With an empty log nobody looked at it.
#[test]
fn a_journal_that_records_an_error() {
    let mut image = Spoiled::of("ext4-1k");
    let journal = image.place(|kind| *kind == Kind::JournalSuperblock);
    image.put(&journal, 0x20, &(-5i32).to_be_bytes());
    let error = Filesystem::open_for_write(Memory::new(image.bytes), OPTIONS).unwrap_err();
    assert!(matches!(error, Error::ReadOnly(_)));
    told(&error, "error -5");
}

/// One more directory ran over the end of the number.
#[test]
fn a_group_with_all_the_directories_there_could_be() {
    let mut image = Spoiled::of("ext4-1k");
    let desc = image.place(|kind| *kind == Kind::Descriptor(0));
    image.put(&desc, 0x10, &[0xFF; 2]);
    image.put(&desc, 0x30, &[0xFF; 2]);
    let error = Filesystem::open_for_write(Memory::new(image.bytes), OPTIONS).unwrap_err();
    told(&error, "directories");
}

/// A descriptor that counts more free blocks than its bitmap has would have been believed.
#[test]
fn a_bitmap_and_its_descriptor_that_disagree() {
    let mut image = Spoiled::of("ext4-1k");
    let desc = image.place(|kind| *kind == Kind::Descriptor(0));
    let free = image.bytes[desc.at + 0xC];
    image.put(&desc, 0xC, &[free ^ 1]);
    let mut fs = image.open();
    let mut made = fs.create(ROOT_INO, b"d", &New::Dir, Attrs::default()).map(drop);
    for number in 0..40 {
        let name = format!("f{number}");
        made = made.and_then(|()| {
            let ino = fs.create(ROOT_INO, name.as_bytes(), &New::File, Attrs::default())?;
            fs.write_contents(ino, &vec![1; 1 << 20])
        });
    }
    told(&made.unwrap_err(), "the descriptor counts");
}

/// A block of pointers that points at itself stands for 2^24 nodes.
#[test]
fn a_block_map_that_comes_back_to_itself() {
    let mut image = Spoiled::of("ext3-1k");
    let ino = image.ino(b"/var/triple");
    let double = le32(&image.bytes, image.layout.inode(ino) + 0x28 + 13 * 4);
    let at = double as usize * image.layout.block;
    image.bytes[at..at + 4].copy_from_slice(&double.to_le_bytes());
    let mut fs = image.open();
    told(&fs.runs(ino).unwrap_err(), "two parts");
    // Freeing it finds the block a second time.
    told(&fs.write_contents(ino, b"x").unwrap_err(), "marked free");
}

/// The list was searched from its start for each inode on it, and one that named itself was walked twice.
#[test]
fn an_orphan_list_that_comes_back() {
    let mut image = Spoiled::of("orphan-list");
    let first = le32(&image.bytes, 1024 + 0xE8);
    assert_ne!(first, 0);
    image.put_inode(first, 0x14, &first.to_le_bytes());
    let error = Filesystem::open_for_write(Memory::new(image.bytes), OPTIONS).unwrap_err();
    told(&error, "comes back");
}

/// The end of the appended bytes was beyond 64 bits.
#[test]
fn a_file_of_almost_all_bytes_there_are() {
    let mut image = Spoiled::of("ext4-1k");
    let ino = image.ino(b"/etc/passwd");
    let size = 0xFFFF_FFFF_FFFF_F000u64.to_le_bytes();
    image.put_inode(ino, 4, &size[..4]);
    image.put_inode(ino, 0x6C, &size[4..]);
    let mut fs = image.open();
    assert!(matches!(fs.append(ino, &[1; 8192]), Err(Error::FileTooLarge { .. })));
}

/// With a map that names blocks many times, a directory could be longer than anyone can wait for.
#[test]
fn a_directory_without_end() {
    let mut image = Spoiled::of("ext4-1k");
    image.put_inode(ROOT_INO, 4, &0xFFFF_FC00u32.to_le_bytes());
    let fs = Filesystem::open(Memory::new(image.bytes), Options::default()).unwrap();
    told(&fs.lookup(ROOT_INO, b"x").unwrap_err(), "directory");
}

/// The check said nothing of a bitmap where the superblock is, because that lies inside group 0.
#[test]
fn a_bitmap_in_the_block_of_the_superblock() {
    let mut image = Spoiled::of("ext4-1k");
    let descriptor = image.place(|kind| *kind == Kind::Descriptor(0));
    image.put(&descriptor, 0, &1u32.to_le_bytes());
    let report = check(Memory::new(image.bytes), OPTIONS, &CheckOptions::default()).unwrap();
    assert!(report.findings().iter().any(|finding| finding.id == "PR_0_BB_NOT_GROUP"), "{report}");
}

/// A copy for a block of the log itself was written home over a later copy before that one was read: what was shown
/// through the log was not what a recovery left.
#[test]
fn a_copy_onto_the_log() {
    let mut image = Spoiled::of("dirty-csum3");
    let descriptor = image.place(|kind| *kind == Kind::LogTail);
    let behind = (descriptor.at / image.layout.block + 2) as u32;
    assert_eq!(image.bytes[descriptor.at + 4..][..4], [0, 0, 0, 1], "a descriptor");
    image.put(&descriptor, 12, &behind.to_be_bytes());
    told(&Filesystem::open(Memory::new(image.bytes), OPTIONS).unwrap_err(), "the journal's own");
}
