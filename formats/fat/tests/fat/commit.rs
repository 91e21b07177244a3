//! What reaches the device, when, and what is kept of what was there.

use crate::common::{MIB, NOW, judge, mkfs_fat, open, parts, read_all};
use nomount_block::{Fault, FaultPlan, Memory, Record};
use nomount_fat::{Attrs, Filesystem, Time};
use nomount_kit::require;

fn changed(fs: &mut Filesystem<impl nomount_block::WriteAt>) -> nomount_fat::Result<()> {
    fs.create_dir(&parts("/EFI"), Attrs::default())?;
    fs.create_file(&parts("/EFI/a loader.efi"), Attrs::default())?;
    fs.write_contents(&parts("/EFI/a loader.efi"), &[3; 70_000])?;
    fs.unlink(&parts("/OLD"))
}

/// A volume with one file.
fn volume(args: &str, len: u64) -> Memory {
    let mut fs = open(mkfs_fat(args, len));
    fs.create_file(&parts("/OLD"), Attrs::default()).unwrap();
    fs.append(&parts("/OLD"), &[9; 3000]).unwrap();
    fs.commit().unwrap();
    fs.into_device()
}

#[test]
fn nothing_that_is_in_use_changes_before_the_commit() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    for (args, len) in [("-F 12", MIB), ("-F 16 -s 1", 5 * MIB), ("-F 32 -s 1", 34 * MIB)] {
        let before = volume(args, len);
        let mut fs = Filesystem::open_for_write(Fault::new(before.clone(), FaultPlan::default()), NOW).unwrap();
        changed(&mut fs).unwrap();
        fs.write_at(&parts("/EFI/a loader.efi"), 1, b"x").unwrap();
        assert!(fs.device().log().iter().all(|record| matches!(record, Record::Write { .. })), "contents only");
        let (now, _) = fs.into_device().into_parts();
        let before = read_all(&open(before));
        assert_eq!(read_all(&open(now)), before, "{args}: dropped, it leaves the old state");
    }
}

#[test]
fn a_commit_marks_the_filesystem_while_it_writes() {
    if !require(&["mkfs.fat", "fsck.fat"]) {
        return;
    }
    for (args, len, state) in [("-F 12", MIB, 37), ("-F 16 -s 1", 5 * MIB, 37), ("-F 32 -s 1", 34 * MIB, 65)] {
        let mut image = volume(args, len);
        for dirty in [false, true] {
            let mut bytes = image.into_bytes();
            bytes[state] = u8::from(dirty);
            image = Memory::new(bytes);
            let mut fs = Filesystem::open_for_write(Fault::new(image, FaultPlan::default()), NOW).unwrap();
            assert_eq!(fs.info().unwrap().dirty, dirty);
            fs.create_file(&parts(&format!("/NEW{}", u8::from(dirty))), Attrs::default()).unwrap();
            let committed = fs.commit().unwrap();
            assert!(committed.blocks > 0);
            assert!(fs.commit().unwrap().is_empty(), "nothing is left");
            let log = fs.device().log();
            let boots: Vec<u8> = log
                .iter()
                .filter_map(|record| match record {
                    Record::Write { offset: 0, data } => Some(data[state]),
                    _ => None,
                })
                .collect();
            assert_eq!(boots, if dirty { vec![] } else { vec![1, 0] }, "{args}");
            assert!(matches!(log.last(), Some(Record::Barrier)));
            let (now, _) = fs.into_device().into_parts();
            assert_eq!(now.bytes()[state], u8::from(dirty), "what was not ours stays");
            image = now;
        }
        let mut bytes = image.into_bytes();
        bytes[state] = 0;
        judge(&Memory::new(bytes), args);
    }
}

#[test]
fn a_device_that_fails_is_told_and_a_second_try_succeeds() {
    if !require(&["mkfs.fat", "fsck.fat"]) {
        return;
    }
    let before = volume("-F 32 -s 1", 34 * MIB);
    let wanted = {
        let mut fs = open(before.clone());
        changed(&mut fs).unwrap();
        fs.commit().unwrap();
        fs.into_device()
    };
    judge(&wanted, "all of it");
    let mut failed = 0;
    for number in 0.. {
        let plan = FaultPlan { fail_write: Some(number), ..FaultPlan::default() };
        let mut fs = Filesystem::open_for_write(Fault::new(before.clone(), plan), NOW).unwrap();
        let result = changed(&mut fs).and_then(|()| fs.commit().map(|_| ()));
        if result.is_ok() {
            break;
        }
        failed += 1;
        let error = result.unwrap_err();
        assert!(matches!(error, nomount_fat::Error::Device(_)), "{error}");
    }
    assert!(failed > 5, "{failed}");
    for number in 0..4 {
        let plan = FaultPlan { fail_barrier: Some(number), ..FaultPlan::default() };
        let mut fs = Filesystem::open_for_write(Fault::new(before.clone(), plan), NOW).unwrap();
        changed(&mut fs).unwrap();
        assert!(fs.commit().is_err());
        fs.commit().unwrap();
        assert!(fs.into_device().into_parts().0 == wanted, "barrier {number}");
    }
    for number in 0..200 {
        let plan = FaultPlan { fail_read: Some(number), ..FaultPlan::default() };
        let Ok(mut fs) = Filesystem::open_for_write(Fault::new(before.clone(), plan), NOW) else { continue };
        let done = changed(&mut fs).and_then(|()| fs.commit().map(|_| ()));
        assert!(done.is_ok() || matches!(done, Err(nomount_fat::Error::Device(_))));
    }
}

#[test]
fn a_file_is_replaced_where_there_is_room_for_one_only() {
    if !require(&["mkfs.fat", "fsck.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 12 -s 1", MIB));
    let room = fs.info().unwrap().free as usize * 512;
    fs.create_file(&parts("/KERNEL"), Attrs::default()).unwrap();
    fs.append(&parts("/KERNEL"), &vec![1; room]).unwrap();
    assert!(matches!(fs.append(&parts("/KERNEL"), b"x"), Err(nomount_fat::Error::NoSpace { wanted: 1, free: 0 })));
    fs.commit().unwrap();
    let mark = fs.savepoint();
    fs.write_contents(&parts("/KERNEL"), &vec![2; room]).unwrap();
    assert_eq!(read_all(&fs)["/KERNEL"], Some(vec![2; room]));
    fs.rollback(mark);
    assert_eq!(read_all(&fs)["/KERNEL"], Some(vec![1; room]));
    fs.unlink(&parts("/KERNEL")).unwrap();
    fs.create_file(&parts("/kernel.new"), Attrs::default()).unwrap();
    fs.append(&parts("/kernel.new"), &vec![3; room]).unwrap();
    fs.commit().unwrap();
    let volume = fs.into_device();
    judge(&volume, "replaced");
    assert_eq!(read_all(&open(volume))["/kernel.new"], Some(vec![3; room]));
}

#[test]
fn what_a_savepoint_reads_is_not_written_over() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 16 -s 1", 5 * MIB));
    let file = parts("/F");
    fs.create_file(&file, Attrs::default()).unwrap();
    fs.append(&file, &[1; 5000]).unwrap();
    let mark = fs.savepoint();
    fs.write_at(&file, 1000, &[2; 1000]).unwrap();
    fs.append(&file, &[2; 1000]).unwrap();
    fs.unlink(&file).unwrap();
    // As large as the volume, so that each free cluster is written.
    fs.create_file(&parts("/G"), Attrs::default()).unwrap();
    let free = fs.info().unwrap().free as usize;
    fs.append(&parts("/G"), &vec![3; free * 512]).unwrap();
    fs.rollback(mark);
    assert_eq!(read_all(&fs)["/F"], Some(vec![1; 5000]));
    assert_eq!(read_all(&fs).len(), 1);
}

#[test]
fn label_number_and_times_are_kept_and_the_label_is_changed() {
    if !require(&["mkfs.fat", "fsck.fat"]) {
        return;
    }
    for (args, len) in [("-F 12", MIB), ("-F 16 -s 1", 5 * MIB), ("-F 32 -s 1", 34 * MIB)] {
        let mut fs = open(mkfs_fat(&format!("{args} -n BEFORE -i 1234abcd"), len));
        let info = fs.info().unwrap();
        assert_eq!(
            (info.label.as_deref(), info.volume_id, info.dirty),
            (Some(&b"BEFORE"[..]), Some(0x1234_abcd), false)
        );
        assert!(fs.entries(&[]).unwrap().is_empty());
        for (set, found) in [(&b"config-2"[..], Some(&b"CONFIG-2"[..])), (b"", None), (b"ESP", Some(b"ESP"))] {
            fs.set_label(set).unwrap();
            assert_eq!(fs.info().unwrap().label.as_deref(), found);
            fs.commit().unwrap();
            judge(fs.device(), args);
        }
        assert!(fs.set_label(b"a.b").is_err());
        fs.create_file(&parts("/F"), Attrs::default()).unwrap();
        let stat = fs.stat(&parts("/F")).unwrap();
        assert_eq!((stat.created, stat.modified), (Some(NOW.now), Time { sec: NOW.now.sec - 1, nsec: 0 }));
        let time = |sec| Some(Time { sec, nsec: 5 });
        fs.set_attrs(&parts("/F"), Attrs { accessed: time(1_000_000_000), modified: time(1), read_only: Some(true) })
            .unwrap();
        let stat = fs.stat(&parts("/F")).unwrap();
        assert_eq!((stat.accessed.sec, stat.modified.sec, stat.read_only), (999_993_600, 315_532_800, true));
    }
}
