//! Locking the process in before a verb begins: each says from its options what it will do to the host.

use super::{signal, status, ui};
use nomount::sandbox::{self, Access};
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What a verb does to files of the host besides standard input and output, told before it reads anything of an image.
/// What it does not tell it cannot do.
pub trait HostAccess {
    /// All of it.
    fn access(&self) -> Access;
}

impl<T: HostAccess> HostAccess for &T {
    fn access(&self) -> Access {
        (*self).access()
    }
}

/// Whether and how strictly to lock in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct SandboxArgs {
    /// Do not lock the process in: for debugging, and where the host cannot do without
    #[arg(long, global = true)]
    no_sandbox: bool,
    /// Fail where the host has no Landlock or no seccomp to lock the process in with
    #[arg(long, global = true, conflicts_with = "no_sandbox")]
    require_sandbox: bool,
}

/// Set for other names of the program, which have options of their own: not empty, it is `--no-sandbox`.
const VARIABLE: &str = "NOMOUNT_NO_SANDBOX";

/// Names libraries that the linker brings into every process, fakeroot's for one.
const PRELOAD: &str = "LD_PRELOAD";

static ARGS: OnceLock<SandboxArgs> = OnceLock::new();

/// Chooses for this process.
pub fn set(args: SandboxArgs) {
    // It is chosen once: another name of the program comes here with a line that has neither option.
    let _ = ARGS.set(args);
}

/// Locks the process in, then does the work.
pub fn locked<A: HostAccess>(args: A, work: impl FnOnce(A) -> Result<u8>) -> Result<u8> {
    enter(&args.access())?;
    work(args)
}

/// Locks the process in. From here on signals are handled, too: whoever does that is a thread.
pub fn enter(access: &Access) -> Result<()> {
    status::remember();
    let signals = signal::prepare();
    let args = ARGS.get().copied().unwrap_or_default();
    let is_off = args.no_sandbox || std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
    if args.require_sandbox || !is_off {
        let hint = "--no-sandbox goes on without";
        let is_preloaded = std::env::var_os(PRELOAD).is_some_and(|value| !value.is_empty());
        let access = if is_preloaded { access.clone().preloaded() } else { access.clone() };
        let locked = sandbox::enter(&access).map_err(|error| error.hint(hint))?;
        if args.require_sandbox && !locked.fully() {
            let lacks = |has: bool, name: &'static str| (!has).then_some(name);
            let lacking = [lacks(locked.files, "Landlock"), lacks(locked.calls, "seccomp")];
            let lacking: Vec<&str> = lacking.into_iter().flatten().collect();
            let message = format!("this host has no {} to lock the process in with", lacking.join(" and no "));
            return Err(Error::new(ErrorKind::Unsupported, message).hint("leave out --require-sandbox to go on"));
        }
    }
    signal::handle(signals);
    Ok(())
}

/// Reads of a file of the host that may be named, `-` being standard input.
pub fn read_file(file: Option<impl AsRef<OsStr>>) -> Access {
    match file {
        Some(file) if file.as_ref() != "-" => Access::none().read(Path::new(file.as_ref())),
        _ => Access::none(),
    }
}

/// Writes a file that gets its name when it is complete, `-` being standard output: the folder, or what is there if it
/// is no file.
pub fn new_file(file: Option<impl AsRef<OsStr>>) -> Access {
    let Some(file) = file.filter(|file| file.as_ref() != "-") else { return Access::none() };
    let path = Path::new(file.as_ref());
    let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    match path.metadata() {
        Ok(meta) if !meta.is_file() => Access::none().write(path).devices(),
        _ => Access::none().folder(nomount::image::folder_of(&path)),
    }
}

/// The folders of PATH in which programs are looked for.
pub fn search_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

/// What `nomount --version` says of it, besides the version.
pub fn long_version() -> String {
    let state = match sandbox::enter(&Access::none()) {
        Ok(locked) => {
            let word = |has: bool| if has { "yes" } else { "no" };
            format!("Landlock {}, seccomp {}", word(locked.files), word(locked.calls))
        }
        Err(error) => ui::safe(error.chain().as_bytes()),
    };
    format!("{}\nsandbox: {state}", env!("CARGO_PKG_VERSION"))
}
