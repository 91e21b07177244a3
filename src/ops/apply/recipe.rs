//! The text of a recipe.

use super::values::{Hostname, Line, Mode, Name, OwnerText, PasswordHash, Path, Unit, Zone, unique};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::GuestPath;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a guest is to be, in TOML or JSON. Every part may be left out, and an unknown one is an error.
///
/// ```toml
/// hostname = "web1"
/// timezone = "Europe/Berlin"                 # a zone that the guest has
/// absent = ["/etc/nologin"]                  # files, or directories with all that is in them
///
/// [groups.web]                               # made if it is missing
/// gid = 900
///
/// [users.alice]                              # made if she is missing, as useradd does
/// groups = ["sudo"]                          # these at least
/// shell = "/bin/bash"
/// password = "file:alice.pw"                 # set unless the present one is the same
/// ssh-keys = ["file:alice.pub"]              # these at least; or the text of a key
///
/// [directories."/srv/www"]
/// mode = "2775"
/// owner = "root:web"
///
/// [files."/etc/motd"]
/// content = "welcome\n"                      # or source = "motd", a file beside the recipe
///
/// [files."/etc/hosts"]
/// lines = ["192.0.2.1 db"]                   # these at least, added at the end
///
/// [links]
/// "/srv/current" = "www"
///
/// [services]
/// enable = ["ssh"]
/// mask = ["apt-daily.timer"]
///
/// [[firstboot]]                              # runs once, at the next boot
/// name = "register"
/// source = "register.sh"                     # or script = "#!/bin/sh\n..."
/// ```
///
/// Users also take `uid`, `group`, `home`, `create-home`, `comment`, `system` and `password-hash`; groups `system`;
/// files `mode` and `owner`; services `disable` and `unmask`. Owners and modes are those of chown(1) and chmod(1), in
/// quotation marks. What is done goes in this order: groups, users, directories, files, links, absent, hostname,
/// timezone, services, firstboot, passwords.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    pub(super) hostname: Option<Hostname>,
    pub(super) timezone: Option<Zone>,
    pub(super) absent: Vec<Path>,
    #[serde(deserialize_with = "unique")]
    pub(super) groups: BTreeMap<Name, GroupSpec>,
    #[serde(deserialize_with = "unique")]
    pub(super) users: BTreeMap<Name, UserSpec>,
    #[serde(deserialize_with = "unique")]
    pub(super) directories: BTreeMap<Path, DirSpec>,
    #[serde(deserialize_with = "unique")]
    pub(super) files: BTreeMap<Path, FileSpec>,
    #[serde(deserialize_with = "unique")]
    pub(super) links: BTreeMap<Path, String>,
    pub(super) services: Services,
    pub(super) firstboot: Vec<Firstboot>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GroupSpec {
    pub(super) gid: Option<u32>,
    pub(super) system: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct UserSpec {
    pub(super) uid: Option<u32>,
    pub(super) group: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) home: Option<String>,
    pub(super) create_home: Option<bool>,
    pub(super) shell: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) system: bool,
    pub(super) password: Option<String>,
    pub(super) password_hash: Option<PasswordHash>,
    pub(super) ssh_keys: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DirSpec {
    pub(super) mode: Option<Mode>,
    pub(super) owner: Option<OwnerText>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "FileFields")]
pub(super) struct FileSpec {
    pub(super) contents: Contents,
    pub(super) mode: Option<Mode>,
    pub(super) owner: Option<OwnerText>,
}

#[derive(Debug)]
pub(super) enum Contents {
    /// These bytes.
    Text(String),
    /// Those of this file of the host.
    Source(String),
    /// What is there, and these lines.
    Lines(Vec<Line>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileFields {
    content: Option<String>,
    source: Option<String>,
    lines: Vec<Line>,
    mode: Option<Mode>,
    owner: Option<OwnerText>,
}

impl TryFrom<FileFields> for FileSpec {
    type Error = &'static str;

    fn try_from(fields: FileFields) -> Result<Self, &'static str> {
        let contents = match (fields.content, fields.source, fields.lines) {
            (Some(text), None, lines) if lines.is_empty() => Contents::Text(text),
            (None, Some(source), lines) if lines.is_empty() => Contents::Source(source),
            (None, None, lines) => Contents::Lines(lines),
            _ => return Err("a file has one of content, source and lines"),
        };
        Ok(Self { contents, mode: fields.mode, owner: fields.owner })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Services {
    pub(super) enable: Vec<Unit>,
    pub(super) disable: Vec<Unit>,
    pub(super) mask: Vec<Unit>,
    pub(super) unmask: Vec<Unit>,
}

impl Services {
    /// Refuses a unit of two lists of which the second undoes the first, or would be refused a second time.
    fn check(&self) -> Result<()> {
        for (one, these, other, those) in [
            ("enable", &self.enable, "disable", &self.disable),
            ("enable", &self.enable, "mask", &self.mask),
            ("mask", &self.mask, "unmask", &self.unmask),
        ] {
            if let Some(Unit(name)) = these.iter().find(|Unit(name)| those.iter().any(|Unit(that)| that == name)) {
                let message = format!("services: {name} cannot be both in {one} and in {other}");
                return Err(Error::new(ErrorKind::Usage, message));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "FirstbootFields")]
pub(super) struct Firstboot {
    pub(super) name: String,
    pub(super) script: Contents,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FirstbootFields {
    name: String,
    script: Option<String>,
    source: Option<String>,
}

impl TryFrom<FirstbootFields> for Firstboot {
    type Error = &'static str;

    fn try_from(fields: FirstbootFields) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if fields.name.is_empty() || fields.name.len() > 64 || !fields.name.bytes().all(plain) {
            return Err("the name of a script is 1 to 64 letters, digits, \".\", \"-\" and \"_\"");
        }
        let script = match (fields.script, fields.source) {
            (Some(text), None) => Contents::Text(text),
            (None, Some(source)) => Contents::Source(source),
            _ => return Err("a script for the first boot has one of script and source"),
        };
        Ok(Self { name: fields.name, script })
    }
}

/// A key in the recipe itself, or one that is in a file.
pub(super) fn key_file(key: &str) -> Option<&str> {
    key.strip_prefix("file:")
}

impl Recipe {
    /// Reads a recipe: JSON if it begins with a brace, else TOML. An error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |message: String| Error::new(ErrorKind::Usage, message);
        let recipe: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| refuse(format!("the recipe cannot be read: {error}")))?
        } else {
            toml::from_str(text).map_err(|error| {
                let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                let place = line.map_or(String::new(), |line| format!(", line {line}"));
                refuse(format!("the recipe cannot be read{place}: {}", error.message()))
            })?
        };
        recipe.check()?;
        Ok(recipe)
    }

    /// Refuses what contradicts itself: it could not be so, or not stay so.
    fn check(&self) -> Result<()> {
        let mut seen: BTreeSet<&GuestPath> = BTreeSet::new();
        let declared = self.directories.keys().chain(self.files.keys()).chain(self.links.keys());
        for Path(path) in declared.clone().chain(&self.absent) {
            if !seen.insert(path) {
                return Err(Error::new(ErrorKind::Usage, format!("the recipe says two things of {path}")));
            }
        }
        for Path(path) in declared {
            if let Some(Path(gone)) = self.absent.iter().find(|Path(gone)| path.is_below(gone)) {
                let message = format!("the recipe wants {path}, and {gone} to be absent");
                return Err(Error::new(ErrorKind::Usage, message));
            }
        }
        self.services.check()?;
        match self.users.iter().find(|(_, user)| user.password.is_some() && user.password_hash.is_some()) {
            Some((name, _)) => {
                let message = format!("users.{}: both password and password-hash are given", name.0);
                Err(Error::new(ErrorKind::Usage, message))
            }
            None => Ok(()),
        }
    }

    /// The files of the host that it needs, as it names them.
    pub fn sources(&self) -> BTreeSet<&str> {
        let files = self.files.values().map(|file| &file.contents);
        let scripts = self.firstboot.iter().map(|script| &script.script);
        let sources = files.chain(scripts).filter_map(|contents| match contents {
            Contents::Source(source) => Some(source.as_str()),
            _ => None,
        });
        let keys = self.users.values().flat_map(|user| user.ssh_keys.iter().filter_map(|key| key_file(key)));
        sources.chain(keys).collect()
    }

    /// Users with a password, and where that comes from: a selector.
    pub fn passwords(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users.iter().filter_map(|(name, user)| Some((name.0.as_str(), user.password.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example above is one.
    #[test]
    fn the_documented_example_is_read() {
        let source = include_str!("recipe.rs");
        let example: Vec<&str> = source
            .lines()
            .skip_while(|line| *line != "/// ```toml")
            .skip(1)
            .take_while(|line| *line != "/// ```")
            .map(|line| line.trim_start_matches("///"))
            .collect();
        let recipe = Recipe::parse(&example.join("\n")).unwrap();
        assert_eq!(recipe.sources().into_iter().collect::<Vec<_>>(), ["alice.pub", "register.sh"]);
        assert_eq!(recipe.passwords().collect::<Vec<_>>(), [("alice", "file:alice.pw")]);
        assert_eq!((recipe.files.len(), recipe.services.enable.len(), recipe.groups.len()), (2, 1, 1));
    }

    #[test]
    fn json_says_the_same() {
        let recipe =
            Recipe::parse(r#" {"hostname": "a", "files": {"/f": {"content": "x", "mode": "0600"}}} "#).unwrap();
        assert!(recipe.hostname.unwrap().0 == "a" && recipe.files.len() == 1);
        assert!(Recipe::parse("").unwrap().users.is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, wanted) in [
            ("hostname = \"a\"\nhostnam = \"b\"\n", "line 2: unknown field `hostnam`"),
            ("\n\n[files.\"/f\"]\nmode = \"9\"\n", "line 4: invalid mode"),
            ("[files.\"/f\"]\nmode = 644\n", "line 2: invalid type: integer"),
            ("[files.f]\ncontent = \"\"\n", "line 1: \"f\" is no absolute path"),
            ("[files.\"/../f\"]\n", "climbs above"),
            ("x = [\n", "line "),
            ("[files.\"/f\"]\ncontent = \"\"\nsource = \"s\"\n", "one of content, source and lines"),
            ("[users.\"a b\"]\n", "account name"),
            ("[services]\nenable = [\"a/b\"]\n", "line 2: \"a/b\" is no name of a unit"),
            ("[[firstboot]]\nname = \"x\"\n", "one of script and source"),
            ("[links]\n\"/f\" = \"x\"\n[files.\"/f\"]\n", "two things of /f"),
            ("absent = [\"/d\"]\n[files.\"/d/f\"]\n", "wants /d/f, and /d to be absent"),
            ("absent = [\"/\"]\n", "line 1"),
            ("[users.a]\npassword = \"-\"\npassword-hash = \"*\"\n", "both password and password-hash"),
            ("[files.\"/f\"]\nlines = [\"a\\nb\"]\n", "line break"),
            ("\nhostname = \"a b\"\n", "line 2: \"a b\" is no hostname"),
            ("\ntimezone = \"../x\"\n", "line 2: \"../x\" is no time zone"),
            ("[users.a]\npassword-hash = \"hunter2\"\n", "line 2: password-hash is no hash of crypt(3)"),
            (
                "[services]\nenable = [\"a\"]\nmask = [\"a.service\"]\n",
                "a.service cannot be both in enable and in mask",
            ),
            ("[services]\nenable = [\"a\"]\ndisable = [\"a\"]\n", "both in enable and in disable"),
            ("[services]\nunmask = [\"a\"]\nmask = [\"a\"]\n", "both in mask and in unmask"),
            ("[links]\n\"/f\" = \"x\"\n\"/d/../f\" = \"y\"\n", "two things of /f"),
            ("{\"files\": {\"/f\": {}, \"/f/\": {}}}", "two things of /f"),
            ("{\"groups\": {\"a\": {},\n\"a\": {}}}", "two things of a"),
            ("{\n\"hostname\": 1 }", "line 2"),
            ("{\n\"hostnam\": \"\" }", "unknown field `hostnam`"),
        ] {
            let error = Recipe::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(error.to_string().contains(wanted) && !error.to_string().contains('\n'), "{text:?}: {error}");
        }
    }
}
