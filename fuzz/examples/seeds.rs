//! Writes the seeds of all targets, or of the named ones, to `FOLDER/TARGET`: to `corpus`, where `cargo fuzz run` looks
//! for them, or to the folder after `--into`.

use nomount_fuzz::TARGETS;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let corpus = match wanted.first().map(String::as_str) {
        Some("--into") if wanted.len() > 1 => PathBuf::from(wanted.drain(..2).next_back().expect("there are two")),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"),
    };
    for target in TARGETS.iter().filter(|target| wanted.is_empty() || wanted.iter().any(|name| name == target.name)) {
        let folder = corpus.join(target.name);
        std::fs::create_dir_all(&folder)?;
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
        println!("{}: {} seeds", target.name, seeds.len());
    }
    Ok(())
}
