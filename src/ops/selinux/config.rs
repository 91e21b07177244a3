//! /etc/selinux/config and where the policy is (selinux_config(5)).

use crate::error::Result;
use crate::tree::{FileKind, FileTree, GuestPath, find, read_text};

/// The policy of a guest that names none.
const DEFAULT_TYPE: &[u8] = b"targeted";

/// What the guest says of SELinux.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    is_disabled: bool,
    /// The name of the policy, a plain file name.
    policy: Vec<u8>,
}

fn config(tree: &dyn FileTree) -> Result<Option<Config>> {
    let path = GuestPath::parse("/etc/selinux/config")?;
    Ok(read_text(tree, &path)?.map(|text| parse(&text)))
}

fn parse(text: &[u8]) -> Config {
    let values = |key: &'static [u8]| {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter_map(move |line| line.strip_prefix(key)).map(<[u8]>::trim_ascii)
    };
    // The first mode counts, and the last policy.
    let mode = values(b"SELINUX=").next().unwrap_or_default();
    let is_disabled = mode.get(..8).is_some_and(|mode| mode.eq_ignore_ascii_case(b"disabled"));
    let is_plain = |name: &&[u8]| !name.is_empty() && *name != b"." && *name != b".." && !name.contains(&b'/');
    let policy = values(b"SELINUXTYPE=").next_back().filter(is_plain).unwrap_or(DEFAULT_TYPE).to_vec();
    Config { is_disabled, policy }
}

/// Whether the guest is configured for SELinux and not told to ignore it. /etc/selinux alone says nothing: Debian has
/// it without SELinux.
pub(in crate::ops) fn is_enabled(tree: &dyn FileTree) -> Result<bool> {
    Ok(config(tree)?.is_some_and(|config| !config.is_disabled))
}

/// The directory `contexts` of the policy that the guest uses; none where SELinux is off or has no file_contexts.
pub(super) fn contexts_dir(tree: &dyn FileTree) -> Result<Option<GuestPath>> {
    let Some(config) = config(tree)?.filter(|config| !config.is_disabled) else { return Ok(None) };
    let Ok(dir) = GuestPath::parse([b"/etc/selinux/", config.policy.as_slice(), b"/contexts"].concat()) else {
        return Ok(None);
    };
    let contexts = find(tree, &dir.join("files").join("file_contexts"))?;
    let is_file = contexts.is_some_and(|found| found.stat.is_some_and(|stat| stat.kind == FileKind::File));
    Ok(is_file.then_some(dir))
}

/// Whether there is a policy that contexts can be looked up in.
pub(in crate::ops) fn has_policy(tree: &dyn FileTree) -> Result<bool> {
    Ok(contexts_dir(tree)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mode_and_the_last_policy_count() {
        let read = |text: &str| {
            let config = parse(text.as_bytes());
            (config.is_disabled, String::from_utf8(config.policy).unwrap())
        };
        assert_eq!(read("# SELINUX=disabled\nSELINUX=enforcing\nSELINUX=disabled\n"), (false, "targeted".to_owned()));
        assert_eq!(
            read("\tSELINUX=Disabled # off\nSELINUXTYPE=mls\nSELINUXTYPE=default \r"),
            (true, "default".to_owned())
        );
        assert_eq!(read("SELINUXTYPE=../../root\nSELINUX="), (false, "targeted".to_owned()));
    }
}
