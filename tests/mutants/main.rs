//! Spoiled images of every format under the commands that people give them to: whatever a file contains, a command ends
//! with an exit code that is documented, soon and in little memory, and leaves the image and its folder as they were; a
//! new image that it writes is sound where the old one was.
//!
//! `NOMOUNT_MUTANTS=2000` takes so many images of each family, `NOMOUNT_LONG=1` two thousand; a table is printed.
//! `NOMOUNT_MUTANT=NAME#NUMBER` tries one that was told of, and keeps it.

#[path = "../common/mod.rs"]
mod common;
mod family;
mod measured;
mod tally;
mod trial;

use family::{FAMILIES, Family, TOOLS};
use nomount_kit::require;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tally::Tally;
use trial::Bench;

/// Spoiled images of each family, unless more are wanted.
const DEFAULT: u64 = 40;
const LONG: u64 = 2000;
/// Processes at a time.
const WORKERS: usize = 2;

fn wanted() -> u64 {
    let number = std::env::var("NOMOUNT_MUTANTS").ok().map(|text| text.parse().expect("NOMOUNT_MUTANTS is a number"));
    number.unwrap_or(if common::long() { LONG } else { DEFAULT })
}

/// Tries `count` mutants of a family.
fn attack(family: &Family, count: u64) -> Tally {
    let victims = (family.victims)();
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut bench = Bench::new();
                let mut tally = Tally::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    // Numbers go on within a victim, so that each has stale and right checksums.
                    let victim = &victims[(number % victims.len() as u64) as usize];
                    let known = tally.faults.len();
                    bench.try_mutant(&victim.mutant(number / victims.len() as u64), &mut tally);
                    tally.faults[known..].iter().for_each(|fault| eprintln!("{fault}"));
                }
                total.lock().unwrap().add(tally);
            });
        }
    });
    total.into_inner().unwrap()
}

#[test]
fn nothing_that_an_image_contains_hurts() {
    if !require(TOOLS) {
        return;
    }
    let mut faults = Vec::new();
    for family in FAMILIES {
        let tally = attack(family, wanted());
        eprintln!("{}\n{tally}", family.name);
        faults.extend(tally.faults);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Otherwise what is said of mutants would be said of commands that never do anything.
#[test]
fn commands_succeed_on_the_sound_images() {
    if !require(TOOLS) {
        return;
    }
    for family in FAMILIES {
        for victim in (family.victims)() {
            Bench::new().sound(&victim, family.is_checked);
        }
    }
}

#[test]
fn one_that_was_told_of() {
    let Ok(text) = std::env::var("NOMOUNT_MUTANT") else { return };
    let (name, number) = text.rsplit_once('#').expect("NAME#NUMBER");
    let victims = FAMILIES.iter().flat_map(|family| (family.victims)());
    let victim = victims.into_iter().find(|victim| victim.name == name).expect("a victim of that name");
    let mutant = victim.mutant(number.parse().expect("a number"));
    let kept = nomount_kit::scratch::folder().keep().join("disk");
    std::fs::write(&kept, &mutant.bytes).unwrap();
    eprintln!("{}\nkept as {}", mutant.what, kept.display());
    let mut tally = Tally::default();
    Bench::new().try_mutant(&mutant, &mut tally);
    eprintln!("{tally}");
    assert!(tally.faults.is_empty(), "{}", tally.faults.join("\n"));
}
