//! The files of the host, by Landlock.

use super::{Access, Use};
use crate::error::{Error, ErrorKind, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, CompatLevel, Compatible, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use std::path::Path;

/// The newest interface of the kernel that this was tried with. An older kernel restricts less.
const TRIED: ABI = ABI::V7;

/// Where the system has programs, what they need to start, and what they ask of it. Those of other places are named
/// by whoever runs them.
const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/proc",
    "/sys",
];
/// Devices that programs take for granted.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What may be done to a path; `is_dir` and `is_regular` tell what is there. Rights of directories are an error on a
/// file.
fn rights(how: Use, is_dir: bool, is_regular: bool) -> BitFlags<AccessFs> {
    let read = if is_dir { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let folder = read | write | AccessFs::MakeReg | AccessFs::RemoveFile;
    match how {
        Use::Read => read,
        Use::Program => read | AccessFs::Execute,
        _ if !is_dir && !is_regular => write | AccessFs::IoctlDev,
        _ if !is_dir => write,
        Use::Write => read,
        Use::Empty => AccessFs::RemoveDir.into(),
        Use::Folder => folder,
        Use::Tree => {
            folder
                | AccessFs::RemoveDir
                | AccessFs::MakeDir
                | AccessFs::MakeSym
                | AccessFs::MakeFifo
                | AccessFs::MakeSock
                | AccessFs::MakeChar
                | AccessFs::MakeBlock
                | AccessFs::Refer
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Io, "cannot lock the process in by Landlock").caused_by(error)
}

/// Holds the calling thread to what `access` names. Answers whether the kernel does so.
pub(super) fn restrict(access: &Access) -> Result<bool> {
    let moves = access.uses.iter().any(|(_, how)| *how == Use::Tree);
    // The first kernels with Landlock refuse every rename and link between directories: there it is left alone, where
    // trees are made.
    let level = if moves { CompatLevel::SoftRequirement } else { CompatLevel::BestEffort };
    let ruleset = Ruleset::default().set_compatibility(level).handle_access(AccessFs::Refer).map_err(failed)?;
    let ruleset = ruleset.set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(AccessFs::from_all(TRIED)).map_err(failed)?;
    let ruleset = match access.preloaded {
        true => Ok(ruleset),
        false => {
            ruleset.handle_access(AccessNet::from_all(TRIED)).and_then(|rules| rules.scope(Scope::from_all(TRIED)))
        }
    };
    let mut ruleset = ruleset.and_then(Ruleset::create).map_err(failed)?;
    for (path, how) in &access.uses {
        allow(&mut ruleset, path, *how)?;
    }
    if access.programs {
        for path in SYSTEM {
            allow(&mut ruleset, Path::new(path), Use::Program)?;
        }
        for path in DEVICES {
            allow(&mut ruleset, Path::new(path), Use::Write)?;
        }
    }
    let status = ruleset.restrict_self().map_err(failed)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Adds a rule. What is missing, or closed to the caller anyway, is left out: who uses it says so.
fn allow(ruleset: &mut RulesetCreated, path: &Path, how: Use) -> Result<()> {
    let Ok(place) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return Ok(()) };
    let Ok(stat) = rustix::fs::fstat(&place) else { return Ok(()) };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let rights = rights(how, kind == FileType::Directory, kind == FileType::RegularFile);
    match ruleset.add_rule(PathBeneath::new(place, rights)) {
        Ok(_) => Ok(()),
        Err(error) if is_nowhere(&error) => Ok(()),
        Err(error) => Err(failed(error).in_image(path)),
    }
}

/// Whether the file is on no filesystem that has paths, as a pipe is: Landlock has no rules for these.
fn is_nowhere(error: &RulesetError) -> bool {
    match error {
        RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })) => {
            source.raw_os_error() == Some(rustix::io::Errno::BADFD.raw_os_error())
        }
        _ => false,
    }
}
