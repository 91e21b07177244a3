//! The format of a guest's packages.

/// The format that the package manager of that name installs.
pub(super) fn format(manager: Option<&str>) -> Option<&'static str> {
    Some(match manager? {
        "apt" => "deb",
        "dnf" | "microdnf" | "tdnf" | "yum" | "zypper" => "rpm",
        "apk" => "apk",
        "pacman" => "pacman",
        "emerge" => "ebuild",
        "xbps" => "xbps",
        "opkg" => "ipk",
        _ => return None,
    })
}
