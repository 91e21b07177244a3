//! How far long work has come, on standard error: a bar on a terminal, or lines of JSON for programs.
//!
//! With `--progress json` there is an object a line while something takes long, and one when it has ended:
//! `{"schema":1,"progress":{"task":"copy","path":"/srv/a","bytes":1048576,"total":4194304,"seconds":0.6,"ended":false}}`.
//! `path` and `total` are null where they are not known.

use super::ui;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nomount::ops::Progress;
use serde_json::json;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Work that is done sooner is not shown.
const SHORT: Duration = Duration::from_millis(500);
/// Between two looks of the thread that draws.
const DRAW: Duration = Duration::from_millis(100);
/// Between two lines of JSON.
const TELL: Duration = Duration::from_millis(500);
const BAR: &str = "{bar:25} {bytes}/{total_bytes}, {eta} left  {wide_msg}";
const NO_TOTAL: &str = "{spinner} {bytes}, {elapsed}  {wide_msg}";
const NO_BYTES: &str = "{spinner} {elapsed}  {wide_msg}";

/// What is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// A bar where standard error is a terminal.
    #[default]
    Auto,
    /// Lines of JSON.
    Json,
    /// Nothing.
    None,
}

/// Reads the value of --progress.
pub fn parse(text: &str) -> Result<Show, String> {
    match text {
        "auto" => Ok(Show::Auto),
        "json" => Ok(Show::Json),
        "none" => Ok(Show::None),
        _ => Err("auto, json or none is needed".to_owned()),
    }
}

/// One piece of work.
struct Work {
    task: &'static str,
    path: Option<Vec<u8>>,
    bytes: u64,
    total: Option<u64>,
    since: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

static SHOW: OnceLock<Show> = OnceLock::new();
/// What is being done, the innermost last.
static WORK: Mutex<Vec<Work>> = Mutex::new(Vec::new());

fn work() -> MutexGuard<'static, Vec<Work>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says once what is to be shown. Nothing is before.
pub fn set(show: Show) {
    let show = if show == Show::Auto && !stderr().is_terminal() { Show::None } else { show };
    if SHOW.set(show).is_ok() && show != Show::None {
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(DRAW);
                draw(show);
            }
        });
    }
}

/// Takes away what is drawn, and holds back more of it as long as the answer lives.
pub fn hidden() -> impl Drop {
    let mut work = work();
    work.iter_mut().filter_map(|work| work.bar.take()).for_each(|bar| bar.finish_and_clear());
    work
}

/// Takes away what is drawn, for a process that ends: without waiting for one who holds it back.
pub fn clear() {
    let Ok(mut work) = WORK.try_lock() else { return };
    work.iter_mut().filter_map(|work| work.bar.take()).for_each(|bar| bar.finish_and_clear());
}

/// Shows that something is being done, until the answer is dropped.
pub fn begin(task: &'static str) -> Listener {
    let shown = SHOW.get().is_some_and(|show| *show != Show::None);
    if shown {
        let now = Instant::now();
        work().push(Work { task, path: None, bytes: 0, total: None, since: now, told: now, bar: None });
    }
    Listener { shown }
}

/// Hears of one piece of work.
#[derive(Debug)]
pub struct Listener {
    shown: bool,
}

impl Listener {
    fn hear(&self, what: impl FnOnce(&mut Work)) {
        if self.shown
            && let Some(work) = work().last_mut()
        {
            what(work);
        }
    }
}

impl Progress for Listener {
    fn total(&mut self, bytes: Option<u64>) {
        self.hear(|work| work.total = bytes);
    }

    fn at(&mut self, path: &[u8]) {
        self.hear(|work| work.path = Some(path.to_vec()));
    }

    fn add(&mut self, bytes: u64) {
        self.hear(|work| work.bytes += bytes);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(ended) = self.shown.then(|| work().pop()).flatten() {
            ended.bar.iter().for_each(ProgressBar::finish_and_clear);
            if SHOW.get() == Some(&Show::Json) {
                ended.tell(true);
            }
        }
    }
}

fn draw(show: Show) {
    let mut list = work();
    let Some(work) = list.last_mut().filter(|work| work.since.elapsed() >= SHORT) else { return };
    if show == Show::Json {
        if work.told.elapsed() >= TELL {
            work.told = Instant::now();
            work.tell(false);
        }
        return;
    }
    let bar = work.bar.get_or_insert_with(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
    let template = match work.total {
        Some(_) => BAR,
        None if work.bytes > 0 => NO_TOTAL,
        None => NO_BYTES,
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the templates here are sound"));
    if let Some(total) = work.total {
        bar.set_length(total.max(work.bytes));
    }
    bar.set_position(work.bytes);
    bar.set_message(work.path.as_deref().map_or(work.task.to_owned(), ui::safe));
    bar.tick();
}

impl Work {
    fn tell(&self, ended: bool) {
        let seconds = (self.since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let path = self.path.as_deref().map(ui::bytes_json);
        ui::progress_line(&json!({
            "task": self.task,
            "path": path,
            "bytes": self.bytes,
            "total": self.total,
            "seconds": seconds,
            "ended": ended,
        }));
    }
}
