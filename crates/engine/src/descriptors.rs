//! How many descriptors this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the soft limit is raised to, if the hard limit allows it: each object in shared memory is a
/// descriptor, in the engine and, while it is on its way, in the kernel's count of descriptors in
/// flight, which has the same limit. The usual 1,024 are soon used up by a map over arrays. Not
/// higher than this, because old programs that our workers may start close every descriptor up to
/// the limit one by one, and `select` of more than 1,024 is their own affair in either case.
const DESCRIPTORS: u64 = 65_536;

/// Raises the soft limit towards the hard one, for this process and the workers that inherit it.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        // If it is refused, things are as they were: too many objects fail with a clear error.
        let _: rustix::io::Result<()> = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..limit
            },
        );
    }
}
