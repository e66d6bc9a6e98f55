//! One worker: what it has been handed, and the bars of what it ran.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{GroupId, Measured, Phases, PoolId, TaskId, Time, WorkerId};

use lineshaft_engine::{Left, Pinned, Place, WorkerKind};
use rustc_hash::FxHashSet;

use crate::limits;

/// One attempt of one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bar {
    pub(crate) task: TaskId,
    pub(crate) start: Time,
    pub(crate) ran: Duration,
    /// At its beginning and at its end.
    pub(crate) phases: Phases,
    /// How long its call waited for other tasks, somewhere between these, in nanoseconds.
    pub(crate) waited_ns: u64,
    pub(crate) group: GroupId,
    pub(crate) end: End,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Finished,
    Failed,
    /// It failed and nobody measured it, since its worker died or it ran out of time on a thread: how long its call ran
    /// is not known.
    Lost,
    /// It has not.
    Running,
}

impl End {
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, End::Failed | End::Lost)
    }

    /// As a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            End::Finished => "finished",
            End::Failed | End::Lost => "failed",
            End::Running => "running",
        }
    }
}

/// What a worker ran at one time after the other.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// In the order of time.
    pub(crate) bars: VecDeque<Bar>,
    /// When the last one ended.
    free: Time,
    /// Bars that are gone.
    pub(crate) dropped: u64,
    /// Time that it ran tasks, those of dropped bars included.
    pub(crate) busy: Duration,
}

/// A task that a worker has been handed and that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    task: TaskId,
    group: GroupId,
    assigned: Time,
    /// If that was reported.
    started: Option<Time>,
}

/// What one process has at a time: a place of a pool, or else the number of a worker.
pub(crate) type Seat = (Option<PoolId>, u32);

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// Unknown if it was up before the first event that was read.
    pub(crate) pool: Option<PoolId>,
    pub(crate) slots: u32,
    pub(crate) kind: WorkerKind,
    pub(crate) pid: Option<u32>,
    /// Among the worker processes of its pool.
    pub(crate) place: Option<Place>,
    /// Why it has that no more.
    pub(crate) left: Option<Left>,
    /// The most memory that its process ever had resident: as of the last sample with it, or as the kernel said at its
    /// end.
    pub(crate) peak_bytes: Option<u64>,
    /// Whether that was at its end.
    pub(crate) is_measured: bool,
    /// As of the last sample.
    pub(crate) pinned: Pinned,
    pub(crate) up: Time,
    pub(crate) down: Option<Time>,
    pub(crate) lanes: Vec<Lane>,
    /// Groups that it has run something of.
    pub(crate) groups: FxHashSet<GroupId>,
    /// In the order in which they were handed over, which is that in which a process runs them.
    in_flight: VecDeque<InFlight>,
    /// How many of them were looked at to find the one that had ended.
    #[cfg(test)]
    pub(crate) looked_at: usize,
}

impl Bar {
    /// How long its call waited for other tasks.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns)
    }
}

impl Lane {
    /// Bars that lie between these times, at least in part.
    pub(crate) fn bars_between(&self, from: Time, to: Time) -> impl Iterator<Item = &Bar> {
        // They do not overlap, so those that end before come first.
        let first = self.bars.partition_point(|bar| bar.start + bar.ran < from);
        self.bars
            .range(first..)
            .take_while(move |bar| bar.start < to)
    }
}

impl Worker {
    pub(super) fn new(id: WorkerId, at: Time) -> Worker {
        Worker {
            id,
            pool: None,
            slots: 1,
            kind: WorkerKind::Process,
            pid: None,
            place: None,
            left: None,
            peak_bytes: None,
            is_measured: false,
            pinned: Pinned::default(),
            up: at,
            down: None,
            lanes: Vec::new(),
            groups: FxHashSet::default(),
            in_flight: VecDeque::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Where it is.
    pub(crate) fn seat(&self) -> Seat {
        match self.place {
            Some(place) => (self.pool, place.number),
            None => (None, self.id.0),
        }
    }

    /// Whether it is a process, and not this one.
    pub(crate) fn is_process(&self) -> bool {
        self.kind == WorkerKind::Process
    }

    /// The name of one of its lanes, for people.
    pub(crate) fn label(&self, lane: usize) -> String {
        match self.pid {
            Some(pid) => format!("worker {} (process {pid})", self.id.0),
            None => match self.kind {
                WorkerKind::Process => format!("worker {}", self.id.0),
                WorkerKind::Threads => format!("threads {}, {}", self.id.0, lane + 1),
                WorkerKind::EventLoop => format!("event loop {}, call {}", self.id.0, lane + 1),
            },
        }
    }

    /// Tasks that it probably runs: those that it was handed first.
    pub(crate) fn running(&self) -> impl Iterator<Item = Bar> {
        let free = self.lanes.iter().map(|lane| lane.free).max();
        let running = self.in_flight.iter().take(self.slots as usize);
        running.map(move |task| {
            let free = if self.slots == 1 { free } else { None };
            let start = task.started.unwrap_or(task.assigned);
            Bar {
                task: task.task,
                start: start.max(free.unwrap_or(Time(0))),
                ran: Duration::ZERO,
                phases: Phases::default(),
                waited_ns: 0,
                group: task.group,
                end: End::Running,
            }
        })
    }

    /// The same by lane: each on one that was free when it began and has nothing else, or on one behind all others.
    pub(crate) fn running_by_lane(&self) -> Vec<Option<Bar>> {
        let mut placed = vec![None; self.lanes.len()];
        for bar in self.running() {
            let lanes = self.lanes.iter().zip(&mut placed);
            let free = lanes.filter(|(lane, place)| place.is_none() && lane.free <= bar.start);
            match free.max_by_key(|(lane, _)| lane.free) {
                Some((_, place)) => *place = Some(bar),
                None => placed.push(Some(bar)),
            }
        }
        placed
    }

    /// How many tasks it has been handed that have not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn hand_over(&mut self, task: TaskId, group: GroupId, at: Time) {
        self.in_flight.push_back(InFlight {
            task,
            group,
            assigned: at,
            started: None,
        });
    }

    pub(super) fn start(&mut self, task: TaskId, at: Time) {
        let mut tasks = self.in_flight.iter_mut();
        if let Some(task) = tasks.find(|other| other.task == task) {
            task.started = Some(at);
        }
    }

    /// Forgets tasks in flight about which `is_unfinished` says no.
    pub(super) fn keep_in_flight(&mut self, is_unfinished: impl Fn(TaskId) -> bool) {
        self.in_flight.retain(|task| is_unfinished(task.task));
    }

    pub(super) fn take(&mut self, task: TaskId) -> Option<InFlight> {
        let position = self.in_flight.iter().position(|other| other.task == task);
        #[cfg(test)]
        {
            self.looked_at += position.map_or(self.in_flight.len(), |position| position + 1);
        }
        self.in_flight.remove(position?)
    }

    /// Puts a bar onto a lane; false if there is none for it.
    pub(super) fn place(
        &mut self,
        task: InFlight,
        at: Time,
        measured: Option<Measured>,
        waited: Duration,
        end: End,
    ) -> bool {
        let earliest = task.started.unwrap_or(task.assigned);
        // The latest possible beginning.
        let latest = match measured {
            Some(Measured { ran_ns, .. }) => earliest.max(Time(at.0.saturating_sub(ran_ns))),
            None => earliest,
        };
        let Some(number) = self.lane_for(latest) else {
            return false;
        };
        let lane = &mut self.lanes[number];
        let reported = Time(latest.0.saturating_sub(nanoseconds(limits::REPORT_DELAY)));
        let start = reported.max(earliest).max(lane.free);
        let ran = measured.map_or(at - start, Measured::ran);
        let phases = measured.unwrap_or_default().phases;
        lane.free = start + ran;
        lane.busy += ran;
        lane.bars.push_back(Bar {
            task: task.task,
            start,
            ran,
            phases,
            // What is lost is in no number of what waited.
            waited_ns: measured.map_or(0, |_| nanoseconds(waited.min(phases.call(ran)))),
            group: task.group,
            end,
        });
        true
    }

    /// The lane that was free last before this time. If none was, a new one; or where the overlap is
    /// no more than reports are late, and there are as many lanes as tasks run at a time, the one
    /// that became free first.
    fn lane_for(&mut self, start: Time) -> Option<usize> {
        let numbered = || self.lanes.iter().enumerate();
        let free = numbered().filter(|(_, lane)| lane.free <= start);
        if let Some((number, _)) = free.max_by_key(|(_, lane)| lane.free) {
            return Some(number);
        }
        let first = numbered().min_by_key(|(_, lane)| lane.free);
        if let Some((number, lane)) = first
            && self.lanes.len() >= self.slots as usize
            && (self.slots == 1 || lane.free - start <= limits::REPORT_DELAY)
        {
            return Some(number);
        }
        if self.lanes.len() == limits::LANES_PER_WORKER_MAX {
            return None;
        }
        self.lanes.push(Lane::default());
        Some(self.lanes.len() - 1)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// A quarter of a million of them are kept.
const _: () = assert!(size_of::<Bar>() <= 64);
