//! Workers: what each uses and runs, and how those ended that died.

use std::cmp::Reverse;
use std::time::Duration;

use lineshaft_core::{GroupId, TaskId, Time};
use lineshaft_engine::{Death, Left, Owned, Owner, Pinned, WorkerKind};
use serde::Serialize;

use crate::lanes::{Bar, Worker};
use crate::picture::Picture;
use crate::tasks::TaskState;
use crate::view::PoolRow;

/// Workers that are gone, in one answer; the page says how many more there were.
const GONE_SHOWN: usize = 32;

/// Calls that one worker runs, in one answer: an event loop may have very many.
const RUNNING_SHOWN: usize = 20;

/// All workers that are there, and the last ones that were.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WorkerList {
    /// When this was so.
    pub at_s: f64,
    /// This process: it runs tasks on threads, and the engine.
    pub program: Option<ProcessRow>,
    /// Those that are there, then those that are gone, the last one first.
    pub workers: Vec<WorkerRow>,
    /// Workers that are gone and not listed.
    pub gone_more: u64,
    /// What of theirs went to disk.
    pub gone_more_spilled_bytes: u64,
    /// Objects that the program wrote: arguments of calls, and results of calls on threads that others need.
    pub program_wrote: WrittenRow,
    /// How worker processes died, the last one first.
    pub deaths: Vec<DeathRow>,
    /// Deaths that are not listed.
    pub deaths_more: u64,
    /// Pools of worker processes: those that are open, and others in which workers were replaced.
    pub pools: Vec<PoolRow>,
    /// Others that are not listed.
    pub pools_more: u64,
    /// How often workers were replaced in these.
    pub pools_more_restarts: u64,
}

/// Where a worker process is among those of its pool.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlaceRow {
    /// Its place, from one on.
    pub number: u32,
    /// Which worker of that place it is, from one on.
    pub attempt: u32,
    /// The worker in whose stead it is there.
    pub after: Option<u32>,
    /// What became of that.
    pub after_left: Option<&'static str>,
}

/// What a process uses.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ProcessRow {
    /// Its number.
    pub pid: u32,
    /// Cores that it kept busy lately; None in its first second.
    pub cores: Option<f64>,
    /// Processor time so far.
    pub cpu_s: f64,
    /// Resident memory; pages that it shares with others count in each.
    pub resident_bytes: u64,
    /// The most that it ever had.
    pub peak_bytes: u64,
}

/// Objects in shared memory that somebody wrote.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct WrittenRow {
    /// Those that are there.
    pub objects: u64,
    /// What they take.
    pub bytes: u64,
    /// As much of that as is on disk.
    pub disk_bytes: u64,
    /// What went to disk so far, that of objects that are gone included.
    pub spilled_bytes: u64,
}

impl WrittenRow {
    fn of(owned: Owned) -> WrittenRow {
        WrittenRow {
            objects: owned.objects,
            bytes: owned.bytes,
            disk_bytes: owned.disk_bytes,
            spilled_bytes: owned.spilled_bytes,
        }
    }
}

/// One worker.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WorkerRow {
    /// Identity.
    pub worker: u32,
    /// What it is: `process`, `threads` or `event-loop`.
    pub kind: &'static str,
    /// Tasks that it runs at a time.
    pub slots: u32,
    /// Its pool.
    pub pool: Option<u32>,
    /// Its place in that.
    pub place: Option<PlaceRow>,
    /// Why it is gone: `died`, `ended`, `retired` or `not needed`.
    pub left: Option<&'static str>,
    /// Its process number, while and after it is there.
    pub pid: Option<u32>,
    /// What its process uses, while it is there.
    pub process: Option<ProcessRow>,
    /// The most memory that its process ever had resident, also once it is gone.
    pub peak_bytes: Option<u64>,
    /// Objects that it may read, and that stay where they are for it, while it is there.
    pub objects: usize,
    /// What these take.
    pub object_bytes: u64,
    /// As much of that as is on disk.
    pub object_disk_bytes: u64,
    /// What its tasks wrote, also once it is gone. What calls on threads write is the program's.
    pub wrote: WrittenRow,
    /// When it came up.
    pub up_s: f64,
    /// When it was gone.
    pub down_s: Option<f64>,
    /// Attempts that it has run.
    pub attempts: u64,
    /// Time that it ran tasks.
    pub busy_s: f64,
    /// What it runs now, the first of it.
    pub running: Vec<RunningRow>,
    /// How much more it runs.
    pub running_more: usize,
    /// Tasks that it was handed and has not begun.
    pub ahead: usize,
}

/// A task that runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunningRow {
    /// The task.
    pub task: u64,
    /// Its function.
    pub group: u32,
    /// The name of that.
    pub name: String,
    /// How long it has run.
    pub for_s: f64,
    /// Whether it waits: for tasks of its own, or if it is a call of an event loop, for anything that it awaits.
    pub waits: bool,
    /// How long it has had its event loop to itself without a break, if it is a call of one and has it now.
    pub turn_s: Option<f64>,
    /// Its Python stack a moment ago, if somebody asked for it.
    pub stack: Option<String>,
}

/// How a worker died.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DeathRow {
    /// When.
    pub at_s: f64,
    /// The worker.
    pub worker: u32,
    /// Its process.
    pub pid: u32,
    /// What it ran.
    pub task: Option<u64>,
    /// The function of that, or nothing.
    pub name: String,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its exit status, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The most memory that it ever had resident.
    pub peak_bytes: Option<u64>,
    /// Whether the kernel killed it for lack of memory.
    pub oom_killed: bool,
    /// Its last Python stack.
    pub stack: Option<String>,
}

impl Picture {
    /// All workers; the engine knows of deaths.
    pub(crate) fn worker_list(&self, deaths: Vec<Death>) -> WorkerList {
        let all = self.lanes.workers();
        let there = all.iter().filter(|worker| worker.down.is_none());
        let mut gone: Vec<&Worker> = all.iter().filter(|worker| worker.down.is_some()).collect();
        gone.sort_by_key(|worker| Reverse((worker.down, worker.id)));
        let gone_more = gone.len().saturating_sub(GONE_SHOWN) as u64 + self.lanes.workers_forgotten;
        let shown: Vec<&Worker> = there.chain(gone.into_iter().take(GONE_SHOWN)).collect();
        let (owners, pools) = (&self.totals.owners, &self.totals.pools);
        let workers = (owners.by_owner.iter()).filter(|(owner, _)| **owner != Owner::Program);
        let all_spilled: u64 = workers.map(|(_, owned)| owned.spilled_bytes).sum();
        let shown_spilled: u64 = (shown.iter())
            .map(|worker| owners.of(Owner::Worker(worker.id.0)).spilled_bytes)
            .sum();
        let deaths_more = self.totals.deaths.saturating_sub(deaths.len() as u64);
        WorkerList {
            at_s: self.seconds_of(self.now()),
            program: self.process_row(std::process::id()),
            workers: (shown.into_iter())
                .map(|worker| self.worker_row(worker))
                .collect(),
            gone_more,
            gone_more_spilled_bytes: owners.forgotten_bytes + all_spilled - shown_spilled,
            program_wrote: WrittenRow::of(owners.of(Owner::Program)),
            deaths: deaths
                .into_iter()
                .rev()
                .map(|death| self.death_row(death))
                .collect(),
            deaths_more,
            pools: pools
                .known
                .iter()
                .map(|(pool, totals)| PoolRow::new(*pool, totals))
                .collect(),
            pools_more: pools.forgotten,
            pools_more_restarts: pools.forgotten_restarts,
        }
    }

    fn worker_row(&self, worker: &Worker) -> WorkerRow {
        let mut bars: Vec<Bar> = (worker.running()).map(|bar| self.until_now(bar)).collect();
        // Whatever is left out, what has an event loop is shown.
        bars.sort_by_key(|bar| self.turn_of(bar.task).is_none());
        // Durations, of which none make zero: a sum of no floating-point numbers is -0.0.
        let ended: Duration = worker.lanes.iter().map(|lane| lane.busy).sum();
        let busy = bars.iter().fold(ended, |busy, bar| busy + bar.ran);
        let running: Vec<RunningRow> = bars
            .iter()
            .take(RUNNING_SHOWN)
            .map(|bar| RunningRow {
                task: bar.task.0,
                group: bar.group.0,
                name: self.group_label(bar.group),
                for_s: bar.ran.as_secs_f64(),
                waits: self.is_waiting(worker, bar.task),
                turn_s: self
                    .turn_of(bar.task)
                    .map(|since| (self.now() - since).as_secs_f64()),
                stack: self.stack_of(worker, bar.task),
            })
            .collect();
        let is_there = worker.down.is_none();
        let pinned = if is_there {
            worker.pinned
        } else {
            Pinned::default()
        };
        WorkerRow {
            worker: worker.id.0,
            kind: match worker.kind {
                WorkerKind::Process => "process",
                WorkerKind::Threads => "threads",
                WorkerKind::EventLoop => "event-loop",
            },
            slots: worker.slots,
            pool: worker.pool.map(|pool| pool.0),
            place: worker.place.map(|place| PlaceRow {
                number: place.number,
                attempt: place.attempt,
                after: place.after.map(|(worker, _)| worker.0),
                after_left: place.after.map(|(_, left)| in_words(left)),
            }),
            left: worker.left.map(in_words),
            pid: worker.pid,
            process: worker
                .pid
                .filter(|_| is_there)
                .and_then(|pid| self.process_row(pid)),
            peak_bytes: worker.peak_bytes,
            objects: pinned.objects,
            object_bytes: pinned.bytes,
            object_disk_bytes: pinned.disk_bytes,
            wrote: WrittenRow::of(self.totals.owners.of(Owner::Worker(worker.id.0))),
            up_s: self.seconds_of(worker.up),
            down_s: worker.down.map(|at| self.seconds_of(at)),
            attempts: worker
                .lanes
                .iter()
                .map(|lane| lane.dropped + lane.bars.len() as u64)
                .sum(),
            busy_s: busy.as_secs_f64(),
            ahead: worker.in_flight().saturating_sub(bars.len()),
            running_more: bars.len() - running.len(),
            running,
        }
    }

    /// Since when it is a call's turn on its event loop, if it is.
    fn turn_of(&self, task: TaskId) -> Option<Time> {
        let turns = &self.totals.turns;
        let place = turns.binary_search_by_key(&task, |(task, _)| *task).ok()?;
        Some(turns[place].1)
    }

    fn is_waiting(&self, worker: &Worker, task: TaskId) -> bool {
        let of_loop = worker.kind == WorkerKind::EventLoop;
        let known = self.tasks.get(task);
        known.is_some_and(|task| task.state == TaskState::Blocked)
            || (of_loop && self.turn_of(task).is_none())
    }

    fn stack_of(&self, worker: &Worker, task: TaskId) -> Option<String> {
        let latest = self.profile.latest(worker.id, task)?;
        Some(latest.text.clone())
    }

    #[expect(clippy::cast_precision_loss, reason = "processor time to a nanosecond")]
    fn process_row(&self, pid: u32) -> Option<ProcessRow> {
        let process = self
            .usage
            .processes
            .iter()
            .find(|process| process.pid == pid)?;
        Some(ProcessRow {
            pid,
            cores: process.cores,
            cpu_s: process.cpu_ns as f64 / 1e9,
            resident_bytes: process.resident_bytes,
            peak_bytes: process.memory.peak_bytes,
        })
    }

    pub(super) fn death_row(&self, death: Death) -> DeathRow {
        let report = death.report;
        let group = death
            .task
            .and_then(|task| self.tasks.get(task))
            .map(|task| task.group);
        let name = |group: GroupId| self.group_label(group);
        DeathRow {
            at_s: self.seconds_of(death.at),
            worker: death.worker.0,
            pid: report.pid,
            task: death.task.map(|task| task.0),
            name: group.map_or(report.task, name),
            signal: report.signal,
            exit_code: report.exit_code,
            peak_bytes: report.peak_memory_bytes,
            oom_killed: report.oom_killed,
            stack: report.stack,
        }
    }
}

fn in_words(left: Left) -> &'static str {
    match left {
        Left::Died => "died",
        Left::Ended => "ended",
        Left::Retired => "retired",
        Left::NeverStarted => "never started",
        Left::NotNeeded => "not needed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    #[test]
    fn workers_that_are_there_come_first_and_no_one_is_left_out_silently() {
        let lines = (0..100).map(|id| format!("{id} up {id} 1\n{} down {id}", id + 1));
        let mut script = lines.collect::<Vec<String>>().join("\n");
        script += "\n200 up 100 1\n200 submit 1 7\n200 hand 1 100 7\n200 hand 2 100 7\n";
        let list = picture(&script).worker_list(Vec::new());
        assert_eq!(list.workers.len(), 1 + GONE_SHOWN);
        assert_eq!(list.gone_more, 100 - GONE_SHOWN as u64);
        let first = &list.workers[0];
        assert_eq!((first.worker, first.ahead), (100, 1));
        assert_eq!(
            (first.running[0].task, first.running[0].name.as_str()),
            (1, "f7")
        );
        assert_eq!(list.workers[1].worker, 99);
    }

    #[test]
    fn a_worker_is_busy_with_what_it_still_runs_too() {
        let mut picture = picture(
            "0 up 1 1\n0 up 2 1\n0 submit 1 7\n1 hand 1 1 7\n100 finish 1 90\n100 submit 2 7
             100 hand 2 1 7\n1100 submit 3 7",
        );
        picture.latest.at = lineshaft_core::Time(1_100_000);
        let list = picture.worker_list(Vec::new());
        let busy_s = |at: usize| list.workers[at].busy_s;
        assert!((busy_s(0) - 1.09e-3).abs() < 1e-9, "{}", busy_s(0));
        assert!(busy_s(1).is_sign_positive());
        assert_eq!(list.workers[1].worker, 2);
    }

    #[test]
    fn objects_are_those_of_the_last_sample_while_the_worker_is_there() {
        let mut picture = picture("0 up 1 1\n0 up 2 1");
        let at = lineshaft_core::Time(1_000);
        let totals = lineshaft_engine::WorkerTotals {
            worker: lineshaft_core::WorkerId(1),
            pool: lineshaft_core::PoolId(0),
            slots: 1,
            kind: WorkerKind::Process,
            pid: None,
            place: None,
            pinned: Pinned {
                objects: 3,
                bytes: 7_000,
                disk_bytes: 2_000,
            },
        };
        picture.lanes.learn(&[totals], at);
        let objects = |picture: &Picture| {
            let workers = picture.worker_list(Vec::new()).workers;
            let objects = workers.iter().map(|row| (row.worker, row.objects));
            let first = &workers[0];
            let bytes = (first.object_bytes, first.object_disk_bytes);
            (objects.collect::<Vec<_>>(), bytes)
        };
        assert_eq!(objects(&picture), (vec![(1, 3), (2, 0)], (7_000, 2_000)));
        picture.lanes.worker_down(totals.worker, at);
        assert_eq!(objects(&picture), (vec![(2, 0), (1, 0)], (0, 0)));
    }

    #[test]
    fn what_workers_spilled_is_there_also_of_those_that_are_gone_and_not_listed() {
        let lines = (0..40).map(|id| format!("{id} up {id} 1\n{} down {id}", id + 1));
        let script = lines.collect::<Vec<String>>().join("\n") + "\n50 up 40 1";
        let mut picture = picture(&script);
        let spilled = |owner| {
            let owned = Owned {
                spilled_bytes: 10,
                ..Owned::default()
            };
            (owner, owned)
        };
        let owners = &mut picture.totals.owners;
        owners.by_owner = (0..=40).map(Owner::Worker).map(spilled).collect();
        owners.by_owner.extend([spilled(Owner::Program)]);
        owners.forgotten_bytes = 7;
        let list = picture.worker_list(Vec::new());
        let shown = list.workers.iter().map(|row| row.wrote.spilled_bytes);
        assert_eq!(shown.sum::<u64>(), 10 * (1 + GONE_SHOWN as u64));
        assert_eq!(list.gone_more_spilled_bytes, 7 + 10 * list.gone_more);
        assert_eq!(list.program_wrote.spilled_bytes, 10);
    }

    #[test]
    fn a_death_names_the_task_and_what_is_known() {
        let picture = picture("0 up 1 1\n0 submit 5 7\n1 hand 5 1 7\n2 down 1");
        let death = Death {
            at: lineshaft_core::Time(3_000),
            worker: lineshaft_core::WorkerId(1),
            pool: lineshaft_core::PoolId(0),
            task: Some(TaskId(5)),
            report: lineshaft_engine::DeathReport {
                signal: Some(9),
                ..Default::default()
            },
        };
        let list = picture.worker_list(vec![death]);
        let [death] = &list.deaths[..] else {
            panic!("one died: {list:?}");
        };
        assert_eq!(
            (death.name.as_str(), death.signal, death.task),
            ("f7", Some(9), Some(5))
        );
    }
}
