//! Integer identities. Integers never cross a function boundary bare.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $int);
    };
}

id!(
    /// One call of one function. The engine hands them out in strictly increasing order and
    /// never twice, so a greater id was submitted later.
    TaskId(u64)
);
id!(
    /// How many times a task has been handed to a worker; the first hand-over is attempt 1. Every
    /// message about a task names its attempt, and a message about an older one is dropped.
    Attempt(u32)
);
id!(
    /// One worker: a process, or the set of threads of one thread pool. Never reused.
    WorkerId(u32)
);
id!(
    /// A set of interchangeable workers.
    PoolId(u32)
);
id!(
    /// Tasks that run the same function; durations are estimated per group.
    GroupId(u32)
);
