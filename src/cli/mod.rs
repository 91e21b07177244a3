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
mod sandbox;
mod seed;
mod service;
mod signal;
mod size;
mod stat;
mod status;
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
mod waiting_editor;
mod write;

use clap::{FromArgMatches, Parser, Subcommand};
use sandbox::locked;
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
    #[command(flatten)]
    sandbox: sandbox::SandboxArgs,
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
    let mut command = help::command();
    if arguments.iter().any(|argument| argument == "--version") {
        command = command.long_version(sandbox::long_version());
    }
    let parsed = command.try_get_matches_from(arguments);
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
    sandbox::set(cli.sandbox);
    memory::set(cli.max_memory);
    let json = cli.command.json();
    finish(json, || match cli.command {
        Command::Inject(args) => locked(args, inject::run),
        Command::Ls(args) => locked(&args, ls::run),
        Command::Cat(args) => locked(&args, cat::run),
        Command::Stat(args) => locked(&args, stat::run),
        Command::Find(args) => locked(&args, find::run),
        Command::Du(args) => locked(&args, du::run),
        Command::Checksum(args) => locked(&args, checksum::run),
        Command::Mtree(args) => locked(&args, mtree::run),
        Command::Diff(args) => locked(&args, diff::run),
        Command::Info(args) => locked(&args, info::run),
        Command::Df(args) => locked(&args, df::run),
        Command::Filesystems(args) => locked(&args, filesystems::run),
        Command::Partitions(args) => locked(&args, part::run_list),
        Command::Inspect(args) => locked(&args, inspect::run),
        Command::InspectSafety(args) => locked(&args, inspect_safety::run),
        Command::Write(args) => locked(&args, write::run_write),
        Command::Append(args) => locked(&args, write::run_append),
        Command::Edit(args) => locked(edit_text::load(&args)?, edit_text::run),
        Command::Mkdir(args) => locked(&args, mkdir::run),
        Command::Chmod(args) => locked(&args, chmod::run),
        Command::Chown(args) => locked(&args, chown::run),
        Command::Touch(args) => locked(&args, touch::run),
        Command::Truncate(args) => locked(&args, truncate::run),
        Command::Rm(args) => locked(&args, rm::run),
        Command::Rmdir(args) => locked(&args, rm::run_dir),
        Command::Mv(args) => locked(&args, mv::run),
        Command::Ln(args) => locked(&args, ln::run),
        Command::Mknod(args) => locked(&args, mknod::run),
        Command::CopyIn(args) => locked(&args, copy_in::run),
        Command::CopyOut(args) => locked(&args, copy_out::run),
        Command::Cp(args) => locked(&args, cp::run),
        Command::TarIn(args) => locked(&args, tar_in::run),
        Command::TarOut(args) => locked(&args, tar_out::run),
        Command::Upload(args) => locked(&args, upload::run_upload),
        Command::Download(args) => locked(&args, upload::run_download),
        Command::Readlink(args) => locked(&args, readlink::run),
        Command::Relabel(args) => locked(&args, relabel::run),
        Command::Getfattr(args) => locked(&args, fattr::run_get),
        Command::Setfattr(args) => locked(&args, fattr::run_set),
        Command::Useradd(args) => locked(&args, useradd::run),
        Command::Groupadd(args) => locked(&args, groupadd::run),
        Command::Service(args) => locked(&args, service::run),
        Command::Seed(args) => locked(&args, seed::run),
        Command::Apply(args) => locked(apply::load(&args)?, apply::run),
        Command::Run(args) => locked(run::load(&args)?, run::run),
        Command::Mkfs(args) => locked(&args, mkfs::run),
        Command::Part(args) => locked(&args, part::run),
        Command::Check(args) => locked(&args, check::run),
        Command::Container(args) => locked(&args, container::run),
        Command::Customize(args) => locked(customize::load(&args)?, customize::run),
        Command::Sysprep(args) => locked(sysprep::load(&args)?, sysprep::run),
        Command::Recover(args) => locked(&args, recover::run),
        Command::Size(args) => locked(&args, size::run),
        Command::CanResize(args) => locked(&args, size::run_can_resize),
        Command::IsPartitionless(args) => locked(&args, size::run_is_partitionless),
        Command::Extend(args) => locked(&args, resize::run_extend),
        Command::Grow(args) => locked(&args, resize::run_grow),
        Command::Shrink(args) => locked(&args, resize::run_shrink),
        Command::Completion(args) => locked(&args, completion::run),
        Command::Man(args) => locked(&args, man::run),
        Command::Json(args) => locked(&args, json::run),
    })
}

/// Does a command's work, which begins by [locking the process in](locked), and tells of what went wrong.
fn finish(json: bool, work: impl FnOnce() -> nomount::Result<u8>) -> ExitCode {
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
