//! Contents that come from the host.

use nomount::{Error, ErrorKind, Result};
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes: it is held in memory.
const MAX_FILE: u64 = 1 << 30;

/// All of a file of the host, at most 1 GiB.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Error::new(kind, format!("cannot read {}", path.display())).caused_by(error)
    };
    all(std::fs::File::open(path).map_err(failed)?, &path.display().to_string())?.map_err(failed)
}

/// All of standard input, at most 1 GiB; `what` it is, for messages.
pub fn standard_input(what: &str) -> Result<Vec<u8>> {
    let failed = |error| Error::new(ErrorKind::Io, format!("cannot read {what} from standard input")).caused_by(error);
    all(std::io::stdin(), "standard input")?.map_err(failed)
}

fn all(source: impl Read, name: &str) -> Result<std::io::Result<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Err(error) = source.take(MAX_FILE + 1).read_to_end(&mut bytes) {
        return Ok(Err(error));
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::new(ErrorKind::Limit, format!("{name} is larger than 1 GiB")));
    }
    Ok(Ok(bytes))
}
