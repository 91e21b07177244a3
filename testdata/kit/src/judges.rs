//! The tools that everyone trusts, asked whether an image is right. Call [`crate::require`] with their names first.

use crate::scratch;
use crate::tool::{command, output, text};
use std::path::Path;
use std::process::{Command, Output};

/// What a judge had to say against an image.
#[derive(Debug, thiserror::Error)]
#[error("{judge} on {image} ended with {status}:\n{output}")]
pub struct Complaint {
    judge: &'static str,
    image: String,
    status: std::process::ExitStatus,
    output: String,
}

impl Complaint {
    fn new(judge: &'static str, image: &Path, output: &Output) -> Self {
        Self { judge, image: image.display().to_string(), status: output.status, output: text(output) }
    }
}

/// A judge's answer.
pub type Verdict = Result<(), Complaint>;

/// Whether clusters that nothing points at are a fault: after a crash they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaks {
    /// They are.
    Refused,
    /// They are not.
    Allowed,
}

/// `e2fsck -fn` on the filesystem at byte `offset` of a raw file: it must end with 0 and say nothing but the names of
/// its passes and the summary. A journal that must be replayed is a complaint: see [`e2fsck_recover`].
pub fn e2fsck_fn(disk: &Path, offset: u64) -> Verdict {
    let done = e2fsck("-fn", disk, offset);
    let said = text(&done);
    let expected = |line: &str| {
        line.is_empty()
            || line.starts_with("e2fsck 1.")
            || (line.starts_with("Pass ") && line[5..].starts_with(|c: char| c.is_ascii_digit()))
            || (line.contains(" files (") && line.ends_with(" blocks"))
    };
    if done.status.code() == Some(0) && said.lines().all(expected) {
        return Ok(());
    }
    Err(Complaint::new("e2fsck -fn", disk, &done))
}

/// `e2fsck -p` on the filesystem at byte `offset` of a raw file: replays the journal and does what a boot
/// does. It must end with 0 or 1 (repaired without a question). Follow it with [`e2fsck_fn`].
///
/// At an offset it works on a copy that is written back: after a replay e2fsck opens the file again and forgets the
/// offset it was given.
pub fn e2fsck_recover(disk: &Path, offset: u64) -> Verdict {
    if offset == 0 {
        return recover(disk);
    }
    let len = std::fs::metadata(disk).map(|meta| meta.len()).unwrap_or_else(|e| panic!("{}: {e}", disk.display()));
    let filesystem = scratch::window(disk, offset, len - offset);
    recover(&filesystem)?;
    scratch::write_back(&filesystem, disk, offset);
    Ok(())
}

fn recover(filesystem: &Path) -> Verdict {
    let done = e2fsck("-p", filesystem, 0);
    match done.status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(Complaint::new("e2fsck -p", filesystem, &done)),
    }
}

fn e2fsck(option: &str, disk: &Path, offset: u64) -> Output {
    output(command("e2fsck").arg(option).arg(at_offset(disk, offset)))
}

/// The name by which e2fsprogs knows a filesystem inside a file.
pub(crate) fn at_offset(disk: &Path, offset: u64) -> std::ffi::OsString {
    let mut name = disk.as_os_str().to_owned();
    if offset != 0 {
        name.push(format!("?offset={offset}"));
    }
    name
}

/// `qemu-img check` on a qcow2 image.
pub fn qemu_img_check(image: &Path, leaks: Leaks) -> Verdict {
    let done = output(command("qemu-img").args(["check", "-f", "qcow2"]).arg(image));
    match done.status.code() {
        Some(0) => Ok(()),
        // Leaked clusters and nothing else.
        Some(3) if leaks == Leaks::Allowed => Ok(()),
        _ => Err(Complaint::new("qemu-img check", image, &done)),
    }
}

/// `qemu-img compare`: two images hold the same bytes.
pub fn qemu_img_compare(a: &Path, a_format: &str, b: &Path, b_format: &str) -> Verdict {
    let done = output(command("qemu-img").args(["compare", "-f", a_format, "-F", b_format]).arg(a).arg(b));
    pass(done, "qemu-img compare", a)
}

/// `sgdisk -v` on a raw disk with a GPT. It repairs a damaged copy in memory, ends with 0 and finds "no problems" in
/// the result: so nothing may be said of damage either. Its caution about a partition's alignment is not a complaint.
pub fn sgdisk_v(disk: &Path) -> Verdict {
    let done = output(command("sgdisk").arg("-v").arg(disk));
    let said = text(&done);
    let damage = ["Warning", "Problem", "ERROR", "invalid", "corrupt"];
    if done.status.success() && said.contains("No problems found") && !damage.iter().any(|word| said.contains(word)) {
        return Ok(());
    }
    Err(Complaint::new("sgdisk -v", disk, &done))
}

/// `fsck.fat -n` on the `len` bytes at `offset` of a raw disk.
pub fn fsck_fat_n(disk: &Path, offset: u64, len: u64) -> Verdict {
    let partition = scratch::window(disk, offset, len);
    let done = output(command("fsck.fat").arg("-n").arg(&partition));
    pass(done, "fsck.fat -n", disk)
}

fn pass(done: Output, judge: &'static str, image: &Path) -> Verdict {
    if done.status.success() { Ok(()) } else { Err(Complaint::new(judge, image, &done)) }
}

/// The partition table of a raw disk by `sfdisk --json`, without the path of the disk: equal tables give equal values.
pub fn sfdisk_json(disk: &Path) -> Result<serde_json::Value, Complaint> {
    let mut sfdisk: Command = command("sfdisk");
    let done = output(sfdisk.arg("--json").arg(disk));
    let complaint = || Complaint::new("sfdisk --json", disk, &done);
    if !done.status.success() {
        return Err(complaint());
    }
    let mut json: serde_json::Value = serde_json::from_slice(&done.stdout).map_err(|_| complaint())?;
    let table = json.get_mut("partitiontable").and_then(|t| t.as_object_mut()).ok_or_else(complaint)?;
    table.remove("device");
    let name = disk.display().to_string();
    for partition in table.get_mut("partitions").and_then(|p| p.as_array_mut()).into_iter().flatten() {
        let node = partition["node"].as_str().unwrap_or_default();
        let number = node.strip_prefix(&name).unwrap_or(node).trim_start_matches('p').to_owned();
        partition["node"] = number.into();
    }
    Ok(json)
}
