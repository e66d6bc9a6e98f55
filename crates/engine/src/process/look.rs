//! Which workers are asked for their stacks.
//!
//! The signal that asks ends what a task waits for in the kernel: code in C that does not expect that takes it for
//! a failure. So a worker that sleeps is asked once. What it wrote then holds for as long as it sleeps on.

use std::fs;
use std::time::Duration;

use lineshaft_core::{TaskId, WorkerId};
use rustix::process::Signal;

use super::inspect::Stack;

/// The last time that a worker was asked.
pub(super) struct Look {
    pub(super) task: TaskId,
    /// How it was before.
    found: Option<Found>,
    /// Time that it ran tasks for since the last stack before this one.
    pub(super) stands_for: Duration,
    /// What it wrote.
    pub(super) stack: Option<Stack>,
}

/// What the kernel says of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// Its main thread waits for something.
    is_asleep: bool,
    /// How often that thread began to.
    sleeps: u64,
    /// Signals that have a handler, a bit each.
    caught: u64,
    /// Processor time of all its threads, in the kernel's ticks.
    cpu_ticks: u64,
}

impl Look {
    pub(super) fn new(task: TaskId, found: Option<Found>, stands_for: Duration) -> Look {
        Look {
            task,
            found,
            stands_for,
            stack: None,
        }
    }

    /// Whether it has slept ever since, but for what it wrote, and so has nothing else to say.
    pub(super) fn holds(&self, task: TaskId, now: Option<Found>) -> bool {
        let (Some(then), Some(now)) = (self.found, now) else {
            return false;
        };
        let sleeps_on = then.is_asleep && now.is_asleep && now.sleeps <= then.sleeps + 1;
        self.task == task && sleeps_on && now.cpu_ticks == then.cpu_ticks
    }
}

impl Found {
    /// Of those of these workers that are there.
    pub(crate) fn of_all(pids: Vec<(WorkerId, u32)>) -> Vec<(WorkerId, Found)> {
        let found = |(worker, pid)| Some((worker, Found::of(pid)?));
        pids.into_iter().filter_map(found).collect()
    }

    fn of(pid: u32) -> Option<Found> {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        Found::parse(&read("status")?, &read("stat")?)
    }

    /// Whether it has a handler for this signal, and does not die of it.
    pub(super) fn catches(&self, signal: Signal) -> bool {
        let bit = signal.as_raw() - 1;
        self.caught >> bit & 1 == 1
    }

    fn parse(status: &str, stat: &str) -> Option<Found> {
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.strip_prefix(':')?.trim())
        };
        // Behind the name, which may contain anything; the first is field 3 of proc(5).
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        Some(Found {
            is_asleep: !value("State")?.starts_with('R'),
            sleeps: value("voluntary_ctxt_switches")?.parse().ok()?,
            caught: u64::from_str_radix(value("SigCgt")?, 16).ok()?,
            cpu_ticks: ticks()? + ticks()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tpython) R\nState:\tS (sleeping)\nSigCgt:\t0000000000008002\n\
                          voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t99\n";
    const STAT: &str = "7 (python) R) S 1 7 7 0 -1 4194560 1 2 3 4 30 12 5 6 20 0\n";

    fn asleep() -> Found {
        Found::parse(STATUS, STAT).expect("well-formed")
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let expected = Found {
            is_asleep: true,
            sleeps: 12,
            caught: 0x8002,
            cpu_ticks: 42,
        };
        assert_eq!(asleep(), expected);
        assert!(asleep().catches(Signal::INT));
        assert!(asleep().catches(Signal::STKFLT));
        assert!(!asleep().catches(Signal::TERM));
        for garbage in [
            "",
            "State:\tS",
            "State:\tS\nSigCgt:\tx\nvoluntary_ctxt_switches:\t1",
        ] {
            assert_eq!(Found::parse(garbage, STAT), None);
        }
        assert_eq!(Found::parse(STATUS, "7 (a) S 1"), None);
        assert!(Found::of(std::process::id()).is_some());
    }

    #[test]
    fn a_stack_holds_while_the_worker_sleeps_on() {
        let (task, other) = (TaskId(1), TaskId(2));
        let look = Look::new(task, Some(asleep()), Duration::ZERO);
        let now = |change: fn(&mut Found)| {
            let mut now = asleep();
            change(&mut now);
            look.holds(task, Some(now))
        };
        assert!(now(|_| ()));
        assert!(now(|found| found.sleeps += 1), "it wrote its stack");
        assert!(!now(|found| found.sleeps += 2));
        assert!(!now(|found| found.is_asleep = false));
        assert!(
            !now(|found| found.cpu_ticks += 1),
            "another thread computes"
        );
        assert!(!look.holds(other, Some(asleep())));
        assert!(!look.holds(task, None));
        let awake = Found {
            is_asleep: false,
            ..asleep()
        };
        let look = Look::new(task, Some(awake), Duration::ZERO);
        assert!(!look.holds(task, Some(asleep())));
    }
}
