//! Worker processes, seen from the engine.
//!
//! Each worker has one socket, one control page and two output pipes; nothing is shared between
//! workers, so the death of one at any instruction hurts nobody else. They are forked by a
//! zygote, which also reaps them and reports how they ended.
//!
//! Tasks are sent ahead. Which of them a worker has begun is read from the claim word of its
//! control page, without asking it: that is what makes taking tasks back immediate, and what tells
//! after a death which task was running.

mod crash;
mod deadlines;
mod ends;
mod events;
mod health;
mod in_flight;
mod inspect;
mod leaving;
mod look;
mod nested;
mod pace;
mod pinned;
mod places;
mod printing;
mod snapshot;
mod stall;
mod worker;
mod zygote;
mod zygotes;

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;

use lineshaft_core::{Attempt, Input, PoolId, TaskId, Time, WorkerId};
use rustc_hash::FxHashMap;

use crate::aftermath::Discarded;
use crate::error::EngineError;
use crate::limits;
use crate::output::OutputRing;
use crate::payload::{Code, CodeId, Payload};
use crate::poller::{Source, Stream};
use crate::reader::{WorkerKind, WorkerTotals};
use crate::shared::Shared;
use crate::tasks::Task;

pub use inspect::{Death, Peaks, Stack};
pub(crate) use look::Found;
pub use nested::lost;
pub use pinned::Pinned;
pub use places::{Left, Place, PoolTotals, Pools, Started};
pub use snapshot::Snapshot;
pub(crate) use stall::Stalls;
pub(crate) use zygote::{Dying, start};

use deadlines::{Deadlines, Stage};
use health::Health;
use in_flight::Sent;
use inspect::Deaths;
use places::Places;
use worker::Worker;
use zygotes::Zygotes;

/// What the workers of one pool have in common.
pub(crate) struct ProcessPool {
    pub(crate) name: String,
    /// How many it may have.
    pub(crate) workers: u32,
    pub(crate) initializer: Option<(Arc<Code>, Payload)>,
    pub(crate) definitions: Vec<Arc<Code>>,
    pub(crate) tasks_per_worker_max: Option<u32>,
    pub(crate) growth_bytes_max: Option<u64>,
    /// Its workers take as long to end as they need (`leaving`).
    pub(crate) patient: bool,
}

/// All worker processes of the engine.
#[derive(Default)]
pub(crate) struct Processes {
    workers: FxHashMap<WorkerId, Box<Worker>>,
    zygotes: Zygotes,
    /// When what waits to be sent to a zygote is tried again, as part of every flush.
    zygote_retry: Option<Time>,
    /// Workers with messages that have not been flushed.
    dirty: Vec<WorkerId>,
    deadlines: Deadlines,
    health: Health,
    pub(crate) output: OutputRing,
    /// Pools of which workers have ended that had given up their places, since that was last looked at.
    departed: Vec<PoolId>,
    /// Workers that ended without having been asked to.
    deaths: Deaths,
    pub(crate) peaks: Peaks,
    /// Processor time of the workers that have been reaped, in nanoseconds.
    pub(crate) ended_cpu_ns: u64,
    places: Places,
    /// What nobody needs any more, for the aftermath.
    pub(crate) discarded: Vec<Discarded>,
}

impl Processes {
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines
            .next()
            .into_iter()
            .chain(self.zygote_retry)
            .min()
    }

    pub(crate) fn deaths(&self) -> u64 {
        self.deaths.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// A pool was opened, so workers will be wanted soon: starts the engine's own zygote if there is
    /// none, or takes in the snapshot that the pool comes with.
    pub(crate) fn warm_up(&mut self, shared: &Shared, pool: PoolId, snapshot: Option<Snapshot>) {
        let warm = match snapshot {
            Some(snapshot) => {
                let discarded = &mut self.discarded;
                self.zygotes.adopt(shared, pool, snapshot, discarded)
            }
            None => self.zygotes.of_pool(shared, pool).map(drop),
        };
        if let Err(error) = warm {
            self.note_trouble(pool, &error.to_string());
        }
    }

    pub(crate) fn add_pool(&mut self, pool: PoolId, options: &ProcessPool) {
        self.health.add_pool(pool);
        self.places.add_pool(pool, &options.name);
    }

    /// A pool is gone, and nobody will ask any more why it was broken.
    pub(crate) fn remove_pool(&mut self, pool: PoolId) {
        let error = self.health.remove_pool(pool);
        self.discarded.extend(error.map(Discarded::value));
        self.places.close_pool(pool);
        self.release(pool);
    }

    /// The snapshot of a pool that is gone goes when no worker is left.
    pub(crate) fn release(&mut self, pool: PoolId) {
        if !self.has_worker_of(pool) {
            self.zygotes.release(pool);
        }
    }

    /// Whether there still is a process of a pool: a worker, or the snapshot that they were forked from.
    pub(crate) fn has_process_of(&self, pool: PoolId) -> bool {
        self.has_worker_of(pool) || self.zygotes.has_child_of(pool)
    }

    /// The snapshot of a pool has ended and been reaped.
    pub(crate) fn reaped(&mut self, pool: PoolId) {
        self.zygotes.reaped(pool);
    }

    fn has_worker_of(&self, pool: PoolId) -> bool {
        self.workers.values().any(|worker| worker.pool == pool)
    }

    /// Workers that start from now on, but for those of snapshots, are set up by `setup`.
    pub(crate) fn set_up(&mut self, setup: Vec<u8>) -> Result<(), EngineError> {
        self.zygotes.set_up(setup)
    }

    /// Starts a worker. What is sent to it waits in its socket until it is there.
    pub(crate) fn spawn(
        &mut self,
        shared: &Shared,
        id: WorkerId,
        pool: PoolId,
        options: &ProcessPool,
    ) -> Result<(), EngineError> {
        let zygote = self.zygotes.of_pool(shared, pool)?;
        let (mut worker, descriptors) = Worker::prepare(shared, id, pool, zygote.number)?;
        worker.patient = options.patient;
        self.begin(shared, worker, descriptors, options)
    }

    /// Listens to a worker and has it forked; does neither if that fails. To close its descriptors
    /// would not do: a forked child of this process may have them as well.
    fn begin(
        &mut self,
        shared: &Shared,
        mut worker: Worker,
        descriptors: Vec<OwnedFd>,
        options: &ProcessPool,
    ) -> Result<(), EngineError> {
        let begun = worker.listen(shared).and_then(|()| {
            if let Some((code, args)) = &options.initializer {
                worker.send_initializer(code, &options.definitions, args)?;
            }
            let zygote = self.zygotes.of_pool(shared, worker.pool)?;
            zygote.spawn(worker.id, options, descriptors)
        });
        if let Err(error) = begun {
            worker.close(shared);
            return Err(error);
        }
        worker.place = self.places.take(worker.pool, worker.id);
        self.dirty.push(worker.id);
        self.workers.insert(worker.id, Box::new(worker));
        let staying = self.workers.values().filter(|worker| !worker.departed);
        self.peaks.note_workers(staying.count());
        Ok(())
    }

    /// The socket of a zygote that the loop thread is to start now.
    pub(crate) fn zygote_to_start(&mut self) -> Option<(u32, OwnedFd)> {
        let zygote = self.zygotes.own()?;
        Some((zygote.number, zygote.take_start()?))
    }

    /// The zygote that was to be started now is a process, which is taken, unless it is the zygote no
    /// more.
    pub(crate) fn zygote_started(&mut self, number: u32, child: &mut Option<Child>) {
        if let Some(zygote) = self.zygotes.get_mut(number)
            && let Some(child) = child.take()
        {
            zygote.started(child);
        }
    }

    pub(crate) fn send_task(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        attempt: Attempt,
        task: &Task,
    ) -> Result<(), EngineError> {
        let worker = self.workers.get_mut(&worker);
        let Some(worker) = worker.filter(|worker| !worker.doomed) else {
            return Ok(());
        };
        if worker.send_task(id, attempt, task)? {
            self.dirty.push(worker.id);
        }
        Ok(())
    }

    /// Takes back what the worker has not begun.
    pub(crate) fn retract(&mut self, worker: WorkerId) -> Vec<TaskId> {
        self.workers
            .get_mut(&worker)
            .map(|worker| worker.retract().iter().map(|sent| sent.task).collect())
            .unwrap_or_default()
    }

    /// Begins a new epoch for a worker whose count of claims is full. What it had not begun has to be
    /// sent again.
    pub(crate) fn renew_epoch(&mut self, worker: WorkerId) -> Vec<(TaskId, Attempt)> {
        let worker = self.workers.get_mut(&worker);
        let Some(worker) = worker.filter(|worker| worker.in_flight.is_epoch_full()) else {
            return Vec::new();
        };
        let taken_back = worker.retract().into_iter();
        taken_back.map(|sent| (sent.task, sent.attempt)).collect()
    }

    /// Raises an exception in the task; kills the worker if that does not end it.
    pub(crate) fn interrupt(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        attempt: Attempt,
        now: Time,
    ) {
        let Some(process) = self.workers.get_mut(&worker) else {
            return;
        };
        process.interrupt(task);
        self.deadlines.add(
            now + limits::INTERRUPT_GRACE,
            worker,
            Stage::EndUnder(task, attempt),
        );
    }

    /// Has the worker write its stack, then kills it.
    pub(crate) fn kill(&mut self, worker: WorkerId, now: Time) {
        if let Some(process) = self.workers.get_mut(&worker) {
            // If the task ends by itself meanwhile, no other may begin and be killed in its place, nor
            // be sent. The scheduler gives them to others when the worker is gone.
            process.doomed = true;
            let _: Vec<Sent> = process.retract();
            process.condemn();
            self.deadlines
                .add(now + limits::STACK_GRACE, worker, Stage::Kill);
        }
    }

    /// The same, for a worker that has not died of anything: nobody wants what it runs, or it as it is.
    pub(crate) fn kill_unwanted(&mut self, worker: WorkerId, now: Time) {
        if let Some(process) = self.workers.get_mut(&worker) {
            process.unwanted = true;
        }
        self.kill(worker, now);
    }

    /// Kills every worker at once.
    pub(crate) fn kill_all(&mut self) {
        for worker in self.workers.values_mut() {
            worker.kill();
        }
    }

    pub(crate) fn note_trouble(&mut self, pool: PoolId, why: &str) {
        self.note_failure(pool, Err(why.to_owned()));
    }

    /// Notes what the pool's initializer raised, or in words why it breaks.
    fn note_failure(&mut self, pool: PoolId, why: Result<Payload, String>) {
        let untold = self.health.note_trouble(pool, why);
        self.discarded.extend(untold.map(Discarded::value));
    }

    pub(crate) fn why_broken(&self, pool: PoolId) -> Result<Payload, String> {
        self.health
            .trouble(pool)
            .cloned()
            .unwrap_or_else(|| Err("its workers cannot be started".into()))
    }

    pub(crate) fn why_no_worker(&self, pool: PoolId) -> String {
        self.why_broken(pool).err().unwrap_or_default()
    }

    pub(crate) fn read_output(&mut self, shared: &Shared, worker: WorkerId, stream: Stream) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.read_output(shared, stream, &mut self.output);
        }
    }

    /// Has workers forget definitions that nobody refers to any more.
    fn forget(&mut self, unused: &[CodeId]) {
        for worker in self.workers.values_mut() {
            if worker.forget(unused) {
                self.dirty.push(worker.id);
            }
        }
    }

    /// The workers of a zygote, by pool.
    fn workers_of(&self, zygote: u32) -> Vec<(PoolId, WorkerId)> {
        let workers = self.workers.values();
        let workers = workers.filter(|worker| worker.zygote == zygote);
        let mut found: Vec<_> = workers.map(|worker| (worker.pool, worker.id)).collect();
        found.sort_unstable();
        found
    }

    /// Sends what is waiting to be sent.
    pub(crate) fn flush(&mut self, shared: &Shared) {
        let unused = shared.unused.take();
        if !unused.is_empty() {
            self.forget(&unused);
        }
        for id in self.dirty.drain(..) {
            let worker = self.workers.get_mut(&id);
            if worker.is_some_and(|worker| !worker.flush(shared)) {
                let at = crate::clock::now() + limits::FLUSH_RETRY;
                self.deadlines.add(at, id, Stage::Flush);
            }
        }
        let sent = self.zygotes.flush(shared);
        self.zygote_retry = (!sent).then(|| crate::clock::now() + limits::FLUSH_RETRY);
    }

    /// Gives up all workers: the engine ends.
    pub(crate) fn give_up(&mut self, shared: &Shared, why: &str) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut workers: Vec<Box<Worker>> =
            self.workers.drain().map(|(_, worker)| worker).collect();
        workers.sort_unstable_by_key(|worker| worker.id);
        for worker in workers {
            worker.close(shared);
            self.note_trouble(worker.pool, why);
            inputs.push(Input::WorkerDown {
                worker: worker.id,
                running: Vec::new(),
            });
            inputs.push(Input::SpawnFailed {
                pool: worker.pool,
                broken: true,
            });
            self.discarded.push(Discarded::Other(worker));
        }
        self.discarded.extend(self.zygotes.close(shared));
        inputs
    }

    /// Kills everything without a word: the engine is poisoned, and only the processes are left.
    pub(crate) fn abandon(mut self, shared: &Shared) -> Vec<Discarded> {
        self.kill_all();
        for worker in self.workers.values() {
            worker.close(shared);
        }
        let mut discarded = std::mem::take(&mut self.discarded);
        discarded.extend(self.zygotes.close(shared));
        discarded.push(Discarded::other(self));
        discarded
    }

    /// Whether a worker has begun the task.
    pub(crate) fn has_begun(&self, task: TaskId) -> bool {
        self.workers
            .values()
            .any(|worker| worker.control.task() == task.0)
    }

    /// Whether a worker of the pool runs a task that does not wait for others.
    fn makes_progress(&self, pool: PoolId) -> bool {
        let mut workers = self.workers.values().filter(|worker| worker.pool == pool);
        workers.any(|worker| worker.control.task() != 0 && !worker.blocked)
    }

    /// Workers that have something to run and whose task does not wait for others, and their processes.
    fn busy(&self) -> Vec<(WorkerId, u32)> {
        let busy = self
            .workers
            .values()
            .filter(|worker| !worker.in_flight.is_empty() && !worker.blocked);
        busy.filter_map(|worker| Some((worker.id, worker.pid()?)))
            .collect()
    }

    pub(crate) fn pid(&self, worker: WorkerId) -> Option<u32> {
        self.workers.get(&worker)?.pid()
    }

    /// All workers, as those see them who look.
    pub(crate) fn totals(&self) -> impl Iterator<Item = WorkerTotals> {
        let workers = self.workers.values();
        workers.map(|worker| WorkerTotals {
            worker: worker.id,
            pool: worker.pool,
            slots: 1,
            kind: WorkerKind::Process,
            pid: worker.pid(),
            place: worker.place,
            pinned: worker.pinned(),
        })
    }

    /// Processes of one pool, or of all.
    pub(crate) fn pids(&self, pool: Option<PoolId>) -> Vec<(WorkerId, u32)> {
        self.workers
            .values()
            .filter(|worker| pool.is_none_or(|pool| worker.pool == pool))
            .filter_map(|worker| Some((worker.id, worker.pid()?)))
            .collect()
    }

    /// Sends SIGINT, as a terminal would, to the processes of one pool or of all; false if nobody is there to get it.
    pub(crate) fn send_interrupt(&mut self, pool: Option<PoolId>) -> bool {
        let mut any = false;
        for worker in self.workers.values_mut() {
            if pool.is_none_or(|pool| worker.pool == pool) {
                worker.send_interrupt();
                // One that is being started may run a call before its process is known.
                any |= worker.pid().is_some() || !worker.in_flight.is_empty();
            }
        }
        any
    }

    fn sources(worker: WorkerId) -> [Source; 3] {
        [
            Source::Worker(worker),
            Source::Output(worker, Stream::Stdout),
            Source::Output(worker, Stream::Stderr),
        ]
    }
}

#[cfg(test)]
mod tests;
