//! Bringing what has changed in a container's directory into the tree of the image.

use super::contents::copy_differences;
use super::manifest::{Header, Known, Manifest};
use super::plan::{Difference, Plan, What};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::host_dir::{Facts, HostDir, host_error};
use crate::tree::{FileKind, FileTree, GuestPath, NewNode, SetAttr};
use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;

/// The longest list of names, and the longest value, that Linux has.
const MAX_XATTR: usize = 64 << 10;

/// What was brought back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Names that were not there.
    pub created: u64,
    /// Of these, further or other names of files that were.
    pub linked: u64,
    /// Files and directories with other contents or attributes.
    pub changed: u64,
    /// Names that are gone.
    pub removed: u64,
    /// Bytes of contents that were written.
    pub bytes: u64,
    /// Owners of the host that are nobody in the container: what was there keeps its owner, what is new is root's.
    pub owners_unknown: u64,
    /// Extended attributes of the host that are not brought back.
    pub xattrs_left_out: u64,
}

struct Applier<'a> {
    tree: &'a mut dyn FileTree,
    top: &'a HostDir,
    header: &'a Header,
    names: &'a BTreeMap<GuestPath, Known>,
    done: Applied,
    /// Where the files that get other names are meanwhile, by inode.
    anchors: HashMap<u64, GuestPath>,
    anchor_dir: Option<GuestPath>,
    /// The first name of new files with several, by the host's inode number.
    new_links: HashMap<u64, GuestPath>,
    /// The directory that was looked into last.
    dir: Option<(GuestPath, HostDir)>,
}

/// Brings the differences of `plan` into `tree`. Nothing of the directory `top` is changed.
pub(super) fn apply(tree: &mut dyn FileTree, top: &HostDir, manifest: &Manifest, plan: &Plan) -> Result<Applied> {
    let mut applier = Applier {
        tree,
        top,
        header: &manifest.header,
        names: &manifest.names,
        done: Applied::default(),
        anchors: HashMap::new(),
        anchor_dir: None,
        new_links: HashMap::new(),
        dir: None,
    };
    for difference in &plan.differences {
        if let What::New(Some(old)) = &difference.what {
            applier.anchor(old)?;
        }
    }
    for path in &plan.removed {
        applier.done.removed += applier.tree.remove_tree(path)?;
    }
    for difference in &plan.differences {
        applier.one(difference)?;
    }
    if let Some(dir) = applier.anchor_dir.take() {
        for anchor in std::mem::take(&mut applier.anchors).into_values() {
            applier.tree.unlink(&anchor)?;
        }
        applier.tree.rmdir(&dir)?;
        if let Some(top) = &plan.top {
            applier.set_mtime(&GuestPath::root(), top)?;
        }
    }
    applier.dir_times(plan)?;
    Ok(applier.done)
}

fn changed_meanwhile(path: &GuestPath) -> Error {
    Error::new(ErrorKind::Busy, "it was changed while it was read")
        .at_path(path.to_bytes())
        .hint("stop what runs in the container first")
}

impl Applier<'_> {
    /// Keeps a file that gets another name, whatever becomes of the names that it has.
    fn anchor(&mut self, old: &GuestPath) -> Result<()> {
        let Some(known) = self.names.get(old) else { return Ok(()) };
        if self.anchors.contains_key(&known.ino) {
            return Ok(());
        }
        let dir = match &self.anchor_dir {
            Some(dir) => dir.clone(),
            None => {
                let mut names = (0u32..).map(|number| GuestPath::root().join(format!(".nomount-{number}")));
                let dir = names.find(|path| self.tree.stat(path).is_err()).expect("a directory has a free name");
                self.tree.create(&dir, NewNode::Dir, SetAttr { mode: Some(0o700), ..SetAttr::default() })?;
                self.anchor_dir.insert(dir).clone()
            }
        };
        let anchor = dir.join(known.ino.to_string());
        match self.tree.link(old, &anchor) {
            // It has as many names as it can have: the new one becomes a file of its own.
            Err(error) if error.kind() == ErrorKind::Limit => {}
            linked => {
                linked?;
                self.anchors.insert(known.ino, anchor);
            }
        }
        Ok(())
    }

    fn one(&mut self, difference: &Difference) -> Result<()> {
        let Difference { path, facts, what } = difference;
        match what {
            What::Changed => {
                let known = &self.names[path];
                let changed = self.update(path, facts, Some(known))?;
                self.done.changed += u64::from(changed);
            }
            What::New(old) => {
                self.done.created += 1;
                let known = old.as_ref().and_then(|old| self.names.get(old));
                let anchor = known.and_then(|known| self.anchors.get(&known.ino).cloned());
                let linked = anchor.as_ref().or_else(|| self.new_links.get(&facts.ino)).cloned();
                if let Some(linked) = linked {
                    self.tree.link(&linked, path)?;
                    self.done.linked += 1;
                    if anchor.is_some() {
                        self.update(path, facts, known)?;
                    }
                    return Ok(());
                }
                self.create(path, facts)?;
                self.update(path, facts, None)?;
                if facts.links > 1 && facts.kind != FileKind::Dir {
                    self.new_links.insert(facts.ino, path.clone());
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, path: &GuestPath, facts: &Facts) -> Result<()> {
        let node = match facts.kind {
            FileKind::File => NewNode::File,
            FileKind::Dir => NewNode::Dir,
            FileKind::Symlink => {
                let name = path.name().unwrap_or_default();
                let target = self.parent(path)?.read_link(name);
                NewNode::Symlink(target.map_err(|e| host_error("read the symbolic link", path, e))?)
            }
            FileKind::Fifo => NewNode::Fifo,
            FileKind::Socket => NewNode::Socket,
            FileKind::CharDevice => NewNode::CharDevice(facts.device.0, facts.device.1),
            FileKind::BlockDevice => NewNode::BlockDevice(facts.device.0, facts.device.1),
        };
        let attr = SetAttr { uid: Some(0), gid: Some(0), ..SetAttr::default() };
        self.tree.create(path, node, attr)
    }

    /// The open directory of the host that `path` is in.
    fn parent(&mut self, path: &GuestPath) -> Result<&HostDir> {
        let parent = path.parent().unwrap_or_default();
        let dir = match self.dir.take() {
            Some((at, dir)) if at == parent => dir,
            _ => self.top.descend(&parent).map_err(|e| host_error("open the directory", &parent, e))?,
        };
        Ok(&self.dir.insert((parent, dir)).1)
    }

    /// Makes what is at `path` as it is on the host, compared with what was `known` of it, which is nothing where it is
    /// new. Says whether anything had to be.
    fn update(&mut self, path: &GuestPath, facts: &Facts, known: Option<&Known>) -> Result<bool> {
        let mut changed = false;
        match facts.kind {
            FileKind::File => changed |= self.file(path, facts, known)?,
            FileKind::Dir => {
                let dir = self.top.descend(path).map_err(|e| host_error("open the directory", path, e))?;
                changed |= self.xattrs(path, &dir, known)?;
            }
            _ => {
                let name = path.name().unwrap_or_default();
                let now = self.parent(path)?.facts(name).map_err(|e| host_error("read", path, e))?;
                if !now.same_state(facts) {
                    return Err(changed_meanwhile(path));
                }
            }
        }
        let attr = self.attributes(path, facts, known)?;
        if attr != SetAttr::default() {
            self.tree.set_attr(path, attr)?;
            changed = true;
        }
        Ok(changed)
    }

    fn file(&mut self, path: &GuestPath, facts: &Facts, known: Option<&Known>) -> Result<bool> {
        let read = |e| host_error("read the file", path, e);
        let name = path.name().unwrap_or_default();
        let dir = self.parent(path)?;
        if !dir.facts(name).map_err(read)?.same_state(facts) {
            return Err(changed_meanwhile(path));
        }
        let file = dir.file(name).map_err(read)?;
        let open = Facts::of_open(&file).map_err(read)?;
        if !open.same_file(facts) || (open.mtime, open.size) != (facts.mtime, facts.size) {
            return Err(changed_meanwhile(path));
        }
        let before = self.tree.stat(path)?.size;
        let bytes = copy_differences(self.tree, path, &file, facts.size)?;
        self.done.bytes += bytes;
        let xattrs = self.xattrs(path, &file, known)?;
        if !Facts::of_open(&file).map_err(read)?.same_state(&open) {
            return Err(changed_meanwhile(path));
        }
        Ok(bytes > 0 || before != facts.size || xattrs)
    }

    /// Gives the file the attributes in the name space of users that it has on the host, and takes others away.
    fn xattrs(&mut self, path: &GuestPath, open: impl AsFd, known: Option<&Known>) -> Result<bool> {
        let recorded = known.map_or(&[][..], |known| &known.recorded);
        let (theirs, others) = host_xattrs(&open).map_err(|e| host_error("read the attributes", path, e))?;
        if known.is_none() {
            self.done.xattrs_left_out += others;
        }
        let ours = self.tree.xattrs(path)?;
        let ours = ours.iter().filter(|(name, _)| name.starts_with(b"user.") && !recorded.contains(name));
        let ours: BTreeMap<&[u8], &[u8]> = ours.map(|(name, value)| (&**name, &**value)).collect();
        let mut changed = false;
        for (name, value) in theirs.iter().filter(|(name, value)| ours.get(&***name) != Some(&&***value)) {
            self.tree.set_xattr(path, name, Some(value))?;
            changed = true;
        }
        for name in ours.keys().filter(|name| !theirs.contains_key(**name)) {
            self.tree.set_xattr(path, name, None)?;
            changed = true;
        }
        Ok(changed)
    }

    /// The attributes that differ.
    fn attributes(&mut self, path: &GuestPath, facts: &Facts, known: Option<&Known>) -> Result<SetAttr> {
        let host = known.and_then(|known| known.host.as_ref());
        let (uids, gids) = (&self.header.uid_map, &self.header.gid_map);
        let mut unknown = false;
        let mut owner = |now: u32, before: Option<u32>, back: Option<u32>| match (before == Some(now), back) {
            // Whoever it was given to on the host, in the image it is who it was.
            (true, _) => None,
            (false, None) => {
                unknown = true;
                None
            }
            (false, back) => back,
        };
        let uid = owner(facts.uid, host.map(|host| host.uid), uids.to_container(facts.uid));
        let gid = owner(facts.gid, host.map(|host| host.gid), gids.to_container(facts.gid));
        self.done.owners_unknown += u64::from(unknown);
        // Bits that the host was not given stay; a link's mode means nothing.
        let withheld = known.zip(host).map_or(0, |(known, host)| known.mode & !host.mode);
        let mode_differs = facts.kind != FileKind::Symlink && host.is_none_or(|host| host.mode != facts.mode);
        let mode = mode_differs.then_some(facts.mode | withheld);
        // Directories get theirs when all names are in them.
        let mtime_differs = facts.kind != FileKind::Dir && self.tree.stat(path)?.mtime != facts.mtime;
        let mtime = mtime_differs.then_some(facts.mtime);
        Ok(SetAttr { mode, uid, gid, mtime, atime: None })
    }

    /// Gives directories whose names have changed the time of that, which bringing the names in has made later.
    fn dir_times(&mut self, plan: &Plan) -> Result<()> {
        let dirs = plan.differences.iter().filter(|difference| difference.facts.kind == FileKind::Dir);
        for Difference { path, facts, .. } in dirs {
            self.set_mtime(path, facts)?;
        }
        Ok(())
    }

    fn set_mtime(&mut self, path: &GuestPath, facts: &Facts) -> Result<()> {
        if self.tree.stat(path)?.mtime != facts.mtime {
            self.tree.set_attr(path, SetAttr { mtime: Some(facts.mtime), ..SetAttr::default() })?;
        }
        Ok(())
    }
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Attributes in the name space of users, and how many others there are.
fn host_xattrs(open: impl AsFd) -> rustix::io::Result<(Xattrs, u64)> {
    let mut list = vec![0; MAX_XATTR];
    let len = match flistxattr(&open, &mut *list) {
        Err(Errno::OPNOTSUPP) => 0,
        len => len?,
    };
    let (mut found, mut others) = (Xattrs::new(), 0);
    let mut value = Vec::new();
    for name in list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if !name.starts_with(b"user.") {
            others += 1;
            continue;
        }
        value.resize(MAX_XATTR, 0);
        let len = fgetxattr(&open, name, &mut *value)?;
        found.insert(name.to_vec(), value[..len].to_vec());
    }
    Ok((found, others))
}
