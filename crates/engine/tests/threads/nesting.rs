//! Calls that make calls, in their own engine and in others.

use std::sync::Arc;

use lineshaft_engine::{Promise, TaskRequest, Waited};

use crate::common::{PATIENCE, Threads, number, wait};

/// Submits a task that does the same, to the depth given, and waits for it.
pub fn nest(threads: &Threads, depth: u64) -> Arc<Promise> {
    let inside = threads.share();
    threads.submit(move |_| {
        if depth == 0 {
            return Ok(0);
        }
        let inner = nest(&inside, depth - 1);
        // Beside it, something else that has to get through.
        let beside = inside.submit(|_| Ok(1));
        Ok(inside.result(&inner) + inside.result(&beside))
    })
}

#[test]
fn tasks_that_wait_for_their_tasks_never_lock_each_other_out() {
    for workers in [1, 2] {
        for round in 0..5 {
            let threads = Threads::new(workers);
            let roots: Vec<_> = (0..=round).map(|_| nest(&threads, 50)).collect();
            for root in roots {
                assert_eq!(threads.result(&root), 50);
            }
        }
    }
}

#[test]
fn a_task_may_wait_for_a_task_of_another_engine() {
    let outer = Threads::new(1);
    let inner = Threads::new(1);
    // Tasks of both engines have the same numbers.
    for round in 0..50 {
        let (back, there) = (outer.share(), inner.share());
        let task = outer.submit(move |_| {
            let home = back.share();
            let far = there.submit(move |_| {
                let home_again = home.submit(|_| Ok(1));
                Ok(home.result(&home_again) + 1)
            });
            Ok(there.result(&far) + 1)
        });
        assert_eq!(outer.result(&task), 3, "round {round}");
    }
    drop((outer, inner));
}

#[test]
fn a_task_may_wait_until_another_pool_is_idle() {
    let threads = Threads::new(1);
    let inside = threads.share();
    let task = threads.submit(move |_| {
        let other = inside.open_pool(1);
        let tasks: Vec<_> = (0..10).map(|_| other.submit(|_| Ok(1))).collect();
        let waited = inside
            .engine
            .wait_idle(Some(other.pool), Some(PATIENCE), None);
        assert_eq!(waited, Waited::Done);
        Ok(tasks.iter().map(|task| number(task)).sum())
    });
    assert_eq!(threads.result(&task), 10);
}

#[test]
fn engines_do_not_know_each_other() {
    let engines: Vec<_> = (0..8).map(|_| Threads::new(2)).collect();
    let tasks: Vec<Vec<_>> = engines
        .iter()
        .zip(0..)
        .map(|(threads, i)| {
            (0..200)
                .map(|j| threads.submit(move |_| Ok(i * 1_000 + j)))
                .collect()
        })
        .collect();
    for (i, (threads, tasks)) in engines.iter().zip(&tasks).enumerate() {
        for (j, task) in tasks.iter().enumerate() {
            assert_eq!(threads.result(task), (i * 1_000 + j) as u64);
        }
    }
    // One may even wait on another engine's handle.
    let foreign = engines[0].submit(|_| Ok(5));
    wait(&engines[1].engine, &foreign);
    assert_eq!(number(&foreign), 5);
}

/// Ids of tasks mean nothing to another engine: one that took them for its own would run tasks too
/// early, or never.
#[test]
fn a_task_cannot_depend_on_an_unfinished_task_of_another_engine() {
    let (threads, other) = (Threads::new(1), Threads::new(1));
    let foreign = other.hold(Ok(5));
    let dependent = || TaskRequest {
        inputs: vec![Arc::clone(&foreign.task)],
        ..threads.request(|of| Ok(of[0] + 1))
    };
    let submit = std::panic::AssertUnwindSafe(|| threads.engine.submit(dependent()));
    assert!(std::panic::catch_unwind(submit).is_err());
    foreign.release();
    other.wait(&foreign.task);
    let task = threads.engine.submit(dependent()).expect("open");
    assert_eq!(threads.result(&task), 6, "a result is as good as any other");
}
