//! Storage of edges: 20 bytes each, in one vector, threaded into lists by index.
//!
//! The list of a task's dependents is doubly linked, because a dependent that is cancelled leaves
//! the middle of it. The list of a task's dependencies is singly linked, because it is only ever
//! dropped as a whole.

use super::NONE;

#[derive(Clone, Copy, Debug)]
struct Edge {
    /// Slot of the task that is waited for; `NONE` once it has ended.
    dependency: u32,
    /// Slot of the task that waits.
    dependent: u32,
    /// Neighbours in the list of the dependency's dependents; `next` also chains free edges.
    next_dependent: u32,
    previous_dependent: u32,
    /// Next in the list of the dependent's dependencies.
    next_dependency: u32,
}

#[derive(Debug)]
pub(super) struct Edges {
    slab: Vec<Edge>,
    free: u32,
    live: usize,
}

impl Edges {
    pub(super) fn new() -> Edges {
        Edges {
            slab: Vec::new(),
            free: NONE,
            live: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(super) fn allocate(&mut self, dependency: u32, dependent: u32) -> u32 {
        let edge = Edge {
            dependency,
            dependent,
            next_dependent: NONE,
            previous_dependent: NONE,
            next_dependency: NONE,
        };
        self.live += 1;
        if self.free == NONE {
            let index = u32::try_from(self.slab.len()).unwrap_or(NONE);
            assert!(index != NONE, "more than four thousand million edges");
            self.slab.push(edge);
            index
        } else {
            let index = self.free;
            self.free = self.slab[index as usize].next_dependent;
            self.slab[index as usize] = edge;
            index
        }
    }

    pub(super) fn free(&mut self, edge: u32) {
        self.slab[edge as usize].next_dependent = self.free;
        self.free = edge;
        self.live -= 1;
    }

    pub(super) fn dependent(&self, edge: u32) -> u32 {
        self.slab[edge as usize].dependent
    }

    pub(super) fn dependency(&self, edge: u32) -> Option<u32> {
        let slot = self.slab[edge as usize].dependency;
        (slot != NONE).then_some(slot)
    }

    pub(super) fn next_dependent(&self, edge: u32) -> u32 {
        self.slab[edge as usize].next_dependent
    }

    pub(super) fn next_dependency(&self, edge: u32) -> u32 {
        self.slab[edge as usize].next_dependency
    }

    /// Puts the edge in front of `head` in the list of dependents.
    pub(super) fn set_next_dependent(&mut self, edge: u32, head: u32) {
        self.slab[edge as usize].next_dependent = head;
        if head != NONE {
            self.slab[head as usize].previous_dependent = edge;
        }
    }

    /// Puts the edge in front of `head` in the list of dependencies.
    pub(super) fn set_next_dependency(&mut self, edge: u32, head: u32) {
        self.slab[edge as usize].next_dependency = head;
    }

    /// The dependency has ended; the edge now belongs to the dependent alone.
    pub(super) fn mark_ended(&mut self, edge: u32) {
        let edge = &mut self.slab[edge as usize];
        edge.dependency = NONE;
        edge.next_dependent = NONE;
        edge.previous_dependent = NONE;
    }

    /// Takes the edge out of its dependency's list. Says which task lost its first dependent that
    /// way, and what is first now.
    pub(super) fn unlink_dependent(&mut self, edge: u32) -> Option<(u32, u32)> {
        let Edge {
            dependency,
            next_dependent: next,
            previous_dependent: previous,
            ..
        } = self.slab[edge as usize];
        if dependency == NONE {
            return None;
        }
        if next != NONE {
            self.slab[next as usize].previous_dependent = previous;
        }
        if previous == NONE {
            return Some((dependency, next));
        }
        self.slab[previous as usize].next_dependent = next;
        None
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.slab.capacity() * size_of::<Edge>()
    }

    /// Checks both lists of one task and returns how many edges it has as a dependent.
    pub(super) fn check_lists(&self, slot: u32, dependents: u32, dependencies: u32) -> usize {
        let mut previous = NONE;
        let mut edge = dependents;
        while edge != NONE {
            let here = self.slab[edge as usize];
            assert_eq!(
                here.dependency, slot,
                "the list of dependents holds its own edges"
            );
            assert_eq!(here.previous_dependent, previous, "neighbours agree");
            previous = edge;
            edge = here.next_dependent;
        }
        let mut count = 0;
        let mut edge = dependencies;
        while edge != NONE {
            let here = self.slab[edge as usize];
            assert_eq!(
                here.dependent, slot,
                "the list of dependencies holds its own edges"
            );
            count += 1;
            edge = here.next_dependency;
        }
        count
    }
}
