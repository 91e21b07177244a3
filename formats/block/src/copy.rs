//! Copying what a device holds.

use crate::{ExtentKind, ReadAt, Result, WriteAt};

/// Copied at a time, in bytes.
const PIECE: u64 = 1 << 20;

/// Copies a device to the beginning of another one that is zero and as long: what the first says is zero is left out.
pub fn copy_to_zeroed(from: &impl ReadAt, into: &mut impl WriteAt) -> Result<()> {
    let (mut at, mut buf) = (0, Vec::new());
    while at < from.len() {
        let extent = from.extent_at(at)?;
        if extent.kind == ExtentKind::Zero {
            at += extent.len;
            continue;
        }
        buf.resize(extent.len.min(PIECE) as usize, 0);
        from.read_at(at, &mut buf)?;
        into.write_at(at, &buf)?;
        at += buf.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, Overlay, Spill};

    #[test]
    fn all_bytes_arrive_and_zeroes_are_not_written() {
        let mut from = Overlay::new(Memory::new((0..=255).cycle().take(3 << 20).collect()), Spill::Never);
        from.discard(100, 2 << 20).unwrap();
        let mut into = Overlay::new(Memory::zeroed(3 << 20), Spill::Never);
        copy_to_zeroed(&from, &mut into).unwrap();
        let (mut wanted, mut found) = (vec![0; 3 << 20], vec![1; 3 << 20]);
        from.read_at(0, &mut wanted).unwrap();
        into.read_at(0, &mut found).unwrap();
        assert!(wanted == found);
        assert_eq!(into.staged(), 1 << 20);
    }
}
