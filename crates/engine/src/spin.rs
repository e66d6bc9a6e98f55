//! Spinning briefly before sleeping, as long as it pays off.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock;
use crate::limits::{SPIN, SPIN_CREDIT_MAX, SPIN_CREDIT_MIN, SPIN_FAILURE_COST};

/// Decides whether to spin. A wake-up across cores costs as much as the spinning, so it pays only
/// if what is awaited usually comes at once; where it does not, others need the core more.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// Counted up when spinning paid off, down by more when it did not.
    credit: AtomicU32,
}

impl Default for Spinner {
    fn default() -> Spinner {
        Spinner {
            credit: AtomicU32::new(SPIN_CREDIT_MAX),
        }
    }
}

impl Spinner {
    /// Calls `ready` until it says yes or it is time to sleep; whether it said yes.
    pub(crate) fn spin(&self, mut ready: impl FnMut() -> bool) -> bool {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit < SPIN_CREDIT_MIN {
            self.credit.store(credit + 1, Ordering::Relaxed);
            return false;
        }
        let began = clock::now();
        while clock::now() - began < SPIN {
            if ready() {
                self.credit
                    .store((credit + 1).min(SPIN_CREDIT_MAX), Ordering::Relaxed);
                return true;
            }
            std::hint::spin_loop();
        }
        self.credit
            .store(credit - SPIN_FAILURE_COST.min(credit), Ordering::Relaxed);
        false
    }
}
