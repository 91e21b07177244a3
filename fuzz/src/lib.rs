//! What is fuzzed: one body for each target, its seeds, and what was found. `cargo fuzz run TARGET` calls a body with
//! what libFuzzer thinks up; `cargo test` of the product calls it with the seeds and everything in `regressions/`.
//!
//! A body returns when the input was handled, whatever the answer; a fault is a panic.
#![forbid(unsafe_code)]

mod ext;
mod ptable;

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
    Target { name: "ptable", body: ptable::body, seeds: ptable::seeds },
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
