use super::*;
use crate::tree::memtree::MemTree;
use crate::tree::{FileKind, FileTree, GuestPath, Walk};

/// A guest with units of every kind. What is expected of them was seen with systemctl 252 and `--root`.
fn guest() -> MemTree {
    let mut tree = MemTree::new();
    let unit = |name: &str| format!("/usr/lib/systemd/system/{name}");
    tree.dir("/etc/systemd/system").link("/lib", "usr/lib");
    tree.file(
        &unit("a.service"),
        "[Install]\nWantedBy=multi-user.target other.target\nRequiredBy=r.target\nAlias=alias-a.service\nAlso=b.service\n",
    );
    tree.file(&unit("b.service"), "[Install]\nWantedBy=multi-user.target\n");
    tree.file(&unit("t@.service"), "[Install]\nWantedBy=multi-user.target\nDefaultInstance=def\n");
    tree.file(&unit("u@.service"), "[Install]\nWantedBy=multi-user.target %i.target\nAlias=ualias@.service\n");
    tree.file(&unit("v@.service"), "[Install]\nWantedBy=multi-user.target\n");
    tree.file(&unit("s.service"), "[Service]\nExecStart=/bin/true\n");
    tree.file(&unit("d.service"), "[Install]\nWantedBy=multi-user.target\n");
    tree.file(&unit("d.service.d/x.conf"), "[Install]\nWantedBy=\nWantedBy=drop.target\n");
    tree.link(&unit("linkname.service"), "a.service");
    tree.file("/usr/lib/systemd/system-preset/50-x.preset", "disable a*\nenable t@.service x y\nenable b.service\n");
    tree
}

fn run(tree: &mut MemTree, action: Action, unit: &str) -> Result<Vec<String>, ErrorKind> {
    let unit = UnitName::parse(unit).unwrap();
    service(&mut Editor::new(tree), action, &[unit]).map_err(|error| error.kind())
}

fn links(tree: &MemTree) -> Vec<String> {
    let config = GuestPath::parse("/etc/systemd/system").unwrap();
    let mut walk = Walk::new(config.clone());
    let mut out = Vec::new();
    while let Some((path, stat)) = walk.next(tree).unwrap() {
        if stat.kind == FileKind::Symlink {
            let target = String::from_utf8(tree.read_link(&path).unwrap()).unwrap();
            let name = path.to_string()["/etc/systemd/system/".len()..].to_owned();
            out.push(format!("{name} {}", target.trim_start_matches("/usr/lib/systemd/system/")));
        } else if path != config {
            assert!(!tree.entries(&path).unwrap().is_empty(), "{path} is left over");
        }
    }
    out
}

const A: [&str; 5] = [
    "alias-a.service a.service",
    "multi-user.target.wants/a.service a.service",
    "multi-user.target.wants/b.service b.service",
    "other.target.wants/a.service a.service",
    "r.target.requires/a.service a.service",
];

#[test]
fn enabling_makes_the_links_of_the_install_section_and_disabling_takes_all() {
    let mut tree = guest();
    for name in ["a", "linkname"] {
        assert_eq!(run(&mut tree, Action::Enable, name), Ok(vec![]));
        assert_eq!(links(&tree), A, "{name}");
        let writes = tree.writes;
        assert_eq!(run(&mut tree, Action::Enable, name), Ok(vec![]));
        assert_eq!(tree.writes, writes, "what is enabled is not touched");
        tree.link("/etc/systemd/system/x.target.wants/own.service", "/lib/systemd/system/a.service");
        run(&mut tree, Action::Disable, name).unwrap();
        assert_eq!(links(&tree), Vec::<String>::new(), "{name}");
    }
    run(&mut tree, Action::Enable, "d").unwrap();
    assert_eq!(links(&tree), ["drop.target.wants/d.service d.service"]);
    assert!(run(&mut tree, Action::Enable, "s").unwrap()[0].contains("no [Install] section"));
}

#[test]
fn templates_and_their_instances() {
    let mut tree = guest();
    run(&mut tree, Action::Enable, "t@").unwrap();
    run(&mut tree, Action::Enable, "t@x").unwrap();
    let (def, x) =
        ("multi-user.target.wants/t@def.service t@.service", "multi-user.target.wants/t@x.service t@.service");
    assert_eq!(links(&tree), [def, x]);
    run(&mut tree, Action::Disable, "t@x").unwrap();
    assert_eq!(links(&tree), [def]);
    run(&mut tree, Action::Enable, "t@x").unwrap();
    run(&mut tree, Action::Disable, "t@").unwrap();
    assert_eq!(links(&tree), Vec::<String>::new());
    run(&mut tree, Action::Enable, "u@i.service").unwrap();
    let wanted = [
        "i.target.wants/u@i.service u@.service",
        "multi-user.target.wants/u@i.service u@.service",
        "ualias@i.service u@.service",
    ];
    assert_eq!(links(&tree), wanted);
    run(&mut tree, Action::Disable, "u@").unwrap();
    assert_eq!(links(&tree), Vec::<String>::new());
    assert_eq!(run(&mut tree, Action::Enable, "v@"), Err(ErrorKind::Usage));
}

#[test]
fn masks() {
    let mut tree = guest();
    run(&mut tree, Action::Mask, "b").unwrap();
    run(&mut tree, Action::Mask, "b").unwrap();
    assert_eq!(links(&tree), ["b.service /dev/null"]);
    assert_eq!(run(&mut tree, Action::Enable, "b"), Err(ErrorKind::Refused));
    assert!(run(&mut tree, Action::Disable, "b").unwrap()[0].contains("masked"));
    assert_eq!(links(&tree), ["b.service /dev/null"]);
    run(&mut tree, Action::Unmask, "b").unwrap();
    run(&mut tree, Action::Unmask, "b").unwrap();
    assert!(run(&mut tree, Action::Mask, "none").unwrap()[0].contains("no unit none.service"));
    run(&mut tree, Action::Unmask, "none").unwrap();
    tree.link("/etc/systemd/system/m.service", "/usr/lib/systemd/system/a.service");
    tree.file("/etc/systemd/system/own.service", "[Service]\n").file("/etc/systemd/system/empty.service", "");
    for unit in ["m", "own"] {
        assert_eq!(run(&mut tree, Action::Mask, unit), Err(ErrorKind::Exists));
        run(&mut tree, Action::Unmask, unit).unwrap();
    }
    assert_eq!(run(&mut tree, Action::Enable, "empty"), Err(ErrorKind::Refused));
    run(&mut tree, Action::Unmask, "empty").unwrap();
    assert!(!tree.has("/etc/systemd/system/empty.service") && tree.has("/etc/systemd/system/own.service"));
}

#[test]
fn presets_decide() {
    let mut tree = guest();
    run(&mut tree, Action::Enable, "a").unwrap();
    for unit in ["a", "b", "t@"] {
        run(&mut tree, Action::Preset, unit).unwrap();
    }
    assert!(run(&mut tree, Action::Preset, "v@").unwrap()[0].contains("the presets name no instance"));
    let wanted = ["b.service b.service", "t@x.service t@.service", "t@y.service t@.service"];
    assert_eq!(links(&tree), wanted.map(|link| format!("multi-user.target.wants/{link}")));
}

#[test]
fn what_is_missing_or_odd_is_said() {
    let mut tree = guest();
    for action in [Action::Enable, Action::Disable] {
        assert_eq!(run(&mut tree, action, "none"), Err(ErrorKind::NotFound));
    }
    // What a removed package left behind can still be disabled.
    tree.link("/etc/systemd/system/x.target.wants/gone.service", "/usr/lib/systemd/system/gone.service");
    run(&mut tree, Action::Disable, "gone").unwrap();
    assert_eq!(links(&tree), Vec::<String>::new());
    tree.file("/etc/systemd/system/other.target.wants/a.service", "");
    assert_eq!(run(&mut tree, Action::Enable, "a"), Err(ErrorKind::Exists));
    tree.link("/usr/lib/systemd/system/l1.service", "l2.service")
        .link("/usr/lib/systemd/system/l2.service", "l1.service");
    assert_eq!(run(&mut tree, Action::Enable, "l1"), Err(ErrorKind::Loop));
    tree.file("/usr/lib/systemd/system/e.service", "[Install]\nWantedBy=../../x.target\n");
    assert_eq!(run(&mut tree, Action::Enable, "e"), Err(ErrorKind::Invalid));
    let mut alpine = MemTree::new();
    alpine.dir("/etc");
    assert_eq!(run(&mut alpine, Action::Enable, "a"), Err(ErrorKind::Unsupported));
}
