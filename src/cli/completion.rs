//! `nomount completion`.

use super::sandbox::HostAccess;
use super::{exit, help, ui};
use clap_complete::Shell;
use nomount::Result;
use nomount::sandbox::Access;

/// Print the completion script for a shell
///
/// bash: put it into ~/.local/share/bash-completion/completions/nomount. zsh: into a file _nomount in a folder of
/// $fpath. fish: into ~/.config/fish/completions/nomount.fish.
///
/// Example: source <(nomount completion bash)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell: bash, zsh or fish
    #[arg(value_name = "bash|zsh|fish", value_parser = parse_shell)]
    shell: Shell,
}

fn parse_shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("bash, zsh or fish is needed".to_owned()),
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        Access::none()
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::definition(), "nomount", &mut script);
    ui::bytes(&script).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}
