//! Every limit of this crate, in one place.

use std::time::Duration;

/// How long the loop thread leaves polling to waiting callers after the last one stopped. Long
/// enough that a caller in a submit-and-wait loop never wakes it, short enough that finished work
/// is not left lying when callers do something else.
pub const STANDBY: Duration = Duration::from_millis(1);

/// How long a caller that polls spins before it sleeps: about what a wake-up across cores costs.
pub const SPIN: Duration = Duration::from_micros(60);

/// Credit of who spins, at most: counted up by one each time that it pays off or is left out.
pub const SPIN_CREDIT_MAX: u32 = 16;

/// With less credit than this a caller sleeps at once.
pub const SPIN_CREDIT_MIN: u32 = 8;

/// What it costs to have spun in vain.
pub const SPIN_FAILURE_COST: u32 = 4;

/// How long a caller sleeps at a time that is to look for nothing meanwhile.
pub const UNCHECKED_NAP: Duration = Duration::from_secs(3600);

/// How often a caller that waits without polling looks for signals.
pub const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// How often a caller that polls looks for signals, beside after each one that ends its sleep: for
/// those that arrive while it is awake.
pub const MISSED_SIGNAL_CHECK: Duration = Duration::from_millis(200);

/// How often in a row one thread empties the inbox that others fill, before it leaves that to whoever
/// polls.
pub const DRIVE_ROUNDS_MAX: u32 = 8;

/// Commands in the inbox beyond which callers that submit wait until it is emptied.
pub const INBOX_MAX: usize = 4096;

/// How long a task has to end after the exception of its time limit was raised in it.
pub const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// How long a worker that is about to be killed has to write its stack.
pub const STACK_GRACE: Duration = Duration::from_millis(50);

/// How long workers have to end by themselves at shutdown.
pub const EXIT_GRACE: Duration = Duration::from_secs(2);

/// Results that a worker holds back to send them together, at most this long.
pub const RESULT_DELAY: Duration = Duration::from_micros(300);

/// Results that a worker holds back, at most this many bytes.
pub const RESULT_BYTES: usize = 32 * 1024;

/// Values up to this size travel inside messages; larger buffers lie in shared memory.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Captured output that the engine keeps to be looked at later.
pub const OUTPUT_RING_BYTES: usize = 1024 * 1024;

/// Output read from one worker before others get their turn.
pub const OUTPUT_READ_BYTES: usize = 64 * 1024;

/// Tasks that a worker may claim in one epoch of its control page, far below where the count would
/// overflow. What is in flight at the end of an epoch is sent again.
pub const TASKS_PER_EPOCH_MAX: u32 = 1 << 16;
const _: () = assert!(TASKS_PER_EPOCH_MAX < lineshaft_wire::CLAIMS_PER_EPOCH_MAX / 2);

/// How long a message waits for which the kernel had too many descriptors in flight, or no memory.
pub const FLUSH_RETRY: Duration = Duration::from_millis(2);

/// Reads from one worker before others get their turn: 256 KiB each.
pub const FILLS_MAX: usize = 64;

/// How often a worker looks at its own memory.
pub const MEMORY_CHECK: Duration = Duration::from_millis(50);

/// How often a running task that others wait behind is looked at, to see whether it computes or
/// sleeps.
pub const STALL_CHECK: Duration = Duration::from_millis(50);

/// The stack of a thread that runs calls where that of the main thread has no limit.
pub const UNLIMITED_STACK_BYTES: usize = 8 << 20;

/// How long a thread without a call stays that anybody's calls may run on: as many as programs ask for come and go.
pub const THREAD_IDLE_MAX: Duration = Duration::from_secs(5);

/// Names of task groups: as many as the scheduler tells apart.
pub const GROUPS_MAX: usize = lineshaft_core::limits::GROUPS_MAX;

/// Deaths of workers that are kept to be looked at later.
pub const DEATHS_MAX: usize = 64;

/// Worker processes whose numbers are kept to be looked at later, the last that were started.
pub const PIDS_MAX: usize = 1024;

/// Pools of worker processes that are closed and are kept to be looked at later, because workers were replaced in them.
pub const CLOSED_POOLS_MAX: usize = 64;

/// Tracebacks of tasks that are kept to be looked at later, all together.
pub const TRACEBACKS_BYTES: usize = 1024 * 1024;

/// How long a call takes of which the arguments are told.
pub const LONG_CALL: Duration = Duration::from_millis(10);

/// Arguments of tasks that are kept to be looked at later, all together.
pub const ARGUMENTS_BYTES: usize = 1024 * 1024;

/// As much as is kept of the arguments of one attempt. Front ends make less of them.
pub const ARGUMENTS_BYTES_MAX: usize = 1024;

/// As much of a traceback as is kept to be looked at.
pub const TRACEBACK_BYTES_MAX: usize = 16 * 1024;

/// How often in a row workers may end before they began a task, until that is taken for hopeless.
pub const STILLBORN_MAX: u32 = 6;

/// Writing stacks for who looks takes a worker one part in so many of the time that it runs tasks, at most.
pub const LOOK_PART: u32 = 200;

/// Crash report that is kept of a worker.
pub const STACK_BYTES_MAX: usize = 64 * 1024;

/// Part of the memory budget from which on tasks that would only add to it are held back.
pub const MEMORY_SHORT_PERCENT: u64 = 80;

/// Part of it below which they no longer are. Lower, so that the two do not take turns.
pub const MEMORY_EASY_PERCENT: u64 = 60;

/// What the soft limit of descriptors is raised to, if the hard limit allows it: each object in shared
/// memory is a descriptor, in the engine and, while it is on its way, in the kernel's count of
/// descriptors in flight, which has the same limit. The usual 1,024 are soon used up by a map over
/// arrays. Not higher than this, because old programs that our workers may start close every
/// descriptor up to the limit one by one, and `select` of more than 1,024 is their own affair in
/// either case.
pub const DESCRIPTORS_MAX: u64 = 65_536;

/// Part of the descriptors that this process may have up to which results keep theirs. What comes
/// beyond is copied, so that whatever else needs one finds one.
pub const DESCRIPTORS_EASY_PERCENT: u64 = 75;

/// Copies of descriptors that wait to be sent to one worker, until they are sent without waiting for more.
pub const DESCRIPTORS_WAITING_MAX: usize = 16;

/// A result that is copied to take no descriptor, at most: it must fit into a message, for a task may
/// need it.
pub const ABSORBED_BYTES_MAX: u64 = lineshaft_wire::FRAME_MAX_BYTES as u64 / 2;

/// Where buffers begin in such a copy: at multiples of this many bytes, as allocators give arrays.
pub const BUFFER_ALIGNMENT: usize = 16;

/// How long an idle worker keeps mappings of segments that the next task might read.
pub const MAPS_KEPT: Duration = Duration::from_millis(100);
