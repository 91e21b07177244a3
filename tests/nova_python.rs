//! The Python in the README does what Nova's calls do.

mod common;

use common::{ran, text};
use nomount_kit::{TreeDigest, digest, fixture, judges, require, scratch};
use std::path::Path;
use std::process::Command;

/// What Nova's own tests of its VFS do, with the README's code before it.
const SCRIPT: &str = r#"
import sys
image = sys.argv[1]
vfs = VFS(image, "qcow2", -1)
assert vfs.get_image_fs() in ("ext4", "vfat", "unknown")
assert VFS(image, "qcow2", 1).get_image_fs() == "ext4"
vfs.make_path("/srv/a/b")
vfs.make_path("srv/a/b")
vfs.append_file("srv/a/b/c", "Hello")
vfs.append_file("srv/a/b/c", " World\n")
assert vfs.read_file("/srv/a/b/c") == "Hello World\n"
vfs.replace_file("/srv/a/b/c", "Goodbye")
assert vfs.read_file("srv/a/b/c") == "Goodbye"
assert vfs.has_file("/srv/a/b/c") and not vfs.has_file("/srv/a/b/d")
nomount("ln", "-s", "c", image + "@1:/srv/a/b/link")
nomount("ln", "-s", "nowhere", image + "@1:/srv/a/b/dangling")
assert vfs.has_file("/srv/a/b/link") and not vfs.has_file("/srv/a/b/dangling")
vfs.set_permissions("/srv/a/b/c", 0o4750)
vfs.set_ownership("/srv/a/b/c", "daemon", None)
vfs.set_ownership("/srv/a/b/c", None, "daemon")
for wrong in (lambda: vfs.read_file("/srv/none"), lambda: vfs.set_ownership("/srv", "nobody-has-this-name", None),
              lambda: vfs.set_permissions("/srv/none", 0o700)):
    try:
        wrong()
    except RuntimeError as error:
        assert "Traceback" not in str(error)
    else:
        raise AssertionError("no error")
assert inject_data(image, "qcow2", key="ssh-rsa AAAA= me", net="auto lo\n", metadata={"foo": "bar"},
                   admin_password="secret", files=[("etc/app/conf", b"\x00\xff")], partition=1, mandatory=("files",))
assert not inject_data(image, "qcow2", files=[("/etc/hostname/x", "")], partition=1)
try:
    inject_data(image, "qcow2", files=[("/etc/hostname/x", "")], partition=1, mandatory=("files",))
except RuntimeError:
    pass
else:
    raise AssertionError("a mandatory item failed quietly")
"#;

/// The code block of the README.
fn example() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let code = readme.split("```python\n").nth(1).expect("the README has Python in it");
    code.split("```").next().unwrap().to_owned()
}

#[test]
fn v2_v3_v4_v5_the_readmes_python_is_novas_vfs() {
    if !require(&["python3", "qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let image = scratch::copy(&fixture::guest());
    let program = Path::new(env!("CARGO_BIN_EXE_nomount")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", text(program));
    let mut python = Command::new("python3");
    python.env("PATH", path).arg("-c").arg(example() + SCRIPT).arg(&image);
    let done = ran(&mut python);
    assert_eq!(done.code, Some(0), "{done:?}");

    let disk = scratch::raw_of(&image, "qcow2");
    judges::e2fsck_fn(&disk, 13 << 20).unwrap();
    let tree = TreeDigest::of_ext(&disk, 13 << 20);
    let file = tree.get("/srv/a/b/c").unwrap();
    assert_eq!((file.uid, file.gid), (1, 1));
    assert_eq!(digest::cat(&disk, 13 << 20, "/meta.js"), br#"{"foo": "bar"}"#);
    assert!(tree.get("/root/.ssh/authorized_keys").is_some() && tree.get("/etc/app/conf").is_some());
}
