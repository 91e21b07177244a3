//! `inject`: dry runs, new images, what a failing run leaves.

use crate::common::{CONF, META, Request, nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{require, scratch};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn inject(guest: &Guest, more: &[&str], request: Vec<String>) -> crate::common::Ran {
    let mut args = vec!["inject".to_owned(), guest.arg()];
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args.extend(request);
    run(args)
}

fn cat(image: &str, path: &str) -> String {
    let ran = run(["cat", &format!("{image}:{path}")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

#[test]
fn a_dry_run_says_what_would_change_and_writes_nothing() {
    let (guest, request) = (Guest::new(), Request::new());
    fs::set_permissions(&guest.image, fs::Permissions::from_mode(0o444)).unwrap();
    let before = state(&guest.image);
    let ran = inject(&guest, &["--dry-run"], request.all());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], format!("{} (qcow2), partition 1 (ext4)", guest.arg()));
    let mut would: Vec<String> =
        lines.iter().filter_map(|line| line.strip_prefix("  would ")).map(str::to_owned).collect();
    // The length of the hash is the guest's own choice.
    would.retain(|line| !line.starts_with("replace /etc/shadow"));
    let interfaces = fs::metadata(request.path("interfaces")).unwrap().len();
    let replaced = would.iter().position(|line| line.starts_with("replace /etc/network/interfaces (")).unwrap();
    assert!(would.remove(replaced).ends_with(&format!("-> {interfaces} bytes)")));
    assert_eq!(
        would,
        [
            format!("create /root/.ssh/authorized_keys (mode 0600, 0:0, {} bytes)", crate::common::KEY.len() + 1),
            format!("create /meta.js (mode 0644, 0:0, {} bytes)", META.len()),
            "create directory /etc/app (mode 0755, 0:0)".to_owned(),
            format!("create /etc/app/app.conf (mode 0644, 0:0, {} bytes)", CONF.len()),
        ]
    );
    assert_eq!(lines.last(), Some(&"dry run: nothing was written"));
    assert!(state(&guest.image) == before && guest.names() == ["guest.qcow2"]);
}

#[test]
fn a_new_image_leaves_the_old_one_alone() {
    if !require(&["qemu-img"]) {
        return;
    }
    let (guest, request) = (Guest::new(), Request::new());
    let before = state(&guest.image);
    let new = guest.path("new.qcow2");
    let ran = inject(&guest, &["-o", &text(&new)], request.all());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("{} (qcow2)", new.display())), "{ran:?}");
    assert_eq!(guest.names(), ["guest.qcow2", "new.qcow2"]);
    assert!(state(&guest.image) == before);
    judges::qemu_img_check(&new, Leaks::Refused).unwrap();
    judges::e2fsck_fn(&scratch::raw_of(&new, "qcow2"), 13 << 20).unwrap();
    assert_eq!(cat(&text(&new), "/etc/app/app.conf"), CONF);

    let made = state(&new);
    let again = inject(&guest, &["-o", &text(&new), "--json"], request.all());
    assert_eq!((again.code, &json(&again)["error"]["kind"]), (Some(1), &"exists".into()), "{again:?}");
    assert!(state(&new) == made && guest.names().len() == 2);
    let both = inject(&guest, &["-o", &text(&guest.path("x")), "-n"], request.all());
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn a_run_that_fails_leaves_no_file_behind_and_the_image_as_it_was() {
    let (guest, request) = (Guest::new(), Request::new());
    let before = state(&guest.image);
    let long = request.path("long");
    fs::File::create(&long).unwrap().set_len(80 << 20).unwrap();
    let file = format!("{}:/long", long.display());
    for output in [None, Some(text(&guest.path("new.qcow2")))] {
        let mut args = vec!["--file", &file, "--mandatory", "files", "--json"];
        args.extend(output.iter().flat_map(|new| ["-o", new]));
        let ran = inject(&guest, &args, request.all());
        assert_eq!(ran.code, Some(6), "{ran:?}");
        let error = &json(&ran)["error"];
        assert_eq!((&error["kind"], &error["exit_code"]), (&"no_space".into(), &6.into()), "{ran:?}");
        assert_eq!(error["path"], "/long", "{ran:?}");
        assert!(state(&guest.image) == before && guest.names() == ["guest.qcow2"], "{:?}", guest.names());
    }
    // Where it is not mandatory, the rest is done.
    let ran = run(["inject", &guest.arg(), "--metadata", "role=web", "--file", &file, "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = &json(&ran)["report"];
    assert_eq!(report["ok"], false);
    assert!(report["items"][4]["outcome"].to_string().contains("failed"), "{report}");
    assert_eq!(cat(&guest.arg(), "/meta.js"), META);
    assert_eq!(run(["stat", &format!("{}:/long", guest.arg())]).code, Some(1));
}

#[test]
fn the_result_as_json() {
    let (guest, request) = (Guest::new(), Request::new());
    let ran = inject(&guest, &["--json"], request.all());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let document = json(&ran);
    assert_eq!((&document["format"], &document["volume"]), (&"qcow2".into(), &"partition 1 (ext4)".into()));
    assert_eq!((&document["dry_run"], &document["report"]["ok"]), (&false.into(), &true.into()));
    let items: Vec<&str> =
        document["report"]["items"].as_array().unwrap().iter().map(|i| i["item"].as_str().unwrap()).collect();
    assert_eq!(items, ["key", "net", "metadata", "admin_password", "files"]);
    assert!(document["verified"]["independent_reader"].as_u64().unwrap() > 3, "{document}");
    let changes = document["report"]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["path"] == "/meta.js" && change["change"] == "created_file"));
}

#[test]
fn nothing_asked_for_is_a_mistake() {
    let guest = Guest::new();
    let before = state(&guest.image);
    for args in [vec!["inject", &guest.arg()], vec!["inject"], vec!["inject", &guest.arg(), "--metadata", "role"]] {
        assert_eq!(run(&args).code, Some(2), "{args:?}");
    }
    for args in [["--mandatory", "keys"], ["--verify", "maybe"], ["--file", "/etc/hostname"]] {
        let ran = inject(&guest, &args, vec!["--metadata".into(), "a=b".into()]);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
    }
    assert!(state(&guest.image) == before);
}

#[test]
fn the_same_clock_and_seed_give_the_same_bytes() {
    let request = Request::new();
    let made: Vec<u64> = (0..2)
        .map(|_| {
            let guest = Guest::new();
            let mut command = nomount();
            command.args(["inject", &guest.arg(), "--seed", "7"]).args(request.without_password());
            let ran = ran(command.env("SOURCE_DATE_EPOCH", "1767229200"));
            assert_eq!(ran.code, Some(0), "{ran:?}");
            scratch::fingerprint(&guest.image)
        })
        .collect();
    assert_eq!(made[0], made[1]);
}
