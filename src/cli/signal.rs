//! Ctrl-C and the like: a commit that has begun is completed, everything else is left as it was.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The signals that end the process. Those that the caller had it ignore, as nohup does, stay ignored.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// From now on, a signal that ends the process waits for a commit in progress, removes files that would be left behind,
/// and then ends it as if nobody had handled the signal: a shell sees 130 after Ctrl-C.
pub fn handle() {
    let ignored = ignored();
    let wanted = ENDING.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    // Without it signals end the process at once, which leaves a file behind at worst.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _stopped = nomount::interrupt::stop();
            super::progress::clear();
            // It does not come back from one of these signals.
            let _ = emulate_default_handler(signal);
        }
    });
}

/// The signals that this process was started to ignore: bit N-1 stands for signal N.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
