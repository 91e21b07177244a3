//! `nomount groupadd`.

use super::edit::{self, EditArgs, More};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::ops::account::{NewGroup, add_group};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Make a group in a guest
///
/// It goes into the guest's group and gshadow. Its number is the next of the range in the guest's /etc/login.defs, as
/// groupadd(8) chooses it.
///
/// Example: nomount groupadd disk.qcow2 web --gid 900
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// Name of the group
    #[arg(value_name = "NAME")]
    name: OsString,
    /// Number of the group
    #[arg(long, short = 'g', value_name = "GID", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    gid: Option<u32>,
    /// A group of the system's own: number from that range
    #[arg(long, short = 'r')]
    system: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = image_only(&args.image)?;
    let new = NewGroup { name: args.name.as_bytes().to_vec(), gid: args.gid, system: args.system };
    edit::run_telling(&args.edit, &target, |editor| {
        let gid = add_group(editor, &new)?;
        Ok(More { members: vec![("gid", json!(gid))], ..More::default() })
    })
}

/// The image of a command that takes no path in it.
pub fn image_only(image: &OsString) -> Result<Target> {
    let target = Target::parse(image.clone());
    match target.path {
        None => Ok(target),
        Some(_) => Err(Error::new(ErrorKind::Usage, "this works on an image, not on a path in it")),
    }
}
