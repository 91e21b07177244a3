//! Points in time as options spell them.

use nomount::tree::Time;

/// `@SECONDS` since 1970, `2026-01-31`, or `2026-01-31T12:00:00Z` (also with a blank or without the `Z`), each UTC;
/// seconds may have a fraction of up to nine digits.
pub fn parse(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?}: @SECONDS, 2026-01-31 or 2026-01-31T12:00:00Z is needed");
    let parsed = match text.strip_prefix('@') {
        Some(seconds) => since_1970(seconds),
        None => date_and_time(text),
    };
    parsed.ok_or_else(wrong)
}

fn since_1970(text: &str) -> Option<Time> {
    let (whole, nsec) = with_fraction(text)?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let sec: i64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| whole.parse().ok())??;
    match (whole.starts_with('-'), nsec) {
        // What is before 1970 counts its nanoseconds upwards, too.
        (true, 1..) => Some(Time { sec: sec.checked_sub(1)?, nsec: 1_000_000_000 - nsec }),
        _ => Some(Time { sec, nsec }),
    }
}

fn date_and_time(text: &str) -> Option<Time> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, nsec) = with_fraction(time)?;
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next().unwrap_or(Some(0))?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || year > 9999 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some(Time { sec: days * 86_400 + hour * 3600 + minute * 60 + second, nsec })
}

/// Whole years, then whole months, then days: a leap day counts from March on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days_until = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let counted = if month > 2 { year } else { year - 1 };
    let leap_days = leap_days_until(counted) - leap_days_until(1969);
    (year - 1970) * 365 + leap_days + BEFORE_MONTH[month as usize - 1] + day - 1
}

fn with_fraction(text: &str) -> Option<(&str, u32)> {
    let Some((whole, fraction)) = text.split_once('.') else { return Some((text, 0)) };
    let digits = !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| format!("{fraction:0<9}").parse().ok().map(|nsec| (whole, nsec)))?
}

/// A number of one to four digits.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::stat::utc;
    use super::*;

    #[test]
    fn seconds_and_dates() {
        for (text, sec, nsec) in [
            ("@0", 0, 0),
            ("@1795478400.5", 1_795_478_400, 500_000_000),
            ("@-1", -1, 0),
            ("@-1.25", -2, 750_000_000),
            ("1970-01-01", 0, 0),
            ("2000-02-29T00:00:00Z", 951_782_400, 0),
            ("2000-03-01 00:00", 951_868_800, 0),
            ("1969-12-31T23:59:59.000000001Z", -1, 1),
        ] {
            assert_eq!(parse(text), Ok(Time { sec, nsec }), "{text}");
        }
        for bad in [
            "",
            "@",
            "@x",
            "@1.",
            "@+1",
            "now",
            "2026",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "2100-02-29",
            "2026-01-32",
            "2026-01-01T24:00:00",
            "2026-01-01T12",
            "2026-01-01T1:2:3:4",
            "2026-01-01T00:00:00.1234567890",
            "12026-01-01",
            "2026-1--1",
            "@9999999999999999999",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        // Every day of the eras that matter, and some time of it.
        for day in -800_000..900_000 {
            let time = Time { sec: day * 86_400 + 45_296, nsec: 0 };
            let text = utc(time);
            if !text.starts_with('-') && text.len() == 20 {
                assert_eq!(parse(&text), Ok(time), "{text}");
            }
        }
    }
}
