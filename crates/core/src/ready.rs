//! The tasks of one pool that could run now, best first.
//!
//! Roots of graphs have lanes of their own, so that memory pressure can hold them back without looking at each
//! of them. A task enters the lane that fits when it becomes ready; one that turns into a root
//! later, because something that needs it is submitted, moves when it is seen at the front, so at
//! most once.
//!
//! So have nested tasks, which sort by how deep they are: once as many workers wait for such tasks as the pool may
//! have, these come first. Otherwise each task of a recursion would begin, and wait on a worker of its own, before
//! any of them can end.
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
pub(crate) struct LaneKind {
    /// Memory pressure may hold it back.
    is_root: bool,
    /// Another task has asked for it, and may wait for it.
    is_nested: bool,
}

/// Sorts by priority, greater first, then by depth, deeper first, then by rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    priority: Reverse<i32>,
    depth: Reverse<u16>,
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
    /// By [`LaneKind::index`].
    lanes: [Lane; 4],
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

/// Which of the first of all lanes comes first, at equal priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// The one that was submitted first. Nested tasks overtake each other all the same.
    Submitted,
    /// The deepest.
    Deepest,
    /// The one that was submitted first, of all in all lanes. Linear in their number.
    Oldest,
}

impl LaneKind {
    const ALL: [LaneKind; 4] = [
        LaneKind::new(false, false),
        LaneKind::new(true, false),
        LaneKind::new(false, true),
        LaneKind::new(true, true),
    ];

    const fn new(is_root: bool, is_nested: bool) -> LaneKind {
        LaneKind { is_root, is_nested }
    }

    fn of(graph: &Graph, slot: Slot) -> LaneKind {
        LaneKind::new(graph.is_root(slot), graph[slot].depth > 0)
    }

    fn index(self) -> usize {
        usize::from(self.is_root) + 2 * usize::from(self.is_nested)
    }
}

impl Ready {
    /// Adds a task that has just become ready and returns its lane.
    pub(crate) fn push(&mut self, graph: &Graph, slot: Slot) -> LaneKind {
        let kind = LaneKind::of(graph, slot);
        self.lane(kind).push(Entry::new(graph, slot));
        kind
    }

    /// The best task that may be taken. It stays in the queue; see [`Ready::take`].
    pub(crate) fn best(&mut self, graph: &mut Graph, choice: Choice, turn: Turn) -> Option<Slot> {
        if choice != Choice::All {
            self.move_late_roots(graph);
        }
        let mut first = |is_root: bool| match turn {
            Turn::Oldest => self.oldest(graph, choice, is_root),
            Turn::Submitted | Turn::Deepest => {
                let outer = self.lane(LaneKind::new(is_root, false)).front(graph);
                let nested = self.lane(LaneKind::new(is_root, true)).front(graph);
                Entry::first(outer, nested, turn)
            }
        };
        let rest = first(false);
        match choice {
            Choice::NoRoots => rest,
            Choice::RootsLast => rest.or_else(|| first(true)),
            Choice::All => Entry::first(rest, first(true), turn),
        }
        .map(|entry| entry.slot)
    }

    /// The task that was submitted first, of the lanes of roots or of the others.
    fn oldest(&self, graph: &Graph, choice: Choice, is_root: bool) -> Option<Entry> {
        self.live_entries(graph)
            .filter(|(kind, _)| kind.is_root == is_root)
            // One that has become a root since is still among the others.
            .filter(|(_, entry)| is_root || choice == Choice::All || !graph.is_root(entry.slot))
            .map(|(_, entry)| *entry)
            .min_by_key(Entry::by_rank)
    }

    fn live_entries(&self, graph: &Graph) -> impl Iterator<Item = (LaneKind, &Entry)> {
        LaneKind::ALL.into_iter().flat_map(move |kind| {
            let entries = self.lanes[kind.index()].iter();
            let live = entries.filter(move |entry| entry.is_live(graph, kind));
            live.map(move |entry| (kind, entry))
        })
    }

    /// Takes out the task that [`Ready::best`] has just returned.
    pub(crate) fn take(&mut self, graph: &Graph, slot: Slot, kind: LaneKind) {
        let lane = self.lane(kind);
        let rank = graph[slot].rank;
        if lane.peek().is_some_and(|front| front.rank == rank) {
            lane.pop(graph, kind);
        } else {
            lane.remove(graph, slot, kind);
        }
    }

    /// The task is no longer ready, though its entry is still here.
    pub(crate) fn forget(&mut self, graph: &Graph, kind: LaneKind) {
        self.lane(kind).forget(graph, kind);
    }

    /// Ready tasks that may be taken.
    pub(crate) fn available(&self, choice: Choice) -> usize {
        let live = |is_root| {
            let kinds = LaneKind::ALL.into_iter();
            let kinds = kinds.filter(|kind| kind.is_root == is_root);
            kinds
                .map(|kind| self.lanes[kind.index()].live)
                .sum::<usize>()
        };
        match choice {
            Choice::All => live(false) + live(true),
            // One at a time: the next is let through when this one has ended.
            Choice::RootsLast if live(false) == 0 => live(true).min(1),
            Choice::NoRoots | Choice::RootsLast => live(false),
        }
    }

    /// Ready tasks that would be taken before this one. Linear; for explanations only.
    pub(crate) fn ahead_of(&self, graph: &Graph, slot: Slot, turn: Turn) -> usize {
        let own = Entry::new(graph, slot);
        self.live_entries(graph)
            .filter(|(_, entry)| entry.is_before(&own, turn))
            .count()
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        let allocated = |lane: &Lane| lane.queue.capacity() + lane.heap.capacity();
        self.lanes.iter().map(allocated).sum::<usize>() * size_of::<Entry>()
    }

    pub(crate) fn check_invariants(&self, graph: &Graph) {
        for kind in LaneKind::ALL {
            self.lanes[kind.index()].check_invariants(graph, kind);
        }
    }

    fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        &mut self.lanes[kind.index()]
    }

    /// Clears the fronts of the lanes of other tasks of those that have become roots since.
    fn move_late_roots(&mut self, graph: &mut Graph) {
        for is_nested in [false, true] {
            let (from, to) = (
                LaneKind::new(false, is_nested),
                LaneKind::new(true, is_nested),
            );
            while let Some(entry) = self.lane(from).front(graph)
                && graph.is_root(entry.slot)
            {
                self.lane(from).pop(graph, from);
                self.lane(to).push(entry);
                graph[entry.slot].state = State::Ready { lane: to };
            }
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

    /// Takes out a live entry that is not in front.
    fn remove(&mut self, graph: &Graph, slot: Slot, kind: LaneKind) {
        self.queue.retain(|entry| entry.slot != slot);
        self.heap.retain(|entry| entry.0.slot != slot);
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
        assert_eq!(live, self.live, "the live entries of the lane {kind:?}");
        assert!(
            self.queue.iter().is_sorted(),
            "the queue of the lane {kind:?} ascends"
        );
        let dead = self.queue.len() + self.heap.len() - live;
        assert!(
            dead <= live + READY_DEAD_MAX + 1,
            "dead entries are compacted"
        );
    }
}

impl Entry {
    fn new(graph: &Graph, slot: Slot) -> Entry {
        let task = &graph[slot];
        Entry {
            priority: Reverse(task.priority),
            depth: Reverse(task.depth),
            rank: task.rank,
            slot,
        }
    }

    /// The one of two, if there are any, that is taken first.
    fn first(one: Option<Entry>, other: Option<Entry>, turn: Turn) -> Option<Entry> {
        match (one, other) {
            (Some(one), Some(other)) if other.is_before(&one, turn) => Some(other),
            (one, other) => one.or(other),
        }
    }

    fn is_before(&self, other: &Entry, turn: Turn) -> bool {
        match turn {
            Turn::Deepest => self < other,
            Turn::Submitted | Turn::Oldest => self.by_rank() < other.by_rank(),
        }
    }

    fn by_rank(&self) -> (Reverse<i32>, u64) {
        (self.priority, self.rank)
    }

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
