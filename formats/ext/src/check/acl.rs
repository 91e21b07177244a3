//! The form of POSIX access control lists as values of attributes.

use super::{le16, le32};

const VERSION: u32 = 1;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Says what is wrong with a list: entries in the order of their tags, those that must be there exactly once, a mask
/// where users or groups are named.
pub(super) fn check(value: &[u8]) -> Result<(), String> {
    // An empty value stands for no list.
    if value.is_empty() {
        return Ok(());
    }
    if value.len() < 4 || le32(value, 0) != VERSION {
        return Err(format!("{} bytes, and not of version {VERSION}", value.len()));
    }
    let mut at = 4;
    let mut before = 0;
    let (mut seen, mut named) = (0, false);
    while at < value.len() {
        if at + 4 > value.len() {
            return Err(format!("entry at byte {at} is cut off"));
        }
        let (tag, permissions) = (le16(value, at), le16(value, at + 2));
        let with_id = matches!(tag, USER | GROUP);
        let known = with_id || matches!(tag, USER_OBJ | GROUP_OBJ | MASK | OTHER);
        if !known || permissions > 7 {
            return Err(format!("entry at byte {at} has tag {tag:#x} and permissions {permissions:#o}"));
        }
        if tag < before || (tag == before && !with_id) {
            return Err(format!("entry at byte {at} with tag {tag:#x} is out of order"));
        }
        named |= with_id;
        seen |= tag;
        before = tag;
        at += if with_id { 8 } else { 4 };
    }
    if at != value.len() {
        return Err("its last entry is cut off".to_owned());
    }
    let needed = USER_OBJ | GROUP_OBJ | OTHER | if named { MASK } else { 0 };
    if seen & needed != needed {
        return Err(format!("tags are {seen:#x}, at least {needed:#x} are needed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    fn list(entries: &[(u16, u16, Option<u32>)]) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0];
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.iter().flat_map(|id| id.to_le_bytes()));
        }
        bytes
    }

    #[test]
    fn lists_as_the_kernel_takes_them() {
        let minimal = [(1, 7, None), (4, 5, None), (0x20, 5, None)];
        assert_eq!(check(&list(&minimal)), Ok(()));
        let named = [(1, 7, None), (2, 6, Some(1000)), (2, 4, Some(1001)), (4, 5, None), (0x10, 7, None), (0x20, 0, None)];
        assert_eq!(check(&list(&named)), Ok(()));
        assert_eq!(check(&[]), Ok(()));
        for bad in [
            list(&minimal[..2]),
            list(&[(4, 5, None), (1, 7, None), (0x20, 5, None)]),
            list(&[(1, 7, None), (1, 7, None), (4, 5, None), (0x20, 5, None)]),
            list(&[(1, 8, None), (4, 5, None), (0x20, 5, None)]),
            list(&[(1, 7, None), (2, 7, Some(1)), (4, 5, None), (0x20, 5, None)]),
            list(&[(1, 7, None), (4, 5, None), (0x40, 5, None)]),
            list(&named)[..14].to_vec(),
            vec![2, 0, 0, 0],
            vec![1],
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
