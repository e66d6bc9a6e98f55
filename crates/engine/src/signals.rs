//! Signals belong to the program's main thread; the engine's own threads block them all, so that the
//! kernel interrupts the thread that waits for them. Threads that run calls do not: they block what the
//! thread blocks that opened their pool, as any thread that the program had started there. What calls
//! start in turn, such as processes, inherits that.

use nix::sys::signal::SigSet;

/// The signals that a thread blocks.
#[derive(Clone, Copy)]
pub(crate) struct Mask(SigSet);

impl Mask {
    pub(crate) fn of_this_thread() -> Mask {
        let mask = SigSet::thread_get_mask();
        Mask(mask.expect("nothing is asked of the kernel that it could refuse"))
    }

    /// This thread blocks the same from now on.
    pub(crate) fn apply(self) {
        self.0
            .thread_set_mask()
            .expect("a mask that another thread has is a valid argument");
    }
}

/// Blocks every signal on this thread.
pub(crate) fn block_all() {
    SigSet::all()
        .thread_block()
        .expect("a full signal set is a valid argument");
}
