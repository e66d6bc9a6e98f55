//! Running tasks that sleep.
//!
//! A task may wait for something the engine knows nothing of: a socket, a lock, a task of another
//! pool. It holds a core of the budget and uses none. While others are held back for want of
//! cores, what runs tasks is looked at now and then: a worker process, or a thread of this one, that
//! has slept through a whole interval lends its core to the budget until it computes again. So pools
//! whose tasks wait for each other cannot lock each other out, and nothing idles that could run. The
//! size of a pool is not changed by this: it is its user's limit.
//!
//! What is known to wait for other tasks has given its core back already, and a thread that is given up
//! has none.

use std::fs;

use lineshaft_core::{Time, WorkerId};
use rustc_hash::FxHashMap;
use rustix::thread::Pid;

use crate::limits::STALL_CHECK;
use crate::pools::Executor;
use crate::state::State;

/// What was last seen of each that has something to run.
#[derive(Default)]
pub(crate) struct Stalls {
    seen: FxHashMap<Busy, Seen>,
    next: Option<Time>,
}

/// Something that holds a core.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Busy {
    Worker(WorkerId, u32),
    Thread(Pid),
}

struct Seen {
    cpu_ticks: u64,
    /// It slept through the last interval: its core is lent.
    asleep: bool,
}

impl Stalls {
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// Cores that sleeping tasks have lent.
    pub(crate) fn lent_cores(&self) -> u32 {
        let asleep = self.seen.values().filter(|seen| seen.asleep).count();
        u32::try_from(asleep).unwrap_or(u32::MAX)
    }
}

impl State {
    /// Looks at what runs if tasks are held back for want of cores. Called after each change.
    pub(crate) fn look_for_stalls(&mut self, now: Time) {
        match self.stalls.next {
            Some(at) if at > now => return,
            None if !self.is_short_of_cores() => return,
            _ => {}
        }
        let before = self.stalls.lent_cores();
        let busy = self.busy();
        self.stalls.seen.retain(|each, _| busy.contains(each));
        for each in busy {
            let Some((sleeps, cpu_ticks)) = each.read_stat() else {
                continue;
            };
            let fresh = Seen {
                cpu_ticks,
                asleep: false,
            };
            let seen = self.stalls.seen.entry(each).or_insert(fresh);
            let first_look = self.stalls.next.is_none();
            seen.asleep = !first_look && sleeps && seen.cpu_ticks == cpu_ticks;
            seen.cpu_ticks = cpu_ticks;
        }
        if self.is_short_of_cores() || self.stalls.lent_cores() > 0 {
            self.stalls.next = Some(now + STALL_CHECK);
        } else {
            self.stalls.next = None;
            self.stalls.seen.clear();
        }
        if self.stalls.lent_cores() != before {
            self.set_cores();
        }
    }

    fn busy(&self) -> Vec<Busy> {
        let workers = self.processes.busy().into_iter();
        let threads = self
            .computing_pools()
            .flat_map(|pool| match &pool.executor {
                Executor::Threads { lanes, .. } => lanes.running(),
                Executor::Processes(_) => Vec::new(),
            });
        let threads = threads
            .filter(|(_, call)| !self.waits.contains(call) && !self.given_up.contains_key(call));
        workers
            .map(|(worker, pid)| Busy::Worker(worker, pid))
            .chain(threads.map(|(thread, _)| Busy::Thread(thread)))
            .collect()
    }

    /// Whether the pools together want more cores than there are. A pool that only the program uses never
    /// does alone: the budget is at least as large as that.
    fn is_short_of_cores(&self) -> bool {
        let wanted = self
            .computing_pools()
            .map(|pool| pool.unfinished.min(pool.workers as usize));
        wanted.sum::<usize>() > self.cores_max() as usize
    }
}

impl Busy {
    /// Whether it sleeps, and the processor time it has used.
    fn read_stat(self) -> Option<(bool, u64)> {
        let path = match self {
            Busy::Worker(_, pid) => format!("/proc/{pid}/stat"),
            Busy::Thread(thread) => format!("/proc/self/task/{thread}/stat"),
        };
        parse_stat(&fs::read_to_string(path).ok()?)
    }
}

/// Fields 3, 14 and 15 of `/proc/PID/stat`, see proc(5).
fn parse_stat(text: &str) -> Option<(bool, u64)> {
    // The name in field 2 may contain anything, parentheses too.
    let mut fields = text.rsplit_once(") ")?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let (user, system) = (fields.nth(10)?, fields.next()?);
    Some((
        state == "S",
        user.parse::<u64>().ok()? + system.parse::<u64>().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::parse_stat;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = "17 (a) b) S 1 2 3 4 5 6 7 8 9 10 70 5 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_stat(text), Some((true, 75)));
    }
}
