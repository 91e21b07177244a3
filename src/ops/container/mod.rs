//! The root filesystem of a guest as a directory that a container can be started on, and its way back into the image.
//!
//! [`setup`] extracts a volume into a directory and writes down in a manifest beside it, `DIR.nomount-manifest`, what
//! was there and what the host made of it. The directory itself is the root filesystem, as LXC, crun and podman take
//! it, and the manifest is out of reach of what runs in it. [`teardown`] brings back what has changed since, in one
//! commit, or drops it; [`clean`] only forgets.

mod apply;
mod contents;
mod manifest;
mod place;
mod plan;
mod setup;
mod teardown;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use setup::{Setup, SetupRequest, setup};
pub use teardown::{Teardown, TeardownRequest, clean, image_of, teardown};
