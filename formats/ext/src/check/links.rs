//! How inodes hang together: every directory has one name and a way to the root, every count of links is right.

use super::Checker;
use super::dirs::Dir;
use super::inode_table::Note;
use crate::features::ro_compat;
use crate::inode::ROOT_INO;
use nomount_block::ReadAt;

/// The most links an inode counts (EXT4_LINK_MAX); a directory with more has 1.
const LINK_MAX: u32 = 65000;

/// What is known of a directory's way to the root.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Unknown,
    /// On the way that is followed now.
    Here,
    Known,
}

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_connections(&mut self) {
        if !self.notes.get(ROOT_INO).is_dir() {
            self.corrupt("PR_3_NO_ROOT_INODE", "inode 2", "there is no root directory", "");
        }
        let dirs = std::mem::take(&mut self.dirs);
        let mut ways = vec![Way::Unknown; dirs.len()];
        for (at, dir) in dirs.iter().enumerate() {
            let wanted = if dir.ino == ROOT_INO { ROOT_INO } else { dir.parent };
            let place = || format!("inode {}", dir.ino);
            if wanted == 0 {
                self.corrupt("PR_3_UNCONNECTED_DIR", place(), "the directory has no name", "");
            } else if dir.dotdot != 0 && dir.dotdot != wanted {
                let found = format!("its entry .. stands for inode {}", dir.dotdot);
                self.corrupt("PR_3_BAD_DOT_DOT", place(), found, wanted.to_string());
            }
            if let Some(looped) = follow(&dirs, &mut ways, at) {
                let place = format!("inode {}", dirs[looped].ino);
                self.corrupt("PR_3_LOOPED_DIR", place, "the directory is below itself", "");
            }
        }
    }

    pub(super) fn check_links(&mut self) {
        let [.., project] = self.quota_inodes();
        let orphan_file = self.fs.state.sb.s_orphan_file_inum.get();
        for number in 0..self.geo.groups {
            let notes: Vec<(u32, Note)> =
                self.notes.of_group(number).filter(|(_, note)| note.has(Note::USED)).collect();
            for (ino, note) in notes {
                let reserved = ino != ROOT_INO && ino < self.geo.first_ino;
                if reserved || ino == project || ino == orphan_file || (note.has(Note::ORPHAN) && note.links == 0) {
                    continue;
                }
                self.check_link_count(ino, note);
            }
        }
    }

    fn check_link_count(&mut self, ino: u32, note: Note) {
        let place = || format!("inode {ino}");
        let mut counted = note.names;
        if note.has(Note::VALUE) {
            if self.values.contains_key(&ino) {
                counted = 1;
            } else {
                let found = "it is marked as the value of an attribute, and none names it";
                self.corrupt("PR_4_EA_INODE_SPURIOUS_FLAG", place(), found, "");
                return;
            }
        }
        if counted == 0 {
            self.corrupt("PR_4_UNATTACHED_INODE", place(), "it is in use and has no name", "");
            return;
        }
        if note.is_dir() {
            // "Many", from when there were more.
            if counted > 1 && note.links == 1 && note.has(Note::INDEXED) {
                return;
            }
            if counted > LINK_MAX {
                if !self.geo.features.ro_compat(ro_compat::DIR_NLINK) {
                    let found = format!("it has {counted} links without dir_nlink");
                    self.corrupt("PR_4_DIR_NLINK_FEATURE", place(), found, format!("at most {LINK_MAX}"));
                }
                counted = 1;
            }
        }
        if counted != u32::from(note.links) {
            let found = format!("i_links_count is {}", note.links);
            self.corrupt("PR_4_BAD_REF_COUNT", place(), found, counted.to_string());
        }
    }
}

/// Follows the parents of a directory until what is known; gives one that is below itself.
fn follow(dirs: &[Dir], ways: &mut [Way], start: usize) -> Option<usize> {
    let mut path = Vec::new();
    let mut at = start;
    let looped = loop {
        match ways[at] {
            Way::Known => break None,
            Way::Here => break Some(at),
            Way::Unknown => {}
        }
        ways[at] = Way::Here;
        path.push(at);
        let dir = &dirs[at];
        if dir.ino == ROOT_INO || dir.parent == 0 {
            break None;
        }
        match dirs.binary_search_by_key(&dir.parent, |dir| dir.ino) {
            Ok(parent) => at = parent,
            Err(_) => break None,
        }
    };
    path.into_iter().for_each(|at| ways[at] = Way::Known);
    looped
}
