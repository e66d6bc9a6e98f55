//! New tasks.

use rustc_hash::FxHashMap;

use super::{Scheduler, Step};
use crate::action::{Action, Rejection};
use crate::events::EventKind;
use crate::graph::{Slot, State, Task};
use crate::ids::{PoolId, TaskId};
use crate::order;
use crate::spec::TaskSpec;

impl Scheduler {
    pub(super) fn on_submit(&mut self, spec: &TaskSpec, step: &mut Step) {
        assert!(
            self.task_last.is_none_or(|last| last < spec.task),
            "{:?} was submitted after {:?}; ids increase",
            spec.task,
            self.task_last
        );
        assert!(
            !spec.dependencies.contains(&spec.task),
            "{:?} depends on itself",
            spec.task
        );
        self.task_last = Some(spec.task);
        self.note_submitted(spec, step);
        if let Some(why) = self.refusal(spec.pool) {
            self.refuse(spec, why, step);
            return;
        }
        let slot = self.insert(spec);
        for dependency in &spec.dependencies {
            if let Some(dependency) = self.graph.find(*dependency) {
                self.link(dependency, slot);
            }
        }
        self.ready_if_free(slot, step);
    }

    /// Every check comes before the first change: a graph with a cycle leaves no trace.
    pub(super) fn on_submit_graph(&mut self, specs: &[TaskSpec], step: &mut Step) {
        let Some(batch) = Batch::new(specs) else {
            return;
        };
        assert!(
            self.task_last.is_none_or(|last| last < batch.first),
            "{:?} was submitted after {:?}; ids increase",
            batch.first,
            self.task_last
        );
        let order = order::depth_first(&batch.edges(specs)).unwrap_or_else(|cycle| {
            let through = specs[cycle.through as usize].task;
            panic!("the submitted graph has a cycle; {through:?} depends on itself or on one");
        });
        self.task_last = Some(batch.last);
        let mut arrivals = Arrivals {
            slots: vec![None; specs.len()],
            refused: FxHashMap::default(),
        };
        for position in order {
            self.arrive(position, specs, &batch, &mut arrivals, step);
        }
    }

    /// Adds one task of a graph whose dependencies in the same graph were added before.
    fn arrive(
        &mut self,
        position: u32,
        specs: &[TaskSpec],
        batch: &Batch,
        arrivals: &mut Arrivals,
        step: &mut Step,
    ) {
        let spec = &specs[position as usize];
        self.note_submitted(spec, step);
        let refusal = self.refusal(spec.pool).map(|why| (spec.task, why));
        if let Some((failed, why)) = refusal.or_else(|| arrivals.inherited(spec, batch)) {
            arrivals.refused.insert(position, failed);
            self.refuse(spec, why, step);
            return;
        }
        let slot = self.insert(spec);
        arrivals.slots[position as usize] = Some(slot);
        for dependency in &spec.dependencies {
            let known = match batch.position(*dependency) {
                Some(position) => arrivals.slots[position as usize],
                None => self.graph.find(*dependency),
            };
            if let Some(dependency) = known {
                self.link(dependency, slot);
            }
        }
        self.ready_if_free(slot, step);
    }

    fn note_submitted(&mut self, spec: &TaskSpec, step: &Step) {
        let TaskSpec {
            task, pool, group, ..
        } = *spec;
        self.groups.get_mut(group).summary.submitted += 1;
        self.note_of(group, step, EventKind::Submitted { task, pool, group });
        for &by in &spec.supplied {
            self.note_of(group, step, EventKind::Supplied { task, by });
        }
    }

    /// Why a pool takes no tasks, if it does not.
    fn refusal(&self, pool: PoolId) -> Option<Rejection> {
        match self.pools.get(&pool) {
            None => Some(Rejection::Cancelled),
            Some(pool) if pool.broken => Some(Rejection::PoolBroken),
            Some(_) => None,
        }
    }

    fn refuse(&mut self, spec: &TaskSpec, why: Rejection, step: &mut Step) {
        let task = spec.task;
        step.actions.push(Action::Reject { task, why });
        self.note_of(spec.group, step, EventKind::Rejected { task, why });
    }

    fn insert(&mut self, spec: &TaskSpec) -> Slot {
        let parent = spec.parent.and_then(|parent| self.graph.find(parent));
        let depth = parent.map_or(0, |parent| self.graph[parent].depth.saturating_add(1));
        let task = Task::new(spec, self.rank_next, depth);
        self.rank_next += 1;
        let pool = self
            .pools
            .get_mut(&spec.pool)
            .expect("a pool that refuses takes no tasks");
        pool.count(task.group, &task.state);
        self.graph.insert(task)
    }

    fn link(&mut self, dependency: Slot, dependent: Slot) {
        self.graph.link(dependency, dependent);
        let State::Waiting { missing } = &mut self.graph[dependent].state else {
            unreachable!("a new task waits until its edges are known");
        };
        *missing += 1;
    }

    fn ready_if_free(&mut self, slot: Slot, step: &Step) {
        if self.graph[slot].state == (State::Waiting { missing: 0 }) {
            self.make_ready(slot, step);
        }
    }
}

/// What became of the tasks of a graph, by position.
struct Arrivals {
    slots: Vec<Option<Slot>>,
    /// Tasks that were rejected at once, with the one that was the reason.
    refused: FxHashMap<u32, TaskId>,
}

impl Arrivals {
    /// The rejection that a task inherits from a dependency in the same graph.
    fn inherited(&self, spec: &TaskSpec, batch: &Batch) -> Option<(TaskId, Rejection)> {
        if self.refused.is_empty() {
            return None;
        }
        let mut positions = spec
            .dependencies
            .iter()
            .filter_map(|task| batch.position(*task));
        let failed = *positions.find_map(|position| self.refused.get(&position))?;
        Some((failed, Rejection::Dependency { failed }))
    }
}

/// From task id to position in the submitted vector.
struct Batch {
    first: TaskId,
    last: TaskId,
    /// Sorted by id; empty if position is id minus the first, the common case.
    sorted: Vec<(TaskId, u32)>,
}

impl Batch {
    /// `None` if there is nothing in it. Panics if an id comes twice.
    fn new(specs: &[TaskSpec]) -> Option<Batch> {
        let (first, last) = (specs.first()?.task, specs.last()?.task);
        let mut expected = (first.0..).zip(specs);
        if expected.all(|(id, spec)| spec.task.0 == id) {
            return Some(Batch {
                first,
                last,
                sorted: Vec::new(),
            });
        }
        let mut sorted: Vec<_> = specs.iter().map(|spec| spec.task).zip(0..).collect();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            assert!(
                pair[0].0 != pair[1].0,
                "{:?} is in the graph twice",
                pair[0].0
            );
        }
        let (first, last) = (sorted[0].0, sorted[sorted.len() - 1].0);
        Some(Batch {
            first,
            last,
            sorted,
        })
    }

    fn position(&self, task: TaskId) -> Option<u32> {
        if task < self.first || task > self.last {
            return None;
        }
        if self.sorted.is_empty() {
            return u32::try_from(task.0 - self.first.0).ok();
        }
        let found = self
            .sorted
            .binary_search_by_key(&task, |(id, _)| *id)
            .ok()?;
        Some(self.sorted[found].1)
    }

    fn edges(&self, specs: &[TaskSpec]) -> order::Edges {
        let count = specs.iter().map(|spec| spec.dependencies.len()).sum();
        let mut edges = order::Edges::with_capacity(specs.len(), count);
        for spec in specs {
            for target in spec
                .dependencies
                .iter()
                .filter_map(|task| self.position(*task))
            {
                edges.add(target);
            }
            edges.end_row();
        }
        edges
    }
}
