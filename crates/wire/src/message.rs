//! What engine, workers and zygote say to each other.
//!
//! Byte strings are borrowed from the receive buffer; descriptors travel beside the bytes, in the
//! order in which the values of a message name their segments. Engine and workers are always the
//! same build of the same library, so there is no versioning.

use serde::{Deserialize, Serialize};

/// A pickled value: the pickle itself and references to its out-of-band buffers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Value<'a> {
    /// The pickle stream, protocol 5.
    #[serde(borrow, with = "crate::bytes")]
    pub data: &'a [u8],
    /// Lengths in bytes of the segments whose descriptors travel with this message.
    pub segments: Vec<u64>,
    /// Where each out-of-band buffer lies, in the order in which the pickle wants them.
    pub buffers: Vec<BufferRef>,
}

impl Value<'_> {
    /// Whether all buffers lie where there is something. Asked once for a value that arrives from a
    /// process that user code runs in; the lengths of the segments are the descriptors' to prove.
    pub fn is_sound(&self) -> bool {
        self.buffers.iter().all(|buffer| {
            let whole_bytes = match buffer.segment {
                INLINE_SEGMENT => Some(self.data.len() as u64),
                index => self.segments.get(index as usize).copied(),
            };
            let end = buffer.offset.checked_add(buffer.bytes);
            end.zip(whole_bytes)
                .is_some_and(|(end, whole)| end <= whole)
        })
    }
}

/// The `BufferRef::segment` of a buffer that is too small for shared memory: it lies in the value's
/// `data`, behind the pickle.
pub const INLINE_SEGMENT: u32 = u32::MAX;

/// A stretch of one of the segments of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BufferRef {
    /// Index into the value's segments, or `INLINE_SEGMENT`.
    pub segment: u32,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// From the engine to a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToWorker<'a> {
    /// A definition, sent once per worker before the first task that needs it.
    Code {
        /// Its identity in this engine.
        id: u64,
        /// The pickled definition.
        #[serde(borrow)]
        body: Value<'a>,
    },
    /// Call this before any task, once. If it raises, the worker is of no use.
    Initialize {
        /// The callable.
        code: u64,
        /// Its pickled arguments.
        #[serde(borrow)]
        args: Value<'a>,
    },
    /// Run a task, unless its epoch has been taken back.
    Run {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
        /// The epoch of the control page's claim word in which it may be claimed.
        epoch: u32,
        /// The callable.
        code: u64,
        /// Whether the engine needs to know when it starts.
        report_start: bool,
        /// Whether the arguments are a list of items, for each of which the callable is called.
        each: bool,
        /// Its pickled arguments.
        #[serde(borrow)]
        args: Value<'a>,
        /// Results of other tasks that the arguments refer to by index.
        #[serde(borrow)]
        inputs: Vec<Value<'a>>,
    },
    /// These definitions will not be needed again.
    Forget {
        /// Their identities.
        ids: Vec<u64>,
    },
    /// How a nested call ended.
    Answer {
        /// The number that the worker gave the call.
        call: u64,
        /// Its result.
        #[serde(borrow)]
        answer: Answer<'a>,
    },
    /// Whether a nested call could be cancelled.
    CancelAnswer {
        /// The call.
        call: u64,
        /// Whether it will not run.
        cancelled: bool,
    },
    /// There is no more work: end.
    Exit,
}

/// How a nested call ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// It returned.
    Value(#[serde(borrow)] Value<'a>),
    /// It raised: the pickled exception.
    Raised(#[serde(borrow)] Value<'a>),
    /// Its worker died under it.
    Died(#[serde(borrow)] Death<'a>),
    /// It did not run to an end; the engine's words, as the front end would put them.
    Lost {
        /// Which kind of end, in the front end's encoding.
        kind: u8,
        /// Why.
        message: &'a str,
    },
}

/// What is known of the death of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Death<'a> {
    /// The task that it ran.
    pub task: &'a str,
    /// The process.
    pub pid: u32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its exit status, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The most memory it ever had resident, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the kernel killed it for lack of memory.
    pub oom_killed: bool,
    /// The item of a batch that it was at.
    pub item: Option<u64>,
    /// Its last stack.
    pub stack: Option<&'a str>,
}

/// From a worker to the engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromWorker<'a> {
    /// The initializer raised: the pickled exception. The worker ends.
    InitializeFailed {
        /// The exception.
        #[serde(borrow)]
        error: Value<'a>,
    },
    /// The task began to run.
    Started {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
    },
    /// The task returned.
    Finished {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
        /// Wall time that it ran, in nanoseconds.
        ran_ns: u64,
        /// How much of that it took to load the function and its arguments, in microseconds.
        load_us: u32,
        /// And to store the result.
        store_us: u32,
        /// Its pickled result.
        #[serde(borrow)]
        value: Value<'a>,
        /// What is to be said beside that; mostly nothing.
        #[serde(borrow)]
        remark: Option<Remark<'a>>,
    },
    /// The task raised.
    Failed {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
        /// Wall time that it ran, in nanoseconds.
        ran_ns: u64,
        /// How much of that it took to load the function and its arguments, in microseconds.
        load_us: u32,
        /// And to store the exception.
        store_us: u32,
        /// The pickled exception.
        #[serde(borrow)]
        error: Value<'a>,
        /// Where it was raised, for people.
        traceback: &'a str,
        /// Its arguments, for people, if they were loaded.
        arguments: &'a str,
    },
    /// A thread of the worker waits for nested calls while the task runs, which may wait for it. Told
    /// again if what follows changes.
    Blocked {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
        /// None of these calls can run in the worker's own pool.
        keeps_place: bool,
    },
    /// None does any more.
    Unblocked {
        /// The task.
        task: u64,
        /// Its attempt.
        attempt: u32,
    },
    /// A log record, pickled.
    Log {
        /// The record.
        #[serde(borrow, with = "crate::bytes")]
        record: &'a [u8],
    },
    /// A definition of the worker's own, for its nested calls; kept until `ForgetCode`.
    Code {
        /// Its identity in this worker.
        id: u64,
        /// Definitions of this worker that it needs, to be loaded before it.
        needs: Vec<u64>,
        /// Where what its tasks are counted under is from, if it is callable.
        module: &'a str,
        /// What that is called there.
        name: &'a str,
        /// The pickled definition.
        #[serde(borrow)]
        body: Value<'a>,
    },
    /// The worker makes no further call with a definition of its own.
    ForgetCode {
        /// The definition.
        id: u64,
    },
    /// A nested call.
    Call {
        /// The number that the worker gives it.
        call: u64,
        /// The pool that the worker opened, or none for the one it belongs to.
        pool: Option<u64>,
        /// A callable that the worker sent before.
        code: u64,
        /// Further definitions that the arguments need.
        definitions: Vec<u64>,
        /// Earlier calls whose results the arguments refer to by index.
        inputs: Vec<u64>,
        /// How it is to run.
        options: CallOptions,
        /// Its pickled arguments.
        #[serde(borrow)]
        args: Value<'a>,
    },
    /// The worker wants a nested call cancelled; answered by `CancelAnswer`.
    Cancel {
        /// The call.
        call: u64,
        /// Whether it is to be ended if it runs already.
        kill: bool,
    },
    /// The worker no longer refers to a nested call.
    Forget {
        /// The call.
        call: u64,
    },
    /// The worker opens a pool for nested calls.
    OpenPool {
        /// The number that the worker gives it.
        pool: u64,
        /// Workers that may run at the same time.
        workers: u32,
        /// Tasks after which a worker of it is replaced.
        tasks_per_worker_max: Option<u32>,
        /// What each worker of it calls first.
        #[serde(borrow)]
        initializer: Option<Initializer<'a>>,
    },
    /// The worker closes it.
    ClosePool {
        /// The pool.
        pool: u64,
    },
    /// The worker grew beyond its memory limit, ran its number of tasks, could not load a definition
    /// or was asked to leave; it has reported all results, and ends.
    Recycle,
}

/// What a worker says of a task that returned, beside its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remark<'a> {
    /// It is a batch, and items of it raised. Where the first of them did, for people; else empty.
    pub items_raised: &'a str,
    /// These items are run again, each as a task of its own.
    pub run_again: bool,
    /// Its arguments, for people, if it took long; else empty.
    pub arguments: &'a str,
}

/// What each worker of a pool calls before its first task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Initializer<'a> {
    /// A callable that was sent before.
    pub code: u64,
    /// Further definitions that the arguments need.
    pub definitions: Vec<u64>,
    /// Its pickled arguments.
    #[serde(borrow)]
    pub args: Value<'a>,
}

/// How one call is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CallOptions {
    /// Whether the arguments are a list of items, for each of which the callable is called.
    pub each: bool,
    /// Whether the caller runs these again, one by one, if the worker dies.
    pub items_run_again: bool,
    /// Greater runs earlier.
    pub priority: i32,
    /// Retries after it raised or ran out of time.
    pub failures_max: u16,
    /// Retries after its worker died under it.
    pub deaths_max: u16,
    /// Wait before the first retry, in nanoseconds.
    pub backoff_ns: u64,
    /// Wall time one attempt may take, in nanoseconds.
    pub timeout_ns: Option<u64>,
    /// Whether it is in no count, since nobody asked for it.
    pub internal: bool,
}

/// From the engine to the zygote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToZygote<'a> {
    /// What the front end wants every worker to know. Comes first.
    SetUp {
        /// In the front end's encoding.
        #[serde(borrow, with = "crate::bytes")]
        data: &'a [u8],
    },
    /// Fork a worker. Descriptors: socket, control page, budget page, standard output, standard
    /// error, crash report.
    Spawn {
        /// Its identity.
        worker: u32,
        /// How many its pool may have.
        pool_workers: u32,
        /// Resident bytes above its size at start at which it asks to be replaced.
        growth_bytes_max: Option<u64>,
        /// Tasks after which it asks to be replaced.
        tasks_max: Option<u32>,
    },
}

/// From the zygote to the engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// A worker was forked.
    Spawned {
        /// Its identity.
        worker: u32,
        /// Its process.
        pid: u32,
    },
    /// It could not be forked.
    SpawnFailed {
        /// Its identity.
        worker: u32,
        /// The system's error number.
        errno: i32,
    },
    /// A worker ended and was reaped.
    Exited {
        /// Its identity.
        worker: u32,
        /// The wait status, as `wait4` gives it.
        status: i32,
        /// Peak resident memory, in bytes.
        peak_memory_bytes: u64,
        /// Processor time of it and of its children that it waited for, in nanoseconds.
        cpu_ns: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_lie_within_their_segments() {
        let value = |segment, offset, bytes| Value {
            data: b"0123456789",
            segments: vec![100, 0],
            buffers: vec![BufferRef {
                segment,
                offset,
                bytes,
            }],
        };
        for (segment, offset, bytes) in
            [(0, 0, 100), (0, 100, 0), (1, 0, 0), (INLINE_SEGMENT, 4, 6)]
        {
            assert!(value(segment, offset, bytes).is_sound());
        }
        for (segment, offset, bytes) in [
            (0, 1, 100),
            (0, u64::MAX, 2),
            (1, 0, 1),
            (2, 0, 0),
            (INLINE_SEGMENT, 4, 7),
            (INLINE_SEGMENT - 1, 0, 0),
        ] {
            assert!(!value(segment, offset, bytes).is_sound());
        }
    }
}
