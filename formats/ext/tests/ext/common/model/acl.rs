//! Access control lists, as far as a model needs them: written by hand, not with the engine's code.

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// Entries in order: tag, permissions, and the number of a user or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl(Vec<(u16, u16, u32)>);

impl Acl {
    /// Some list: up to three names, with a mask or without one.
    pub fn by(number: u8) -> Self {
        let perm = |at: u16| (u16::from(number).wrapping_mul(37) >> at) & 7;
        let mut list = vec![(USER_OBJ, perm(0), 0)];
        list.extend((0..u32::from(number % 3)).map(|at| (USER, perm(3), 1000 + at * 70_000)));
        list.push((GROUP_OBJ, perm(5), 0));
        list.extend((0..u32::from(number / 3 % 2)).map(|at| (GROUP, perm(2), 50 + at)));
        if list.len() > 2 || number.is_multiple_of(5) {
            list.push((MASK, perm(4), 0));
        }
        list.push((OTHER, perm(6), 0));
        Self(list)
    }

    /// As programs give it.
    pub fn given(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, perm, id) in &self.0 {
            let id = if matches!(*tag, USER | GROUP) { *id } else { u32::MAX };
            bytes.extend([&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        bytes
    }

    /// As it is stored.
    pub fn stored(&self) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0];
        for (tag, perm, id) in &self.0 {
            bytes.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
            if matches!(*tag, USER | GROUP) {
                bytes.extend(id.to_le_bytes());
            }
        }
        bytes
    }

    /// From the form in which it is stored.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut list = Vec::new();
        bytes = &bytes[4..];
        while !bytes.is_empty() {
            let tag = u16::from(bytes[0]);
            let named = matches!(tag, USER | GROUP);
            let id = if named { u32::from_le_bytes(bytes[4..8].try_into().unwrap()) } else { 0 };
            list.push((tag, bytes[2].into(), id));
            bytes = &bytes[if named { 8 } else { 4 }..];
        }
        Self(list)
    }

    fn class(&self) -> u16 {
        if self.0.iter().any(|(tag, ..)| *tag == MASK) { MASK } else { GROUP_OBJ }
    }

    /// The permission bits of a file under it.
    pub fn mode(&self) -> u16 {
        let perm = |wanted: u16| self.0.iter().find(|(tag, ..)| *tag == wanted).map_or(0, |(_, perm, _)| *perm);
        perm(USER_OBJ) << 6 | perm(self.class()) << 3 | perm(OTHER)
    }

    /// The list of a file whose permission bits become these. None where they say all of it.
    pub fn under(mut self, mode: u16) -> Option<Self> {
        let class = self.class();
        for (tag, perm, _) in &mut self.0 {
            match *tag {
                USER_OBJ => *perm = mode >> 6 & 7,
                OTHER => *perm = mode & 7,
                tag if tag == class => *perm = mode >> 3 & 7,
                _ => {}
            }
        }
        self.beyond_mode()
    }

    /// None where permission bits say the same.
    pub fn beyond_mode(self) -> Option<Self> {
        (self.0.len() > 3).then_some(self)
    }
}
