//! Usage accounting (features quota and project): what each user, group and project has, in the hidden quota files.
//!
//! Every stored inode passes [`Filesystem::count_inode`], which compares it with what was stored before. The
//! differences gather for one operation and then go to the files, so that between operations these are right. Limits
//! are kept and never enforced: who edits an image has the rights of root.

mod tree;

use crate::error::Result;
use crate::features::ro_compat;
use crate::fs::Filesystem;
use crate::group::bit;
use crate::inode::{Inode, ROOT_INO, flags};
use nomount_block::{ReadAt, WriteAt};
use std::collections::{BTreeMap, BTreeSet};

/// Whose usage a quota file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    User,
    Group,
    Project,
}

impl Kind {
    const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Project => "project",
        }
    }

    /// Whom an inode is counted for.
    fn id(self, inode: &Inode) -> u32 {
        match self {
            Self::User => inode.uid(),
            Self::Group => inode.gid(),
            Self::Project => inode.project(),
        }
    }
}

/// Bytes and inodes, as differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    space: i64,
    inodes: i64,
}

/// What was counted and is not in the quota files yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// Inode numbers handed out whose inode was not stored yet: what is in the table there means nothing.
    fresh: BTreeSet<u32>,
    changes: BTreeMap<(Kind, u32), Usage>,
}

impl Ledger {
    /// The differences: kind (0 user, 1 group, 2 project), identity, bytes, inodes.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (usize, u32, i64, i64)> + '_ {
        self.changes.iter().map(|((kind, id), usage)| (*kind as usize, *id, usage.space, usage.inodes))
    }
}

impl Ledger {
    fn add(&mut self, kind: Kind, id: u32, space: i64, inodes: i64) {
        let usage = self.changes.entry((kind, id)).or_default();
        usage.space = usage.space.saturating_add(space);
        usage.inodes = usage.inodes.saturating_add(inodes);
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// The inode of a quota file; none where such usage is not counted.
    fn quota_inum(&self, kind: Kind) -> Option<u32> {
        let sb = &self.state.sb;
        let inum = match kind {
            Kind::User => &sb.s_usr_quota_inum,
            Kind::Group => &sb.s_grp_quota_inum,
            Kind::Project => &sb.s_prj_quota_inum,
        };
        Some(inum.get()).filter(|inum| *inum != 0 && self.counts_usage())
    }

    fn counts_usage(&self) -> bool {
        self.geo.features.ro_compat(ro_compat::QUOTA)
    }

    /// Bytes that an inode is counted with; none where it is not counted: the hidden files, and values of attributes,
    /// which count for those whose attributes they are.
    fn counted_space(&self, inode: &Inode) -> Option<i64> {
        let ino = inode.ino();
        let visible = ino == ROOT_INO || ino >= self.geo.first_ino;
        let counted = visible && ino != self.state.sb.s_prj_quota_inum.get() && !inode.has_flag(flags::EA_INODE);
        counted.then(|| inode.blocks_512(&self.geo).saturating_mul(512).min(i64::MAX as u64) as i64)
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Notes that an inode number was handed out.
    pub(crate) fn count_new_number(&mut self, ino: u32) {
        if self.counts_usage() {
            self.state.ledger.fresh.insert(ino);
        }
    }

    /// Notes that an inode number is given back: what is stored there counts no longer.
    pub(crate) fn count_freed_number(&mut self, ino: u32) -> Result<()> {
        if !self.counts_usage() || self.state.ledger.fresh.remove(&ino) {
            return Ok(());
        }
        let old = self.inode(ino)?;
        if let Some(space) = self.counted_space(&old) {
            Kind::ALL.iter().for_each(|kind| self.state.ledger.add(*kind, kind.id(&old), -space, -1));
        }
        Ok(())
    }

    /// Counts an inode that is about to be stored, against what is stored. Values of attributes in inodes of their own
    /// are counted by [`Filesystem::charge_inodes`]; here they only move with their owner.
    pub(crate) fn count_inode(&mut self, new: &Inode) -> Result<()> {
        if !self.counts_usage() {
            return Ok(());
        }
        let (number, index) = self.geo.group_of_inode(new.ino());
        if !bit(&self.inode_bits(number)?.current, index) {
            return Ok(());
        }
        let old = if self.state.ledger.fresh.remove(&new.ino()) { None } else { Some(self.inode(new.ino())?) };
        let old = old.and_then(|old| self.counted_space(&old).map(|space| (old, space)));
        let space = self.counted_space(new);
        for kind in Kind::ALL {
            let id = kind.id(new);
            match (&old, space) {
                (Some((old, before)), Some(space)) if kind.id(old) == id => {
                    self.state.ledger.add(kind, id, space - before, 0);
                }
                (Some((old, before)), Some(space)) => {
                    let inodes = 1 + self.value_inode_sizes(new)?.len() as i64;
                    self.state.ledger.add(kind, kind.id(old), -before, -inodes);
                    self.state.ledger.add(kind, id, space, inodes);
                }
                (Some((old, before)), None) => self.state.ledger.add(kind, kind.id(old), -before, -1),
                (None, Some(space)) => self.state.ledger.add(kind, id, space, 1),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Counts inodes that hold values of an inode's attributes.
    pub(crate) fn charge_inodes(&mut self, owner: &Inode, inodes: i64) {
        if self.counts_usage() && self.counted_space(owner).is_some() {
            Kind::ALL.iter().for_each(|kind| self.state.ledger.add(*kind, kind.id(owner), 0, inodes));
        }
    }

    /// Brings what was counted into the quota files.
    pub(crate) fn store_usage(&mut self) -> Result<()> {
        for ((kind, id), usage) in std::mem::take(&mut self.state.ledger.changes) {
            if usage != Usage::default()
                && let Some(inum) = self.quota_inum(kind)
            {
                self.add_usage(kind, inum, id, usage)?;
            }
        }
        Ok(())
    }
}
