//! A manifest of a tree, mtree(5): what there is, whose it is, and with which contents.

use super::checksum::{Algorithm, of_file};
use super::list::{FileInfo, with_target};
use super::vis::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, GuestPath, Walk};
use std::fmt::Write;

/// What a manifest begins with.
pub const HEADER: &str = "#mtree";

/// A file and the checksum of its contents, where it is a regular file and one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is known of it.
    pub file: FileInfo,
    /// Its path below the top of the manifest, beginning with a dot.
    pub name: Vec<u8>,
    /// In hexadecimal.
    pub digest: Option<String>,
}

/// Refuses what has no keyword in mtree(5).
pub fn check_hash(hash: Algorithm) -> Result<()> {
    if hash == Algorithm::Crc {
        let message = "a manifest has no place for the checksum crc";
        return Err(Error::new(ErrorKind::Usage, message).hint("md5, sha1, sha256 and sha512 have one"));
    }
    Ok(())
}

/// Goes through what is at `top`, which has no links in it, and below; names sorted. Errors as [`Walk`], and those of
/// `sink`.
pub fn manifest(
    tree: &dyn FileTree,
    top: &GuestPath,
    hash: Option<Algorithm>,
    sink: &mut dyn FnMut(&Entry) -> Result<()>,
) -> Result<()> {
    hash.map_or(Ok(()), check_hash)?;
    let mut walk = Walk::new(top.clone());
    while let Some((path, stat)) = walk.next(tree)? {
        let names = path.components().skip(top.components().len());
        let name = names.fold(b".".to_vec(), |name, component| [&name, &b"/"[..], component].concat());
        let file = with_target(tree, path, stat)?;
        let digest = match (hash, file.stat.kind) {
            (Some(hash), FileKind::File) => Some(of_file(tree, &file.path, file.stat.size, hash)?.0),
            _ => None,
        };
        sink(&Entry { file, name, digest })?;
    }
    Ok(())
}

impl Entry {
    /// As a line of a manifest, without its line break; `hash` as [`manifest`] was given it. Fields in this order:
    /// type, mode, uid, gid, nlink, size (of files), time, device, link, digest. Device numbers as libarchive writes
    /// them: `native,MAJOR,MINOR`.
    pub fn line(&self, hash: Option<Algorithm>) -> String {
        let stat = &self.file.stat;
        let mut line = format!(
            "{} type={} mode={:04o} uid={} gid={} nlink={}",
            encode_path(&self.name),
            word(stat.kind),
            stat.mode,
            stat.uid,
            stat.gid,
            stat.links
        );
        // Writing to a text does not fail.
        if stat.kind == FileKind::File {
            let _ = write!(line, " size={}", stat.size);
        }
        let _ = write!(line, " time={}.{:09}", stat.mtime.sec, stat.mtime.nsec);
        if let Some((major, minor)) = stat.device {
            let _ = write!(line, " device=native,{major},{minor}");
        }
        if let Some(target) = &self.file.target {
            let _ = write!(line, " link={}", encode(target));
        }
        if let (Some(hash), Some(digest)) = (hash, &self.digest) {
            let _ = write!(line, " {}digest={digest}", hash.name());
        }
        line
    }
}

fn encode_path(name: &[u8]) -> String {
    name.split(|byte| *byte == b'/').map(encode).collect::<Vec<_>>().join("/")
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Dir => "dir",
        FileKind::Symlink => "link",
        FileKind::CharDevice => "char",
        FileKind::BlockDevice => "block",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;
    use crate::tree::{NewNode, SetAttr};

    #[test]
    fn every_kind_of_file_has_its_line() {
        let mut tree = MemTree::new();
        tree.file("/d/a b", "abc").link("/d/link", "x=y z").chmod("/d/a b", 0o4755).owner("/d/a b", 7, 8);
        let device = NewNode::BlockDevice(8, 1);
        tree.create(&GuestPath::parse("/d/sda1").unwrap(), device, SetAttr::default()).unwrap();
        let lines = |hash| {
            let mut lines = Vec::new();
            manifest(&tree, &GuestPath::parse("/d").unwrap(), hash, &mut |entry| {
                lines.push(entry.line(hash));
                Ok(())
            })
            .unwrap();
            lines
        };
        let time = "time=1000000000.000000005";
        let wanted = [
            format!(". type=dir mode=0755 uid=0 gid=0 nlink=2 {time}"),
            format!(
                "./a\\040b type=file mode=4755 uid=7 gid=8 nlink=1 size=3 {time} \
                 md5digest=900150983cd24fb0d6963f7d28e17f72"
            ),
            format!("./link type=link mode=0777 uid=0 gid=0 nlink=1 {time} link=x\\075y\\040z"),
            format!("./sda1 type=block mode=0644 uid=0 gid=0 nlink=1 {time} device=native,8,1"),
        ];
        assert_eq!(lines(Some(Algorithm::Md5)), wanted);
        assert!(lines(None)[1].ends_with(time));
        let refused = manifest(&tree, &GuestPath::root(), Some(Algorithm::Crc), &mut |_| Ok(()));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Usage);
    }
}
