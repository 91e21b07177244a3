//! SELinux: what the guest's configuration asks for.

use super::reader::{Reader, assigned};
use serde::Serialize;

/// The mode in /etc/selinux/config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SelinuxMode {
    /// The policy is enforced.
    Enforcing,
    /// Violations are logged.
    Permissive,
    /// Off.
    Disabled,
}

/// The configuration of SELinux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selinux {
    /// The mode; none where the file does not say, or not one of the three.
    pub mode: Option<SelinuxMode>,
    /// The policy's name; "targeted" where the file does not say.
    pub policy: String,
    /// Whether the policy, a `policy.N` file, is installed.
    pub policy_installed: bool,
    /// Whether all files will be labelled at the next boot: /.autorelabel is there.
    pub autorelabel: bool,
}

/// Reads the configuration; none where there is none.
pub(super) fn selinux(reader: &mut Reader<'_>) -> Option<Selinux> {
    let text = reader.text("/etc/selinux/config")?;
    let mode = match assigned(&text, "SELINUX")?.to_ascii_lowercase().as_str() {
        "enforcing" => Some(SelinuxMode::Enforcing),
        "permissive" => Some(SelinuxMode::Permissive),
        "disabled" => Some(SelinuxMode::Disabled),
        _ => None,
    };
    let policy = assigned(&text, "SELINUXTYPE").filter(|name| is_name(name)).unwrap_or_else(|| "targeted".to_owned());
    let installed = reader.names(&format!("/etc/selinux/{policy}/policy"));
    Some(Selinux {
        mode,
        policy_installed: installed.iter().any(|name| name.starts_with(b"policy.")),
        policy,
        autorelabel: reader.is_file("/.autorelabel"),
    })
}

/// It becomes part of a path.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn mode_and_policy_as_the_last_lines_say() {
        let mut tree = MemTree::new();
        tree.file("/etc/selinux/config", "#SELINUX=disabled\nSELINUX=permissive\nSELINUX=Enforcing\nSELINUXTYPE=mls\n");
        tree.file("/etc/selinux/mls/policy/policy.33", "").file("/.autorelabel", "");
        let wanted = Selinux {
            mode: Some(SelinuxMode::Enforcing),
            policy: "mls".into(),
            policy_installed: true,
            autorelabel: true,
        };
        assert_eq!(selinux(&mut Reader::new(&tree)), Some(wanted));
        tree.file("/etc/selinux/config", "SELINUX=off\nSELINUXTYPE=../../x\n");
        let odd = selinux(&mut Reader::new(&tree)).unwrap();
        assert_eq!((odd.mode, odd.policy.as_str(), odd.policy_installed), (None, "targeted", false));
    }
}
