//! Tasks whose results nobody wants any more. A task of a graph that goes on by itself is held by those who
//! may ask for its result, and needed by the tasks that need it; one that is neither need not begin.

use std::ops::RangeInclusive;

use lineshaft_core::TaskId;
use rustc_hash::FxHashSet;

use crate::state::State;

impl State {
    /// From now on the tasks of a graph are held by nobody but by one holder for each time that they are in
    /// `wanted`, which may have tasks of other graphs.
    pub(crate) fn hold_only(&mut self, graph: RangeInclusive<TaskId>, wanted: &[TaskId]) {
        for task in wanted {
            if let Some(task) = self.tasks.get_mut(*task) {
                task.holders += 1;
            }
        }
        let own: Vec<TaskId> = self.tasks.ids_within(graph).collect();
        for task in own {
            if let Some(task) = self.tasks.get_mut(task) {
                task.holders -= 1; // who submitted it
            }
        }
    }

    /// One of a task's holders is gone. If there are no others, it is cancelled unless it has begun or is
    /// needed; and so are then those that only it needed.
    pub(crate) fn release(&mut self, task: TaskId) {
        let Some(released) = self.tasks.get_mut(task) else {
            return;
        };
        released.holders = released.holders.saturating_sub(1);
        let mut dropped = FxHashSet::default();
        let mut looked_at = vec![task];
        while let Some(id) = looked_at.pop() {
            let Some(task) = self.tasks.get(id) else {
                continue;
            };
            if task.holders > 0 || self.scheduler.has_started(id) || self.is_needed(id, &dropped) {
                continue;
            }
            if dropped.insert(id) {
                let inputs = task.inputs.iter().filter(|input| !input.is_done());
                looked_at.extend(inputs.map(|input| input.task()));
                self.push_cancel(id, false);
            }
        }
    }

    /// Whether another task needs this one that is not dropped itself. What comes after a graph, and is neither
    /// held nor needed, only waits for its tasks.
    fn is_needed(&self, id: TaskId, dropped: &FxHashSet<TaskId>) -> bool {
        let is_wanted = |task: TaskId| {
            self.tasks.get(task).is_some_and(|task| task.holders > 0)
                || self.scheduler.dependents(task).next().is_some()
        };
        let mut dependents = self.scheduler.dependents(id);
        dependents.any(|task| !dropped.contains(&task) && is_wanted(task))
    }
}
