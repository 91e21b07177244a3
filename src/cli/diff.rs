//! `nomount diff`.

use super::long::{TimeStyle, arrow};
use super::sandbox::HostAccess;
use super::stat::{file_json, letter, with_xattrs, word};
use super::table::csv;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::look::diff::{DiffOptions, Difference, Field, File, Side, diff};
use nomount::sandbox::Access;
use nomount::tree::{Follow, GuestPath, Time, Xattr, existing};
use nomount::{Result, Session};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show which files differ between two images, partitions or directories
///
/// A line for each file that is not the same, sorted by path: `-` is only in A, `+` only in B, `=` is in both, with a
/// line `# changed:` below that says what differs. Then type, octal mode, size and path, those of B where both have it.
///
/// Contents, types, modes, owners, sizes, numbers of names, times of change, extended attributes, targets of links and
/// device numbers are compared; of directories neither size nor times nor numbers of names. Contents are read only
/// where sizes are equal. An image can be compared with its backing file: it needs --allow-backing.
///
/// Exit code 0 when nothing differs, 1 when something does.
///
/// Example: nomount diff --allow-backing base.qcow2 overlay.qcow2
///
/// Example: nomount diff old.img:/etc new.img@2:/etc --ignore mtime
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image to compare from, with or without a path in it
    #[arg(value_name = "A[@PARTITION][:/PATH]")]
    before: OsString,
    /// The image to compare with
    #[arg(value_name = "B[@PARTITION][:/PATH]")]
    after: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// What not to compare: type, content, size, mode, uid, gid, links, target, device, mtime, xattrs
    #[arg(long, value_name = "FIELD,...", value_delimiter = ',', value_parser = parse_field)]
    ignore: Vec<Field>,
    /// Times of access, too
    #[arg(long)]
    atime: bool,
    /// Times of directories, too
    #[arg(long)]
    dir_times: bool,
    /// Numbers of names of directories, too
    #[arg(long)]
    dir_links: bool,
    /// Comma-separated values, with a line of titles
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_field(name: &str) -> Result<Field, String> {
    Field::parse(name).ok_or_else(|| {
        let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
        format!("one of {} is needed", names.join(", "))
    })
}

/// An image that is open, and where in it to begin.
struct Opened {
    target: Target,
    session: Session,
    volume: String,
    top: GuestPath,
}

impl Opened {
    fn open(args: &Args, text: &OsString) -> Result<Self> {
        let target = Target::parse(text.clone());
        let mut session = args.open.open(&target)?;
        let volume = session.volume().to_string();
        let path = target.path.as_ref().map_or(Ok(GuestPath::root()), GuestPath::parse)?;
        let top = existing(session.tree(), &path, Follow::Last);
        let top = top.map_err(|error| error.in_volume(&volume).in_image(&target.image))?.0;
        Ok(Self { target, session, volume, top })
    }

    fn side(&mut self) -> Side<'_> {
        Side { tree: self.session.tree(), top: &self.top, image: &self.target.image, volume: &self.volume }
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.before).and(self.open.reading(&self.after))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (mut before, mut after) = (Opened::open(args, &args.before)?, Opened::open(args, &args.after)?);
    let mut ignored = args.ignore.clone();
    if !args.atime {
        ignored.push(Field::Atime);
    }
    let options = DiffOptions { ignored, dir_links: args.dir_links, dir_times: args.dir_times };
    let mut out = ui::Stream::open();
    let mut differences = Vec::new();
    let mut equal = true;
    if args.csv {
        out.line(&csv(["change", "path", "type", "mode", "size", "fields"]))?;
    }
    let volumes = [before.volume.clone(), after.volume.clone()];
    let compared = diff(before.side(), after.side(), &options, &mut |difference| {
        equal = false;
        if args.json {
            differences.push(document(difference));
            return Ok(());
        }
        if args.csv {
            return out.line(&csv(row(difference)));
        }
        text(difference).iter().try_for_each(|line| out.text(line))
    })?;
    if args.json {
        let document = json!({
            "before": volumes[0],
            "after": volumes[1],
            "equal": equal,
            "compared": compared,
            "differences": differences,
        });
        ui::json(document).map_err(ui::output_failed)?;
    } else {
        out.end()?;
    }
    Ok(if equal { exit::DONE } else { exit::FAILED })
}

/// How a difference is named: its sign, its word, and the file that is shown.
fn kind(difference: &Difference) -> (char, &'static str, Option<&File>) {
    match (&difference.before, &difference.after) {
        (Some(file), None) => ('-', "removed", Some(file)),
        (None, after) => ('+', "added", after.as_ref()),
        (Some(_), Some(file)) => ('=', "changed", Some(file)),
    }
}

fn text(difference: &Difference) -> Vec<String> {
    let (sign, _, file) = kind(difference);
    let Some(file) = file else { return Vec::new() };
    let stat = &file.info.stat;
    let mut lines = vec![format!(
        "{sign} {} {:04o} {:>12} {}{}",
        letter(stat.kind),
        stat.mode,
        stat.size,
        ui::safe(&difference.path.to_bytes()),
        arrow(&file.info),
    )];
    if let (Some(before), Some(after)) = (&difference.before, &difference.after) {
        let fields: Vec<String> = difference.fields.iter().map(|field| field_text(*field, before, after)).collect();
        lines.push(format!("# changed: {}", fields.join(", ")));
    }
    lines
}

/// A field that differs, with what it was and what it is.
fn field_text(field: Field, before: &File, after: &File) -> String {
    let (a, b) = (&before.info.stat, &after.info.stat);
    let name = field.name();
    let from_to = |from: String, to: String| format!("{name} {from} -> {to}");
    let time = |a: Time, b: Time| {
        let style = if a.sec == b.sec { TimeStyle::FullIso } else { TimeStyle::Utc };
        from_to(style.show(a), style.show(b))
    };
    let device = |numbers: Option<(u32, u32)>| numbers.map(|(major, minor)| format!("{major}:{minor}"));
    match field {
        Field::Type => from_to(a.kind.noun().to_owned(), b.kind.noun().to_owned()),
        Field::Content => name.to_owned(),
        Field::Size => from_to(a.size.to_string(), b.size.to_string()),
        Field::Mode => from_to(format!("{:04o}", a.mode), format!("{:04o}", b.mode)),
        Field::Uid => from_to(a.uid.to_string(), b.uid.to_string()),
        Field::Gid => from_to(a.gid.to_string(), b.gid.to_string()),
        Field::Links => from_to(a.links.to_string(), b.links.to_string()),
        Field::Target => from_to(
            ui::safe(before.info.target.as_deref().unwrap_or_default()),
            ui::safe(after.info.target.as_deref().unwrap_or_default()),
        ),
        Field::Device => from_to(device(a.device).unwrap_or_default(), device(b.device).unwrap_or_default()),
        Field::Mtime => time(a.mtime, b.mtime),
        Field::Atime => time(a.atime, b.atime),
        Field::Xattrs => format!("{name} {}", xattrs_text(&before.xattrs, &after.xattrs)),
    }
}

/// `-gone +new =changed`.
fn xattrs_text(before: &[Xattr], after: &[Xattr]) -> String {
    let value =
        |list: &[Xattr], name: &[u8]| list.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let mut parts = Vec::new();
    for (name, old) in before {
        match value(after, name) {
            None => parts.push(format!("-{}", ui::safe(name))),
            Some(new) if new != *old => parts.push(format!("={}", ui::safe(name))),
            Some(_) => {}
        }
    }
    let new = after.iter().filter(|(name, _)| value(before, name).is_none());
    parts.extend(new.map(|(name, _)| format!("+{}", ui::safe(name))));
    parts.join(" ")
}

fn row(difference: &Difference) -> Vec<Vec<u8>> {
    let (_, change, file) = kind(difference);
    let stat = file.map(|file| &file.info.stat);
    let fields: Vec<&str> = difference.fields.iter().map(|field| field.name()).collect();
    vec![
        change.into(),
        difference.path.to_bytes(),
        stat.map(|stat| word(stat.kind)).unwrap_or_default().into(),
        stat.map(|stat| format!("{:04o}", stat.mode)).unwrap_or_default().into(),
        stat.map(|stat| stat.size.to_string()).unwrap_or_default().into(),
        fields.join(" ").into(),
    ]
}

fn document(difference: &Difference) -> Value {
    let file = |file: &File| with_xattrs(file_json(&file.info, None), &file.xattrs);
    json!({
        "path": ui::bytes_json(&difference.path.to_bytes()),
        "change": kind(difference).1,
        "fields": difference.fields,
        "before": difference.before.as_ref().map(file),
        "after": difference.after.as_ref().map(file),
    })
}
