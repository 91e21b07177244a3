//! What virt-sysprep knows to do, and how each is done here.

/// The name of the task that stands for the operations of `customize`.
pub const CUSTOMIZE: &str = "customize";

/// One operation.
#[derive(Debug)]
pub struct Task {
    /// Its name in virt-sysprep.
    pub name: &'static str,
    /// Whether it is done unless told otherwise.
    pub default: bool,
    /// What it does, in a line.
    pub summary: &'static str,
    pub(super) work: Work,
}

impl Task {
    /// Why it is not done here; none for one that is.
    pub fn reason_against(&self) -> Option<&'static str> {
        match self.work {
            Work::NotHere(reason) => Some(reason),
            _ => None,
        }
    }
}

/// How a task is done. Paths are patterns of glob(7) from the root of the guest.
#[derive(Debug)]
pub(super) enum Work {
    /// Whatever matches goes, directories with all that is below.
    Remove(&'static [&'static str]),
    /// Regular files below these go, directories and hidden files stay.
    RemoveFilesBelow(&'static [&'static str]),
    /// The same names in every home directory.
    RemoveFromHomes(&'static [&'static str]),
    /// Regular files below `dirs` whose names end so.
    RemoveNamed { dirs: &'static [&'static str], suffixes: &'static [&'static str] },
    /// Regular files that are there become empty.
    Empty(&'static [&'static str]),
    /// Lines of shell variables with these names go from files that match.
    RemoveLines { pattern: &'static str, keys: &'static [&'static str] },
    /// An empty file.
    Create(&'static str),
    /// User accounts.
    RemoveAccounts,
    /// The operations of customize.
    Customize,
    /// Not at all, for this reason.
    NotHere(&'static str),
}

const fn on(name: &'static str, summary: &'static str, work: Work) -> Task {
    Task { name, default: true, summary, work }
}

const fn off(name: &'static str, summary: &'static str, work: Work) -> Task {
    Task { name, default: false, summary, work }
}

/// All that virt-sysprep knows, in the order in which they are done.
pub const TASKS: &[Task] = &[
    on("abrt-data", "Remove crash data of ABRT", Work::Remove(&["/var/spool/abrt/*", "/var/tmp/abrt/*"])),
    on(
        "backup-files",
        "Remove backups of editors from /etc, /root, /srv, /tmp and /var",
        Work::RemoveNamed { dirs: &["/etc", "/root", "/srv", "/tmp", "/var"], suffixes: &["~", ".bak"] },
    ),
    on("bash-history", "Remove the histories of bash from home directories", Work::RemoveFromHomes(&[".bash_history"])),
    on(
        "blkid-tab",
        "Remove the cache of blkid",
        Work::Remove(&["/etc/blkid.tab", "/etc/blkid/blkid.tab", "/run/blkid/blkid.tab", "/var/run/blkid.tab"]),
    ),
    off(
        "ca-certificates",
        "Remove certificates and keys that are not the distribution's",
        Work::Remove(&[
            "/etc/pki/CA/certs/*",
            "/etc/pki/CA/crl/*",
            "/etc/pki/CA/newcerts/*",
            "/etc/pki/CA/private/*",
            "/etc/pki/tls/private/*",
            "/etc/ssl/private/*",
            "/usr/local/share/ca-certificates/*",
        ]),
    ),
    on(
        "crash-data",
        "Remove dumps of kdump and of crashed programs",
        Work::Remove(&["/var/crash/*", "/var/log/dump/*", "/var/lib/systemd/coredump/*"]),
    ),
    on(
        "cron-spool",
        "Remove users' jobs of cron and at",
        Work::RemoveFilesBelow(&["/var/spool/cron", "/var/spool/at", "/var/spool/atjobs", "/var/spool/atspool"]),
    ),
    on(
        "dhcp-client-state",
        "Remove leases of DHCP clients",
        Work::Remove(&[
            "/var/lib/dhclient/*",
            "/var/lib/dhcp/dhclient*",
            "/var/lib/dhcp3/dhclient*",
            "/var/lib/dhcpcd/*.lease*",
            "/var/lib/dhcpcd5/*.lease*",
            "/var/lib/NetworkManager/*.lease",
            "/var/lib/wicked/lease-*",
        ]),
    ),
    on(
        "dhcp-server-state",
        "Remove leases of a DHCP server",
        Work::Remove(&["/var/lib/dhcpd/*", "/var/lib/dhcp/dhcpd*.leases*", "/var/lib/kea/*leases*"]),
    ),
    on("dovecot-data", "Remove the data that Dovecot makes when it starts", Work::Remove(&["/var/lib/dovecot/*"])),
    off(
        "firewall-rules",
        "Remove the rules of the firewall",
        Work::Remove(&[
            "/etc/sysconfig/iptables",
            "/etc/sysconfig/ip6tables",
            "/etc/iptables/rules.v4",
            "/etc/iptables/rules.v6",
            "/etc/firewalld/services/*",
            "/etc/firewalld/zones/*",
        ]),
    ),
    off(
        "flag-reconfiguration",
        "Make Red Hat's guests ask for their configuration at the next boot",
        Work::Create("/.unconfigured"),
    ),
    off(
        "fs-uuids",
        "Give filesystems other UUIDs",
        Work::NotHere("what finds filesystems by UUID, as fstab and boot loaders, would no longer find them"),
    ),
    on(
        "ipa-client",
        "Remove what joins the guest to a realm of FreeIPA",
        Work::Remove(&[
            "/etc/ipa/ca.crt",
            "/etc/ipa/default.conf",
            "/etc/ipa/nssdb/*",
            "/var/lib/ipa-client/pki/*",
            "/var/lib/ipa-client/sysrestore/*",
        ]),
    ),
    off(
        "kerberos-data",
        "Remove the database of a Kerberos server",
        Work::Remove(&["/var/kerberos/krb5kdc/principal*", "/var/lib/krb5kdc/principal*"]),
    ),
    on("kerberos-hostkeytab", "Remove the host's Kerberos keys", Work::Remove(&["/etc/krb5.keytab"])),
    on("logfiles", "Remove log files", Work::Remove(LOGFILES)),
    on(
        "lvm-system-devices",
        "Remove the list of devices that LVM uses",
        Work::Remove(&["/etc/lvm/devices/system.devices", "/etc/lvm/devices/backup/*"]),
    ),
    off("lvm-uuids", "Give LVM's volumes other UUIDs", Work::NotHere("LVM's metadata is not changed")),
    on(
        "machine-id",
        "Empty the machine id, so that the guest makes one at its next boot",
        Work::Empty(&["/etc/machine-id", "/var/lib/dbus/machine-id"]),
    ),
    on("mail-spool", "Remove users' mail from the spool", Work::RemoveFilesBelow(&["/var/spool/mail", "/var/mail"])),
    on(
        "net-hostname",
        "Remove the hostname from configurations of network interfaces",
        Work::RemoveLines { pattern: "/etc/sysconfig/network-scripts/ifcfg-*", keys: &["HOSTNAME", "DHCP_HOSTNAME"] },
    ),
    on(
        "net-hwaddr",
        "Remove MAC addresses from configurations of network interfaces",
        Work::RemoveLines { pattern: "/etc/sysconfig/network-scripts/ifcfg-*", keys: &["HWADDR"] },
    ),
    on(
        "net-nmconn",
        "Remove NetworkManager's connection profiles",
        Work::Remove(&["/etc/NetworkManager/system-connections/*.nmconnection"]),
    ),
    on(
        "pacct-log",
        "Remove the log of process accounting",
        Work::Remove(&["/var/account/pacct*", "/var/log/account/pacct*"]),
    ),
    on(
        "package-manager-cache",
        "Remove packages that were downloaded, and lists of them",
        Work::Remove(&[
            "/var/cache/apk/*",
            "/var/cache/apt/*.bin",
            "/var/cache/apt/archives/*.deb",
            "/var/cache/dnf/*",
            "/var/cache/libdnf5/*",
            "/var/cache/pacman/pkg/*",
            "/var/cache/yum/*",
            "/var/cache/zypp/*",
        ]),
    ),
    on(
        "pam-data",
        "Remove what PAM's modules remember",
        Work::Remove(&["/run/console/*", "/run/faillock/*", "/run/sepermit/*", "/var/lib/faillock/*"]),
    ),
    on(
        "passwd-backups",
        "Remove the backups of passwd and its like",
        Work::Remove(&["/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-", "/etc/subgid-", "/etc/subuid-"]),
    ),
    on(
        "puppet-data-log",
        "Remove data and logs of Puppet",
        Work::Remove(&[
            "/var/lib/puppet/*/*",
            "/var/log/puppet/*",
            "/var/log/puppetlabs/puppet/*",
            "/etc/puppetlabs/puppet/ssl/*",
            "/opt/puppetlabs/puppet/cache/*",
        ]),
    ),
    on(
        "rh-subscription-manager",
        "Remove the guest's subscription to Red Hat's services",
        Work::Remove(&[
            "/etc/pki/consumer/*",
            "/etc/pki/entitlement/*",
            "/var/lib/rhsm/cache/*",
            "/var/lib/rhsm/facts/*",
        ]),
    ),
    on(
        "rhn-systemid",
        "Remove the guest's identity at Red Hat Network",
        Work::Remove(&["/etc/sysconfig/rhn/systemid", "/etc/sysconfig/rhn/osad-auth.conf"]),
    ),
    on(
        "rpm-db",
        "Remove what Berkeley DB keeps beside RPM's database while it runs",
        Work::Remove(&["/var/lib/rpm/__db.*"]),
    ),
    on(
        "samba-db-log",
        "Remove databases and logs of Samba",
        Work::Remove(&[
            "/var/lib/samba/*.tdb",
            "/var/lib/samba/*.dat",
            "/var/lib/samba/private/*.tdb",
            "/var/log/samba/*",
        ]),
    ),
    off("script", "Run a program of the host on the guest's files", Work::NotHere("the guest is mounted nowhere")),
    on(
        "smolt-uuid",
        "Remove the identity of Smolt",
        Work::Remove(&["/etc/smolt/hw-uuid", "/etc/smolt/uuid", "/etc/sysconfig/hw-uuid"]),
    ),
    on(
        "ssh-hostkeys",
        "Remove the host keys of ssh; the guest must make new ones, which Debian does only when told to",
        Work::Remove(&["/etc/ssh/*_host_*"]),
    ),
    on("ssh-userdir", "Remove .ssh from home directories", Work::RemoveFromHomes(&[".ssh"])),
    on("sssd-db-log", "Remove databases and logs of SSSD", Work::Remove(&["/var/lib/sss/db/*", "/var/log/sssd/*"])),
    on("tmp-files", "Remove temporary files", Work::Remove(&["/tmp/*", "/tmp/.*", "/var/tmp/*", "/var/tmp/.*"])),
    on(
        "udev-persistent-net",
        "Remove udev's rules that bind names of network interfaces to MAC addresses",
        Work::Remove(&["/etc/udev/rules.d/70-persistent-net.rules"]),
    ),
    off("user-account", "Remove user accounts and their home directories", Work::RemoveAccounts),
    on("utmp", "Remove the record of who is logged in", Work::Remove(&["/run/utmp", "/var/run/utmp"])),
    on("yum-uuid", "Remove the identity of yum", Work::Remove(&["/var/lib/yum/uuid"])),
    on(
        "zsh-history",
        "Remove the histories of zsh from home directories",
        Work::RemoveFromHomes(&[".histfile", ".zhistory", ".zsh_history"]),
    ),
    on(CUSTOMIZE, "Do the operations of customize", Work::Customize),
];

/// Where the services of the usual distributions write what they did. Their folders stay: many would not start without.
const LOGFILES: &[&str] = &[
    "/root/anaconda-ks.cfg",
    "/root/anaconda-post.log",
    "/root/initial-setup-ks.cfg",
    "/root/install.log*",
    "/root/original-ks.cfg",
    "/var/log/*.err",
    "/var/log/*.info",
    "/var/log/*.log*",
    "/var/log/*.old",
    "/var/log/*.warn",
    "/var/log/YaST2/*",
    "/var/log/anaconda/*",
    "/var/log/apache2/*",
    "/var/log/apt/*",
    "/var/log/audit/*",
    "/var/log/btmp*",
    "/var/log/cron*",
    "/var/log/cups/*",
    "/var/log/debug*",
    "/var/log/dmesg*",
    "/var/log/exim4/*",
    "/var/log/faillog*",
    "/var/log/gdm/*",
    "/var/log/httpd/*",
    "/var/log/installer/*",
    "/var/log/journal/*",
    "/var/log/lastlog*",
    "/var/log/libvirt/*/*",
    "/var/log/lighttpd/*",
    "/var/log/mail*",
    "/var/log/mariadb/*",
    "/var/log/messages*",
    "/var/log/mysql/*",
    "/var/log/nginx/*",
    "/var/log/ntpstats/*",
    "/var/log/pgsql",
    "/var/log/postgresql/*",
    "/var/log/ppp/*",
    "/var/log/rhsm/*",
    "/var/log/sa/*",
    "/var/log/secure*",
    "/var/log/spooler*",
    "/var/log/squid/*",
    "/var/log/statistics/*",
    "/var/log/syslog*",
    "/var/log/sysstat/*",
    "/var/log/tallylog*",
    "/var/log/tomcat*/*",
    "/var/log/tuned/*",
    "/var/log/unattended-upgrades/*",
    "/var/log/user*",
    "/var/log/wtmp*",
    "/var/log/xferlog*",
    "/var/log/zypp/*",
];
