//! The verdict: which format, which rules hold, which do not and why.

use crate::format::Format;
use crate::image::Image;
use crate::{foreign, iso, luks, mbr, qcow2, recognise, vdi, vhd, vhdx, vmdk};
use nomount_block::{ReadAt, Result};

/// A rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name: a word that scripts may rely on.
    pub id: &'static str,
    /// What it asks for.
    pub about: &'static str,
    /// Why it does not hold. Bytes of the image are escaped, and few.
    pub failure: Option<String>,
}

/// What was found out about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The formats that it has; more than one makes it unsafe. Never empty.
    pub formats: Vec<Format>,
    /// Bytes of the disk that a reader of the format sees, where that can be told.
    pub virtual_size: Option<u64>,
    /// Every rule that was applied.
    pub outcomes: Vec<Outcome>,
    /// What is worth knowing and makes nothing unsafe.
    pub notes: Vec<&'static str>,
}

impl Verdict {
    /// Whether every rule holds.
    pub fn is_safe(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The rules that do not hold.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }
}

/// Where the judges of the formats put what they find.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Outcome>);

impl Rules {
    /// Notes that a rule holds, or why not.
    pub(crate) fn note(&mut self, id: &'static str, about: &'static str, failure: Option<String>) {
        self.0.push(Outcome { id, about, failure });
    }

    /// Notes a rule; `failure` says why where it does not hold.
    pub(crate) fn check(&mut self, id: &'static str, about: &'static str, holds: bool, failure: impl Fn() -> String) {
        self.note(id, about, (!holds).then(failure));
    }

    /// Notes that the file ends before what has to be judged, or that it does not.
    pub(crate) fn complete(&mut self, complete: bool, what: &str) {
        self.check("complete", "everything that is judged is in the file", complete, || {
            format!("the file ends before {what}")
        });
    }
}

/// Judges an image. With `claim` it also has to be of that format.
///
/// A disk with a partition table may be claimed to be raw, as may anything without a format. A claimed vhd may have
/// its footer at the end alone, as a fixed disk has.
///
/// # Errors
///
/// A failure of the device. An image that contradicts itself or is cut short is no error but not safe.
pub fn judge(device: &dyn ReadAt, claim: Option<Format>) -> Result<Verdict> {
    let image = Image::read(device)?;
    let found = recognise::of_image(&image);
    let footer = match found.iter().all(|format| format.is_one_to_one()) {
        true => vhd::trailing_footer(&image)?,
        false => None,
    };
    let mut rules = Rules::default();
    let table = |format: &Format| matches!(format, Format::Gpt | Format::Mbr);
    let (formats, virtual_size) = match (&found[..], &footer) {
        ([] | [Format::Gpt | Format::Mbr], Some(footer)) if claim == Some(Format::Vhd) => {
            let size = vhd::judge_footer(footer, image.len(), &mut rules);
            if !found.is_empty() {
                mbr::judge(&image, &mut rules);
            }
            (vec![Format::Vhd], size)
        }
        ([], _) => (vec![Format::Raw], Some(image.len())),
        ([format], _) => (vec![*format], judge_as(*format, &image, &mut rules)?),
        // A disc that can also be booted as a disk. Its partitions need not make sense, unless they are all that a
        // reader may see.
        ([Format::Iso, other], _) if table(other) => {
            if iso::is_udf_alone(&image) {
                mbr::judge(&image, &mut rules);
            }
            (vec![Format::Iso], judge_as(Format::Iso, &image, &mut rules)?)
        }
        (several, _) => (several.to_vec(), None),
    };
    rules.check("one_format", "the file has one format", formats.len() == 1, || {
        format!("it is at once {}", formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(", "))
    });
    if let (Some(claim), [format]) = (claim, &formats[..]) {
        rules.check("claim", "the format is the one that was named", fits(claim, *format), || {
            format!("it was said to be {claim}, but it is {format}")
        });
    }
    let mut notes = Vec::new();
    if footer.is_some() && claim != Some(Format::Vhd) {
        notes.push("the last 512 bytes are the footer of a fixed vhd: named as vhd, the disk ends before them");
    }
    Ok(Verdict { formats, virtual_size, outcomes: rules.0, notes })
}

/// Whether an image of `format` may be called `claim`.
fn fits(claim: Format, format: Format) -> bool {
    claim == format
        || (claim == Format::Raw && matches!(format, Format::Gpt | Format::Mbr))
        // OpenStack has the one word for both.
        || (claim == Format::Gpt && format == Format::Mbr)
}

/// Applies the rules of one format, and tells the virtual size.
fn judge_as(format: Format, image: &Image<'_>, rules: &mut Rules) -> Result<Option<u64>> {
    Ok(match format {
        Format::Raw => Some(image.len()),
        Format::Qcow | Format::Qcow2 => qcow2::judge(image, rules),
        Format::Vmdk => vmdk::judge(image, rules)?,
        Format::Vhd => vhd::judge(image, rules),
        Format::Vhdx => vhdx::judge(image, rules)?,
        Format::Vdi => vdi::judge(image, rules),
        Format::Luks => luks::judge(image, rules),
        Format::Iso => iso::judge(image, rules),
        Format::Gpt | Format::Mbr => {
            mbr::judge(image, rules);
            Some(image.len())
        }
        Format::Qed | Format::Parallels | Format::Bochs | Format::Cloop => {
            foreign::judge(format, rules);
            None
        }
    })
}
