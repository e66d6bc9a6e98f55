//! Which task needed the result of which, and the longest chain of them.
//!
//! For each edge there is an event when its result is there. Single edges are kept while they fit, sums
//! by function for good. The longest chain, by the time that its tasks ran, is found on the way: when a
//! task ends, the longest chain that ends with it is known, and each task that needs it takes the longest
//! of those it is given (`Task::chain`). No number of workers makes a run shorter than that.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{GroupId, TaskId};
use rustc_hash::FxHashMap;

use crate::limits;
use crate::tasks::{Task, Tasks};

/// The result of one task is there for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) by: TaskId,
    pub(crate) task: TaskId,
}

/// Edges and chains. See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The newest ones.
    edges: VecDeque<Edge>,
    /// How many there were before these.
    pub(crate) dropped: u64,
    links: FxHashMap<(GroupId, GroupId), u64>,
    /// Edges that are in no link: one of their tasks is unknown, or there are too many links.
    pub(crate) unlinked: u64,
    /// The longest chain so far of several tasks, and the one that it ends with.
    longest: Option<(Duration, TaskId)>,
    /// The task that ran longest of those that needed no other.
    alone: Option<Alone>,
}

/// A task that needed no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Alone {
    pub(crate) task: TaskId,
    pub(crate) group: GroupId,
    pub(crate) ran: Duration,
}

/// A chain of tasks, each of which needed the one before it.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) ran: Duration,
    /// Its beginning is not known any more.
    pub(crate) is_cut: bool,
}

impl Graph {
    /// Takes in an edge, and what it does to the chains.
    pub(crate) fn add(&mut self, edge: Edge, tasks: &mut Tasks) {
        if self.edges.len() == limits::EDGES_MAX {
            self.edges.pop_front();
            self.dropped += 1;
        }
        self.edges.push_back(edge);
        let by = tasks.get_mut(edge.by).map(|by| (by.group, by.chain));
        let (Some((from, chain)), Some(task)) = (by, tasks.get_mut(edge.task)) else {
            self.unlinked += 1;
            return;
        };
        if task.after.is_none() || chain > task.chain {
            task.after = Some(edge.by);
            task.chain = chain;
        }
        let link = (from, task.group);
        if self.links.len() < limits::LINKS_MAX || self.links.contains_key(&link) {
            *self.links.entry(link).or_default() += 1;
        } else {
            self.unlinked += 1;
        }
    }

    /// A task has ended, and with it a chain.
    pub(crate) fn end_chain(&mut self, task: &Task) {
        if task.after.is_some() {
            if self.longest.is_none_or(|(longest, _)| task.chain > longest) {
                self.longest = Some((task.chain, task.id));
            }
        } else if self.alone.is_none_or(|alone| task.chain > alone.ran) {
            self.alone = Some(Alone {
                task: task.id,
                group: task.group,
                ran: task.chain,
            });
        }
    }

    /// The task that needed no other and ran longer than the longest chain, if there is one.
    pub(crate) fn alone(&self) -> Option<Alone> {
        let longest = self.longest.map_or(Duration::ZERO, |(longest, _)| longest);
        self.alone.filter(|alone| alone.ran > longest)
    }

    /// The longest chain of several tasks, from its beginning.
    pub(crate) fn longest(&self, tasks: &Tasks) -> Chain {
        let Some((ran, last)) = self.longest else {
            return Chain::default();
        };
        let mut chain = Chain {
            ran,
            ..Chain::default()
        };
        let mut next = Some(last);
        while let Some(id) = next {
            let Some(task) = tasks.get(id) else {
                chain.is_cut = true;
                break;
            };
            chain.tasks.push(id);
            next = task.after;
        }
        chain.tasks.reverse();
        chain
    }

    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.edges.iter().copied()
    }

    /// How many edges there are between the tasks of two groups.
    pub(crate) fn links(&self) -> impl Iterator<Item = (GroupId, GroupId, u64)> {
        let links = self.links.iter();
        links.map(|(&(from, to), &count)| (from, to, count))
    }

    /// Edges of which there was an event that was seen.
    pub(crate) fn seen(&self) -> u64 {
        self.dropped + self.edges.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    fn longest(script: &str) -> (Vec<u64>, Duration) {
        let picture = picture(script);
        let chain = picture.graph.longest(&picture.tasks);
        assert!(!chain.is_cut);
        let ids = chain.tasks.iter().map(|task| task.0);
        (ids.collect(), chain.ran)
    }

    /// ```text
    /// 1 (30 us) ──> 3 (5 us) ──> 4 (10 us)
    /// 2 (20 us) ────^
    /// ```
    #[test]
    fn the_longest_chain_is_that_of_the_time_that_tasks_ran() {
        let script = "
            0 up 1 2
            0 submit 1 7\n0 submit 2 7\n0 submit 3 8\n0 submit 4 8
            1 hand 1 1 7\n1 hand 2 1 7
            31 finish 1 30\n31 supply 3 1
            41 finish 2 20\n41 supply 3 2
            42 hand 3 1 8\n50 finish 3 5\n50 supply 4 3
            51 hand 4 1 8\n61 finish 4 10";
        assert_eq!(longest(script), (vec![1, 3, 4], Duration::from_micros(45)));
        let links = picture(script);
        let mut links: Vec<_> = links.graph.links().collect();
        links.sort_unstable();
        let (seven, eight) = (GroupId(7), GroupId(8));
        assert_eq!(links, [(seven, eight, 2), (eight, eight, 1)]);
    }

    #[test]
    fn a_task_that_needs_nothing_and_runs_longer_than_any_chain_is_told_of() {
        let one = "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n9 finish 1 8";
        assert_eq!(longest(one), (vec![], Duration::ZERO));
        let alone = |script: &str| picture(script).graph.alone().map(|alone| alone.task.0);
        assert_eq!(alone(one), Some(1));
        let two = format!("{one}\n9 submit 2 8\n9 supply 2 1\n9 hand 2 1 8\n20 finish 2 2");
        assert_eq!(longest(&two), (vec![1, 2], Duration::from_micros(10)));
        assert_eq!(alone(&two), None);
    }

    #[test]
    fn an_edge_of_a_task_that_is_not_known_is_counted() {
        let picture = picture("0 submit 2 7\n0 supply 2 1\n0 supply 3 2");
        assert_eq!((picture.graph.unlinked, picture.graph.seen()), (2, 2));
        assert_eq!(picture.graph.links().count(), 0);
    }

    #[test]
    fn edges_are_bounded_and_their_sums_are_exact() {
        let mut picture = picture("0 submit 1 7\n0 submit 2 8");
        let edge = Edge {
            by: TaskId(1),
            task: TaskId(2),
        };
        for _ in 0..limits::EDGES_MAX + 10 {
            picture.graph.add(edge, &mut picture.tasks);
        }
        assert_eq!(picture.graph.edges().count(), limits::EDGES_MAX);
        assert_eq!(picture.graph.dropped, 10);
        let count = limits::EDGES_MAX as u64 + 10;
        assert!(picture.graph.links().eq([(GroupId(7), GroupId(8), count)]));
    }
}
