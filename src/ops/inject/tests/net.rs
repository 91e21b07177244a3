//! N1 and D1: the network file and the metadata.

use super::*;

fn net() -> InjectRequest {
    InjectRequest { net: Some(b"auto eth0\n".to_vec()), ..InjectRequest::default() }
}

#[test]
fn n1_nova_sets_owner_and_an_odd_mode_of_the_directory() {
    let mut tree = debian();
    done(&mut tree, &nova(net()));
    assert_eq!((tree.mode("/etc/network"), tree.owner_of("/etc/network")), (0o744, (0, 0)));
    assert_eq!(tree.mode("/etc/network/interfaces"), 0o644);
    tree.chmod("/etc/network", 0o755).owner("/etc/network", 3, 4);
    done(&mut tree, &nova(net()));
    assert_eq!((tree.mode("/etc/network"), tree.owner_of("/etc/network")), (0o744, (0, 0)));
}

#[test]
fn n1_the_directory_is_made_0755_and_left_alone_when_it_exists() {
    let mut tree = debian();
    done(&mut tree, &net());
    assert_eq!((tree.mode("/etc/network"), tree.owner_of("/etc/network")), (0o755, (0, 0)));
    let mut tree = debian();
    tree.dir("/etc/network").chmod("/etc/network", 0o775).owner("/etc/network", 0, 4);
    done(&mut tree, &net());
    assert_eq!((tree.mode("/etc/network"), tree.owner_of("/etc/network")), (0o775, (0, 4)));
}

#[test]
fn n1_the_file_is_replaced_and_keeps_mode_and_owner() {
    for request in [net(), nova(net())] {
        let mut tree = debian();
        tree.file("/etc/network/interfaces", "much that is longer than the new text\n");
        tree.chmod("/etc/network/interfaces", 0o600).owner("/etc/network/interfaces", 1, 2);
        done(&mut tree, &request);
        assert_eq!(tree.text("/etc/network/interfaces"), "auto eth0\n");
        assert_eq!((tree.mode("/etc/network/interfaces"), tree.owner_of("/etc/network/interfaces")), (0o600, (1, 2)));
    }
}

#[test]
fn n1_a_guest_that_would_not_read_it_is_pointed_out() {
    assert_eq!(done(&mut debian(), &net()).warnings, Vec::<String>::new());
    let report = done(&mut MemTree::new(), &net());
    assert!(report.warnings[0].contains("no ifup program"), "{:?}", report.warnings);
}

#[test]
fn d1_metadata_is_json_in_meta_js() {
    let pairs = || Some(vec![("eek".into(), "wizz".into()), ("foo".into(), "bar".into())]);
    let request = || InjectRequest { metadata: pairs(), ..InjectRequest::default() };
    for request in [request(), nova(request())] {
        let mut tree = debian();
        tree.file("/meta.js", "{\"old\": \"and long and much longer still\"}").chmod("/meta.js", 0o600);
        done(&mut tree, &request);
        assert_eq!(tree.text("/meta.js"), r#"{"eek": "wizz", "foo": "bar"}"#);
        assert_eq!(tree.mode("/meta.js"), 0o600);
    }
}
