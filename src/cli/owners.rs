//! Which owners the caller has on this host: itself, and those that are subordinate to it.

use nomount::ops::{IdMap, IdRange};
use nomount::{Error, ErrorKind, Result};
use std::fs;

/// The map of users that rootless runtimes use: 0 is the caller, those from 1 on the subordinate ones. Root, also that
/// of a user namespace, has everyone as they are.
pub fn users() -> Result<IdMap> {
    map(rustix::process::geteuid().as_raw(), "/etc/subuid")
}

/// The same for groups.
pub fn groups() -> Result<IdMap> {
    if rustix::process::geteuid().is_root() {
        return Ok(IdMap::identity());
    }
    map(rustix::process::getegid().as_raw(), "/etc/subgid")
}

fn map(id: u32, file: &str) -> Result<IdMap> {
    if rustix::process::geteuid().is_root() {
        return Ok(IdMap::identity());
    }
    let user = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    // No file, no subordinates.
    let text = fs::read_to_string(file).unwrap_or_default();
    IdMap::new(ranges(id, user, &passwd, &text)).map_err(|error| {
        Error::new(ErrorKind::Usage, format!("{file} cannot be used: {error}"))
            .hint("give the maps with --uid-map and --gid-map")
    })
}

/// The caller, and the ranges of a file of lines `NAME-OR-UID:FIRST:COUNT` that are its.
fn ranges(id: u32, user: u32, passwd: &str, text: &str) -> Vec<IdRange> {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (uid.parse() == Ok(user)).then_some(name)
    });
    let mut ranges = vec![IdRange { container: 0, host: id, count: 1 }];
    let mut next = 1;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [who, first, count] = fields[..] else { continue };
        if Some(who) != name && who.parse() != Ok(user) {
            continue;
        }
        // A line that is no range is no range for others either.
        if let Ok(range) = IdRange::parse(&format!("{next}:{first}:{count}")) {
            next += range.count;
            ranges.push(range);
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinates_are_found_by_name_and_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
        let text = "you:100000:65536\nme:165536:65536\n1000:300000:10\nme:broken:1\nme:1\n";
        let found = ranges(1001, 1000, passwd, text);
        let wanted = [(0, 1001, 1), (1, 165_536, 65_536), (65_537, 300_000, 10)];
        assert_eq!(found, wanted.map(|(container, host, count)| IdRange { container, host, count }));
        assert_eq!(ranges(5, 5, passwd, text).len(), 1);
    }
}
