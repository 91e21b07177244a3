//! `nomount filesystems`.

use super::bytes::{Rounding, short};
use super::sandbox::HostAccess;
use super::table::{columns, csv_line};
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::Result;
use nomount::ops::volumes::{Item, ItemKind, Selection, items, survey};
use nomount::sandbox::Access;
use nomount::session::redo_path;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;

/// List the filesystems of a disk, its partitions and itself
///
/// Without an option it prints the names of the filesystems. The first partition is called /dev/sda1, whatever the guest
/// calls it, and --partition takes that name.
///
/// Example: nomount filesystems -l --uuid disk.qcow2
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, mut_arg("all", |all| all.short('a')))]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    #[command(flatten)]
    shown: Shown,
    /// Print the result as JSON: every column, sizes in bytes
    #[arg(long)]
    pub json: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Options that say what is shown, and how: those of virt-filesystems.
#[derive(Debug, Clone, clap::Args)]
pub struct Shown {
    /// Filesystems; the default
    #[arg(long)]
    filesystems: bool,
    /// Swap space, encrypted volumes and what is not recognised, with the filesystems
    #[arg(long)]
    extra: bool,
    /// Partitions, whatever they hold
    #[arg(long, alias = "parts")]
    partitions: bool,
    /// The disk
    #[arg(long, visible_alias = "blkdevs")]
    block_devices: bool,
    /// Physical volumes of LVM
    #[arg(long, visible_aliases = ["pvs", "physvols"])]
    physical_volumes: bool,
    /// All of these
    #[arg(long)]
    all: bool,
    /// Type, label, size, parent in columns
    #[arg(long, short)]
    long: bool,
    /// A column with the UUID, with -l
    #[arg(long, visible_alias = "uuids")]
    uuid: bool,
    /// Sizes with K, M, G, T (1024 each) instead of bytes
    #[arg(long, short = 'h', conflicts_with = "csv")]
    human_readable: bool,
    /// Comma-separated values
    #[arg(long)]
    csv: bool,
    /// No heads of columns, with -l
    #[arg(long)]
    no_title: bool,
}

/// Width beyond which columns are one blank apart.
const NARROW: usize = 72;
/// Columns of the widest table, each counted with its blanks whether it is shown or not.
const MAX_COLUMNS: usize = 8;

impl Shown {
    fn chosen(&self) -> Selection {
        if self.all {
            return Selection::ALL;
        }
        Selection {
            filesystems: self.filesystems,
            extra: self.extra,
            partitions: self.partitions,
            block_devices: self.block_devices,
            physical_volumes: self.physical_volumes,
        }
    }

    /// Whether no option says what is to be listed.
    pub fn chooses_nothing(&self) -> bool {
        self.chosen() == Selection::default()
    }

    /// What is to be listed.
    pub fn selection(&self) -> Selection {
        self.chosen().or_filesystems()
    }

    /// Prints the list as virt-filesystems does.
    pub fn print(&self, items: &[Item]) -> io::Result<()> {
        let mut rows: Vec<Vec<Option<String>>> = Vec::new();
        if self.long && !self.no_title {
            rows.push(
                self.row(
                    ["Name", "Type", "VFS", "Label", "MBR", "Size", "Parent", "UUID"].map(|head| Some(head.into())),
                ),
            );
        }
        rows.extend(items.iter().map(|item| self.row(self.cells(item))));
        if self.csv {
            return ui::lines(rows.iter().map(|row| csv_line(row.iter().map(|cell| cell.as_deref().unwrap_or("")))));
        }
        // Without heads a column in which nothing can be is left out.
        let count = rows.first().map_or(0, Vec::len);
        let used: Vec<bool> = (0..count).map(|column| rows.iter().any(|row| row[column].is_some())).collect();
        for row in &mut rows {
            let mut used = used.iter();
            row.retain(|_| *used.next().expect("one for each column"));
        }
        let cell =
            |cell: &Option<String>| cell.clone().filter(|cell| !cell.is_empty()).unwrap_or_else(|| "-".to_owned());
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let width: usize = (0..rows.first().map_or(0, Vec::len)).map(widest).sum();
        ui::lines(columns(&rows, if width + 2 * MAX_COLUMNS > NARROW { 1 } else { 2 }))
    }

    fn cells(&self, item: &Item) -> [Option<String>; MAX_COLUMNS] {
        let size = if self.human_readable { short(item.size, Rounding::Nearest) } else { item.size.to_string() };
        // What an item cannot have is none, what it could have and has not is empty.
        let own = item.kind == ItemKind::Filesystem;
        [
            Some(item.name.clone()),
            Some(item.kind.name().to_owned()),
            item.content.map(|content| content.name().to_owned()),
            own.then(|| ui::safe(item.label.as_deref().unwrap_or_default())),
            item.mbr_type.map(|byte| format!("{byte:02x}")),
            Some(size),
            Some(item.parent.clone().unwrap_or_default()),
            item.uuid.clone().or_else(|| own.then(String::new)),
        ]
    }

    /// Those of the eight columns that are shown.
    fn row(&self, cells: [Option<String>; MAX_COLUMNS]) -> Vec<Option<String>> {
        let selection = self.selection();
        let (long, files) = (self.long, self.long && selection.filesystems);
        let shown = [true, long, files, files, long && selection.partitions, long, long, long && self.uuid];
        cells.into_iter().zip(shown).filter(|(_, shown)| *shown).map(|(cell, _)| cell).collect()
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let disk = survey(&target.image, &args.open.image_options(), args.open.choice(&target)?)?;
    if redo_path(&target.image).exists() {
        ui::note("a commit of this image was interrupted: what is shown may be half of it, see `nomount recover`");
    }
    let disks = [disk];
    let items = items(&disks, args.shown.selection());
    let printed = if args.json {
        let items: Vec<Value> = items.iter().map(as_json).collect();
        ui::json(json!({ "image": target.image.display().to_string(), "items": items }))
    } else {
        args.shown.print(&items)
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn as_json(item: &Item) -> Value {
    json!({
        "name": item.name,
        "kind": item.kind.name(),
        "partition": item.number,
        "type": item.content.map(|content| content.name()),
        "label": item.label.as_deref().map(ui::bytes_json),
        "mbr_type": item.mbr_type.map(|byte| format!("{byte:02x}")),
        "size": item.size,
        "parent": item.parent,
        "uuid": item.uuid,
    })
}
