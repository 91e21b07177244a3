//! L1, L2, V1, V4, V5, Z1 to Z3: files.

use super::*;
use crate::ops::Owner;

#[test]
fn l1_nova_gives_only_the_leaf_parent_its_mode() {
    let mut tree = debian();
    done(&mut tree, &nova(files(&[("opt/a/b/c.conf", "x")])));
    assert_eq!(["/opt", "/opt/a", "/opt/a/b"].map(|dir| tree.mode(dir)), [0o755, 0o755, 0o744]);
    assert_eq!((tree.owner_of("/opt/a/b"), tree.mode("/opt/a/b/c.conf")), ((0, 0), 0o644));
}

#[test]
fn l1_parents_are_0755_and_an_existing_one_is_left_alone() {
    let mut tree = debian();
    tree.dir("/srv/private").chmod("/srv/private", 0o700).owner("/srv/private", 7, 8);
    for request in [files(&[("/srv/private/f", "x")]), nova(files(&[("/srv/private/f", "y")]))] {
        done(&mut tree, &request);
        assert_eq!((tree.mode("/srv/private"), tree.owner_of("/srv/private")), (0o700, (7, 8)));
    }
    done(&mut tree, &files(&[("/opt/a/b/c.conf", "x")]));
    assert_eq!(["/opt", "/opt/a", "/opt/a/b"].map(|dir| tree.mode(dir)), [0o755; 3]);
}

#[test]
fn l1_a_set_gid_directory_passes_its_group_on() {
    let mut tree = debian();
    tree.dir("/share").owner("/share", 0, 50).chmod("/share", 0o2775);
    done(&mut tree, &files(&[("/share/a/f", "x")]));
    assert_eq!((tree.mode("/share/a"), tree.owner_of("/share/a")), (0o2755, (0, 50)));
    assert_eq!((tree.mode("/share/a/f"), tree.owner_of("/share/a/f")), (0o644, (0, 50)));
}

#[test]
fn l1_several_files_in_the_order_given() {
    let mut tree = debian();
    done(&mut tree, &files(&[("/f", "1"), ("/d/g", "2"), ("f", "3")]));
    assert_eq!((tree.text("/f"), tree.text("/d/g")), ("3".into(), "2".into()));
}

#[test]
fn l2_a_new_file_is_0644_of_root() {
    for request in [files(&[("/etc/new", "x")]), nova(files(&[("/etc/new", "x")]))] {
        let mut tree = debian();
        done(&mut tree, &request);
        assert_eq!((tree.mode("/etc/new"), tree.owner_of("/etc/new")), (0o644, (0, 0)));
    }
}

#[test]
fn l2_an_existing_file_keeps_all_but_its_contents() {
    for compat in [false, true] {
        let mut tree = debian();
        tree.file("/etc/f", "old").chmod("/etc/f", 0o4711).owner("/etc/f", 5, 6);
        tree.hard_link("/etc/f", "/other").link("/link", "other");
        tree.set_xattr(&path("/etc/f"), b"security.selinux", Some(b"label")).unwrap();
        let ino = tree.stat(&path("/etc/f")).unwrap().ino;
        let request = InjectRequest { nova_compat: compat, ..files(&[("/link", "new contents")]) };
        done(&mut tree, &request);
        let stat = tree.stat(&path("/etc/f")).unwrap();
        assert_eq!((stat.ino, stat.mode, stat.uid, stat.gid, stat.links), (ino, 0o4711, 5, 6, 2));
        assert_eq!(tree.xattrs(&path("/etc/f")).unwrap().len(), 1);
        assert_eq!(tree.text("/etc/f"), "new contents");
    }
}

#[test]
fn v1_paths_are_relative_to_the_root_and_not_empty() {
    let mut tree = debian();
    done(&mut tree, &files(&[("etc//./here", "x")]));
    assert_eq!(tree.text("/etc/here"), "x");
    let error = inject(&mut tree, &files(&[("/ok", "x"), ("", "x")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(!tree.has("/ok"));
    for directory in ["/", "/etc/", "/etc/."] {
        assert!(failed(&mut tree, &files(&[(directory, "")]), Item::Files).contains("directory"), "{directory}");
    }
}

#[test]
fn v4_modes_up_to_07777() {
    let mut tree = debian();
    let with = |mode| InjectRequest {
        files: vec![InjectFile { mode: Some(mode), ..file("/bin/tool", "x") }],
        ..InjectRequest::default()
    };
    done(&mut tree, &with(0o7755));
    assert_eq!(tree.mode("/bin/tool"), 0o7755);
    done(&mut tree, &with(0));
    assert_eq!(tree.mode("/bin/tool"), 0);
    assert_eq!(inject(&mut tree, &with(0o10000)).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn v5_owners_by_names_of_the_guest() {
    let mut tree = debian();
    let with = |owner: &str| InjectRequest {
        files: vec![InjectFile { owner: Some(Owner::parse(owner).unwrap()), ..file("/new/f", "x") }],
        ..InjectRequest::default()
    };
    done(&mut tree, &with("web:shadow"));
    assert_eq!((tree.owner_of("/new/f"), tree.owner_of("/new")), ((1000, 42), (0, 0)));
    done(&mut tree, &with(":web"));
    assert_eq!(tree.owner_of("/new/f"), (1000, 1001));
    assert!(failed(&mut tree, &with("alice"), Item::Files).contains("user alice not found"));
    assert_eq!(tree.owner_of("/new/f"), (1000, 1001));
}

#[test]
fn v5_nova_needs_the_names_for_a_new_directory_only() {
    let mut tree = MemTree::new();
    done(&mut tree, &nova(files(&[("/f", "x")])));
    failed(&mut tree, &nova(files(&[("/new/f", "x")])), Item::Files);
    assert!(!tree.has("/new"));
    done(&mut tree, &files(&[("/new/f", "x")]));
}

#[test]
fn z1_paths_that_climb_above_the_root_are_invalid() {
    for climbing in ["etc/../../../something.conf", "/etc/../../../../etc/passwd", ".."] {
        let mut tree = debian();
        let before = tree.listing();
        for request in [files(&[(climbing, "x")]), nova(files(&[(climbing, "x")]))] {
            let reason = failed(&mut tree, &request, Item::Files);
            assert!(reason.contains("injected file path not valid"), "{reason}");
            let request = InjectRequest { mandatory: BTreeSet::from([Item::Files]), ..request };
            assert_eq!(inject(&mut tree, &request).unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(tree.listing(), before);
    }
    done(&mut debian(), &files(&[("etc/something.conf", "x")]));
}

#[test]
fn z2_links_are_followed_inside_the_guest() {
    let mut tree = debian();
    tree.dir("/root/hidden").link("/root/hidden/up", "../../../../../../etc").link("/absolute", "/root/hidden/up");
    tree.link("/dangling", "/etc/through");
    done(&mut tree, &files(&[("/absolute/f", "1"), ("/absolute/new/g", "2"), ("/dangling", "3")]));
    assert_eq!(["/etc/f", "/etc/new/g", "/etc/through"].map(|path| tree.text(path)), ["1", "2", "3"]);
}

#[test]
fn z3_loops_are_errors() {
    let mut tree = debian();
    tree.link("/a", "b").link("/b", "a");
    for place in ["/a", "/a/f", "/a/b/c/f"] {
        let request = InjectRequest { mandatory: BTreeSet::from([Item::Files]), ..files(&[(place, "")]) };
        assert_eq!(inject(&mut tree, &request).unwrap_err().kind(), ErrorKind::Loop, "{place}");
    }
}
