//! Contexts and editors from outside: what debugfs finds in the image, and what an editor gets.

use crate::common::{nomount, run, text};
use crate::edit::{ROOT, done};
use crate::{Guest, json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{require, scratch, tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CONTEXTS: &str = "/.*\tsystem_u:object_r:default_t:s0\n/etc(/.*)?\tsystem_u:object_r:etc_t:s0\n\
                        /root/\\.ssh(/.*)?\tsystem_u:object_r:ssh_home_t:s0\n\
                        /etc/shadow.*\t--\tsystem_u:object_r:shadow_t:s0\n/dev/.*\t-c\tsystem_u:object_r:device_t:s0\n";

/// The small guest with a policy.
fn labelled_guest() -> Guest {
    let guest = Guest::new();
    let arg = guest.arg();
    done(["mkdir", "-p", &arg, "/etc/selinux/mine/contexts/files"]);
    done(["write", &arg, "/etc/selinux/config", "--text", "SELINUX=enforcing\nSELINUXTYPE=mine\n"]);
    done(["write", &arg, "/etc/selinux/mine/contexts/files/file_contexts", "--text", CONTEXTS]);
    guest
}

/// A context as debugfs prints it, with the byte that ends it.
fn context(raw: &std::path::Path, path: &str) -> String {
    let image = format!("{}?offset={ROOT}", text(raw));
    let output =
        tool::output(tool::command("debugfs").args(["-R", &format!("ea_get {path} security.selinux"), &image]));
    tool::text(&output).lines().find(|line| line.contains("security.selinux")).unwrap_or_default().trim().to_owned()
}

#[test]
fn what_is_injected_and_relabelled_has_its_context_in_the_image() {
    if !require(&["e2fsck", "debugfs", "qemu-img"]) {
        return;
    }
    let guest = labelled_guest();
    let key = guest.path("key.pub");
    fs::write(&key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJWTnqxkV7aGlhPFvvBRHSVlGxPSmsPkNbpGKpGR8m8J me\n").unwrap();
    let ran = done(["inject", &guest.arg(), "--key", &text(&key)]);
    assert!(ran.stdout.contains("label /root/.ssh/authorized_keys system_u:object_r:ssh_home_t:s0"), "{ran:?}");
    assert_ne!(run(["stat", &guest.arg(), "/etc/rc.local"]).code, Some(0), "nothing is left to run at boot");
    let report = json(&done(["relabel", "--json", &guest.arg()]));
    assert!(report["changed"].as_u64().unwrap() > 10, "{report}");
    let again = json(&done(["relabel", "--json", &guest.arg()]));
    assert_eq!((again["changed"].as_u64(), again["files"].as_u64()), (Some(0), report["files"].as_u64()));
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    let raw = scratch::raw_of(&guest.image, "qcow2");
    judges::e2fsck_fn(&raw, ROOT).unwrap();
    for (path, wanted) in [
        ("/root/.ssh", "ssh_home_t"),
        ("/root/.ssh/authorized_keys", "ssh_home_t"),
        ("/etc/shadow", "shadow_t"),
        ("/etc/hostname", "etc_t"),
        ("/root", "default_t"),
    ] {
        let wanted = format!("security.selinux ({}) = \"system_u:object_r:{wanted}:s0\\000\"", wanted.len() + 22);
        assert_eq!(context(&raw, path), wanted, "{path}");
    }
}

#[test]
fn a_guest_without_a_policy_is_not_relabelled() {
    let guest = Guest::new();
    let before = state(&guest.image);
    let ran = run(["relabel", &guest.arg()]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("no SELinux policy"), "{ran:?}");
    assert_eq!(state(&guest.image), before);
}

#[test]
fn an_editor_gets_a_private_copy_under_the_files_name() {
    let guest = Guest::new();
    done(["write", &guest.arg(), "/etc/app.conf", "--text", "a = 1\n"]);
    let (script, seen) = (guest.path("an editor's.sh"), guest.path("seen"));
    let lines = format!(
        "#!/bin/sh\nstat -c '%a %U' \"$(dirname \"$2\")\" >{0}\necho \"$1 $2\" >>{0}\necho b >>\"$2\"\n",
        text(&seen)
    );
    fs::write(&script, lines).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = nomount();
    command.args(["edit", &format!("{}:/etc/app.conf", guest.arg())]);
    // The variable is read by a shell: a quoted name and an option.
    command.env_remove("VISUAL").env("EDITOR", format!("\"{}\" --wait", text(&script)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(run(["cat", &guest.arg(), "/etc/app.conf"]).stdout, "a = 1\nb\n");
    let seen = fs::read_to_string(&seen).unwrap();
    let (folder, file) = seen.split_once('\n').unwrap();
    assert!(folder.starts_with("700 ") && file.starts_with("--wait /"), "{seen}");
    let file = std::path::Path::new(file.trim().strip_prefix("--wait ").unwrap());
    assert!(file.ends_with("app.conf") && !file.parent().unwrap().exists(), "the copy is gone: {seen}");

    // An editor that fails, or changes nothing, leaves the image alone.
    let before = state(&guest.image);
    for (editor, code) in [("false", 3), ("true", 0)] {
        let mut command = nomount();
        command.args(["edit", &guest.arg(), "/etc/app.conf"]).env_remove("VISUAL").env("EDITOR", editor);
        assert_eq!(command.output().unwrap().status.code(), Some(code), "{editor}");
        assert_eq!(state(&guest.image), before, "{editor}");
    }
}
