//! What is fuzzed: one body for each target, its seeds, and what was found. `cargo fuzz run TARGET` calls a body with
//! what libFuzzer thinks up; `cargo test` of the product calls it with the seeds and everything in `regressions/`.
//!
//! A body returns when the input was handled, whatever the answer; a fault is a panic.
#![forbid(unsafe_code)]

mod ext;
mod fat;
mod file_contexts;
mod glob;
mod input;
mod passwd;
mod ptable;
mod qcow2;
mod recipe;
mod redo;
mod script;
mod sed;
mod tar_in;
mod volume;

/// One thing that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `cargo fuzz run` knows it.
    pub name: &'static str,
    /// Handles one input.
    pub body: fn(&[u8]),
    /// Inputs to begin with, made by the product itself.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "ext_check", body: ext::check::body, seeds: ext::check::seeds },
    Target { name: "ext_ops", body: ext::ops::body, seeds: ext::ops::seeds },
    Target { name: "ext_read", body: ext::read::body, seeds: ext::read::seeds },
    Target { name: "ext_replay", body: ext::replay::body, seeds: ext::replay::seeds },
    Target { name: "fat", body: fat::body, seeds: fat::seeds },
    Target { name: "file_contexts", body: file_contexts::body, seeds: file_contexts::seeds },
    Target { name: "glob", body: glob::body, seeds: glob::seeds },
    Target { name: "passwd", body: passwd::body, seeds: passwd::seeds },
    Target { name: "ptable", body: ptable::body, seeds: ptable::seeds },
    Target { name: "qcow2", body: qcow2::body, seeds: qcow2::seeds },
    Target { name: "qcow2_ops", body: qcow2::decisions, seeds: qcow2::decision_seeds },
    Target { name: "recipe", body: recipe::body, seeds: recipe::seeds },
    Target { name: "redo", body: redo::body, seeds: redo::seeds },
    Target { name: "script", body: script::body, seeds: script::seeds },
    Target { name: "sed", body: sed::body, seeds: sed::seeds },
    Target { name: "tar_in", body: tar_in::body, seeds: tar_in::seeds },
];

/// The target of that name.
///
/// # Panics
///
/// When there is none: the name comes from a target's own program.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"))
}

/// The image that an input of a target of ext stands for; none for another target, or where the input is too short.
pub fn ext_image(target: &str, data: &[u8]) -> Option<Vec<u8>> {
    ext::image_of(target, data)
}
