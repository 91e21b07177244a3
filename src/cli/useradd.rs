//! `nomount useradd`.

use super::edit::{self, EditArgs, More};
use super::groupadd::image_only;
use super::sandbox::{HostAccess, read_file};
use super::target::now;
use super::{inject, password};
use nomount::ops::account::{NewUser, Password, add_user};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Make a user in a guest
///
/// It goes into the guest's passwd, shadow, group, gshadow, subuid and subgid, as far as it has them. What is not given
/// is as useradd(8) chooses it, by the guest's /etc/login.defs and /etc/default/useradd: numbers, group, shell, whether
/// a home directory is made. That gets what is in the guest's /etc/skel. Without --password none lets the user in.
///
/// Example: nomount useradd disk.qcow2 alice -m -G sudo -s /bin/bash --ssh-key id_ed25519.pub
///
/// Example: nomount useradd disk.qcow2 backup --system -d /var/lib/backup
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// Login name
    #[arg(value_name = "NAME")]
    name: OsString,
    /// User number
    #[arg(long, short = 'u', value_name = "UID", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    uid: Option<u32>,
    /// Primary group, a name or number that is there
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with = "user_group")]
    gid: Option<OsString>,
    /// Further groups, names or numbers that are there
    #[arg(long, short = 'G', value_name = "GROUP,...", value_delimiter = ',')]
    groups: Vec<OsString>,
    /// Make a group of the same name, the primary one
    #[arg(long, short = 'U')]
    user_group: bool,
    /// Make no group of the same name
    #[arg(long, short = 'N', conflicts_with = "user_group")]
    no_user_group: bool,
    /// Home directory
    #[arg(long, short = 'd', value_name = "PATH")]
    home_dir: Option<OsString>,
    /// Make the home directory; --ssh-key does so, too
    #[arg(long, short = 'm')]
    create_home: bool,
    /// Make no home directory
    #[arg(long, short = 'M', conflicts_with_all = ["create_home", "ssh_key"])]
    no_create_home: bool,
    /// Login shell
    #[arg(long, short = 's', value_name = "PATH")]
    shell: Option<OsString>,
    /// Real name and the like
    #[arg(long, short = 'c', value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: OsString,
    /// A user of the system's own: number from that range, no home directory unless asked for
    #[arg(long, short = 'r')]
    system: bool,
    #[arg(long, value_name = "SELECTOR", help = format!("Its password: {}", password::HELP), allow_hyphen_values = true)]
    password: Option<String>,
    /// Public ssh keys that let it in: a file, `-` for standard input, or string:TEXT. Repeatable
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<OsString>,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let password = password::file(self.password.as_deref());
        self.edit.access(&self.image).and(read_file(password)).and(inject::key_files(&self.ssh_key))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = image_only(&args.image)?;
    let chosen = args.password.as_deref().map(password::choose).transpose()?;
    let random = chosen.as_ref().filter(|chosen| chosen.random);
    if args.edit.json && random.is_some() {
        let message = "a random password would have to be shown, and passwords are never part of JSON";
        return Err(Error::new(ErrorKind::Usage, message).hint("make one yourself and give it with file: or fd:"));
    }
    let show = random.map(|chosen| String::from_utf8_lossy(chosen.secret.expose()).into_owned());
    let bytes = |text: &OsString| text.as_bytes().to_vec();
    let yes_or_no = |yes: bool, no: bool| if yes { Some(true) } else { no.then_some(false) };
    let new = NewUser {
        name: bytes(&args.name),
        uid: args.uid,
        group: args.gid.clone().map(OsString::into_vec),
        groups: args.groups.iter().map(bytes).collect(),
        own_group: yes_or_no(args.user_group, args.no_user_group),
        home: args.home_dir.clone().map(OsString::into_vec),
        create_home: yes_or_no(args.create_home, args.no_create_home),
        shell: args.shell.clone().map(OsString::into_vec),
        comment: bytes(&args.comment),
        system: args.system,
        password: match chosen {
            Some(chosen) => Some(Password { secret: chosen.secret, salt: password::random_bytes()? }),
            None => None,
        },
        keys: inject::keys(&args.ssh_key)?,
        today: today()?,
    };
    // A dry run sets none that one could need.
    let line = show.filter(|_| !args.edit.dry_run);
    let line = line.map(|show| format!("  the password of {} is {show}", args.name.display()));
    edit::run_telling(&args.edit, &target, |editor| {
        let added = add_user(editor, &new)?;
        let members = vec![("uid", json!(added.uid)), ("gid", json!(added.gid))];
        Ok(More { notes: added.notes, line, members, ..More::default() })
    })
}

/// Days since 1970.
pub fn today() -> Result<u32> {
    Ok(u32::try_from(now()?.sec / 86_400).unwrap_or(0))
}
