//! Recovery: images whose log is live, spoiled with all checksums made right. They are read through the log, checked, and
//! recovered for writing; what the check called sound is sound afterwards.

use super::walk::walk;
use super::{CHECK, OPTIONS, base, image, is_clean};
use arbitrary::Unstructured;
use nomount_block::{Memory, Overlay, Spill};
use nomount_ext::{Error, Filesystem, Severity, check};

pub fn body(data: &[u8]) {
    let Ok((base, image, patches)) = image::spoiled(&mut Unstructured::new(data), base::live()) else { return };
    let image = Memory::new(image);
    let report = match check(&image, OPTIONS, &CHECK) {
        Ok(report) => report,
        Err(Error::Device(error)) => panic!("check: {error:?}"),
        Err(_) => return,
    };
    let recoverable = report.worst() <= Some(Severity::Recovery);
    assert!(recoverable || patches > 0, "{}: our own log: {report}", base.name);
    match Filesystem::open(&image, OPTIONS) {
        Ok(fs) => {
            let corrupt = walk(&fs).corrupt;
            assert!(!recoverable || corrupt.is_none(), "the check found nothing, but {corrupt:?}");
        }
        Err(error @ Error::Corrupt(_)) => assert!(!recoverable, "the check found nothing, but {error}"),
        Err(Error::Device(error)) => panic!("open: {error:?}"),
        Err(_) => {}
    }
    let mut fs = match Filesystem::open_for_write(Overlay::new(image, Spill::Never), OPTIONS) {
        Ok(fs) => fs,
        Err(Error::Device(error)) => panic!("open for writing: {error:?}"),
        Err(error @ Error::Corrupt(_)) => return assert!(!recoverable, "the check found nothing, but {error}"),
        Err(_) => return,
    };
    let done = fs.commit();
    if !recoverable {
        return;
    }
    done.expect("what is sound can be committed");
    let report = check(fs.device(), OPTIONS, &CHECK).expect("it could be checked before");
    assert!(is_clean(&report), "recovered: {report}");
}

/// Each live log as it is, and with a patch on one of its first structures, which are listed last.
pub fn seeds() -> Vec<Vec<u8>> {
    let numbers = 0..base::live().len() as u8;
    let spoiled = base::live().iter().zip(numbers.clone()).map(|(base, number)| {
        let place = (base.places.len() - 1 - usize::from(number) % 4) as u16;
        image::seed(number, &[(place, place * 5, 9, 1), (place, 12, 8, 40)])
    });
    numbers.map(|number| image::seed(number, &[])).chain(spoiled).collect()
}
