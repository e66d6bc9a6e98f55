//! One pool: its queue, its workers in the order in which they are served, and sums over both.

use std::collections::BTreeSet;

use super::worker::{Key, Standing};
use crate::graph::State;
use crate::ids::{GroupId, WorkerId};
use crate::limits::OVERTAKEN_MAX;
use crate::ready::{Choice, Ready, Turn};
use crate::spec::PoolSpec;
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    /// No worker can ever be started; tasks are rejected at once.
    pub(super) broken: bool,
    pub(super) ready: Ready,
    /// Tasks by state, changed where a task comes, goes or changes its state.
    pub(super) tally: Tally,
    /// Of these, the internal ones.
    pub(super) internal: Tally,
    /// Every worker that is up, in the order of ids.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Workers that may be given tasks, least loaded first.
    pub(super) takers: BTreeSet<Key>,
    /// Sums over the standing of all workers. Only `update_worker` changes it.
    pub(super) sums: Sums,
    /// Workers asked for that are neither up nor failed.
    pub(super) starting: u32,
    /// Slots of the worker that came up last: what a starting one will probably bring.
    pub(super) slots_expected: u32,
    /// Starts that failed in a row, those too of workers that ended before they ran anything.
    pub(super) spawn_failures: u32,
    /// Starts that were refused in a row since a worker last ended a task.
    pub(super) spawns_refused: u32,
    /// No worker is asked for before this time.
    pub(super) spawn_not_before: Time,
    /// When offers are worth workers that stand in for others; `Time::NEVER` if none are wanted.
    pub(super) stand_ins_at: Time,
    /// When the timer for these two is set to; `Time::NEVER` if it is not set.
    pub(super) spawn_timer: Time,
    /// When the timer for quiet workers is set to; `Time::NEVER` if it is not set.
    pub(super) rebalance_timer: Time,
    /// When last a task was handed out that was not the deepest for that.
    pub(super) in_turn_at: Time,
    /// When surplus workers are let go; `Time::NEVER` if there are none.
    pub(super) surplus_timer: Time,
    /// Whether the scheduler's list of dirty pools names this one.
    pub(super) dirty: bool,
    /// Whether the scheduler's list of hungry pools names this one.
    pub(super) hungry: bool,
}

/// Tasks of a pool by state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    pub(super) waiting: usize,
    pub(super) ready: usize,
    pub(super) backoff: usize,
    /// At a worker, in any phase.
    pub(super) assigned: usize,
    /// Of these, known to have started, blocked ones included.
    pub(super) running: usize,
    /// Of these, waiting without a core.
    pub(super) blocked: usize,
}

/// What the workers of a pool amount to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sums {
    /// Slots that could take a task now.
    pub(super) free_slots: u32,
    /// Workers with tasks, not counting those whose slots are all blocked.
    pub(super) active: u32,
    /// Workers that stay and whose slots are all blocked.
    pub(super) stuck: u32,
    /// Workers that were told to end and have not yet.
    pub(super) leaving: u32,
    /// Workers without tasks that could take one.
    pub(super) idle: u32,
    /// Those of them that are known to be there.
    pub(super) idle_there: u32,
    /// Tasks that could be moved to another worker.
    pub(super) movable: u32,
    /// Tasks at workers that are not known to be there.
    pub(super) late: u32,
}

impl Pool {
    pub(super) fn new(spec: PoolSpec) -> Pool {
        Pool {
            spec,
            broken: false,
            ready: Ready::default(),
            tally: Tally::default(),
            internal: Tally::default(),
            workers: BTreeSet::new(),
            takers: BTreeSet::new(),
            sums: Sums::default(),
            starting: 0,
            slots_expected: 1,
            spawn_failures: 0,
            spawns_refused: 0,
            spawn_not_before: Time::default(),
            stand_ins_at: Time::NEVER,
            spawn_timer: Time::NEVER,
            rebalance_timer: Time::NEVER,
            in_turn_at: Time::default(),
            surplus_timer: Time::NEVER,
            dirty: false,
            hungry: false,
        }
    }

    /// A task of this group has come, and is in this state.
    pub(super) fn count(&mut self, group: GroupId, state: &State) {
        self.tally.change(state, |count| *count += 1);
        if group.is_internal() {
            self.internal.change(state, |count| *count += 1);
        }
    }

    /// One that was in this state is so no more.
    pub(super) fn uncount(&mut self, group: GroupId, state: &State) {
        self.tally.change(state, |count| *count -= 1);
        if group.is_internal() {
            self.internal.change(state, |count| *count -= 1);
        }
    }

    /// Workers that are up or starting, not counting those whose slots are all blocked: what
    /// `workers_max` limits. One that was told to end counts until it has.
    pub(super) fn workers_counted(&self) -> u32 {
        (self.workers_up() + self.starting).saturating_sub(self.sums.stuck)
    }

    /// Workers beyond `workers_max`, which there are after a blocked task went on.
    pub(super) fn workers_surplus(&self) -> u32 {
        let staying = self
            .workers_up()
            .saturating_sub(self.sums.stuck + self.sums.leaving);
        staying.saturating_sub(self.spec.workers_max)
    }

    /// Idle workers that may be given a task without exceeding `workers_max`.
    pub(super) fn idle_allowed(&self) -> u32 {
        self.sums
            .idle
            .min(self.spec.workers_max.saturating_sub(self.sums.active))
    }

    /// Whether there are a ready task and a worker for it, apart from cores and memory.
    pub(super) fn could_start(&self) -> bool {
        self.tally.ready > 0 && self.free_taker().is_some()
    }

    /// The worker that should start the next task, if one has a free slot.
    pub(super) fn free_taker(&self) -> Option<WorkerId> {
        if self.sums.free_slots == 0 {
            return None;
        }
        let from = Key {
            ahead: 0,
            in_flight: u32::from(self.sums.active >= self.spec.workers_max),
            worker: WorkerId(0),
        };
        let first = self.takers.range(from..).next()?;
        (first.ahead == 0).then_some(first.worker)
    }

    /// The busy worker that should be given a task ahead, with how many would wait there then.
    pub(super) fn busy_taker(&self) -> Option<(WorkerId, u32)> {
        let from = Key {
            ahead: 1,
            in_flight: 0,
            worker: WorkerId(0),
        };
        self.takers
            .range(from..)
            .next()
            .map(|key| (key.worker, key.ahead))
    }

    /// The worker to let go: the youngest, which has the least in its caches and has imported the least,
    /// and only once it is idle.
    pub(super) fn idle_youngest(&self) -> Option<WorkerId> {
        let youngest = self.takers.iter().max_by_key(|key| key.worker)?;
        (youngest.in_flight == 0).then_some(youngest.worker)
    }

    /// Whether no worker of the pool will take another task unless one is started.
    pub(super) fn is_without_workers(&self) -> bool {
        self.workers_up() == self.sums.stuck
    }

    fn workers_up(&self) -> u32 {
        u32::try_from(self.workers.len()).unwrap_or(u32::MAX)
    }

    /// Which of the ready tasks may be taken now.
    pub(super) fn choice(&self, memory_short: bool) -> Choice {
        if !memory_short {
            Choice::All
        } else if self.tally.assigned > self.tally.blocked {
            Choice::NoRoots
        } else {
            Choice::RootsLast
        }
    }

    /// Which of them comes first. Once more tasks wait than could run, the deepest: others have to wait no longer than
    /// for a pool whose workers are all busy, and not for ever even if nested tasks never end.
    pub(super) fn turn(&self, now: Time) -> Turn {
        if self.sums.stuck < self.spec.workers_max {
            Turn::Submitted
        } else if now < self.in_turn_at + OVERTAKEN_MAX {
            Turn::Deepest
        } else {
            Turn::Oldest
        }
    }
}

impl Tally {
    /// What is left without some of them.
    pub(super) fn without(&self, some: &Tally) -> Tally {
        Tally {
            waiting: self.waiting - some.waiting,
            ready: self.ready - some.ready,
            backoff: self.backoff - some.backoff,
            assigned: self.assigned - some.assigned,
            running: self.running - some.running,
            blocked: self.blocked - some.blocked,
        }
    }

    pub(super) fn change(&mut self, state: &State, by_one: impl Fn(&mut usize)) {
        match state {
            State::Waiting { .. } => by_one(&mut self.waiting),
            State::Ready { .. } => by_one(&mut self.ready),
            State::Backoff { .. } => by_one(&mut self.backoff),
            State::Assigned(assigned) => {
                by_one(&mut self.assigned);
                if assigned.is_running() {
                    by_one(&mut self.running);
                }
                if assigned.is_waiting() {
                    by_one(&mut self.blocked);
                }
            }
        }
    }
}

impl Sums {
    pub(super) fn replace(&mut self, old: &Standing, new: &Standing) {
        let change = |sum: &mut u32, old: u32, new: u32| *sum = *sum - old + new;
        change(&mut self.free_slots, old.free_slots, new.free_slots);
        change(
            &mut self.active,
            u32::from(old.active),
            u32::from(new.active),
        );
        change(&mut self.stuck, u32::from(old.stuck), u32::from(new.stuck));
        change(
            &mut self.leaving,
            u32::from(old.leaving),
            u32::from(new.leaving),
        );
        change(&mut self.idle, u32::from(old.idle), u32::from(new.idle));
        change(
            &mut self.idle_there,
            u32::from(old.idle_there),
            u32::from(new.idle_there),
        );
        change(&mut self.movable, old.movable, new.movable);
        change(&mut self.late, old.late, new.late);
    }
}
