//! Ctrl-C: noted, and asked about between steps, so that everything that was made is also taken down.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigSet, Signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP are only noted. Must be called before any other thread is started. A
/// second signal ends the process at once.
pub fn note_signals() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(128 + signal as i32);
            }
            eprintln!("\n{signal}: cleaning up (once more to stop at once)");
        }
    });
    Ok(())
}

/// An error if a signal was noted.
pub fn check() -> anyhow::Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}
