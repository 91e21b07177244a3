//! `nomount cat`.

use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::tree::{FileKind, Follow, resolve};
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::Write;

/// Read at a time.
const BUFFER: usize = 1 << 20;

/// Print files of a guest
///
/// Example: nomount cat disk.qcow2:/etc/os-release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; symbolic links are followed inside it
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    let mut session = args.open.open(&target)?;
    session.notes().iter().for_each(|text| ui::note(text));
    let volume = session.volume().to_string();
    let tree = session.tree();
    let mut out = std::io::stdout().lock();
    let mut buf = vec![0; BUFFER];
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    for path in &paths {
        let found = resolve(tree, path, Follow::Last).map_err(named)?;
        match found.stat.map(|stat| stat.kind) {
            Some(FileKind::File) => {}
            None => {
                return Err(named(
                    Error::new(ErrorKind::NotFound, "no such file or directory").at_path(path.to_bytes()),
                ));
            }
            Some(FileKind::Dir) => {
                return Err(named(Error::new(ErrorKind::IsADirectory, "is a directory").at_path(path.to_bytes())));
            }
            Some(kind) => {
                let message = format!("is a {}, not a regular file", kind.noun());
                return Err(named(Error::new(ErrorKind::Invalid, message).at_path(path.to_bytes())));
            }
        }
        let mut offset = 0;
        loop {
            let got = tree.read_at(&found.path, offset, &mut buf).map_err(named)?;
            if got == 0 {
                break;
            }
            out.write_all(&buf[..got]).map_err(ui::output_failed)?;
            offset += got as u64;
        }
    }
    out.flush().map_err(ui::output_failed)?;
    Ok(exit::DONE)
}
