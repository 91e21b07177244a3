//! The group file, group(5): which number a group has.

use super::Error;
use super::lines::{check_value, fields, is_name, lines, number, split_break};

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

/// The first group of that number.
pub fn find_id(text: &[u8], gid: u32) -> Option<Group> {
    groups(text).find(|group| group.gid == gid)
}

/// `text`, of the group file or of gshadow(5), with `user` among the members of every line of `group`. A line that has
/// no field for members gets none.
///
/// # Errors
///
/// A name that would break the line, or with a comma in it: those would be several members.
pub fn add_member(text: &[u8], group: &[u8], user: &[u8]) -> Result<Vec<u8>, Error> {
    check_value(user)?;
    if user.contains(&b',') {
        return Err(Error::Field { value: user[..user.len().min(64)].to_vec() });
    }
    let mut out = Vec::with_capacity(text.len() + user.len() + 1);
    for line in lines(text) {
        let (body, line_break) = split_break(line);
        let mut fields = fields(body);
        let members = fields.get(3).copied().filter(|_| fields[0] == group);
        let grown = members.filter(|members| !members.split(|byte| *byte == b',').any(|member| member == user));
        let grown = grown.map(|members| if members.is_empty() { user.to_vec() } else { [members, user].join(&b',') });
        if let Some(grown) = &grown {
            // Not at the end of the line, which may have more fields than it should.
            fields[3] = grown;
        }
        out.extend_from_slice(&fields.join(&b':'));
        out.extend_from_slice(line_break);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_once() {
        let text = b"root:x:0:\nadm:x:4:web,u\r\nadm:*\n#adm:x:4:\nsudo:!:web:x\nlast:x:5:";
        let add = |group: &[u8], user: &[u8]| add_member(text, group, user).unwrap();
        assert_eq!(add(b"adm", b"new"), b"root:x:0:\nadm:x:4:web,u,new\r\nadm:*\n#adm:x:4:\nsudo:!:web:x\nlast:x:5:");
        assert_eq!(add(b"adm", b"u"), text);
        assert_eq!(add(b"none", b"u"), text);
        assert!(add(b"last", b"u").ends_with(b"last:x:5:u") && add(b"root", b"u").starts_with(b"root:x:0:u\n"));
        let odd = b"adm:x:4:web:more\n";
        assert_eq!(add_member(odd, b"adm", b"u").unwrap(), b"adm:x:4:web,u:more\n");
        for bad in [&b"a\n"[..], b"a:b", b"a,b"] {
            assert!(matches!(add_member(text, b"adm", bad), Err(Error::Field { .. })));
        }
    }

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
