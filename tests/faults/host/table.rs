//! A command of every verb.

/// A command line.
pub struct Case {
    pub verb: &'static str,
    /// What it needs of the template.
    pub files: &'static [&'static str],
    /// Its words; no word has a blank in it.
    pub command: &'static str,
    /// Directories and files beside the image that a kill may leave with a part of their contents.
    pub partial: &'static [&'static str],
    /// Whether it can be given again once it has done its work.
    pub repeats: bool,
    /// Whether it runs other programs.
    pub programs: bool,
}

/// Verbs that open no image.
pub const NO_IMAGE: &[&str] = &["completion", "man", "json"];

const fn case(verb: &'static str, files: &'static [&'static str], command: &'static str) -> Case {
    Case { verb, files, command, partial: &[], repeats: true, programs: false }
}

const fn once(verb: &'static str, files: &'static [&'static str], command: &'static str) -> Case {
    Case { verb, files, command, partial: &[], repeats: false, programs: false }
}

const fn partly(
    verb: &'static str,
    files: &'static [&'static str],
    command: &'static str,
    partial: &'static [&'static str],
) -> Case {
    Case { verb, files, command, partial, repeats: true, programs: false }
}

const fn program(verb: &'static str, files: &'static [&'static str], command: &'static str) -> Case {
    Case { verb, files, command, partial: &[], repeats: true, programs: true }
}

pub const CASES: &[Case] = &[
    case("ls", &["root.img"], "ls -lR root.img:/etc"),
    case("cat", &["disk.qcow2"], "cat disk.qcow2:/etc/passwd"),
    case("stat", &["root.img"], "stat root.img:/etc/hosts"),
    case("find", &["root.img"], "find root.img:/etc -name host*"),
    case("readlink", &["root.img"], "readlink -f root.img:/etc/hosts"),
    case("getfattr", &["root.img"], "getfattr -d root.img:/etc/hosts"),
    case("du", &["root.img"], "du root.img:/etc"),
    case("checksum", &["root.img"], "checksum sha256 -r root.img:/etc"),
    case("mtree", &["root.img"], "mtree root.img:/etc"),
    case("diff", &["root.img", "unit.img"], "diff root.img unit.img"),
    case("cp", &["root.img", "tree"], "cp -r tree root.img:/srv"),
    partly("cp", &["root.img"], "cp -r root.img:/etc out", &["out"]),
    case("copy-in", &["disk.qcow2", "tree"], "copy-in disk.qcow2 tree /srv"),
    partly("copy-out", &["root.img"], "copy-out root.img /etc .", &["etc"]),
    case("upload", &["disk.qcow2", "text"], "upload disk.qcow2 text /etc/motd"),
    case("download", &["root.img"], "download root.img /etc/passwd copy"),
    once("tar-in", &["root.img", "tree.tar"], "tar-in --seed 7 root.img tree.tar /srv -o new.img"),
    case("tar-in", &["ext2.img", "tree.tar"], "tar-in ext2.img tree.tar /"),
    case("tar-out", &["root.img"], "tar-out root.img:/etc out.tar"),
    case("tar-out", &["root.img"], "tar-out root.img:/etc -"),
    partly("container", &["root.img"], "container setup root.img rootfs", &["rootfs", "rootfs.nomount-manifest"]),
    case("write", &["root.img", "text"], "write root.img:/etc/motd text"),
    case("write", &["esp.img", "text"], "write esp.img:/EFI/note text"),
    once("write", &["disk.qcow2", "text"], "write --seed 7 disk.qcow2:/etc/motd text -o new.qcow2"),
    once("append", &["ext2.img", "text"], "append ext2.img:/new text"),
    case("edit", &["root.img"], "edit root.img:/etc/hosts -e s/localhost/local/ -b .orig"),
    program("edit", &["root.img"], "edit root.img:/etc/hosts"),
    case("truncate", &["root.img"], "truncate -s 100000 root.img:/etc/hosts"),
    case("touch", &["root.img"], "touch root.img:/etc/stamp"),
    case("mkdir", &["root.img"], "mkdir -p root.img:/srv/a/b"),
    once("rm", &["root.img"], "rm -r root.img:/etc/ssh"),
    once("rmdir", &["esp.img"], "rmdir esp.img:/EMPTY"),
    once("mv", &["root.img"], "mv root.img:/etc/hosts /etc/hosts.old"),
    case("ln", &["root.img"], "ln -sf root.img /etc/hosts /etc/link"),
    once("mknod", &["root.img"], "mknod root.img:/dev/mine c 1 3"),
    case("chmod", &["disk.qcow2"], "chmod 600 disk.qcow2:/etc/hosts"),
    case("chown", &["root.img"], "chown 7:8 root.img:/etc/hosts"),
    case("setfattr", &["root.img"], "setfattr -n user.mine -v yes root.img:/etc/hosts"),
    case("relabel", &["labels.img"], "relabel labels.img:/etc"),
    case("customize", &["root.img", "tree"], "customize root.img --hostname web1 --copy-in tree:/srv"),
    once("customize", &["root.img"], "customize root.img --scrub /etc/hosts"),
    case("inject", &["disk.qcow2", "key.pub", "text"], "inject disk.qcow2 --key key.pub --file text:/etc/app/app.conf"),
    once("inject", &["disk.qcow2", "key.pub"], "inject --seed 7 disk.qcow2 --key key.pub -o new.qcow2"),
    case("sysprep", &["root.img"], "sysprep root.img --hostname template"),
    once("useradd", &["root.img"], "useradd root.img alice -m -U"),
    once("groupadd", &["root.img"], "groupadd root.img staff2"),
    case("service", &["unit.img"], "service enable unit.img app"),
    once("seed", &["text"], "seed seed.img --user-data text --hostname web1 --instance-id i-1"),
    case("info", &["disk.qcow2"], "info disk.qcow2"),
    case("inspect-safety", &["disk.qcow2"], "inspect-safety disk.qcow2"),
    case("inspect", &["disk.qcow2"], "inspect disk.qcow2"),
    case("filesystems", &["disk.img"], "filesystems disk.img"),
    case("partitions", &["disk.img"], "partitions disk.img"),
    case("df", &["disk.img"], "df disk.img"),
    case("size", &["disk.qcow2"], "size disk.qcow2"),
    case("can-resize", &["small.img"], "can-resize small.img 64M"),
    case("is-partitionless", &["small.img"], "is-partitionless small.img"),
    case("check", &["root.img"], "check root.img"),
    once("mkfs", &[], "mkfs -t ext4 -U 5eed0000-0000-4000-8000-0000000000aa made.img 8M"),
    once("mkfs", &["tree"], "mkfs -t ext4 -U 5eed0000-0000-4000-8000-0000000000aa made.img 8M -d tree"),
    once("mkfs", &[], "mkfs -t vfat -U 1234-ABCD made.img 8M"),
    case("part", &["disk.img"], "part name disk.img@1 other"),
    once("grow", &["disk.img"], "grow disk.img +32M"),
    once("grow", &["disk.qcow2"], "grow disk.qcow2 +32M"),
    program("shrink", &["small.img"], "shrink small.img 12M"),
    case("extend", &["small.img"], "extend --format raw small.img 24M"),
    case("recover", &["root.img"], "recover root.img"),
    case("apply", &["root.img", "web.toml"], "apply root.img web.toml"),
    case("run", &["root.img", "script"], "run root.img script"),
];
