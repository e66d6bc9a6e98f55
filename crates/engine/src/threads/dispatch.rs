//! How the engine's state deals with calls of this process.

use std::sync::Arc;

use lineshaft_core::{Attempt, Failure, Input, PoolId, TaskId, WorkerId};

use crate::aftermath::Discarded;
use crate::options::Work;
use crate::outcome::{Outcome, TaskError};
use crate::pools::Executor;
use crate::runner::Call;
use crate::state::State;

use super::Lanes;

impl State {
    pub(super) fn lanes(&self, pool: PoolId) -> Option<&Arc<Lanes>> {
        match &self.open(pool)?.executor {
            Executor::Threads { lanes, .. } => Some(lanes),
            Executor::Processes(_) => None,
        }
    }

    fn lanes_of(&self, task: TaskId) -> Option<&Arc<Lanes>> {
        self.lanes(self.tasks.get(task)?.pool)
    }

    /// Hands a call to the threads of its pool.
    pub(crate) fn run_here(
        &mut self,
        pool: PoolId,
        worker: WorkerId,
        id: TaskId,
        attempt: Attempt,
    ) {
        let (Some(task), Some(lanes)) = (self.tasks.get(id), self.lanes(pool)) else {
            return;
        };
        let Work::Local(body) = &task.work else {
            unreachable!("a thread pool is only given calls of this process")
        };
        let call = Call {
            engine: self.engine(),
            task: id,
            attempt,
            worker,
            timed: task.timed,
            body: Arc::clone(body),
            inputs: task.inputs.clone(),
            promise: Arc::clone(task.pledge.promise()),
            handed_over: false,
        };
        let Err(error) = lanes.push(call) else { return };
        for mut call in lanes.drain() {
            call.handed_over = true;
            let error = TaskError::Transfer(format!("cannot start a thread: {error}"));
            self.ended(call.task, Outcome::Error(error));
            let (task, attempt) = (call.task, call.attempt);
            self.inputs.push_back(Input::Failed {
                task,
                attempt,
                how: Failure::RaisedForGood,
                measured: None,
            });
        }
    }

    /// The attempt that a thread has begun, if one has.
    pub(crate) fn attempt_on_thread(&self, task: TaskId) -> Option<Attempt> {
        let attempt = self.scheduler.attempt_at_worker(task)?;
        let lanes = self.lanes_of(task)?;
        (!lanes.holds(task)).then_some(attempt)
    }

    /// Takes back the calls that were handed to this worker and that no thread has begun.
    pub(crate) fn retract_calls(&mut self, pool: PoolId, worker: WorkerId) -> Vec<TaskId> {
        let take = |mut call: Call| {
            call.handed_over = true;
            call.task
        };
        self.lanes(pool)
            .map(|lanes| lanes.take_back(worker).into_iter().map(take).collect())
            .unwrap_or_default()
    }

    /// A thread cannot be stopped: its call fails now, another thread takes its place, and what it
    /// still does is dropped as stale.
    pub(crate) fn give_up_call(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        why: TaskError,
        how: Failure,
    ) {
        if let Some(lanes) = self.lanes_of(task).cloned() {
            // If no thread can be started, those that there are come to the calls later.
            let _: std::io::Result<()> = lanes.discount_one();
            self.given_up.insert((task, attempt), lanes);
        }
        self.ended(task, Outcome::Error(why));
        self.inputs.push_back(Input::Failed {
            task,
            attempt,
            how,
            measured: None,
        });
    }

    /// An attempt has ended; whether it had been given up before.
    pub(crate) fn was_given_up(&mut self, task: TaskId, attempt: Attempt) -> bool {
        let lanes = self.given_up.remove(&(task, attempt));
        lanes.inspect(|lanes| lanes.count_one()).is_some()
    }

    /// Takes back the calls of a pool that closes; nobody hears of them any more.
    pub(crate) fn close_lanes(&mut self, lanes: &Lanes) {
        lanes.close();
        for mut call in lanes.drain() {
            call.handed_over = true;
            self.aftermath.discard(Discarded::Call(call));
        }
    }
}
