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

/// Titles longer than this are cut in the box of a small partition.
const MAX_READABLE: usize = 12;

/// A stretch of the disk.
#[derive(Debug)]
struct Stretch<'a> {
    /// None for free space.
    volume: Option<&'a Volume>,
    len: u64,
    /// Columns inside of its box.
    width: usize,
}

impl Stretch<'_> {
    /// Number and name of a partition.
    fn title(&self) -> String {
        let Some(volume) = self.volume else { return "free".to_owned() };
        let name = volume.partition.as_ref().map(|partition| ui::safe(partition.name.as_bytes()));
        let number = volume.number().map(|number| number.to_string());
        let parts = [number, name.filter(|name| !name.is_empty())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Columns that its number needs.
    fn least(&self) -> usize {
        self.volume.and_then(Volume::number).map_or(1, |number| number.to_string().len())
    }

    /// Columns in which its title, and most names of filesystems, can be read.
    fn readable(&self) -> usize {
        self.volume.map_or(1, |_| (self.title().chars().count() + 2).clamp(9, MAX_READABLE))
    }
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
    let first = row(&|stretch| stretch.title());
    let second = row(&|stretch| match stretch.volume {
        None => bytes::human(stretch.len),
        Some(volume) => {
            let whole = format!("{} {}", volume.content, bytes::human(volume.len));
            if whole.len() <= stretch.width { whole } else { volume.content.to_string() }
        }
    });
    vec![rule.clone(), first, second, rule]
}

/// The stretches in their order on the disk.
fn stretches(volumes: &[Volume], disk: u64) -> Vec<Stretch<'_>> {
    let is_extended = |volume: &Volume| volume.partition.as_ref().is_some_and(|partition| partition.is_extended());
    let mut sorted: Vec<&Volume> =
        volumes.iter().filter(|volume| volume.partition.is_some() && !is_extended(volume)).collect();
    sorted.sort_by_key(|volume| (volume.start, volume.number()));
    let mut stretches = Vec::new();
    let mut at = 0;
    let gap = |from: u64, to: u64| {
        let len = to.saturating_sub(from);
        (len > MIN_GAP && len >= disk / MAX_GAPS).then_some(Stretch { volume: None, len, width: 0 })
    };
    for volume in sorted {
        stretches.extend(gap(at, volume.start));
        stretches.push(Stretch { volume: Some(volume), len: volume.len, width: 0 });
        at = at.max(volume.start.saturating_add(volume.len));
    }
    stretches.extend(gap(at, disk));
    stretches
}

/// Gives each stretch its columns of `room`: by its size, but at least what its title needs, or if that is too much for
/// all of them its number. Whether they fit.
fn share(stretches: &mut [Stretch<'_>], room: usize) -> bool {
    let readable: usize = stretches.iter().map(Stretch::readable).sum();
    for stretch in &mut *stretches {
        stretch.width = if readable <= room / 2 { stretch.readable() } else { stretch.least() };
    }
    if stretches.iter().map(|stretch| stretch.width).sum::<usize>() > room {
        return false;
    }
    // Those too small for their share keep the least; what is left is for the others, of which some may now be too small.
    let mut by_size: Vec<&mut Stretch<'_>> = stretches.iter_mut().collect();
    let mut left = room;
    loop {
        let total = total(&by_size);
        let (fit, small): (Vec<_>, Vec<_>) = by_size
            .into_iter()
            .partition(|stretch| u128::from(stretch.len) * left as u128 >= (stretch.width as u128 + 1) * total);
        left -= small.iter().map(|stretch| stretch.width).sum::<usize>();
        by_size = fit;
        if small.is_empty() {
            break;
        }
    }
    let total = total(&by_size);
    let (mut given, mut sum) = (0, 0);
    for stretch in by_size {
        sum += u128::from(stretch.len);
        let until = (sum * left as u128 / total) as usize;
        stretch.width = until - given;
        given = until;
    }
    true
}

fn total(stretches: &[&mut Stretch<'_>]) -> u128 {
    stretches.iter().map(|stretch| u128::from(stretch.len)).sum::<u128>().max(1)
}

/// A text inside a box, with a blank in front where there is room: cut where a number or name is longer, left out where
/// free space is too narrow for it. Free space is filled with dots.
fn cell(stretch: &Stretch<'_>, text: &str) -> String {
    let width = stretch.width;
    let len = text.chars().count();
    if stretch.volume.is_some() {
        let blank = if len < width { " " } else { "" };
        let cut: String = format!("{blank}{text}").chars().take(width).collect();
        return format!("{cut:width$}");
    }
    if len + 2 > width { ".".repeat(width) } else { format!(" {text} {}", ".".repeat(width - len - 2)) }
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
        let wanted = [
            "+---------+-----------------------+------------------------+",
            "| 15 esp  | 1 root                | free ..................|",
            "| vfat    | ext4 500.0 MiB        | 508.0 MiB .............|",
            "+---------+-----------------------+------------------------+",
        ];
        assert_eq!(map, wanted);
    }

    #[test]
    fn logical_partitions_are_drawn_and_the_extended_one_is_not() {
        let volumes = [
            volume(1, MIB, 99 * MIB, 0x83, "", Content::Unknown),
            volume(2, 100 * MIB, 100 * MIB, 5, "", Content::Extended),
            volume(5, 101 * MIB, 99 * MIB, 0x82, "", Content::Swap),
        ];
        let map = draw(&volumes, 200 * MIB, 43);
        assert_eq!(map[1], "| 1                  | 5                  |");
        assert_eq!(map[2], "| unknown 99.0 MiB   | swap 99.0 MiB      |");
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        let many: Vec<Volume> = (1..=40)
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
