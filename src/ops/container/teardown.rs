//! Ending a container's directory: with its changes brought back, or without.

use super::apply::{Applied, apply};
use super::manifest::{self, Header, Manifest};
use super::place::Place;
use super::plan::{Plan, plan};
use crate::disk::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, ImageOptions};
use crate::ops::host_dir::HostDir;
use crate::session::{Commit, Session, SessionOptions};
use crate::tree::GuestPath;
use std::path::{Path, PathBuf};

/// How to end a container.
#[derive(Debug, Clone, Default)]
pub struct TeardownRequest {
    /// Bring back what has changed; else it is dropped.
    pub commit: bool,
    /// Also into an image that was changed since the container was made.
    pub force: bool,
    /// Where the image is now, if it was moved.
    pub image: Option<PathBuf>,
    /// How to open it; its format and the volume are known.
    pub session: SessionOptions,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Teardown {
    /// Whether there was anything.
    pub found: bool,
    /// The image.
    pub image: Option<PathBuf>,
    /// What was brought back.
    pub applied: Option<Applied>,
    /// What that wrote; none when nothing had changed.
    pub commit: Option<Commit>,
    /// How many names had changed that were not brought back.
    pub discarded: Option<u64>,
    /// Names that were removed from the host.
    pub removed: u64,
    /// What is to be noticed.
    pub notes: Vec<String>,
}

/// Ends the container in `dir`. Where there is none, or no more, nothing is done, and that is no error.
///
/// The changes are one commit: the image has all of them or is as it was. When that fails, directory and manifest
/// stay. When only removing them fails, what is left is in the notes.
pub fn teardown(dir: &Path, request: &TeardownRequest) -> Result<Teardown> {
    let place = Place::of(dir)?;
    let mut done = Teardown::default();
    match (place.dir_exists(), place.manifest.exists()) {
        (false, false) => return Ok(done),
        (true, false) => return Err(no_manifest(&place)),
        (false, true) => done.notes.push("the directory is gone already: nothing is brought back".to_owned()),
        (true, true) => end(&place, request, &mut done)?,
    }
    done.found = true;
    remove(&place, &mut done);
    Ok(done)
}

/// The image that the container in `dir` was made of, as its manifest names it.
pub fn image_of(dir: &Path) -> Result<PathBuf> {
    Ok(manifest::read_header(&Place::of(dir)?.manifest)?.image())
}

/// Forgets the container in `dir`: directory and manifest go, and the image is not looked at. What cannot be removed
/// is in the notes; a directory without a manifest is left alone.
pub fn clean(dir: &Path) -> Result<Teardown> {
    let place = Place::of(dir)?;
    let mut done = Teardown::default();
    if !place.manifest.exists() {
        if place.dir_exists() {
            done.notes.push(no_manifest(&place).to_string());
        }
        return Ok(done);
    }
    done.found = true;
    // One that cannot be read says nothing against it.
    let manifest = manifest::read(&place.manifest).ok();
    let other =
        manifest.zip(HostDir::open(&place.dir).ok()).and_then(|(manifest, top)| same_top(&manifest, &top).err());
    match other {
        Some(error) => {
            done.notes.push(error.to_string());
            done.notes.extend(place.remove_manifest().err().map(|error| error.to_string()));
        }
        None => remove(&place, &mut done),
    }
    Ok(done)
}

fn no_manifest(place: &Place) -> Error {
    let message =
        format!("{} is no container of nomount: {} is missing", place.dir.display(), place.manifest.display());
    Error::new(ErrorKind::Refused, message)
}

/// Refuses a directory that took the place of the one that was set up.
fn same_top(manifest: &Manifest, top: &HostDir) -> Result<()> {
    let known = manifest.names.get(&GuestPath::root()).and_then(|known| known.host.as_ref());
    let now = top.own_facts().ok();
    match known.zip(now) {
        Some((known, now)) if known.same_file(&now) => Ok(()),
        _ => Err(Error::new(ErrorKind::Refused, "the directory is not the one that was set up")
            .hint("remove the manifest beside it yourself if it is to be kept")),
    }
}

/// Everything before the directory goes.
fn end(place: &Place, request: &TeardownRequest, done: &mut Teardown) -> Result<()> {
    let named = |error: Error| error.in_image(&place.dir);
    let manifest = match manifest::read(&place.manifest) {
        // What a setup that was killed has left can only go.
        Err(error) if error.kind() == ErrorKind::Corrupt && !request.commit => {
            done.notes.push(error.to_string());
            return Ok(());
        }
        read => read?,
    };
    let top = HostDir::open(&place.dir)?;
    same_top(&manifest, &top).map_err(named)?;
    let plan = plan(&top, &manifest).map_err(named)?;
    if plan.sockets > 0 {
        done.notes.push(format!("{} sockets are left out", plan.sockets));
    }
    done.image = Some(request.image.clone().unwrap_or_else(|| manifest.header.image()));
    if request.commit {
        commit(&top, &manifest, &plan, request, done)
    } else {
        done.discarded = Some(plan.count(&manifest));
        Ok(())
    }
}

fn commit(
    top: &HostDir,
    manifest: &Manifest,
    plan: &Plan,
    request: &TeardownRequest,
    done: &mut Teardown,
) -> Result<()> {
    let image = request.image.clone().unwrap_or_else(|| manifest.header.image());
    let read = session_options(&manifest.header, &request.session, false)?;
    if !request.force {
        let session = Session::open(&image, read)?;
        let now = session.identity()?;
        if now != manifest.header.identity {
            let message = "the image was changed since the container was made of it";
            return Err(Error::new(ErrorKind::Refused, message).in_image(image).hint(
                "--force brings the changes of the container into it anyway; without --commit they are dropped",
            ));
        }
    }
    if plan.differences.is_empty() && plan.removed.is_empty() {
        done.applied = Some(Applied::default());
        return Ok(());
    }
    let mut session = Session::open(&image, session_options(&manifest.header, &request.session, true)?)?;
    let volume = session.volume().to_string();
    done.notes.extend(session.notes().iter().cloned());
    let applied = apply(session.tree(), top, manifest, plan);
    done.applied = Some(applied.map_err(|error| error.in_volume(volume).in_image(&image))?);
    let commit = session.commit()?;
    done.commit = Some(commit).filter(|commit| !commit.blocks.is_empty());
    Ok(())
}

/// The caller's options, with what is known of the image.
fn session_options(header: &Header, options: &SessionOptions, write: bool) -> Result<SessionOptions> {
    let format = Format::parse(&header.format).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, format!("the manifest names the unknown format {:?}", header.format))
    })?;
    Ok(SessionOptions {
        image: ImageOptions { format: Some(format), write, ..options.image.clone() },
        partition: header.partition.map_or(Choice::Whole, Choice::Number),
        ..options.clone()
    })
}

fn remove(place: &Place, done: &mut Teardown) {
    let removed = place.remove_dir().and_then(|removed| {
        done.removed = removed;
        place.remove_manifest()
    });
    if let Err(error) = removed {
        let source = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        done.notes.push(format!("what is left must be removed by hand: {error}{source}"));
    }
}
