//! K3 to K5: the restorecon in rc.local.

use super::*;
use crate::ops::selinux::Labelling;

const NOVA_LINES: &str = "\n# Added by Nova to ensure injected ssh keys have the right context\n\
                          restorecon -RF root/.ssh 2>/dev/null || :\n";
const LINES: &str = "# Added by nomount: gives injected ssh keys their SELinux context\n\
                     restorecon -RF /root/.ssh 2>/dev/null || :\n";

/// A systemd guest with SELinux whose systemd runs `script`.
fn selinux(script: &str) -> MemTree {
    let mut tree = debian();
    tree.file("/etc/selinux/config", "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n");
    tree.file("/usr/lib/systemd/systemd", "").link("/sbin/init", "../usr/lib/systemd/systemd");
    let unit = format!("[Unit]\nConditionFileIsExecutable={script}\n[Service]\nExecStart={script} start\n");
    tree.file("/usr/lib/systemd/system/rc-local.service", unit);
    tree.file("/usr/lib/systemd/system-generators/systemd-rc-local-generator", "");
    tree
}

#[test]
fn k3_nova_writes_these_bytes() {
    let mut tree = debian();
    tree.dir("/etc/selinux");
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.local"), format!("#!/bin/sh{NOVA_LINES}"));
    assert_eq!(tree.mode("/etc/rc.local"), 0o700);
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.local"), format!("#!/bin/sh{NOVA_LINES}{NOVA_LINES}"));
}

#[test]
fn k3_nova_takes_rc_d_only_when_there_is_no_rc_local() {
    let mut tree = debian();
    tree.dir("/etc/selinux").dir("/etc/rc.d");
    done(&mut tree, &nova(key()));
    assert!(tree.has("/etc/rc.d/rc.local") && !tree.has("/etc/rc.local"));
    let mut tree = debian();
    tree.dir("/etc/selinux").dir("/etc/rc.d").file("/etc/rc.local", "#!/bin/sh\n").chmod("/etc/rc.local", 0o755);
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.local"), format!("#!/bin/sh\n{NOVA_LINES}"));
    assert!(!tree.has("/etc/rc.d/rc.local"));
    assert_eq!(tree.mode("/etc/rc.local"), 0o700);
    let mut tree = debian();
    done(&mut tree, &nova(key()));
    assert!(!tree.has("/etc/rc.local"));
}

#[test]
fn k4_nova_starts_on_a_new_line_when_the_file_lacks_one() {
    let mut tree = debian();
    tree.dir("/etc/selinux").file("/etc/rc.d/rc.local", "#!/bin/sh\necho done");
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.d/rc.local"), format!("#!/bin/sh\necho done{NOVA_LINES}"));
}

#[test]
fn k4_starts_on_a_new_line_when_the_file_lacks_one() {
    let mut tree = selinux("/etc/rc.d/rc.local");
    tree.file("/etc/rc.d/rc.local", "#!/bin/sh\necho done");
    done(&mut tree, &key());
    assert_eq!(tree.text("/etc/rc.d/rc.local"), format!("#!/bin/sh\necho done\n{LINES}"));
}

#[test]
fn k5_a_new_script_is_where_systemd_runs_it() {
    for script in ["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local"] {
        let mut tree = selinux(script);
        tree.dir("/etc/rc.d").dir("/etc/init.d");
        let report = done(&mut tree, &key());
        assert_eq!(tree.text(script), format!("#!/bin/sh\n{LINES}"));
        assert_eq!((tree.mode(script), tree.owner_of(script)), (0o755, (0, 0)));
        assert!(report.notes.iter().any(|note| note.contains(&format!("runs {script} at boot"))), "{:?}", report.notes);
        assert_eq!(report.warnings, Vec::<String>::new());
        assert!(!tree.has("/etc/systemd"));
    }
}

#[test]
fn k5_goes_before_a_final_exit_and_is_written_once() {
    let mut tree = selinux("/etc/rc.local");
    tree.file("/etc/rc.local", "#!/bin/sh -e\ntouch /x\n\nexit 0\n").chmod("/etc/rc.local", 0o755);
    done(&mut tree, &key());
    let wanted = format!("#!/bin/sh -e\ntouch /x\n\n{LINES}exit 0\n");
    assert_eq!(tree.text("/etc/rc.local"), wanted);
    let report = done(&mut tree, &key());
    assert_eq!(report.changes, []);
    assert_eq!(tree.text("/etc/rc.local"), wanted);
}

#[test]
fn k5_keeps_the_mode_and_adds_execution_for_who_may_read() {
    for (before, after) in [(0o755, 0o755), (0o644, 0o755), (0o600, 0o700), (0o750, 0o750), (0o640, 0o750)] {
        let mut tree = selinux("/etc/rc.local");
        tree.file("/etc/rc.local", "#!/bin/sh\n").chmod("/etc/rc.local", before).owner("/etc/rc.local", 0, 3);
        let report = done(&mut tree, &key());
        assert_eq!((tree.mode("/etc/rc.local"), tree.owner_of("/etc/rc.local")), (after, (0, 3)));
        let was_off = before & 0o111 == 0;
        assert_eq!(report.warnings.iter().any(|text| text.contains("was not executable")), was_off, "{before:o}");
    }
}

#[test]
fn k5_the_path_is_that_of_the_users_home() {
    let mut tree = selinux("/etc/rc.local");
    tree.file("/etc/passwd", "web:x:1000:1001::/srv/it's web:/bin/sh\n");
    done(&mut tree, &InjectRequest { user: b"web".to_vec(), ..key() });
    let line = "restorecon -RF '/srv/it'\\''s web/.ssh' 2>/dev/null || :\n";
    assert!(tree.text("/etc/rc.local").ends_with(line), "{}", tree.text("/etc/rc.local"));
}

#[test]
fn k5_a_guest_that_does_not_use_selinux_is_left_alone() {
    let mut installed = debian();
    installed.file("/etc/selinux/semanage.conf", "");
    let mut disabled = selinux("/etc/rc.local");
    disabled.file("/etc/selinux/config", "SELINUX=disabled\n");
    for mut tree in [debian(), installed, disabled] {
        let report = done(&mut tree, &key());
        assert!(!tree.has("/etc/rc.local"));
        assert_eq!(report.notes, Vec::<String>::new());
    }
}

#[test]
fn k5_the_service_is_enabled_when_nothing_would_run_the_script() {
    const LINK: &str = "/etc/systemd/system/multi-user.target.wants/rc-local.service";
    // No generator: the link is made, once.
    let mut tree = selinux("/etc/rc.d/rc.local");
    let mut bare = debian();
    for from in ["/etc/selinux/config", "/usr/lib/systemd/system/rc-local.service", "/usr/lib/systemd/systemd"] {
        bare.file(from, tree.bytes(from));
    }
    let report = done(&mut bare, &key());
    assert_eq!(bare.read_link(&path(LINK)).unwrap(), b"/usr/lib/systemd/system/rc-local.service");
    assert_eq!((bare.mode("/etc/rc.d"), bare.mode("/etc/rc.d/rc.local")), (0o755, 0o755));
    assert!(report.notes.iter().any(|note| note.contains("was enabled")), "{:?}", report.notes);
    assert_eq!(done(&mut bare, &key()).changes, []);
    // No unit at all, as in newer releases: it is written.
    let mut none = debian();
    for from in ["/etc/selinux/config", "/usr/lib/systemd/systemd"] {
        none.file(from, tree.bytes(from));
    }
    done(&mut none, &key());
    assert_eq!(none.read_link(&path(LINK)).unwrap(), b"/etc/systemd/system/rc-local.service");
    assert!(none.text("/etc/systemd/system/rc-local.service").contains("ExecStart=/etc/rc.local start\n"));
    assert_eq!(done(&mut none, &key()).changes, []);
    // Masked by the administrator: that stays, and is said.
    tree.link("/etc/systemd/system/rc-local.service", "/dev/null");
    let report = done(&mut tree, &key());
    assert!(report.warnings.iter().any(|text| text.contains("masked")), "{:?}", report.warnings);
    assert!(!tree.has(LINK));
}

#[test]
fn k5_other_inits_get_the_lines_and_a_warning() {
    let mut tree = debian();
    tree.file("/etc/selinux/config", "SELINUX=permissive\n").dir("/etc/rc.d");
    let report = done(&mut tree, &key());
    assert_eq!(tree.text("/etc/rc.d/rc.local"), format!("#!/bin/sh\n{LINES}"));
    assert!(report.warnings.iter().any(|text| text.contains("does not run systemd")), "{:?}", report.warnings);
}

#[test]
fn k5_a_script_that_no_shell_reads_fails_the_key() {
    let mut tree = selinux("/etc/rc.local");
    tree.file("/etc/rc.local", "#!/usr/bin/python3\n");
    let before = tree.listing();
    assert!(failed(&mut tree, &key(), Item::Key).contains("no shell script"));
    assert_eq!(tree.listing(), before);
}

#[test]
fn k5_through_the_link_of_fedora() {
    let mut tree = selinux("/etc/rc.d/rc.local");
    tree.dir("/etc/rc.d").link("/etc/rc.local", "rc.d/rc.local");
    done(&mut tree, &key());
    assert_eq!(tree.text("/etc/rc.d/rc.local"), format!("#!/bin/sh\n{LINES}"));
    // Nova sees no rc.local behind the dangling link, takes rc.d, and both are one file.
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.d/rc.local"), format!("#!/bin/sh\n{LINES}{NOVA_LINES}"));
}

#[test]
fn k5_new_files_without_a_context_are_pointed_out() {
    let mut tree = selinux("/etc/rc.local");
    tree.file("/etc/old", "x").file("/etc/rc.local", "#!/bin/sh\n").chmod("/etc/rc.local", 0o755);
    let request = InjectRequest { files: vec![file("/etc/old", "1"), file("/opt/new", "2")], ..key() };
    let report = done(&mut tree, &request);
    let unlabelled: Vec<&String> = report.notes.iter().filter(|note| note.contains("/.autorelabel")).collect();
    assert_eq!(unlabelled.len(), 1);
    assert!(unlabelled[0].ends_with("gives them one: /opt, /opt/new"), "{unlabelled:?}");
    let mut other = debian();
    assert_eq!(done(&mut other, &request).notes, Vec::<String>::new());
}

#[test]
fn k5_with_a_policy_the_keys_are_labelled_and_nothing_runs_at_boot() {
    let guest = || {
        let mut tree = selinux("/etc/rc.local");
        let contexts = "/.*\tsystem_u:object_r:default_t:s0\n/root/\\.ssh(/.*)?\tsystem_u:object_r:ssh_home_t:s0\n\
                        /opt(/.*)?\tsystem_u:object_r:usr_t:s0\n";
        tree.file("/etc/selinux/targeted/contexts/files/file_contexts", contexts);
        tree
    };
    let label = |tree: &MemTree, at: &str| {
        let xattrs = tree.xattrs(&path(at)).unwrap();
        xattrs.into_iter().find(|(name, _)| name == b"security.selinux").map(|(_, context)| context)
    };
    let mut tree = guest();
    let request = InjectRequest { files: vec![file("/opt/new", "2")], ..key() };
    let report = done(&mut tree, &request);
    assert!(!tree.has("/etc/rc.local") && !tree.has("/etc/systemd"));
    for (at, wanted) in [
        ("/root/.ssh", &b"system_u:object_r:ssh_home_t:s0\0"[..]),
        ("/root/.ssh/authorized_keys", b"system_u:object_r:ssh_home_t:s0\0"),
        ("/opt", b"system_u:object_r:usr_t:s0\0"),
        ("/opt/new", b"system_u:object_r:usr_t:s0\0"),
    ] {
        assert_eq!(label(&tree, at).as_deref(), Some(wanted), "{at}");
    }
    assert_eq!(report.notes, Vec::<String>::new());
    let labels = report.changes.iter().filter(|change| change.to_string().starts_with("label ")).count();
    assert_eq!(labels, 4);

    // Not asked for: neither contexts nor a restorecon, and it is said. As Nova: the restorecon and no contexts.
    let mut tree = guest();
    let report = done(&mut tree, &InjectRequest { labelling: Labelling::None, ..key() });
    assert!(!tree.has("/etc/rc.local") && label(&tree, "/root/.ssh").is_none());
    assert!(report.notes[0].contains("without an SELinux context"), "{:?}", report.notes);
    let mut tree = guest();
    done(&mut tree, &nova(key()));
    assert_eq!(tree.text("/etc/rc.local"), format!("#!/bin/sh{NOVA_LINES}"));
    assert_eq!(label(&tree, "/root/.ssh"), None);
}
