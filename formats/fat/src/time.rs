//! Points in time as FAT keeps them, in local time, which is taken as UTC.

/// Seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds below 10^9.
    pub nsec: u32,
}

const DAY: i64 = 86400;
/// Days from 1970 to the first that FAT can say, and the years it has.
const FIRST_YEAR: i64 = 1980;
const LAST_YEAR: i64 = 2107;

/// Days since 1970 of the first day of a year, in the Gregorian calendar.
fn year_start(year: i64) -> i64 {
    let before = year - 1;
    365 * (year - 1970) + (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

fn month_lengths(year: i64) -> [i64; 12] {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Date, time in steps of two seconds, and hundredths of a second beyond that. What FAT cannot say becomes the nearest
/// that it can.
pub(crate) fn encode(time: Time) -> (u16, u16, u8) {
    let first = year_start(FIRST_YEAR) * DAY;
    let last = year_start(LAST_YEAR + 1) * DAY - 1;
    let sec = time.sec.clamp(first, last);
    let hundredths = if sec == time.sec { time.nsec / 10_000_000 } else { 0 };
    let days = sec.div_euclid(DAY);
    let (mut year, mut day) = (FIRST_YEAR + (days - year_start(FIRST_YEAR)) / 366, 0);
    while year_start(year + 1) <= days {
        year += 1;
    }
    day += days - year_start(year);
    let mut month = 0;
    for len in month_lengths(year) {
        if day < len {
            break;
        }
        day -= len;
        month += 1;
    }
    let date = (((year - FIRST_YEAR) << 9) | ((month + 1) << 5) | (day + 1)) as u16;
    let in_day = sec.rem_euclid(DAY);
    let clock = (((in_day / 3600) << 11) | ((in_day / 60 % 60) << 5) | (in_day % 60 / 2)) as u16;
    (date, clock, (in_day % 2 * 100) as u8 + hundredths as u8)
}

/// The point in time that date, time and hundredths say; an impossible or missing date is the first day.
pub(crate) fn decode(date: u16, clock: u16, hundredths: u8) -> Time {
    let (year, month, day) = (FIRST_YEAR + i64::from(date >> 9), usize::from((date >> 5) & 15), i64::from(date & 31));
    let lengths = month_lengths(year);
    let days = match month.checked_sub(1).and_then(|month| lengths.get(..month)) {
        Some(before) => year_start(year) + before.iter().sum::<i64>() + (day - 1).max(0),
        None => year_start(year),
    };
    let (hour, minute, second) = (i64::from(clock >> 11), i64::from((clock >> 5) & 63), i64::from(clock & 31) * 2);
    let hundredths = u32::from(hundredths.min(199));
    let sec = days * DAY + hour * 3600 + minute * 60 + second + i64::from(hundredths / 100);
    Time { sec, nsec: hundredths % 100 * 10_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_there_is_comes_back() {
        for day in year_start(FIRST_YEAR)..year_start(LAST_YEAR + 1) {
            let time = Time { sec: day * DAY + 86_398 - day % 2, nsec: 0 };
            let (date, clock, hundredths) = encode(time);
            assert_eq!(decode(date, clock, hundredths), time);
        }
        // date -u -d '2024-02-29 13:14:15' +%s
        let (date, clock, hundredths) = encode(Time { sec: 1_709_212_455, nsec: 999_999_999 });
        assert_eq!((date, clock, hundredths), ((44 << 9) | (2 << 5) | 29, (13 << 11) | (14 << 5) | 7, 199));
    }

    #[test]
    fn what_fat_cannot_say_becomes_what_is_nearest() {
        let decoded = |sec| {
            let (date, clock, hundredths) = encode(Time { sec, nsec: 5 });
            decode(date, clock, hundredths).sec
        };
        assert_eq!((decoded(0), decoded(i64::MIN), decoded(i64::MAX)), (315_532_800, 315_532_800, 4_354_819_199));
        for date in [0, 0xffff, 15 << 5, 1] {
            assert!(decode(date, 0xffff, 255).sec >= 315_532_800, "{date}");
        }
    }
}
