//! What has changed in a container's directory since it was made.

use super::manifest::{Known, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::host_dir::{Facts, HostDir, MAX_DEPTH, host_error};
use crate::tree::{FileKind, GuestPath};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A name that is new or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) path: GuestPath,
    pub(super) facts: Facts,
    pub(super) what: What,
}

/// How it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The same file or directory, changed.
    Changed,
    /// A name that was not there, or was another file's. If the file was there under another name, that name.
    New(Option<GuestPath>),
}

/// All differences.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A directory before what is in it.
    pub(super) differences: Vec<Difference>,
    /// Names that are gone, or are another file's now; of a directory only itself.
    pub(super) removed: BTreeSet<GuestPath>,
    /// What is known of the top.
    pub(super) top: Option<Facts>,
    /// Sockets that are left out.
    pub(super) sockets: u64,
    /// Names that were compared.
    pub(super) seen: u64,
}

impl Plan {
    /// How many names are new, gone or changed; a directory in which only names changed is none.
    pub(super) fn count(&self, manifest: &Manifest) -> u64 {
        let counts = |difference: &&Difference| match (&difference.what, manifest.names.get(&difference.path)) {
            (What::Changed, Some(Known { host: Some(host), .. })) if host.kind == FileKind::Dir => {
                let now = &difference.facts;
                (host.mode, host.uid, host.gid) != (now.mode, now.uid, now.gid)
            }
            _ => true,
        };
        let replaced = |path: &&GuestPath| self.differences.binary_search_by(|other| other.path.cmp(path)).is_err();
        let gone = self.removed.iter().filter(replaced).count();
        (self.differences.iter().filter(counts).count() + gone) as u64
    }
}

struct Level {
    dir: HostDir,
    path: GuestPath,
    names: Vec<Vec<u8>>,
}

struct Scan<'a> {
    manifest: &'a Manifest,
    /// Names of the manifest by the file of the host that was made for them.
    by_file: HashMap<(u64, crate::tree::Time), &'a GuestPath>,
    /// Names that are what they were, of files with several names.
    now: HashMap<u64, GuestPath>,
    found: HashSet<&'a GuestPath>,
    plan: Plan,
}

/// Compares the directory with the manifest. Links are not followed.
pub(super) fn plan(top: &HostDir, manifest: &Manifest) -> Result<Plan> {
    let mut by_file = HashMap::new();
    for (path, known) in &manifest.names {
        if let Some(Facts { kind, ino, btime: Some(btime), .. }) = &known.host
            && *kind != FileKind::Dir
        {
            by_file.entry((*ino, *btime)).or_insert(path);
        }
    }
    let mut scan = Scan { manifest, by_file, now: HashMap::new(), found: HashSet::new(), plan: Plan::default() };
    scan.walk(top)?;
    scan.link_to_present();
    scan.find_removed();
    Ok(scan.plan)
}

impl<'a> Scan<'a> {
    fn walk(&mut self, top: &HostDir) -> Result<()> {
        let root = GuestPath::root();
        let failed = |path: &GuestPath, e| host_error("read the directory", path, e);
        let facts = top.own_facts().map_err(|e| failed(&root, e))?;
        self.plan.top = Some(facts.clone());
        self.compare(root.clone(), facts);
        let dir = top.descend(&root).map_err(|e| failed(&root, e))?;
        let mut way = vec![level(dir, root)?];
        loop {
            let depth = way.len();
            let Some(here) = way.last_mut() else { return Ok(()) };
            let Some(name) = here.names.pop() else {
                way.pop();
                continue;
            };
            let path = here.path.join(&name);
            let facts = here.dir.facts(&name).map_err(|e| host_error("read", &path, e))?;
            let is_dir = facts.kind == FileKind::Dir;
            self.plan.seen += 1;
            self.compare(path.clone(), facts);
            if is_dir {
                if depth >= MAX_DEPTH {
                    let message = format!("more than {MAX_DEPTH} directories below each other");
                    return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
                }
                let dir = here.dir.subdir(&name).map_err(|e| failed(&path, e))?;
                way.push(level(dir, path)?);
            }
        }
    }

    fn compare(&mut self, path: GuestPath, facts: Facts) {
        let known = self.manifest.names.get_key_value(&path);
        if facts.kind == FileKind::Socket {
            // Whoever listened on it is gone, or will make it anew.
            let known = known.filter(|(_, known)| known.kind == FileKind::Socket);
            self.plan.sockets += u64::from(known.is_none());
            self.found.extend(known.map(|(path, _)| path));
            return;
        }
        let host = known.and_then(|(_, known)| known.host.as_ref());
        let same = host.is_some_and(|host| host.same_file(&facts) || both_dirs(host, &facts));
        if let (Some((path, _)), true) = (known, same) {
            self.found.insert(path);
        }
        if same && facts.links > 1 && facts.kind != FileKind::Dir {
            self.now.insert(facts.ino, path.clone());
        }
        if same && host.is_some_and(|host| host.same_state(&facts)) {
            return;
        }
        let what = match (same, facts.btime) {
            (true, _) => What::Changed,
            (false, Some(btime)) => What::New(self.by_file.get(&(facts.ino, btime)).map(|path| (*path).clone())),
            (false, None) => What::New(None),
        };
        self.plan.differences.push(Difference { path, facts, what });
    }

    /// A new name of a file that also has a name which it had before is a link, even where births are not known.
    fn link_to_present(&mut self) {
        for difference in &mut self.plan.differences {
            if difference.what == What::New(None) && difference.facts.kind != FileKind::Dir {
                difference.what = What::New(self.now.get(&difference.facts.ino).cloned());
            }
        }
    }

    /// What was not found is gone, save what was only written down. Below a directory that is gone all is.
    fn find_removed(&mut self) {
        let new: HashSet<&GuestPath> = self.plan.differences.iter().map(|difference| &difference.path).collect();
        let mut last: Option<&GuestPath> = None;
        for (path, known) in &self.manifest.names {
            let recorded = known.host.is_none() && !new.contains(path);
            if self.found.contains(path) || recorded || last.is_some_and(|last| path.is_below(last)) {
                continue;
            }
            self.plan.removed.insert(path.clone());
            last = Some(path);
        }
    }
}

fn both_dirs(one: &Facts, other: &Facts) -> bool {
    one.kind == FileKind::Dir && other.kind == FileKind::Dir
}

fn level(dir: HostDir, path: GuestPath) -> Result<Level> {
    let mut names = dir.names().map_err(|e| host_error("read the directory", &path, e))?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Level { dir, path, names })
}
