//! A second opinion on an order: how much it holds, if results are not all of one size.
//!
//! A depth-first walk counts results. That is wrong where a task reads much and many others take a
//! piece of it each: the walk then begins the next root rather than take the pieces of those that are
//! held, for each piece counts as much as what it is cut from. So sizes are guessed from the shape of
//! the graph, and if an order in which roots come last holds far less by that guess, it is taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Edges;

/// An order that holds fewer than so many roots' results at once is good enough.
const ROOTS_HELD_MAX: f64 = 16.0;

/// Guesses are rough, so the other order must hold less than this share.
const SHARE_MAX: f64 = 0.5;

/// `order`, or the one that differs from it in that no root begins while anything else can run.
pub(super) fn improve(dependencies: &Edges, dependents: &Edges, order: Vec<u32>) -> Vec<u32> {
    let sizes = sizes(dependencies, dependents, &order);
    let held = held_max(dependencies, dependents, &sizes, &order);
    if held < ROOTS_HELD_MAX {
        return order;
    }
    let other = roots_last(dependencies, dependents, &order);
    if held_max(dependencies, dependents, &sizes, &other) < held * SHARE_MAX {
        other
    } else {
        order
    }
}

/// What each result is guessed to hold, that of a root being one: as much as its share in the largest
/// of those that it is made of, if that is divided among all that need it.
fn sizes(dependencies: &Edges, dependents: &Edges, order: &[u32]) -> Vec<f64> {
    let mut sizes = vec![1.0; order.len()];
    for &task in order {
        let shares = dependencies.row(task).iter().map(|&dependency| {
            sizes[dependency as usize] / f64::from(dependents.degree(dependency))
        });
        if let Some(largest) = shares.reduce(f64::max) {
            sizes[task as usize] = largest;
        }
    }
    sizes
}

/// What is held at worst, if the tasks run one by one in this order.
fn held_max(dependencies: &Edges, dependents: &Edges, sizes: &[f64], order: &[u32]) -> f64 {
    let mut holders: Vec<u32> = dependents.tasks().map(|t| dependents.degree(t)).collect();
    let (mut held, mut most) = (0.0_f64, 0.0_f64);
    for &task in order {
        if holders[task as usize] > 0 {
            held += sizes[task as usize];
            most = most.max(held);
        }
        for &dependency in dependencies.row(task) {
            holders[dependency as usize] -= 1;
            if holders[dependency as usize] == 0 {
                held -= sizes[dependency as usize];
            }
        }
    }
    most
}

/// The tasks in the order given, but that roots wait for all others that can run.
fn roots_last(dependencies: &Edges, dependents: &Edges, order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0_u32; order.len()];
    for (rank, &task) in (0..).zip(order) {
        ranks[task as usize] = rank;
    }
    let mut missing: Vec<u32> = dependencies
        .tasks()
        .map(|t| dependencies.degree(t))
        .collect();
    let mut roots = order.iter().filter(|task| dependencies.degree(**task) == 0);
    let mut ready: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut placed = Vec::with_capacity(order.len());
    loop {
        let task = match ready.pop() {
            Some(Reverse(rank)) => order[rank as usize],
            None => match roots.next() {
                Some(&root) => root,
                None => return placed,
            },
        };
        placed.push(task);
        for &dependent in dependents.row(task) {
            missing[dependent as usize] -= 1;
            if missing[dependent as usize] == 0 {
                ready.push(Reverse(ranks[dependent as usize]));
            }
        }
    }
}
