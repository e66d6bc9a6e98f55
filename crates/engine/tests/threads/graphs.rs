//! Tasks that need others, submitted one by one or as a graph.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lineshaft_engine::{TaskError, TaskRequest};

use crate::common::{Threads, error, raised};

#[test]
fn a_diamond_adds_up() {
    let threads = Threads::new(2);
    let top = threads.submit(|_| Ok(1));
    let left = threads.submit_after(&[&top], |of| Ok(of[0] * 10));
    let right = threads.submit_after(&[&top], |of| Ok(of[0] * 100));
    let bottom = threads.submit_after(&[&left, &right], |of| Ok(of[0] + of[1]));
    assert_eq!(threads.result(&bottom), 110);
}

#[test]
fn a_task_may_need_the_same_result_twice() {
    let threads = Threads::new(2);
    let one = threads.submit(|_| Ok(21));
    let twice = threads.submit_after(&[&one, &one], |of| Ok(of[0] + of[1]));
    assert_eq!(threads.result(&twice), 42);
}

#[test]
fn a_chain_of_100_000_runs_in_order() {
    let threads = Threads::new(2);
    let mut last = threads.submit(|_| Ok(0));
    for _ in 0..100_000 {
        last = threads.submit_after(&[&last], |of| Ok(of[0] + 1));
    }
    assert_eq!(threads.result(&last), 100_000);
}

#[test]
fn a_wide_fan_in_adds_up() {
    let threads = Threads::new(2);
    let parts: Vec<_> = (0..20_000)
        .map(|i| threads.submit(move |_| Ok(i)))
        .collect();
    let parts: Vec<_> = parts.iter().collect();
    let sum = threads.submit_after(&parts, |of| Ok(of.iter().sum()));
    assert_eq!(threads.result(&sum), 20_000 * 19_999 / 2);
}

#[test]
fn a_failure_fails_what_needs_it() {
    let threads = Threads::new(2);
    let broken = threads.submit(|_| Err("broken".into()));
    let ran = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&ran);
    let child = threads.submit_after(&[&broken], |of| Ok(of[0]));
    let grandchild = threads.submit_after(&[&child], move |_| {
        noted.store(true, Ordering::Relaxed);
        Ok(0)
    });
    let late = {
        threads.wait(&grandchild);
        threads.submit_after(&[&grandchild], |_| Ok(0))
    };
    for dependent in [&child, &grandchild, &late] {
        match threads.error(dependent) {
            TaskError::Dependency(root) => assert_eq!(raised(error(root)), "broken"),
            other => panic!("{other:?}"),
        }
    }
    assert!(!ran.load(Ordering::Relaxed));
}

/// Freeing it must not recurse, link by link.
#[test]
fn a_chain_of_100_000_fails_and_is_freed() {
    let threads = Threads::new(2);
    let held = threads.hold(Err("broken".into()));
    let mut chain = vec![Arc::clone(&held.task)];
    for link in 0..100_000 {
        if link == 50_000 {
            held.release(); // from here on, links are added while earlier ones fail, and after
        }
        chain.push(threads.submit_after(&[&chain[link]], |of| Ok(of[0])));
    }
    let last = chain.pop().expect("not empty");
    drop((chain, held));
    assert!(matches!(threads.error(&last), TaskError::Dependency(_)));
    drop(last);
}

fn graph(threads: &Threads, needs: &[&[usize]]) -> Vec<(TaskRequest, Vec<usize>)> {
    let of = |needs: &&[usize]| {
        let request = threads.request(|of| Ok(1 + of.iter().sum::<u64>()));
        (request, needs.to_vec())
    };
    needs.iter().map(of).collect()
}

#[test]
fn a_graph_may_name_later_tasks() {
    let threads = Threads::new(2);
    let graph = graph(&threads, &[&[1, 2], &[3], &[3], &[]]);
    let promises = threads.engine.submit_graph(graph).expect("open");
    assert_eq!(threads.result(&promises[0]), 5);
}

#[test]
fn an_empty_graph_is_one() {
    let threads = Threads::new(1);
    let nothing = threads.engine.submit_graph(Vec::new()).expect("open");
    assert!(nothing.is_empty());
}

#[test]
fn a_cycle_panics_in_the_caller_and_harms_nobody() {
    let threads = Threads::new(1);
    let cycles: [&[&[usize]]; 4] = [&[&[0]], &[&[1], &[0]], &[&[1], &[2], &[1]], &[&[7]]];
    for needs in cycles {
        let cycle = graph(&threads, needs);
        let submit = std::panic::AssertUnwindSafe(|| threads.engine.submit_graph(cycle));
        assert!(std::panic::catch_unwind(submit).is_err(), "{needs:?}");
    }
    let fine = threads.submit(|_| Ok(1));
    assert_eq!(threads.result(&fine), 1);
    assert_eq!(threads.engine.stats().unfinished, 0);
}

/// A task may be submitted before the one it needs, which is refused at once.
#[test]
fn a_graph_on_a_failed_task_fails_whatever_its_order() {
    let threads = Threads::new(1);
    let broken = threads.submit(|_| Err("broken".into()));
    threads.wait(&broken);
    let mut graph = graph(&threads, &[&[1], &[2], &[]]);
    graph[2].0.inputs.push(Arc::clone(&broken));
    let promises = threads.engine.submit_graph(graph).expect("open");
    for promise in &promises {
        assert!(matches!(threads.error(promise), TaskError::Dependency(_)));
    }
}
