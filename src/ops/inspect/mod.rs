//! What a guest is, from its files: system, kernels, boot loaders, accounts and the like. Nothing here fails: what
//! cannot be found out is absent, and what cannot be read is a note.

mod bootloader;
mod cloud_init;
mod firmware;
mod kernels;
mod machine_id;
mod packages;
mod reader;
mod selinux;
mod timezone;
mod users;

pub use bootloader::Bootloader;
pub use cloud_init::CloudInit;
pub use firmware::{Firmware, firmware};
pub use kernels::Kernel;
pub use machine_id::MachineId;
pub use selinux::{Selinux, SelinuxMode};
pub use users::Users;

use crate::ops::guest::{GuestInfo, describe};
use crate::tree::FileTree;
use reader::Reader;
use serde::Serialize;

/// A guest as its files describe it. Strings are the guest's own: escape them before printing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// System, host name, architecture, init, package manager, fstab.
    #[serde(flatten)]
    pub guest: GuestInfo,
    /// The format of its packages: `deb`, `rpm`, `apk`, `pacman`, `ebuild`, `xbps`, `ipk`.
    pub package_format: Option<&'static str>,
    /// The kernels, newest first.
    pub kernels: Vec<Kernel>,
    /// Boot loaders that have their configuration in it.
    pub bootloaders: Vec<Bootloader>,
    /// SELinux, where it has a configuration.
    pub selinux: Option<Selinux>,
    /// cloud-init, where it is installed.
    pub cloud_init: Option<CloudInit>,
    /// The state of its /etc/machine-id.
    pub machine_id: MachineId,
    /// Its time zone, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// The people who can log in.
    pub users: Users,
    /// What could not be read, and why.
    pub notes: Vec<String>,
}

/// Inspects the guest in `tree`.
pub fn inspect(tree: &dyn FileTree) -> Inspection {
    let mut reader = Reader::new(tree);
    let guest = describe(tree);
    Inspection {
        package_format: packages::format(guest.package_manager),
        kernels: kernels::kernels(&mut reader),
        bootloaders: bootloader::bootloaders(&reader),
        selinux: selinux::selinux(&mut reader),
        cloud_init: cloud_init::cloud_init(&mut reader),
        machine_id: machine_id::machine_id(&mut reader),
        timezone: timezone::timezone(&mut reader),
        users: users::users(&mut reader),
        notes: reader.into_notes(),
        guest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn an_empty_tree_is_no_failure() {
        let found = inspect(&MemTree::new());
        assert_eq!(found.guest, GuestInfo::default());
        assert_eq!((found.kernels.len(), found.bootloaders.len(), found.users.count), (0, 0, 0));
        assert_eq!((found.machine_id, found.selinux, found.cloud_init), (MachineId::Missing, None, None));
        assert!(found.notes.is_empty());
    }

    #[test]
    fn what_is_no_file_or_too_long_is_a_note() {
        let mut tree = MemTree::new();
        tree.dir("/etc/machine-id").dir("/etc/passwd").file("/etc/selinux/config", vec![b'a'; (1 << 20) + 1]);
        tree.link("/etc/timezone", "timezone").file("/boot", "").dir("/etc/cloud/cloud.cfg");
        let notes = inspect(&tree).notes;
        for (path, why) in [
            ("/etc/machine-id", "directory"),
            ("/etc/passwd", "directory"),
            ("/etc/selinux/config", "1048577 bytes"),
            ("/etc/timezone", "symbolic links"),
            ("/boot", "directory"),
        ] {
            assert!(notes.iter().any(|note| note.starts_with(path) && note.contains(why)), "{path}: {notes:?}");
        }
    }
}
