//! The graph of tasks by function: what each needs, and the longest chain.
//!
//! A node is a function, or one of its tasks where the function is expanded. There are never more than
//! `limits::NODES_MAX`: of an expanded function some tasks are shown and the others stay together, and
//! functions that took the least time are one node if there are too many.

use std::cmp::Reverse;

use lineshaft_core::{GroupId, GroupSummary, TaskId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::groups::by_time;
use super::tasks::state_name;
use crate::graph::Chain;
use crate::limits::{GROUPS_EXPANDED_MAX, NODES_MAX, STEPS_MAX, TASKS_EXPANDED_MAX};
use crate::picture::Picture;

/// What is wanted of the graph.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphQuery {
    /// Functions whose tasks are wanted, as numbers with commas between them.
    pub expand: String,
}

/// The graph.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GraphView {
    /// Functions that need each other, and single tasks.
    pub nodes: Vec<NodeRow>,
    /// Between two nodes each.
    pub links: Vec<LinkRow>,
    /// The longest chain of tasks that needed each other.
    pub path: PathRow,
    /// Time that all tasks ran.
    pub total_s: f64,
    /// Functions whose tasks neither need others nor are needed: they have no node.
    pub groups_apart: usize,
    /// Edges that were seen.
    pub edges: u64,
    /// Of these, those of which only the sum by function is kept.
    pub edges_dropped: u64,
    /// Of these, those that are in no sum, because one of their tasks is not known.
    pub edges_unlinked: u64,
    /// Events that were missed, some of which may have been edges.
    pub events_missed: u64,
}

/// A function, one of its tasks, or all functions that have no node of their own.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct NodeRow {
    /// The function; None for several.
    pub group: Option<u32>,
    /// The task, if it is one.
    pub task: Option<u64>,
    /// The name of the function.
    pub name: String,
    /// How many functions these are, or zero for a task.
    pub groups: usize,
    /// The state of the task.
    pub state: Option<&'static str>,
    /// Tasks submitted, without those that have nodes of their own.
    pub submitted: u64,
    /// Tasks that returned, of all.
    pub finished: u64,
    /// Tasks that failed for good, of all.
    pub failed: u64,
    /// Time that the task ran, or all tasks of the function.
    pub ran_s: f64,
    /// Whether tasks of the function have nodes of their own.
    pub expanded: bool,
    /// Edges between tasks of this node.
    pub within: u64,
    /// Tasks of this node that are on the longest chain, and the time that these ran.
    pub path_tasks: u64,
    /// See there.
    pub path_s: f64,
}

/// Edges from the tasks of one node to those of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LinkRow {
    /// The place of the node whose results are needed.
    pub from: usize,
    /// The place of the one that needs them.
    pub to: usize,
    /// How many edges.
    pub count: u64,
    /// Whether the longest chain goes this way.
    pub on_path: bool,
}

/// The longest chain of several tasks, by the time that they ran.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PathRow {
    /// Tasks on it, as far as they are kept.
    pub tasks: usize,
    /// Time that they ran.
    pub ran_s: f64,
    /// Whether its first tasks are not kept any more.
    pub is_cut: bool,
    /// Its tasks in order, those of one function after each other in one step.
    pub steps: Vec<StepRow>,
    /// Further steps.
    pub steps_more: usize,
    /// A task that needed no other and ran longer than this chain.
    pub alone: Option<StepRow>,
}

/// Tasks of one function that follow each other on the chain.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepRow {
    /// The function.
    pub group: u32,
    /// Its name.
    pub name: String,
    /// The first of the tasks.
    pub task: u64,
    /// How many.
    pub tasks: u64,
    /// Time that they ran.
    pub ran_s: f64,
}

impl Picture {
    pub(crate) fn graph_view(&self, query: &GraphQuery) -> GraphView {
        let chain = self.graph.longest(&self.tasks);
        let mut drawing = Drawing::new(self, &chain, &expanded(&query.expand));
        drawing.link();
        drawing.mark(&chain);
        let Drawing { nodes, links, .. } = drawing;
        let mut links: Vec<LinkRow> = links.into_values().collect();
        links.sort_unstable_by_key(|link| (link.from, link.to));
        let linked = self.linked_groups().len();
        GraphView {
            nodes,
            links,
            path: self.path_row(&chain),
            total_s: self.total().ran_s,
            groups_apart: self.totals.groups.len().saturating_sub(linked),
            edges: self.graph.seen(),
            edges_dropped: self.graph.dropped,
            edges_unlinked: self.graph.unlinked,
            events_missed: self.missed,
        }
    }

    fn linked_groups(&self) -> FxHashSet<GroupId> {
        let links = self.graph.links();
        links.flat_map(|(from, to, _)| [from, to]).collect()
    }

    pub(super) fn path_row(&self, chain: &Chain) -> PathRow {
        let mut steps: Vec<StepRow> = Vec::new();
        for id in &chain.tasks {
            let Some(task) = self.tasks.get(*id) else {
                continue;
            };
            let ran_s = task.ran_s();
            match steps.last_mut().filter(|step| step.group == task.group.0) {
                Some(step) => {
                    step.tasks += 1;
                    step.ran_s += ran_s;
                }
                None => steps.push(StepRow {
                    group: task.group.0,
                    name: self.group_label(task.group),
                    task: id.0,
                    tasks: 1,
                    ran_s,
                }),
            }
        }
        let steps_more = steps.len().saturating_sub(STEPS_MAX);
        steps.truncate(STEPS_MAX);
        PathRow {
            tasks: chain.tasks.len(),
            ran_s: chain.ran.as_secs_f64(),
            is_cut: chain.is_cut,
            steps,
            steps_more,
            alone: self.graph.alone().map(|alone| StepRow {
                group: alone.group.0,
                name: self.group_label(alone.group),
                task: alone.task.0,
                tasks: 1,
                ran_s: alone.ran.as_secs_f64(),
            }),
        }
    }
}

fn expanded(text: &str) -> Vec<GroupId> {
    let numbers = text.split(',').filter_map(|number| number.parse().ok());
    numbers.map(GroupId).take(GROUPS_EXPANDED_MAX).collect()
}

/// A graph as it is being put together.
struct Drawing<'a> {
    picture: &'a Picture,
    nodes: Vec<NodeRow>,
    links: FxHashMap<(usize, usize), LinkRow>,
    /// The nodes of tasks and of functions. A function that is not here is in the last node.
    tasks: FxHashMap<TaskId, usize>,
    groups: FxHashMap<GroupId, usize>,
}

impl<'a> Drawing<'a> {
    fn new(picture: &'a Picture, chain: &Chain, expanded: &[GroupId]) -> Drawing<'a> {
        let mut drawing = Drawing {
            picture,
            nodes: Vec::new(),
            links: FxHashMap::default(),
            tasks: FxHashMap::default(),
            groups: FxHashMap::default(),
        };
        let linked = picture.linked_groups();
        let all = picture.totals.groups.iter();
        let mut groups: Vec<&(GroupId, GroupSummary)> =
            all.filter(|(id, _)| linked.contains(id)).collect();
        groups.sort_by_key(|group| by_time(group));
        let expanded: Vec<GroupId> = expanded
            .iter()
            .copied()
            .filter(|group| linked.contains(group))
            .collect();
        let room = NODES_MAX - expanded.len() * TASKS_EXPANDED_MAX;
        // Those that are expanded are there in any case.
        groups.sort_by_key(|(id, _)| Reverse(expanded.contains(id)));
        let own = if groups.len() > room {
            room - 1
        } else {
            groups.len()
        };
        // In an order that stays while times grow.
        groups[..own].sort_by_key(|(id, _)| *id);
        for (id, summary) in &groups[..own] {
            drawing.add_group(*id, summary);
        }
        for group in expanded {
            drawing.expand(group, chain);
        }
        drawing.add_rest(&groups[own..]);
        drawing
    }

    fn add_group(&mut self, id: GroupId, summary: &GroupSummary) {
        self.groups.insert(id, self.nodes.len());
        self.nodes.push(NodeRow {
            group: Some(id.0),
            name: self.picture.group_label(id),
            groups: 1,
            submitted: summary.submitted,
            finished: summary.finished,
            failed: summary.failed - summary.retried,
            ran_s: summary.ran_total.as_secs_f64(),
            ..NodeRow::default()
        });
    }

    /// Gives nodes to tasks of a function: those on the chain, then the first ones.
    fn expand(&mut self, group: GroupId, chain: &Chain) {
        let picture = self.picture;
        let on_chain: FxHashSet<TaskId> = chain.tasks.iter().copied().collect();
        let all = picture.tasks.iter().filter(|task| task.group == group);
        let mut tasks: Vec<_> = all.collect();
        tasks.sort_unstable_by_key(|task| (!on_chain.contains(&task.id), task.id));
        tasks.truncate(TASKS_EXPANDED_MAX);
        tasks.sort_unstable_by_key(|task| task.id);
        let running = picture.running_tasks();
        let others = self.groups[&group];
        self.nodes[others].expanded = true;
        self.nodes[others].submitted = self.nodes[others]
            .submitted
            .saturating_sub(tasks.len() as u64);
        for task in tasks {
            self.tasks.insert(task.id, self.nodes.len());
            self.nodes.push(NodeRow {
                group: Some(group.0),
                task: Some(task.id.0),
                name: picture.group_label(group),
                state: Some(state_name(task, &running)),
                ran_s: task.ran_s(),
                ..NodeRow::default()
            });
        }
    }

    fn add_rest(&mut self, rest: &[&(GroupId, GroupSummary)]) {
        if rest.is_empty() {
            return;
        }
        let mut node = NodeRow {
            groups: rest.len(),
            ..NodeRow::default()
        };
        for (_, summary) in rest {
            node.submitted += summary.submitted;
            node.finished += summary.finished;
            node.failed += summary.failed - summary.retried;
            node.ran_s += summary.ran_total.as_secs_f64();
        }
        self.nodes.push(node);
    }

    /// The node of a group. One whose first task has just been submitted may have none yet.
    fn of_group(&self, group: GroupId) -> Option<usize> {
        let own = self.groups.get(&group).copied();
        own.or_else(|| {
            let rest = self.nodes.len().checked_sub(1)?;
            self.nodes[rest].group.is_none().then_some(rest)
        })
    }

    fn of_task(&self, task: TaskId) -> Option<usize> {
        let own = self.tasks.get(&task).copied();
        own.or_else(|| self.of_group(self.picture.tasks.get(task)?.group))
    }

    /// Links nodes: by the sums of edges by function, less the edges of tasks that have nodes of their own.
    fn link(&mut self) {
        for (from, to, count) in self.picture.graph.links() {
            if let (Some(from), Some(to)) = (self.of_group(from), self.of_group(to)) {
                self.add(from, to, count);
            }
        }
        if self.tasks.is_empty() {
            return;
        }
        for edge in self.picture.graph.edges() {
            if !self.tasks.contains_key(&edge.by) && !self.tasks.contains_key(&edge.task) {
                continue;
            }
            let group = |task| Some(self.picture.tasks.get(task)?.group);
            let sum = group(edge.by).and_then(|by| self.of_group(by));
            let sum = sum.zip(group(edge.task).and_then(|task| self.of_group(task)));
            let own = self.of_task(edge.by).zip(self.of_task(edge.task));
            if let (Some((by, task)), Some((from, to))) = (sum, own) {
                self.take(by, task);
                self.add(from, to, 1);
            }
        }
    }

    fn add(&mut self, from: usize, to: usize, count: u64) {
        if from == to {
            self.nodes[from].within += count;
            return;
        }
        let link = self.links.entry((from, to)).or_insert(LinkRow {
            from,
            to,
            count: 0,
            on_path: false,
        });
        link.count += count;
    }

    /// An edge is not between these any more.
    fn take(&mut self, from: usize, to: usize) {
        if from == to {
            let within = &mut self.nodes[from].within;
            *within = within.saturating_sub(1);
        } else if let Some(link) = self.links.get_mut(&(from, to)) {
            link.count -= 1;
            if link.count == 0 {
                self.links.remove(&(from, to));
            }
        }
    }

    /// Marks the longest chain.
    fn mark(&mut self, chain: &Chain) {
        let mut before = None;
        for id in &chain.tasks {
            let node = self.of_task(*id);
            if let Some((task, node)) = self.picture.tasks.get(*id).zip(node) {
                self.nodes[node].path_tasks += 1;
                self.nodes[node].path_s += task.ran_s();
            }
            if let Some(link) = before.zip(node).and_then(|way| self.links.get_mut(&way)) {
                link.on_path = true;
            }
            before = node;
        }
    }
}

#[cfg(test)]
mod tests;
