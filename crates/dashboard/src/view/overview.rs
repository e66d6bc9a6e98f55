//! The whole in a screenful: tasks by state, rates, cores, memory, groups.

use lineshaft_core::GroupSummary;
use lineshaft_engine::WorkerKind;
use serde::Serialize;

use super::{GroupRow, Total};
use crate::history::Sample;
use crate::lanes::Worker;
use crate::limits;
use crate::picture::Picture;

/// Groups in one overview; the rest are added up.
const GROUPS_SHOWN: usize = 100;

/// The engine, now and over time.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Overview {
    /// The number of the next sample: ask for it next.
    pub next: u64,
    /// Whether `samples` go on where was asked for; if not, they are all that there are.
    pub resumed: bool,
    /// When this was so.
    pub at_s: f64,
    /// The wall clock at the origin, in milliseconds since 1970.
    pub origin_unix_ms: u64,
    /// The engine has been shut down: this is how it ended.
    pub ended: bool,
    /// Tasks by state.
    pub tasks: TaskCounts,
    /// Tasks that ended per second, lately.
    pub tasks_per_s: f64,
    /// The same from the beginning on: what is worth a look once the run is over.
    pub whole: Whole,
    /// Processor cores.
    pub cores: Cores,
    /// Objects in shared memory.
    pub memory: Memory,
    /// Workers by state.
    pub workers: Workers,
    /// Those that took the most time.
    pub groups: Vec<GroupRow>,
    /// How many more there are.
    pub groups_more: usize,
    /// What all of them took together.
    pub total: Total,
    /// What is only counted.
    pub beyond: Beyond,
    /// Samples since the one asked for, oldest first.
    pub samples: Vec<SampleRow>,
}

/// Means and peaks of the run so far.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Whole {
    /// Since when, until the last look.
    pub lasted_s: f64,
    /// Tasks that ended per second.
    pub tasks_per_s: f64,
    /// Cores that the program and its workers kept busy; None if it was looked at but once.
    pub cores_busy: Option<f64>,
    /// What of that the program itself did.
    pub program_cores_busy: Option<f64>,
    /// The most worker processes at a time, the most pools of threads, and the most pools of calls of an event loop.
    pub processes: usize,
    /// See there.
    pub thread_pools: usize,
    /// See there.
    pub event_loops: usize,
}

/// Tasks by state. All numbers are exact, but for how tasks that workers have are divided into those
/// that run and those that were handed ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "states of tasks")]
pub struct TaskCounts {
    pub submitted: u64,
    pub waiting: u64,
    pub ready: u64,
    pub backoff: u64,
    pub ahead: u64,
    pub running: u64,
    pub blocked: u64,
    pub finished: u64,
    pub failed: u64,
    /// Cancelled, or in need of a task that failed.
    pub dropped: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
}

/// Processor cores.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cores {
    /// Those that the program and its workers keep busy, lately.
    pub busy: f64,
    /// Those that running tasks take of the budget.
    pub taken: u64,
    /// The budget.
    pub budget: u32,
    /// Those of the machine, whoever may use them.
    pub machine: Option<u32>,
}

/// Objects in shared memory, and memory as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "sizes and numbers")]
pub struct Memory {
    /// What the program and its worker processes have each for itself, and the objects that they share.
    pub whole_bytes: u64,
    pub whole_peak_bytes: u64,
    /// The machine's, or the limit of a cgroup.
    pub limit_bytes: Option<u64>,
    pub used_bytes: u64,
    pub peak_bytes: u64,
    pub budget_bytes: u64,
    pub spilled_bytes: u64,
    /// Objects that went to disk so far, moved there or written there at once.
    pub spills: u64,
    pub objects: u64,
}

/// Workers by state; the threads of a pool are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "states of workers")]
pub struct Workers {
    pub up: usize,
    pub idle: usize,
    /// Of those that are up, the processes, and how many of these have nothing to do.
    pub processes: usize,
    pub processes_idle: usize,
    pub thread_pools: usize,
    pub event_loops: usize,
    pub starting: usize,
    /// Processes that died under a task or without being asked to end.
    pub died: u64,
}

/// What happened and is not in the tables in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Beyond {
    /// Events that were overwritten before they were read.
    pub events_missed: u64,
    /// Tasks of which only the counters know.
    pub tasks_unlisted: u64,
    /// Bars that were dropped, being the oldest.
    pub bars_dropped: u64,
    /// Attempts that never had one.
    pub bars_missing: u64,
}

/// The numbers at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[expect(missing_docs, reason = "as in `Overview`")]
pub struct SampleRow {
    pub at_s: f64,
    pub ended: u64,
    pub failed: u64,
    pub waiting: u64,
    pub ready: u64,
    pub backoff: u64,
    pub ahead: u64,
    pub running: u64,
    pub blocked: u64,
    pub memory_bytes: u64,
    pub spilled_bytes: u64,
    /// Memory of the program and its workers, as in `Memory`.
    pub whole_bytes: u64,
    /// Processor time so far, in seconds, of the program and its workers.
    pub cpu_s: f64,
    /// The part of that which the program's own process took.
    pub program_cpu_s: f64,
    /// Threads of all these processes that run or could run.
    pub runnable: u64,
    /// Threads of the program's own process that took processor time lately.
    pub computing: u64,
    /// Time that the machine's cores had nothing to do so far, in seconds.
    pub idle_s: Option<f64>,
    /// Tasks that run on threads of the program.
    pub on_threads: u64,
    /// Cores that running tasks take.
    pub cores: u64,
    /// How long tasks have run so far, those that run now included, without their waits for other tasks.
    pub took_s: f64,
}

impl Picture {
    /// The overview, with samples from this number on.
    pub(crate) fn overview(&self, since: u64, origin_unix_ms: u64, ended: bool) -> Overview {
        let (groups, groups_more) = self.group_rows(GROUPS_SHOWN);
        let tasks = self.task_counts();
        Overview {
            next: self.history.next(),
            resumed: since > 0 && since >= self.history.oldest(),
            at_s: self.seconds_of(self.now()),
            origin_unix_ms,
            ended,
            tasks,
            tasks_per_s: self.rate(|sample| sample.ended),
            whole: self.so_far(),
            cores: Cores {
                // In a run that has just begun the clock of the processor is coarse.
                busy: (self.rate(|sample| sample.cpu_ns) / 1e9)
                    .min(self.usage.machine_cores.map_or(f64::MAX, f64::from)),
                taken: self.totals.counts.cores_used,
                budget: self.totals.counts.cores_max.unwrap_or(0),
                machine: self.usage.machine_cores,
            },
            memory: self.memory(),
            workers: self.worker_counts(),
            groups,
            groups_more,
            total: self.total(),
            beyond: self.beyond(tasks.submitted),
            samples: self
                .history
                .since(since)
                .map(|sample| self.sample_row(sample))
                .collect(),
        }
    }

    /// The whole run, in as many samples as are kept of it.
    pub(crate) fn whole_run(&self) -> Vec<SampleRow> {
        let whole = self.history.whole();
        whole.iter().map(|sample| self.sample_row(sample)).collect()
    }

    pub(crate) fn task_counts(&self) -> TaskCounts {
        let now = &self.totals.counts.total;
        let last = &self.latest;
        let sum = |of: fn(&GroupSummary) -> u64| -> u64 {
            self.totals.groups.iter().map(|(_, group)| of(group)).sum()
        };
        TaskCounts {
            submitted: sum(|group| group.submitted),
            waiting: now.waiting as u64,
            ready: now.ready as u64,
            backoff: now.backoff as u64,
            ahead: last.ahead,
            running: last.running,
            blocked: now.blocked as u64,
            finished: last.finished,
            failed: last.failed,
            dropped: last.ended.saturating_sub(last.finished + last.failed),
            retried: sum(|group| group.retried),
        }
    }

    fn so_far(&self) -> Whole {
        let beginning = Sample {
            at: self.origin,
            ..Sample::default()
        };
        let first = self.history.first().unwrap_or(&beginning);
        // Of what came before a gap in the log the time is not known, but then there is a sample behind it.
        let from = if self.missed == 0 { &beginning } else { first };
        Whole {
            lasted_s: (self.latest.at - from.at).as_secs_f64(),
            tasks_per_s: self.rate_since(from, |sample| sample.ended).unwrap_or(0.0),
            cores_busy: self
                .rate_since(first, |sample| sample.cpu_ns)
                .map(|ns| ns / 1e9),
            program_cores_busy: self
                .rate_since(first, |sample| sample.program_cpu_ns)
                .map(|ns| ns / 1e9),
            processes: self.lanes.most_at_a_time(WorkerKind::Process),
            thread_pools: self.lanes.most_at_a_time(WorkerKind::Threads),
            event_loops: self.lanes.most_at_a_time(WorkerKind::EventLoop),
        }
    }

    /// How fast a counter grew lately, per second.
    pub(crate) fn rate(&self, counter: fn(&Sample) -> u64) -> f64 {
        // In a run that is younger than that, since its beginning.
        let before = self.history.before(self.latest.at, limits::RATE_OVER);
        let before = before.or_else(|| self.history.since(0).next());
        before
            .and_then(|before| self.rate_since(before, counter))
            .unwrap_or(0.0)
    }

    /// The same since then; None if that is now.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rate_since(&self, then: &Sample, counter: fn(&Sample) -> u64) -> Option<f64> {
        let elapsed_s = (self.latest.at - then.at).as_secs_f64();
        let grown = counter(&self.latest).saturating_sub(counter(then)) as f64;
        (elapsed_s > 0.0).then(|| grown / elapsed_s)
    }

    pub(crate) fn memory(&self) -> Memory {
        let store = &self.totals.store;
        Memory {
            whole_bytes: self.latest.whole_bytes,
            whole_peak_bytes: self.whole_bytes_most,
            limit_bytes: crate::memory::limit(),
            used_bytes: store.used_bytes,
            peak_bytes: store.peak_bytes,
            budget_bytes: self.totals.memory_bytes_max,
            spilled_bytes: store.spilled_bytes,
            spills: store.spill_count,
            objects: store.segments,
        }
    }

    pub(crate) fn worker_counts(&self) -> Workers {
        let now = &self.totals.counts.total;
        let workers = self.lanes.workers().iter();
        let there: Vec<&Worker> = workers.filter(|worker| worker.down.is_none()).collect();
        let of = |kind| there.iter().filter(|worker| worker.kind == kind).count();
        let [thread_pools, event_loops] = [WorkerKind::Threads, WorkerKind::EventLoop].map(of);
        let processes = now.workers.saturating_sub(thread_pools + event_loops);
        let idle = there.iter().filter(|worker| worker.is_process());
        let idle = idle.filter(|worker| worker.pid.is_some() && worker.in_flight() == 0);
        Workers {
            up: now.workers,
            idle: now.workers_idle,
            processes,
            processes_idle: idle.count().min(processes),
            thread_pools,
            event_loops,
            starting: now.workers_starting,
            died: self.totals.deaths,
        }
    }

    pub(crate) fn beyond(&self, submitted: u64) -> Beyond {
        Beyond {
            events_missed: self.missed,
            tasks_unlisted: submitted.saturating_sub(self.tasks.len() as u64),
            bars_dropped: self.lanes.dropped(),
            bars_missing: self.lanes.unplaced,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "processor time to a nanosecond")]
    fn sample_row(&self, sample: &Sample) -> SampleRow {
        SampleRow {
            at_s: self.seconds_of(sample.at),
            ended: sample.ended,
            failed: sample.failed,
            waiting: sample.waiting,
            ready: sample.ready,
            backoff: sample.backoff,
            ahead: sample.ahead,
            running: sample.running,
            blocked: sample.blocked,
            memory_bytes: sample.memory_bytes,
            spilled_bytes: sample.spilled_bytes,
            whole_bytes: sample.whole_bytes,
            cpu_s: sample.cpu_ns as f64 / 1e9,
            program_cpu_s: sample.program_cpu_ns as f64 / 1e9,
            runnable: sample.runnable,
            computing: sample.computing,
            idle_s: sample.idle_ns.map(|idle_ns| idle_ns as f64 / 1e9),
            on_threads: sample.on_threads,
            cores: sample.cores,
            took_s: sample.took.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_core::{GroupId, Time};
    use lineshaft_engine::Totals;

    use super::*;
    use crate::memory::Resident;
    use crate::script::{picture, play};
    use crate::usage::ProcessUsage;

    /// Looks at an engine in which so many tasks have ended.
    fn look(picture: &mut Picture, at_s: u64, ended: u64) {
        let summary = GroupSummary {
            submitted: ended,
            finished: ended,
            ..GroupSummary::default()
        };
        let totals = Totals {
            groups: vec![(GroupId(0), summary)],
            ..Totals::default()
        };
        let mut usage = picture.usage.clone();
        usage.cpu_ns = 1_000_000_000 * ended;
        usage.processes = vec![ProcessUsage {
            memory: Resident {
                own_bytes: 1_000 - 50 * at_s,
                most_own_bytes: 1_000 - 50 * at_s,
                ..Resident::default()
            },
            ..ProcessUsage::default()
        }];
        picture.look(Time(at_s * 1_000_000_000), totals, usage);
        picture.history.push(picture.latest);
    }

    #[test]
    fn a_run_that_is_over_is_summed_up_from_its_beginning() {
        let mut picture = picture("");
        look(&mut picture, 1, 10);
        play(&mut picture, "1000000 up 1 1\n1000000 up 2 1");
        look(&mut picture, 6, 110);
        play(
            &mut picture,
            "6000000 down 1\n6000000 down 2\n6000000 up 3 1",
        );
        look(&mut picture, 11, 110);
        let overview = picture.overview(0, 0, true);
        assert!(overview.tasks_per_s < 1e-9);
        let expected = Whole {
            lasted_s: 11.0,
            tasks_per_s: 10.0,
            cores_busy: Some(10.0),
            program_cores_busy: Some(0.0),
            processes: 2,
            thread_pools: 0,
            event_loops: 0,
        };
        assert_eq!(overview.whole, expected);
        let memory = (
            overview.memory.whole_bytes,
            overview.memory.whole_peak_bytes,
        );
        assert_eq!(memory, (450, 950));
        // Then the time before is not known.
        picture.miss(1);
        let overview = picture.overview(0, 0, true);
        let whole = (overview.whole.lasted_s, overview.whole.tasks_per_s);
        assert_eq!(whole, (10.0, 10.0));
    }
}
