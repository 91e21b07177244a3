//! I1 to I9: which items, in which order, and what their failure does.

use super::*;

fn all() -> InjectRequest {
    InjectRequest {
        net: Some(b"auto lo\n".to_vec()),
        metadata: Some(vec![("role".into(), "web".into())]),
        admin_password: Some(Secret::new("hunter2")),
        ..InjectRequest { files: vec![file("/etc/app/app.conf", "x")], ..key() }
    }
}

/// Every item, each with a path that only it writes.
const PLACES: [(Item, &str); 5] = [
    (Item::Key, "/root/.ssh/authorized_keys"),
    (Item::Net, "/etc/network/interfaces"),
    (Item::Metadata, "/meta.js"),
    (Item::AdminPassword, "/etc/shadow"),
    (Item::Files, "/etc/app/app.conf"),
];

#[test]
fn i1_true_when_all_is_done_or_nothing_is_asked_for() {
    for request in [all(), nova(all()), InjectRequest::default()] {
        assert!(done(&mut debian(), &request).ok);
    }
}

#[test]
fn i1_false_when_an_optional_item_fails() {
    for (item, place) in PLACES {
        let mut tree = debian();
        tree.fail_writes_to(place);
        let report = inject(&mut tree, &all()).unwrap();
        assert!(!report.ok);
        for (other, _) in PLACES {
            assert_eq!(matches!(report.outcome(other), Outcome::Failed(_)), other == item, "{other}");
        }
    }
}

#[test]
fn i2_a_failure_to_open_is_returned_only_when_a_mandatory_item_is_asked_for() {
    let error = || Error::new(ErrorKind::Corrupt, "no filesystem").in_image("d.raw");
    let report = not_opened(&all(), error()).unwrap();
    assert!(!report.ok);
    assert_eq!(report.warnings, ["ignoring error injecting data into image: d.raw: no filesystem"]);
    assert!(report.items.iter().all(|item| matches!(item.outcome, Outcome::Failed(_))));
    let files = BTreeSet::from([Item::Files]);
    let without = InjectRequest { mandatory: files.clone(), files: vec![], ..all() };
    assert!(!not_opened(&without, error()).unwrap().ok);
    let with = InjectRequest { mandatory: files, ..all() };
    assert_eq!(not_opened(&with, error()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn i3_items_come_in_the_order_of_nova() {
    let report = done(&mut debian(), &all());
    let items: Vec<&str> = report.items.iter().map(|report| report.item.name()).collect();
    assert_eq!(items, ["key", "net", "metadata", "admin_password", "files"]);
    let changed: Vec<String> = report.changes.iter().map(|change| change.path.to_string()).collect();
    let at = |place: &str| changed.iter().position(|path| path == place).unwrap();
    assert!(PLACES.windows(2).all(|pair| at(pair[0].1) < at(pair[1].1)), "{changed:?}");
}

#[test]
fn i3_what_is_empty_is_skipped() {
    let request = InjectRequest {
        net: Some(vec![]),
        metadata: Some(vec![]),
        admin_password: Some(Secret::new("")),
        ..InjectRequest::default()
    };
    let request = InjectRequest { key: Some(vec![]), ..nova(request) };
    let mut tree = debian();
    let (before, writes) = (tree.listing(), tree.writes);
    let report = done(&mut tree, &request);
    assert!(report.items.iter().all(|item| item.outcome == Outcome::Skipped));
    assert_eq!((tree.listing(), tree.writes), (before, writes));
}

#[test]
fn i4_a_failed_optional_item_leaves_no_half_write_and_the_others_go_on() {
    // The second of two files fails: the first must be gone, too, with its directory.
    let bad = || InjectRequest { files: vec![file("/opt/new/a", "1"), file("/etc/bad", "2")], ..all() };
    for request in [bad(), nova(bad())] {
        let (mut tree, mut without) = (debian(), debian());
        tree.fail_writes_to("/etc/bad");
        let report = inject(&mut tree, &request).unwrap();
        let reason = "/etc/bad: input/output error";
        assert_eq!(*report.outcome(Item::Files), Outcome::Failed(reason.into()));
        assert!(report.warnings.contains(&format!("ignoring error injecting files into image: {reason}")));
        let rest = done(&mut without, &InjectRequest { files: vec![], ..request });
        assert_eq!(tree.listing(), without.listing());
        assert_eq!(report.changes, rest.changes);
    }
}

#[test]
fn i4_a_failed_mandatory_item_is_an_error_and_nothing_stays() {
    for (item, place) in PLACES {
        let mut tree = debian();
        tree.fail_writes_to(place);
        let before = tree.listing();
        let request = InjectRequest { mandatory: BTreeSet::from([item]), ..all() };
        assert_eq!(inject(&mut tree, &request).unwrap_err().kind(), ErrorKind::Io, "{item}");
        assert_eq!(tree.listing(), before, "{item}");
    }
}

/// The guest of the tests, with all that makes injection write in more places.
fn selinux_guest() -> MemTree {
    let mut tree = debian();
    tree.file("/etc/selinux/config", "SELINUX=enforcing\n").file("/usr/lib/systemd/systemd", "");
    tree
}

#[test]
fn i4_whichever_write_fails_nothing_stays_of_its_item() {
    for compat in [false, true] {
        let request = || InjectRequest { nova_compat: compat, ..all() };
        let mut whole = selinux_guest();
        let first = whole.writes;
        done(&mut whole, &request());
        let writes = whole.writes - first;
        assert!(writes >= 10, "{writes}");
        for number in 1..=writes {
            let mut tree = selinux_guest();
            let before = tree.listing();
            tree.failing_write = Some(first + number);
            let mandatory = InjectRequest { mandatory: Item::ALL.into(), ..request() };
            assert_eq!(inject(&mut tree, &mandatory).unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(tree.listing(), before, "write {number}");

            let mut tree = selinux_guest();
            tree.failing_write = Some(first + number);
            let report = inject(&mut tree, &request()).unwrap();
            let lost: Vec<Item> =
                Item::ALL.into_iter().filter(|item| *report.outcome(*item) != Outcome::Done).collect();
            assert_eq!(lost.len(), 1, "write {number}");
            let mut rest = request();
            match lost[0] {
                Item::Key => rest.key = None,
                Item::Net => rest.net = None,
                Item::Metadata => rest.metadata = None,
                Item::AdminPassword => rest.admin_password = None,
                Item::Files => rest.files.clear(),
            }
            let mut without = selinux_guest();
            done(&mut without, &rest);
            assert_eq!(tree.listing(), without.listing(), "write {number}");
        }
    }
}

#[test]
fn what_changed_is_all_that_changed() {
    for compat in [false, true] {
        let mut tree = selinux_guest();
        let before = tree.listing();
        let report = done(&mut tree, &InjectRequest { nova_compat: compat, ..all() });
        let after = tree.listing();
        let changed: BTreeSet<String> = report.changes.iter().map(|change| change.path.to_string()).collect();
        // A directory is listed with its number of links, which grows with the directories in it.
        let parents: BTreeSet<String> =
            report.changes.iter().filter_map(|change| Some(change.path.parent()?.to_string())).collect();
        for (path, line) in &after {
            let differs = before.get(path) != Some(line);
            let is_parent = parents.contains(path) && before.contains_key(path);
            assert!(changed.contains(path) == differs || is_parent, "{path}: {line}");
        }
        assert!(before.keys().all(|path| after.contains_key(path)));
    }
}

#[test]
fn i5_the_tree_can_be_used_after_a_failure() {
    let mut tree = debian();
    let request = InjectRequest { mandatory: BTreeSet::from([Item::Files]), ..files(&[("/etc", "")]) };
    assert_eq!(inject(&mut tree, &request).unwrap_err().kind(), ErrorKind::IsADirectory);
    done(&mut tree, &all());
}

#[test]
fn i6_a_mandatory_password_keeps_the_error_of_opening() {
    let password = Some(Secret::new("hunter2"));
    let mandatory = BTreeSet::from([Item::AdminPassword]);
    let request = InjectRequest { admin_password: password, mandatory, ..InjectRequest::default() };
    let error = not_opened(&request, Error::new(ErrorKind::NotFound, "no operating system")).unwrap_err();
    assert_eq!(error.to_string(), "no operating system");
}

#[test]
fn i7_the_password_is_in_no_text() {
    let mut failing = debian();
    failing.fail_writes_to("/etc/shadow");
    for mut tree in [debian(), MemTree::new(), failing] {
        for request in [all(), nova(all())] {
            let debug = format!("{request:?}");
            let report = inject(&mut tree, &request).unwrap();
            let json = serde_json::to_string(&report).unwrap();
            let changes: Vec<String> = report.changes.iter().map(ToString::to_string).collect();
            let mandatory = InjectRequest { mandatory: BTreeSet::from([Item::AdminPassword]), ..request };
            let error = format!("{:?}", inject(&mut tree, &mandatory).map(|report| report.warnings));
            for text in [debug, format!("{report:?}"), json, changes.concat(), error] {
                assert!(!text.contains("hunter2"), "{text}");
                assert!(!text.contains(&format!("{:?}", b"hunter2")), "{text}");
                assert!(!text.contains("$1$") && !text.contains("$6$") && !text.contains("$y$"), "{text}");
            }
        }
    }
}

#[test]
fn i8_a_failed_user_file_fails_the_whole() {
    let request = InjectRequest { mandatory: BTreeSet::from([Item::Files]), ..all() };
    let request = InjectRequest { files: vec![file("/etc/passwd/x", "")], ..request };
    let mut tree = debian();
    let before = tree.listing();
    assert_eq!(inject(&mut tree, &request).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(tree.listing(), before);
}

#[test]
fn i9_nothing_to_inject_is_known_beforehand() {
    assert!(InjectRequest::default().is_empty());
    assert!(!all().is_empty() && !key().is_empty());
    assert!(!InjectRequest { key: Some(vec![]), ..InjectRequest::default() }.is_empty());
    assert!(nova(InjectRequest { key: Some(vec![]), ..InjectRequest::default() }).is_empty());
}

#[test]
fn items_have_the_names_of_nova() {
    for item in Item::ALL {
        assert_eq!(Item::parse(item.name()).unwrap(), item);
        assert_eq!(serde_json::to_value(item).unwrap(), item.name());
    }
    assert_eq!(Item::parse("admin-password").unwrap(), Item::AdminPassword);
    assert_eq!(Item::parse("keys").unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_second_run_changes_nothing_but_the_password() {
    let mut tree = debian();
    let request = InjectRequest { admin_password: None, ..all() };
    done(&mut tree, &request);
    let (before, writes) = (tree.listing(), tree.writes);
    assert_eq!(done(&mut tree, &request).changes, []);
    assert_eq!((tree.listing(), tree.writes), (before, writes));
}

#[test]
fn the_report_as_json() {
    let mut tree = debian();
    tree.dir("/meta.js");
    let request = InjectRequest { metadata: Some(vec![("a".into(), "b".into())]), ..files(&[("/f", "x")]) };
    let report = serde_json::to_value(inject(&mut tree, &request).unwrap()).unwrap();
    assert_eq!(
        report,
        serde_json::json!({
            "ok": false,
            "items": [
                { "item": "key", "outcome": "skipped" },
                { "item": "net", "outcome": "skipped" },
                { "item": "metadata", "outcome": "failed", "reason": "/meta.js: is a directory" },
                { "item": "admin_password", "outcome": "skipped" },
                { "item": "files", "outcome": "done" },
            ],
            "warnings": ["ignoring error injecting metadata into image: /meta.js: is a directory"],
            "notes": [],
            "changes": [
                { "path": "/f", "change": "created_file", "mode": "0644", "uid": 0, "gid": 0, "after": 1 },
            ],
        })
    );
}
