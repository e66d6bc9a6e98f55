//! Running tasks that sleep.
//!
//! A task may wait for something the engine knows nothing of: a socket, a lock, a task of another
//! pool. It holds a core of the budget and uses none. While others are held back for want of
//! cores, workers are looked at now and then: one whose process has slept through a whole interval
//! lends its core to the budget until it computes again. So pools whose tasks wait for each other
//! cannot lock each other out, and nothing idles that could run. The size of a pool is not
//! changed by this: it is its user's limit.

use std::fs;

use lineshaft_core::{Time, WorkerId};
use rustc_hash::FxHashMap;

use crate::limits::STALL_CHECK;
use crate::state::State;

/// What was last seen of each busy worker.
#[derive(Default)]
pub(crate) struct Stalls {
    seen: FxHashMap<WorkerId, Seen>,
    next: Option<Time>,
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
    /// Looks at the workers if tasks are held back for want of cores. Called after each change.
    pub(crate) fn look_for_stalls(&mut self, now: Time) {
        match self.stalls.next {
            Some(at) if at > now => return,
            None if !self.is_short_of_cores() => return,
            _ => {}
        }
        let before = self.stalls.lent_cores();
        let busy: Vec<(WorkerId, u32)> = self.processes.busy();
        self.stalls
            .seen
            .retain(|worker, _| busy.iter().any(|(other, _)| other == worker));
        for (worker, pid) in busy {
            let Some((sleeps, cpu_ticks)) = read_stat(pid) else {
                continue;
            };
            let fresh = Seen {
                cpu_ticks,
                asleep: false,
            };
            let seen = self.stalls.seen.entry(worker).or_insert(fresh);
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

    /// Whether the pools together want more cores than there are. One pool alone never does: the
    /// budget is at least as large as every pool.
    fn is_short_of_cores(&self) -> bool {
        let wanted = self
            .computing_pools()
            .map(|pool| pool.unfinished.min(pool.workers as usize));
        wanted.sum::<usize>() > self.cores_max() as usize
    }
}

/// Whether a process sleeps, and the processor time it has used: fields 3, 14 and 15 of
/// `/proc/PID/stat`, see proc(5).
fn read_stat(pid: u32) -> Option<(bool, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

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
