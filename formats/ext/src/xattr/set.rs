//! Setting and removing attributes: where one goes, and what makes room.

use super::acl_form::Acl;
use super::name::{self, ACL_ACCESS, ACL_DEFAULT, is_inline_data};
use super::read::broken;
use super::{Attr, BLOCK_HEADER, MAGIC, MAX_VALUE, TERMINATOR, Value, fits, inode_capacity, inode_room, write_attrs};
use crate::error::{Error, Result};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use crate::raw::XattrBlockHeader;
use nomount_block::{ReadAt, WriteAt};

/// What a change of one attribute does to an inode, once nothing stands against it.
#[derive(Debug)]
pub(crate) struct XattrPlan {
    in_inode: Vec<Attr>,
    in_block: Vec<Attr>,
    /// The block as it is, where there is one.
    header: Option<XattrBlockHeader>,
    block_changed: bool,
    /// The attribute's value so far, if it is in an inode of its own, and whether its entry is in the block.
    dropped: Option<(u32, u32, bool)>,
    /// Whether there was such an attribute.
    existed: bool,
}

impl<D: ReadAt> Filesystem<D> {
    /// Where an attribute goes, as in a kernel: into the inode, else into the block, else, with feature ea_inode, into
    /// an inode of its own, which holds what would fill a block at once.
    pub(crate) fn plan_xattr(
        &self,
        inode: &Inode,
        index: u8,
        name: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<XattrPlan> {
        let mut in_inode = self.to_attrs(inode, self.inode_xattrs(inode)?)?;
        let (header, stored) = self.block_xattrs(inode)?.unzip();
        let mut in_block = self.to_attrs(inode, stored.unwrap_or_default())?;
        let old_inode = in_inode.iter().position(|attr| attr.is(index, name)).map(|at| in_inode.remove(at));
        let old_block = in_block.iter().position(|attr| attr.is(index, name)).map(|at| in_block.remove(at));
        let was_in_block = old_block.is_some();
        let existed = old_inode.is_some() || was_in_block;
        let dropped = match old_inode.or(old_block).map(|attr| attr.value) {
            Some(Value::Inode { ino, size, .. }) => Some((ino, size, was_in_block)),
            _ => None,
        };
        let mut plan = XattrPlan { in_inode, in_block, header, block_changed: was_in_block, dropped, existed };
        if let Some(value) = value {
            self.place_xattr(inode, &mut plan, Attr { index, name: name.to_vec(), value: Value::Here(value) })?;
        }
        Ok(plan)
    }

    fn place_xattr(&self, inode: &Inode, plan: &mut XattrPlan, mut attr: Attr) -> Result<()> {
        if self.state.sb.s_rev_level.get() == 0 {
            return Err(Error::Unsupported("attributes need feature ext_attr, and revision 0 has no features".into()));
        }
        let block_room = self.block_size() - BLOCK_HEADER - TERMINATOR;
        // What leaves no room for another entry with a name of three bytes is not worth a block.
        let large = self.block_size() - BLOCK_HEADER - TERMINATOR - super::ENTRY - 4;
        let own_inode = self.geo.features.incompat(incompat::EA_INODE);
        let needed = attr.len() + plan.in_block.iter().map(Attr::len).sum::<usize>();
        let Value::Here(value) = &attr.value else { unreachable!("a new value is not placed yet") };
        let at_once = own_inode && value.len().next_multiple_of(4) > large;
        let place = |plan: &mut XattrPlan, attr: &Attr, inside: bool| {
            if inside && fits(&plan.in_inode, attr, inode_capacity(inode)) {
                plan.in_inode.push(attr.clone());
            } else if fits(&plan.in_block, attr, block_room) {
                plan.in_block.push(attr.clone());
                plan.block_changed = true;
            } else {
                return false;
            }
            true
        };
        if !at_once && place(plan, &attr, true) {
            return Ok(());
        }
        if own_inode && !value.is_empty() {
            attr.value = Value::Own(value.clone());
            // The inode of the value counts among the owner's blocks. Of a short symbolic link that has some, but no block
            // of attributes, e2fsck takes the target for a map.
            if place(plan, &attr, !inode.is_fast_symlink(&self.geo)) {
                return Ok(());
            }
        }
        Err(Error::XattrSpace { needed, room: block_room })
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Sets or, with `None`, removes an extended attribute, by its full name. Access control lists have the form of
    /// `setxattr` (version 2); that for access sets the permission bits as well, and is not kept where they say all of
    /// it.
    pub fn set_xattr(&mut self, ino: u32, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut inode = self.live_inode(ino)?;
        self.refuse_protected(&inode)?;
        let Some((index, short)) = name::split(name) else {
            let text = name.escape_ascii();
            return Err(Error::Invalid(format!("extended attribute name {text}: unknown name space or bad length")));
        };
        if is_inline_data(index, &short) {
            return Err(Error::Invalid("system.data belongs to the contents of inline files".into()));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_VALUE) {
            return Err(Error::Limit(format!("attribute value of {} bytes, more than {MAX_VALUE}", value.len())));
        }
        let removal = value.is_none();
        let value = match (index, value) {
            (ACL_ACCESS | ACL_DEFAULT, Some(value)) => stored_acl(&mut inode, index, value)?,
            (_, value) => value.map(<[u8]>::to_vec),
        };
        let plan = self.plan_xattr(&inode, index, &short, value)?;
        if removal && !plan.existed {
            return Err(Error::NotFound);
        }
        self.changing(|fs| {
            fs.apply_xattr(&mut inode, plan)?;
            let now = fs.options.now;
            inode.set_ctime(now);
            fs.put_inode(inode)
        })
    }

    /// Sets or removes an attribute in the inode itself, if it fits there: index and name without the prefix. The inode
    /// is changed, not stored. Returns whether it fitted.
    pub(crate) fn set_inode_attr(
        &self,
        inode: &mut Inode,
        (index, name): (u8, &[u8]),
        value: Option<&[u8]>,
    ) -> Result<bool> {
        let Some(start) = inode_room(inode) else { return Ok(value.is_none()) };
        let mut list = self.to_attrs(inode, self.inode_xattrs(inode)?)?;
        let at = list.iter().position(|attr| attr.is(index, name));
        let old = at.map(|at| list.remove(at));
        if let Some(value) = value {
            let attr = Attr { index, name: name.to_vec(), value: Value::Here(value.to_vec()) };
            if !fits(&list, &attr, inode_capacity(inode)) {
                return Ok(false);
            }
            list.insert(at.unwrap_or(list.len()), attr);
        } else if old.is_none() {
            return Ok(true);
        }
        inode.bytes_mut()[start - 4..start].copy_from_slice(&MAGIC.to_le_bytes());
        write_attrs(inode.bytes_mut(), start, start, &list, false);
        Ok(true)
    }

    /// Carries a plan out, except for storing the inode.
    pub(crate) fn apply_xattr(&mut self, inode: &mut Inode, mut plan: XattrPlan) -> Result<()> {
        self.need_ext_attr();
        let per_block = u64::from(self.geo.block_size / 512);
        let blocks = inode.blocks_512(&self.geo) / per_block;
        let counted = self.xattr_blocks(inode)?;
        let kept: Vec<(u32, u32)> = plan
            .in_block
            .iter()
            .filter_map(|attr| match attr.value {
                Value::Inode { ino, size, .. } => Some((ino, size)),
                _ => None,
            })
            .collect();
        for attr in plan.in_inode.iter_mut().chain(&mut plan.in_block) {
            if let Value::Own(value) = &attr.value {
                let (ino, e_hash) = self.new_value_inode(inode, &attr.name, value)?;
                attr.value = Value::Inode { ino, size: value.len() as u32, e_hash };
                self.charge_inodes(inode, 1);
            }
        }
        if let Some((ino, size, from_block)) = plan.dropped {
            // The entry of a block that others share stays, for them.
            let shared = plan.header.as_ref().is_some_and(|header| header.h_refcount.get() > 1);
            if !(from_block && shared) {
                self.release_value(inode, ino, size)?;
            }
            self.charge_inodes(inode, -1);
        }
        // Contents that are stored inline have their entry even where nothing else is.
        if let Some(start) = inode_room(inode) {
            inode.bytes_mut()[start - 4..start].copy_from_slice(&MAGIC.to_le_bytes());
            write_attrs(inode.bytes_mut(), start, start, &plan.in_inode, false);
        }
        if plan.block_changed {
            self.replace_xattr_block(inode, plan.header, plan.in_block, &kept)?;
        }
        let now = self.xattr_blocks(inode)?;
        inode.set_blocks(&self.geo, blocks.saturating_sub(counted) + now)
    }

    /// Turns on `ext_attr` before the first attribute, as a kernel does.
    fn need_ext_attr(&mut self) {
        self.geo.features.compat |= compat::EXT_ATTR;
        self.state.sb.s_feature_compat.set(self.geo.features.compat);
    }

    /// What a change of permission bits does to the list for access: its mask follows. None where there is no list.
    pub(crate) fn plan_acl_mode(&self, inode: &Inode, mode: u16) -> Result<Option<XattrPlan>> {
        if inode.file_type() == Some(FileType::Symlink) || inode.has_flag(flags::EA_INODE) {
            return Ok(None);
        }
        let Some(stored) = self.stored_xattr(inode, ACL_ACCESS, b"")? else {
            return Ok(None);
        };
        let acl = Acl::from_disk(&stored).map_err(|error| broken(inode, &error))?.with_mode(mode);
        let (_, plain) = acl.mode();
        let value = if plain { None } else { Some(acl.to_disk()) };
        self.plan_xattr(inode, ACL_ACCESS, b"", value).map(Some)
    }
}

/// The form on disk of a list that was given; none where the mode, which is changed, or nothing says the same.
fn stored_acl(inode: &mut Inode, index: u8, value: &[u8]) -> Result<Option<Vec<u8>>> {
    if inode.file_type() == Some(FileType::Symlink) {
        return Err(Error::Invalid("a symbolic link has no access control list".into()));
    }
    let Some(acl) = Acl::from_api(value)? else {
        return Ok(None);
    };
    if index == ACL_DEFAULT {
        if !inode.is_dir() {
            return Err(Error::Invalid("only a directory has a default access control list".into()));
        }
        return Ok(Some(acl.to_disk()));
    }
    let (bits, plain) = acl.mode();
    let mode = inode.mode() & !0o777 | bits;
    inode.base_mut().i_mode.set(mode);
    Ok((!plain).then(|| acl.to_disk()))
}
