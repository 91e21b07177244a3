//! Points in time as inodes store them.

/// Seconds since 1970 and nanoseconds below 10^9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: u32,
}

/// The latest second that a base of 32 bits and an epoch of 2 bits express, in the year 2446.
const MAX_SEC: i64 = i32::MAX as i64 + (3 << 32);

impl Time {
    /// From the 32-bit field and, where the inode has it, the extra field (ext4.rst, "Inode Timestamps").
    pub(crate) fn decode(base: u32, extra: Option<u32>) -> Self {
        let sec = i64::from(base as i32);
        match extra {
            None => Self { sec, nsec: 0 },
            Some(extra) => Self { sec: sec + (i64::from(extra & 3) << 32), nsec: extra >> 2 },
        }
    }

    /// The 32-bit field and the extra field; clamped to what they express.
    pub(crate) fn encode(self, with_extra: bool) -> (u32, u32) {
        let max = if with_extra { MAX_SEC } else { i64::from(i32::MAX) };
        let sec = self.sec.clamp(i64::from(i32::MIN), max);
        let epoch = ((sec - i64::from(sec as i32)) >> 32) as u32 & 3;
        (sec as u32, self.nsec << 2 | epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_survives() {
        for sec in [0, -1, i64::from(i32::MIN), i64::from(i32::MAX) + 1, 0xFFFF_FFFF, 0x1_0000_0000, MAX_SEC] {
            let time = Time { sec, nsec: 999_999_999 };
            let (base, extra) = time.encode(true);
            assert_eq!(Time::decode(base, Some(extra)), time);
        }
    }

    #[test]
    fn without_the_extra_field_time_ends_in_2038() {
        let (base, _) = Time { sec: 1 << 33, nsec: 5 }.encode(false);
        assert_eq!(Time::decode(base, None), Time { sec: i64::from(i32::MAX), nsec: 0 });
    }
}
