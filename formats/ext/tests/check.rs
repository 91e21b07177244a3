//! The checker on images without fault and on images that wait for recovery.

mod common;

use common::{DIRTY, OPTIONS};
use nomount_ext::{CheckOptions, Error, Severity, check};
use nomount_kit::fixture;

/// Fixtures that are not opened, with a word of why.
const REFUSED: &[(&str, &str)] = &[("journal-dev", "journal_dev"), ("unknown-incompat", "FEATURE_I31")];

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for name in fixture::names() {
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        let report = check(fixture::memory(&name), OPTIONS, &CheckOptions { now: Some(common::NOW) });
        if let Some((_, word)) = refused {
            let Err(Error::Unsupported(text)) = report else { panic!("{name}: {report:?}") };
            assert!(text.contains(word), "{name}: {text}");
            continue;
        }
        let report = report.unwrap_or_else(|e| panic!("{name}: {e}"));
        if name.starts_with("unknown-") {
            let ids: Vec<&str> = report.findings().iter().map(|finding| finding.id).collect();
            assert_eq!((ids, report.total()), (vec!["NM_UNKNOWN_FEATURE"], 1), "{name}:\n{report}");
        } else if DIRTY.contains(&&name[..]) {
            assert_eq!(report.worst(), Some(Severity::Recovery), "{name}:\n{report}");
        } else {
            assert_eq!(report.total(), 0, "{name}:\n{report}");
        }
    }
}
