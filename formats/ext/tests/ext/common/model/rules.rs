//! What POSIX, and the limits of the format, say of a call: why it must be refused, and what it does.

use super::acl::Acl;
use super::calls::{Call, Done, What, acl_name};
use super::contents::Contents;
use super::tree::{APPEND, DIRSYNC, FLAGS, IMMUTABLE, Ino, NOATIME, NODUMP, Node, PROJINHERIT, SYNC, TOPDIR, Tree};
use nomount_ext::{Attrs, MAX_NAME};
use nomount_kit::digest::Kind;
use rpds::RedBlackTreeMapSync;
use std::collections::BTreeMap;

const S_ISGID: u16 = 0o2000;
const LINK_MAX: u32 = 65000;
const MAX_TARGET: usize = 4095;
const MAX_VALUE: usize = 1 << 16;

/// Reasons against a call, by the names of [`nomount_ext::Error`]. Where there are several, which one is told is the
/// engine's choice.
pub type Reasons = Vec<&'static str>;

/// Flags that an inode of a kind can have.
fn possible(kind: Kind) -> u32 {
    match kind {
        Kind::Dir => FLAGS,
        Kind::File => FLAGS & !(DIRSYNC | TOPDIR | PROJINHERIT),
        _ => NODUMP | NOATIME,
    }
}

/// Flags that something new takes from its directory.
fn inherited(kind: Kind) -> u32 {
    possible(kind) & (SYNC | NODUMP | NOATIME | DIRSYNC | PROJINHERIT)
}

fn when(condition: bool, reason: &'static str) -> Option<&'static str> {
    condition.then_some(reason)
}

fn against_name(name: &[u8]) -> Option<&'static str> {
    let bad = matches!(name, b"" | b"." | b"..") || name.len() > MAX_NAME;
    when(bad || name.contains(&b'/') || name.contains(&0), "InvalidName")
}

fn sealed(node: &Node, flags: u32) -> Option<&'static str> {
    when(node.flags & flags != 0, "ReadOnly")
}

impl Tree {
    /// Why a call must fail; empty where it must not.
    pub fn reasons(&self, call: &Call) -> Reasons {
        let mut reasons = Reasons::new();
        match call {
            Call::Create { dir, name, what, attrs } => {
                self.against_adding(*dir, name, &mut reasons);
                reasons.extend(self.against_attrs(attrs, what.kind(), 0));
                reasons.extend(when(self.is_taken(*dir, name), "Exists"));
                if let What::Symlink(target) = what {
                    let most = MAX_TARGET.min(self.traits.block_size as usize - 1);
                    reasons.extend(when(target.is_empty() || target.len() > most, "Invalid"));
                }
            }
            Call::Link { ino, dir, name } => {
                let node = self.node(*ino);
                self.against_adding(*dir, name, &mut reasons);
                reasons.extend(when(self.is_taken(*dir, name), "Exists"));
                reasons.extend(when(node.kind == Kind::Dir, "IsDirectory"));
                reasons.extend(when(node.links >= LINK_MAX, "TooManyLinks"));
                reasons.extend(sealed(node, IMMUTABLE | APPEND));
                reasons.extend(self.against_project(*dir, node));
            }
            Call::Unlink { dir, name } => {
                let found = self.against_removing(*dir, name, &mut reasons);
                reasons.extend(when(found.is_some_and(|node| node.kind == Kind::Dir), "IsDirectory"));
            }
            Call::Rmdir { dir, name } => {
                if let Some(node) = self.against_removing(*dir, name, &mut reasons) {
                    reasons.extend(when(node.kind != Kind::Dir, "NotDirectory"));
                    reasons.extend(when(!node.names.is_empty(), "NotEmpty"));
                }
            }
            Call::RemoveTree { dir, name } => {
                let Some(_) = self.against_removing(*dir, name, &mut reasons) else { return reasons };
                let top = self.lookup(*dir, name).expect("it was found");
                let sealed = self.below(top).into_iter().any(|ino| self.node(ino).flags & (IMMUTABLE | APPEND) != 0);
                reasons.extend(when(sealed, "ReadOnly"));
            }
            Call::Rename { dir, name, to, new_name } => self.against_rename(*dir, name, *to, new_name, &mut reasons),
            Call::WriteContents { ino, .. } | Call::Append { ino, .. } | Call::Punch { ino, .. } => {
                self.against_contents(*ino, &mut reasons);
            }
            Call::WriteAt { ino, at, data } => {
                self.against_contents(*ino, &mut reasons);
                if !data.is_empty() {
                    reasons.extend(self.against_size(*ino, *at, data.len() as u64));
                }
            }
            Call::Truncate { ino, size } => {
                self.against_contents(*ino, &mut reasons);
                reasons.extend(self.against_size(*ino, *size, 0));
            }
            Call::Allocate { ino, at, len } => {
                self.against_contents(*ino, &mut reasons);
                reasons.extend(when(*len == 0 || !self.node(*ino).extents, "Invalid"));
                reasons.extend(self.against_size(*ino, *at, *len));
            }
            Call::SetAttrs { ino, attrs } => {
                let node = self.node(*ino);
                reasons.extend(self.against_attrs(attrs, node.kind, node.flags));
                let beyond_flags = *attrs != Attrs { flags: attrs.flags, ..Attrs::default() };
                if beyond_flags || attrs.flags.is_none() {
                    // Unless it takes away what stands against it.
                    let kept = attrs.flags.unwrap_or(FLAGS);
                    reasons.extend(sealed(node, (IMMUTABLE | APPEND) & kept));
                }
            }
            Call::SetAcl { ino, default, .. } => {
                let node = self.node(*ino);
                reasons.extend(sealed(node, IMMUTABLE | APPEND));
                reasons.extend(when(node.kind == Kind::Symlink, "Invalid"));
                let empty = matches!(call, Call::SetAcl { list: None, .. });
                reasons.extend(when(*default && node.kind != Kind::Dir && !empty, "Invalid"));
            }
            Call::RemoveAcl { ino, default } => {
                let node = self.node(*ino);
                reasons.extend(sealed(node, IMMUTABLE | APPEND));
                reasons.extend(when(!node.xattrs.contains_key(acl_name(*default)), "NotFound"));
            }
            Call::SetXattr { ino, name, value } => {
                let node = self.node(*ino);
                reasons.extend(sealed(node, IMMUTABLE | APPEND));
                let known = [&b"user."[..], b"trusted.", b"security."];
                let bad = !known.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len());
                reasons.extend(when(bad, "Invalid"));
                match value {
                    Some(value) => reasons.extend(when(value.len() > MAX_VALUE, "Limit")),
                    None => reasons.extend(when(!node.xattrs.contains_key(&name[..]), "NotFound")),
                }
            }
        }
        reasons
    }

    fn against_attrs(&self, attrs: &Attrs, kind: Kind, flags: u32) -> Reasons {
        let project = attrs.project.is_some() && !self.traits.project;
        let flag = attrs.flags.unwrap_or(0) & !possible(kind) & !flags != 0;
        [when(project, "Unsupported"), when(flag, "Invalid")].into_iter().flatten().collect()
    }

    fn is_taken(&self, dir: Ino, name: &[u8]) -> bool {
        self.lookup(dir, name).is_some()
    }

    fn against_adding(&self, dir: Ino, name: &[u8], reasons: &mut Reasons) {
        let node = self.node(dir);
        reasons.extend(when(node.kind != Kind::Dir, "NotDirectory"));
        reasons.extend(sealed(node, IMMUTABLE));
        reasons.extend(against_name(name));
    }

    /// What a name that is to go stands for, if it is there.
    fn against_removing(&self, dir: Ino, name: &[u8], reasons: &mut Reasons) -> Option<&Node> {
        let node = self.node(dir);
        reasons.extend(when(node.kind != Kind::Dir, "NotDirectory"));
        reasons.extend(sealed(node, IMMUTABLE | APPEND));
        reasons.extend(against_name(name));
        let found = self.lookup(dir, name).map(|ino| self.node(ino));
        match found {
            Some(node) => reasons.extend(sealed(node, IMMUTABLE | APPEND)),
            None => reasons.push("NotFound"),
        }
        found
    }

    fn against_project(&self, dir: Ino, node: &Node) -> Option<&'static str> {
        let dir = self.node(dir);
        when(dir.flags & PROJINHERIT != 0 && dir.project != node.project, "OtherProject")
    }

    fn against_rename(&self, dir: Ino, name: &[u8], to: Ino, new_name: &[u8], reasons: &mut Reasons) {
        reasons.extend(when(self.node(to).kind != Kind::Dir, "NotDirectory"));
        reasons.extend(against_name(new_name));
        let from = self.lookup(dir, name);
        if from.is_some() && from == self.lookup(to, new_name) {
            // Two names of one inode: nothing happens, whatever else might stand against it.
            return reasons.extend(sealed(self.node(dir), IMMUTABLE | APPEND));
        }
        reasons.extend(sealed(self.node(to), IMMUTABLE));
        let Some(node) = self.against_removing(dir, name, reasons) else { return };
        reasons.extend(self.against_project(to, node));
        let is_dir = node.kind == Kind::Dir;
        let ino = self.lookup(dir, name).expect("it was found");
        reasons.extend(when(is_dir && self.is_inside(to, ino), "Invalid"));
        let Some(over) = self.lookup(to, new_name).map(|ino| self.node(ino)) else { return };
        reasons.extend(sealed(self.node(to), APPEND));
        reasons.extend(sealed(over, IMMUTABLE | APPEND));
        reasons.extend(when(is_dir && over.kind != Kind::Dir, "NotDirectory"));
        reasons.extend(when(!is_dir && over.kind == Kind::Dir, "IsDirectory"));
        reasons.extend(when(is_dir && over.kind == Kind::Dir && !over.names.is_empty(), "NotEmpty"));
    }

    fn against_contents(&self, ino: Ino, reasons: &mut Reasons) {
        let node = self.node(ino);
        reasons.extend(sealed(node, IMMUTABLE | APPEND));
        match node.kind {
            Kind::File => {}
            Kind::Dir => reasons.push("IsDirectory"),
            _ => reasons.push("NotFile"),
        }
    }

    /// The places that operations choose are far below the limit of every map, or far above.
    fn against_size(&self, ino: Ino, at: u64, len: u64) -> Option<&'static str> {
        let is_file = self.node(ino).kind == Kind::File;
        when(is_file && at.saturating_add(len) >= 1 << 50, "FileTooLarge")
    }

    /// An inode and everything below it, each directory before what it holds.
    pub fn below(&self, top: Ino) -> Vec<Ino> {
        let mut all = vec![top];
        let mut at = 0;
        while at < all.len() {
            all.extend(self.node(all[at]).names.values());
            at += 1;
        }
        all
    }

    /// Does on the tree what a call that was not refused does.
    pub fn apply(&mut self, call: &Call, done: &Done) {
        let now = self.now;
        match call {
            Call::Create { dir, name, what, attrs } => self.create(*dir, name, what, attrs, done.ino),
            Call::Link { ino, dir, name } => {
                self.add_name(*dir, name, *ino);
                let node = self.node_mut(*ino);
                node.links += 1;
                node.ctime = now;
            }
            Call::Unlink { dir, name } | Call::Rmdir { dir, name } => self.remove(*dir, name),
            Call::RemoveTree { dir, name } => {
                let top = self.lookup(*dir, name).expect("it was not refused");
                for ino in self.below(top).into_iter().rev() {
                    if let Some(node) = self.get(ino).filter(|node| node.kind == Kind::Dir) {
                        let names: Vec<Vec<u8>> = node.names.keys().cloned().collect();
                        names.iter().for_each(|name| self.remove(ino, name));
                    }
                }
                self.remove(*dir, name);
            }
            Call::Rename { dir, name, to, new_name } => self.rename(*dir, name, *to, new_name),
            Call::WriteContents { ino, data } => self.change_contents(*ino, |contents| {
                contents.truncate(0);
                contents.write(0, data);
            }),
            Call::Append { data, .. } | Call::WriteAt { data, .. } if data.is_empty() => {}
            Call::Append { ino, data } => self.change_contents(*ino, |contents| contents.write(contents.size(), data)),
            Call::WriteAt { ino, at, data } => self.change_contents(*ino, |contents| contents.write(*at, data)),
            Call::Truncate { ino, size } => self.change_contents(*ino, |contents| contents.truncate(*size)),
            Call::Punch { ino, at, len } => {
                let end = at.saturating_add(*len).min(self.node(*ino).contents.size());
                if *at < end {
                    self.change_contents(*ino, |contents| contents.zero(*at, end - at));
                }
            }
            Call::Allocate { ino, at, len } => {
                let end = at + len;
                if end > self.node(*ino).contents.size() {
                    self.change_contents(*ino, |contents| contents.truncate(end));
                }
                self.node_mut(*ino).ctime = now;
            }
            Call::SetAttrs { ino, attrs } => self.set_attrs(*ino, attrs),
            Call::SetXattr { ino, name, value } => {
                self.put_xattr(*ino, name, value.as_ref().map(|value| value.to_vec()));
                self.node_mut(*ino).ctime = now;
            }
            Call::SetAcl { ino, default, list } => {
                let node = self.node_mut(*ino);
                let mut stored = list.clone();
                if let (Some(list), false) = (list, default) {
                    node.mode = node.mode & !0o777 | list.mode();
                    stored = list.clone().beyond_mode();
                }
                node.ctime = now;
                self.put_xattr(*ino, acl_name(*default), stored.map(|list| list.stored()));
            }
            Call::RemoveAcl { ino, default } => {
                self.put_xattr(*ino, acl_name(*default), None);
                self.node_mut(*ino).ctime = now;
            }
        }
    }

    fn put_xattr(&mut self, ino: Ino, name: &[u8], value: Option<Vec<u8>>) {
        let node = self.node_mut(ino);
        match value {
            Some(value) => drop(node.xattrs.insert(name.to_vec(), value)),
            None => drop(node.xattrs.remove(name)),
        }
    }

    fn set_attrs(&mut self, ino: Ino, attrs: &Attrs) {
        let (traits, now) = (self.traits, self.now);
        let node = self.node_mut(ino);
        let list = node.xattrs.get(acl_name(false)).map(|stored| Acl::read(stored));
        if let (Some(mode), Some(list), true) = (attrs.mode, list, node.kind != Kind::Symlink) {
            let stored = list.under(mode).map(|list| list.stored());
            self.put_xattr(ino, acl_name(false), stored);
        }
        let node = self.node_mut(ino);
        node.mode = attrs.mode.unwrap_or(node.mode);
        node.uid = attrs.uid.unwrap_or(node.uid);
        node.gid = attrs.gid.unwrap_or(node.gid);
        node.project = attrs.project.unwrap_or(node.project);
        node.flags = attrs.flags.map_or(node.flags, |flags| flags & possible(node.kind));
        let stored = |time: nomount_ext::Time| traits.stored((time.sec, time.nsec));
        node.atime = attrs.atime.map_or(node.atime, stored);
        node.mtime = attrs.mtime.map_or(node.mtime, stored);
        node.ctime = now;
    }

    fn change_contents(&mut self, ino: Ino, change: impl FnOnce(&mut Contents)) {
        let now = self.now;
        let node = self.node_mut(ino);
        change(&mut node.contents);
        (node.mtime, node.ctime) = (now, now);
    }

    fn create(&mut self, dir: Ino, name: &[u8], what: &What, attrs: &Attrs, ino: Ino) {
        let parent = self.node(dir);
        let (traits, now, kind) = (self.traits, self.now, what.kind());
        let set_gid = parent.mode & S_ISGID != 0;
        let is_dir = kind == Kind::Dir;
        let list = parent.xattrs.get(acl_name(true)).filter(|_| kind != Kind::Symlink);
        let (mut mode, mut xattrs) = (attrs.mode, BTreeMap::new());
        if let Some(stored) = list {
            // Of what is asked for stays what the list allows; without one it is a umask of 022.
            let list = Acl::read(stored);
            let allowed = mode.unwrap_or(if is_dir { 0o777 } else { 0o666 }) & (list.mode() | !0o777);
            mode = Some(allowed);
            xattrs.extend(list.under(allowed).map(|list| (acl_name(false).to_vec(), list.stored())));
            xattrs.extend(is_dir.then(|| (acl_name(true).to_vec(), stored.clone())));
        }
        let mode = mode.unwrap_or(match kind {
            Kind::Dir => 0o755,
            Kind::Symlink => 0o777,
            _ => 0o644,
        });
        let projects = traits.project && parent.flags & PROJINHERIT != 0;
        let stored = |time: Option<nomount_ext::Time>| time.map_or(now, |time| traits.stored((time.sec, time.nsec)));
        let node = Node {
            kind,
            mode: mode | if set_gid && is_dir { S_ISGID } else { 0 },
            uid: attrs.uid.unwrap_or(0),
            gid: attrs.gid.unwrap_or(if set_gid { parent.gid } else { 0 }),
            project: attrs.project.unwrap_or(if projects { parent.project } else { 0 }),
            flags: attrs.flags.unwrap_or(parent.flags & inherited(kind)) & possible(kind),
            links: if is_dir { 2 } else { 1 },
            atime: stored(attrs.atime),
            mtime: stored(attrs.mtime),
            ctime: now,
            crtime: traits.large_inodes.then_some(now),
            device: match what {
                What::Char(major, minor) | What::Block(major, minor) => Some((*major, *minor)),
                _ => None,
            },
            target: match what {
                What::Symlink(target) => Some(target.to_vec()),
                _ => None,
            },
            contents: Contents::default(),
            names: RedBlackTreeMapSync::default(),
            xattrs,
            at: Vec::new(),
            extents: traits.extents,
            kept: false,
        };
        self.nodes.insert_mut(ino, node);
        self.add_name(dir, name, ino);
        self.node_mut(dir).links += u32::from(is_dir);
    }

    fn add_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let now = self.now;
        let node = self.node_mut(dir);
        node.names.insert_mut(name.to_vec(), ino);
        (node.mtime, node.ctime) = (now, now);
        self.node_mut(ino).at.push((dir, name.to_vec()));
    }

    fn take_name(&mut self, dir: Ino, name: &[u8]) -> Ino {
        let now = self.now;
        let ino = self.lookup(dir, name).expect("it was not refused");
        let node = self.node_mut(dir);
        node.names.remove_mut(name);
        (node.mtime, node.ctime) = (now, now);
        self.node_mut(ino).at.retain(|at| (at.0, &at.1[..]) != (dir, name));
        ino
    }

    /// Takes a name away; with the last one goes the inode.
    fn remove(&mut self, dir: Ino, name: &[u8]) {
        let now = self.now;
        let ino = self.take_name(dir, name);
        let node = self.node_mut(ino);
        if node.kind == Kind::Dir {
            self.nodes.remove_mut(&ino);
            self.node_mut(dir).links -= 1;
            return;
        }
        node.links -= 1;
        node.ctime = now;
        if node.links == 0 {
            self.nodes.remove_mut(&ino);
        }
    }

    fn rename(&mut self, dir: Ino, name: &[u8], to: Ino, new_name: &[u8]) {
        let over = self.lookup(to, new_name);
        if over == self.lookup(dir, name) {
            return;
        }
        if over.is_some() {
            self.remove(to, new_name);
        }
        let ino = self.take_name(dir, name);
        self.add_name(to, new_name, ino);
        let now = self.now;
        let node = self.node_mut(ino);
        node.ctime = now;
        if node.kind == Kind::Dir {
            self.node_mut(dir).links -= 1;
            self.node_mut(to).links += 1;
        }
    }
}
