//! `--firstboot`, `--firstboot-command`, `--firstboot-install`: scripts that the guest runs once, at its next boot.
//!
//! What runs them is a script of ours in /usr/lib/nomount, started by a service of the guest's init. It takes the scripts
//! of firstboot.d in the order of their names, moves each to firstboot.done before it runs, so that none runs twice, and
//! writes what they print to /var/log/nomount-firstboot.log.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest::{self, Init};
use crate::tree::{FileTree, Follow, GuestPath, exists, resolve};

/// The most scripts that a guest can have waiting: their names begin with four digits.
pub const MAX_SCRIPTS: u32 = 9999;

/// The longest part of a script's own name that is kept.
const MAX_OWN_NAME: usize = 64;

const FOLDER: &str = "/usr/lib/nomount";

const RUNNER: &str = "#!/bin/sh
# Runs each script of firstboot.d once, in the order of their names. Put here by nomount.
folder=/usr/lib/nomount
log=/var/log/nomount-firstboot.log
mkdir -p \"$folder/firstboot.done\"
for script in \"$folder\"/firstboot.d/*; do
    [ -f \"$script\" ] || continue
    done=\"$folder/firstboot.done/${script##*/}\"
    mv \"$script\" \"$done\" || continue
    {
        echo \"=== ${script##*/}: $(date)\"
        \"$done\"
        echo \"=== ${script##*/}: exit code $?\"
    } >>\"$log\" 2>&1 </dev/null
done
";

const SYSTEMD_UNIT: &str = "[Unit]
Description=Scripts for the first boot, put here by nomount
ConditionDirectoryNotEmpty=/usr/lib/nomount/firstboot.d
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/nomount/firstboot.sh
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
";

const SYSV_SCRIPT: &str = "#!/bin/sh
# chkconfig: 2345 99 01
# description: Scripts for the first boot, put here by nomount
### BEGIN INIT INFO
# Provides: nomount-firstboot
# Required-Start: $remote_fs $network
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
# Short-Description: Scripts for the first boot
### END INIT INFO
case \"$1\" in
start) /bin/sh /usr/lib/nomount/firstboot.sh ;;
esac
";

const OPENRC_SCRIPT: &str = "#!/sbin/openrc-run
description=\"Scripts for the first boot, put here by nomount\"

depend() {
    need localmount
    after net sshd
}

start() {
    ebegin \"Running the scripts for the first boot\"
    /bin/sh /usr/lib/nomount/firstboot.sh
    eend 0
}
";

/// What installs packages, without asking, in each package manager that we know.
const INSTALL: [(&str, &str); 8] = [
    (
        "apt",
        "export DEBIAN_FRONTEND=noninteractive\napt-get -q -y update\n\
         apt-get -q -y -o Dpkg::Options::=--force-confold install",
    ),
    ("dnf", "dnf -y install"),
    ("microdnf", "microdnf -y install"),
    ("tdnf", "tdnf -y install"),
    ("yum", "yum -y install"),
    ("zypper", "zypper --non-interactive install --auto-agree-with-licenses"),
    ("apk", "apk add --update-cache"),
    ("pacman", "pacman -Sy --noconfirm --needed"),
];

/// Adds a script that runs once, after those that are there already.
pub(super) fn add(editor: &mut Editor<'_>, name: &[u8], script: &[u8]) -> Result<()> {
    if !script.starts_with(b"#!") {
        return Err(Error::new(ErrorKind::Usage, "a script for the first boot must begin with #! and its interpreter"));
    }
    let init = guest::init(editor.tree());
    let waiting = GuestPath::parse(FOLDER)?.join("firstboot.d");
    let (waiting, _) = editor.make_dirs(&waiting, Wanted::default())?;
    let number = next_number(editor.tree(), &waiting)?;
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() || b".-_".contains(byte) { *byte } else { b'-' };
    let own: Vec<u8> = name.iter().take(MAX_OWN_NAME).map(plain).collect();
    let place = waiting.join([format!("{number:04}-").as_bytes(), &own].concat());
    editor.replace(&place, script, Wanted::mode(0o755))?;
    let runner = GuestPath::parse(FOLDER)?.join("firstboot.sh");
    let runner = editor.replace(&runner, RUNNER.as_bytes(), Wanted::mode(0o755))?;
    editor.set(&runner, Wanted::mode(0o755))?;
    enable(editor, init)
}

/// Adds a script by which the guest's package manager installs `packages`.
pub(super) fn add_install(editor: &mut Editor<'_>, packages: &[String]) -> Result<()> {
    let is_name = |name: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._:@=~/".contains(&byte);
        !name.is_empty() && !name.starts_with('-') && name.bytes().all(plain)
    };
    if let Some(bad) = packages.iter().find(|name| !is_name(name)) {
        return Err(Error::new(ErrorKind::Usage, format!("{bad:?} is no name of a package")));
    }
    let manager = guest::describe(editor.tree()).package_manager;
    let command = manager.and_then(|manager| INSTALL.iter().find(|(name, _)| *name == manager));
    let Some((_, command)) = command else {
        let found = manager.unwrap_or("none");
        let message = format!("how the guest installs packages is not known: its package manager is {found}");
        return Err(Error::new(ErrorKind::Unsupported, message).hint("--firstboot-command runs any command"));
    };
    let script = format!("#!/bin/sh\n{command} {}\n", packages.join(" "));
    add(editor, b"install", script.as_bytes())
}

fn next_number(tree: &dyn FileTree, waiting: &GuestPath) -> Result<u32> {
    let number = |name: &[u8]| std::str::from_utf8(name.get(..4)?).ok()?.parse::<u32>().ok();
    let last = tree.entries(waiting)?.iter().filter_map(|entry| number(&entry.name)).max().unwrap_or(0);
    if last >= MAX_SCRIPTS {
        let message = format!("more than {MAX_SCRIPTS} scripts for the first boot");
        return Err(Error::new(ErrorKind::Limit, message).at_path(waiting.to_bytes()));
    }
    Ok(last + 1)
}

/// Makes the guest's init start what runs the scripts.
fn enable(editor: &mut Editor<'_>, init: Option<Init>) -> Result<()> {
    match init {
        Some(Init::Systemd) => {
            service(editor, "/etc/systemd/system/nomount-firstboot.service", SYSTEMD_UNIT, 0o644)?;
            let wants = "/etc/systemd/system/multi-user.target.wants";
            link(editor, &format!("{wants}/nomount-firstboot.service"), "../nomount-firstboot.service")
        }
        Some(Init::OpenRc) => {
            service(editor, "/etc/init.d/nomount-firstboot", OPENRC_SCRIPT, 0o755)?;
            link(editor, "/etc/runlevels/default/nomount-firstboot", "/etc/init.d/nomount-firstboot")
        }
        Some(Init::Sysvinit | Init::Upstart) => {
            // Debian's links are in /etc, Red Hat's in /etc/rc.d, with links from there to here or the other way.
            let top = ["/etc", "/etc/rc.d"]
                .into_iter()
                .find(|top| GuestPath::parse(format!("{top}/rc2.d")).is_ok_and(|dir| exists(editor.tree(), &dir)));
            let Some(top) = top else {
                return Err(no_init("it has no /etc/rc2.d"));
            };
            service(editor, "/etc/init.d/nomount-firstboot", SYSV_SCRIPT, 0o755)?;
            (2..=5).try_for_each(|level| {
                let target = "../init.d/nomount-firstboot";
                link(editor, &format!("{top}/rc{level}.d/S99nomount-firstboot"), target)
            })
        }
        Some(init) => Err(no_init(&format!("it is {init:?}"))),
        None => Err(no_init("none was found")),
    }
}

fn no_init(why: &str) -> Error {
    let message = format!("the guest's init is not one that a script for the first boot can be given to: {why}");
    Error::new(ErrorKind::Unsupported, message).hint("systemd, OpenRC and System V init are known")
}

/// A file of the guest's init.
fn service(editor: &mut Editor<'_>, path: &str, text: &str, mode: u32) -> Result<()> {
    let path = GuestPath::parse(path)?;
    editor.make_dirs(&path.parent().unwrap_or_default(), Wanted::default())?;
    let place = editor.replace(&path, text.as_bytes(), Wanted::mode(mode))?;
    editor.set(&place, Wanted::mode(mode))
}

/// A link that enables it; one that is there already stays.
fn link(editor: &mut Editor<'_>, path: &str, target: &str) -> Result<()> {
    let path = GuestPath::parse(path)?;
    let (dir, _) = editor.make_dirs(&path.parent().unwrap_or_default(), Wanted::default())?;
    let place = dir.join(path.name().unwrap_or_default());
    if resolve(editor.tree(), &place, Follow::NotLast)?.stat.is_none() {
        editor.symlink(&place, target.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn run(tree: &mut MemTree, name: &str, script: &str) -> Result<(), ErrorKind> {
        add(&mut Editor::new(tree), name.as_bytes(), script.as_bytes()).map_err(|error| error.kind())
    }

    fn systemd() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/usr/lib/systemd/systemd", "").link("/sbin/init", "/usr/lib/systemd/systemd");
        tree.dir("/etc/systemd/system");
        tree
    }

    #[test]
    fn scripts_run_in_the_order_in_which_they_came() {
        let mut tree = systemd();
        tree.file("/usr/lib/nomount/firstboot.d/0041-old", "#!/bin/sh\n");
        run(&mut tree, "a b;c", "#!/bin/sh\necho 1\n").unwrap();
        run(&mut tree, "second", "#!/bin/sh\necho 2\n").unwrap();
        assert_eq!(tree.text("/usr/lib/nomount/firstboot.d/0042-a-b-c"), "#!/bin/sh\necho 1\n");
        assert_eq!(tree.mode("/usr/lib/nomount/firstboot.d/0043-second"), 0o755);
        assert_eq!(tree.text("/usr/lib/nomount/firstboot.sh"), RUNNER);
        let wants = GuestPath::parse("/etc/systemd/system/multi-user.target.wants/nomount-firstboot.service").unwrap();
        assert_eq!(tree.read_link(&wants).unwrap(), b"../nomount-firstboot.service");
        assert!(exists(&tree, &wants));
        assert_eq!(run(&mut tree, "x", "echo"), Err(ErrorKind::Usage));
        tree.file("/usr/lib/nomount/firstboot.d/9999-x", "");
        assert_eq!(run(&mut tree, "x", "#!/bin/sh\n"), Err(ErrorKind::Limit));
    }

    #[test]
    fn other_inits_start_it_their_own_way() {
        for (top, target) in [("/etc", "../init.d/nomount-firstboot"), ("/etc/rc.d", "../init.d/nomount-firstboot")] {
            let mut tree = MemTree::new();
            tree.file("/sbin/init", "").file("/etc/inittab", "").dir(&format!("{top}/rc2.d"));
            if top == "/etc/rc.d" {
                tree.dir("/etc/rc.d/init.d").link("/etc/init.d", "rc.d/init.d");
            }
            run(&mut tree, "x", "#!/bin/sh\n").unwrap();
            let link = GuestPath::parse(format!("{top}/rc5.d/S99nomount-firstboot")).unwrap();
            assert_eq!(tree.read_link(&link).unwrap(), target.as_bytes());
            assert!(exists(&tree, &link), "{top}");
        }
        let mut alpine = MemTree::new();
        alpine.file("/bin/busybox", "").link("/sbin/init", "/bin/busybox").file("/sbin/openrc", "");
        run(&mut alpine, "x", "#!/bin/sh\n").unwrap();
        assert!(exists(&alpine, &GuestPath::parse("/etc/runlevels/default/nomount-firstboot").unwrap()));
        let mut none = MemTree::new();
        assert_eq!(run(&mut none, "x", "#!/bin/sh\n"), Err(ErrorKind::Unsupported));
    }

    #[test]
    fn packages_are_left_to_the_guest() {
        let mut tree = systemd();
        let install = |tree: &mut MemTree, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            add_install(&mut Editor::new(tree), &names).map_err(|error| error.kind())
        };
        assert_eq!(install(&mut tree, &["vim"]), Err(ErrorKind::Unsupported));
        tree.file("/usr/bin/dnf", "");
        install(&mut tree, &["vim", "@core", "g++"]).unwrap();
        assert_eq!(tree.text("/usr/lib/nomount/firstboot.d/0001-install"), "#!/bin/sh\ndnf -y install vim @core g++\n");
        for bad in ["", "-y", "a;b", "a b", "$(x)"] {
            assert_eq!(install(&mut tree, &[bad]), Err(ErrorKind::Usage), "{bad}");
        }
    }
}
