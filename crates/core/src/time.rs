//! The scheduler has no clock: every input carries the time.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since a start that the caller chose. Monotonic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// The end of time, which no deadline reaches.
    pub const NEVER: Time = Time(u64::MAX);
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates: a deadline beyond the end of time is no deadline.
    fn add(self, rhs: Duration) -> Time {
        Time(
            self.0
                .saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Saturates at zero: clocks of two threads may disagree by a hair.
    fn sub(self, rhs: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(rhs.0))
    }
}
