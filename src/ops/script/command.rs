//! Commands of a script, by their names in guestfish(1).

use crate::ops::Owner;
use crate::ops::edit::{ModeChange, file_path};
use crate::tree::{GuestPath, NewNode};

/// One command with its arguments, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Write {
        path: GuestPath,
        contents: Vec<u8>,
        append: bool,
    },
    Upload {
        local: String,
        path: GuestPath,
    },
    Download {
        path: GuestPath,
        local: String,
    },
    Mkdir {
        path: GuestPath,
        mode: Option<ModeChange>,
        parents: bool,
    },
    Touch(GuestPath),
    Truncate {
        path: GuestPath,
        size: u64,
    },
    Remove {
        path: GuestPath,
        recursive: bool,
        force: bool,
    },
    RemoveDir(GuestPath),
    /// Into a directory as mv(1), or to exactly that name.
    Rename {
        from: GuestPath,
        to: GuestPath,
        exactly: bool,
    },
    Copy {
        from: GuestPath,
        to: GuestPath,
        archive: bool,
    },
    Link {
        target: GuestPath,
        path: GuestPath,
        force: bool,
    },
    Symlink {
        target: Vec<u8>,
        path: GuestPath,
        force: bool,
    },
    Chmod {
        mode: ModeChange,
        path: GuestPath,
    },
    Chown {
        owner: Owner,
        path: GuestPath,
        follow: bool,
    },
    MakeNode {
        path: GuestPath,
        node: NewNode,
        mode: ModeChange,
    },
    SetXattr {
        path: GuestPath,
        name: Vec<u8>,
        value: Option<Vec<u8>>,
        follow: bool,
    },
    Print(Question, GuestPath),
    Echo(Vec<u8>),
    /// A filesystem that is the tree: this number of the disk's partitions, none for the whole disk.
    Mount(Option<u32>),
    /// Something that is so already, or happens anyway.
    Nothing,
    Quit,
}

/// What is printed of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Contents,
    Names,
    Target,
    Size,
    Exists,
    IsFile,
    IsDir,
    IsSymlink,
}

/// Why a line is no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The line makes no sense.
    Usage(String),
    /// guestfish would do it, we do not.
    Unsupported(&'static str),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Usage(why)
    }
}

const RUNS_GUEST: &str =
    "it runs programs of the guest: `nomount customize --firstboot-command` has the guest run them";
const SHAPES: &str = "disks, partitions and filesystems are made by `nomount part`, `mkfs`, `grow`";
const LOOKS: &str = "`nomount info` and `nomount filesystems` tell what is in an image";
const MOVES: &str = "`nomount tar-in`, `tar-out`, `copy-in` and `copy-out` move trees";

/// Reads the words of a line, at least one.
pub(super) fn parse(words: &[Vec<u8>]) -> Result<Command, Refusal> {
    let name = String::from_utf8_lossy(&words[0]).into_owned();
    let arguments: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
    if let Some(command) = known(&name, &arguments)? {
        return Ok(command);
    }
    let why = match name.as_str() {
        "add" | "add-drive" | "add-ro" | "add-drive-ro" | "drive" | "domain" => {
            "the image is named on the command line"
        }
        "command" | "command-lines" | "sh" | "sh-lines" | "debug" => RUNS_GUEST,
        name if name.starts_with('!') || name.starts_with("<!") || name == "lcd" => {
            "programs and folders of the host are the shell's"
        }
        name if name.starts_with("part-") || name.starts_with("mkfs") || name.starts_with("resize2fs") => SHAPES,
        name if name.starts_with("lv") || name.starts_with("vg") || name.starts_with("pv") => SHAPES,
        name if name.starts_with("list-") || name.starts_with("inspect-") || name == "df" || name == "statvfs" => LOOKS,
        name if name.starts_with("tar-") || name.starts_with("tgz-") || name.starts_with("copy-") => MOVES,
        "umount" => "the guest's root stays where it is",
        _ => {
            let arity = ARITY.iter().find(|(known, _)| *known == name).map(|(_, usage)| usage);
            return Err(Refusal::Usage(match arity {
                Some(usage) => format!("{name} takes {usage}"),
                None => format!("unknown command {name:?}"),
            }));
        }
    };
    Err(Refusal::Unsupported(why))
}

/// What commands take, for messages. The names are all that there are.
pub(super) const ARITY: [(&str, &str); 50] = [
    ("cat", "PATH"),
    ("chmod", "MODE PATH"),
    ("chown", "OWNER GROUP PATH"),
    ("cp", "SOURCE DESTINATION"),
    ("cp-a", "SOURCE DESTINATION"),
    ("download", "PATH FILE"),
    ("echo", "WORDS"),
    ("exists", "PATH"),
    ("exit", "nothing"),
    ("filesize", "PATH"),
    ("is-dir", "PATH"),
    ("is-file", "PATH"),
    ("is-symlink", "PATH"),
    ("launch", "nothing"),
    ("lchown", "OWNER GROUP PATH"),
    ("ln", "TARGET LINK"),
    ("ln-f", "TARGET LINK"),
    ("ln-s", "TARGET LINK"),
    ("ln-sf", "TARGET LINK"),
    ("lremovexattr", "NAME PATH"),
    ("ls", "DIRECTORY"),
    ("lsetxattr", "NAME VALUE LENGTH PATH"),
    ("mkdir", "PATH"),
    ("mkdir-mode", "PATH MODE"),
    ("mkdir-p", "PATH"),
    ("mkfifo", "MODE PATH"),
    ("mknod-b", "MODE MAJOR MINOR PATH"),
    ("mknod-c", "MODE MAJOR MINOR PATH"),
    ("mount", "DEVICE /"),
    ("mv", "SOURCE DESTINATION"),
    ("quit", "nothing"),
    ("read-file", "PATH"),
    ("readlink", "PATH"),
    ("removexattr", "NAME PATH"),
    ("rename", "SOURCE DESTINATION"),
    ("rm", "PATH"),
    ("rm-f", "PATH"),
    ("rm-rf", "PATH"),
    ("rmdir", "PATH"),
    ("run", "nothing"),
    ("setxattr", "NAME VALUE LENGTH PATH"),
    ("shutdown", "nothing"),
    ("sync", "nothing"),
    ("touch", "PATH"),
    ("truncate", "PATH"),
    ("truncate-size", "PATH SIZE"),
    ("umount-all", "nothing"),
    ("upload", "FILE PATH"),
    ("write", "PATH TEXT"),
    ("write-append", "PATH TEXT"),
];

/// The command of that name with so many arguments; none where there is none such.
fn known(name: &str, arguments: &[&[u8]]) -> Result<Option<Command>, String> {
    use Command::*;
    let link = |to: &[u8], from: &[u8], force| -> Result<Command, String> {
        Ok(Link { target: path(to)?, path: path(from)?, force })
    };
    let symlink = |target: &[u8], from: &[u8], force| -> Result<Command, String> {
        Ok(Symlink { target: target.to_vec(), path: path(from)?, force })
    };
    let remove =
        |text, recursive, force| -> Result<Command, String> { Ok(Remove { path: path(text)?, recursive, force }) };
    let copy =
        |from, to, archive| -> Result<Command, String> { Ok(Copy { from: path(from)?, to: path(to)?, archive }) };
    let print = |question, text| -> Result<Command, String> { Ok(Print(question, path(text)?)) };
    Ok(Some(match (name, arguments) {
        ("write", [file, text]) => Write { path: file_name(file)?, contents: text.to_vec(), append: false },
        ("write-append", [file, text]) => Write { path: file_name(file)?, contents: text.to_vec(), append: true },
        ("upload", [local, file]) => Upload { local: host(local)?, path: file_name(file)? },
        ("download", [file, local]) => Download { path: path(file)?, local: host(local)? },
        ("mkdir", [dir]) => Mkdir { path: path(dir)?, mode: None, parents: false },
        ("mkdir-p", [dir]) => Mkdir { path: path(dir)?, mode: None, parents: true },
        ("mkdir-mode", [dir, bits]) => Mkdir { path: path(dir)?, mode: Some(mode(bits)?), parents: false },
        ("touch", [file]) => Touch(file_name(file)?),
        ("truncate", [file]) => Truncate { path: path(file)?, size: 0 },
        ("truncate-size", [file, size]) => Truncate { path: path(file)?, size: number(size)? },
        ("rm", [file]) => remove(file, false, false)?,
        ("rm-f", [file]) => remove(file, false, true)?,
        ("rm-rf", [file]) => remove(file, true, true)?,
        ("rmdir", [dir]) => RemoveDir(path(dir)?),
        ("mv", [from, to]) => Rename { from: path(from)?, to: path(to)?, exactly: false },
        ("rename", [from, to]) => Rename { from: path(from)?, to: path(to)?, exactly: true },
        ("cp", [from, to]) => copy(from, to, false)?,
        ("cp-a", [from, to]) => copy(from, to, true)?,
        ("ln", [to, from]) => link(to, from, false)?,
        ("ln-f", [to, from]) => link(to, from, true)?,
        ("ln-s", [to, from]) => symlink(to, from, false)?,
        ("ln-sf", [to, from]) => symlink(to, from, true)?,
        ("chmod", [bits, file]) => Chmod { mode: mode(bits)?, path: path(file)? },
        ("chown", [user, group, file]) => Chown { owner: owner(user, group)?, path: path(file)?, follow: true },
        ("lchown", [user, group, file]) => Chown { owner: owner(user, group)?, path: path(file)?, follow: false },
        ("mkfifo", [bits, file]) => MakeNode { path: path(file)?, node: NewNode::Fifo, mode: mode(bits)? },
        ("mknod-b", [bits, major, minor, file]) => {
            let node = NewNode::BlockDevice(number(major)?, number(minor)?);
            MakeNode { path: path(file)?, node, mode: mode(bits)? }
        }
        ("mknod-c", [bits, major, minor, file]) => {
            let node = NewNode::CharDevice(number(major)?, number(minor)?);
            MakeNode { path: path(file)?, node, mode: mode(bits)? }
        }
        ("setxattr" | "lsetxattr", [key, value, length, file]) => {
            if number::<usize>(length)? != value.len() {
                return Err(format!("the value has {} bytes, not {}", value.len(), length.escape_ascii()));
            }
            let (follow, value) = (name == "setxattr", Some(value.to_vec()));
            SetXattr { path: path(file)?, name: key.to_vec(), value, follow }
        }
        ("removexattr" | "lremovexattr", [key, file]) => {
            SetXattr { path: path(file)?, name: key.to_vec(), value: None, follow: name == "removexattr" }
        }
        ("cat" | "read-file", [file]) => print(Question::Contents, file)?,
        ("ls", [dir]) => print(Question::Names, dir)?,
        ("readlink", [file]) => print(Question::Target, file)?,
        ("filesize", [file]) => print(Question::Size, file)?,
        ("exists", [file]) => print(Question::Exists, file)?,
        ("is-file", [file]) => print(Question::IsFile, file)?,
        ("is-dir", [file]) => print(Question::IsDir, file)?,
        ("is-symlink", [file]) => print(Question::IsSymlink, file)?,
        ("echo", words) => Echo(words.join(&b' ')),
        ("mount", [device, b"/"]) => Mount(partition(device)?),
        ("mount", [_, other]) => {
            return Err(format!("one filesystem is worked on, at /: {} cannot be mounted", other.escape_ascii()));
        }
        ("run" | "launch" | "sync" | "shutdown" | "umount-all", []) => Nothing,
        ("quit" | "exit", []) => Quit,
        _ => return Ok(None),
    }))
}

fn path(text: &[u8]) -> Result<GuestPath, String> {
    if !text.starts_with(b"/") {
        return Err(format!("{:?} is no absolute path", text.escape_ascii().to_string()));
    }
    GuestPath::parse(text).map_err(|error| error.message().to_owned())
}

fn file_name(text: &[u8]) -> Result<GuestPath, String> {
    path(text)?;
    file_path(text).map_err(|error| error.message().to_owned())
}

fn host(text: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the name of a file of the host is not UTF-8".to_owned())?;
    if text.is_empty() || text == "-" { Err(format!("{text:?} is no file of the host")) } else { Ok(text.to_owned()) }
}

fn mode(text: &[u8]) -> Result<ModeChange, String> {
    ModeChange::parse(&String::from_utf8_lossy(text)).map_err(|error| error.message().to_owned())
}

fn owner(user: &[u8], group: &[u8]) -> Result<Owner, String> {
    // -1 leaves one as it is, as for chown(2).
    let part = |text: &[u8]| if text == b"-1" { Vec::new() } else { text.to_vec() };
    let (user, group) = (part(user), part(group));
    let text = if group.is_empty() { user } else { [&user, &b":"[..], &group].concat() };
    Owner::parse(text).map_err(|error| error.message().to_owned())
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, String> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{:?} is no number", text.escape_ascii().to_string()))
}

/// The partition of `/dev/sda1`, `/dev/vda1`, `/dev/nvme0n1p1`; none for the whole first disk.
fn partition(device: &[u8]) -> Result<Option<u32>, String> {
    let text = String::from_utf8_lossy(device);
    let disks = ["/dev/sda", "/dev/vda", "/dev/hda", "/dev/xvda"];
    let rest = disks.iter().find_map(|disk| text.strip_prefix(disk));
    match rest {
        Some("") => return Ok(None),
        Some(digits) => {
            if let Ok(number) = number::<u32>(digits.as_bytes())
                && number > 0
            {
                return Ok(Some(number));
            }
        }
        None => {}
    }
    Err(format!("{text:?} is not known here: the image is /dev/sda, its partitions /dev/sda1 and so on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Refusal> {
        parse(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn every_name_is_a_command_and_says_what_it_takes() {
        assert!(ARITY.is_sorted());
        for (name, usage) in ARITY {
            let arguments: Vec<&str> = usage
                .split(' ')
                .map(|word| match word {
                    "nothing" | "WORDS" => "",
                    "MODE" => "644",
                    "MAJOR" | "MINOR" | "SIZE" | "OWNER" | "GROUP" => "1",
                    "LENGTH" => "2",
                    "DEVICE" => "/dev/sda1",
                    "/" => "/",
                    _ => "/p",
                })
                .filter(|word| !word.is_empty())
                .collect();
            let read = read(&[&[name], &arguments[..]].concat().join(" "));
            assert!(read.is_ok(), "{name}: {read:?}");
            let more = read_many(name, 9);
            assert!(
                name == "echo" || matches!(&more, Err(Refusal::Usage(why)) if why.contains(usage)),
                "{name}: {more:?}"
            );
        }
    }

    fn read_many(name: &str, count: usize) -> Result<Command, Refusal> {
        read(&format!("{name}{}", " /p".repeat(count)))
    }

    #[test]
    fn what_is_not_done_is_refused_with_the_way_out() {
        for line in [
            "add disk.img",
            "sh ls",
            "command ls",
            "part-add /dev/sda p 1 2",
            "list-filesystems",
            "tar-in a /b",
            "umount /",
        ] {
            assert!(matches!(read(line), Err(Refusal::Unsupported(_))), "{line}");
        }
        for line in [
            "wirte /f x",
            "write f x",
            "write /d/ x",
            "chmod 999 /f",
            "mount /dev/sdb1 /",
            "mount /dev/sda0 /",
            "mount /dev/sda1 /boot",
            "truncate-size /f -1",
            "setxattr user.a value 3 /f",
            "upload - /f",
            "chown -1 -1 /f",
        ] {
            assert!(matches!(read(line), Err(Refusal::Usage(_))), "{line}");
        }
    }

    #[test]
    fn devices_and_owners() {
        assert_eq!(read("mount /dev/vda12 /"), Ok(Command::Mount(Some(12))));
        assert_eq!(read("mount /dev/sda /"), Ok(Command::Mount(None)));
        let owner = |text: &str| Owner::parse(text).unwrap();
        for (line, wanted) in [("0 5", "0:5"), ("-1 web", ":web"), ("root -1", "root")] {
            let path = GuestPath::parse("/f").unwrap();
            let wanted = Command::Chown { owner: owner(wanted), path, follow: true };
            assert_eq!(read(&format!("chown {line} /f")), Ok(wanted));
        }
    }
}
