//! P4: other filesystems of the guest.

use super::*;

const FSTAB: &str = "LABEL=root / ext4 rw 0 1\n\
                     /dev/sda2 /var ext4 rw 0 2\n\
                     /dev/sda3 /var/lib/db ext4 rw 0 2\n\
                     /dev/sda4 /home ext4 rw 0 2\n\
                     /dev/sda5 none swap sw 0 0\n";

#[test]
fn p4_what_another_filesystem_of_the_guest_hides_is_told() {
    let mut tree = debian();
    tree.file("/etc/fstab", FSTAB).dir("/var/lib/db").dir("/var/data").link("/data", "var/data");
    let files = files(&[("/data/a", "x"), ("/var/b", "x"), ("/var/lib/db/c", "x"), ("/variant", "x"), ("/srv/d", "x")]);
    let report = done(&mut tree, &InjectRequest { nova_compat: true, ..files });
    assert_eq!(
        report.warnings,
        [
            "/var is another filesystem in the guest's fstab: /var/data/a and 1 more will be hidden there",
            "/var/lib/db is another filesystem in the guest's fstab: /var/lib/db/c will be hidden there",
        ]
    );
}

#[test]
fn p4_a_home_that_is_mounted_hides_the_key() {
    let mut tree = debian();
    tree.file("/etc/fstab", "/dev/sdb1 /srv ext4 rw 0 2\n");
    let report = done(&mut tree, &InjectRequest { user: b"web".to_vec(), ..key() });
    let wanted = "/srv is another filesystem in the guest's fstab: /srv/web/.ssh and 1 more will be hidden there";
    assert_eq!(report.warnings, [wanted]);
}

#[test]
fn p4_the_root_and_the_mount_point_itself_are_not_hidden() {
    let mut tree = debian();
    tree.file("/etc/fstab", "a / ext4\nb /opt ext4\nc swap swap\nd ../x ext4\n");
    tree.file("/opt/app/x", "");
    let report = done(&mut tree, &files(&[("/etc/x", "1"), ("/optional", "1")]));
    assert_eq!(report.warnings, [""; 0]);
}
