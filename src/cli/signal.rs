//! Ctrl-C and the like: a commit that has begun is completed, everything else is left as it was.

use super::status;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals that end the process. Those that the caller had it ignore, as nohup does, stay ignored.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// Whether a program of the user's has the terminal, and Ctrl-C is its affair.
static LENT: AtomicBool = AtomicBool::new(false);

/// Does something during which Ctrl-C is for a program that was started: in an editor it ends what is being typed, and
/// not the editor. Other signals end this process as ever.
pub fn lend_terminal<T>(work: impl FnOnce() -> T) -> T {
    LENT.store(true, Ordering::SeqCst);
    let done = work();
    LENT.store(false, Ordering::SeqCst);
    done
}

/// Catches signals from now on, so that none is lost until they are [handled](handle). None where they cannot be: then
/// they end the process at once, which leaves a file behind at worst.
pub fn prepare() -> Option<Signals> {
    let ignored = status::ignored();
    let wanted = ENDING.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    Signals::new(wanted.chain([SIGXFSZ])).ok()
}

/// From now on, a signal that ends the process waits for a commit in progress, removes files that would be left behind,
/// and then ends it as if nobody had handled the signal: a shell sees 130 after Ctrl-C.
pub fn handle(signals: Option<Signals>) {
    let Some(mut signals) = signals else { return };
    std::thread::spawn(move || {
        // A file that grows beyond what the caller set as its limit is an error of that write, and no reason to die.
        let is_ours = |signal: &i32| *signal != SIGXFSZ && !(*signal == SIGINT && LENT.load(Ordering::SeqCst));
        if let Some(signal) = signals.forever().find(is_ours) {
            let _stopped = nomount::interrupt::stop();
            super::progress::clear();
            // It does not come back from one of these signals.
            let _ = emulate_default_handler(signal);
        }
    });
}
