//! Making a container's directory.

use super::manifest::{Header, Writer};
use super::place::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt;
use crate::ops::extract::{Extracted, How, extract};
use crate::ops::host_dir::{HostDir, error_of, host_error, remove_contents};
use crate::ops::id_map::IdMap;
use crate::session::{Session, SessionOptions};
use crate::tree::GuestPath;
use rustix::fs::Mode;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What to make of an image.
#[derive(Debug, Clone, Default)]
pub struct SetupRequest {
    /// How to open the image, and which volume.
    pub session: SessionOptions,
    /// Owners of the container, and those of the host that they become where the caller may give files away.
    pub uid_map: IdMap,
    /// The same for groups.
    pub gid_map: IdMap,
    /// Give programs their set-user-ID and set-group-ID bits on the host.
    pub set_id: bool,
    /// Make device nodes where the caller may.
    pub devices: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The volume.
    pub volume: String,
    /// The directory.
    pub dir: PathBuf,
    /// The manifest.
    pub manifest: PathBuf,
    /// What is in the directory.
    pub extracted: Extracted,
    /// What was noticed of the image.
    pub notes: Vec<String>,
}

/// Makes the volume of `image` a directory `dir`, which must be missing or empty, and a manifest beside it.
///
/// The directory can be entered by its owner alone until it is complete. When something fails, what was made goes
/// again; what cannot be removed is said in the same error.
pub fn setup(image: &Path, dir: &Path, request: &SetupRequest) -> Result<Setup> {
    let place = Place::of(dir)?;
    // The directory has a device number of its own, and so one filesystem.
    let options = SessionOptions { root_only: true, ..request.session.clone() };
    let mut session = Session::open(image, options)?;
    let (made, _pending) = {
        let _step = interrupt::step();
        let made = Directory::make(&place)?;
        let (again, dir) = (made.clone(), place.clone());
        (made, interrupt::Pending::new(move || drop(again.undo(&dir, Error::new(ErrorKind::Io, "interrupted")))))
    };
    let result = fill(&mut session, &place, &made, request, image);
    if result.is_ok() {
        return result;
    }
    result.map_err(|error| made.undo(&place, error))
}

fn fill(session: &mut Session, place: &Place, made: &Directory, request: &SetupRequest, image: &Path) -> Result<Setup> {
    let volume = session.volume().to_string();
    let full = fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
    let maps = (request.uid_map.clone(), request.gid_map.clone());
    let mut header = Header::new(&full, session.format().name(), volume.clone(), session.identity()?, maps);
    header.partition = session.volume().number();
    let how = How {
        uids: request.uid_map.clone(),
        gids: request.gid_map.clone(),
        set_id: request.set_id,
        devices: request.devices,
        room: session.volume().len,
    };
    let top = made.top()?;
    let mut writer = {
        let _step = interrupt::step();
        let writer = Writer::create(&place.manifest, &header)?;
        made.manifest.store(true, Ordering::SeqCst);
        writer
    };
    let notes = session.notes().to_vec();
    let extracted = extract(session.tree(), &top, &how, &mut |name| writer.record(&name));
    let extracted = extracted.map_err(|error| error.in_volume(&volume).in_image(image))?;
    writer.finish()?;
    Ok(Setup { volume, dir: place.dir.clone(), manifest: place.manifest.clone(), extracted, notes })
}

/// A directory that is being filled.
#[derive(Clone)]
struct Directory {
    path: PathBuf,
    /// The mode that it had before, where it was there.
    before: Option<u32>,
    /// Whether the manifest is ours to remove.
    manifest: Arc<AtomicBool>,
}

impl Directory {
    fn make(place: &Place) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("cannot make the directory {}", place.dir.display())).caused_by(error)
        };
        let manifest = Arc::new(AtomicBool::new(false));
        match fs::DirBuilder::new().mode(0o700).create(&place.dir) {
            Ok(()) => return Ok(Self { path: place.dir.clone(), before: None, manifest }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let top = HostDir::open(&place.dir)?;
        let facts = top.own_facts().map_err(|e| failed(error_of(e)))?;
        let made = Self { path: place.dir.clone(), before: Some(facts.mode), manifest };
        made.must_be_empty(&top)?;
        rustix::fs::fchmod(&top, Mode::RWXU).map_err(|e| failed(error_of(e)))?;
        // Again, now that nobody else can put anything into it.
        made.must_be_empty(&top).inspect_err(|_| made.restore())?;
        Ok(made)
    }

    fn must_be_empty(&self, top: &HostDir) -> Result<()> {
        match top.names() {
            Ok(names) if names.is_empty() => Ok(()),
            Ok(_) => {
                Err(Error::new(ErrorKind::NotEmpty, format!("the directory {} is not empty", self.path.display())))
            }
            Err(e) => Err(host_error("read the directory", &GuestPath::root(), e).in_image(&self.path)),
        }
    }

    fn top(&self) -> Result<HostDir> {
        HostDir::open(&self.path)
    }

    fn restore(&self) {
        if let Some(mode) = self.before {
            // It worked the other way just now; if it does not, the directory is closed, which harms nobody.
            let _ = self.top().map(|top| rustix::fs::fchmod(&top, Mode::from_raw_mode(mode)));
        }
    }

    /// Takes back what was made after `error`, and joins what goes wrong with that.
    fn undo(&self, place: &Place, error: Error) -> Error {
        let mut also = Vec::new();
        if self.manifest.load(Ordering::SeqCst) {
            also.extend(place.remove_manifest().err());
        }
        if self.before.is_none() {
            also.extend(place.remove_dir().err());
        } else {
            also.extend(self.top().and_then(|top| remove_contents(&top)).err());
            self.restore();
        }
        also.iter().fold(error, Error::and)
    }
}
