//! Which worker ran which task when: a lane for each task that a worker runs at a time, with a bar
//! for each attempt.
//!
//! How long an attempt ran is measured by its worker. When it began is not reported, since a message
//! per task would cost more than a small task. But it lies between two times that are known: it
//! cannot have begun before it was handed over, nor before the one before it on its lane had ended,
//! and it had ended when its report came. Reports are held back for a moment, so the bar is put that
//! much before its report, or later if the lane was not free. Bars of a lane never overlap.

mod worker;

use std::time::Duration;

use lineshaft_core::{GroupId, Measured, PoolId, TaskId, Time, WorkerId};
use lineshaft_engine::{Started, WorkerKind, WorkerTotals};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::limits;
pub(crate) use worker::{Bar, End, Lane, Seat, Worker};

/// All lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// In the order in which they came up.
    workers: Vec<Worker>,
    index: FxHashMap<WorkerId, usize>,
    bars: usize,
    bars_max: usize,
    /// Attempts without a bar, because too many ran at once or their beginning was missed.
    pub(crate) unplaced: u64,
    /// Workers that are gone and no longer here, and how many bars they had or had dropped.
    pub(crate) workers_forgotten: u64,
    bars_forgotten: u64,
}

/// A worker process that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Where it was.
    pub(crate) seat: Seat,
    pub(crate) pid: u32,
    /// The most memory that it ever had resident.
    pub(crate) peak_bytes: u64,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes::with_bars(limits::BARS_MAX)
    }
}

impl Lanes {
    pub(crate) fn with_bars(bars_max: usize) -> Lanes {
        Lanes {
            workers: Vec::new(),
            index: FxHashMap::default(),
            bars: 0,
            bars_max,
            unplaced: 0,
            workers_forgotten: 0,
            bars_forgotten: 0,
        }
    }

    pub(crate) fn workers(&self) -> &[Worker] {
        &self.workers
    }

    pub(crate) fn worker_up(&mut self, id: WorkerId, pool: PoolId, slots: u32, at: Time) {
        let worker = self.worker(id, at);
        worker.pool = Some(pool);
        worker.slots = slots;
    }

    pub(crate) fn worker_down(&mut self, id: WorkerId, at: Time) {
        // What it had is told of one by one, behind this.
        let worker = self.worker(id, at);
        worker.down = Some(at);
        if worker.is_process() {
            worker.groups = FxHashSet::default();
        }
        self.forget_gone();
    }

    /// Takes over what the engine says of its workers, after all events until then. One that it does not
    /// name is gone: of workers whose pool was closed before they ended no event says so.
    pub(crate) fn learn(&mut self, totals: &[WorkerTotals], at: Time) {
        let there: FxHashSet<WorkerId> = totals.iter().map(|totals| totals.worker).collect();
        for worker in &mut self.workers {
            if !there.contains(&worker.id) {
                worker.down.get_or_insert(at);
            }
        }
        self.forget_gone();
        for totals in totals {
            let worker = self.worker(totals.worker, at);
            worker.pool = Some(totals.pool);
            worker.slots = totals.slots;
            worker.kind = totals.kind;
            worker.pid = totals.pid.or(worker.pid);
            worker.place = totals.place.or(worker.place);
            worker.pinned = totals.pinned;
        }
    }

    /// Takes over what is known of workers that were started, of which some were gone before anybody looked. Returns
    /// those that have ended since the last time.
    pub(crate) fn learn_started(&mut self, started: &[Started]) -> Vec<Ended> {
        let mut ended = Vec::new();
        for started in started {
            if let Some(index) = self.index.get(&started.worker) {
                let worker = &mut self.workers[*index];
                worker.pid = Some(started.pid);
                worker.place = started.place.or(worker.place);
                worker.left = started.left;
                if let Some(peak_bytes) = started.peak_bytes.filter(|_| !worker.is_measured) {
                    worker.is_measured = true;
                    worker.peak_bytes = worker.peak_bytes.max(Some(peak_bytes));
                    ended.push(Ended {
                        seat: worker.seat(),
                        pid: started.pid,
                        peak_bytes,
                    });
                }
            }
        }
        ended
    }

    /// Takes over the most memory that these processes ever had, for those that are workers which are there.
    pub(crate) fn learn_peaks(&mut self, peaks: impl Iterator<Item = (u32, u64)>) {
        let peaks: FxHashMap<u32, u64> = peaks.collect();
        let there = self
            .workers
            .iter_mut()
            .filter(|worker| worker.down.is_none());
        for worker in there {
            if let Some(peak) = worker.pid.and_then(|pid| peaks.get(&pid)) {
                worker.peak_bytes = worker.peak_bytes.max(Some(*peak));
            }
        }
    }

    /// The most workers of a kind that were there at a time.
    pub(crate) fn most_at_a_time(&self, kind: WorkerKind) -> usize {
        let workers = self.workers.iter();
        let ours = workers.filter(|worker| worker.kind == kind);
        // Who goes at the moment that another comes is not there with it.
        let mut steps: Vec<(Time, isize)> = ours
            .flat_map(|worker| [Some((worker.up, 1)), worker.down.map(|at| (at, -1))])
            .flatten()
            .collect();
        steps.sort_unstable();
        let there = steps.iter().scan(0_isize, |there, (_, step)| {
            *there += step;
            Some(*there)
        });
        there.max().unwrap_or(0).unsigned_abs()
    }

    pub(crate) fn hand_over(&mut self, id: WorkerId, task: TaskId, group: GroupId, at: Time) {
        self.worker(id, at).hand_over(task, group, at);
    }

    pub(crate) fn start(&mut self, id: WorkerId, task: TaskId, at: Time) {
        self.worker(id, at).start(task, at);
    }

    /// The worker has it no more, and has not run it.
    pub(crate) fn take_back(&mut self, id: WorkerId, task: TaskId, at: Time) {
        self.worker(id, at).take(task);
    }

    /// The attempt has ended; `measured` if its worker said how long it took, `waited` for other tasks.
    pub(crate) fn end(
        &mut self,
        id: WorkerId,
        task: TaskId,
        at: Time,
        measured: Option<Measured>,
        waited: Duration,
        end: End,
    ) {
        let worker = self.worker(id, at);
        let placed = worker
            .take(task)
            .is_some_and(|task| worker.place(task, at, measured, waited, end));
        if placed {
            self.bars += 1;
            self.drop_oldest();
        } else {
            self.unplaced += 1;
        }
    }

    /// Whether no attempt of this group has been said to be this worker's first; from now on, one has.
    pub(crate) fn is_first(&mut self, id: WorkerId, group: GroupId, at: Time) -> bool {
        self.worker(id, at).groups.insert(group)
    }

    /// Whether threads of the program have run something of this group.
    pub(crate) fn have_threads_run(&self, group: GroupId) -> bool {
        let mut threads = self.workers.iter().filter(|worker| !worker.is_process());
        threads.any(|worker| worker.groups.contains(&group))
    }

    /// Forgets tasks in flight about which `is_unfinished` says no.
    pub(crate) fn keep_in_flight(&mut self, is_unfinished: impl Fn(TaskId) -> bool) {
        for worker in &mut self.workers {
            worker.keep_in_flight(&is_unfinished);
        }
    }

    /// Bars that were kept once and are gone.
    pub(crate) fn dropped(&self) -> u64 {
        let lanes = self.workers.iter().flat_map(|worker| &worker.lanes);
        self.bars_forgotten + lanes.map(|lane| lane.dropped).sum::<u64>()
    }

    fn worker(&mut self, id: WorkerId, at: Time) -> &mut Worker {
        let position = *self.index.entry(id).or_insert_with(|| {
            self.workers.push(Worker::new(id, at));
            self.workers.len() - 1
        });
        &mut self.workers[position]
    }

    fn drop_oldest(&mut self) {
        if self.bars <= self.bars_max {
            return;
        }
        let lanes = self.workers.iter_mut().flat_map(|worker| &mut worker.lanes);
        let oldest = lanes
            .filter(|lane| !lane.bars.is_empty())
            .min_by_key(|lane| lane.bars[0].start)
            .expect("bars are in lanes");
        let count = limits::BARS_DROPPED_AT_ONCE.min(oldest.bars.len());
        oldest.bars.drain(..count);
        oldest.dropped += count as u64;
        self.bars -= count;
    }

    /// Forgets the workers that came up first among those that are gone, if there are too many of these.
    fn forget_gone(&mut self) {
        let gone = self.workers.iter().filter(|worker| worker.down.is_some());
        let mut surplus = gone.count().saturating_sub(limits::WORKERS_GONE_MAX);
        if surplus == 0 {
            return;
        }
        self.workers.retain(|worker| {
            if surplus == 0 || worker.down.is_none() {
                return true;
            }
            surplus -= 1;
            self.workers_forgotten += 1;
            for lane in &worker.lanes {
                self.bars -= lane.bars.len();
                self.bars_forgotten += lane.bars.len() as u64 + lane.dropped;
            }
            false
        });
        let numbered = self.workers.iter().enumerate();
        self.index = numbered
            .map(|(number, worker)| (worker.id, number))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_core::Phases;
    use lineshaft_engine::Pinned;
    use lineshaft_engine::WorkerKind::{EventLoop, Process, Threads};

    use super::*;

    const WORKER: WorkerId = WorkerId(1);

    fn us(micros: u64) -> Time {
        Time(micros * 1_000)
    }

    fn lanes(slots: u32) -> Lanes {
        let mut lanes = Lanes::with_bars(1_000);
        lanes.worker_up(WORKER, PoolId(0), slots, us(0));
        lanes
    }

    /// Tasks, each handed over and reported at these times, and run for so long; in microseconds.
    fn run(lanes: &mut Lanes, attempts: &[(u64, u64, u64)]) {
        for (task, (assigned, ..)) in (0..).zip(attempts) {
            lanes.hand_over(WORKER, TaskId(task), GroupId(0), us(*assigned));
        }
        for (task, (_, at, ran)) in (0..).zip(attempts) {
            let measured = Measured::new(Duration::from_micros(*ran), Phases::default());
            let end = End::Finished;
            lanes.end(
                WORKER,
                TaskId(task),
                us(*at),
                Some(measured),
                Duration::ZERO,
                end,
            );
        }
    }

    /// Beginning and end of all bars, lane by lane, in microseconds.
    fn bars(lanes: &Lanes) -> Vec<Vec<(u64, u64)>> {
        let of_lane = |lane: &Lane| {
            let times = lane.bars.iter().map(|bar| {
                let end = bar.start + bar.ran;
                (bar.start.0 / 1_000, end.0 / 1_000)
            });
            times.collect()
        };
        lanes.workers[0].lanes.iter().map(of_lane).collect()
    }

    #[test]
    fn tasks_reported_together_lie_one_behind_the_other() {
        let mut lanes = lanes(1);
        run(&mut lanes, &[(0, 250, 50), (0, 250, 60), (0, 250, 70)]);
        assert_eq!(bars(&lanes), [[(0, 50), (50, 110), (110, 180)]]);
    }

    #[test]
    fn a_task_begins_shortly_before_its_report_and_not_when_it_was_sent_to_a_starting_worker() {
        let mut lanes = lanes(1);
        run(&mut lanes, &[(0, 30_000, 10_000)]);
        assert_eq!(bars(&lanes), [[(19_700, 29_700)]]);
    }

    #[test]
    fn threads_have_a_lane_each() {
        let mut lanes = lanes(2);
        run(
            &mut lanes,
            &[(0, 1_000, 1_000), (0, 1_100, 1_000), (1_000, 3_000, 1_900)],
        );
        assert_eq!(
            bars(&lanes),
            [vec![(0, 1_000)], vec![(0, 1_000), (1_000, 2_900)]]
        );
    }

    #[test]
    fn threads_that_report_late_need_no_more_lanes_than_there_are_threads() {
        let mut lanes = lanes(2);
        run(
            &mut lanes,
            &[(0, 100, 40), (0, 100, 40), (0, 100, 40), (0, 100, 40)],
        );
        assert_eq!(
            bars(&lanes),
            [vec![(0, 40), (40, 80)], vec![(0, 40), (40, 80)]]
        );
    }

    #[test]
    fn a_task_that_runs_beside_others_because_they_are_blocked_has_a_lane_of_its_own() {
        let mut lanes = lanes(2);
        let long = (0, 90_000, 90_000);
        run(&mut lanes, &[long, long, (10_000, 50_000, 30_000)]);
        assert_eq!(bars(&lanes).len(), 3);
    }

    #[test]
    fn an_attempt_that_nobody_measured_lies_between_its_hand_over_and_its_report() {
        let mut lanes = lanes(1);
        lanes.hand_over(WORKER, TaskId(1), GroupId(0), us(100));
        lanes.end(
            WORKER,
            TaskId(1),
            us(400),
            None,
            Duration::ZERO,
            End::Failed,
        );
        assert_eq!(bars(&lanes), [[(100, 400)]]);
    }

    #[test]
    fn what_was_taken_back_has_no_bar_and_the_next_one_runs() {
        let mut lanes = lanes(1);
        for task in 1..=3 {
            lanes.hand_over(WORKER, TaskId(task), GroupId(0), us(task));
        }
        lanes.take_back(WORKER, TaskId(1), us(5));
        let worker = &lanes.workers()[0];
        assert!(worker.running().map(|bar| bar.task).eq([TaskId(2)]));
        assert!(bars(&lanes).is_empty());
    }

    #[test]
    fn the_oldest_bars_are_dropped_and_counted() {
        let mut lanes = lanes(1);
        let attempts: Vec<_> = (0..1_500).map(|n| (n * 10, n * 10 + 10, 5)).collect();
        run(&mut lanes, &attempts);
        let kept = lanes.workers()[0].lanes[0].bars.len();
        assert!((900..=1_000).contains(&kept), "{kept}");
        assert_eq!(lanes.dropped(), 1_500 - kept as u64);
        assert_eq!(
            lanes.workers()[0].lanes[0].busy,
            Duration::from_micros(7_500)
        );
    }

    #[test]
    fn a_worker_that_the_engine_has_no_more_is_gone() {
        let mut lanes = Lanes::default();
        let totals = |id| WorkerTotals {
            worker: WorkerId(id),
            pool: PoolId(0),
            slots: 1,
            kind: Process,
            pid: None,
            place: None,
            pinned: Pinned::default(),
        };
        for id in 1..=2 {
            lanes.worker_up(WorkerId(id), PoolId(0), 1, us(0));
        }
        lanes.learn(&[totals(1), totals(2)], us(1));
        lanes.learn(&[totals(2)], us(2));
        lanes.learn(&[totals(2)], us(3));
        let down = lanes.workers().iter().map(|worker| worker.down);
        assert!(down.eq([Some(us(2)), None]));
    }

    #[test]
    fn the_most_memory_of_a_worker_stays_known_when_it_is_gone() {
        let mut lanes = Lanes::default();
        for id in 1..=2 {
            lanes.worker_up(WorkerId(id), PoolId(0), 1, us(0));
        }
        let started = [(1, 11), (2, 12)].map(|(id, pid)| Started {
            worker: WorkerId(id),
            pid,
            place: None,
            left: None,
            peak_bytes: None,
        });
        lanes.learn_started(&started);
        lanes.learn_peaks([(11, 700), (99, 900)].into_iter());
        lanes.worker_down(WorkerId(1), us(1));
        // Its number may be another process's by now.
        lanes.learn_peaks([(11, 800)].into_iter());
        let peaks = lanes.workers().iter().map(|worker| worker.peak_bytes);
        assert!(peaks.eq([Some(700), None]));
    }

    #[test]
    fn pools_of_threads_are_no_processes() {
        let mut lanes = Lanes::default();
        let totals = |id, kind| WorkerTotals {
            worker: WorkerId(id),
            pool: PoolId(0),
            slots: 4,
            kind,
            pid: None,
            place: None,
            pinned: Pinned::default(),
        };
        lanes.learn(
            &[
                totals(1, Threads),
                totals(2, Process),
                totals(3, Process),
                totals(5, EventLoop),
            ],
            us(1),
        );
        lanes.learn(&[totals(1, Threads), totals(4, Process)], us(2));
        let most = [Threads, Process, EventLoop].map(|kind| lanes.most_at_a_time(kind));
        assert_eq!(most, [1, 2, 1]);
    }

    #[test]
    fn workers_that_came_and_went_are_bounded() {
        let mut lanes = Lanes::default();
        let last = u32::try_from(limits::WORKERS_GONE_MAX + 10).expect("few");
        for id in 0..=last {
            let (worker, task) = (WorkerId(id), TaskId(id.into()));
            lanes.worker_up(worker, PoolId(0), 1, us(0));
            lanes.hand_over(worker, task, GroupId(0), us(0));
            lanes.end(worker, task, us(1), None, Duration::ZERO, End::Failed);
            lanes.worker_down(worker, us(1));
        }
        assert_eq!(lanes.workers().len(), limits::WORKERS_GONE_MAX);
        assert_eq!((lanes.workers_forgotten, lanes.dropped()), (11, 11));
        assert_eq!(lanes.worker(WorkerId(last), us(2)).down, Some(us(1)));
    }
}
