//! Labels in whole guests, and the lookup compared with libselinux.

use super::*;
use crate::ops::Silent;
use crate::ops::edit::{self, edit, edit_labelled};
use crate::tree::memtree::MemTree;
use crate::tree::{FileKind, FileTree, Follow, GuestPath, NewNode, SetAttr};

mod judged;

const CONTEXTS: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/\t-d\tsystem_u:object_r:root_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/etc/\\.pwd\\.lock\t--\tsystem_u:object_r:shadow_t:s0
/etc/shadow.*\t--\tsystem_u:object_r:shadow_t:s0
/etc/s.*\t-l\tsystem_u:object_r:etc_link_t:s0
/tmp/.*\t<<none>>
/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0
/opt/(a)\\1\tsystem_u:object_r:odd_t:s0
broken
";

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::parse(&[text.as_bytes().to_vec(), Vec::new(), Vec::new()], b"", b"").unwrap()
}

fn guest() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=mine\n");
    tree.file("/etc/selinux/mine/contexts/files/file_contexts", CONTEXTS);
    tree.file(
        "/etc/selinux/mine/contexts/files/file_contexts.homedirs",
        "/root/\\.ssh(/.*)? u:object_r:ssh_home_t:s0\n",
    );
    tree.file("/etc/selinux/mine/contexts/files/file_contexts.subs_dist", "/bin /usr/bin\n");
    tree.file("/etc/shadow", "root:*:::::::\n").dir("/tmp").dir("/bin").dir("/root");
    label(&mut tree, "/etc/shadow", "system_u:object_r:shadow_t:s0");
    label(&mut tree, "/tmp", "system_u:object_r:tmp_t:s0");
    tree
}

fn label(tree: &mut MemTree, at: &str, context: &str) {
    tree.set_xattr(&path(at), XATTR, Some(format!("{context}\0").as_bytes())).unwrap();
}

/// The type in a file's context; the byte that ends a context is there.
fn type_of(tree: &MemTree, at: &str) -> Option<String> {
    let xattrs = tree.xattrs(&path(at)).unwrap();
    let context = xattrs.into_iter().find(|(name, _)| name == XATTR)?.1;
    let context = String::from_utf8(context).unwrap();
    Some(context.strip_suffix('\0').unwrap().split(':').nth(2).unwrap().to_owned())
}

#[test]
fn the_last_line_wins_and_plain_paths_win_over_patterns() {
    let mut policy =
        policy("/etc/f a\n/etc/.* b\n/e.* c\n/etc/d -d d\n/etc/g/h(/.*)? g\n/etc/g/h/i e\n/etc/g/h/i -l l\n");
    let mut of = |at: &str, kind| policy.lookup(&path(at), kind).unwrap().map(str::to_owned);
    assert_eq!(of("/etc/f", FileKind::File).as_deref(), Some("a"));
    assert_eq!(of("/etc/x", FileKind::File).as_deref(), Some("c"));
    assert_eq!(of("/etc/d", FileKind::Dir).as_deref(), Some("d"));
    assert_eq!(of("/etc/d", FileKind::Fifo).as_deref(), Some("c"));
    assert_eq!(of("/etc/g/h/i", FileKind::File).as_deref(), Some("e"));
    assert_eq!(of("/etc/g/h/i", FileKind::Symlink).as_deref(), Some("l"));
    assert_eq!(of("/etc/g/h/j", FileKind::File).as_deref(), Some("g"));
    assert_eq!(of("/var", FileKind::Dir), None);
}

#[test]
fn what_is_created_gets_a_context_and_what_has_one_keeps_it() {
    let mut tree = guest();
    label(&mut tree, "/etc/selinux/config", "system_u:object_r:selinux_config_t:s0");
    let done = edit(&mut tree, |editor| {
        edit::make_dir(editor, &path("/etc/new/dir"), None, true)?;
        edit::write(editor, &path("/etc/new/dir/f"), b"x")?;
        edit::write(editor, &path("/bin/tool"), b"x")?;
        edit::write(editor, &path("/etc/shadow"), b"root:!:::::::\n")?;
        edit::write(editor, &path("/tmp/f"), b"x")?;
        edit::symlink(editor, b"f", &path("/etc/s"), edit::LinkOptions::default())?;
        edit::write(editor, &path("/etc/labelled"), b"")?;
        edit::set_xattr(editor, &path("/etc/labelled"), XATTR, Some(b"mine:object_r:my_t:s0\0"), Follow::Last)?;
        edit::write(editor, &path("/etc/selinux/config"), b"SELINUX=permissive\nSELINUXTYPE=mine\n")
    })
    .unwrap();
    for (at, wanted) in [
        ("/etc/new", "etc_t"),
        ("/etc/new/dir", "etc_t"),
        ("/etc/new/dir/f", "etc_t"),
        ("/bin/tool", "bin_t"),
        ("/etc/shadow", "shadow_t"),
        ("/tmp/f", "tmp_t"),
        ("/etc/s", "etc_link_t"),
        ("/etc/labelled", "my_t"),
        ("/etc/selinux/config", "selinux_config_t"),
    ] {
        assert_eq!(type_of(&tree, at).as_deref(), Some(wanted), "{at}");
    }
    let lines: Vec<String> = done.changes.iter().map(ToString::to_string).collect();
    assert!(lines.contains(&"label /etc/new/dir/f system_u:object_r:etc_t:s0".to_owned()), "{lines:?}");
    assert_eq!(done.notes, ["SELinux policy, file_contexts, line 10: its context is missing"]);
}

#[test]
fn a_file_that_is_moved_after_it_was_made_gets_the_context_of_its_last_place() {
    let mut tree = guest();
    let options = edit::RenameOptions::default();
    edit(&mut tree, |editor| {
        edit::make_dir(editor, &path("/tmp/d"), None, false)?;
        edit::write(editor, &path("/tmp/d/tool"), b"x")?;
        edit::rename(editor, &[path("/tmp/d")], &path("/bin/d"), options, &mut Silent)?;
        edit::rename(editor, &[path("/etc/shadow")], &path("/tmp/shadow"), options, &mut Silent).map(drop)
    })
    .unwrap();
    assert_eq!(type_of(&tree, "/bin/d/tool").as_deref(), Some("bin_t"));
    assert_eq!(type_of(&tree, "/bin/d").as_deref(), Some("bin_t"));
    assert_eq!(type_of(&tree, "/tmp/shadow").as_deref(), Some("shadow_t"));
}

#[test]
fn without_a_policy_or_the_wish_nothing_is_labelled_and_it_is_said() {
    let write = |editor: &mut crate::ops::Editor<'_>| edit::write(editor, &path("/etc/f"), b"");
    let mut tree = guest();
    let done = edit_labelled(&mut tree, Labelling::None, write).unwrap();
    assert_eq!(type_of(&tree, "/etc/f"), None);
    assert!(done.notes[0].contains("without an SELinux context") && done.notes[0].ends_with(": /etc/f"), "{done:?}");
    let mut tree = guest();
    tree.file("/etc/selinux/config", "SELINUX=enforcing\n");
    let done = edit(&mut tree, write).unwrap();
    assert!(done.notes[0].contains("no policy with file_contexts"), "{done:?}");
    let mut tree = guest();
    tree.file("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=mine\n");
    let done = edit(&mut tree, write).unwrap();
    assert_eq!((done.notes.len(), done.changes.len(), type_of(&tree, "/etc/f")), (0, 1, None));
    let mut tree = guest();
    tree.file("/etc/selinux/mine/contexts/files/file_contexts", "/a b\n".repeat(70_000));
    let done = edit(&mut tree, write).unwrap();
    assert!(done.notes[0].contains("policy cannot be used") && done.notes[0].contains("65536"), "{done:?}");
}

#[test]
fn relabelling_does_a_tree_and_leaves_out_what_is_excluded() {
    let mut tree = guest();
    label(&mut tree, "/etc/shadow", "system_u:object_r:tmp_t:s0:c5");
    tree.file("/opt/aa", "").file("/tmp/x", "").file("/.autorelabel", "");
    tree.create(&path("/bin/p"), NewNode::Fifo, SetAttr::default()).unwrap();
    let mut relabelled = None;
    let request = Relabel { paths: vec![GuestPath::root()], exclude: vec![path("/etc/selinux")], ..Relabel::default() };
    let run = |tree: &mut MemTree, relabelled: &mut Option<_>| {
        edit(tree, |editor| {
            *relabelled = Some(relabel(editor, &request)?);
            Ok(())
        })
        .unwrap()
    };
    let done = run(&mut tree, &mut relabelled);
    let (counts, notes) = relabelled.take().unwrap();
    // All but the excluded ones and /tmp/x, which gets none.
    assert_eq!((counts.files, counts.changed, counts.bare), (11, 10, 1), "{done:?}");
    assert_eq!(type_of(&tree, "/"), Some("root_t".to_owned()));
    assert_eq!(type_of(&tree, "/bin/p"), Some("bin_t".to_owned()));
    assert_eq!(type_of(&tree, "/etc/selinux/config"), None);
    assert_eq!(type_of(&tree, "/opt/aa"), Some("default_t".to_owned()));
    let shadow = tree.xattrs(&path("/etc/shadow")).unwrap();
    assert_eq!(shadow[0].1, b"system_u:object_r:shadow_t:s0:c5\0");
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[1].contains("back-references") && notes[2].contains("/.autorelabel"), "{notes:?}");
    assert_eq!(run(&mut tree, &mut relabelled).changes, []);

    let mut other = MemTree::new();
    let refused = edit(&mut other, |editor| relabel(editor, &request).map(|_| ()));
    assert_eq!(refused.unwrap_err().kind(), crate::ErrorKind::Unsupported);
}

#[test]
fn a_hostile_policy_is_bounded() {
    let mut many = policy(&"/.*a x\n".repeat(5000));
    let error = many.lookup(&path("/b"), FileKind::File).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Limit);
    let mut policy = policy("/(((a{100}){100}){100}) x\n/(.*.*.*.*.*.*.*.*)*b y\n");
    let long = path(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(50));
    assert_eq!(policy.lookup(&long, FileKind::File).unwrap(), None);
    assert!(policy.notes()[0].contains("size limit"), "{:?}", policy.notes());
}
