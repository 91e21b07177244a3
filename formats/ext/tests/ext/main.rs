//! Every test of the engine in one program: what they share is built once.

mod common;

mod acl;
mod agree;
mod bigalloc;
mod check;
mod contents;
mod corrupt;
mod crash;
mod crash_matrix;
mod extents;
mod faults;
mod geometry;
mod grow;
mod htree;
mod import;
mod inline;
mod inline_dir;
mod mkfs;
mod mmp;
mod model;
mod names;
mod orphans;
mod quota;
mod read;
mod readers;
mod regressions;
mod rename;
mod replay;
mod scrub;
mod statfs;
mod uninit;
mod write;
mod xattr;
