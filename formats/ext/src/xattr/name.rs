//! Names of attributes: on disk the prefix is a number (ext4.rst, "Extended Attributes").

/// Prefixes and their numbers. The two of POSIX ACLs are whole names.
const PREFIXES: &[(u8, &str)] = &[
    (1, "user."),
    (ACL_ACCESS, "system.posix_acl_access"),
    (ACL_DEFAULT, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
    (SYSTEM, "system."),
    (8, "system.richacl"),
];
/// `e_name_index` of the ACL that governs access.
pub(crate) const ACL_ACCESS: u8 = 2;
/// `e_name_index` of the ACL that a directory hands on.
pub(crate) const ACL_DEFAULT: u8 = 3;
/// `e_name_index` of `system.`, whose `data` holds inline contents.
pub(crate) const SYSTEM: u8 = 7;
/// The longest name after the prefix.
const MAX_NAME: usize = 255;

/// The prefix's number and the rest of a full name; none for an unknown name space, no name, or one that is too long.
pub(super) fn split(full: &[u8]) -> Option<(u8, Vec<u8>)> {
    // Whole names first: "system." is a prefix of theirs.
    let whole = PREFIXES.iter().find(|(_, name)| !name.ends_with('.') && name.as_bytes() == full);
    if let Some((index, _)) = whole {
        return Some((*index, Vec::new()));
    }
    let found = PREFIXES.iter().filter(|(_, prefix)| prefix.ends_with('.'));
    let (index, rest) =
        found.filter_map(|(index, prefix)| Some((*index, full.strip_prefix(prefix.as_bytes())?))).next()?;
    (!rest.is_empty() && rest.len() <= MAX_NAME).then(|| (index, rest.to_vec()))
}

/// The full name; none where the number is unknown.
pub(super) fn join(index: u8, name: &[u8]) -> Option<Vec<u8>> {
    if index == 0 {
        return Some(name.to_vec());
    }
    let (_, prefix) = PREFIXES.iter().find(|(number, _)| *number == index)?;
    Some([prefix.as_bytes(), name].concat())
}

/// Whether an entry is the second part of contents that are stored inline: no attribute, although it is among them.
pub(crate) fn is_inline_data(index: u8, name: &[u8]) -> bool {
    index == SYSTEM && name == b"data"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_splits_and_joins() {
        for (index, prefix) in PREFIXES {
            let full = if prefix.ends_with('.') { format!("{prefix}x") } else { (*prefix).to_string() };
            let (found, name) = split(full.as_bytes()).unwrap();
            assert_eq!(found, *index, "{full}");
            assert_eq!(join(found, &name).unwrap(), full.as_bytes());
        }
        let long = [b"user.".to_vec(), vec![b'a'; 256]].concat();
        for refused in [&b"user."[..], b"os2.a", b"nothing", &long] {
            assert!(split(refused).is_none());
        }
        assert!(split(&long[..260]).is_some());
    }
}
