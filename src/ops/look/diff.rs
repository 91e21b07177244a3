//! What is different between two trees.

use super::contents::{self, Source};
use super::list::{FileInfo, with_target};
use crate::error::{Error, Result};
use crate::tree::{FileKind, FileTree, GuestPath, Walk, Xattr};
use serde::Serialize;
use std::cmp::Ordering;
use std::path::Path;

/// What a file can differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What it is: file, directory and so on. Nothing else is compared then but mode, owner, times and attributes.
    Type,
    /// The bytes of a regular file.
    Content,
    /// The length of a regular file in bytes.
    Size,
    /// Permission bits.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// The number of names.
    Links,
    /// The target of a symbolic link.
    Target,
    /// The numbers of a device.
    Device,
    /// When the contents were changed.
    Mtime,
    /// When it was read.
    Atime,
    /// Extended attributes, access control lists among them.
    Xattrs,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Type,
        Self::Content,
        Self::Size,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Links,
        Self::Target,
        Self::Device,
        Self::Mtime,
        Self::Atime,
        Self::Xattrs,
    ];

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Content => "content",
            Self::Size => "size",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Links => "links",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mtime => "mtime",
            Self::Atime => "atime",
            Self::Xattrs => "xattrs",
        }
    }

    /// The field of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffOptions {
    /// What is not.
    pub ignored: Vec<Field>,
    /// Number of names of directories, too: it follows from what is in them.
    pub dir_links: bool,
    /// Times of directories, too: they change with every name in them.
    pub dir_times: bool,
}

impl Default for DiffOptions {
    /// All but times of access.
    fn default() -> Self {
        Self { ignored: vec![Field::Atime], dir_links: false, dir_times: false }
    }
}

/// A file that is not the same in both trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path below the two tops; the tops themselves have the root's.
    pub path: GuestPath,
    /// What the first tree has.
    pub before: Option<File>,
    /// What the second tree has.
    pub after: Option<File>,
    /// What differs, where both have it.
    pub fields: Vec<Field>,
}

/// A file of one of the trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is known of it.
    pub info: FileInfo,
    /// Its extended attributes, where they were compared.
    pub xattrs: Vec<Xattr>,
}

/// One of the two that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'t> {
    /// The tree.
    pub tree: &'t dyn FileTree,
    /// Where it begins: no links in it.
    pub top: &'t GuestPath,
    /// The image that the tree is in, for errors.
    pub image: &'t Path,
    /// The volume that the tree is in, for errors.
    pub volume: &'t str,
}

impl Side<'_> {
    fn named(self, error: Error) -> Error {
        error.in_volume(self.volume).in_image(self.image)
    }
}

/// Compares what is at the two tops and below and gives `sink` what differs, sorted by path. Contents are read only
/// where the sizes are equal. Returns how many files were compared. Errors as [`Walk`], and those of `sink`.
pub fn diff(
    before: Side<'_>,
    after: Side<'_>,
    options: &DiffOptions,
    sink: &mut dyn FnMut(&Difference) -> Result<()>,
) -> Result<u64> {
    let (mut old, mut new) = (Steps::new(before), Steps::new(after));
    let (mut left, mut right) = (old.next()?, new.next()?);
    let mut compared = 0;
    loop {
        let order = match (&left, &right) {
            (None, None) => return Ok(compared),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((left, _)), Some((right, _))) => left.cmp(right),
        };
        compared += 1;
        let from_left = if order == Ordering::Greater { None } else { left.take() };
        let from_right = if order == Ordering::Less { None } else { right.take() };
        match (from_left, from_right) {
            (Some((path, one)), Some((_, two))) => {
                let pair = (file(before, one, options)?, file(after, two, options)?);
                let fields = differing(before, after, &pair, options)?;
                if !fields.is_empty() {
                    sink(&Difference { path, before: Some(pair.0), after: Some(pair.1), fields })?;
                }
            }
            (Some((path, one)), None) => {
                let before = Some(file(before, one, options)?);
                sink(&Difference { path, before, after: None, fields: Vec::new() })?;
            }
            (None, Some((path, two))) => {
                let after = Some(file(after, two, options)?);
                sink(&Difference { path, before: None, after, fields: Vec::new() })?;
            }
            (None, None) => {}
        }
        if order != Ordering::Greater {
            left = old.next()?;
        }
        if order != Ordering::Less {
            right = new.next()?;
        }
    }
}

/// A walk that tells paths from its top on.
struct Steps<'t> {
    side: Side<'t>,
    walk: Walk,
}

impl<'t> Steps<'t> {
    fn new(side: Side<'t>) -> Self {
        Self { side, walk: Walk::new(side.top.clone()) }
    }

    fn next(&mut self) -> Result<Option<(GuestPath, FileInfo)>> {
        let side = self.side;
        let Some((path, stat)) = self.walk.next(side.tree).map_err(|e| side.named(e))? else { return Ok(None) };
        let root = GuestPath::root();
        let below = if path == *side.top { root } else { path.moved(side.top, &root) };
        Ok(Some((below, with_target(side.tree, path, stat).map_err(|e| side.named(e))?)))
    }
}

fn file(side: Side<'_>, info: FileInfo, options: &DiffOptions) -> Result<File> {
    let ignored = options.ignored.contains(&Field::Xattrs);
    let xattrs = if ignored { Vec::new() } else { side.tree.xattrs(&info.path).map_err(|e| side.named(e))? };
    Ok(File { info, xattrs })
}

fn differing(
    before: Side<'_>,
    after: Side<'_>,
    (one, two): &(File, File),
    options: &DiffOptions,
) -> Result<Vec<Field>> {
    let (a, b) = (&one.info.stat, &two.info.stat);
    let same_kind = a.kind == b.kind;
    let is_dir = same_kind && a.kind == FileKind::Dir;
    let both_files = same_kind && a.kind == FileKind::File;
    let mut fields = Vec::new();
    for field in Field::ALL.into_iter().filter(|field| !options.ignored.contains(field)) {
        let differs = match field {
            Field::Type => !same_kind,
            Field::Content => {
                both_files
                    && (a.size != b.size || !same_contents((before, &one.info.path), (after, &two.info.path), a.size)?)
            }
            // The length of a directory is a matter of its filesystem, that of a link is its target's.
            Field::Size => both_files && a.size != b.size,
            Field::Mode => a.mode != b.mode,
            Field::Uid => a.uid != b.uid,
            Field::Gid => a.gid != b.gid,
            Field::Links => same_kind && (!is_dir || options.dir_links) && a.links != b.links,
            Field::Target => same_kind && one.info.target != two.info.target,
            Field::Device => same_kind && a.device != b.device,
            Field::Mtime => (!is_dir || options.dir_times) && a.mtime != b.mtime,
            Field::Atime => (!is_dir || options.dir_times) && a.atime != b.atime,
            Field::Xattrs => one.xattrs != two.xattrs,
        };
        if differs {
            fields.push(field);
        }
    }
    Ok(fields)
}

fn same_contents(one: (Side<'_>, &GuestPath), two: (Side<'_>, &GuestPath), size: u64) -> Result<bool> {
    let (before, after) = (|error| one.0.named(error), |error| two.0.named(error));
    let one = Source { tree: one.0.tree, path: one.1, named: &before };
    contents::same(one, Source { tree: two.0.tree, path: two.1, named: &after }, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;
    use crate::tree::{NewNode, SetAttr, Time};

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn told(a: &MemTree, b: &MemTree, tops: [&str; 2], options: &DiffOptions) -> Vec<String> {
        let mut lines = Vec::new();
        let tops = tops.map(path);
        let image = Path::new("image");
        let side = |tree, top| Side { tree, top, image, volume: "whole device" };
        diff(side(a, &tops[0]), side(b, &tops[1]), options, &mut |difference| {
            let fields: Vec<&str> = difference.fields.iter().map(|field| field.name()).collect();
            let sign = match (&difference.before, &difference.after) {
                (Some(_), None) => '-',
                (None, Some(_)) => '+',
                _ => '=',
            };
            lines.push(format!("{sign} {} {}", difference.path, fields.join(" ")).trim_end().to_owned());
            Ok(())
        })
        .unwrap();
        lines
    }

    fn tree() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/d/file", "12345").file("/d/gone/x", "").link("/d/link", "a").file("/d/same", "");
        tree.create(&path("/d/dev"), NewNode::CharDevice(1, 3), SetAttr::default()).unwrap();
        tree
    }

    #[test]
    fn every_field_is_told_and_can_be_ignored() {
        let change = |at: &str, change: SetAttr| {
            let mut tree = tree();
            tree.set_attr(&path(at), change).unwrap();
            tree
        };
        let other = Some(Time { sec: 5, nsec: 0 });
        let none = SetAttr::default();
        let mut content = tree();
        content.file("/d/file", "1234x");
        let mut size = tree();
        size.file("/d/file", "1");
        let mut links = tree();
        links.hard_link("/d/file", "/d/zz");
        let mut xattrs = tree();
        xattrs.set_xattr(&path("/d/same"), b"user.x", Some(b"1")).unwrap();
        let again = |at: &str, node: NewNode| {
            let mut tree = tree();
            tree.unlink(&path(at)).unwrap();
            tree.create(&path(at), node, SetAttr::default()).unwrap();
            tree
        };
        for (changed, wanted) in [
            (tree(), vec![]),
            (content, vec!["= /file content"]),
            (size, vec!["= /file content size"]),
            (links, vec!["= /file links", "+ /zz"]),
            (xattrs, vec!["= /same xattrs"]),
            (change("/d/file", SetAttr { mode: Some(0o600), ..none }), vec!["= /file mode"]),
            (change("/d/file", SetAttr { uid: Some(1), gid: Some(2), ..none }), vec!["= /file uid gid"]),
            (change("/d/file", SetAttr { mtime: other, ..none }), vec!["= /file mtime"]),
            (change("/d/file", SetAttr { atime: other, ..none }), vec![]),
            (change("/d", SetAttr { mtime: other, ..none }), vec![]),
            (again("/d/link", NewNode::Symlink(b"b".to_vec())), vec!["= /link target"]),
            (again("/d/dev", NewNode::CharDevice(1, 4)), vec!["= /dev device"]),
            (again("/d/dev", NewNode::Fifo), vec!["= /dev type"]),
        ] {
            let options = DiffOptions::default();
            assert_eq!(told(&tree(), &changed, ["/d", "/d"], &options), wanted);
            let ignored = DiffOptions { ignored: Field::ALL.to_vec(), ..options };
            let rest: Vec<&str> = wanted.into_iter().filter(|line| line.starts_with('+')).collect();
            assert_eq!(told(&tree(), &changed, ["/d", "/d"], &ignored), rest);
        }
        let all = DiffOptions { ignored: Vec::new(), dir_links: true, dir_times: true };
        let changed = change("/d", SetAttr { mtime: other, atime: other, ..none });
        assert_eq!(told(&tree(), &changed, ["/d", "/d"], &all), ["= / mtime atime"]);
    }

    #[test]
    fn trees_are_gone_through_side_by_side() {
        let (old, mut new) = (tree(), tree());
        new.remove_tree(&path("/d/gone")).unwrap();
        new.file("/d/gone", "now a file").file("/d/gone.", "").file("/d/a/b", "");
        let options = DiffOptions { ignored: vec![Field::Mtime, Field::Atime, Field::Mode], ..DiffOptions::default() };
        assert_eq!(
            told(&old, &new, ["/d", "/d"], &options),
            ["+ /a", "+ /a/b", "= /gone type", "- /gone/x", "+ /gone."]
        );
        // Tops may have different names, and be files.
        assert_eq!(told(&old, &new, ["/d/same", "/d/gone."], &options), [""; 0]);
        assert_eq!(told(&old, &new, ["/d/gone/x", "/d/gone"], &options), ["= / content size"]);
        assert_eq!(told(&old, &new, ["/d/gone", "/d/a"], &options), ["+ /b", "- /x"]);
    }
}
