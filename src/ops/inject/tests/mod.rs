//! The acceptance cases of injection, by their ids.

mod files;
mod items;
mod keys;
mod mounts;
mod net;
mod password;
mod selinux;

use super::{InjectFile, InjectReport, InjectRequest, Item, Outcome, inject, not_opened};
use crate::account::Secret;
use crate::error::{Error, ErrorKind};
use crate::tree::memtree::MemTree;
use crate::tree::{FileTree, GuestPath};
use std::collections::BTreeSet;

const BLOB: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

/// A Debian: root, a user web with group web, shadow, ifupdown.
fn debian() -> MemTree {
    let mut tree = MemTree::new();
    tree.file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nweb:x:1000:1001::/srv/web:/bin/sh\nnobody:x:65534:65534::/nonexistent:/x\n",
    );
    tree.file("/etc/group", "root:x:0:\nshadow:x:42:\nweb:x:1001:\n");
    tree.file("/etc/shadow", "root:*:14917:0:99999:7:::\nweb:!:14917:0:99999:7:::\n");
    tree.owner("/etc/shadow", 0, 42).chmod("/etc/shadow", 0o640);
    tree.file("/etc/os-release", "ID=debian\nVERSION_ID=12\n").file("/sbin/ifup", "").dir("/root").dir("/srv/web");
    tree.chmod("/root", 0o700).owner("/srv/web", 1000, 1001);
    tree
}

fn key() -> InjectRequest {
    InjectRequest { key: Some(format!("ssh-ed25519 {BLOB} me@host\n").into_bytes()), ..InjectRequest::default() }
}

fn nova(request: InjectRequest) -> InjectRequest {
    InjectRequest { nova_compat: true, ..request }
}

fn file(path: &str, contents: &str) -> InjectFile {
    InjectFile { path: path.into(), contents: contents.into(), mode: None, owner: None }
}

fn files(files: &[(&str, &str)]) -> InjectRequest {
    let files = files.iter().map(|(path, contents)| file(path, contents)).collect();
    InjectRequest { files, ..InjectRequest::default() }
}

/// Injects, expecting all to be done.
#[track_caller]
fn done(tree: &mut MemTree, request: &InjectRequest) -> InjectReport {
    let report = inject(tree, request).unwrap();
    assert!(report.ok, "{:?}", report.warnings);
    report
}

/// Injects, expecting `item` to fail; returns why.
#[track_caller]
fn failed(tree: &mut MemTree, request: &InjectRequest, item: Item) -> String {
    let report = inject(tree, request).unwrap();
    assert!(!report.ok);
    match report.outcome(item) {
        Outcome::Failed(reason) => reason.clone(),
        outcome => panic!("{item}: {outcome:?}"),
    }
}
