//! How `nomount part` tells what there is and what it did.

use super::bytes::human;
use super::part::{ATTRIBUTES, EditArgs};
use super::target::Target;
use super::ui;
use nomount::disk::Volume;
use nomount::ops::part::{PartEdit, PartList, PartReport};
use nomount_ptable::{Partition, Scheme, Table};
use serde_json::{Value, json};
use std::io::Result;

/// Prints a table and its partitions.
pub fn list(target: &Target, found: &PartList, as_json: bool) -> Result<()> {
    let table = &found.table;
    let content = |partition: &Partition| {
        let volume = found.volumes.iter().find(|volume| volume.number() == Some(partition.number));
        volume.map_or("unknown", |volume: &Volume| volume.content.name())
    };
    if as_json {
        let partitions: Vec<Value> = table
            .partitions
            .iter()
            .map(|partition| {
                let mut document = partition_json(partition);
                document["content"] = content(partition).into();
                document
            })
            .collect();
        return ui::json(json!({
            "image": target.image.display().to_string(),
            "size": found.len,
            "table": table_json(table),
            "partitions": partitions,
        }));
    }
    table.notes.iter().for_each(|note| ui::note(&note.to_string()));
    let mut lines = vec![format!(
        "{}: {}, id {}, sectors of {} bytes, disk of {}",
        target.image.display(),
        table.scheme,
        table.disk_id,
        table.sector_size,
        human(found.len)
    )];
    if !table.partitions.is_empty() {
        let header = ["number", "start", "bytes", "size", "type", "content", "name"].map(str::to_owned);
        let rows = table.partitions.iter().map(|partition| {
            let flag = if partition.bootable { "*" } else { "" };
            [
                format!("{}{flag}", partition.number),
                partition.start.to_string(),
                partition.len.to_string(),
                human(partition.len),
                type_text(partition),
                content(partition).to_owned(),
                ui::safe(partition.name.as_bytes()),
            ]
        });
        lines.extend(columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
    }
    ui::lines(lines)
}

/// Rows with their columns aligned.
fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The type by its name, else as it is.
fn type_text(partition: &Partition) -> String {
    partition.type_id.name().map_or_else(|| partition.type_id.to_string(), str::to_owned)
}

fn table_json(table: &Table) -> Value {
    json!({
        "type": table.scheme.to_string().to_lowercase(),
        "id": table.disk_id.to_string(),
        "sector_size": table.sector_size,
        "notes": table.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn partition_json(partition: &Partition) -> Value {
    let names: Vec<&str> =
        ATTRIBUTES.iter().filter(|(_, bit)| partition.attributes >> bit & 1 == 1).map(|(name, _)| *name).collect();
    json!({
        "number": partition.number,
        "start": partition.start,
        "size": partition.len,
        "type": partition.type_id.to_string(),
        "type_name": partition.type_id.name(),
        "name": partition.name,
        "partuuid": partition.partuuid,
        "bootable": partition.bootable,
        "attributes": format!("{:#x}", partition.attributes),
        "attribute_names": names,
        "logical": partition.logical,
    })
}

/// Prints what an edit did.
pub fn report(args: &EditArgs, target: &Target, change: &PartEdit, report: &PartReport) -> Result<()> {
    let table = &report.table;
    if args.json {
        return ui::json(json!({
            "image": target.image.display().to_string(),
            "dry_run": args.dry_run,
            "partition": report.partition,
            "renumbered": report.renumbered.iter()
                .map(|(old, new)| json!({ "old": old, "new": new }))
                .collect::<Vec<_>>(),
            "notes": report.notes,
            "table": table_json(table),
            "partitions": table.partitions.iter().map(partition_json).collect::<Vec<_>>(),
        }));
    }
    report.notes.iter().for_each(|note| ui::note(note));
    let has = if args.dry_run { "would have" } else { "has" };
    let done = match (change, report.partition.and_then(|number| table.partition(number))) {
        (PartEdit::Delete(number), _) => {
            format!("partition {number} {} deleted", if args.dry_run { "would be" } else { "is" })
        }
        (_, Some(partition)) => {
            let name = match table.scheme {
                Scheme::Gpt => format!(", name \"{}\"", ui::safe(partition.name.as_bytes())),
                Scheme::Mbr => String::new(),
            };
            let (size, start) = (human(partition.len), partition.start);
            format!("partition {} {has} {size} at byte {start}, type {}{name}", partition.number, type_text(partition))
        }
        (_, None) => format!("{has} a new {}, id {}", table.scheme, table.disk_id),
    };
    let mut lines = vec![format!("{}: {done}", target.image.display())];
    let now = if args.dry_run { "would become" } else { "is now" };
    lines.extend(report.renumbered.iter().map(|(old, new)| format!("partition {old} {now} {new}")));
    ui::lines(lines)
}
