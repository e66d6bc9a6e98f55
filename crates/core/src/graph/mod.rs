//! The tasks that have not ended and the edges between them.
//!
//! Owns every live [`Task`] in a slab and finds it by [`TaskId`] through [`index`]. An edge is
//! threaded through two lists, the dependents of one task and the dependencies of the other, so
//! that either end can leave in time proportional to its own degree.
//!
//! Invariants:
//! * A slot is named only by tasks, edges, queues and timers that are corrected when it is freed,
//!   or that can tell a later tenant apart by its rank (see `ready`).
//! * A task is freed without edges: [`Graph::take_dependents`] and [`Graph::drop_dependencies`]
//!   come first.
//! * An edge whose dependency has ended stays with the dependent, marked, until that is ready.

mod edges;
mod index;
mod task;

use crate::ids::TaskId;
use crate::limits::{DEPENDENTS_LOOKED_AT, EMPTY_TABLE_SLOTS_MAX};
use edges::Edges;
use index::Index;

pub(crate) use task::{Assigned, Fate, Phase, State, Task, Verdict, nanoseconds};

/// Where a live task is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Slot(u32);

/// The end of a list of slots or edges.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Entry {
    /// The next free slot.
    Free(u32),
    Used(Task),
}

/// All tasks that have not ended.
#[derive(Debug)]
pub(crate) struct Graph {
    entries: Vec<Entry>,
    /// First of the chain of free entries.
    free: u32,
    live: usize,
    index: Index,
    edges: Edges,
}

impl Graph {
    pub(crate) fn new() -> Graph {
        Graph {
            entries: Vec::new(),
            free: NONE,
            live: 0,
            index: Index::default(),
            edges: Edges::new(),
        }
    }

    pub(crate) fn find(&self, task: TaskId) -> Option<Slot> {
        self.index.find(task).map(Slot)
    }

    /// The task in a slot, if it has one; for holders that may be out of date.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Task> {
        match self.entries.get(slot.0 as usize) {
            Some(Entry::Used(task)) => Some(task),
            _ => None,
        }
    }

    pub(crate) fn insert(&mut self, task: Task) -> Slot {
        let id = task.id;
        let slot = if self.free == NONE {
            let slot = u32::try_from(self.entries.len()).unwrap_or(NONE);
            assert!(
                slot != NONE,
                "more than four thousand million unfinished tasks"
            );
            self.entries.push(Entry::Used(task));
            slot
        } else {
            let slot = self.free;
            let Entry::Free(next) = self.entries[slot as usize] else {
                unreachable!("the free chain holds free entries only");
            };
            self.free = next;
            self.entries[slot as usize] = Entry::Used(task);
            slot
        };
        self.index.insert(id, slot);
        self.live += 1;
        Slot(slot)
    }

    /// Forgets the task. Its edges must have been dropped.
    pub(crate) fn remove(&mut self, slot: Slot) -> Task {
        let entry = std::mem::replace(&mut self.entries[slot.0 as usize], Entry::Free(self.free));
        let Entry::Used(task) = entry else {
            unreachable!("a task is removed once");
        };
        assert!(
            task.dependents == NONE && task.dependencies == NONE,
            "a task leaves the graph without edges"
        );
        self.free = slot.0;
        self.index.remove(task.id);
        self.live -= 1;
        if self.live == 0 {
            self.give_memory_back();
        }
        task
    }

    /// Makes `dependent` wait for `dependency`.
    pub(crate) fn link(&mut self, dependency: Slot, dependent: Slot) {
        let edge = self.edges.allocate(dependency.0, dependent.0);
        let head = std::mem::replace(&mut self[dependency].dependents, edge);
        self.edges.set_next_dependent(edge, head);
        let head = std::mem::replace(&mut self[dependent].dependencies, edge);
        self.edges.set_next_dependency(edge, head);
    }

    /// Ends the waiting for this task: its dependents, in the order in which they were linked, are
    /// appended to `into`, once for each edge.
    pub(crate) fn take_dependents(&mut self, slot: Slot, into: &mut Vec<Slot>) {
        let start = into.len();
        let mut edge = std::mem::replace(&mut self[slot].dependents, NONE);
        while edge != NONE {
            let next = self.edges.next_dependent(edge);
            into.push(Slot(self.edges.dependent(edge)));
            self.edges.mark_ended(edge);
            edge = next;
        }
        into[start..].reverse();
    }

    /// Forgets what this task waited for.
    pub(crate) fn drop_dependencies(&mut self, slot: Slot) {
        let mut edge = std::mem::replace(&mut self[slot].dependencies, NONE);
        while edge != NONE {
            let next = self.edges.next_dependency(edge);
            if let Some((dependency, new_head)) = self.edges.unlink_dependent(edge) {
                self[Slot(dependency)].dependents = new_head;
            }
            self.edges.free(edge);
            edge = next;
        }
    }

    /// Whether some unfinished task needs this one.
    pub(crate) fn has_dependents(&self, slot: Slot) -> bool {
        self[slot].dependents != NONE
    }

    /// The unfinished tasks that need this one, the one that was linked last first.
    pub(crate) fn dependents(&self, slot: Slot) -> impl Iterator<Item = Slot> {
        let mut edge = self[slot].dependents;
        std::iter::from_fn(move || {
            let here = (edge != NONE).then_some(edge)?;
            edge = self.edges.next_dependent(here);
            Some(Slot(self.edges.dependent(here)))
        })
    }

    /// Whether this is a root of the graph, the kind of task that memory pressure holds back: it
    /// needed nothing and something needs it.
    pub(crate) fn is_root(&self, slot: Slot) -> bool {
        self[slot].without_dependencies && self.has_dependents(slot)
    }

    /// Whether something waits for this task and for nothing else; of those that wait for very many, only a
    /// few are looked at.
    pub(crate) fn is_last_wanted(&self, slot: Slot) -> bool {
        let mut edge = self[slot].dependents;
        for _ in 0..DEPENDENTS_LOOKED_AT {
            if edge == NONE {
                return false;
            }
            let dependent = Slot(self.edges.dependent(edge));
            if self[dependent].state == (State::Waiting { missing: 1 }) {
                return true;
            }
            edge = self.edges.next_dependent(edge);
        }
        false
    }

    /// Unfinished tasks that this one waits for.
    pub(crate) fn dependencies(&self, slot: Slot) -> impl Iterator<Item = Slot> {
        let mut edge = self[slot].dependencies;
        std::iter::from_fn(move || {
            while edge != NONE {
                let here = edge;
                edge = self.edges.next_dependency(here);
                if let Some(dependency) = self.edges.dependency(here) {
                    return Some(Slot(dependency));
                }
            }
            None
        })
    }

    /// Every live task, in the order of slots. Linear in the largest number there ever was.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Task)> {
        self.entries
            .iter()
            .zip(0..)
            .filter_map(|(entry, slot)| match entry {
                Entry::Used(task) => Some((Slot(slot), task)),
                Entry::Free(_) => None,
            })
    }

    /// Bytes allocated, for tests of the memory per task.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.edges.allocated_bytes()
            + self.index.allocated_bytes()
    }

    /// A burst of a million tasks should not be paid for until the program ends.
    fn give_memory_back(&mut self) {
        assert!(
            self.edges.is_empty(),
            "edges outlived the tasks they joined"
        );
        if self.entries.capacity() > EMPTY_TABLE_SLOTS_MAX {
            *self = Graph::new();
        }
    }

    /// Panics if an invariant of this module does not hold. Linear in the graph.
    pub(crate) fn check_invariants(&self) {
        let mut live = 0;
        let mut edges_seen = 0;
        for (slot, task) in self.iter() {
            live += 1;
            assert_eq!(
                self.find(task.id),
                Some(slot),
                "the index names the slot of {:?}",
                task.id
            );
            let open = u32::try_from(self.dependencies(slot).count()).unwrap_or(NONE);
            match task.state {
                State::Waiting { missing } => {
                    assert!(missing > 0, "{:?} waits for something", task.id);
                    assert_eq!(missing, open, "{:?} counts its dependencies", task.id);
                }
                _ => assert_eq!(
                    task.dependencies, NONE,
                    "{:?} is past waiting and keeps no edges",
                    task.id
                ),
            }
            edges_seen += self
                .edges
                .check_lists(slot.0, task.dependents, task.dependencies);
        }
        assert_eq!(live, self.live, "the number of live tasks");
        assert_eq!(
            edges_seen,
            self.edges.len(),
            "each live edge belongs to one dependent"
        );
        self.index.check_invariants(self.live);
    }
}

impl std::ops::Index<Slot> for Graph {
    type Output = Task;

    fn index(&self, slot: Slot) -> &Task {
        match &self.entries[slot.0 as usize] {
            Entry::Used(task) => task,
            Entry::Free(_) => unreachable!("slots are followed only while their task lives"),
        }
    }
}

impl std::ops::IndexMut<Slot> for Graph {
    fn index_mut(&mut self, slot: Slot) -> &mut Task {
        match &mut self.entries[slot.0 as usize] {
            Entry::Used(task) => task,
            Entry::Free(_) => unreachable!("slots are followed only while their task lives"),
        }
    }
}
