//! The engine's clock: monotonic nanoseconds, the same in engine and workers.

use lineshaft_core::Time;
use rustix::time::{ClockId, clock_gettime};

/// Now, as `CLOCK_MONOTONIC` has it.
pub fn now() -> Time {
    let at = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    Time(seconds * 1_000_000_000 + nanos)
}
