//! Sessions of the library in tests: a request of every item, and a whole tree as a session sees it.

use super::{CONF, KEY, NET, PASSWORD};
use nomount::account::Secret;
use nomount::disk::Choice;
use nomount::image::ImageOptions;
use nomount::ops::inject::{InjectFile, InjectRequest, Item, inject};
use nomount::session::Commit;
use nomount::tree::{FileKind, FileTree, GuestPath, Stat, Time, Xattr};
use nomount::{Result, Session, SessionOptions};
use nomount_block::SetLen;
use nomount_kit::digest::content_hash;
use std::collections::BTreeMap;
use std::path::Path;

/// Every item, with a file that needs several blocks and a directory of its own.
pub fn request() -> InjectRequest {
    let file = |path: &str, contents: Vec<u8>| InjectFile { path: path.into(), contents, mode: None, owner: None };
    let long: Vec<u8> = (0..9_000u32).flat_map(|number| number.to_le_bytes()).collect();
    InjectRequest {
        key: Some(format!("{KEY}\n").into_bytes()),
        net: Some(NET.into()),
        metadata: Some(vec![("role".into(), "web".into())]),
        admin_password: Some(Secret::new(PASSWORD)),
        files: vec![file("/etc/app/app.conf", CONF.into()), file("/var/lib/app/data", long)],
        mandatory: Item::ALL.into_iter().collect(),
        salt: *b"0123456789abcdef",
        ..InjectRequest::default()
    }
}

pub fn options(partition: Choice, write: bool) -> SessionOptions {
    SessionOptions {
        // A process that another test starts holds our files, and so their locks, until it has begun.
        image: ImageOptions { write, sync: false, lock: false, ..ImageOptions::default() },
        partition,
        now: Time { sec: 1_767_229_200, nsec: 0 },
        seed: 7,
        ..SessionOptions::default()
    }
}

/// The whole job on a device.
pub fn inject_on(device: Box<dyn SetLen>, name: &Path, partition: Choice) -> Result<Commit> {
    let mut session = Session::open_device(device, name, options(partition, true))?;
    let report = inject(session.tree(), &request())?;
    assert!(report.ok, "{report:?}");
    session.commit()
}

/// A file as a session sees it: its contents hashed, its target, its attributes.
pub type Seen = (Stat, u128, Vec<u8>, Vec<Xattr>);

/// A whole tree as a session sees it.
pub fn tree(tree: &dyn FileTree) -> Result<BTreeMap<Vec<u8>, Seen>> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![GuestPath::root()];
    while let Some(path) = todo.pop() {
        let stat = tree.stat(&path)?;
        let (mut contents, mut target) = (Vec::new(), Vec::new());
        match stat.kind {
            FileKind::Dir => todo.extend(tree.entries(&path)?.iter().map(|entry| path.join(&entry.name))),
            FileKind::Symlink => target = tree.read_link(&path)?,
            FileKind::File => {
                contents = vec![0; stat.size as usize];
                let read = tree.read_at(&path, 0, &mut contents)?;
                assert_eq!(read as u64, stat.size, "{path}");
            }
            _ => {}
        }
        let xattrs = tree.xattrs(&path)?;
        seen.insert(path.to_bytes(), (stat, content_hash(&contents), target, xattrs));
    }
    Ok(seen)
}
