//! The check beside the reader: what the check calls clean can be read without coming upon anything corrupt.

use super::read::each_image;
use super::walk::walk;
use super::{CHECK, OPTIONS, is_clean};
use nomount_ext::{Error, Filesystem, MAX_FINDINGS, check};

pub use super::read::seeds;

pub fn body(data: &[u8]) {
    each_image(data, |image| {
        let report = match check(&image, OPTIONS, &CHECK) {
            Ok(report) => report,
            Err(Error::Device(error)) => panic!("check: {error:?}"),
            Err(_) => return,
        };
        assert!(report.findings().len() <= MAX_FINDINGS);
        assert!(report.findings().len() as u64 <= report.total());
        if !is_clean(&report) {
            return;
        }
        match Filesystem::open(&image, OPTIONS) {
            Ok(fs) => assert_eq!(walk(&fs).corrupt, None, "the check found nothing"),
            Err(error @ Error::Corrupt(_)) => panic!("the check found nothing, but: {error}"),
            Err(_) => {}
        }
    });
}
