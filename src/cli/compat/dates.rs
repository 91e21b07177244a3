//! Times as older tools print them. They are UTC, as everything that nomount prints.

use crate::cli::stat::utc;
use nomount::tree::Time;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Half of a year of 365.2425 days, in seconds: ls prints older times with their year.
const RECENT: i64 = 31_556_952 / 2;

/// Year, name of the month, day, hours and minutes, seconds.
struct Parts {
    year: String,
    month: &'static str,
    day: u32,
    clock: String,
    seconds: String,
}

fn parts(time: Time) -> Parts {
    let text = utc(time);
    // The year may have more digits than four, and a sign.
    let (date, clock) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let mut date = date.rsplitn(3, '-');
    let mut number = || date.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(1);
    let (day, month) = (number(), number());
    Parts {
        day: day as u32,
        month: MONTHS[month.clamp(1, 12) - 1],
        year: date.next().unwrap_or_default().to_owned(),
        clock: clock.get(..5).unwrap_or_default().to_owned(),
        seconds: clock.get(5..).unwrap_or_default().to_owned(),
    }
}

/// `Nov 24 13:20`, or `Nov 24  2025` where that is long ago, or yet to come: as ls -l.
pub fn of_ls(time: Time, now: Time) -> String {
    let Parts { year, month, day, clock, .. } = parts(time);
    let age = now.sec.saturating_sub(time.sec);
    if (0..=RECENT).contains(&age) { format!("{month} {day:2} {clock}") } else { format!("{month} {day:2} {year:>5}") }
}

/// `24-Nov-2026 13:20`, as e2ls -l.
pub fn of_e2ls(time: Time) -> String {
    let Parts { year, month, day, clock, .. } = parts(time);
    format!("{day:2}-{month}-{year:>4} {clock}")
}

/// `2026-11-24 13:20:00`, as virt-ls --times.
pub fn of_virt_ls(time: Time) -> String {
    let date = utc(time);
    let Parts { clock, seconds, .. } = parts(time);
    format!("{} {clock}{seconds}", date.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_three_tools() {
        let at = |sec| Time { sec, nsec: 0 };
        let time = at(1_795_478_400 + 3661);
        assert_eq!(of_ls(time, at(1_795_478_400 + 5000)), "Nov 24 01:01");
        assert_eq!(of_ls(time, at(1_795_478_400 + 3600)), "Nov 24  2026");
        assert_eq!(of_ls(at(0), time), "Jan  1  1970");
        assert_eq!(of_e2ls(at(86_400 * 4)), " 5-Jan-1970 00:00");
        assert_eq!(of_virt_ls(time), "2026-11-24 01:01:01");
        assert_eq!(of_virt_ls(at(-1)), "1969-12-31 23:59:59");
    }
}
