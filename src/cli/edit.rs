//! What commands that change the files of an image share: their options, and opening, committing and telling of it.

use super::output::Output;
use super::target::{DeviceArgs, ImageArgs, Target, now};
use super::{exit, password, ui};
use nomount::image::{ImageOptions, folder_of};
use nomount::ops::Editor;
use nomount::ops::edit::{Edited, edit_labelled};
use nomount::ops::selinux::Labelling;
use nomount::sandbox::Access;
use nomount::session::{Commit, Verify};
use nomount::{Error, Result, Session, SessionOptions};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Changes that are listed as text; JSON and dry runs have all.
const SHOWN: usize = 20;

/// Options of every command that changes files.
#[derive(Debug, clap::Args)]
pub struct EditArgs {
    #[command(flatten)]
    pub open: ImageArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write a new image and leave this one alone
    #[arg(long, short = 'o', value_name = "NEW")]
    pub output: Option<PathBuf>,
    /// Show what would change and write nothing
    #[arg(long, short = 'n', conflicts_with = "output")]
    pub dry_run: bool,
    /// Exit with 1 when anything would change, with --dry-run
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Whether an independent reader checks the result before it is committed
    #[arg(long, value_name = "auto|always|never", default_value = "auto", value_parser = parse_verify)]
    verify: Verify,
    /// Do not wait for the disk: faster, for images that are thrown away when the machine stops
    #[arg(long)]
    no_sync: bool,
    /// Whether new files get SELinux contexts: auto looks them up in the guest's own policy
    #[arg(long, value_name = "auto|none", default_value = "auto", value_parser = parse_labelling)]
    pub selinux: Labelling,
    /// Number to derive new inode generations from; with SOURCE_DATE_EPOCH the same edit gives the same bytes
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print no result: for the names of tools that print none
    #[arg(long, hide = true)]
    quiet: bool,
}

/// Reads the value of --verify.
pub fn parse_verify(text: &str) -> Result<Verify, String> {
    match text {
        "auto" => Ok(Verify::Auto),
        "always" => Ok(Verify::Always),
        "never" => Ok(Verify::Never),
        _ => Err("auto, always or never is needed".to_owned()),
    }
}

fn parse_labelling(text: &str) -> Result<Labelling, String> {
    match text {
        "auto" => Ok(Labelling::Auto),
        "none" => Ok(Labelling::None),
        _ => Err("auto or none is needed".to_owned()),
    }
}

impl EditArgs {
    /// The image that will hold the changes.
    pub fn result<'a>(&'a self, target: &'a Target) -> &'a Path {
        self.output.as_deref().unwrap_or(&target.image)
    }

    /// What changing this image takes of the host, `named` with or without a partition and a path in it.
    pub fn access(&self, named: &OsString) -> Access {
        self.access_to(&Target::parse(named.clone()))
    }

    /// The same for a target.
    pub fn access_to(&self, target: &Target) -> Access {
        match &self.output {
            Some(new) => self.open.reading_target(target).folder(folder_of(new)),
            None if self.dry_run => self.open.reading_target(target),
            None => self.open.changing_target(target),
        }
    }

    /// The exit code of a run that did all it should, by whether it changed anything.
    pub fn exit_code(&self, changed: bool) -> u8 {
        if self.exit_code && changed { exit::FAILED } else { exit::DONE }
    }

    /// Makes the copy that --output asks for.
    pub fn prepare(&self, target: &Target) -> Result<Prepared> {
        let how = self.device.on(self.open.image_options());
        let partition = self.open.choice(target)?;
        let output =
            self.output.as_deref().map(|new| Output::prepare(&target.image, new, how.format, how.lock)).transpose()?;
        let options = SessionOptions {
            image: ImageOptions { write: true, sync: !self.no_sync, ..how },
            partition,
            now: now()?,
            seed: match self.seed {
                Some(seed) => seed,
                None => u32::from_le_bytes(password::random_bytes()?),
            },
            verify: self.verify,
            dry_run: self.dry_run,
            root_only: false,
            mmp_wait: Some(std::thread::sleep),
        };
        let working = output.as_ref().map_or(target.image.clone(), |output| output.path().to_owned());
        Ok(Prepared { image: target.image.clone(), working, output, options })
    }
}

/// An image about to be changed: the one that was named, or a copy that gets its name at the end.
pub struct Prepared {
    image: PathBuf,
    working: PathBuf,
    output: Option<Output>,
    options: SessionOptions,
}

impl Prepared {
    /// Opens it, and tells what was noticed.
    pub fn open(&self) -> Result<Session> {
        let session = Session::open(&self.working, self.options.clone()).map_err(|error| self.named(error))?;
        session.notes().iter().for_each(|text| ui::note(text));
        Ok(session)
    }

    /// An error of this image, under the name that the caller knows.
    pub fn named(&self, error: Error) -> Error {
        error.in_image(&self.working).rename_image(&self.working, &self.image)
    }

    /// Commits the changes and puts the copy, if there is one, in place.
    pub fn commit(self, session: Session) -> Result<Commit> {
        let commit = session.commit().map_err(|error| self.named(error));
        match (commit, self.output) {
            (Ok(commit), Some(output)) => output.keep(self.options.image.sync).map(|()| commit),
            (Err(error), Some(output)) => Err(output.drop_after(error)),
            (commit, None) => commit,
        }
    }
}

/// What was opened, in words.
pub struct Place {
    pub volume: String,
    format: &'static str,
}

impl Place {
    pub fn of(session: &Session) -> Self {
        Self { volume: session.volume().to_string(), format: session.format().name() }
    }

    /// The first line of the result.
    pub fn line(&self, image: &Path) -> String {
        format!("{} ({}), {}", image.display(), self.format, self.volume)
    }
}

/// What an operation has to tell besides its changes.
#[derive(Debug, Default)]
pub struct More {
    /// To be noticed.
    pub notes: Vec<String>,
    /// A line of the text.
    pub line: Option<String>,
    /// Members of the JSON document.
    pub members: Vec<(&'static str, Value)>,
    /// Whether the text lists all changes, however many.
    pub list_all: bool,
    /// Whether standard output is for something else than the text, which then goes to standard error.
    pub on_stderr: bool,
}

impl From<Vec<String>> for More {
    fn from(notes: Vec<String>) -> Self {
        Self { notes, ..Self::default() }
    }
}

/// Opens the image, does `work`, commits, and prints what came of it.
pub fn run(args: &EditArgs, target: &Target, work: impl FnOnce(&mut Editor<'_>) -> Result<()>) -> Result<u8> {
    run_telling(args, target, |editor| work(editor).map(|()| More::default()))
}

/// The same for work that has more to tell.
pub fn run_telling(args: &EditArgs, target: &Target, work: impl FnOnce(&mut Editor<'_>) -> Result<More>) -> Result<u8> {
    let prepared = args.prepare(target)?;
    let mut session = prepared.open()?;
    let place = Place::of(&session);
    let mut more = More::default();
    let work = |editor: &mut Editor<'_>| work(editor).map(|told| more = told);
    let mut edited = edit_labelled(session.tree(), args.selinux, work)
        .map_err(|error| prepared.named(error).in_volume(&place.volume))?;
    edited.notes.append(&mut more.notes);
    let commit = prepared.commit(session)?;
    let image = args.result(target);
    if args.json {
        let mut document = document(image, Some(&place), args.dry_run, Some(&commit));
        more.members.into_iter().for_each(|(name, value)| document[name] = value);
        for (name, value) in
            [("changes", json!(edited.changes)), ("warnings", json!(edited.warnings)), ("notes", json!(edited.notes))]
        {
            document[name] = value;
        }
        ui::json(document).map_err(ui::output_failed)?;
    } else {
        edited.warnings.iter().for_each(|text| ui::warning(text));
        edited.notes.iter().for_each(|text| ui::note(text));
        let on_stderr = more.on_stderr;
        if args.quiet {
            return Ok(args.exit_code(!edited.changes.is_empty()));
        }
        let lines = text(args, image, &place, &edited, more, &commit);
        if on_stderr {
            lines.iter().for_each(|line| ui::note(line));
        } else {
            ui::lines(lines).map_err(ui::output_failed)?;
        }
    }
    Ok(args.exit_code(!edited.changes.is_empty()))
}

fn text(args: &EditArgs, image: &Path, place: &Place, edited: &Edited, more: More, commit: &Commit) -> Vec<String> {
    let mut lines = vec![place.line(image)];
    let would = if args.dry_run { "would " } else { "" };
    let shown = if more.list_all || args.dry_run { edited.changes.len() } else { SHOWN };
    lines.extend(edited.changes.iter().take(shown).map(|change| format!("  {would}{change}")));
    match edited.changes.len() {
        0 => lines.push("  nothing to change".to_owned()),
        all if all > shown => lines.push(format!("  and {} more changes (--json lists all)", all - shown)),
        _ => {}
    }
    lines.extend(more.line);
    lines.extend(outcome(Some(commit), args.dry_run));
    lines
}

/// What every result as JSON begins with.
pub fn document(image: &Path, place: Option<&Place>, dry_run: bool, commit: Option<&Commit>) -> Value {
    let opinion = commit.and_then(|commit| commit.opinion.as_ref());
    json!({
        "image": image.display().to_string(),
        "format": place.map(|place| place.format),
        "volume": place.map(|place| &place.volume),
        "dry_run": dry_run,
        "committed": commit.filter(|_| !dry_run).map(|commit| json!({
            "blocks_in_free_space": commit.blocks.in_place,
            "protected_blocks": commit.blocks.protected,
            "journaled": commit.blocks.journaled,
            "transactions": commit.blocks.transactions,
        })),
        "verified": opinion.map(|opinion| json!({
            "independent_reader": opinion.independent,
            "own_reader": opinion.own,
            "reason": opinion.reason,
        })),
    })
}

/// The last lines of every result: who read it back, and what was written.
pub fn outcome(commit: Option<&Commit>, dry_run: bool) -> Vec<String> {
    let mut lines: Vec<String> = commit.and_then(verified).into_iter().collect();
    lines.push(if dry_run { "dry run: nothing was written".to_owned() } else { summary(commit) });
    lines
}

/// Who read the result back; nothing where nothing was written.
fn verified(commit: &Commit) -> Option<String> {
    if commit.blocks.is_empty() {
        return None;
    }
    Some(match &commit.opinion {
        None => "  not read back before the commit (see --verify)".to_owned(),
        Some(opinion) => {
            let readers = opinion.readers.iter().copied().collect::<Vec<_>>().join(" and ");
            let own = match &opinion.reason {
                Some(reason) => format!(", {} by our own reader because {readers} says: {reason}", opinion.own),
                None => String::new(),
            };
            format!("  read back before the commit: {} paths by {readers}{own}", opinion.independent)
        }
    })
}

fn summary(commit: Option<&Commit>) -> String {
    match commit.map(|commit| commit.blocks) {
        None => "nothing was written".to_owned(),
        Some(blocks) if blocks.is_empty() => "nothing was written".to_owned(),
        Some(blocks) => {
            let how = match (blocks.journaled, blocks.transactions) {
                (false, _) => "through a redo file".to_owned(),
                (true, 0 | 1) => "through the journal".to_owned(),
                (true, several) => format!("through the journal, which took {several} transactions"),
            };
            format!("committed: {} metadata blocks in free space, {} {how}", blocks.in_place, blocks.protected)
        }
    }
}
