//! The tasks of one pool that could run now, best first.
//!
//! Two lanes, so that memory pressure can hold back the roots of graphs without looking at each
//! of them. A task enters the lane that fits when it becomes ready; one that turns into a root
//! later, because something that needs it is submitted, moves when it is seen at the front, so at
//! most once.
//!
//! Most tasks arrive in the order in which they run, so a lane is a plain queue beside a heap: an
//! entry that sorts behind the queue's end is appended there, any other goes to the heap.
//!
//! Invariant: a live entry names the slot of a ready task with the same rank. Ranks are never
//! reused, so the entry of a cancelled task is recognised as dead even when its slot has a new
//! tenant. Dead entries are dropped when they reach the front, and all at once when they outnumber
//! the live ones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::graph::{Graph, Slot, State};
use crate::limits::READY_DEAD_MAX;

/// Which lane of the queue a ready task is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LaneKind {
    /// Tasks that memory pressure may hold back.
    Roots,
    /// All others.
    Rest,
}

/// Sorts by priority, greater first, then by rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    priority: Reverse<i32>,
    rank: u64,
    slot: Slot,
}

#[derive(Default, Debug)]
struct Lane {
    /// Ascending.
    queue: VecDeque<Entry>,
    heap: BinaryHeap<Reverse<Entry>>,
    /// Entries whose task is still ready.
    live: usize,
}

/// The ready queue of one pool.
#[derive(Default, Debug)]
pub(crate) struct Ready {
    roots: Lane,
    rest: Lane,
}

/// Which ready tasks may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// Any; there is memory.
    All,
    /// No roots; memory is short and something else can run.
    NoRoots,
    /// Roots only if there is nothing else, so that a withheld graph cannot stop for ever.
    RootsLast,
}

impl Ready {
    /// Adds a task that has just become ready and returns its lane.
    pub(crate) fn push(&mut self, graph: &Graph, slot: Slot) -> LaneKind {
        let kind = if graph.is_root(slot) {
            LaneKind::Roots
        } else {
            LaneKind::Rest
        };
        let task = &graph[slot];
        let entry = Entry {
            priority: Reverse(task.priority),
            rank: task.rank,
            slot,
        };
        self.lane(kind).push(entry);
        kind
    }

    /// The best task that may be taken. It stays in the queue; see [`Ready::take`].
    pub(crate) fn best(&mut self, graph: &mut Graph, choice: Choice) -> Option<Slot> {
        if choice != Choice::All {
            self.move_late_roots(graph);
        }
        let rest = self.rest.front(graph);
        match choice {
            Choice::NoRoots => rest,
            Choice::RootsLast => rest.or_else(|| self.roots.front(graph)),
            Choice::All => match (rest, self.roots.front(graph)) {
                (Some(rest), Some(root)) => Some(rest.min(root)),
                (rest, root) => rest.or(root),
            },
        }
        .map(|entry| entry.slot)
    }

    /// Takes out the task that [`Ready::best`] has just returned.
    pub(crate) fn take(&mut self, graph: &Graph, kind: LaneKind) {
        self.lane(kind).pop(graph, kind);
    }

    /// The task is no longer ready, though its entry is still here.
    pub(crate) fn forget(&mut self, graph: &Graph, kind: LaneKind) {
        self.lane(kind).forget(graph, kind);
    }

    /// Ready tasks that may be taken.
    pub(crate) fn available(&self, choice: Choice) -> usize {
        match choice {
            Choice::All => self.rest.live + self.roots.live,
            // One at a time: the next is let through when this one has ended.
            Choice::RootsLast if self.rest.live == 0 => self.roots.live.min(1),
            Choice::NoRoots | Choice::RootsLast => self.rest.live,
        }
    }

    /// Ready tasks that would be taken before this one. Linear; for explanations only.
    pub(crate) fn ahead_of(&self, graph: &Graph, slot: Slot) -> usize {
        let task = &graph[slot];
        let own = Entry {
            priority: Reverse(task.priority),
            rank: task.rank,
            slot,
        };
        let lanes = [(&self.rest, LaneKind::Rest), (&self.roots, LaneKind::Roots)];
        lanes
            .into_iter()
            .flat_map(|(lane, kind)| lane.iter().filter(move |entry| entry.is_live(graph, kind)))
            .filter(|entry| **entry < own)
            .count()
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        [&self.rest, &self.roots]
            .map(|lane| lane.queue.capacity() + lane.heap.capacity())
            .iter()
            .sum::<usize>()
            * size_of::<Entry>()
    }

    pub(crate) fn check_invariants(&self, graph: &Graph) {
        self.roots.check_invariants(graph, LaneKind::Roots);
        self.rest.check_invariants(graph, LaneKind::Rest);
    }

    fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::Roots => &mut self.roots,
            LaneKind::Rest => &mut self.rest,
        }
    }

    /// Clears the front of the lane of other tasks of those that have become roots since.
    fn move_late_roots(&mut self, graph: &mut Graph) {
        while let Some(entry) = self.rest.front(graph) {
            if !graph.is_root(entry.slot) {
                break;
            }
            self.rest.pop(graph, LaneKind::Rest);
            self.roots.push(entry);
            graph[entry.slot].state = State::Ready {
                lane: LaneKind::Roots,
            };
        }
    }
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        self.live += 1;
        if self.queue.back().is_none_or(|last| *last < entry) {
            self.queue.push_back(entry);
        } else {
            self.heap.push(Reverse(entry));
        }
    }

    /// The best live entry. Drops the dead ones before it.
    fn front(&mut self, graph: &Graph) -> Option<Entry> {
        if self.live == 0 {
            self.queue.clear();
            self.heap.clear();
            return None;
        }
        loop {
            let front = self.peek()?;
            // A lane's live entries differ from dead ones by rank, so the kind need not be asked:
            // an entry moved to the other lane was popped from this one.
            if front.names_ready_task(graph) {
                return Some(front);
            }
            self.drop_first();
        }
    }

    fn pop(&mut self, graph: &Graph, kind: LaneKind) {
        self.drop_first();
        self.forget(graph, kind);
    }

    /// One live entry less. The cost of a sweep is paid by the tasks that died since the last.
    fn forget(&mut self, graph: &Graph, kind: LaneKind) {
        self.live -= 1;
        let dead = self.queue.len() + self.heap.len() - self.live;
        if dead > self.live + READY_DEAD_MAX {
            self.queue.retain(|entry| entry.is_live(graph, kind));
            self.heap.retain(|entry| entry.0.is_live(graph, kind));
        }
    }

    fn peek(&self) -> Option<Entry> {
        match (self.queue.front(), self.heap.peek()) {
            (Some(queued), Some(Reverse(heaped))) => Some(*queued.min(heaped)),
            (Some(queued), None) => Some(*queued),
            (None, heaped) => heaped.map(|entry| entry.0),
        }
    }

    fn drop_first(&mut self) {
        match (self.queue.front(), self.heap.peek()) {
            (Some(queued), Some(Reverse(heaped))) if heaped < queued => {
                self.heap.pop();
            }
            (Some(_), _) => {
                self.queue.pop_front();
            }
            (None, _) => {
                self.heap.pop();
            }
        }
        // A burst is over: do not hold the memory of the whole burst.
        if self.queue.is_empty() && self.queue.capacity() > READY_DEAD_MAX * 64 {
            self.queue = VecDeque::new();
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.queue
            .iter()
            .chain(self.heap.iter().map(|entry| &entry.0))
    }

    fn check_invariants(&self, graph: &Graph, kind: LaneKind) {
        let live = self
            .iter()
            .filter(|entry| entry.is_live(graph, kind))
            .count();
        assert_eq!(live, self.live, "the live entries of the {kind:?} lane");
        assert!(
            self.queue.iter().is_sorted(),
            "the queue of the {kind:?} lane ascends"
        );
        let dead = self.queue.len() + self.heap.len() - live;
        assert!(
            dead <= live + READY_DEAD_MAX + 1,
            "dead entries are compacted"
        );
    }
}

impl Entry {
    fn names_ready_task(&self, graph: &Graph) -> bool {
        graph
            .get(self.slot)
            .is_some_and(|task| task.rank == self.rank && matches!(task.state, State::Ready { .. }))
    }

    fn is_live(&self, graph: &Graph, kind: LaneKind) -> bool {
        graph.get(self.slot).is_some_and(|task| {
            task.rank == self.rank && task.state == (State::Ready { lane: kind })
        })
    }
}
