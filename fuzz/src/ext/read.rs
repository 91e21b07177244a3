//! Everything that only reads. The input is an image, where it looks like one, else what to spoil in one of ours.

use super::walk::walk;
use super::{OPTIONS, base, image};
use arbitrary::Unstructured;
use nomount_block::Memory;
use nomount_ext::{Error, Filesystem, probe};
use nomount_kit::ext_layout::reseal;

pub fn body(data: &[u8]) {
    each_image(data, |image| match Filesystem::open(&image, OPTIONS) {
        Ok(fs) => drop(walk(&fs)),
        Err(Error::Device(error)) => panic!("open: {error:?}"),
        Err(_) => {}
    });
}

/// Calls `visit` for the image, and for the same with its checksums made right, where that is another one.
pub fn each_image(data: &[u8], visit: impl Fn(Memory)) {
    if probe(data).is_some() {
        let mut sealed = data.to_vec();
        reseal(&mut sealed);
        if sealed != data {
            visit(Memory::new(sealed));
        }
        visit(Memory::new(data.to_vec()));
    } else if let Ok((_, image, _)) = image::spoiled(&mut Unstructured::new(data), base::all()) {
        visit(Memory::new(image));
    }
}

/// The smaller ones of our images, and some patches on each.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = base::all().iter().filter(|base| base.image.len() <= 256 << 10).map(|base| base.image.clone());
    let patched = (0..base::all().len() as u8).map(|base| {
        let number = u16::from(base);
        image::seed(base, &[(number * 5, 4, 5, number.into()), (number * 3 + 1, 8, 3, 1), (0x8000 + number, 9, 4, 3)])
    });
    whole.chain(patched).collect()
}
