//! Every number that bounds or tunes the picture, in one place.

use std::time::Duration;

/// Tasks kept with their times; 128 bytes each. What is beyond is in the counters only.
pub const TASKS_MAX: usize = 1 << 18;

/// Tasks that failed and are kept although newer ones have taken their places.
pub const FAILED_MAX: usize = 4_096;

/// Bars kept over all lanes, 64 bytes each; the oldest go first.
pub const BARS_MAX: usize = 1 << 18;

/// Bars dropped at a time.
pub(crate) const BARS_DROPPED_AT_ONCE: usize = 64;

/// Lanes of one worker: more of its tasks at once have no bars.
pub const LANES_PER_WORKER_MAX: usize = 256;

/// Waits for other tasks that are shown of one attempt, 16 bytes each; the nearest of more are joined.
pub const WAITS_OF_ATTEMPT_MAX: usize = 16;

/// Those of all attempts that have ended; the oldest go first.
pub const WAITS_MAX: usize = 1 << 16;

/// Workers that are gone and still have lanes.
pub const WORKERS_GONE_MAX: usize = 1_024;

/// Groups with quartiles; of further ones there are counters only.
pub const GROUPS_MAX: usize = 4_096;

/// Edges between single tasks that are kept, 16 bytes each; of further ones there are sums by function.
pub const EDGES_MAX: usize = 1 << 18;

/// Pairs of functions between which edges are summed.
pub const LINKS_MAX: usize = 1 << 14;

/// Nodes of the graph that is shown.
pub const NODES_MAX: usize = 200;

/// Functions of which single tasks are shown in it, and how many of each.
pub const GROUPS_EXPANDED_MAX: usize = 8;
/// See there.
pub const TASKS_EXPANDED_MAX: usize = 16;
const _: () = assert!(GROUPS_EXPANDED_MAX * (TASKS_EXPANDED_MAX + 1) < NODES_MAX);

/// Steps of the longest chain in one answer.
pub(crate) const STEPS_MAX: usize = 100;

/// Samples of the recent past, one for each `SAMPLE_EVERY`: five minutes.
pub const RECENT_MAX: usize = 1_200;

/// Samples of the whole run. When they are reached every second one goes.
pub const WHOLE_MAX: usize = 1_024;

/// Time between two samples while anything happens.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Rates are those of this last time.
pub(crate) const RATE_OVER: Duration = Duration::from_secs(2);

/// Time after which readers of events are told that there was none.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// Samples without news after which there is no further one: enough for rates to come to rest.
pub(crate) const QUIET_SAMPLES: u32 = 10;
const _: () = assert!(SAMPLE_EVERY.as_millis() * QUIET_SAMPLES as u128 > RATE_OVER.as_millis());

/// Events copied while the engine's state is locked.
pub(crate) const EVENTS_AT_ONCE: usize = 4_096;

/// Events after which the log is read although no sample is due: a quarter of what it keeps.
pub(crate) const EVENTS_UNREAD_MAX: u64 = lineshaft_core::limits::EVENTS_MAX as u64 / 4;

/// How long a worker may hold back its report of a task that has ended. Where a bar lies is known to
/// within this time; its length is measured.
pub(crate) const REPORT_DELAY: Duration = Duration::from_micros(300);

/// Stacks kept, 24 bytes each.
pub const STACKS_MAX: usize = 1 << 17;

/// Frames in the tree that stacks are kept as, and names of frames.
pub const FRAMES_MAX: usize = 1 << 15;

/// Bytes of the name of a frame.
pub(crate) const FRAME_BYTES_MAX: usize = 200;

/// Time between two stacks of one worker, while somebody wants to know; more where it takes long to take them.
pub const PROFILE_EVERY: Duration = Duration::from_millis(100);

/// Taking stacks takes this program one part in so many of the time that the workers run for whose stacks they
/// are, at most. What it takes the workers the engine bounds.
pub(crate) const PROFILE_PART: u32 = 200;

/// How long stacks are taken after somebody wanted to know.
pub(crate) const PROFILE_WANTED: Duration = Duration::from_secs(5);

/// To find out what of their memory processes were forked with takes one part in so many of the time, at most, for each.
pub(crate) const INHERITED_PART: u32 = 1000;

/// Rows of one page of a table.
pub const PAGE_MAX: usize = 500;

/// The port that is tried first.
pub const PORT: u16 = 8787;

/// Ports tried after each other, before the kernel chooses one.
pub(crate) const PORTS_TRIED: u16 = 100;

/// Connections at a time; one more is closed at once.
pub const CONNECTIONS_MAX: usize = 256;

/// Time that a request may take to come in.
pub(crate) const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a request, and of an answer that its reader has not taken yet.
pub(crate) const REQUEST_BYTES_MAX: usize = 32 << 10;

/// Time between two attempts to accept a connection, when one failed.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time that readers have to take the last events, one of which is the whole run, when a server stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);
