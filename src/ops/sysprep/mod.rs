//! Making a guest into a template: what is its own goes, so that each copy of it gets its own. The operations of
//! virt-sysprep that change files, by their names.

mod tasks;
mod user_account;
mod work;

pub use tasks::{CUSTOMIZE, TASKS, Task};
pub use user_account::Accounts;

use super::Editor;
use super::customize::{Done, Remarks};
use crate::error::{Error, ErrorKind, Result};
use tasks::Work;

/// Which of [`TASKS`] a list asks for: names, `-NAME` for all before but this, `defaults` and `all`. In the order of the
/// table.
pub fn choose(list: &str) -> Result<Vec<&'static Task>> {
    let mut chosen = vec![false; TASKS.len()];
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (wanted, word) = match word.strip_prefix('-') {
            Some(word) => (false, word),
            None => (true, word),
        };
        match word {
            "all" => set_where(&mut chosen, wanted, |task| task.reason_against().is_none()),
            "defaults" => set_where(&mut chosen, wanted, |task| task.default),
            name => {
                let at = TASKS.iter().position(|task| task.name == name).ok_or_else(|| {
                    Error::new(ErrorKind::Usage, format!("no operation {name:?}"))
                        .hint("nomount sysprep --list-operations lists them")
                })?;
                match TASKS[at].reason_against() {
                    Some(reason) if wanted => {
                        let message = format!("operation {name} is not supported here: {reason}");
                        return Err(Error::new(ErrorKind::Unsupported, message));
                    }
                    _ => chosen[at] = wanted,
                }
            }
        }
    }
    let tasks: Vec<&Task> = TASKS.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(task, _)| task).collect();
    if tasks.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no operation is left to be done"));
    }
    Ok(tasks)
}

fn set_where(chosen: &mut [bool], wanted: bool, which: impl Fn(&Task) -> bool) {
    TASKS.iter().zip(chosen).filter(|(task, _)| which(task)).for_each(|(_, chosen)| *chosen = wanted);
}

/// Does `tasks`, in order; what is not there needs no removing. Customizing is left to the caller, after them.
pub fn sysprep(editor: &mut Editor<'_>, tasks: &[&Task], accounts: &Accounts) -> Result<Vec<Done>> {
    let mut done = Vec::new();
    // Before user accounts go, for their homes are in passwd.
    let homes = work::homes(editor.tree())?;
    for task in tasks.iter().filter(|task| task.name != CUSTOMIZE) {
        let before = editor.changes().len();
        let mut remarks = Remarks::default();
        run(editor, task, &homes, accounts, &mut remarks).map_err(|error| error.during(task.name))?;
        let changes = editor.changes().len() - before;
        done.push(Done { operation: task.name, subject: String::new(), changes, warnings: remarks.into_warnings() });
    }
    Ok(done)
}

fn run(
    editor: &mut Editor<'_>,
    task: &Task,
    homes: &[crate::tree::GuestPath],
    accounts: &Accounts,
    remarks: &mut Remarks,
) -> Result<()> {
    match task.work {
        Work::Remove(patterns) => patterns.iter().try_for_each(|pattern| work::remove(editor, pattern)),
        Work::RemoveFilesBelow(dirs) => dirs.iter().try_for_each(|dir| work::remove_files_below(editor, dir)),
        Work::RemoveFromHomes(names) => work::remove_from_homes(editor, homes, names),
        Work::RemoveNamed { dirs, suffixes } => work::remove_named(editor, dirs, suffixes),
        Work::Empty(files) => files.iter().try_for_each(|file| work::empty(editor, file)),
        Work::RemoveLines { pattern, keys } => work::remove_lines(editor, pattern, keys),
        Work::Create(file) => work::create(editor, file),
        Work::RemoveAccounts => user_account::remove(editor, accounts, remarks),
        Work::Customize => Ok(()),
        Work::NotHere(reason) => Err(Error::new(ErrorKind::Unsupported, reason)),
    }
}

#[cfg(test)]
mod tests;
