//! Which password hash the libraries of a guest verify.

use super::{MAX_FACT_FILE, OsRelease, known};
use crate::account::crypt::Method;
use crate::account::method::{Choice, Guest, supported_by_guest};
use crate::tree::{FileTree, GuestPath, find, read_all};

/// Where libraries are; below each also in directories such as `x86_64-linux-gnu`.
const LIBRARY_DIRS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Directories with a system's name in theirs: a guest has one for each architecture it runs.
const MAX_MULTIARCH: usize = 16;
/// Libraries looked at: a guest has one or two, with several names each.
const MAX_LIBRARIES: usize = 64;
/// Bytes of the largest that is read. libcrypt has about 200 KiB.
const MAX_LIBRARY: u64 = 2 << 20;

/// The method for a new password in this guest, and why.
///
/// What the guest's settings and release say counts only when its libcrypt knows yescrypt: the prefix of every kind of
/// hash that a libcrypt verifies is a string in it.
pub fn password_method(tree: &dyn FileTree) -> Choice {
    let bytes = |path: &str| read_all(tree, &known(path), MAX_FACT_FILE).ok();
    let libraries = libraries(tree);
    let names: Vec<&[u8]> = libraries.iter().filter_map(GuestPath::name).collect();
    let os = OsRelease::of(tree).unwrap_or_default();
    let guest = Guest {
        login_defs: &bytes("/etc/login.defs").unwrap_or_default(),
        pam: &bytes("/etc/pam.d/common-password").or_else(|| bytes("/etc/pam.d/system-auth")).unwrap_or_default(),
        libcrypt: &names,
        os_id: os.id.as_bytes(),
        os_version: os.version_id.as_deref().unwrap_or_default().as_bytes(),
    };
    let choice = supported_by_guest(&guest);
    let knows_it = || {
        libraries.iter().all(|path| {
            let library = read_all(tree, path, MAX_LIBRARY).unwrap_or_default();
            library.windows(3).any(|part| part == b"$y$")
        })
    };
    if choice.method == Method::Yescrypt && !knows_it() {
        return Choice { method: Method::Sha512, reason: "the guest's libcrypt does not know yescrypt" };
    }
    choice
}

/// Every libcrypt of the guest, links followed, each once.
fn libraries(tree: &dyn FileTree) -> Vec<GuestPath> {
    let top: Vec<GuestPath> = LIBRARY_DIRS.iter().map(|dir| known(dir)).collect();
    let is_multiarch = |name: &Vec<u8>| name.windows(7).any(|part| part == b"-linux-");
    let multiarch: Vec<GuestPath> = top
        .iter()
        .flat_map(|dir| names(tree, dir).into_iter().filter(is_multiarch).map(|name| dir.join(name)))
        .take(MAX_MULTIARCH)
        .collect();
    let mut found = Vec::new();
    for dir in top.iter().chain(&multiarch) {
        let is_libcrypt = |name: &Vec<u8>| name.starts_with(b"libcrypt.so") || name.starts_with(b"libcrypt-");
        for name in names(tree, dir).into_iter().filter(is_libcrypt).take(MAX_LIBRARIES) {
            let Some(library) = find(tree, &dir.join(name)).ok().flatten() else { continue };
            if !found.contains(&library.path) && found.len() < MAX_LIBRARIES {
                found.push(library.path);
            }
        }
    }
    found
}

fn names(tree: &dyn FileTree, dir: &GuestPath) -> Vec<Vec<u8>> {
    let Some(found) = find(tree, dir).ok().flatten() else { return Vec::new() };
    tree.entries(&found.path).unwrap_or_default().into_iter().map(|entry| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    const XCRYPT: &str = "\x7fELF..\0$y$\0$gy$\0$7$\0$2b$\0$6$\0$5$\0";
    const OLD_XCRYPT: &str = "\x7fELF..\0$2b$\0$6$\0$5$\0";

    fn guest(library: &str, contents: &str, release: &str) -> MemTree {
        let mut tree = MemTree::new();
        tree.file(library, contents).file("/etc/os-release", release);
        tree
    }

    #[test]
    fn a2_the_method_is_one_that_the_guests_library_verifies() {
        let library = "/usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0";
        let mut tree = guest(library, XCRYPT, "ID=debian\nVERSION_ID=\"12\"\n");
        tree.link("/lib", "usr/lib").link("/usr/lib/x86_64-linux-gnu/libcrypt.so.1", "libcrypt.so.1.1.0");
        assert_eq!(libraries(&tree).len(), 1);
        assert_eq!(password_method(&tree).method, Method::Yescrypt);
        // A second library that does not know it: logins may use either.
        tree.file("/usr/lib64/libcrypt.so.2.0.0", OLD_XCRYPT);
        assert_eq!(password_method(&tree).method, Method::Sha512);

        let mut tree = guest("/lib64/libcrypt.so.1.1.0", OLD_XCRYPT, "ID=rhel\nVERSION_ID=\"8.9\"\n");
        assert_eq!(password_method(&tree).method, Method::Sha512);
        tree.file("/etc/login.defs", "ENCRYPT_METHOD YESCRYPT\n");
        let choice = password_method(&tree);
        assert_eq!((choice.method, choice.reason), (Method::Sha512, "the guest's libcrypt does not know yescrypt"));
        tree.file("/lib64/libcrypt.so.1.1.0", XCRYPT);
        assert_eq!(password_method(&tree).method, Method::Yescrypt);
        tree.file("/etc/pam.d/system-auth", "password sufficient pam_unix.so sha512\n");
        assert_eq!(password_method(&tree).method, Method::Sha512);
        tree.file("/etc/pam.d/common-password", "password sufficient pam_unix.so yescrypt\n");
        assert_eq!(password_method(&tree).method, Method::Yescrypt);

        let glibc = guest("/lib64/libcrypt-2.17.so", OLD_XCRYPT, "ID=centos\nVERSION_ID=7\n");
        assert_eq!(password_method(&glibc).method, Method::Sha512);
        let alpine = guest("/lib/libcrypt.so.1", "", "ID=alpine\nVERSION_ID=3.20\n");
        assert_eq!(password_method(&alpine).method, Method::Sha512);
        assert_eq!(password_method(&MemTree::new()).method, Method::Sha512);
    }
}
