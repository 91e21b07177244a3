//! `nomount sysprep`.

use super::customize::{Loaded, OperationArgs, SettingArgs, run_and_report, whole_image};
use super::edit::EditArgs;
use super::sandbox::HostAccess;
use super::target::Target;
use super::{exit, ui};
use nomount::ops::customize::apply;
use nomount::ops::sysprep::{Accounts, CUSTOMIZE, TASKS, Task, choose, sysprep};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;

/// Make a guest into a template: remove what is its own
///
/// Operations are those of virt-sysprep that change files: logs, leases, host keys, the machine id and so on. Home
/// directories are those in the guest's passwd. All is one commit, or nothing is changed. The operations of customize can
/// be given as well, and are done after the others.
///
/// Example: nomount sysprep template.qcow2 --operations defaults,-ssh-userdir --hostname template
///
/// Example: nomount sysprep --list-operations
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]", required_unless_present = "list_operations")]
    image: Option<OsString>,
    /// Do these: names, -NAME to leave one out, defaults, all
    #[arg(long, alias = "operation", value_name = "LIST", allow_hyphen_values = true, conflicts_with = "enable")]
    operations: Vec<String>,
    /// Do these and no others
    #[arg(long, value_name = "NAME,NAME..")]
    enable: Option<String>,
    /// List the operations, with a star at those that are done by default
    #[arg(long)]
    list_operations: bool,
    /// Users that user-account removes, instead of all people; also turns it on
    #[arg(long, value_name = "USER,USER..", value_delimiter = ',')]
    remove_user_accounts: Vec<String>,
    /// Users that user-account leaves alone
    #[arg(long, value_name = "USER,USER..", value_delimiter = ',')]
    keep_user_accounts: Vec<String>,
    #[command(flatten)]
    customize: OperationArgs,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Operations on an image, with what they take from the host; none where they are to be listed.
pub struct Ready<'a> {
    args: &'a Args,
    work: Option<(Target, Vec<&'static Task>, Loaded)>,
}

impl HostAccess for Ready<'_> {
    fn access(&self) -> Access {
        let work = self.work.as_ref();
        work.map_or(Access::none(), |(target, _, loaded)| loaded.access(&self.args.edit, target))
    }
}

/// Reads the operations.
pub fn load(args: &Args) -> Result<Ready<'_>> {
    let Some(image) = args.image.as_ref().filter(|_| !args.list_operations) else {
        return Ok(Ready { args, work: None });
    };
    let target = whole_image(image)?;
    let mut wanted = match &args.enable {
        Some(names) => names.clone(),
        None if args.operations.is_empty() => "defaults".to_owned(),
        None => args.operations.join(","),
    };
    if !args.remove_user_accounts.is_empty() {
        wanted.push_str(",user-account");
    }
    let tasks = choose(&wanted)?;
    let loaded = args.customize.load(&target)?;
    if !loaded.operations.is_empty() && !tasks.iter().any(|task| task.name == CUSTOMIZE) {
        let message = "operations of customize are given, but customize is not among the operations";
        return Err(Error::new(ErrorKind::Usage, message));
    }
    Ok(Ready { args, work: Some((target, tasks, loaded)) })
}

/// Runs the command.
pub fn run(ready: Ready<'_>) -> Result<u8> {
    let Ready { args, work } = ready;
    let Some((target, tasks, Loaded { operations, passwords, .. })) = work else { return list(args.edit.json) };
    let accounts = Accounts { remove: args.remove_user_accounts.clone(), keep: args.keep_user_accounts.clone() };
    let settings = args.settings.settings()?;
    run_and_report(&args.edit, &args.settings, &target, &passwords, |editor| {
        let mut done = sysprep(editor, &tasks, &accounts)?;
        done.extend(apply(editor, operations, &settings)?);
        Ok(done)
    })
}

/// As virt-sysprep lists them; with what is not done here, and why, in JSON only.
fn list(as_json: bool) -> Result<u8> {
    if as_json {
        let tasks = TASKS.iter().map(|task| {
            let (supported, reason) = (task.reason_against().is_none(), task.reason_against());
            let (name, default, summary) = (task.name, task.default, task.summary);
            json!({ "name": name, "default": default, "summary": summary, "supported": supported, "reason": reason })
        });
        ui::json(json!({ "operations": tasks.collect::<Vec<_>>() })).map_err(ui::output_failed)?;
    } else {
        let done = TASKS.iter().filter(|task| task.reason_against().is_none());
        let line = |task: &Task| format!("{} {} {}", task.name, if task.default { "*" } else { " " }, task.summary);
        ui::lines(done.map(line)).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}
