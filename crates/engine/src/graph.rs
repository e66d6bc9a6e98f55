//! Graphs as callers submit them: tasks that name each other by index.

use crate::options::TaskRequest;

/// An order in which every task comes after those it needs; none if the graph is in such an order as
/// it is, the common case, which takes one look at each edge.
///
/// Panics if there is none, or if an index is out of range: both are errors of the program.
pub(crate) fn topological_order(graph: &[(TaskRequest, Vec<usize>)]) -> Option<Vec<usize>> {
    let mut backwards = true;
    for (index, (_, needs)) in graph.iter().enumerate() {
        for &need in needs {
            assert!(
                need < graph.len(),
                "task {index} of the graph needs task {need}, but there are only {}",
                graph.len()
            );
            backwards &= need < index;
        }
    }
    if backwards {
        return None;
    }
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); graph.len()];
    let mut missing: Vec<usize> = Vec::with_capacity(graph.len());
    for (index, (_, needs)) in graph.iter().enumerate() {
        missing.push(needs.len());
        for &need in needs {
            dependents[need].push(index);
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(graph.len());
    order.extend((0..graph.len()).filter(|&index| missing[index] == 0));
    let mut done = 0;
    while let Some(&index) = order.get(done) {
        done += 1;
        for &dependent in &dependents[index] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    if let Some(stuck) = missing.iter().position(|&missing| missing > 0) {
        panic!("the graph has a cycle: task {stuck} needs itself, or one that does");
    }
    Some(order)
}
