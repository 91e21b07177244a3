//! Every behaviour of Nova's disk code that has an id is in the name of a test, or stands here with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Letter of a group of cases, and how many there are: the image model, mkfs, resize2fs, sizes, can_resize_image,
/// extend, is_image_extendable, partitions, inject_data, keys, network, metadata, passwords, files, the VFS, path escapes.
const CASES: &[(char, u32)] = &[
    ('m', 3),
    ('f', 8),
    ('r', 3),
    ('s', 3),
    ('c', 2),
    ('e', 10),
    ('x', 3),
    ('p', 7),
    ('i', 9),
    ('k', 5),
    ('n', 1),
    ('d', 1),
    ('a', 2),
    ('l', 2),
    ('v', 7),
    ('z', 4),
];

/// What is not applicable, and why.
const NOT_APPLICABLE: &[(&str, &str)] = &[
    ("m2", "RBD images: no network protocol is spoken, so there is no password to mask; a block device is a raw image"),
    ("f7", "the suffix of Nova's cache of ephemeral images: nothing is cached here"),
    ("f8", "the history of a default, not a behaviour; today's default, ext4, is f3"),
];

/// Names of the tests below a folder.
fn tests(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for after in text.split("#[test]").skip(1) {
                let name = after.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_case_of_nova_has_a_test_or_a_reason_for_none() {
    let mut names = Vec::new();
    for folder in ["src", "tests", "formats"] {
        tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut names);
    }
    let covered: BTreeSet<&str> = names.iter().flat_map(|name| name.split('_')).collect();
    for &(letter, count) in CASES {
        for number in 1..=count {
            let id = format!("{letter}{number}");
            let reason = NOT_APPLICABLE.iter().find(|(other, _)| *other == id);
            assert!(covered.contains(id.as_str()) != reason.is_some(), "{id}: a test, or a reason, and not both");
        }
    }
}
