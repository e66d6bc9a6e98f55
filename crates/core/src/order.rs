//! The static order in which a graph runs, chosen so that results are freed early.
//!
//! Three ideas, each linear in tasks and edges:
//!
//! 1. **Depth first from the sinks.** A task is placed right after everything it needs, so one
//!    branch of a reduction is finished before the next is begun. Breadth first would hold every
//!    leaf at once.
//! 2. **The hungriest dependency first.** `need` estimates how many results a task's subgraph holds
//!    at its worst (the number of Sethi and Ullman, exact on trees). The branch that needs most is
//!    run while nothing else is held. On graphs with shared results the estimate can mislead, so
//!    the walk in the caller's order is kept if it holds less. There much hangs on which of several
//!    equals comes first, too; as nobody knows better, small graphs are walked with a number of ways
//!    to break the ties, and the best counts.
//! 3. **Eager release.** As soon as a task could run and would free at least one result (it is the
//!    last one that needs it), it is placed at once, even if the depth-first walk is elsewhere. This
//!    keeps two reductions over the same data in step. It never holds more than waiting would: from
//!    here to the place where the task would otherwise have been, its own result is held instead
//!    of the one that it frees.
//!
//! So the peak of held results is at most one above that of a plain depth-first walk in the caller's
//! order: the one is the result of an eager task while what it frees is still there. A count of results
//! is not memory, though, and where the two differ much, `sizes` has the last word.
//!
//! The order is topological. A parallel run departs from it by at most the number of tasks that run
//! at once. The walk is iterative; a chain of a million tasks is fine.

mod sizes;

use std::cmp::Reverse;
use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use crate::limits::{ORDER_TRIES, ORDER_TRIES_TASKS_MAX};

/// A graph over tasks `0..len()`, as two lists of neighbours in compressed rows.
#[derive(Clone, Debug)]
pub(crate) struct Edges {
    /// Row `i` is `targets[starts[i]..starts[i + 1]]`: what task `i` needs.
    starts: Vec<u32>,
    targets: Vec<u32>,
}

/// The graph has a cycle through this task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cycle {
    pub(crate) through: u32,
}

impl Edges {
    pub(crate) fn with_capacity(tasks: usize, edges: usize) -> Edges {
        let mut starts = Vec::with_capacity(tasks + 1);
        starts.push(0);
        Edges {
            starts,
            targets: Vec::with_capacity(edges),
        }
    }

    /// Adds an edge to the last, still open row.
    pub(crate) fn add(&mut self, target: u32) {
        self.targets.push(target);
    }

    /// Ends the row of one task and opens that of the next.
    pub(crate) fn end_row(&mut self) {
        let end = u32::try_from(self.targets.len()).expect("fewer than 2^32 edges in one graph");
        self.starts.push(end);
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn row(&self, task: u32) -> &[u32] {
        &self.targets[self.range(task)]
    }

    fn row_mut(&mut self, task: u32) -> &mut [u32] {
        let range = self.range(task);
        &mut self.targets[range]
    }

    fn range(&self, task: u32) -> std::ops::Range<usize> {
        let task = task as usize;
        self.starts[task] as usize..self.starts[task + 1] as usize
    }

    fn degree(&self, task: u32) -> u32 {
        self.starts[task as usize + 1] - self.starts[task as usize]
    }

    /// The same graph seen from the other end.
    fn reversed(&self) -> Edges {
        let mut starts = vec![0_u32; self.len() + 1];
        for &target in &self.targets {
            starts[target as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut cursor = starts.clone();
        let mut targets = vec![0_u32; self.targets.len()];
        for task in self.tasks() {
            for &target in self.row(task) {
                targets[cursor[target as usize] as usize] = task;
                cursor[target as usize] += 1;
            }
        }
        Edges { starts, targets }
    }

    fn tasks(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.len()).expect("fewer than 2^32 tasks in one graph")
    }
}

/// The order in which the tasks of a graph run on one worker: for each task, the tasks that it needs, by
/// position. None if there is a cycle.
///
/// # Panics
///
/// If a task needs one that is not there.
pub fn static_order(needs: &[Vec<u32>]) -> Option<Vec<u32>> {
    let mut edges = Edges::with_capacity(needs.len(), needs.iter().map(Vec::len).sum());
    for row in needs {
        for &need in row {
            assert!((need as usize) < needs.len(), "there is no task {need}");
            edges.add(need);
        }
        edges.end_row();
    }
    depth_first(&edges).ok()
}

/// The tasks in the order in which they should run.
pub(crate) fn depth_first(dependencies: &Edges) -> Result<Vec<u32>, Cycle> {
    let dependents = dependencies.reversed();
    let (mut rows, needs) = hungriest_first(dependencies, &dependents)?;
    let sinks = dependencies.tasks().filter(|t| dependents.degree(*t) == 0);
    let mut sinks: Vec<u32> = sinks.collect();
    let mut best = Walk::new(dependencies, &dependents).run(&sinks);
    if rows.targets != dependencies.targets {
        best = best.or(Walk::new(&rows, &dependents).run(&sinks));
    }
    if dependencies.len() <= ORDER_TRIES_TASKS_MAX {
        // What a tree needs, and so exactly what its walk holds.
        let of_trees = sinks.iter().map(|sink| needs[*sink as usize]).max();
        let of_trees = of_trees.unwrap_or(0) as usize;
        for attempt in 0..ORDER_TRIES {
            if best.held_max <= of_trees {
                break;
            }
            let tie = |task: &u32| FxBuildHasher.hash_one((attempt, *task));
            for task in dependencies.tasks() {
                let row = rows.row_mut(task);
                row.sort_unstable_by_key(|t| (Reverse(needs[*t as usize]), tie(t)));
            }
            sinks.sort_unstable_by_key(tie);
            best = best.or(Walk::new(&rows, &dependents).run(&sinks));
        }
    }
    Ok(sizes::improve(dependencies, &dependents, best.order))
}

/// The same rows, each sorted by how many results the subgraph of a task holds at its worst; and that
/// number for each task.
fn hungriest_first(dependencies: &Edges, dependents: &Edges) -> Result<(Edges, Vec<u32>), Cycle> {
    let mut dependencies = dependencies.clone();
    let mut missing: Vec<u32> = dependencies
        .tasks()
        .map(|t| dependencies.degree(t))
        .collect();
    let mut needs = vec![1_u32; dependencies.len()];
    let mut stack: Vec<u32> = dependencies
        .tasks()
        .filter(|t| missing[*t as usize] == 0)
        .collect();
    let mut seen = 0;
    while let Some(task) = stack.pop() {
        seen += 1;
        let row = dependencies.row_mut(task);
        row.sort_by_key(|dependency| Reverse(needs[*dependency as usize]));
        let held = row
            .iter()
            .zip(0_u32..)
            .map(|(dependency, held)| needs[*dependency as usize].saturating_add(held))
            .max();
        needs[task as usize] = held.unwrap_or(1);
        for &dependent in dependents.row(task) {
            missing[dependent as usize] -= 1;
            if missing[dependent as usize] == 0 {
                stack.push(dependent);
            }
        }
    }
    if seen == dependencies.len() {
        return Ok((dependencies, needs));
    }
    let through = dependencies.tasks().find(|t| missing[*t as usize] > 0);
    Err(Cycle {
        through: through.expect("a task that was never free of dependencies"),
    })
}

/// An order, and how many results it holds at worst.
struct Walked {
    order: Vec<u32>,
    held_max: usize,
}

impl Walked {
    /// The other one, if it holds less.
    fn or(self, other: Walked) -> Walked {
        if other.held_max < self.held_max {
            other
        } else {
            self
        }
    }
}

/// The depth-first walk and what it has placed so far.
struct Walk<'a> {
    /// Rows in the order in which they are visited.
    dependencies: &'a Edges,
    dependents: &'a Edges,
    order: Vec<u32>,
    placed: Vec<bool>,
    /// Dependencies of a task that are not placed.
    missing: Vec<u32>,
    /// Dependents of a task that are not placed; at zero its result is freed.
    holders: Vec<u32>,
    /// Path from a sink: a task and the end of the part of its row that is still to be visited.
    path: Vec<(u32, u32)>,
    /// Tasks that could run and may free something.
    eager: Vec<u32>,
    /// Results that some task still needs, now and at worst.
    held: usize,
    held_max: usize,
}

impl<'a> Walk<'a> {
    fn new(dependencies: &'a Edges, dependents: &'a Edges) -> Walk<'a> {
        Walk {
            dependencies,
            dependents,
            order: Vec::with_capacity(dependencies.len()),
            placed: vec![false; dependencies.len()],
            missing: dependencies
                .tasks()
                .map(|t| dependencies.degree(t))
                .collect(),
            holders: dependencies.tasks().map(|t| dependents.degree(t)).collect(),
            path: Vec::new(),
            eager: Vec::new(),
            held: 0,
            held_max: 0,
        }
    }

    fn run(mut self, sinks: &[u32]) -> Walked {
        for &sink in sinks {
            self.place_with_dependencies(sink);
        }
        assert_eq!(
            self.order.len(),
            self.dependencies.len(),
            "every task hangs below a sink"
        );
        Walked {
            order: self.order,
            held_max: self.held_max,
        }
    }

    fn place_with_dependencies(&mut self, sink: u32) {
        self.path.push((sink, 0));
        while let Some((task, visited)) = self.path.last_mut() {
            let task = *task;
            let next = self.dependencies.row(task).get(*visited as usize);
            *visited += 1;
            match next {
                Some(&dependency) if !self.placed[dependency as usize] => {
                    self.path.push((dependency, 0));
                }
                Some(_) => {}
                None => {
                    self.path.pop();
                    self.place_and_release(task);
                }
            }
        }
    }

    /// Places the task and then whatever frees a result at once.
    fn place_and_release(&mut self, task: u32) {
        self.place(task);
        while let Some(candidate) = self.eager.pop() {
            if self.missing[candidate as usize] == 0 && self.frees_something(candidate) {
                self.place(candidate);
            }
        }
    }

    fn place(&mut self, task: u32) {
        if std::mem::replace(&mut self.placed[task as usize], true) {
            return;
        }
        self.order.push(task);
        self.held += usize::from(self.dependents.degree(task) > 0);
        self.held_max = self.held_max.max(self.held);
        for &dependency in self.dependencies.row(task) {
            self.holders[dependency as usize] -= 1;
            match self.holders[dependency as usize] {
                0 => self.held -= 1,
                1 => {
                    // Seen once for each task, so finding the last holder is linear in all.
                    let row = self.dependents.row(dependency);
                    self.eager
                        .extend(row.iter().find(|holder| !self.placed[**holder as usize]));
                }
                _ => {}
            }
        }
        for &dependent in self.dependents.row(task) {
            self.missing[dependent as usize] -= 1;
            if self.missing[dependent as usize] == 0 {
                self.eager.push(dependent);
            }
        }
    }

    fn frees_something(&self, task: u32) -> bool {
        let row = self.dependencies.row(task);
        row.iter()
            .any(|dependency| self.holders[*dependency as usize] == 1)
    }
}

#[cfg(test)]
mod tests;
