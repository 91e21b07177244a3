//! Other tools by their names: links to the program.

use crate::common::{Ran, ran, run, text};
use crate::{Guest, state};
use nomount_kit::{fixture, scratch};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const TOOLS: [&str; 12] = [
    "virt-cat",
    "virt-ls",
    "virt-df",
    "virt-filesystems",
    "virt-edit",
    "virt-copy-in",
    "virt-copy-out",
    "virt-tar-in",
    "virt-tar-out",
    "virt-customize",
    "e2cp",
    "e2ls",
];

/// A folder with the tools.
struct Tools(TempDir);

impl Tools {
    fn new() -> Self {
        let folder = scratch::folder();
        for tool in TOOLS {
            symlink(env!("CARGO_BIN_EXE_nomount"), folder.path().join(tool)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run<S: AsRef<OsStr>>(&self, tool: &str, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = Command::new(self.path(tool));
        ran(command.args(args).env("SOURCE_DATE_EPOCH", "1767312000").current_dir(self.0.path()))
    }
}

/// Both lists of arguments.
fn both<'a>(first: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [first, rest].concat()
}

/// A line of virt-df, as its printf makes it.
fn row(name: &str, [size, used, available, percent]: [&str; 4]) -> String {
    format!("{name:36}{size:>10} {used:>10} {available:>10} {percent:>5}\n")
}

fn out(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    &ran.stdout
}

#[test]
fn every_tool_has_a_help_of_its_own_and_refuses_libvirt() {
    let tools = Tools::new();
    for tool in TOOLS {
        let help = tools.run(tool, ["--help"]);
        assert!(out(&help).contains("Usage: ") && help.stdout.contains(tool), "{help:?}");
        assert!(help.stdout.trim_end().lines().nth_back(1).unwrap().contains("Example:"), "{help:?}");
        if tool.starts_with("virt-") {
            assert!(out(&tools.run(tool, ["-V"])).starts_with(&format!("{tool} ")), "{tool}");
            let behind: &[&str] = match tool {
                "virt-cat" | "virt-ls" | "virt-edit" => &["/x"],
                "virt-df" | "virt-filesystems" | "virt-customize" => &[],
                _ => &["/x", "/y"],
            };
            let refused = tools.run(tool, both(&["-d", "guest"], behind));
            assert_eq!(refused.code, Some(4), "{refused:?}");
            assert!(refused.stderr.contains("libvirt") && refused.stderr.contains("hint: name the disk with -a"));
            let refused = tools.run(tool, both(&["-a", "ssh://host/disk"], behind));
            assert_eq!(refused.code, Some(4), "{refused:?}");
        }
        assert_eq!(tools.run(tool, ["--no-such-option"]).code, Some(2), "{tool}");
    }
}

#[test]
fn virt_cat_and_the_options_that_all_have() {
    let tools = Tools::new();
    let image = text(&fixture::guest());
    let cat = |args: &[&str]| tools.run("virt-cat", args);
    assert_eq!(out(&cat(&["-a", &image, "/etc/hostname"])), "debian\n");
    assert_eq!(out(&cat(&["--add", &image, "/etc/hostname", "/etc/hostname"])), "debian\ndebian\n");
    assert_eq!(out(&cat(&[&image, "/etc/hostname"])), "debian\n");
    assert_eq!(out(&cat(&["-m", "/dev/sda1", "-a", &image, "/etc/hostname"])), "debian\n");
    assert_eq!(out(&cat(&["-m", "/dev/sda1:/:ro", "-a", &image, "/etc/hostname"])), "debian\n");
    assert_eq!(cat(&["-m", "/dev/sda1:/mnt", "-a", &image, "/mnt/x"]).code, Some(4));
    // A format is for the images behind it.
    assert_eq!(out(&cat(&["--format=qcow2", "-a", &image, "/etc/hostname"])), "debian\n");
    assert_ne!(cat(&["--format=raw", "-a", &image, "/etc/hostname"]).code, Some(0));
    assert_eq!(out(&cat(&["--format=raw", "--format", "-a", &image, "/etc/hostname"])), "debian\n");
    assert_eq!(out(&cat(&["-a", &image, "--format=raw", "/etc/hostname"])), "debian\n");
    let two = cat(&["-a", &image, "-a", &image, "/etc/hostname"]);
    assert!(two.code == Some(4) && two.stderr.contains("2 disks"), "{two:?}");
    assert_eq!(cat(&["--key", "all:x", "-a", &image, "/etc/hostname"]).code, Some(4));
    assert_eq!(cat(&["/etc/hostname"]).code, Some(2));
}

#[test]
fn virt_df_prints_what_scripts_read() {
    let tools = Tools::new();
    let folder = scratch::folder();
    let image = text(&scratch::copy_as(&fixture::guest(), folder.path().join("guest.qcow2")));
    let df = |args: &[&str]| out(&tools.run("virt-df", args)).to_owned();
    let title = row("Filesystem", ["1K-blocks", "Used", "Available", "Use%"]);
    let root = row("guest.qcow2:/dev/sda1", ["47556", "408", "46104", "1%"]);
    assert!(df(&["-a", &image]).starts_with(&format!("{title}{root}")), "{}", df(&["-a", &image]));
    assert_eq!(df(&[&image]), df(&["-a", &image]));
    let csv = df(&["--csv", "-a", &image]);
    let start = "VirtualMachine,Filesystem,1K-blocks,Used,Available,Use%\nguest.qcow2,/dev/sda1,47556,408,46104,0.9\n";
    assert!(csv.starts_with(start), "{csv}");
    assert!(csv.contains("\nguest.qcow2,/dev/sda15,10"), "{csv}");
    let human = df(&["-h", "-a", &image]);
    assert!(human.contains(&row("guest.qcow2:/dev/sda1", ["46M", "408K", "45M", "1%"])), "{human}");
    let inodes = df(&["-i", "-a", &image, "-a", &image]);
    assert!(inodes.contains(&row("guest.qcow2+:/dev/sda1", ["2048", "83", "1965", "5%"])), "{inodes}");
    assert!(inodes.contains("guest.qcow2+:/dev/sdb1 "), "{inodes}");
    let long = text(&scratch::copy_as(&fixture::guest(), folder.path().join("a-name-that-is-longer-than-the-column")));
    let lines = df(&["-a", &long]);
    let second = row("", ["47556", "408", "46104", "1%"]);
    assert!(lines.contains(&format!("column:/dev/sda1\n{second}")), "{lines}");
    assert_eq!(tools.run("virt-df", ["-h", "--csv", "-a", &image]).code, Some(2));
}

#[test]
fn virt_filesystems_lists_the_same_as_filesystems() {
    let tools = Tools::new();
    let image = text(&fixture::guest());
    for options in [&[][..], &["--extra"], &["--all", "--long", "--uuid", "-h"], &["-l", "--csv", "--partitions"]] {
        let ours = run(both(&["filesystems", &image], options));
        let theirs = tools.run("virt-filesystems", both(&["-a", &image], options));
        assert_eq!(out(&theirs), ours.stdout);
    }
    let two = tools.run("virt-filesystems", ["-a", &image, "-a", &image, "--blkdevs", "-l", "--no-title"]);
    assert_eq!(out(&two), "/dev/sda  device  67108864  -\n/dev/sdb  device  67108864  -\n");
    assert_eq!(out(&tools.run("virt-filesystems", ["-a", &image, "--lvs"])), "");
}

#[test]
fn virt_ls_lists_in_its_four_ways() {
    let tools = Tools::new();
    let image = text(&fixture::guest());
    let ls = |args: &[&str]| out(&tools.run("virt-ls", both(&["-a", &image], args))).to_owned();
    assert!(ls(&["/"]).starts_with("bin\nboot\ndev\netc\n"));
    assert_eq!(ls(&["/root"]), ".profile\n.ssh\n");
    assert_eq!(out(&tools.run("virt-ls", [image.as_str(), "/root"])), ".profile\n.ssh\n");
    assert!(ls(&["-R", "/etc"]).lines().any(|line| line == "ssh/sshd_config" || line == "passwd"));
    let all = ls(&["-R", "/"]);
    let mut sorted: Vec<&str> = all.lines().collect();
    sorted.sort_unstable();
    assert!(all.lines().eq(sorted) && all.contains("\netc/passwd\n"), "{all}");
    let long = ls(&["-l", "/root"]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(
        lines[0].starts_with("total ") && lines[1].starts_with("drwx------ ") && lines[1].ends_with(" ."),
        "{long}"
    );
    assert!(lines[2].ends_with(" ..") && lines[3].ends_with(" Jan  1 00:00 .profile"), "{long}");
    let both = ls(&["-lR", "/root"]);
    assert!(both.starts_with("d 0700       4096 /root\n- 0644 "), "{both}");
    assert!(both.contains("\nd 0700       4096 /root/.ssh\n"), "{both}");
    let links = ls(&["-lR", "--csv", "--uids", "--time-t", "--checksum=md5", "/"]);
    assert!(
        links.lines().any(|line| line.starts_with("l,0777,7,   0,   0,1767225600,1767225600,1767225600,,/bin,usr/bin"))
    );
    let hostname =
        "- 0644          7    0    0 2026-01-01 00:00:00 2026-01-01 00:00:00 2026-01-01 00:00:00 /etc/hostname\n";
    assert!(ls(&["-lR", "--uids", "--times", "/etc"]).contains(hostname));
    assert!(ls(&["-lR", "--time-days", "/etc"]).contains("- 0644          7   1   1   1 /etc/hostname\n"));
    assert_eq!(tools.run("virt-ls", ["-a", &image, "--csv", "/"]).code, Some(2));
    assert_eq!(tools.run("virt-ls", ["-a", &image, "-lR", "--extra-stats", "/"]).code, Some(4));
    let some = tools.run("virt-ls", ["-a", &image, "/no", "/root"]);
    assert_eq!((some.code, some.stdout.as_str()), (Some(1), ".profile\n.ssh\n"), "{some:?}");
}

#[test]
fn files_and_trees_go_in_and_come_out() {
    let tools = Tools::new();
    let guest = Guest::new();
    let image = guest.arg();
    fs::create_dir_all(tools.path("site/sub")).unwrap();
    fs::write(tools.path("site/sub/page"), "hello\n").unwrap();
    fs::create_dir(tools.path("back")).unwrap();
    assert_eq!(out(&tools.run("virt-copy-in", ["-a", &image, "site", "/srv"])), "", "as the tool itself");
    out(&tools.run("virt-copy-out", ["-a", &image, "/srv/site", "/etc/hostname", "back"]));
    assert_eq!(fs::read_to_string(tools.path("back/site/sub/page")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(tools.path("back/hostname")).unwrap(), "debian\n");
    out(&tools.run("virt-tar-out", ["-a", &image, "/srv", "srv.tar"]));
    out(&run(["mkdir", &image, "/opt/again"]));
    assert_eq!(out(&tools.run("virt-tar-in", ["-a", &image, "srv.tar", "/opt/again"])), "");
    assert_eq!(out(&tools.run("virt-cat", ["-a", &image, "/opt/again/site/sub/page"])), "hello\n");
    let missing = tools.run("virt-copy-in", ["-a", &image, "site", "/no/such"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[test]
fn virt_edit_takes_expressions_and_keeps_a_backup() {
    let tools = Tools::new();
    let guest = Guest::new();
    let image = guest.arg();
    let args = ["-a", &image, "-b", ".old", "-e", "s/^debian$/web/", "/etc/hostname"];
    assert_eq!(out(&tools.run("virt-edit", args)), "");
    let cat = |path: &str| out(&tools.run("virt-cat", ["-a", image.as_str(), path])).to_owned();
    assert_eq!((cat("/etc/hostname"), cat("/etc/hostname.old")), ("web\n".to_owned(), "debian\n".to_owned()));
    let two = tools.run("virt-edit", ["-a", &image, "--expr", "s/a/b/", "/etc/hostname", "/etc/hosts"]);
    assert_eq!(two.code, Some(4), "{two:?}");
}

#[test]
fn virt_customize_does_what_needs_no_guest_code_and_warns_of_decimal_modes() {
    let tools = Tools::new();
    let guest = Guest::new();
    let image = guest.arg();
    let before = state(&guest.image);
    let refused = tools.run("virt-customize", ["-a", &image, "--hostname", "web", "--install", "nginx"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("--firstboot-install"), "{refused:?}");
    let tried = tools.run("virt-customize", ["-n", "-m", "512", "-a", &image, "--hostname", "web"]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(state(&guest.image) == before);
    let args =
        ["--format=qcow2", "-a", &image, "-q", "--write", "/srv/f:-a", "--chmod", "640:/srv/f", "--hostname=web"];
    let done = tools.run("virt-customize", args);
    assert!(done.stderr.contains("--chmod 640 is octal here, 0640; virt-customize takes it for decimal"), "{done:?}");
    assert!(done.stderr.contains("which is 01200"), "{done:?}");
    assert_eq!(out(&tools.run("virt-cat", ["-a", &image, "/etc/hostname"])), "web\n");
    assert_eq!(out(&tools.run("virt-cat", ["-a", &image, "/srv/f"])), "-a");
    assert!(out(&run(["ls", "-l", &image, "/srv/f"])).starts_with("-rw-r-----"));
    let octal = tools.run("virt-customize", ["-a", &image, "--chmod", "0600:/srv/f"]);
    assert!(octal.code == Some(0) && !octal.stderr.contains("octal"), "{octal:?}");
    assert_eq!(tools.run("virt-customize", ["-a", &image, "--attach", "cd.iso"]).code, Some(4));
}

#[test]
fn e2cp_and_e2ls_work_on_a_filesystem_without_a_table() {
    let tools = Tools::new();
    let image = fixture::file("ext4-1k");
    let image = text(&image);
    fs::write(tools.path("motd"), "hello\n").unwrap();
    let written = tools.run("e2cp", ["-O", "7", "-G", "8", "-P", "600", "motd", &format!("{image}:motd")]);
    assert_eq!(out(&written), "");
    assert_eq!(out(&tools.run("e2cp", [format!("{image}:motd").as_str(), "-"])), "hello\n");
    out(&tools.run("e2cp", [format!("{image}:/motd").as_str(), "copy"]));
    assert_eq!(fs::read_to_string(tools.path("copy")).unwrap(), "hello\n");
    let ls = |args: &[&str]| out(&tools.run("e2ls", args)).to_owned();
    let line = ls(&["-l", &format!("{image}:motd")]);
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..], ["100600", "7", "8", "6", "2-Jan-2026", "00:00", "motd"], "{line}");
    // Inode in six columns between blanks, mode in six, owners in five, size in seven.
    assert_eq!(line.find("100600"), Some(9), "{line:?}");
    assert_eq!(&line[line.find("100600").unwrap()..], "100600     7     8        6  2-Jan-2026 00:00 motd\n");
    let short = ls(&[&format!("{image}:")]);
    assert!(short.split_whitespace().any(|name| name == "lost+found") && !short.contains(" .. "), "{short}");
    assert!(ls(&["-a", &image]).starts_with(". "));
    assert_eq!(ls(&[&format!("{image}:/mot*")]).trim_end(), "motd");
    assert_eq!(ls(&["-d", &format!("{image}:"), "motd"]).trim_end(), "motd");
    assert_eq!(tools.run("e2ls", ["-D", &image]).code, Some(4));
    assert_eq!(tools.run("e2cp", ["-a", "motd", &format!("{image}:/")]).code, Some(4));
    assert_eq!(tools.run("e2ls", [&format!("{image}:no")]).code, Some(1));
}
