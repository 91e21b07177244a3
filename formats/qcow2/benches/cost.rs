//! What a small edit costs on a small and on a large image: opening, 40 writes of 4 KiB, 7 barriers that sync nothing.

#[path = "../tests/support/mod.rs"]
mod support;

use nomount_block::WriteAt;
use std::fs::File;
use std::time::{Duration, Instant};
use support::*;

const ROUNDS: usize = 60;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let mut images: Vec<_> = [("4 GiB", 4u64 << 30), ("2 TiB", 2 << 40)]
        .map(|(name, size)| (name, ext::image(dir.path(), &name.replace(' ', "-"), size), Vec::new()))
        .into();
    let large = images[1].1.0.clone();
    for _ in 0..ROUNDS {
        for (_, (path, places), times) in &mut images {
            let copy = dir.path().join("copy.qcow2");
            std::fs::copy(path, &copy).unwrap();
            // The same amount through the processor's caches before each, whatever was copied.
            std::io::copy(&mut File::open(&large).unwrap(), &mut std::io::sink()).unwrap();
            let start = Instant::now();
            let mut image = open(&copy, None, 8 << 20);
            let opened = start.elapsed();
            for (at, barrier) in ext::edit(places) {
                image.write_at(at, &[7; 4096]).unwrap();
                if barrier {
                    image.barrier().unwrap();
                }
            }
            image.barrier().unwrap();
            times.push((start.elapsed(), opened));
        }
    }
    for (name, _, times) in &mut images {
        times.sort();
        let us = |d: Duration| d.as_secs_f64() * 1e6;
        let (total, opened) = times[times.len() / 2];
        println!("{name}: median {:.0} us, of it open {:.0} us; least {:.0} us", us(total), us(opened), us(times[0].0));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}
