//! The command line: one file per subcommand. Only here is anything printed, and only here are the environment, the
//! clock and randomness asked.

mod bytes;
mod cat;
mod check;
mod chmod;
mod chown;
mod container;
mod edit;
mod exit;
mod fattr;
mod host_file;
mod info;
mod inject;
mod ln;
mod ls;
mod mkdir;
mod mkfs;
mod mknod;
mod mv;
mod output;
mod owners;
mod part;
mod part_show;
mod password;
mod readlink;
mod recover;
mod relabel;
mod resize;
mod rm;
mod size;
mod stat;
mod target;
mod time;
mod touch;
mod truncate;
mod ui;
mod write;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Edits disk images from an ordinary process: no mount, no root, no virtual machine.
#[derive(Debug, Parser)]
#[command(name = "nomount", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inject(inject::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Stat(stat::Args),
    Info(info::Args),
    Write(write::WriteArgs),
    Append(write::AppendArgs),
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
    Readlink(readlink::Args),
    Relabel(relabel::Args),
    Getfattr(fattr::GetArgs),
    #[command(mut_arg("dry_run", without_short))]
    Setfattr(fattr::SetArgs),
    Mkfs(mkfs::Args),
    Part(part::Args),
    Check(check::Args),
    Container(container::Args),
    Recover(recover::Args),
    Size(size::Args),
    CanResize(size::CanResizeArgs),
    IsPartitionless(size::IsPartitionlessArgs),
    Extend(resize::ExtendArgs),
    Grow(resize::GrowArgs),
    Shrink(resize::ShrinkArgs),
}

/// For commands whose -f or -n means what it does in coreutils.
fn without_short(argument: clap::Arg) -> clap::Arg {
    argument.short(clap::builder::Resettable::Reset)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is the only failure, and nobody is there to hear of it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    std::panic::set_hook(Box::new(exit::report_bug));
    let json = cli.command.json();
    let run = std::panic::catch_unwind(|| match cli.command {
        Command::Inject(args) => inject::run(args),
        Command::Ls(args) => ls::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Write(args) => write::run_write(&args),
        Command::Append(args) => write::run_append(&args),
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
        Command::Readlink(args) => readlink::run(&args),
        Command::Relabel(args) => relabel::run(&args),
        Command::Getfattr(args) => fattr::run_get(&args),
        Command::Setfattr(args) => fattr::run_set(&args),
        Command::Mkfs(args) => mkfs::run(&args),
        Command::Part(args) => part::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Container(args) => container::run(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Size(args) => size::run(&args),
        Command::CanResize(args) => size::run_can_resize(&args),
        Command::IsPartitionless(args) => size::run_is_partitionless(&args),
        Command::Extend(args) => resize::run_extend(&args),
        Command::Grow(args) => resize::run_grow(&args),
        Command::Shrink(args) => resize::run_shrink(&args),
    });
    match run {
        Ok(Ok(code)) => ExitCode::from(code),
        // A reader that has seen enough, as `head`, needs no message.
        Ok(Err(error)) if ui::is_broken_pipe(&error) => ExitCode::from(exit::FAILED),
        Ok(Err(error)) => {
            ui::error(&error, json);
            ExitCode::from(exit::code(error.kind()))
        }
        Err(_) => ExitCode::from(exit::BUG),
    }
}

impl Command {
    /// Whether errors are to be told as JSON, too.
    fn json(&self) -> bool {
        match self {
            Self::Inject(args) => args.edit.json,
            Self::Ls(args) => args.json,
            Self::Cat(args) => args.json,
            Self::Stat(args) => args.json,
            Self::Info(args) => args.json,
            Self::Write(args) => args.json(),
            Self::Append(args) => args.json(),
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
            Self::Readlink(args) => args.json,
            Self::Relabel(args) => args.edit.json,
            Self::Getfattr(args) => args.json,
            Self::Setfattr(args) => args.edit.json,
            Self::Mkfs(args) => args.json,
            Self::Part(args) => args.json(),
            Self::Check(args) => args.json,
            Self::Container(args) => args.json(),
            Self::Recover(args) => args.json,
            Self::Size(args) => args.json,
            Self::CanResize(args) => args.json,
            Self::IsPartitionless(args) => args.json,
            Self::Extend(args) => args.json(),
            Self::Grow(args) => args.json(),
            Self::Shrink(args) => args.json(),
        }
    }
}
