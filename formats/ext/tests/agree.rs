//! The checker against `e2fsck -fn`: every structure's fields spoiled, and whether the image is clean compared.

mod common;

use common::spoil::{self, Case};
use common::{OPTIONS, in_parallel, long, seed};
use nomount_block::Memory;
use nomount_ext::{CheckOptions, Error, Report, Severity, check};
use nomount_kit::{require, scratch, tool};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::SeedableRng;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

const SEED: &str = "NOMOUNT_AGREE_SEED";

/// What we say of an image.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Clean,
    /// Only what e2fsck is known to say nothing of.
    Silent,
    NotClean,
}

fn ours(image: &[u8]) -> (Verdict, String) {
    match check(Memory::new(image.to_vec()), OPTIONS, &CheckOptions::default()) {
        Ok(report) => (verdict(&report), report.to_string()),
        Err(error @ Error::Unsupported(_)) => (Verdict::NotClean, error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

fn verdict(report: &Report) -> Verdict {
    let bad = report.findings().iter().filter(|finding| finding.severity != Severity::Note);
    let told = bad.clone().any(|finding| finding.severity >= Severity::Recovery && !finding.e2fsck_is_silent());
    match (bad.count(), told) {
        (0, _) => Verdict::Clean,
        (_, false) => Verdict::Silent,
        (_, true) => Verdict::NotClean,
    }
}

/// Whether `e2fsck -fn` ends with 0, after a replay of the journal where the image asks for one.
fn theirs(path: &Path) -> (bool, String) {
    let done = tool::output(tool::command("e2fsck").arg("-fn").arg(path));
    (done.status.code() == Some(0), tool::text(&done))
}

const RECOVER_AT: usize = 1024 + 0x60;

#[test]
fn e2fsck_and_we_agree_on_what_is_clean() {
    if !require(&["e2fsck"]) {
        return;
    }
    let seed = seed(SEED);
    let differ: Mutex<Vec<(Case, String)>> = Mutex::default();
    let total = Mutex::new((0, 0));
    in_parallel(spoil::IMAGES, |name| {
        let mut rng = StdRng::seed_from_u64(seed);
        let file = scratch::file();
        let pick = |rng: &mut StdRng| long() || rng.random_range(0..std::env::var("N").map_or(300,|n|n.parse().unwrap())) == 0;
        let device = OpenOptions::new().write(true).open(file.path()).unwrap();
        let mut on_disk: Vec<u8> = Vec::new();
        spoil::each_field(name, &mut rng, pick, |image, case| {
            let (said, ours) = ours(image);
            let recover = image[RECOVER_AT] & 4 != 0;
            if on_disk.len() != image.len() {
                device.write_all_at(image, 0).unwrap();
                on_disk = image.to_vec();
            }
            for at in (0..image.len()).step_by(4096) {
                let range = at..(at + 4096).min(image.len());
                if on_disk[range.clone()] != image[range.clone()] {
                    device.write_all_at(&image[range.clone()], at as u64).unwrap();
                    on_disk[range.clone()].copy_from_slice(&image[range]);
                }
            }
            let (clean, theirs) = if recover {
                let copy = scratch::copy(file.path());
                let done = tool::output(tool::command("e2fsck").args(["-fy", "-E", "journal_only"]).arg(&copy));
                if done.status.code().is_none_or(|code| code >= 4) { (false, tool::text(&done)) } else { theirs(&copy) }
            } else {
                theirs(file.path())
            };
            let said = if recover && said == Verdict::Silent { Verdict::Clean } else { said };
            let agree = match said {
                Verdict::Clean => clean,
                Verdict::Silent => true,
                Verdict::NotClean => !clean,
            };
            let mut total = total.lock().unwrap();
            total.0 += 1;
            total.1 += usize::from(!clean);
            if !agree {
                differ.lock().unwrap().push((case, format!("we say\n{ours}e2fsck says\n{theirs}")));
            }
        });
    });
    let differ = differ.into_inner().unwrap();
    let (cases, unclean) = total.into_inner().unwrap();
    eprintln!("{cases} images, {unclean} not clean, {} judged otherwise", differ.len());
    for (case, said) in differ.iter().take(2000) {
        eprintln!("=== {case}\n{said}");
    }
    assert!(differ.is_empty());
}
