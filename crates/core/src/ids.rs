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

/// The bit of a number that says that what has it is internal: nobody asked for it, a front end makes it for itself.
/// It works like all others, but is in no count, no summary and no event. Internal are such tasks of a group, and
/// pools for nothing else, with their workers.
const INTERNAL: u32 = 1 << 31;

macro_rules! internal {
    ($($name:ident),*) => {$(
        impl $name {
            /// What has this number and is internal.
            #[must_use]
            pub fn internal(self) -> $name {
                $name(self.0 | INTERNAL)
            }

            /// Whether what has it is internal.
            pub fn is_internal(self) -> bool {
                self.0 & INTERNAL != 0
            }
        }
    )*};
}

internal!(WorkerId, PoolId, GroupId);

impl GroupId {
    /// The group that has its name: itself, or the one that it is the internal part of.
    #[must_use]
    pub fn named(self) -> GroupId {
        GroupId(self.0 & !INTERNAL)
    }
}
