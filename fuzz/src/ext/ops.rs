//! Operations and commits on one of our images, spoiled or not. Where the check finds nothing at first, it finds nothing
//! after any commit, what was done reads back, and a commit that stops anywhere leaves the old or the new.

use super::model::{MAX_KEPT, Model};
use super::{CHECK, OPTIONS, base, image, is_clean};
use arbitrary::{Result, Unstructured};
use nomount_block::{Memory, Overlay, ReadAt, Spill, replay};
use nomount_ext::{Attrs, Error, Filesystem, New, check};

/// Operations of one input, each cheap.
const MAX_OPS: usize = 48;
/// Bytes of one write.
const MAX_WRITE: usize = 24 << 10;

type Staged = Filesystem<Overlay<Memory>>;

pub fn body(data: &[u8]) {
    // An input that ends early is done.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let (base, mut bytes, patches) = image::spoiled(u, base::all())?;
    let trusted = check(Memory::new(bytes.clone()), OPTIONS, &CHECK).is_ok_and(|report| is_clean(&report));
    assert!(trusted || patches > 0, "{}: our own image is not clean", base.name);
    // Room to grow into.
    bytes.resize(bytes.len() + ((usize::from(u.arbitrary::<u8>()?) % 5) << 18), 0);
    let device = Overlay::new(Memory::new(bytes), Spill::Never);
    let Ok(fs) = Filesystem::open_for_write(device, OPTIONS) else { return Ok(()) };
    let model = Model::of(&fs);
    let mut run = Run { fs, committed: model.clone(), model, ours: patches == 0, trusted, done: 0 };
    for _ in 0..MAX_OPS {
        if u.is_empty() {
            break;
        }
        if !run.step(u)? {
            return Ok(());
        }
    }
    run.commit(u32::MAX);
    Ok(())
}

struct Run {
    fs: Staged,
    model: Model,
    /// The model of what is committed.
    committed: Model,
    /// It is as we made it: nothing in it is corrupt, ever.
    ours: bool,
    /// The check found nothing. It does not see all that an operation may come upon, but none may make it worse.
    trusted: bool,
    /// Writes that earlier commits gave the device.
    done: usize,
}

/// Names of all lengths, of which many meet again.
fn name(choice: u8) -> Vec<u8> {
    let width = [1, 12, 60, 255][usize::from(choice >> 6)];
    format!("{:0>width$}", choice & 0x3F).into_bytes()
}

fn pick<T: Copy>(mut list: impl ExactSizeIterator<Item = T>, choice: u8) -> Option<T> {
    let len = list.len();
    (len > 0).then(|| list.nth(usize::from(choice) % len)).flatten()
}

impl Run {
    /// One operation. Returns whether more can follow.
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let (what, a, b): (u8, u8, u8) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
        let number: u16 = u.arbitrary()?;
        if what % 20 == 19 {
            return Ok(self.commit(number.into()));
        }
        // Without a mark, blocks that become free may be used again before the commit.
        let mark = (what & 0x80 == 0).then(|| (self.fs.savepoint(), self.model.clone()));
        let result = self.change(what % 20, a, b, number);
        let Err(error) = result else { return Ok(true) };
        match error {
            Error::Corrupt(_) | Error::Device(_) if self.ours => panic!("operation {what}: {error:?}"),
            Error::Device(error) => panic!("operation {what}: {error:?}"),
            _ => {}
        }
        if let Some((mark, model)) = mark {
            self.fs.rollback(mark);
            self.model = model;
        }
        Ok(true)
    }

    fn change(&mut self, what: u8, a: u8, b: u8, number: u16) -> std::result::Result<(), Error> {
        let dir = pick(self.model.dirs.iter(), a).copied().unwrap_or(nomount_ext::ROOT_INO);
        let new_name = name(b);
        let old = (!self.model.names.is_empty()).then(|| {
            let at = (usize::from(a) << 8 | usize::from(b)) % self.model.names.len();
            self.model
                .names
                .iter()
                .nth(at)
                .map(|((dir, name), ino)| (*dir, name.clone(), *ino))
                .expect("below its length")
        });
        let file = pick(self.model.contents.keys(), a).copied();
        let block = self.fs.geometry().block_size;
        let at = usize::from(number) * (block as usize / 4);
        match (what, old, file) {
            (0 | 1, ..) => {
                let ino = self.create(dir, &new_name, &New::File)?;
                let data = vec![b | 1; usize::from(number) % MAX_WRITE];
                self.fs.write_contents(ino, &data)?;
                self.model.contents.insert(ino, data);
            }
            (2, ..) => {
                let ino = self.create(dir, &new_name, &New::Dir)?;
                self.model.dirs.insert(ino);
            }
            (3, ..) => {
                let target = vec![b'l'; usize::from(number) % 300 + 1];
                self.create(dir, &new_name, &New::Symlink(&target))?;
            }
            (4, ..) => {
                let new = [New::Fifo, New::Socket, New::CharDevice(a.into(), b.into()), New::BlockDevice(300, 70_000)];
                self.create(dir, &new_name, &new[usize::from(number) % new.len()])?;
            }
            (5, _, Some(ino)) => {
                let data = vec![b | 1; usize::from(number) % MAX_WRITE];
                self.fs.write_contents(ino, &data)?;
                self.model.contents.insert(ino, data);
            }
            (6 | 7, _, Some(ino)) => {
                let data = vec![b | 1; (usize::from(b) << 4) + 1];
                self.fs.write_at(ino, at as u64, &data)?;
                self.model.put(ino, at, &data);
            }
            (8, _, Some(ino)) => {
                let data = vec![b | 1; usize::from(number) % MAX_WRITE];
                self.fs.append(ino, &data)?;
                let end = self.model.contents.get(&ino).map_or(0, Vec::len);
                self.model.put(ino, end, &data);
            }
            (9, _, Some(ino)) => self.truncate(ino, (at as u64) << (b % 24))?,
            (10, _, Some(ino)) => {
                let len = usize::from(b) * 300;
                self.fs.punch(ino, at as u64, len as u64)?;
                let bytes = self.model.contents.get_mut(&ino).expect("chosen among them");
                let end = bytes.len();
                bytes[at.min(end)..(at + len).min(end)].fill(0);
            }
            (11, _, Some(ino)) => {
                let len = usize::from(b) * 300 + 1;
                self.fs.allocate(ino, at as u64, len as u64)?;
                // Whether it grows is the filesystem's to say; what is there stays.
                let size = self.fs.inode(ino)?.size() as usize;
                let bytes = self.model.contents.get_mut(&ino).expect("chosen among them");
                if size > MAX_KEPT {
                    self.model.contents.remove(&ino);
                } else if size > bytes.len() {
                    bytes.resize(size, 0);
                }
            }
            (12, Some((.., ino)), _) => {
                let to = name((number >> 8) as u8);
                let dir = pick(self.model.dirs.iter(), number as u8).copied().unwrap_or(dir);
                self.fs.link(ino, dir, &to)?;
                self.model.names.insert((dir, to), ino);
            }
            (13, Some((dir, name, ino)), _) => {
                if self.model.dirs.contains(&ino) {
                    self.fs.rmdir(dir, &name)?;
                } else {
                    self.fs.unlink(dir, &name)?;
                }
                self.model.unname(dir, &name);
            }
            (14, Some((dir, name, _)), _) => {
                self.fs.remove_tree(dir, &name)?;
                self.model.unname(dir, &name);
            }
            (15, Some((dir, old, ino)), _) => {
                let to = name((number >> 8) as u8);
                let to_dir = pick(self.model.dirs.iter(), number as u8).copied().unwrap_or(dir);
                self.fs.rename(dir, &old, to_dir, &to)?;
                // Two names of one file stay as they are.
                if self.model.names.get(&(to_dir, to.clone())) != Some(&ino) {
                    self.model.unname(to_dir, &to);
                    self.model.names.insert((to_dir, to), ino);
                    self.model.names.remove(&(dir, old));
                }
            }
            (16, Some((.., ino)), _) => {
                let key =
                    [&b"user.a"[..], b"user.another-one", b"security.selinux", b"trusted.t"][usize::from(number) % 4];
                let value = (number & 0x8000 == 0).then(|| vec![b; usize::from(number >> 2) % 2200]);
                self.fs.set_xattr(ino, key, value.as_deref())?;
                self.model.xattrs.insert((ino, key.to_vec()), value);
            }
            (17, Some((.., ino)), _) => {
                let attrs = Attrs {
                    mode: (number & 1 != 0).then_some(number >> 4 & 0o7777),
                    uid: (number & 2 != 0).then_some(u32::from(a) << 12),
                    gid: (number & 4 != 0).then_some(u32::from(b) << 12),
                    project: (number & 8 != 0).then_some(b.into()),
                    ..Attrs::default()
                };
                self.fs.set_attrs(ino, attrs)?;
            }
            (18, ..) => {
                let more = u64::from(number) % (self.fs.device().len() / u64::from(block) + 8);
                let blocks = self.fs.geometry().blocks_count;
                self.fs.grow(blocks.max(more))?;
            }
            // There is nothing to do it to.
            _ => {}
        }
        Ok(())
    }

    fn create(&mut self, dir: u32, name: &[u8], new: &New<'_>) -> std::result::Result<u32, Error> {
        let ino = self.fs.create(dir, name, new, Attrs::default())?;
        self.model.names.insert((dir, name.to_vec()), ino);
        Ok(ino)
    }

    fn truncate(&mut self, ino: u32, size: u64) -> std::result::Result<(), Error> {
        self.fs.truncate(ino, size)?;
        match usize::try_from(size).ok().filter(|size| *size <= MAX_KEPT) {
            Some(size) => self.model.contents.get_mut(&ino).expect("chosen among them").resize(size, 0),
            None => drop(self.model.contents.remove(&ino)),
        }
        Ok(())
    }

    /// Commits and looks; an odd `stop` chooses where the commit is stopped on a copy. Returns whether more can follow.
    fn commit(&mut self, stop: u32) -> bool {
        let committed = match self.fs.commit() {
            Ok(committed) => committed,
            Err(error @ (Error::Corrupt(_) | Error::Device(_))) if self.ours => panic!("commit: {error:?}"),
            // Something failed without a mark before it, or the log is too small.
            Err(_) => return false,
        };
        let report = check(self.fs.device(), OPTIONS, &CHECK);
        if self.trusted {
            let report = report.expect("it could be checked before");
            assert!(is_clean(&report), "after a commit: {report}");
            let fs = Filesystem::open(self.fs.device(), OPTIONS).expect("what is clean can be opened");
            assert_eq!(self.model.differs(&fs), None, "after a commit");
        }
        if stop % 2 == 1 {
            self.stop(stop / 2, committed.journaled, committed.transactions);
        }
        self.done = self.fs.device().log().len();
        self.committed = self.model.clone();
        true
    }

    /// The same commit again, stopped after one of its writes.
    fn stop(&self, stop: u32, journaled: bool, transactions: usize) {
        let log = self.fs.device().log();
        if log.len() == self.done {
            return;
        }
        let end = self.done + stop as usize % (log.len() - self.done);
        let mut image = self.fs.device().below().clone();
        replay(&mut image, &log[..end]).expect("memory takes it");
        if !journaled {
            // Others protect it; it only must not hurt.
            let _ = check(&image, OPTIONS, &CHECK);
            return;
        }
        let fs = Filesystem::open_for_write(image, OPTIONS);
        if !self.trusted {
            drop(fs.map(|mut fs| fs.commit()));
            return;
        }
        let mut fs = fs.expect("a journal can be recovered");
        fs.commit().expect("what was recovered can be committed");
        let report = check(fs.device(), OPTIONS, &CHECK).expect("it could be checked before");
        assert!(is_clean(&report), "stopped after {end} of {} writes: {report}", log.len());
        if transactions == 1
            && let Some(to_new) = self.model.differs(&fs)
            && let Some(to_old) = self.committed.differs(&fs)
        {
            panic!("stopped after {end} of {} writes: {to_new}; {to_old}", log.len());
        }
    }
}

/// Each image with an operation of every kind, and a few of them spoiled first.
pub fn seeds() -> Vec<Vec<u8>> {
    let images = 0..base::all().len() as u8;
    let plain = images.clone().map(|base| (base, Vec::new()));
    let spoiled = images.step_by(4).map(|base| (base, vec![(u16::from(base) * 7 + 3, 6, 3, 1)]));
    plain.chain(spoiled).map(|(base, patches)| seed(base, &patches)).collect()
}

fn seed(base: u8, patches: &[(u16, u16, u8, u32)]) -> Vec<u8> {
    let mut seed = image::seed(base, patches);
    // Half a MiB to grow into.
    seed.push(2);
    let mut push = |what: u8, a: u8, b: u8, number: u16| {
        seed.extend([what, a, b]);
        seed.extend(number.to_le_bytes());
    };
    for what in 0..19u8 {
        let number = u16::from(what) * 617 + u16::from(base) * 40;
        push(what, what ^ base, what.wrapping_mul(37), number);
        if what == 11 {
            push(19, 0, 0, (number / 3) | 1);
        }
    }
    seed
}
