//! New inodes, and the attributes of existing ones.

use crate::acl::NewLists;
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::features::{incompat, ro_compat};
use crate::file::FAST_SYMLINK;
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use crate::raw::InodeExtra;
use crate::time::Time;
use nomount_block::WriteAt;

const S_ISGID: u16 = 0o2000;
/// The longest target of a symbolic link, as PATH_MAX of Linux without its NUL.
const MAX_TARGET: usize = 4095;

/// What to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum New<'a> {
    /// An empty regular file.
    File,
    /// An empty directory.
    Dir,
    /// A symbolic link to these bytes.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with major and minor number.
    CharDevice(u32, u32),
    /// A block device with major and minor number.
    BlockDevice(u32, u32),
}

impl New<'_> {
    fn file_type(&self) -> FileType {
        match self {
            Self::File => FileType::Regular,
            Self::Dir => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
            Self::CharDevice(..) => FileType::CharDevice,
            Self::BlockDevice(..) => FileType::BlockDevice,
        }
    }
}

/// Attributes to give or change; `None` leaves one as it is, or as it would be inherited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits, at most 0o7777. Something new in a directory with a default access control list gets those of
    /// them that the list allows, as with mkdir(2) and open(2).
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of contents.
    pub mtime: Option<Time>,
    /// Project (feature project). A new inode takes its directory's where that has PROJINHERIT, else 0.
    pub project: Option<u32>,
    /// `i_flags`, of which those that a user may change are given or taken: immutable (0x10), append-only (0x20),
    /// nodump (0x40), noatime (0x80), PROJINHERIT (0x2000_0000) and the like. The others must be as they are, or 0.
    pub flags: Option<u32>,
}

impl Attrs {
    /// Whether anything but flags is to be changed.
    fn beyond_flags(&self) -> bool {
        *self != Self { flags: self.flags, ..Self::default() }
    }
}

/// `i_flags` after setting those of `wanted` that a user may change.
fn changed_flags(file_type: FileType, old: u32, wanted: u32) -> Result<u32> {
    let possible = match file_type {
        FileType::Directory => flags::SETTABLE,
        FileType::Regular => flags::SETTABLE & !flags::DIR_ONLY,
        _ => flags::OTHER_KEPT,
    };
    let other = wanted & !possible & !old;
    if other != 0 {
        return Err(Error::Invalid(format!("flags {other:#x} cannot be given to it")));
    }
    Ok(old & !flags::SETTABLE | wanted & possible)
}

impl<D: WriteAt> Filesystem<D> {
    /// Stores an inode in its table, with a new checksum.
    pub(crate) fn put_inode(&mut self, mut inode: Inode) -> Result<()> {
        self.count_inode(&inode)?;
        inode.update_checksum(&self.geo);
        let (block, offset) = self.inode_place(inode.ino())?;
        self.block_mut(block)?[offset..offset + inode.bytes().len()].copy_from_slice(inode.bytes());
        Ok(())
    }

    /// Creates something new under a name that is free. Returns its inode number. It takes from its directory what a
    /// kernel gives it: the group where the set-group-ID bit is set, flags, the project, access control lists.
    pub fn create(&mut self, parent: u32, name: &[u8], new: &New<'_>, attrs: Attrs) -> Result<u32> {
        let dir = self.dir_inode(parent)?;
        self.refuse_adding(&dir)?;
        crate::dir::check_name(name)?;
        self.check_new_attrs(new.file_type(), attrs)?;
        if self.lookup_in(&dir, name)?.is_some() {
            return Err(Error::Exists);
        }
        let file_type = new.file_type();
        if file_type == FileType::Directory {
            self.check_subdirs(&dir)?;
        }
        if let New::Symlink(target) = new {
            self.check_target(target)?;
        }
        let (mode, lists) = self.inherit_lists(&dir, file_type, attrs.mode)?;
        let attrs = Attrs { mode: Some(mode), ..attrs };
        self.changing(|fs| fs.create_checked(dir, name, new, attrs, lists))
    }

    fn create_checked(
        &mut self,
        mut dir: Inode,
        name: &[u8],
        new: &New<'_>,
        attrs: Attrs,
        lists: NewLists,
    ) -> Result<u32> {
        let file_type = new.file_type();
        let ino = self.alloc_inode(dir.ino(), file_type == FileType::Directory)?;
        let mut inode = self.fresh_inode(ino, &dir, file_type, attrs);
        self.give_lists(&mut inode, lists)?;
        match new {
            New::File => self.init_map(&mut inode)?,
            New::Dir => {
                if !self.init_inline_dir(&mut inode, dir.ino())? {
                    self.init_map(&mut inode)?;
                    self.init_dir(&mut inode, dir.ino())?;
                }
                self.count_subdir(&mut dir);
            }
            New::Symlink(target) => self.set_target(&mut inode, target)?,
            New::CharDevice(major, minor) | New::BlockDevice(major, minor) => inode.set_device(*major, *minor),
            New::Fifo | New::Socket => {}
        }
        self.put_inode(inode)?;
        self.add_entry(&mut dir, name, ino, file_type)?;
        self.put_changed_dir(dir)?;
        Ok(ino)
    }

    /// An inode with everything but its contents.
    fn fresh_inode(&mut self, ino: u32, dir: &Inode, file_type: FileType, attrs: Attrs) -> Inode {
        let mut inode = Inode::new_zeroed(ino, self.geo.inode_size);
        let is_dir = file_type == FileType::Directory;
        let set_gid = dir.mode() & S_ISGID != 0;
        let mode = attrs.mode.unwrap_or_default();
        let inherited = if set_gid && is_dir { S_ISGID } else { 0 };
        let gid = attrs.gid.unwrap_or(if set_gid { dir.gid() } else { 0 });
        inode.base_mut().i_mode.set(file_type.mode_bits() | mode & 0o7777 | inherited);
        inode.set_owner(attrs.uid.unwrap_or(0), gid);
        inode.base_mut().i_links_count.set(if is_dir { 2 } else { 1 });
        let kept = match file_type {
            FileType::Directory => flags::INHERITED,
            FileType::Regular => flags::INHERITED & !flags::DIR_ONLY,
            _ => flags::INHERITED & flags::OTHER_KEPT,
        };
        let inherited = dir.flags() & kept;
        let flags_now = attrs.flags.map(|wanted| changed_flags(file_type, inherited & !flags::SETTABLE, wanted));
        inode.base_mut().i_flags.set(flags_now.and_then(Result::ok).unwrap_or(inherited));
        let generation = self.new_generation(ino);
        inode.base_mut().i_generation.set(generation);
        let extra = self.extra_isize();
        if let Some(fields) = inode.extra_mut() {
            fields.i_extra_isize.set(extra);
        }
        let inherits = self.geo.features.ro_compat(ro_compat::PROJECT) && dir.has_flag(flags::PROJINHERIT);
        inode.set_project(attrs.project.unwrap_or(if inherits { dir.project() } else { 0 }));
        let extents = self.geo.features.incompat(incompat::EXTENTS);
        inode.set_flag(flags::EXTENTS, extents && matches!(file_type, FileType::Regular | FileType::Directory));
        let now = self.options.now;
        inode.set_atime(attrs.atime.unwrap_or(now));
        inode.set_mtime(attrs.mtime.unwrap_or(now));
        inode.set_ctime(now);
        inode.set_crtime(now);
        inode
    }

    /// The generation number of a new inode.
    pub(crate) fn new_generation(&mut self, ino: u32) -> u32 {
        self.state.new_inodes += 1;
        crc32c(self.options.seed, &[ino.to_le_bytes(), self.state.new_inodes.to_le_bytes()].concat())
    }

    /// How many bytes of a new inode after the first 128 are for fixed fields.
    pub(crate) fn extra_isize(&self) -> u16 {
        const FIELDS: u16 = 32;
        let room = self.geo.inode_size - 128;
        let wanted = if self.geo.features.ro_compat(ro_compat::EXTRA_ISIZE) {
            let sb = &self.state.sb;
            FIELDS.max(sb.s_want_extra_isize.get()).max(sb.s_min_extra_isize.get())
        } else {
            FIELDS
        };
        if wanted <= room && wanted % 4 == 0 { wanted } else { FIELDS.min(room) }
    }

    fn check_target(&self, target: &[u8]) -> Result<()> {
        let longest = MAX_TARGET.min(self.block_size() - 1);
        if target.is_empty() || target.len() > longest || target.contains(&0) {
            let detail = format!("a symbolic link's target of {} bytes, 1 to {longest} are possible", target.len());
            return Err(Error::Invalid(detail));
        }
        Ok(())
    }

    fn set_target(&mut self, inode: &mut Inode, target: &[u8]) -> Result<()> {
        if target.len() <= FAST_SYMLINK {
            inode.base_mut().i_block[..target.len()].copy_from_slice(target);
        } else {
            inode.set_flag(flags::EXTENTS, self.geo.features.incompat(incompat::EXTENTS));
            self.init_map(inode)?;
            self.put(inode, 0, &[target, b"\0"].concat())?;
        }
        inode.set_size(target.len() as u64);
        Ok(())
    }

    /// Fails for attributes that a new inode cannot have.
    fn check_new_attrs(&self, file_type: FileType, attrs: Attrs) -> Result<()> {
        if attrs.project.is_some() {
            self.check_project(128 + usize::from(self.extra_isize()))?;
        }
        attrs.flags.map_or(Ok(()), |wanted| changed_flags(file_type, 0, wanted).map(drop))
    }

    /// Fails where an inode, of which `used` bytes are in use, has no place for a project.
    fn check_project(&self, used: usize) -> Result<()> {
        if !self.geo.features.ro_compat(ro_compat::PROJECT) {
            return Err(Error::Unsupported("project ids need feature project".into()));
        }
        if used < 128 + size_of::<InodeExtra>() {
            return Err(Error::Unsupported("project ids need larger inodes".into()));
        }
        Ok(())
    }

    /// Changes attributes. Of a list for access the mask follows the mode's permission bits. What is immutable or
    /// append-only allows no change but of its flags; a call that takes that flag away may change the rest as well.
    pub fn set_attrs(&mut self, ino: u32, attrs: Attrs) -> Result<()> {
        let mut inode = self.live_inode(ino)?;
        let old_flags = inode.flags();
        if let Some(wanted) = attrs.flags {
            let file_type = inode.file_type().expect("a live inode has a type");
            let flags = changed_flags(file_type, old_flags, wanted)?;
            inode.base_mut().i_flags.set(flags);
        }
        let guards = flags::IMMUTABLE | flags::APPEND;
        let kept = if attrs.beyond_flags() || attrs.flags.is_none() { old_flags & inode.flags() & guards } else { 0 };
        let mut probe = inode.clone();
        probe.base_mut().i_flags.set(inode.flags() & !guards | kept);
        self.refuse_protected(&probe)?;
        if attrs.project.is_some() {
            self.check_project(128 + inode.extra_isize())?;
        }
        let list = match attrs.mode {
            Some(mode) => self.plan_acl_mode(&inode, mode)?,
            None => None,
        };
        self.changing(|fs| {
            if let Some(plan) = list {
                fs.apply_xattr(&mut inode, plan)?;
                // The list is paid for by the old owner, and goes to the new one with the rest.
                fs.put_inode(inode.clone())?;
            }
            if let Some(mode) = attrs.mode {
                let mode = inode.mode() & !0o7777 | mode & 0o7777;
                inode.base_mut().i_mode.set(mode);
            }
            let (uid, gid) = (attrs.uid.unwrap_or(inode.uid()), attrs.gid.unwrap_or(inode.gid()));
            inode.set_owner(uid, gid);
            if let Some(project) = attrs.project {
                inode.set_project(project);
            }
            if let Some(time) = attrs.atime {
                inode.set_atime(time);
            }
            if let Some(time) = attrs.mtime {
                inode.set_mtime(time);
            }
            let now = fs.options.now;
            inode.set_ctime(now);
            fs.put_inode(inode)
        })
    }
}
