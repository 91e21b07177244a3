//! SELinux contexts of the files of a guest, from the guest's own policy: no SELinux on the host, no program of the
//! guest, no relabelling boot.
//!
//! A guest is an SELinux guest when /etc/selinux/config does not say `disabled` and the policy it names has a
//! file_contexts. What is looked up there, and how, is that of libselinux (selabel_file(5), file_contexts(5)).

mod config;
mod label;
mod lookup;
mod parse;
mod pattern;
mod relabel;
mod subs;
#[cfg(test)]
mod tests;

pub use label::Labelling;
pub use lookup::Policy;
pub use relabel::{Relabel, RelabelOptions, Relabelled, relabel};

pub(super) use config::{has_policy, is_enabled};
pub(super) use label::label_touched;

/// The attribute that holds a file's context.
pub const XATTR: &[u8] = b"security.selinux";
