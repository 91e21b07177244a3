//! The map of a disk: a row of boxes, one for each partition and each free gap, as wide as it is large.

use super::{bytes, ui};
use nomount::disk::Volume;

/// Width where there is no terminal that has one.
pub const PLAIN_WIDTH: usize = 80;
/// Narrower maps say nothing, wider ones are hard to look over.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=160;
/// Gaps up to this, which come of alignment, are no free space.
const MIN_GAP: u64 = 1 << 20;
/// Nor are those of which the disk has more than a hundred.
const MAX_GAPS: u64 = 100;

/// A stretch of the disk.
#[derive(Debug)]
struct Stretch<'a> {
    /// None for free space.
    volume: Option<&'a Volume>,
    len: u64,
    /// Columns inside of its box.
    width: usize,
}

/// Draws a disk of `len` bytes with partitions in `width` columns. Nothing where there are none, or more than fit.
///
/// Logical partitions of an MBR are drawn, the extended one around them is not. Where partitions overlap, the later one
/// is drawn behind the other.
pub fn draw(volumes: &[Volume], len: u64, width: usize) -> Vec<String> {
    let mut stretches = stretches(volumes, len);
    let room = width.clamp(*WIDTHS.start(), *WIDTHS.end()).saturating_sub(stretches.len() + 1);
    if !stretches.iter().any(|stretch| stretch.volume.is_some()) || !share(&mut stretches, room) {
        return Vec::new();
    }
    let rule: Vec<String> = stretches.iter().map(|stretch| "-".repeat(stretch.width)).collect();
    let rule = format!("+{}+", rule.join("+"));
    let row = |text: &dyn Fn(&Stretch<'_>) -> String| {
        let cells: Vec<String> = stretches.iter().map(|stretch| cell(stretch, &text(stretch))).collect();
        format!("|{}|", cells.join("|"))
    };
    let first = row(&|stretch| match stretch.volume {
        None => "free".to_owned(),
        Some(volume) => {
            let name = volume.partition.as_ref().map(|partition| ui::safe(partition.name.as_bytes()));
            [volume.number().map(|number| number.to_string()), name.filter(|name| !name.is_empty())]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        }
    });
    let second = row(&|stretch| match stretch.volume {
        None => bytes::human(stretch.len),
        Some(volume) => format!("{} {}", volume.content, bytes::human(volume.len)),
    });
    vec![rule.clone(), first, second, rule]
}

/// The stretches in their order on the disk.
fn stretches(volumes: &[Volume], len: u64) -> Vec<Stretch<'_>> {
    let is_extended = |volume: &Volume| volume.partition.as_ref().is_some_and(|partition| partition.is_extended());
    let mut sorted: Vec<&Volume> =
        volumes.iter().filter(|volume| volume.partition.is_some() && !is_extended(volume)).collect();
    sorted.sort_by_key(|volume| (volume.start, volume.number()));
    let mut stretches = Vec::new();
    let mut at = 0;
    let gap = |from: u64, to: u64| {
        let len = to.saturating_sub(from);
        (len > MIN_GAP && len >= to / MAX_GAPS).then_some(Stretch { volume: None, len, width: 0 })
    };
    for volume in sorted {
        stretches.extend(gap(at, volume.start).filter(|gap| gap.len >= len / MAX_GAPS));
        stretches.push(Stretch { volume: Some(volume), len: volume.len, width: 0 });
        at = at.max(volume.start.saturating_add(volume.len));
    }
    stretches.extend(gap(at, len).filter(|gap| gap.len >= len / MAX_GAPS));
    stretches
}

/// Gives each stretch its columns of `room`: what its number needs, and of the rest by its size. Whether they fit.
fn share(stretches: &mut [Stretch<'_>], room: usize) -> bool {
    for stretch in &mut *stretches {
        let number = stretch.volume.and_then(Volume::number);
        stretch.width = number.map_or(1, |number| number.to_string().len());
    }
    let least: usize = stretches.iter().map(|stretch| stretch.width).sum();
    let Some(rest) = room.checked_sub(least) else { return false };
    let total: u128 = stretches.iter().map(|stretch| u128::from(stretch.len)).sum::<u128>().max(1);
    let mut given = 0;
    let mut sum = 0;
    for stretch in stretches {
        sum += u128::from(stretch.len);
        let until = (sum * rest as u128 / total) as usize;
        stretch.width += until - given;
        given = until;
    }
    true
}

/// A text inside a box, cut where it is longer; free space is filled with dots.
fn cell(stretch: &Stretch<'_>, text: &str) -> String {
    let width = stretch.width;
    let (fill, fits) = match stretch.volume {
        None => ('.', text.chars().count() + 2 <= width),
        Some(_) => (' ', true),
    };
    // With a blank in front where there is room for it.
    let blank = if text.chars().count() < width { " " } else { "" };
    let mut cell: String = match fits {
        true => format!("{blank}{text}").chars().take(width).collect(),
        false => String::new(),
    };
    if fill == '.' && !cell.is_empty() {
        cell.push(' ');
    }
    let used = cell.chars().count();
    cell.extend(std::iter::repeat_n(fill, width - used));
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount::disk::Content;
    use nomount_ptable::{Partition, TypeId};

    const MIB: u64 = 1 << 20;

    fn volume(number: u32, start: u64, len: u64, kind: u8, name: &str, content: Content) -> Volume {
        let partition = Partition {
            number,
            start,
            len,
            type_id: TypeId::Mbr(kind),
            name: name.to_owned(),
            partuuid: None,
            bootable: false,
            attributes: 0,
            logical: number > 4,
            entry_offset: 0,
            raw_entry: Vec::new(),
        };
        Volume { partition: Some(partition), start, len, content }
    }

    #[test]
    fn boxes_are_as_wide_as_partitions_are_large() {
        let volumes = [
            volume(1, 16 * MIB, 500 * MIB, 0x83, "root", Content::Ext4),
            volume(15, 4 * MIB, 12 * MIB, 0xef, "esp", Content::Vfat),
        ];
        let map = draw(&volumes, 1024 * MIB, 60);
        assert_eq!(
            map,
            [
                "+--+-----------------------------+----------------------------+",
                "|15| 1 root                      | free ......................|",
                "|vf| ext4 500.0 MiB              | 508.0 MiB .................|",
                "+--+-----------------------------+----------------------------+",
            ]
        );
        assert!(map.iter().all(|line| line.len() == 60));
    }

    #[test]
    fn logical_partitions_are_drawn_and_the_extended_one_is_not() {
        let volumes = [
            volume(1, MIB, 99 * MIB, 0x83, "", Content::Unknown),
            volume(2, 100 * MIB, 100 * MIB, 5, "", Content::Extended),
            volume(5, 101 * MIB, 99 * MIB, 0x82, "", Content::Swap),
        ];
        let map = draw(&volumes, 200 * MIB, 43);
        assert_eq!(map[1], "| 1                  | 5                 |");
        assert_eq!(map[2], "| unknown 99.0 MiB   | swap 99.0 MiB     |");
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        let many: Vec<Volume> = (1..=60)
            .map(|number| volume(number, u64::from(number) * 4 * MIB, 4 * MIB, 0x83, "", Content::Ext4))
            .collect();
        assert!(draw(&many, 300 * MIB, 80).is_empty());
        assert_eq!(draw(&many, 300 * MIB, 1000)[0].len(), 160);
        assert!(draw(&[], 300 * MIB, 80).is_empty());
        // Numbers that contradict each other are drawn all the same.
        let odd = [volume(1, 0, u64::MAX, 0x83, "", Content::Ext4), volume(2, 7, u64::MAX, 0x83, "", Content::Ext4)];
        assert_eq!(draw(&odd, MIB, 80)[0].len(), 80);
    }
}
