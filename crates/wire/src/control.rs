//! The page that the engine shares with one worker.
//!
//! Messages wait in a socket buffer until the worker reads them, and a worker that runs a long task
//! reads nothing. The page holds the few words that must be true at once: which of the tasks sent
//! to the worker it has started, which one runs now, and whether that one should be interrupted.
//!
//! # Claims: who gets a task, the worker or the engine
//!
//! The engine sends tasks ahead of need, and takes unstarted ones back when another worker is idle
//! or this one is stuck. Both sides may reach for the same task at the same moment, so each task
//! is claimed in one word before it starts:
//!
//! ```text
//! claim:  epoch (32 bits) | number of tasks claimed in this epoch (32 bits)
//! ```
//!
//! * Each task is sent with the epoch of the moment. The worker starts tasks in the order in which
//!   they were sent, and before each one swaps `(e, n)` for `(e, n + 1)`, where `e` is the task's
//!   epoch. If the word shows another epoch, the task was taken back and the worker forgets it.
//! * The engine swaps `(e, n)` for `(e + 1, 0)`. It then knows that of the tasks it sent in epoch
//!   `e` exactly the first `n` were started, and that no other one ever will be.
//!
//! The race this prevents: the engine gives a task to another worker while this one starts it, and
//! it runs twice; or both believe that the other has it, and it never runs. There is one word and
//! every change is a compare-and-swap, so all changes have one order on which both sides agree: a
//! claim comes before the retraction and is counted by it, or after it and fails. This holds
//! without the worker's help, also while it runs a task, is stopped, or is dead.
//!
//! A count cannot overflow into the epoch: the engine starts a new epoch before it has sent
//! [`CLAIMS_PER_EPOCH_MAX`] tasks in one. An epoch can only be mistaken for another after 2^32
//! retractions while one message waits in the socket.
//!
//! Ordering: claims and retractions are acquire and release (`AcqRel`). What the worker wrote to the
//! page before a claim is seen by the retraction that counts it.
//!
//! # The running task
//!
//! Between a claim and `task`, which names what runs, the worker may be stopped: a task can be
//! claimed and not be shown here yet. The claim word is what counts; this is for time limits and for
//! the report of a death.
//!
//! # Interrupts
//!
//! The engine writes the task to interrupt and then sends a signal; the handler looks
//! whether the word names the task that runs. The race this prevents: the signal arrives when the
//! task has just ended, and hits the next one. Only the engine writes the word. It sets it back to 0
//! before it sends the same task to the same worker again, or else the old request would hit the
//! new attempt. The store is a release and the load an acquire, though the signal orders them
//! already: a worker may also look without a signal.

use std::sync::atomic::{AtomicU64, Ordering};

use lineshaft_store::Shareable;

use crate::held::HeldBack;
use crate::limits::CLAIMS_PER_EPOCH_MAX;

/// The words shared by the engine and one worker. Lives in a [`lineshaft_store::SharedPage`].
///
/// The engine's side is called by its loop, the worker's side by the thread that runs tasks;
/// [`ControlPage::is_interrupted`] also by a signal handler of that thread. Tasks are named by
/// their number, which is never 0.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ControlPage {
    /// Changed by both sides.
    claim: AtomicU64,
    /// The running task, or 0. Written by the worker.
    task: AtomicU64,
    /// The task to interrupt, or 0. Written by the engine.
    interrupt: AtomicU64,
    /// Of a task that calls its function once per item: which item it is at, counted from 1; 0 if
    /// it is at none. Written by the worker.
    item: AtomicU64,
    /// Not 0 once the worker is to end after what it runs. Written by the engine.
    leave: AtomicU64,
    /// Results that the worker has not sent yet.
    held: HeldBack,
}

// SAFETY: `#[repr(C)]`, atomics and `#[repr(C)]` structs and arrays of them only, every value of every word is valid.
unsafe impl Shareable for ControlPage {}

/// The claim word, unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    /// The epoch in which tasks can be claimed now.
    epoch: u32,
    /// How many were claimed in it.
    claimed: u32,
}

/// The worker's side.
impl ControlPage {
    /// Claims the next task, which was sent with `epoch`. False if the engine has taken it back.
    pub fn try_claim(&self, epoch: u32) -> bool {
        let mut word = self.claim.load(Ordering::Acquire);
        loop {
            let now = Claim::unpack(word);
            if now.epoch != epoch {
                return false;
            }
            assert!(
                now.claimed < CLAIMS_PER_EPOCH_MAX,
                "the engine never began a new epoch"
            );
            let next = Claim {
                claimed: now.claimed + 1,
                ..now
            }
            .pack();
            match self.swap_claim(word, next) {
                Ok(()) => return true,
                Err(changed) => word = changed,
            }
        }
    }

    /// Shows the task that begins.
    pub fn begin(&self, task: u64) {
        assert_ne!(task, 0, "0 stands for no task");
        self.task.store(task, Ordering::Release);
    }

    /// Shows which item of the running task begins, counted from 0.
    pub fn set_item(&self, index: u64) {
        self.item.store(index + 1, Ordering::Release);
    }

    /// Shows that no task runs. Call it when the result is on its way: whoever dies before is known
    /// to have died in the task. An interrupt that comes in between hits a task that has ended.
    pub fn end(&self) {
        self.item.store(0, Ordering::Release);
        self.task.store(0, Ordering::Release);
    }

    /// Whether the engine wants the worker to end when it has done what it runs.
    pub fn is_leave_wanted(&self) -> bool {
        self.leave.load(Ordering::Acquire) != 0
    }

    /// Whether the engine wants the task that runs now to be interrupted. Safe in a signal handler.
    pub fn is_interrupted(&self) -> bool {
        let task = self.task.load(Ordering::Relaxed);
        task != 0 && self.interrupt.load(Ordering::Acquire) == task
    }
}

/// The engine's side.
impl ControlPage {
    /// Takes back every task that is not claimed and begins the next epoch. Returns how many tasks
    /// of the epoch that ends were claimed: the first ones, in the order in which they were sent.
    pub fn retract(&self) -> u32 {
        let mut word = self.claim.load(Ordering::Acquire);
        loop {
            let now = Claim::unpack(word);
            let next = Claim {
                epoch: now.epoch.wrapping_add(1),
                claimed: 0,
            };
            match self.swap_claim(word, next.pack()) {
                Ok(()) => return now.claimed,
                Err(changed) => word = changed,
            }
        }
    }

    /// The item that the running task is at, counted from 0.
    pub fn item(&self) -> Option<u64> {
        self.item.load(Ordering::Acquire).checked_sub(1)
    }

    /// The task that runs, or 0.
    pub fn task(&self) -> u64 {
        self.task.load(Ordering::Acquire)
    }

    /// Asks for a task to be interrupted, or for none with 0. Signal the worker afterwards.
    pub fn set_interrupt(&self, task: u64) {
        self.interrupt.store(task, Ordering::Release);
    }

    /// Asks the worker to end when it has done what it runs.
    pub fn set_leave(&self) {
        self.leave.store(1, Ordering::Release);
    }

    /// The task that was last asked to be interrupted, or 0.
    pub fn interrupt(&self) -> u64 {
        self.interrupt.load(Ordering::Acquire)
    }
}

impl ControlPage {
    /// Results that the worker has not sent yet.
    pub fn held(&self) -> &HeldBack {
        &self.held
    }

    fn swap_claim(&self, from: u64, to: u64) -> Result<(), u64> {
        // Weak: both callers try again.
        let swapped =
            self.claim
                .compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Acquire);
        swapped.map(|_| ())
    }
}

impl Claim {
    fn pack(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.claimed)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the word"
    )]
    fn unpack(word: u64) -> Claim {
        Claim {
            epoch: (word >> 32) as u32,
            claimed: word as u32,
        }
    }
}
