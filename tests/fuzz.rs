//! The bodies of all fuzz targets on their seeds, on what was found before, and on seeds with a few bytes changed.

use nomount_fuzz::TARGETS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;

/// Changed copies of each seed.
const CHANGED: usize = 40;

#[test]
fn every_target_has_its_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<String> = std::fs::read_dir(programs)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort();
    assert_eq!(found, targets);
}

#[test]
fn seeds_and_changed_seeds() {
    let mut rng = StdRng::seed_from_u64(6);
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            eprintln!("{}, seed {number}", target.name);
            (target.body)(seed);
            for _ in 0..CHANGED {
                let mut changed = seed.clone();
                for _ in 0..rng.random_range(1..8) {
                    let at = rng.random_range(0..changed.len());
                    changed[at] = rng.random();
                }
                (target.body)(&changed);
            }
        }
    }
}

#[test]
fn what_was_found_before() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    for target in TARGETS {
        // Nothing was found yet where there is no folder.
        let Ok(files) = std::fs::read_dir(regressions.join(target.name)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            eprintln!("{}", path.display());
            (target.body)(&std::fs::read(&path).unwrap());
        }
    }
}
