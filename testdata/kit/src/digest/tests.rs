use super::*;
use crate::{fixture, require};
use std::process::Command;

fn edit(image: &Path, commands: &str) {
    let script = scratch::file();
    fs::write(script.path(), commands).unwrap();
    let mut debugfs: Command = command("debugfs");
    let done = output(debugfs.arg("-w").arg("-f").arg(script.path()).arg(image));
    assert!(done.status.success(), "{}", text(&done));
}

#[test]
fn sees_every_kind_of_property() {
    if !require(&["debugfs"]) {
        return;
    }
    let tree = TreeDigest::of_ext(&fixture::file("ext4-1k"), 0);
    let at = |path: &str| tree.get(path).unwrap_or_else(|| panic!("{path} is missing"));
    assert_eq!((at("/etc/shadow").mode, at("/etc/shadow").gid), (0o640, 42));
    assert_eq!(at("/root/.ssh").mode, 0o700);
    assert_eq!((at("/home/user/big-owner").uid, at("/home/user/big-owner").gid), (70_000, 70_001));
    assert_eq!(tree.get(b"/home/user/caf\xe9-\xff\xfe").unwrap().content, at("/root/.ssh/authorized_keys").content);
    assert_eq!(at("/bin").target.as_deref(), Some(b"usr/bin".as_slice()));
    assert_eq!(at("/long-link").target.as_ref().unwrap().len(), 129);
    assert_eq!((at("/etc/hostname").links, at("/etc/hostname").inode), (3, at("/etc/hostname-2").inode));
    assert_eq!((at("/dev/big").kind, at("/dev/big").device), (Kind::Char, Some((4095, 65_535))));
    assert_eq!((at("/dev/sda").kind, at("/dev/sda").device), (Kind::Block, Some((8, 0))));
    assert_eq!((at("/dev/fifo").kind, at("/dev/fifo").device), (Kind::Fifo, None));
    assert_eq!(at("/var/year-2100").mtime, (4_102_444_800, 123_456_789));
    assert!(at("/var/year-1960").mtime.0 < 0);
    let labelled = &at("/var/labelled").xattrs;
    assert_eq!(labelled["security.selinux"], b"system_u:object_r:var_t:s0");
    assert_eq!(labelled["user.empty"], b"");
    assert_eq!(labelled["user.big"], [b'x'; 200]);
    assert_eq!(at("/var/in-block").xattrs["user.block"], [b'y'; 900]);
    assert_eq!(at("/usr/bin/ping").xattrs["security.capability"].len(), 20);
    assert_eq!(at("/var/acl").xattrs.len(), 2);
    assert_eq!(tree.entries.keys().filter(|path| path.starts_with(b"/var/two-levels/")).count(), 3000);
}

#[test]
fn equal_contents_are_equal_whatever_the_block_size_map_or_holes() {
    if !require(&["debugfs"]) {
        return;
    }
    let trees = ["ext2-1k", "ext3-4k", "ext4-2k", "inline-data", "bigalloc"]
        .map(|name| TreeDigest::of_ext(&fixture::file(name), 0));
    for path in ["/etc/passwd", "/etc/hostname", "/var/log/lines"] {
        let contents = trees.each_ref().map(|tree| tree.get(path).unwrap().content);
        assert!(contents.iter().all(|content| *content == contents[0] && *content != 0), "{path}");
    }
    assert_ne!(trees[0].get("/etc/passwd").unwrap().content, trees[0].get("/etc/group").unwrap().content);
}

#[test]
fn one_changed_byte_mode_time_or_attribute_is_seen_and_nothing_else() {
    if !require(&["debugfs"]) {
        return;
    }
    let image = fixture::file("ext4-147");
    let before = TreeDigest::of_ext(&image, 0);
    assert_eq!(before.diff(&TreeDigest::of_ext(&image, 0)), []);
    edit(
        &image,
        "sif /etc/passwd mode 0100600\nsif /etc/group mtime 0x1\nea_set /etc/os-release user.a b\n\
         sif /var/year-2100 mtime_extra 0x1D6F3459\nsif /usr/bin/ping generation 7\n",
    );
    // A byte in the middle of a file, past the judge's own code.
    let block = output(command("debugfs").args(["-R", "bmap /var/log/lines 2"]).arg(&*image));
    let block: u64 = String::from_utf8_lossy(&block.stdout).trim().parse().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", block * 4096 + 77).unwrap();
    let changes = before.diff(&TreeDigest::of_ext(&image, 0));
    let seen: Vec<String> = changes.iter().map(|change| format!("{change:?}")).collect();
    let wanted = [
        "~ /etc/group: [Mtime]",
        "~ /etc/os-release: [Xattrs]",
        "~ /etc/passwd: [Mode]",
        "~ /var/log/lines: [Content]",
        "~ /var/year-2100: [Mtime]",
    ];
    assert_eq!(seen, wanted);
}
