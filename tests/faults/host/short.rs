//! Images that end too early, as after a download that broke off: every verb says so and writes nothing.

use super::files::{Files, is_image, is_temporary, template};
use super::table::{CASES, Case};
use super::{THREADS, TOOLS};
use crate::common::{long, ran, run};
use nomount_kit::require;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Lengths to which an image of `len` bytes is cut.
fn lengths(len: u64) -> Vec<u64> {
    let few = [0, 1024, 70_000, len / 2, len - 512];
    let more = (1..40).map(|part| len * part / 40).chain([1, 511, 512, 1023, 1536, 2048, 4096, 65_536, len - 1]);
    few.into_iter().chain(more.filter(|_| long())).filter(|cut| *cut < len).collect()
}

/// Whether a verb writes a new image where it is asked to.
fn has_output(verb: &str) -> bool {
    run([verb, "--help"]).stdout.contains("--output <NEW>")
}

/// Runs a command on its image cut to `cut` bytes.
fn cut_short(template: &Path, case: &Case, image: &str, cut: u64, output: bool) {
    let files = Files::of(template, case.files);
    let file = std::fs::File::options().write(true).open(files.path(image)).unwrap();
    file.set_len(cut).unwrap();
    drop(file);
    let before = files.names();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.args(case.command.split(' ')).args(["-o", "output"].iter().filter(|_| output));
    command.current_dir(files.folder()).env("TMPDIR", files.folder()).env("EDITOR", "sed -i s/a/b/");
    let done = ran(&mut command);
    let what = format!("{} (output: {output}) of {cut} bytes: {done:?}", case.command);
    assert!(matches!(done.code, Some(0..=7)), "{what}");
    let after = files.names();
    assert!(!after.keys().any(|name| is_temporary(name)), "{after:?} {what}");
    if output {
        assert_eq!(after.get(image), before.get(image), "{what}");
        assert_eq!(after.contains_key("output"), done.code == Some(0), "{what}");
    }
    if done.code != Some(0) {
        assert_eq!(after, before, "{what}");
        let told = done.stderr.lines().any(|line| line.starts_with("nomount: ") && line.len() > 20);
        // The answer itself may tell.
        assert!(told || !done.stdout.is_empty(), "{what}");
    }
}

#[test]
fn an_image_that_was_cut_short_is_told_and_left_alone() {
    if !require(TOOLS) {
        return;
    }
    let template = template();
    let mut todo: Vec<(&Case, &str, u64, bool)> = Vec::new();
    for case in CASES {
        let Some(image) = case.files.iter().find(|name| is_image(name)) else { continue };
        let len = template.path().join(image).metadata().unwrap().len();
        let outputs =
            if has_output(case.verb) && !case.command.contains(" -o ") { &[false, true][..] } else { &[false] };
        todo.extend(
            lengths(len).into_iter().flat_map(|cut| outputs.iter().map(move |output| (case, *image, cut, *output))),
        );
    }
    assert!(todo.len() > 300, "{}", todo.len());
    println!("{} runs", todo.len());
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let next = todo.lock().unwrap().pop();
                let Some((case, image, cut, output)) = next else { break };
                cut_short(template.path(), case, image, cut, output);
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}
