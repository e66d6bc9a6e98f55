//! What is shown of a picture: types of this crate's own, made to be read by people and programs.
//!
//! Times are seconds since the picture's origin, durations seconds, sizes bytes. `None` is something
//! that has not happened or was not seen; it is never shown as zero.

mod detail;
mod graph;
mod groups;
mod overview;
mod pools;
mod profile;
mod record;
mod scatter;
mod tasks;
mod timeline;
mod workers;

pub use detail::TaskDetail;
pub(crate) use detail::{DroppedRow, Said, TextRow};
pub use graph::{GraphQuery, GraphView, LinkRow, NodeRow, PathRow, StepRow};
pub use groups::{GroupPage, GroupQuery, GroupRow, GroupSort, Total};
pub use overview::{Beyond, Cores, Memory, Overview, SampleRow, TaskCounts, Whole, Workers};
pub use pools::PoolRow;
pub use profile::{FrameRow, ProfileQuery, ProfileTree, ProfiledGroup};
pub(crate) use record::Beside;
pub use record::Record;
pub use scatter::{Dot, Scatter, ScatterQuery};
pub use tasks::{Sort, TaskPage, TaskQuery, TaskRow};
pub use timeline::{BarRow, Cell, GroupShare, LaneRow, Timeline, TimelineQuery};
pub use workers::{DeathRow, PlaceRow, ProcessRow, RunningRow, WorkerList, WorkerRow, WrittenRow};

use std::time::Duration;

use lineshaft_core::Time;

use crate::lanes::{Bar, End};
use crate::picture::Picture;
use crate::waits::{Wait, within};

impl Picture {
    /// When the engine was last looked at.
    pub(crate) fn now(&self) -> Time {
        self.latest.at
    }

    /// A bar of a task that runs, as it was then.
    pub(crate) fn until_now(&self, bar: Bar) -> Bar {
        let ran = self.now() - bar.start;
        let waited = self.waited(bar.task).min(ran);
        Bar {
            ran,
            waited_ns: u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
            ..bar
        }
    }

    /// When the call of a bar waited for other tasks, in the order of time.
    pub(crate) fn waits_of(&self, bar: &Bar) -> Vec<Wait> {
        if bar.waited_ns == 0 {
            return Vec::new();
        }
        match self.waits.get(&bar.task) {
            Some(waits) if bar.end == End::Running => within(bar, waits.all_until(self.now())),
            _ => self.waited.within(bar),
        }
    }

    /// Seconds since the origin; None for a time that has not come.
    pub(crate) fn seconds(&self, at: Time) -> Option<f64> {
        (at != Time::NEVER).then(|| self.seconds_of(at))
    }

    /// The same for a time that has. What was before the origin is negative.
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact to a microsecond for a century"
    )]
    pub(crate) fn seconds_of(&self, at: Time) -> f64 {
        (at.0.cast_signed() - self.origin.0.cast_signed()) as f64 / 1e9
    }

    /// The time of so many seconds.
    #[expect(clippy::cast_possible_truncation, reason = "saturates, as it should")]
    pub(crate) fn time(&self, seconds: f64) -> Time {
        let ns = (seconds * 1e9) as i64;
        Time(self.origin.0.saturating_add_signed(ns))
    }
}

/// The time between two, if both have come.
pub(crate) fn between(from: Time, to: Time) -> Option<f64> {
    (from != Time::NEVER && to != Time::NEVER).then(|| (to - from).as_secs_f64())
}

/// So many nanoseconds.
pub(crate) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
