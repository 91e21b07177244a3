//! The `nomount` command: parses, runs one subcommand, exits.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
