//! `--hostname`.

use super::Remarks;
use super::assignment::assign;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::edit::write;
use crate::ops::editor::Editor;
use crate::ops::guest::{OsRelease, describe};
use crate::tree::{FileKind, Follow, GuestPath, exists, read_text, resolve};

/// The longest name that Linux takes.
const MAX_HOSTNAME: usize = 64;
/// The longest part between dots, RFC 1123 2.1.
const MAX_LABEL: usize = 63;

/// Makes `name` the guest's, in the files where its distribution looks for it, and in /etc/hosts instead of the old one
/// where Debian and its relatives keep it.
pub(super) fn set(editor: &mut Editor<'_>, name: &str, remarks: &mut Remarks) -> Result<()> {
    check(name)?;
    let old = describe(editor.tree()).hostname;
    let os = OsRelease::of(editor.tree()).unwrap_or_default();
    let is_like = |wanted: &str| os.id == wanted || os.id_like.iter().any(|id| id == wanted);

    // Red Hat before systemd, and Gentoo, keep it in a variable and have no file of its own.
    let in_network = assign(editor, "/etc/sysconfig/network", "HOSTNAME", name)?;
    let in_conf_d = assign(editor, "/etc/conf.d/hostname", "hostname", name)?;
    // On newer releases of SUSE this is a link to the file below.
    let suse = path("/etc/HOSTNAME");
    let own = resolve(editor.tree(), &suse, Follow::NotLast).ok().and_then(|found| found.stat);
    let in_suse = own.is_some_and(|stat| stat.kind == FileKind::File);
    if in_suse {
        write(editor, &suse, format!("{name}\n").as_bytes())?;
    }
    let file = path("/etc/hostname");
    if exists(editor.tree(), &file) || !(in_network || in_conf_d || in_suse) {
        write(editor, &file, format!("{name}\n").as_bytes())?;
    }
    assign(editor, "/etc/machine-info", "PRETTY_HOSTNAME", name)?;
    if is_like("debian") || is_like("ubuntu") {
        match old.as_deref().filter(|old| check(old).is_ok() && *old != "localhost") {
            Some(old) => rename_in_hosts(editor, old, name)?,
            None => remarks.warn("the guest had no name so far: /etc/hosts was left as it is"),
        }
    }
    Ok(())
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).expect("a literal path is valid")
}

/// Refuses what is no hostname.
pub(crate) fn check(name: &str) -> Result<()> {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && !label.is_empty() && label.len() <= MAX_LABEL && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= MAX_HOSTNAME && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("{name:?} is no hostname"))
        .hint("letters, digits and hyphens, parts separated by dots, at most 64 characters"))
}

/// Replaces the old name in /etc/hosts, the short one and the one with a domain.
fn rename_in_hosts(editor: &mut Editor<'_>, old: &str, new: &str) -> Result<()> {
    let hosts = path("/etc/hosts");
    let Some(before) = read_text(editor.tree(), &hosts)? else { return Ok(()) };
    write(editor, &hosts, &renamed(&before, old, new))
}

fn renamed(hosts: &[u8], old: &str, new: &str) -> Vec<u8> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let (old_short, new_short) = (short(old), short(new));
    let (dotted, both) = (format!("{old_short}."), format!("{new} {new_short}"));
    let mut out = Vec::with_capacity(hosts.len() + new.len());
    for line in hosts.split_inclusive(|byte| *byte == b'\n') {
        let comment = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
        let (names, comment) = line.split_at(comment);
        let has_domain = names.split(u8::is_ascii_whitespace).any(|name| name.starts_with(dotted.as_bytes()));
        // The address comes first and is never the name.
        let mut is_address = true;
        for word in names.split_inclusive(u8::is_ascii_whitespace) {
            let (text, blank) = match word.last() {
                Some(last) if last.is_ascii_whitespace() => word.split_at(word.len() - 1),
                _ => (word, &b""[..]),
            };
            let replaced = if is_address || text.is_empty() {
                text.to_vec()
            } else if text == old_short.as_bytes() {
                // The full name comes first, hosts(5).
                if new == new_short || has_domain { new_short.as_bytes().to_vec() } else { both.as_bytes().to_vec() }
            } else if let Some(domain) = text.strip_prefix(dotted.as_bytes()) {
                if new == new_short { [new.as_bytes(), b".", domain].concat() } else { new.as_bytes().to_vec() }
            } else {
                text.to_vec()
            };
            is_address &= text.is_empty();
            out.extend_from_slice(&replaced);
            out.extend_from_slice(blank);
        }
        out.extend_from_slice(comment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn run(tree: &mut MemTree, name: &str) -> Result<Vec<String>, ErrorKind> {
        let mut remarks = Remarks::default();
        set(&mut Editor::new(tree), name, &mut remarks).map(|()| remarks.0).map_err(|error| error.kind())
    }

    #[test]
    fn debian_keeps_it_in_hosts_too() {
        let mut tree = MemTree::new();
        tree.file("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n").file("/etc/hostname", "old\n");
        tree.file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\told.example.org old # old\n::1 older old\n");
        assert_eq!(run(&mut tree, "web-1"), Ok(vec![]));
        assert_eq!(tree.text("/etc/hostname"), "web-1\n");
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\tweb-1.example.org web-1 # old\n::1 older web-1\n";
        assert_eq!(tree.text("/etc/hosts"), hosts);
        assert_eq!(run(&mut tree, "db.example.net"), Ok(vec![]));
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\tdb.example.net db # old\n::1 older db.example.net db\n";
        assert_eq!(tree.text("/etc/hosts"), hosts);
        assert_eq!(run(&mut tree, "x"), Ok(vec![]));
        assert_eq!(
            tree.text("/etc/hosts"),
            "127.0.0.1\tlocalhost\n127.0.1.1\tx.example.net x # old\n::1 older x.example.net x\n"
        );
    }

    #[test]
    fn others_keep_it_where_they_look_for_it() {
        let mut fedora = MemTree::new();
        fedora.file("/etc/os-release", "ID=fedora\n").file("/etc/hostname", "old\n").file("/etc/hosts", "::1 old\n");
        fedora.file("/etc/machine-info", "PRETTY_HOSTNAME=\"Old\"\n");
        assert_eq!(run(&mut fedora, "new"), Ok(vec![]));
        assert_eq!((fedora.text("/etc/hostname").as_str(), fedora.text("/etc/hosts").as_str()), ("new\n", "::1 old\n"));
        assert_eq!(fedora.text("/etc/machine-info"), "PRETTY_HOSTNAME=\"new\"\n");

        let mut rhel_6 = MemTree::new();
        rhel_6.file("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=old.example.org\n");
        assert_eq!(run(&mut rhel_6, "new"), Ok(vec![]));
        assert_eq!(rhel_6.text("/etc/sysconfig/network"), "NETWORKING=yes\nHOSTNAME=new\n");
        assert!(!rhel_6.has("/etc/hostname"));

        let mut suse = MemTree::new();
        suse.file("/etc/HOSTNAME", "old\n");
        assert_eq!(run(&mut suse, "new"), Ok(vec![]));
        assert_eq!((suse.text("/etc/HOSTNAME").as_str(), suse.has("/etc/hostname")), ("new\n", false));

        let mut unnamed = MemTree::new();
        unnamed.file("/etc/os-release", "ID=debian\n").file("/etc/hosts", "127.0.0.1 localhost\n");
        assert_eq!(run(&mut unnamed, "new").unwrap().len(), 1);
        assert_eq!(unnamed.text("/etc/hosts"), "127.0.0.1 localhost\n");
        for bad in ["", "a_b", "-a", "a.", "a..b", "a b", &"a".repeat(64), &"a.".repeat(40)] {
            assert_eq!(run(&mut unnamed, bad), Err(ErrorKind::Usage), "{bad}");
        }
    }
}
