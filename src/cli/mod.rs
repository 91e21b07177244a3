//! The command line: one file per subcommand. Only here is anything printed, and only here are the environment, the
//! clock and randomness asked.

mod apply;
mod bytes;
mod cat;
mod check;
mod checksum;
mod chmod;
mod chown;
mod compat;
mod completion;
mod container;
mod copy_args;
mod copy_in;
mod copy_out;
mod cp;
mod customize;
mod df;
mod diff;
mod du;
mod edit;
mod edit_text;
mod exit;
mod fattr;
mod filesystems;
mod find;
mod groupadd;
mod help;
mod host_file;
mod host_output;
mod info;
mod inject;
mod inspect;
mod inspect_safety;
mod json;
mod ln;
mod long;
mod ls;
mod man;
mod map;
mod memory;
mod mkdir;
mod mkfs;
mod mknod;
mod mtree;
mod mv;
mod output;
mod owners;
mod part;
mod part_show;
mod password;
mod progress;
mod readlink;
mod recover;
mod relabel;
mod resize;
mod rm;
mod run;
mod seed;
mod service;
mod signal;
mod size;
mod stat;
mod sysprep;
mod table;
mod tar_in;
mod tar_out;
mod target;
mod time;
mod touch;
mod truncate;
mod ui;
mod upload;
mod useradd;
mod write;

use clap::{FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Edits disk images from an ordinary process: no mount, no root, no virtual machine.
#[derive(Debug, Parser)]
#[command(name = "nomount", version, propagate_version = true, max_term_width = help::WIDTH)]
#[command(after_help = exit::HELP)]
struct Cli {
    /// What is shown of long work on standard error: auto is a bar on a terminal, json an object a line
    #[arg(long, global = true, value_name = "auto|json|none", default_value = "auto", value_parser = progress::parse)]
    progress: progress::Show,
    /// Memory for what grows with the image, beyond what a command is asked to read or write: 64M, 1G [default: 256M]
    #[arg(long, global = true, value_name = "SIZE", value_parser = memory::parse)]
    max_memory: Option<u64>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inject(inject::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Stat(stat::Args),
    #[command(mut_arg("format", without_short))]
    Find(find::Args),
    Du(du::Args),
    Checksum(checksum::Args),
    Mtree(mtree::Args),
    Diff(diff::Args),
    Info(info::Args),
    Df(df::Args),
    Filesystems(filesystems::Args),
    Partitions(part::ListArgs),
    Inspect(inspect::Args),
    InspectSafety(inspect_safety::Args),
    Write(write::WriteArgs),
    Append(write::AppendArgs),
    Edit(edit_text::Args),
    Mkdir(mkdir::Args),
    Chmod(chmod::Args),
    Chown(chown::Args),
    Touch(touch::Args),
    Truncate(truncate::Args),
    #[command(mut_arg("format", without_short))]
    Rm(rm::Args),
    Rmdir(rm::DirArgs),
    #[command(mut_arg("dry_run", without_short))]
    Mv(mv::Args),
    #[command(mut_arg("format", without_short), mut_arg("dry_run", without_short))]
    Ln(ln::Args),
    Mknod(mknod::Args),
    #[command(mut_arg("format", without_short))]
    Cp(cp::Args),
    CopyIn(copy_in::Args),
    CopyOut(copy_out::Args),
    TarIn(tar_in::Args),
    TarOut(tar_out::Args),
    Upload(upload::UploadArgs),
    Download(upload::DownloadArgs),
    #[command(mut_arg("format", without_short))]
    Readlink(readlink::Args),
    Relabel(relabel::Args),
    Getfattr(fattr::GetArgs),
    #[command(mut_arg("dry_run", without_short))]
    Setfattr(fattr::SetArgs),
    Useradd(useradd::Args),
    Groupadd(groupadd::Args),
    Service(service::Args),
    Seed(seed::Args),
    Apply(apply::Args),
    Run(run::Args),
    Mkfs(mkfs::Args),
    Part(part::Args),
    Check(check::Args),
    Container(container::Args),
    Customize(customize::Args),
    Sysprep(sysprep::Args),
    Recover(recover::Args),
    Size(size::Args),
    CanResize(size::CanResizeArgs),
    IsPartitionless(size::IsPartitionlessArgs),
    Extend(resize::ExtendArgs),
    Grow(resize::GrowArgs),
    Shrink(resize::ShrinkArgs),
    Completion(completion::Args),
    Man(man::Args),
    Json(json::Args),
}

/// For commands whose -f or -n means what it does in coreutils.
fn without_short(argument: clap::Arg) -> clap::Arg {
    argument.short(clap::builder::Resettable::Reset)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.first().and_then(|program| compat::find(program)) {
        Some(tool) => compat::main(tool, &arguments),
        None => run(&arguments),
    }
}

/// Runs a command line.
fn run(arguments: &[OsString]) -> ExitCode {
    let parsed = help::command().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            ui::usage_error(&error, asks_for_json(arguments));
            return ExitCode::from(exit::USAGE);
        }
        Err(help) => {
            // A closed pipe is the only failure, and nobody is there to hear of it.
            let _ = help.print();
            return ExitCode::from(exit::DONE);
        }
    };
    progress::set(cli.progress);
    memory::set(cli.max_memory);
    let json = cli.command.json();
    finish(json, || match cli.command {
        Command::Inject(args) => inject::run(args),
        Command::Ls(args) => ls::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Find(args) => find::run(&args),
        Command::Du(args) => du::run(&args),
        Command::Checksum(args) => checksum::run(&args),
        Command::Mtree(args) => mtree::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Df(args) => df::run(&args),
        Command::Filesystems(args) => filesystems::run(&args),
        Command::Partitions(args) => part::run_list(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::InspectSafety(args) => inspect_safety::run(&args),
        Command::Write(args) => write::run_write(&args),
        Command::Append(args) => write::run_append(&args),
        Command::Edit(args) => edit_text::run(&args),
        Command::Mkdir(args) => mkdir::run(&args),
        Command::Chmod(args) => chmod::run(&args),
        Command::Chown(args) => chown::run(&args),
        Command::Touch(args) => touch::run(&args),
        Command::Truncate(args) => truncate::run(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Rmdir(args) => rm::run_dir(&args),
        Command::Mv(args) => mv::run(&args),
        Command::Ln(args) => ln::run(&args),
        Command::Mknod(args) => mknod::run(&args),
        Command::CopyIn(args) => copy_in::run(&args),
        Command::CopyOut(args) => copy_out::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::TarIn(args) => tar_in::run(&args),
        Command::TarOut(args) => tar_out::run(&args),
        Command::Upload(args) => upload::run_upload(&args),
        Command::Download(args) => upload::run_download(&args),
        Command::Readlink(args) => readlink::run(&args),
        Command::Relabel(args) => relabel::run(&args),
        Command::Getfattr(args) => fattr::run_get(&args),
        Command::Setfattr(args) => fattr::run_set(&args),
        Command::Useradd(args) => useradd::run(&args),
        Command::Groupadd(args) => groupadd::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Seed(args) => seed::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Mkfs(args) => mkfs::run(&args),
        Command::Part(args) => part::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Container(args) => container::run(&args),
        Command::Customize(args) => customize::run(&args),
        Command::Sysprep(args) => sysprep::run(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Size(args) => size::run(&args),
        Command::CanResize(args) => size::run_can_resize(&args),
        Command::IsPartitionless(args) => size::run_is_partitionless(&args),
        Command::Extend(args) => resize::run_extend(&args),
        Command::Grow(args) => resize::run_grow(&args),
        Command::Shrink(args) => resize::run_shrink(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Json(args) => json::run(&args),
    })
}

/// Does a command's work, and tells of what went wrong.
fn finish(json: bool, work: impl FnOnce() -> nomount::Result<u8>) -> ExitCode {
    signal::handle();
    std::panic::set_hook(Box::new(exit::report_bug));
    let done = work();
    for path in nomount::interrupt::left_behind() {
        ui::warning(&format!("{} could not be removed, and must be removed by hand", path.display()));
    }
    match done {
        Ok(code) => ExitCode::from(code),
        // A reader that has seen enough, as `head`, needs no message.
        Err(error) if ui::is_broken_pipe(&error) => ExitCode::from(exit::FAILED),
        Err(error) => {
            ui::error(&error, json);
            ExitCode::from(exit::code(error.kind()))
        }
    }
}

/// Whether a command line that makes no sense asks for JSON.
fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

impl Command {
    /// Whether errors are to be told as JSON, too.
    fn json(&self) -> bool {
        match self {
            Self::Inject(args) => args.edit.json,
            Self::Ls(args) => args.json,
            Self::Cat(args) => args.json,
            Self::Stat(args) => args.json,
            Self::Find(args) => args.json(),
            Self::Du(args) => args.json,
            Self::Checksum(args) => args.json,
            Self::Mtree(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Info(args) => args.json,
            Self::Df(args) => args.json,
            Self::Filesystems(args) => args.json,
            Self::Partitions(args) => args.json,
            Self::Inspect(args) => args.json,
            Self::InspectSafety(args) => args.json,
            Self::Write(args) => args.json(),
            Self::Append(args) => args.json(),
            Self::Edit(args) => args.edit.json,
            Self::Mkdir(args) => args.edit.json,
            Self::Chmod(args) => args.edit.json,
            Self::Chown(args) => args.edit.json,
            Self::Touch(args) => args.edit.json,
            Self::Truncate(args) => args.edit.json,
            Self::Rm(args) => args.edit.json,
            Self::Rmdir(args) => args.edit.json,
            Self::Mv(args) => args.edit.json,
            Self::Ln(args) => args.edit.json,
            Self::Mknod(args) => args.edit.json,
            Self::CopyIn(args) => args.edit.json,
            Self::CopyOut(args) => args.json,
            Self::Cp(args) => args.edit.json,
            Self::TarIn(args) => args.edit.json,
            Self::TarOut(args) => args.json,
            Self::Upload(args) => args.edit.json,
            Self::Download(args) => args.json,
            Self::Readlink(args) => args.json,
            Self::Relabel(args) => args.edit.json,
            Self::Getfattr(args) => args.json,
            Self::Setfattr(args) => args.edit.json,
            Self::Useradd(args) => args.edit.json,
            Self::Groupadd(args) => args.edit.json,
            Self::Service(args) => args.json(),
            Self::Seed(args) => args.json,
            Self::Apply(args) => args.edit.json,
            Self::Run(args) => args.edit.json,
            Self::Mkfs(args) => args.json,
            Self::Part(args) => args.json(),
            Self::Check(args) => args.json,
            Self::Container(args) => args.json(),
            Self::Customize(args) => args.edit.json,
            Self::Sysprep(args) => args.edit.json,
            Self::Recover(args) => args.json,
            Self::Size(args) => args.json,
            Self::CanResize(args) => args.json,
            Self::IsPartitionless(args) => args.json,
            Self::Extend(args) => args.json(),
            Self::Grow(args) => args.json(),
            Self::Shrink(args) => args.json(),
            Self::Completion(_) | Self::Man(_) | Self::Json(_) => false,
        }
    }
}
