//! `nomount apply`.

use super::edit::{self, EditArgs};
use super::groupadd::image_only;
use super::sandbox::HostAccess;
use super::target::{Target, now};
use super::{host_file, password};
use nomount::ops::account::Password;
use nomount::ops::apply::{Inputs, Recipe, apply};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Make a guest what a recipe says

The recipe is TOML, or JSON if it begins with a brace. All of it is one commit, and what is so already is not touched: a \
second time there is nothing to change. Files that it names are looked for beside it.

Each part may be left out:
  hostname = \"web1\"
  timezone = \"Europe/Berlin\"
  absent = [\"/etc/nologin\"]        # files, or directories with all that is in them
  [groups.web]                     # gid, system
  [users.alice]                    # uid, group, home, create-home, shell, comment, system, and
  groups = [\"sudo\"]                # these at least
  password = \"file:alice.pw\"       # file:FILE, env:NAME, fd:NUMBER or -; or password-hash
  ssh-keys = [\"file:alice.pub\"]    # these at least; a file or the text of a key
  [directories.\"/srv/www\"]
  mode = \"2775\"                    # as for chmod, in quotation marks
  owner = \"root:web\"               # as for chown, by the guest's names
  [files.\"/etc/motd\"]              # mode, owner, and
  content = \"welcome\\n\"            # or source = \"FILE\", or lines = [\"these at least\"]
  [links]
  \"/srv/current\" = \"www\"
  [services]
  enable = [\"ssh\"]                 # disable, mask, unmask
  [[firstboot]]                    # runs once, at the next boot
  name = \"register\"
  source = \"register.sh\"           # or script = \"#!/bin/sh\\n...\"

Example: nomount apply disk.qcow2 web.toml --dry-run --exit-code";

/// Make a guest what a recipe says
#[derive(Debug, clap::Args)]
#[command(long_about = HELP)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// The recipe; `-` is standard input
    #[arg(value_name = "RECIPE|-")]
    recipe: PathBuf,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// A recipe that was read, with what it names.
pub struct Loaded<'a> {
    args: &'a Args,
    target: Target,
    recipe: Recipe,
    inputs: Inputs,
}

impl HostAccess for Loaded<'_> {
    fn access(&self) -> Access {
        self.args.edit.access_to(&self.target)
    }
}

/// Reads the recipe and what it names.
pub fn load(args: &Args) -> Result<Loaded<'_>> {
    let target = image_only(&args.image)?;
    let is_stdin = args.recipe == Path::new("-");
    let text = if is_stdin { host_file::standard_input("the recipe")? } else { host_file::read(&args.recipe)? };
    let named = |error: Error| if is_stdin { error } else { error.at_path(args.recipe.display().to_string()) };
    let text = String::from_utf8(text)
        .map_err(|_| named(Error::new(ErrorKind::Usage, "the recipe cannot be read: it is not UTF-8")))?;
    let recipe = Recipe::parse(&text).map_err(named)?;
    let folder = if is_stdin { Path::new("") } else { args.recipe.parent().unwrap_or(Path::new("")) };
    let inputs = inputs(&recipe, folder).map_err(named)?;
    Ok(Loaded { args, target, recipe, inputs })
}

/// Runs the command.
pub fn run(loaded: Loaded<'_>) -> Result<u8> {
    let Loaded { args, target, recipe, inputs } = loaded;
    edit::run_telling(&args.edit, &target, |editor| Ok(apply(editor, &recipe, &inputs)?.into()))
}

/// Reads what the recipe names, from `folder`.
fn inputs(recipe: &Recipe, folder: &Path) -> Result<Inputs> {
    let mut inputs = Inputs { now: now()?, ..Inputs::default() };
    for source in recipe.sources() {
        inputs.files.insert(source.to_owned(), host_file::read(&folder.join(source))?);
    }
    for (user, selector) in recipe.passwords() {
        if selector == "random" {
            let message = format!("users.{user}: a random password would be another one each time");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let selector = match selector.strip_prefix("file:") {
            Some(file) => format!("file:{}", folder.join(file).display()),
            None => selector.to_owned(),
        };
        if password::is_text(&selector) {
            super::ui::warning(&format!("users.{user}: whoever reads the recipe reads the password; use file: or fd:"));
        }
        let secret = password::read(&selector).map_err(|error| error.during(&format!("users.{user}")))?.secret;
        inputs.passwords.insert(user.to_owned(), Password { secret, salt: password::random_bytes()? });
    }
    Ok(inputs)
}
