//! Signals that ask the program to stop. The only module that handles them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

use crate::engine::event::Interrupt;
use crate::error::{Error, Result};

static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Whether a signal was ignored when the program began, as `nohup` has it for SIGHUP and a script's
/// shell for SIGINT of what it starts in the background.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// From now on, a file that would exceed the limit on its size is an error of its writing, and no signal
/// ends the program.
pub fn ignore_size_limits() {
    // Without a handler, the program ends by it as before.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// From now on, the first SIGINT, SIGTERM, SIGHUP or SIGUSR1, by which Slurm tells that a job's time
/// runs out, makes the request that is returned and is remembered for [`caught`], and any further one ends the program at once. SIGHUP
/// counts as SIGTERM. What is ignored stays ignored.
///
/// # Errors
/// Where the system does not let signals be caught.
pub(crate) fn install() -> Result<Interrupt> {
    let interrupt = Interrupt::default();
    let caught = CAUGHT.get_or_init(Arc::default);
    let again = Arc::new(AtomicBool::new(false));
    // SIGHUP is the last one, by which the tests know that all are caught.
    let signals = [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGUSR1, SIGUSR1), (SIGHUP, SIGTERM)];
    for (signal, counts_as) in signals {
        if is_ignored(signal) {
            continue;
        }
        let attempt = || {
            // The order matters: the first signal must find the flag still down.
            flag::register_conditional_shutdown(signal, 128 + counts_as, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register(signal, interrupt.flag())?;
            flag::register_usize(signal, Arc::clone(caught), counts_as as usize)
        };
        attempt().map_err(|error| Error::Machine(format!("cannot catch signals: {error}")))?;
    }
    Ok(interrupt)
}

/// The signal that asked the program to stop, if one has.
pub(crate) fn caught() -> Option<u8> {
    match CAUGHT.get().map_or(0, |caught| caught.load(Ordering::Relaxed)) {
        0 => None,
        signal => Some(signal as u8),
    }
}
