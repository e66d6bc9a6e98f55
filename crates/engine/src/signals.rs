//! Signals belong to the program's main thread; the engine's threads block them all, so that the
//! kernel interrupts the thread that waits for them.

use nix::sys::signal::SigSet;

/// Blocks every signal on this thread.
pub(crate) fn block_all() {
    SigSet::all()
        .thread_block()
        .expect("a full signal set is a valid argument");
}
