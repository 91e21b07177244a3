//! Every answer compared with libselinux's own, through matchpathcon(8).

use super::*;
use nomount_kit::require;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the files of a policy are: that of Debian's package selinux-policy-default, or another in a folder that
/// NOMOUNT_SELINUX_POLICY names.
fn policy_dir() -> PathBuf {
    let named = std::env::var_os("NOMOUNT_SELINUX_POLICY");
    named.map_or_else(|| PathBuf::from("/etc/selinux/default/contexts/files"), PathBuf::from)
}

/// How matchpathcon calls the kinds of files.
const KINDS: [(&str, FileKind); 7] = [
    ("file", FileKind::File),
    ("dir", FileKind::Dir),
    ("lnk_file", FileKind::Symlink),
    ("chr_file", FileKind::CharDevice),
    ("blk_file", FileKind::BlockDevice),
    ("pipe", FileKind::Fifo),
    ("sock_file", FileKind::Socket),
];

/// Paths that a pattern may match: its parts as they are, some repeated, some left out, and some next to them.
fn samples(pattern: &str, number: usize) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = pattern.chars().peekable();
    let mut skip_class = false;
    while let Some(character) = chars.next() {
        match character {
            '\\' => plain.extend(chars.next()),
            '[' => skip_class = true,
            ']' if skip_class => {
                skip_class = false;
                plain.push(char::from(b'0' + (number % 10) as u8));
            }
            _ if skip_class => {}
            '.' if matches!(chars.peek(), Some('*' | '+')) => plain.push_str("x/y"),
            '.' => plain.push('z'),
            '(' | ')' | '?' | '*' | '+' | '^' | '$' => {}
            '|' => {
                // The first alternative of a group, and what comes after the group.
                for skipped in chars.by_ref() {
                    if skipped == ')' {
                        break;
                    }
                }
            }
            other => plain.push(other),
        }
    }
    let plain = plain.replace("//", "/");
    let parent = plain.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
    vec![format!("{plain}/child.so.1"), format!("{plain}x"), parent, plain]
}

fn ours(policy: &mut Policy, at: &str, kind: FileKind) -> String {
    policy.lookup(&path(at), kind).unwrap().unwrap_or("<<none>>").to_owned()
}

fn theirs(contexts: &Path, kind: &str, paths: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for paths in paths.chunks(2000) {
        let mut command = nomount_kit::tool::command("matchpathcon");
        command.args(["-n", "-N", "-m", kind, "-f"]).arg(contexts).args(paths);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        found.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    assert_eq!(found.len(), paths.len(), "matchpathcon answers each path");
    found
}

/// Copies the policy to where it can be added to, without the compiled forms, and reads it.
fn copied(dir: &Path, local: &str, subs: &str) -> Policy {
    let text = |name: &str| fs::read(policy_dir().join(name)).unwrap_or_default();
    let texts = [text("file_contexts"), text("file_contexts.homedirs"), local.as_bytes().to_vec()];
    let dist = text("file_contexts.subs_dist");
    for (suffix, text) in ["", ".homedirs", ".local"].iter().zip(&texts) {
        fs::write(dir.join(format!("fc{suffix}")), text).unwrap();
    }
    fs::write(dir.join("fc.subs"), subs).unwrap();
    fs::write(dir.join("fc.subs_dist"), &dist).unwrap();
    Policy::parse(&texts, subs.as_bytes(), &dist).unwrap()
}

#[test]
fn a_whole_policy_as_libselinux_looks_it_up() {
    if !require(&["matchpathcon"]) {
        return;
    }
    if !policy_dir().join("file_contexts").exists() {
        nomount_kit::tool::skip("no policy in /etc/selinux/default; testdata/install-judges.sh installs it");
        return;
    }
    let dir = nomount_kit::scratch::folder();
    let local = "/srv/www(/.*)?\tsystem_u:object_r:httpd_sys_content_t:s0\n/etc/hosts\tsystem_u:object_r:net_conf_t:s0\n\
                 /data/a|/data/b -- system_u:object_r:tmp_t:s0\n/data/[[:digit:]]{2,3}x? system_u:object_r:usr_t:s0\n\
                 /data/none/.* <<none>>\n/data/exact\\.d -d system_u:object_r:var_t:s0\n";
    let mut policy = copied(dir.path(), local, "/data/alias /etc\n/data/alias/more /var\n/sysroot /\n");
    let patterns: Vec<String> = policy.patterns().map(str::to_owned).collect();
    let mut paths: BTreeSet<String> =
        patterns.iter().enumerate().flat_map(|(number, pattern)| samples(pattern, number)).collect();
    paths.extend(
        ["/data/ax", "/x/data/b", "/data/12", "/data/1234", "/data/none/x", "/data/exact.d"].map(str::to_owned),
    );
    paths
        .extend(["/data/alias/passwd", "/data/alias/more/log/x", "/sysroot", "/sysroot/etc/shadow"].map(str::to_owned));
    let paths: Vec<String> = paths.into_iter().filter(|path| path.starts_with('/') && !path.ends_with('/')).collect();
    assert!(paths.len() > 10_000, "{} paths", paths.len());
    let long = std::env::var_os("NOMOUNT_LONG").is_some();
    let (mut compared, mut with_context) = (0, 0);
    for (number, (name, kind)) in KINDS.into_iter().enumerate() {
        // Each path with one kind, or in the long form with all.
        let chosen = paths.iter().enumerate().filter(|(index, _)| long || number == 0 || index % 7 == number);
        let chosen: Vec<String> = chosen.map(|(_, path)| path.clone()).collect();
        for (at, wanted) in chosen.iter().zip(theirs(&dir.path().join("fc"), name, &chosen)) {
            assert_eq!(ours(&mut policy, at, kind), wanted, "{name} {at}");
            compared += 1;
            with_context += usize::from(wanted != "<<none>>");
        }
    }
    assert!(compared > 15_000 && with_context > 10_000, "{compared} compared, {with_context} with a context");
    assert_eq!(policy.notes(), Vec::<String>::new(), "every pattern of a real policy is understood");
}
