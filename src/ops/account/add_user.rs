//! `useradd`.

use super::add_group::{self, NewGroup};
use super::files::{self, Files, PASSWD, SHADOW, wrong};
use super::home;
use crate::account::crypt::{self, Method};
use crate::account::login_defs::useradd_default;
use crate::account::{Secret, check_name, group, passwd, subid};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest;
use crate::ops::inject::add_keys;
use crate::tree::{GuestPath, MAX_PATH};

/// The group of users without one of their own, where nothing is set.
const DEFAULT_GROUP: &[u8] = b"100";

/// A password to be hashed as the guest's libraries verify it.
#[derive(Debug)]
pub struct Password {
    /// The password.
    pub secret: Secret,
    /// Random bytes for its salt.
    pub salt: [u8; 16],
}

impl Password {
    /// Its hash, made as `method` does.
    pub(crate) fn hash(&self, method: Method) -> Result<Secret> {
        crypt::hash(method, self.secret.expose(), &self.salt[..method.salt_len()])
            .map_err(|error| Error::new(ErrorKind::Invalid, "the password cannot be set").caused_by(error))
    }
}

/// A user to be made. What is not said comes from the guest's login.defs and /etc/default/useradd.
#[derive(Debug, Default)]
pub struct NewUser {
    /// Login name.
    pub name: Vec<u8>,
    /// User number.
    pub uid: Option<u32>,
    /// Primary group, a name or a number; must be there.
    pub group: Option<Vec<u8>>,
    /// Further groups, names or numbers; must be there.
    pub groups: Vec<Vec<u8>>,
    /// Whether a group of the user's name is made to be the primary one, when none is named.
    pub own_group: Option<bool>,
    /// Home directory, absolute.
    pub home: Option<Vec<u8>>,
    /// Whether the home directory is made.
    pub create_home: Option<bool>,
    /// Login shell.
    pub shell: Option<Vec<u8>>,
    /// Real name and the like.
    pub comment: Vec<u8>,
    /// One of the system's own: number from that range, no home directory, no expiry, no subordinate ids.
    pub system: bool,
    /// Its password; none locks it.
    pub password: Option<Password>,
    /// Public ssh keys that let it in, as a file of them; empty for none.
    pub keys: Vec<u8>,
    /// Days since 1970, for when the password was set.
    pub today: u32,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedUser {
    /// User number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// What is to be noticed.
    pub notes: Vec<String>,
}

/// Makes a user, with all that belongs to it: group, shadow entries, subordinate ids, home directory with what is in
/// /etc/skel, mailbox. A name or number that is taken is [`Exists`](ErrorKind::Exists).
pub fn add_user(editor: &mut Editor<'_>, new: &NewUser) -> Result<AddedUser> {
    let mut files = Files::read(editor.tree())?;
    check_name(&new.name).map_err(|error| wrong(error, PASSWD))?;
    let exists = |message: String| Error::new(ErrorKind::Exists, message).at_path(PASSWD);
    let shown = new.name.escape_ascii();
    if passwd::find(&files.passwd, &new.name).is_some() {
        return Err(exists(format!("user {shown} exists already")));
    }
    let uid = new.uid.map_or_else(|| files.free_uid(new.system), Ok)?;
    if let Some(other) = passwd::users(&files.passwd).find(|user| user.uid == uid) {
        return Err(exists(format!("uid {uid} is that of user {}", other.name.escape_ascii())));
    }
    let gid = primary_group(&mut files, new, uid)?;
    for group in &new.groups {
        let group = files.find_group(group)?;
        files.add_member(&group.name, &new.name)?;
    }
    let home = home_text(&files, new)?;
    enter(editor, &mut files, new, uid, gid, &home)?;
    files.write(editor)?;
    if !new.system {
        subordinate(editor, &files, &new.name, uid)?;
    }
    let mut notes = Vec::new();
    let by_setting = !new.system && files.login_defs().flag("CREATE_HOME", false);
    if new.create_home.unwrap_or(by_setting || !new.keys.is_empty()) {
        let path = GuestPath::parse(&home)?;
        if !home::make(editor, &files, &path, (uid, gid))? {
            notes.push(format!("{path} is there already: nothing was copied to it, and it stays as it is"));
        }
        if !new.system {
            home::make_mailbox(editor, &files, &new.name, (uid, gid))?;
        }
    }
    if !new.keys.is_empty() {
        notes.extend(add_keys(editor, &new.name, &new.keys)?);
    }
    Ok(AddedUser { uid, gid, notes })
}

/// The primary group: the one named, one of the user's own, or the guest's for everybody.
fn primary_group(files: &mut Files, new: &NewUser, uid: u32) -> Result<u32> {
    let own = new.own_group.unwrap_or_else(|| files.login_defs().flag("USERGROUPS_ENAB", false));
    if let Some(group) = &new.group {
        return Ok(files.find_group(group)?.gid);
    }
    if !own {
        let group = useradd_default(&files.useradd, "GROUP").unwrap_or(DEFAULT_GROUP).to_vec();
        return files.find_group(&group).map(|group| group.gid).map_err(|error| {
            error.hint("that is the guest's default for users without a group of their own: name one with -g")
        });
    }
    if group::find(&files.group, &new.name).is_some() {
        let message = format!("group {} exists already", new.name.escape_ascii());
        return Err(Error::new(ErrorKind::Exists, message).hint("-g makes it the primary group of the new user"));
    }
    let group = NewGroup { name: new.name.clone(), gid: None, system: new.system };
    add_group::stage(files, &group, Some(uid))
}

fn home_text(files: &Files, new: &NewUser) -> Result<Vec<u8>> {
    let base = useradd_default(&files.useradd, "HOME").unwrap_or(b"/home");
    let home = new.home.clone().unwrap_or_else(|| [base, b"/", &new.name].concat());
    if !home.starts_with(b"/") || home.len() > MAX_PATH {
        let message = format!("home directory {:?} is no absolute path", home.escape_ascii().to_string());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(home)
}

/// Adds the entries of the user itself to the texts.
fn enter(editor: &Editor<'_>, files: &mut Files, new: &NewUser, uid: u32, gid: u32, home: &[u8]) -> Result<()> {
    let hash = match &new.password {
        None => Secret::new(*b"!"),
        Some(password) => password.hash(guest::password_method(editor.tree()).method)?,
    };
    let shell = useradd_default(&files.useradd, "SHELL").unwrap_or(b"/bin/sh").to_vec();
    let shell = new.shell.clone().unwrap_or(shell);
    if !shell.is_empty() && !shell.starts_with(b"/") {
        let message = format!("shell {:?} is no absolute path", shell.escape_ascii().to_string());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let password = if files.shadow.is_some() { b"x" } else { hash.expose() };
    let values = [&new.name[..], password, uid.as_bytes(), gid.as_bytes(), &new.comment, home, &shell];
    files.passwd = files::add(&files.passwd, &values, PASSWD)?;
    if let Some(shadow) = &files.shadow {
        let defs = files.login_defs();
        let days = |name| defs.number(name).filter(|_| !new.system).map_or(String::new(), |days| days.to_string());
        let ages = ["PASS_MIN_DAYS", "PASS_MAX_DAYS", "PASS_WARN_AGE"].map(days);
        // Day 0 would force a change at the next login.
        let today = if new.today == 0 { String::new() } else { new.today.to_string() };
        let inactive = useradd_default(&files.useradd, "INACTIVE").filter(|days| days.iter().all(u8::is_ascii_digit));
        let [min, max, warn] = ages.each_ref().map(String::as_bytes);
        let inactive = inactive.unwrap_or_default();
        let values = [&new.name[..], hash.expose(), today.as_bytes(), min, max, warn, inactive, b"", b""];
        files.shadow = Some(files::add(shadow, &values, SHADOW)?);
    }
    Ok(())
}

/// Gives the user subordinate users and groups, where the guest has files for them.
fn subordinate(editor: &mut Editor<'_>, files: &Files, name: &[u8], uid: u32) -> Result<()> {
    let defs = files.login_defs();
    let number = |name: &str, otherwise| defs.number(name).unwrap_or(otherwise);
    if !(number("UID_MIN", 1000)..=number("UID_MAX", 60_000)).contains(&uid) {
        return Ok(());
    }
    for (path, kind) in [("/etc/subuid", "UID"), ("/etc/subgid", "GID")] {
        let count = number(&format!("SUB_{kind}_COUNT"), 65_536);
        let Some(text) = files::text(editor.tree(), path)?.filter(|text| count > 0 && !subid::has(text, name)) else {
            continue;
        };
        let (min, max) = (number(&format!("SUB_{kind}_MIN"), 100_000), number(&format!("SUB_{kind}_MAX"), 600_100_000));
        let first = subid::free_range(&text, min, max, count).ok_or_else(|| {
            let message = format!("no {count} subordinate ids from {min} to {max} are free");
            Error::new(ErrorKind::Limit, message).at_path(path)
        })?;
        let text = files::add(&text, &[name, first.to_string().as_bytes(), count.to_string().as_bytes()], path)?;
        editor.replace(&GuestPath::parse(path)?, &text, Wanted::default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn guest() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nold:x:1000:1000::/home/old:/bin/sh\n");
        tree.file("/etc/shadow", "root:*:1::::::\n").chmod("/etc/shadow", 0o640).owner("/etc/shadow", 0, 42);
        tree.file("/etc/group", "root:x:0:\nmail:x:8:\nsudo:x:27:old\nusers:x:100:\nold:x:1000:\n");
        tree.file("/etc/gshadow", "root:*::\nsudo:*::old\n");
        tree.file("/etc/subuid", "old:100000:65536\n").file("/etc/subgid", "");
        tree.file("/etc/login.defs", "USERGROUPS_ENAB yes\nPASS_MIN_DAYS 0\nPASS_MAX_DAYS 99999\nPASS_WARN_AGE 7\n");
        tree.file("/etc/skel/.profile", "profile").file("/etc/skel/.config/app/run", "#!/bin/sh\n");
        tree.chmod("/etc/skel/.config", 0o700).chmod("/etc/skel/.config/app/run", 0o4755);
        tree.link("/etc/skel/l", "../etc/passwd").dir("/home");
        tree
    }

    fn add(tree: &mut MemTree, new: NewUser) -> Result<AddedUser, ErrorKind> {
        add_user(&mut Editor::new(tree), &NewUser { today: 20_000, ..new }).map_err(|error| error.kind())
    }

    fn named(name: &str) -> NewUser {
        NewUser { name: name.into(), ..NewUser::default() }
    }

    #[test]
    fn all_files_agree_and_the_home_is_a_copy_of_the_skeleton() {
        let mut tree = guest();
        let new = NewUser {
            groups: vec![b"sudo".to_vec(), b"100".to_vec()],
            create_home: Some(true),
            comment: b"Alice A.".to_vec(),
            shell: Some(b"/bin/zsh".to_vec()),
            ..named("alice")
        };
        assert_eq!(add(&mut tree, new), Ok(AddedUser { uid: 1001, gid: 1001, notes: vec![] }));
        assert!(tree.text("/etc/passwd").ends_with("\nalice:x:1001:1001:Alice A.:/home/alice:/bin/zsh\n"));
        assert_eq!(tree.text("/etc/shadow"), "root:*:1::::::\nalice:!:20000:0:99999:7:::\n");
        assert_eq!((tree.mode("/etc/shadow"), tree.owner_of("/etc/shadow")), (0o640, (0, 42)));
        let group = "root:x:0:\nmail:x:8:\nsudo:x:27:old,alice\nusers:x:100:alice\nold:x:1000:\nalice:x:1001:\n";
        assert_eq!(tree.text("/etc/group"), group);
        assert_eq!(tree.text("/etc/gshadow"), "root:*::\nsudo:*::old,alice\nalice:!::\n");
        assert_eq!(tree.text("/etc/subuid"), "old:100000:65536\nalice:165536:65536\n");
        assert_eq!(tree.text("/etc/subgid"), "alice:100000:65536\n");
        for (name, mode) in [("", 0o755), ("/.profile", 0o644), ("/.config", 0o700), ("/.config/app/run", 0o4755)] {
            let path = format!("/home/alice{name}");
            assert_eq!((tree.mode(&path), tree.owner_of(&path)), (mode, (1001, 1001)), "{path}");
        }
        assert_eq!(tree.owner_of("/home/alice/l"), (1001, 1001));
        assert_eq!(tree.owner_of("/etc/passwd"), (0, 0));
    }

    #[test]
    fn the_guests_settings_decide() {
        let mut tree = guest();
        tree.file("/etc/login.defs", "UID_MIN 500\nUID_MAX 600\nCREATE_HOME yes\nHOME_MODE 0700\nUSERGROUPS_ENAB no\n");
        tree.file(
            "/etc/default/useradd",
            "GROUP=100\nHOME=/srv/people\nSHELL=/bin/ksh\nCREATE_MAIL_SPOOL=yes\nINACTIVE=5\n",
        );
        tree.dir("/var/mail");
        add(&mut tree, named("bob")).unwrap();
        assert!(tree.text("/etc/passwd").ends_with("\nbob:x:500:100::/srv/people/bob:/bin/ksh\n"));
        assert!(tree.text("/etc/shadow").ends_with("\nbob:!:20000::::5::\n"));
        assert_eq!((tree.mode("/srv/people/bob"), tree.mode("/srv/people")), (0o700, 0o755));
        assert_eq!((tree.mode("/var/mail/bob"), tree.owner_of("/var/mail/bob")), (0o660, (500, 8)));
        add(&mut tree, NewUser { system: true, ..named("daemon") }).unwrap();
        assert!(tree.text("/etc/passwd").ends_with("\ndaemon:x:499:100::/srv/people/daemon:/bin/ksh\n"));
        assert!(tree.text("/etc/shadow").ends_with("\ndaemon:!:20000::::5::\n"));
        assert!(!tree.has("/srv/people/daemon") && !tree.text("/etc/subuid").contains("daemon"));
    }

    #[test]
    fn a_password_is_hashed_and_keys_bring_a_home() {
        let mut tree = guest();
        let key = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr0cFQFZ0SgXxkPwEmHnK5hhl4nsWzJvZ7p7dU2m3qT me".to_vec();
        let password = Some(Password { secret: Secret::new(*b"s3cret"), salt: [7; 16] });
        add(&mut tree, NewUser { password, keys: key, ..named("eve") }).unwrap();
        let shadow = tree.text("/etc/shadow");
        let hash = shadow.lines().last().unwrap().split(':').nth(1).unwrap().to_owned();
        assert!(hash.starts_with("$6$") && crypt::verify(&Secret::new(hash), b"s3cret").unwrap());
        assert_eq!(tree.owner_of("/home/eve/.ssh/authorized_keys"), (1001, 1001));
        assert_eq!((tree.mode("/home/eve/.ssh"), tree.text("/home/eve/.profile").as_str()), (0o700, "profile"));
    }

    #[test]
    fn what_is_there_stays() {
        let mut tree = guest();
        tree.dir("/home/here");
        let before = tree.mode("/home/here");
        let added = add(&mut tree, NewUser { create_home: Some(true), ..named("here") }).unwrap();
        assert!(added.notes[0].contains("there already") && !tree.has("/home/here/.profile"));
        assert_eq!((tree.mode("/home/here"), tree.owner_of("/home/here")), (before, (0, 0)));
        for (new, kind) in [
            (named("old"), ErrorKind::Exists),
            (named("sudo"), ErrorKind::Exists),
            (NewUser { uid: Some(1000), ..named("x") }, ErrorKind::Exists),
            (NewUser { group: Some(b"none".to_vec()), ..named("x") }, ErrorKind::NotFound),
            (NewUser { groups: vec![b"none".to_vec()], ..named("x") }, ErrorKind::NotFound),
            (NewUser { home: Some(b"rel".to_vec()), ..named("x") }, ErrorKind::Invalid),
            (NewUser { home: Some(b"/a:b".to_vec()), ..named("x") }, ErrorKind::Invalid),
            (NewUser { shell: Some(b"sh".to_vec()), ..named("x") }, ErrorKind::Invalid),
            (NewUser { comment: b"a\nb".to_vec(), ..named("x") }, ErrorKind::Invalid),
            (named("a:b"), ErrorKind::Invalid),
        ] {
            let name = new.name.escape_ascii().to_string();
            let text = tree.text("/etc/passwd");
            assert_eq!(add(&mut tree, new), Err(kind), "{name}");
            assert_eq!(tree.text("/etc/passwd"), text);
        }
    }

    #[test]
    fn without_shadow_files_the_password_is_in_passwd() {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "").file("/etc/group", "users:x:100:\n");
        add(&mut tree, named("u")).unwrap();
        assert_eq!(tree.text("/etc/passwd"), "u:!:1000:100::/home/u:/bin/sh\n");
        assert!(!tree.has("/etc/shadow") && !tree.has("/etc/gshadow") && !tree.has("/etc/subuid"));
        assert_eq!(add(&mut MemTree::new(), named("u")), Err(ErrorKind::NotFound));
    }
}
