//! What an engine does and did, as far as it fits: events go in, everything the pages show comes out.
//!
//! Two sources, and each is believed for what it is good at. Events say what happened to single
//! tasks; a reader that is late misses some, and learns how many. The engine's totals are exact at
//! any moment. So numbers of tasks come from the totals, and times, bars and quartiles from events;
//! what was missed, and what was dropped because it did not fit, is counted and shown.

use std::time::Duration;

use lineshaft_core::{Event, EventKind, GroupId, Measured, PoolCounts, TaskId, Time};
use lineshaft_engine::{Stack, Totals};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::{Edge, Graph};
use crate::groups::Groups;
use crate::history::{History, Sample};
use crate::lanes::{End, Lanes};
use crate::profile::Profile;
use crate::tasks::{TaskState, Tasks};
use crate::usage::Usage;

/// The picture. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Picture {
    /// What is shown as the beginning.
    pub(crate) origin: Time,
    pub(crate) tasks: Tasks,
    pub(crate) groups: Groups,
    pub(crate) graph: Graph,
    pub(crate) lanes: Lanes,
    pub(crate) history: History,
    pub(crate) profile: Profile,
    /// The engine when it was last looked at.
    pub(crate) latest: Sample,
    /// As of then.
    pub(crate) totals: Totals,
    /// As of then.
    pub(crate) usage: Usage,
    /// Tasks that wait for calls of their own, or did so in this attempt.
    pub(crate) waits: FxHashMap<TaskId, Waits>,
    /// The most memory of this process and its workers at any sample, in bytes.
    pub(crate) whole_bytes_most: u64,
    /// Events that were missed.
    pub(crate) missed: u64,
}

/// How long an attempt waited for calls of its own, which run meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    before: Duration,
    /// Since when it does now.
    since: Option<Time>,
}

impl Waits {
    fn until(self, at: Time) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| at - since)
    }
}

impl Picture {
    pub(crate) fn new(origin: Time) -> Picture {
        Picture {
            origin,
            tasks: Tasks::default(),
            groups: Groups::default(),
            graph: Graph::default(),
            lanes: Lanes::default(),
            history: History::default(),
            profile: Profile::default(),
            latest: Sample {
                at: origin,
                ..Sample::default()
            },
            totals: Totals::default(),
            usage: Usage::default(),
            waits: FxHashMap::default(),
            whole_bytes_most: 0,
            missed: 0,
        }
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        let at = event.at;
        match event.kind {
            EventKind::PoolAdded { .. }
            | EventKind::PoolRemoved { .. }
            | EventKind::Retracted { .. } => {}
            EventKind::WorkerUp {
                worker,
                pool,
                slots,
            } => self.lanes.worker_up(worker, pool, slots, at),
            EventKind::WorkerDown { worker } => self.lanes.worker_down(worker, at),
            EventKind::Submitted { task, group, .. } => {
                self.groups.see(group);
                if let Some(task) = self.tasks.enter(task, group, TaskState::Waiting) {
                    task.submitted = at;
                }
            }
            EventKind::Supplied { task, by } => {
                self.graph.add(Edge { by, task }, &mut self.tasks);
            }
            EventKind::Ready { task } => self.on_ready(task, at),
            EventKind::Assigned {
                task,
                attempt,
                worker,
                group,
            } => {
                self.groups.see(group);
                self.lanes.hand_over(worker, task, group, at);
                let Some(task) = self.tasks.enter(task, group, TaskState::Assigned) else {
                    return;
                };
                let was_queued = task.state == TaskState::Ready && task.ready != Time::NEVER;
                task.state = TaskState::Assigned;
                task.worker = Some(worker);
                task.attempt = attempt.0;
                task.assigned = at;
                task.ran = None;
                if was_queued {
                    let queued = at - task.ready;
                    self.groups.note_queued(group, queued);
                }
            }
            EventKind::Started { task, .. } => {
                if let Some(worker) = self.tasks.get(task).and_then(|task| task.worker) {
                    self.lanes.start(worker, task, at);
                }
            }
            EventKind::Blocked { task, .. } => {
                self.set(task, TaskState::Blocked);
                self.waits.entry(task).or_default().since = Some(at);
            }
            EventKind::Unblocked { task, .. } => {
                self.set(task, TaskState::Assigned);
                if let Some(waits) = self.waits.get_mut(&task) {
                    waits.before = waits.until(at);
                    waits.since = None;
                }
            }
            EventKind::Finished {
                task,
                ran_ns,
                phases,
                bytes,
                ..
            } => {
                let measured = Measured { ran_ns, phases };
                self.end_attempt(task, at, Some(measured), End::Finished);
                self.note_bytes(task, bytes);
                self.end(task, TaskState::Finished, at);
            }
            EventKind::Failed {
                task,
                ran_ns,
                phases,
                ..
            } => {
                let measured = ran_ns.map(|ran_ns| Measured {
                    ran_ns: ran_ns.get(),
                    phases,
                });
                self.end_attempt(task, at, measured, End::Failed);
            }
            EventKind::Retried { task, .. } => self.set(task, TaskState::Backoff),
            EventKind::Rejected { task, why } => {
                self.end(task, TaskState::of_rejection(why), at);
            }
        }
    }

    /// So many events are missing before the next one.
    pub(crate) fn miss(&mut self, count: u64) {
        self.missed += count;
    }

    /// After events were missed: forgets what is no longer so. The engine says which of some tasks
    /// have not ended.
    pub(crate) fn catch_up(&mut self, are_unfinished: impl Fn(&[TaskId]) -> Vec<bool>) {
        let asked = self.tasks.unfinished();
        let answers = are_unfinished(&asked);
        let mut unfinished = FxHashSet::default();
        for (id, is_unfinished) in asked.into_iter().zip(answers) {
            if is_unfinished {
                unfinished.insert(id);
            } else {
                self.set(id, TaskState::Unknown);
            }
        }
        self.lanes.keep_in_flight(|task| unfinished.contains(&task));
        self.waits.retain(|task, _| unfinished.contains(task));
    }

    /// Takes over the engine's totals, and what its processes use.
    pub(crate) fn look(&mut self, at: Time, totals: Totals, usage: Usage) {
        self.lanes.learn(&totals.workers, at);
        self.lanes.learn_pids(&totals.pids);
        let there = |id| totals.workers.iter().any(|worker| worker.worker == id);
        self.profile.keep(there);
        let now = &totals.counts.total;
        let sum = |of: fn(&lineshaft_core::GroupSummary) -> u64| -> u64 {
            totals.groups.iter().map(|(_, summary)| of(summary)).sum()
        };
        let count = |number: usize| number as u64;
        let unfinished = count(now.unfinished());
        let running = self.running(now);
        self.latest = Sample {
            at,
            finished: sum(|group| group.finished),
            failed: sum(|group| group.failed - group.retried),
            ended: sum(|group| group.submitted).saturating_sub(unfinished),
            waiting: count(now.waiting),
            ready: count(now.ready),
            backoff: count(now.backoff),
            blocked: count(now.blocked),
            ahead: count(now.in_flight() - now.blocked - running),
            running: count(running),
            memory_bytes: totals.store.used_bytes,
            spilled_bytes: totals.store.spilled_bytes,
            whole_bytes: usage.own_bytes() + totals.store.used_bytes,
            cpu_ns: usage.cpu_ns,
            program_cpu_ns: usage.program_cpu_ns(),
            runnable: usage.runnable,
            computing: usage.computing,
            idle_ns: usage.idle_ns,
            on_threads: count(self.on_threads()),
            cores: totals.counts.cores_used,
        };
        self.whole_bytes_most = self.whole_bytes_most.max(self.latest.whole_bytes);
        let peaks = usage.processes.iter();
        self.lanes
            .learn_peaks(peaks.map(|process| (process.pid, process.memory.peak_bytes)));
        // Also those whose events were all missed.
        for (group, _) in &totals.groups {
            self.groups.see(*group);
        }
        self.totals = totals;
        self.usage = usage;
    }

    /// How many of the tasks that workers have are running. Their number is exact; that of each worker
    /// is known from events.
    fn running(&self, now: &PoolCounts) -> usize {
        let lanes = self.lanes.workers().iter();
        let seen: usize = lanes.map(|worker| worker.running().count()).sum();
        let unblocked = now.in_flight() - now.blocked;
        seen.saturating_sub(now.blocked)
            .clamp(now.running.min(unblocked), unblocked)
    }

    /// How many tasks run on threads of this program.
    fn on_threads(&self) -> usize {
        let workers = self.lanes.workers().iter();
        let threads = workers.filter(|worker| worker.is_threads);
        threads.map(|worker| worker.running().count()).sum()
    }

    /// Takes in stacks of tasks that run.
    pub(crate) fn add_stacks(&mut self, at: Time, stacks: Vec<Stack>) {
        for stack in stacks {
            if let Some(task) = self.tasks.get(stack.task) {
                let group = task.group;
                self.profile.add(at, group, stack);
            }
        }
    }

    /// Gives names to groups that have none yet.
    pub(crate) fn name_groups(&mut self, name: impl Fn(GroupId) -> String) {
        self.groups.name_all(name);
    }

    /// How long a task that runs has waited for calls of its own.
    pub(crate) fn waited(&self, task: TaskId) -> Duration {
        let waits = self.waits.get(&task);
        waits.map_or(Duration::ZERO, |waits| waits.until(self.now()))
    }

    fn on_ready(&mut self, id: TaskId, at: Time) {
        self.waits.remove(&id);
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let was_with = match task.state {
            TaskState::Assigned | TaskState::Blocked => task.worker,
            _ => None,
        };
        task.state = TaskState::Ready;
        task.ready = at;
        if let Some(worker) = was_with {
            self.lanes.take_back(worker, id, at);
        }
    }

    fn end_attempt(&mut self, id: TaskId, at: Time, measured: Option<Measured>, end: End) {
        let waits = self.waits.remove(&id);
        let waited = waits.map_or(Duration::ZERO, |waits| waits.until(at));
        let Some(task) = self.tasks.get_mut(id) else {
            self.lanes.unplaced += 1;
            return;
        };
        let group = task.group;
        task.phases = measured.unwrap_or_default().phases;
        let call = measured.map(|measured| task.phases.call(measured.ran()));
        task.ran = call.map(|call| call.saturating_sub(waited));
        match task.worker {
            Some(worker) => self.lanes.end(worker, id, at, measured, end),
            None => self.lanes.unplaced += 1,
        }
        if let Some(measured) = measured {
            if end == End::Finished {
                task.chain += task.ran.unwrap_or_default();
                self.graph.end_chain(task);
            }
            let worker = task.worker;
            let is_first = worker.is_some_and(|worker| self.lanes.is_first(worker, group, at));
            self.groups.note_run(group, measured, waited, is_first);
        }
    }

    /// What the result of a task takes, unless it stays in this process.
    fn note_bytes(&mut self, id: TaskId, bytes: u64) {
        if let Some(task) = self.tasks.get_mut(id).filter(|_| bytes > 0) {
            task.bytes = bytes;
            self.groups.note_bytes(task.group, bytes);
        }
    }

    fn set(&mut self, id: TaskId, state: TaskState) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.state = state;
        }
    }

    fn end(&mut self, id: TaskId, state: TaskState, at: Time) {
        self.waits.remove(&id);
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let with = if task.state == TaskState::Assigned {
            task.worker
        } else {
            None
        };
        task.state = state;
        task.ended = at;
        // It was rejected without a report from its worker.
        if let Some(worker) = with {
            self.lanes.take_back(worker, id, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_core::{Phases, WorkerId};

    use super::*;
    use crate::script::{picture, play};

    fn state(picture: &Picture, task: u64) -> &'static str {
        picture.task(TaskId(task)).expect("known").state
    }

    fn bars(picture: &Picture) -> Vec<(u64, End)> {
        let lanes = picture
            .lanes
            .workers()
            .iter()
            .flat_map(|worker| &worker.lanes);
        let bars = lanes.flat_map(|lane| &lane.bars);
        bars.map(|bar| (bar.task.0, bar.end)).collect()
    }

    #[test]
    fn a_task_goes_through_its_states() {
        let mut picture = picture("0 up 1 1\n0 submit 1 7");
        let steps = [
            ("1 ready 1", "ready"),
            ("2 hand 1 1 7", "running"),
            ("3 block 1", "blocked"),
            ("4 unblock 1", "running"),
            ("5 fail 1\n5 retry 1", "backoff"),
            ("6 ready 1", "ready"),
            ("7 hand 1 1 7", "running"),
            ("8 ready 1", "ready"),
            ("9 hand 1 1 7", "running"),
            ("20 finish 1 5", "finished"),
        ];
        for (event, expected) in steps {
            play(&mut picture, event);
            assert_eq!(state(&picture, 1), expected, "after {event}");
        }
        assert_eq!(bars(&picture), [(1, End::Failed), (1, End::Finished)]);
    }

    #[test]
    fn ends_without_a_result_say_why() {
        let picture = picture(
            "0 up 1 1
             0 submit 1 7
             0 submit 2 7
             0 submit 3 7
             0 submit 4 7
             1 hand 1 1 7
             2 hand 2 1 7
             5 fail 1
             5 reject 1 1
             6 reject 3 3
             7 down 1
             7 fail 2
             7 reject 2 2
             8 reject 4 0",
        );
        let states = [1, 2, 3, 4].map(|task| state(&picture, task));
        assert_eq!(
            states,
            ["failed", "worker-died", "dependency-failed", "cancelled"]
        );
        assert_eq!(bars(&picture), [(1, End::Failed), (2, End::Failed)]);
    }

    #[test]
    fn loading_and_storing_are_no_part_of_a_run_and_what_a_worker_loads_first_is_told_apart() {
        // The first one in each worker loads for 3.2 s.
        let picture = picture(
            "0 up 1 1\n0 up 2 1\n0 submit 1 7\n0 submit 2 7\n0 submit 3 7\n0 submit 4 8
             1 hand 1 1 7\n1 hand 2 2 7
             3300000 finish 1 3290000 3200000 30000\n3300000 supply 4 1
             3300000 finish 2 3260000 3200000
             3300001 hand 3 1 7\n3400000 finish 3 70000 10000
             3400000 hand 4 1 8\n3400010 finish 4 5",
        );
        let row = picture.task(TaskId(1)).expect("known");
        assert_eq!(
            (row.ran_s, row.load_s, row.store_s),
            (Some(0.06), Some(3.2), Some(0.03))
        );
        let group = picture.groups.get(GroupId(7)).expect("seen");
        assert_eq!(group.moving.first_load, Duration::from_millis(6_400));
        assert_eq!(group.moving.most, 2);
        let [.., longest] = group.ran.quartiles().expect("seen");
        assert!(longest < 70_000_000, "{longest}");
        let chain = picture.graph.longest(&picture.tasks);
        assert_eq!(chain.ran, Duration::from_micros(60_005));
    }

    #[test]
    fn what_a_task_waits_for_its_own_calls_is_no_part_of_how_long_it_ran() {
        let mut picture = picture(
            "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n11 block 1\n911 unblock 1\n921 block 1
             971 unblock 1\n1001 finish 1 1000\n1001 submit 2 7\n1002 hand 2 1 7\n1012 block 2",
        );
        let group = picture.groups.get(GroupId(7)).expect("seen");
        assert_eq!(group.waited, Duration::from_micros(950));
        assert_eq!(picture.task(TaskId(1)).expect("known").ran_s, Some(5e-5));
        let [.., longest] = group.ran.quartiles().expect("seen");
        assert!(longest < 60_000, "{longest}");
        // What it takes now is no more, either.
        picture.latest.at = Time(5_000_000);
        assert_eq!(picture.waited(TaskId(2)), Duration::from_micros(3_988));
        play(&mut picture, "6000 fail 2\n6000 reject 2 2");
        assert!(picture.waits.is_empty());
    }

    #[test]
    fn what_failed_ran_as_long_as_its_worker_says() {
        let picture = picture(
            "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n2000 fail 1 500\n2000 retry 1\n2001 ready 1
             2002 hand 1 1 7\n9000 fail 1\n9000 reject 1 2\n9000 submit 2 7\n9001 hand 2 1 7
             9900 fail 2 100 30\n9900 reject 2 1",
        );
        let bars = picture.lanes.workers()[0].lanes[0].bars.iter();
        let ran = bars.map(|bar| (bar.task.0, bar.ran.as_micros(), bar.end));
        assert!(ran.eq([
            (1, 500, End::Failed),
            (1, 6_998, End::Failed),
            (2, 100, End::Failed)
        ]));
        let row = |task| picture.task(TaskId(task)).expect("known");
        assert_eq!((row(1).ran_s, row(1).load_s), (None, None));
        assert_eq!((row(2).ran_s, row(2).load_s), (Some(7e-5), Some(3e-5)));
        assert_eq!(picture.groups.get(GroupId(7)).expect("seen").ran.count(), 2);
    }

    #[test]
    fn a_task_whose_submission_was_missed_has_its_group_and_its_bar() {
        let picture = picture("3 miss 1000\n5 hand 9 1 7\n400 finish 9 100");
        assert_eq!((state(&picture, 9), picture.missed), ("finished", 1000));
        assert_eq!(picture.task(TaskId(9)).expect("known").name, "f7");
        assert_eq!(picture.task(TaskId(9)).expect("known").submitted_s, None);
        assert_eq!(bars(&picture), [(9, End::Finished)]);
        assert_eq!(picture.groups.get(GroupId(7)).expect("seen").ran.count(), 1);
    }

    #[test]
    fn an_end_whose_beginning_was_missed_is_counted() {
        let mut picture = picture("0 up 1 1\n5 finish 1 5");
        assert_eq!((picture.lanes.unplaced, bars(&picture).len()), (1, 0));
        play(&mut picture, "6 submit 2 7\n7 finish 2 1");
        assert_eq!(
            (picture.lanes.unplaced, state(&picture, 2)),
            (2, "finished")
        );
    }

    #[test]
    fn after_a_gap_what_has_ended_meanwhile_is_known_to_have() {
        let mut picture = picture(
            "0 up 1 1\n0 submit 1 7\n0 submit 2 7\n0 submit 3 7\n1 hand 1 1 7\n1 hand 2 1 7",
        );
        picture.miss(10);
        picture.catch_up(|tasks| tasks.iter().map(|task| *task != TaskId(1)).collect());
        let states = [1, 2, 3].map(|task| state(&picture, task));
        assert_eq!(states, ["unknown", "running", "waiting"]);
        let worker = &picture.lanes.workers()[0];
        assert_eq!(worker.id, WorkerId(1));
        assert!(worker.running().map(|bar| bar.task).eq([TaskId(2)]));
    }

    #[test]
    fn a_million_tasks_stay_within_the_bounds_and_are_all_counted() {
        let mut picture = picture("0 up 1 1");
        for (id, group) in (0..1_000_000).zip([0, 1, 2].into_iter().cycle()) {
            let at = Time(id * 1_000);
            let (task, group, worker) = (TaskId(id), GroupId(group), WorkerId(1));
            let attempt = lineshaft_core::Attempt(1);
            let kinds = [
                EventKind::Submitted {
                    task,
                    pool: lineshaft_core::PoolId(0),
                    group,
                },
                EventKind::Ready { task },
                EventKind::Assigned {
                    task,
                    attempt,
                    worker,
                    group,
                },
                EventKind::Finished {
                    task,
                    attempt,
                    ran_ns: 500,
                    phases: Phases::default(),
                    bytes: 0,
                },
            ];
            for kind in kinds {
                picture.apply(&Event { at, kind });
            }
        }
        assert_eq!(picture.tasks.len(), crate::limits::TASKS_MAX);
        let kept = bars(&picture).len();
        assert!(kept <= crate::limits::BARS_MAX, "{kept}");
        assert_eq!(kept as u64 + picture.lanes.dropped(), 1_000_000);
        let seen = (0..3).map(|group| {
            picture
                .groups
                .get(GroupId(group))
                .expect("seen")
                .ran
                .count()
        });
        assert_eq!(seen.sum::<u64>(), 1_000_000);
    }
}
