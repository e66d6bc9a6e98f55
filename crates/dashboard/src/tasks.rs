//! What is kept of single tasks: the most recent ones, and those that failed.
//!
//! Ids are handed out in increasing order, so the table is an array in which a task's place is its
//! id modulo the size. A newer task takes the place of one that has ended, never that of one that has
//! not: tasks that run are always there, and a queue longer than the table is known in part. A task
//! that found no place when it was submitted may find one when it is handed to a worker.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{GroupId, Phases, Rejection, TaskId, Time, WorkerId};

use crate::limits;

/// What is known of one task. Times that have not come, or were missed, are `Time::NEVER`.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) group: GroupId,
    /// The last one it was handed to.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) attempt: u32,
    pub(crate) state: TaskState,
    pub(crate) submitted: Time,
    pub(crate) ready: Time,
    pub(crate) assigned: Time,
    pub(crate) ended: Time,
    /// Time that its last call ran, once it has ended, if its worker said so.
    pub(crate) ran: Option<Duration>,
    /// What that attempt took beside that.
    pub(crate) phases: Phases,
    /// Bytes of its result; zero if there is none, or it stays in this process.
    pub(crate) bytes: u64,
    /// Time that the tasks of the longest chain ran that ends with this one, itself included once it has
    /// returned; and the task before it on that chain.
    pub(crate) chain: Duration,
    pub(crate) after: Option<TaskId>,
}

/// What a task is doing, or how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TaskState {
    /// It needs results of other tasks.
    Waiting,
    /// It could run.
    Ready,
    /// It failed and runs again later.
    Backoff,
    /// It is with a worker.
    Assigned,
    /// It runs, and waits for tasks of its own.
    Blocked,
    Finished,
    Failed,
    TimedOut,
    WorkerDied,
    /// A task that it needs has no result.
    DependencyFailed,
    Cancelled,
    /// It has ended, and the event that says how was missed.
    Unknown,
}

impl TaskState {
    pub(crate) fn has_ended(self) -> bool {
        !matches!(
            self,
            TaskState::Waiting
                | TaskState::Ready
                | TaskState::Backoff
                | TaskState::Assigned
                | TaskState::Blocked
        )
    }

    /// Whether it has an end that somebody will want to look into.
    pub(crate) fn has_failed(self) -> bool {
        matches!(
            self,
            TaskState::Failed | TaskState::TimedOut | TaskState::WorkerDied
        )
    }

    pub(crate) fn of_rejection(why: Rejection) -> TaskState {
        match why {
            Rejection::Cancelled => TaskState::Cancelled,
            Rejection::Failed | Rejection::PoolBroken | Rejection::NoWorker => TaskState::Failed,
            Rejection::TimedOut => TaskState::TimedOut,
            Rejection::WorkerDied => TaskState::WorkerDied,
            Rejection::ItemsRunAgain => TaskState::Finished,
            Rejection::Dependency { .. } => TaskState::DependencyFailed,
        }
    }
}

impl Task {
    pub(crate) fn new(id: TaskId, group: GroupId, state: TaskState) -> Task {
        Task {
            id,
            group,
            worker: None,
            attempt: 0,
            state,
            submitted: Time::NEVER,
            ready: Time::NEVER,
            assigned: Time::NEVER,
            ended: Time::NEVER,
            ran: None,
            phases: Phases::default(),
            bytes: 0,
            chain: Duration::ZERO,
            after: None,
        }
    }

    /// Seconds that it ran, as far as is known.
    pub(crate) fn ran_s(&self) -> f64 {
        self.ran.unwrap_or_default().as_secs_f64()
    }
}

/// The table. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Grows up to `size`.
    places: Vec<Option<Task>>,
    used: usize,
    size: usize,
    /// Failed tasks whose places were taken, oldest first.
    failed: VecDeque<Task>,
}

impl Default for Tasks {
    fn default() -> Tasks {
        Tasks::with_size(limits::TASKS_MAX)
    }
}

impl Tasks {
    pub(crate) fn with_size(size: usize) -> Tasks {
        assert!(size > 0, "a table has places");
        Tasks {
            places: Vec::new(),
            used: 0,
            size,
            failed: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        let place = self.places.get(self.position(id))?.as_ref();
        place
            .filter(|task| task.id == id)
            .or_else(|| self.failed.iter().find(|task| task.id == id))
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let position = self.position(id);
        let place = self.places.get_mut(position)?.as_mut();
        place.filter(|task| task.id == id)
    }

    /// The task, which is put into the table if it is not there and has a place.
    pub(crate) fn enter(
        &mut self,
        id: TaskId,
        group: GroupId,
        state: TaskState,
    ) -> Option<&mut Task> {
        let position = self.position(id);
        if self.places.len() <= position {
            self.places.resize(position + 1, None);
        }
        let place = &mut self.places[position];
        match place {
            Some(task) if task.id == id => {}
            Some(task) if !task.state.has_ended() => return None,
            _ => {
                let old = place.replace(Task::new(id, group, state));
                self.used += usize::from(old.is_none());
                if let Some(old) = old.filter(|old| old.state.has_failed()) {
                    if self.failed.len() == limits::FAILED_MAX {
                        self.failed.pop_front();
                    }
                    self.failed.push_back(old);
                }
            }
        }
        place.as_mut()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.used + self.failed.len()
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.places.iter().flatten().chain(&self.failed)
    }

    /// Those that have not ended, as far as is known.
    pub(crate) fn unfinished(&self) -> Vec<TaskId> {
        let unfinished = self.iter().filter(|task| !task.state.has_ended());
        unfinished.map(|task| task.id).collect()
    }

    fn position(&self, id: TaskId) -> usize {
        usize::try_from(id.0 % self.size as u64).expect("less than the size")
    }
}

// A quarter of a million of them are kept.
const _: () = assert!(size_of::<Task>() <= 128);

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(tasks: &mut Tasks, id: u64, state: TaskState) -> bool {
        let entered = tasks.enter(TaskId(id), GroupId(0), state);
        entered.is_some()
    }

    fn ids(tasks: &Tasks) -> Vec<u64> {
        let mut ids: Vec<u64> = tasks.iter().map(|task| task.id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn newer_tasks_take_the_places_of_ended_ones_only() {
        let mut tasks = Tasks::with_size(4);
        for id in 0..4 {
            assert!(enter(&mut tasks, id, TaskState::Ready));
        }
        assert!(!enter(&mut tasks, 5, TaskState::Ready), "1 has not ended");
        tasks.get_mut(TaskId(1)).expect("known").state = TaskState::Finished;
        assert!(enter(&mut tasks, 5, TaskState::Assigned));
        assert_eq!(ids(&tasks), [0, 2, 3, 5]);
        assert!(tasks.get(TaskId(1)).is_none());
        assert_eq!(tasks.unfinished().len(), 4);
    }

    #[test]
    fn failed_tasks_stay_longer_than_others() {
        let mut tasks = Tasks::with_size(2);
        assert!(enter(&mut tasks, 0, TaskState::Failed));
        assert!(enter(&mut tasks, 1, TaskState::Finished));
        for id in 2..100 {
            assert!(enter(&mut tasks, id, TaskState::Finished));
        }
        assert_eq!(ids(&tasks), [0, 98, 99]);
        assert_eq!(
            tasks.get(TaskId(0)).map(|task| task.state),
            Some(TaskState::Failed)
        );
        for id in 100..100 + 2 * limits::FAILED_MAX as u64 {
            assert!(enter(&mut tasks, id, TaskState::Failed));
        }
        assert_eq!(tasks.iter().count(), limits::FAILED_MAX + 2);
    }

    #[test]
    fn a_task_that_is_entered_again_is_as_it_was() {
        let mut tasks = Tasks::with_size(2);
        enter(&mut tasks, 7, TaskState::Waiting);
        assert!(enter(&mut tasks, 7, TaskState::Assigned));
        assert_eq!(
            tasks.get(TaskId(7)).map(|task| task.state),
            Some(TaskState::Waiting)
        );
    }
}
