//! SELinux policies: the lines of file_contexts and the substitutions, and looking paths up in them. The input: path,
//! substitutions, their second file, and the contexts, parted by NUL.

use crate::input::{joined, parts};
use nomount::ops::selinux::Policy;
use nomount::tree::{FileKind, GuestPath};

pub fn body(data: &[u8]) {
    let [path, subs, subs_dist, contexts] = parts(data);
    let texts = [contexts.to_vec(), Vec::new(), Vec::new()];
    let Ok(mut policy) = Policy::parse(&texts, subs, subs_dist) else { return };
    let paths = [path, b"/", b"/etc/passwd", b"/home/ada/.ssh/authorized_keys"];
    for path in paths.into_iter().filter_map(|path| GuestPath::parse(path).ok()) {
        for kind in [FileKind::File, FileKind::Dir, FileKind::Symlink] {
            let Ok(found) = policy.lookup(&path, kind).map(|found| found.map(str::to_owned)) else { continue };
            let again = policy.lookup(&path, kind).expect("it was possible before");
            assert_eq!(again, found.as_deref(), "a lookup has no memory");
            if let Some(context) = found {
                let known = contexts.windows(context.len()).any(|window| window == context.as_bytes());
                assert!(known && !context.is_empty(), "{context:?} is nowhere in the policy");
            }
        }
    }
    assert!(policy.notes().len() < 16);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let contexts = b"/.*\tsystem_u:object_r:default_t:s0\n/\t-d\tsystem_u:object_r:root_t:s0\n\
        /etc(/.*)?\tsystem_u:object_r:etc_t:s0\n/etc/passwd[-\\+]?\t--\tsystem_u:object_r:passwd_file_t:s0\n\
        # comment\n/home/[^/]+/\\.ssh(/.*)?\tunconfined_u:object_r:ssh_home_t:s0\n/proc/.*\t<<none>>\n\
        /dev/[shmxv]d[^/]*\t-b\tsystem_u:object_r:fixed_disk_device_t:s0\n/usr/(.*/)?lib(64)?/.+\\.so\t--\tu:r:t\n";
    let subs = b"/srv/home /home\n/usr/lib64 /usr/lib\n";
    let paths: [&[u8]; 3] = [b"/srv/home/ada/.ssh", b"/usr/lib64/x/y.so", b"/dev/sda1"];
    paths.iter().map(|path| joined(&[path, subs, b"/run /var/run\n", contexts])).collect()
}
