//! One image under every command.

use crate::common::{nomount, text};
use crate::family::ROOT;
use crate::measured::{Measured, Measurer};
use crate::tally::Tally;
use nomount_kit::judges::{self, Leaks};
use nomount_kit::mutants::{Mutant, Victim};
use nomount_kit::{scratch, tool};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// Pieces in which a file is written, so that zeroes take no place.
const PIECE: usize = 4096;
/// The start of a panic's message is enough.
const SAID: usize = 300;

/// The folder that a worker works in.
pub struct Bench {
    folder: TempDir,
    /// Outside of it, so that the folder of the image stays empty but for the image.
    aside: TempDir,
    measurer: Measurer,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self { folder: scratch::folder(), aside: scratch::folder(), measurer: Measurer::new() };
        fs::write(bench.aside.path().join("added.conf"), "listen = 0.0.0.0:80\n").unwrap();
        bench
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("new")
    }

    fn put(&self, bytes: &[u8]) {
        let file = File::create(self.image()).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for (at, piece) in (0..).step_by(PIECE).zip(bytes.chunks(PIECE)) {
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(piece, at).unwrap();
            }
        }
    }

    /// The commands by name, in the order in which they are tried.
    fn commands(&self) -> [(&'static str, Vec<String>); 4] {
        let image = text(&self.image());
        let command = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).chain([image.clone()]).collect();
        let mut inject: Vec<String> = command(&["inject", "--no-sync", "--metadata", "role=web"]);
        let file = format!("{}:/added.conf", text(&self.aside.path().join("added.conf")));
        let output = text(&self.output());
        inject.extend(["--mandatory", "files,metadata", "--file", &file, "-o", &output].map(str::to_owned));
        [
            ("info", command(&["info"])),
            ("ls -R", command(&["ls", "-lR"])),
            ("check", command(&["check"])),
            ("inject", inject),
        ]
    }

    fn run(&mut self, args: &[String]) -> Measured {
        self.measurer.run(&text(&self.aside.path().join("stderr")), args)
    }

    /// Tries all commands on one spoiled image.
    pub fn try_mutant(&mut self, mutant: &Mutant, tally: &mut Tally) {
        tally.begin();
        self.put(&mutant.bytes);
        let mut is_sound = false;
        for (name, args) in self.commands() {
            let (code, fault) = tally.count(name, &self.run(&args));
            if let Some(fault) = fault {
                let said = fs::read(self.aside.path().join("stderr")).unwrap();
                let said = String::from_utf8_lossy(&said[..said.len().min(SAID)]).into_owned();
                tally.faults.push(format!("{} {name} {fault}: {said}", mutant.what));
            }
            match name {
                "check" => is_sound = code == 0,
                "inject" if code == 0 => {
                    tally.judged += 1;
                    if let Err(complaint) = self.judge(is_sound, tally) {
                        tally.faults.push(format!("{} {complaint}", mutant.what));
                    }
                    // What it wrote is not there any more where it was refused.
                    let _ = fs::remove_file(self.output());
                }
                _ => {}
            }
        }
        if fs::read(self.image()).unwrap() != mutant.bytes {
            tally.faults.push(format!("{} the image has changed", mutant.what));
        }
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if left != ["disk"] {
            tally.faults.push(format!("{} left {left:?}", mutant.what));
            left.iter().for_each(|name| fs::remove_file(self.folder.path().join(name)).unwrap());
        }
    }

    /// What was sound is sound: nobody says anything of the new image where nobody did of the old one.
    fn judge(&self, is_sound: bool, tally: &mut Tally) -> Result<(), String> {
        let (old, new) = (self.image(), self.output());
        let bytes = fs::read(&new).map_err(|error| format!("no new image: {error}"))?;
        let is_qcow2 = bytes.starts_with(b"QFI\xfb");
        let is_fat = bytes.get(510..512) == Some(&[0x55, 0xAA]) && matches!(bytes[0], 0xEB | 0xE9);
        let ext = [0, ROOT].into_iter().find(|start| bytes.get(start + 0x438..start + 0x43A) == Some(&[0x53, 0xEF]));
        let verdict = |image: &PathBuf| {
            let verdict = match ext {
                // A cluster behind the end of the file whose count is not zero leaks once the file is longer.
                _ if is_qcow2 => judges::qemu_img_check(image, Leaks::Allowed),
                _ if is_fat => judges::fsck_fat_n(image, 0, fs::metadata(image).unwrap().len()),
                Some(start) => judges::e2fsck_fn(image, start as u64),
                None => Ok(()),
            };
            verdict.map_err(|complaint| complaint.to_string())
        };
        // A container whose counts are wrong says which clusters are free, and they are not.
        if verdict(&old).is_err() {
            tally.doubtful += 1;
            return Ok(());
        }
        verdict(&new)?;
        if is_sound {
            let done = nomount().arg("check").arg(&new).output().unwrap();
            if done.status.code() != Some(0) {
                return Err(format!("the new image is not sound: {}", tool::text(&done)));
            }
        }
        Ok(())
    }

    /// All commands succeed on the image as it was made.
    pub fn sound(&mut self, victim: &Victim, is_checked: bool) {
        self.put(victim.bytes());
        for (name, args) in self.commands() {
            let done = self.run(&args);
            let wanted = if name == "check" && !is_checked { 4 } else { 0 };
            let said = fs::read_to_string(self.aside.path().join("stderr")).unwrap();
            assert_eq!(done.status.code(), Some(wanted), "{name} on {}: {said}", victim.name);
        }
    }
}
