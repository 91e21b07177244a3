//! The group file, group(5): which number a group has.

use super::lines::{fields, is_name, lines, number, split_break};

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number.
    pub gid: u32,
}

/// The groups in `text`, in order. Lines that describe none are passed over.
pub fn groups(text: &[u8]) -> impl Iterator<Item = Group> {
    lines(text).filter_map(|line| {
        let fields = fields(split_break(line).0);
        let [name, _password, gid, ..] = &fields[..] else { return None };
        is_name(name).then_some(Group { name: name.to_vec(), gid: number(gid)? })
    })
}

/// The first group of that name.
pub fn find(text: &[u8], name: &[u8]) -> Option<Group> {
    groups(text).find(|group| group.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name() {
        let text = b"root:x:0:\n\nbad:x:one:\nadm:x:4:syslog,u\r\nadm:x:5:\nnone\nno:x\nend:x:33";
        assert_eq!(find(text, b"root").unwrap().gid, 0);
        assert_eq!(find(text, b"adm").unwrap().gid, 4);
        assert_eq!(find(text, b"end").unwrap().gid, 33);
        for missing in [&b"bad"[..], b"none", b"no", b"syslog"] {
            assert_eq!(find(text, missing), None);
        }
    }
}
