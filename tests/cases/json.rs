//! What `nomount json` says of the documents is what the verbs print.

use crate::common::{Ran, nomount, ran};
use nomount_kit::{fixture, scratch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A command for each verb, in a folder with a small guest, a copy of it, and a few files.
const COMMANDS: &str = "ls -l disk.qcow2:/etc
cat disk.qcow2:/etc/hostname
stat disk.qcow2:/etc/hostname
find disk.qcow2:/etc -maxdepth 1
readlink disk.qcow2:/etc/os-release
getfattr disk.qcow2:/etc/hostname
du disk.qcow2:/etc
checksum sha256 disk.qcow2 /etc/hostname
mtree disk.qcow2:/etc
cp file disk.qcow2:/root/
copy-in disk.qcow2 file /srv
copy-out disk.qcow2 /etc/hostname .
upload disk.qcow2 file /root/up
download disk.qcow2 /root/up down
tar-out disk.qcow2:/etc etc.tar
tar-in disk.qcow2 etc.tar /srv
diff disk.qcow2 base.qcow2
write disk.qcow2:/root/w file
append disk.qcow2:/root/w file
edit -e s/x/y/ disk.qcow2:/root/w
truncate -s 1 disk.qcow2:/root/w
touch -d 2020-01-01 disk.qcow2:/root/w
mkdir disk.qcow2:/root/dir
rmdir disk.qcow2:/root/dir
mv disk.qcow2 /root/w /root/v
ln -s disk.qcow2 x /root/l
ln disk.qcow2 /root/v /root/hard
mknod disk.qcow2 /root/p p
chmod 600 disk.qcow2:/root/v
chown 1:1 disk.qcow2:/root/v
setfattr -n user.a -v b disk.qcow2:/root/v
rm disk.qcow2:/root/v
customize disk.qcow2 --hostname web --delete /root/l
inject disk.qcow2 --metadata role=web
sysprep disk.qcow2
useradd disk.qcow2 joe
groupadd disk.qcow2 staff2
service mask disk.qcow2 x.service
seed seed.img --hostname web
apply disk.qcow2 recipe.toml
run disk.qcow2 script
info disk.qcow2
inspect disk.qcow2
inspect-safety disk.qcow2 missing.img
filesystems disk.qcow2
partitions disk.qcow2
part list disk.qcow2
df disk.qcow2
size disk.qcow2
can-resize disk.qcow2 1G
is-partitionless disk.qcow2
check disk.qcow2
check --deterministic disk.qcow2
mkfs new.img 8M
grow base.qcow2 80M
shrink base.qcow2 70M
extend --format raw new.img 20M
recover disk.qcow2
container setup disk.qcow2 ./rootfs
container teardown ./rootfs
relabel disk.qcow2
ls missing.img
cat disk.qcow2:/no
mkdir --no-such-option";

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Names of all fields in a document.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            fields(value, names);
        }),
        Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

fn run(folder: &Path, words: &[&str]) -> Ran {
    // What a verb with others below it takes stands behind those.
    let verbs = if matches!(words[0], "part" | "service" | "container") { 2 } else { 1 };
    ran(nomount().current_dir(folder).args(&words[..verbs]).arg("--json").args(&words[verbs..]))
}

#[test]
fn every_field_is_documented_for_its_verb() {
    let document = ran(nomount().arg("json")).stdout;
    let (common, verbs) = document.split_once("## Verbs").unwrap();
    let (common, rows) = (quoted(common), verbs.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>());
    let folder = scratch::folder();
    for name in ["disk.qcow2", "base.qcow2"] {
        std::fs::copy(fixture::guest(), folder.path().join(name)).unwrap();
    }
    for (name, contents) in
        [("file", "x\n"), ("recipe.toml", "hostname = \"web\"\n"), ("script", "cat /etc/hostname\n")]
    {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    let (mut seen, mut untold) = (BTreeSet::new(), Vec::new());
    for command in COMMANDS.lines() {
        let words: Vec<&str> = command.split(' ').collect();
        let done = run(folder.path(), &words);
        let printed: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {done:?}"));
        assert_eq!(printed["schema"], 1, "{command}");
        let verb = format!("`{}`", words[0]);
        let row = rows.iter().find(|row| row.split('|').nth(1).unwrap().contains(&verb));
        let row = row.unwrap_or_else(|| panic!("{verb} is not documented"));
        seen.insert(words[0].to_owned());
        // What `info` says of a guest is documented once.
        let guest = rows.iter().find(|row| words[0] == "info" && row.starts_with("| `inspect`"));
        let known: BTreeSet<String> = quoted(row).union(&quoted(guest.unwrap_or(&""))).cloned().collect();
        let mut names = BTreeSet::new();
        fields(&printed, &mut names);
        let unknown: Vec<&String> =
            names.iter().filter(|name| !known.contains(*name) && !common.contains(*name)).collect();
        if !unknown.is_empty() {
            untold.push(format!("{command}: {unknown:?}"));
        }
    }
    assert!(untold.is_empty(), "printed, and not told of by `nomount json`:\n{}", untold.join("\n"));
    let documented: BTreeSet<String> = rows.iter().flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
    assert_eq!(seen, documented, "verbs that were run, and those that are documented");
}
