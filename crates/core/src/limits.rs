//! Every number that bounds or tunes the scheduler, in one place.

use std::time::Duration;

/// Work kept ready at a busy worker, so that the way to it is hidden. Long enough to cover a
/// wake-up and a batch of frames, short enough that moving it elsewhere is rarely needed.
pub const PREFETCH_LONG_TARGET: Duration = Duration::from_millis(2);

/// The same for threads of this process, and everywhere for roots of graphs: tasks that need nothing while
/// something needs them. What is handed ahead runs before whatever is ready by then, also before that which
/// would free memory. What this time lets it write too early is about a megabyte or two.
pub const PREFETCH_SHORT_TARGET: Duration = Duration::from_micros(200);

/// Tasks handed ahead to one worker at most, however short they are.
pub const PREFETCH_MAX: u32 = 512;

/// Roots handed ahead over the short way if something could run right after each of them, which would have to wait
/// for the others, while what they return is kept. In worker processes that is in the store, which has a budget.
pub const PREFETCH_ENABLING_MAX: u32 = 4;

/// Dependents that are looked at to know whether there is such a one.
pub(crate) const DEPENDENTS_LOOKED_AT: usize = 4;

/// Tasks handed ahead over the long way, but for roots, while nobody knows how long they take.
pub const PREFETCH_UNKNOWN: u32 = 1;

/// Work waiting at one worker that is worth moving to an idle one.
pub const MOVE_WORK_MIN: Duration = Duration::from_millis(1);

/// Tasks looked at to estimate the work that waits at one worker.
pub(crate) const ESTIMATE_SAMPLE: usize = 4;

/// Silence of a worker after which what waits behind it is moved, whatever its estimate says.
pub const QUIET_MAX: Duration = Duration::from_millis(2);

/// However many nested tasks come first, one of those that were submitted earlier begins after so long: it may be what
/// they wait for in ways that nobody sees.
pub const OVERTAKEN_MAX: Duration = Duration::from_secs(1);

/// Workers beyond a pool's number are kept for so long: they came while a task waited for others, and the next one
/// that waits would need another. To start a process, and for it to import what tasks need, takes much longer than
/// most waits.
pub const SURPLUS_KEPT: Duration = Duration::from_secs(2);

/// So long offers wait before a worker is started for them in the place of one that waits for others. That takes about
/// as long, and most waits are shorter.
pub const STAND_IN_AFTER: Duration = Duration::from_millis(50);

/// First wait after a worker could not be started; doubled each time.
pub const SPAWN_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest wait between attempts to start a worker.
pub const SPAWN_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Failures to start a worker, one after the other, until tasks are no longer kept waiting for it:
/// about one and a half seconds.
pub const SPAWN_FAILURES_MAX: u32 = 6;

/// Longest wait before a retry of a task.
pub const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Events kept for readers; a reader that falls further behind is told of the gap.
pub const EVENTS_MAX: usize = 65_536;

/// Groups with statistics of their own; the rest share one entry.
pub const GROUPS_MAX: usize = 65_536;

/// Dependencies named by `Explanation::Waiting`; the number beside them is exact.
pub const EXPLAINED_DEPENDENCIES_MAX: usize = 16;

/// Further walks that are tried for the order of a graph, with ties broken otherwise.
pub(crate) const ORDER_TRIES: u32 = 32;

/// Tasks in a graph from which on they are not: that many walks would cost as much as short tasks.
pub(crate) const ORDER_TRIES_TASKS_MAX: usize = 2_048;

/// Entries of a lane that may be dead before it is compacted, beyond the number of live ones.
pub(crate) const READY_DEAD_MAX: usize = 64;

/// Slots that an emptied task table keeps allocated.
pub(crate) const EMPTY_TABLE_SLOTS_MAX: usize = 4_096;
