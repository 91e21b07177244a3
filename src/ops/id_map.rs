//! Which owner of a guest is which of the host, as user namespaces have it.

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Ranges of a map. Linux allows 340.
const MAX_RANGES: usize = 340;

/// One range: `count` numbers from `container` on are those from `host` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First number in the container.
    pub container: u32,
    /// First number on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// A map between the owners in a container, which are those of its image, and those of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap(Vec<IdRange>);

impl IdRange {
    /// Reads `CONTAINER:HOST:COUNT`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Usage, format!("{text:?} is no CONTAINER:HOST:COUNT"));
        let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let [container, host, count] = numbers[..] else { return Err(wrong()) };
        let fits = |first: u32| first.checked_add(count - 1).is_some_and(|last| last != u32::MAX);
        if count == 0 || !fits(container) || !fits(host) {
            return Err(wrong());
        }
        Ok(Self { container, host, count })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let both = |a: u32, b: u32| a <= b.saturating_add(other.count - 1) && b <= a.saturating_add(self.count - 1);
        both(self.container, other.container) || both(self.host, other.host)
    }
}

impl IdMap {
    /// The map in which everyone is the same.
    pub fn identity() -> Self {
        Self(vec![IdRange { container: 0, host: 0, count: u32::MAX }])
    }

    /// A map of several ranges, which may not overlap.
    pub fn new(ranges: Vec<IdRange>) -> Result<Self> {
        if ranges.len() > MAX_RANGES {
            return Err(Error::new(ErrorKind::Usage, format!("a map of more than {MAX_RANGES} ranges")));
        }
        for (at, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges[..at].iter().find(|other| range.overlaps(other)) {
                return Err(Error::new(ErrorKind::Usage, format!("{range:?} overlaps {other:?}")));
            }
        }
        Ok(Self(ranges))
    }

    /// The ranges.
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// The host's number for one of the container.
    pub fn to_host(&self, id: u32) -> Option<u32> {
        let found = self.0.iter().find(|range| id.checked_sub(range.container).is_some_and(|at| at < range.count));
        found.map(|range| range.host + (id - range.container))
    }

    /// The container's number for one of the host.
    pub fn to_container(&self, id: u32) -> Option<u32> {
        let found = self.0.iter().find(|range| id.checked_sub(range.host).is_some_and(|at| at < range.count));
        found.map(|range| range.container + (id - range.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_both_ways() {
        let range = |text| IdRange::parse(text).unwrap();
        let map = IdMap::new(vec![range("0:1000:1"), range("1:100000:65535")]).unwrap();
        assert_eq!([0, 1, 65_535, 65_536].map(|id| map.to_host(id)), [Some(1000), Some(100_000), Some(165_534), None]);
        assert_eq!([1000, 165_534, 165_535, 0].map(|id| map.to_container(id)), [Some(0), Some(65_535), None, None]);
        assert_eq!(IdMap::identity().to_host(70_000), Some(70_000));
        assert_eq!(IdMap::identity().to_host(u32::MAX), None);
    }

    #[test]
    fn refuses_what_is_no_map() {
        for text in ["", "1:2", "1:2:0", "0:4294967295:1", "1:4294967290:9", "a:1:1", "-1:0:1", "1:2:3:4"] {
            assert_eq!(IdRange::parse(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
        let range = |text| IdRange::parse(text).unwrap();
        assert!(IdMap::new(vec![range("0:1000:10"), range("9:5000:1")]).is_err());
        assert!(IdMap::new(vec![range("0:1000:10"), range("10:1009:1")]).is_err());
    }
}
