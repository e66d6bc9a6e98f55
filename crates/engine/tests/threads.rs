//! Calls of this process, through the public interface: closures on pools of threads.

#![expect(
    clippy::disallowed_methods,
    reason = "calls that take a while are what is tested"
)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Gate, PATIENCE, Seeded, Threads, error, eventually, number, raised, wait};
use lineshaft_core::Retries;
use lineshaft_engine::{
    Engine, EngineError, EventKind, Outcome, Policy, PoolKind, PoolOptions, Promise, Since,
    TaskError, TaskRequest, Waited,
};

fn retries(failures_max: u16, backoff: Duration) -> Policy {
    Policy {
        retries: Retries {
            failures_max,
            backoff,
            ..Retries::default()
        },
        ..Policy::default()
    }
}

fn timeout(timeout: Duration) -> Policy {
    Policy {
        timeout: Some(timeout),
        ..Policy::default()
    }
}

// Results and failures.

#[test]
fn a_result_arrives() {
    let threads = Threads::new(2);
    let answer = threads.submit(|_| Ok(42));
    assert_eq!(threads.result(&answer), 42);
}

#[test]
fn what_a_task_raises_arrives() {
    let threads = Threads::new(1);
    let failing = threads.submit(|_| Err("broken".into()));
    assert_eq!(raised(threads.error(&failing)), "broken");
}

#[test]
fn a_retry_runs_the_task_again() {
    let threads = Threads::new(1);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let third_time_lucky = threads.submit_with(retries(2, Duration::ZERO), move |_| match counted
        .fetch_add(1, Ordering::Relaxed)
    {
        2 => Ok(3),
        run => Err(format!("run {run}")),
    });
    assert_eq!(threads.result(&third_time_lucky), 3);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[test]
fn the_last_failure_counts() {
    let threads = Threads::new(1);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let hopeless = threads.submit_with(retries(3, Duration::ZERO), move |_| {
        Err(format!("run {}", counted.fetch_add(1, Ordering::Relaxed)))
    });
    assert_eq!(raised(threads.error(&hopeless)), "run 3");
}

#[test]
fn a_retry_waits_for_its_backoff() {
    let threads = Threads::new(1);
    let began = Instant::now();
    let policy = retries(2, Duration::from_millis(40));
    let hopeless = threads.submit_with(policy, |_| Err("again".into()));
    threads.error(&hopeless);
    // 40 ms, then 80 ms.
    assert!(began.elapsed() >= Duration::from_millis(120));
}

/// Each round a deadline appears while some thread is falling asleep: the waiting caller, or the
/// loop thread that it has just taken the poll role from. Whoever sleeps must see it.
#[test]
fn a_backoff_ends_whoever_sleeps() {
    let threads = Threads::new(1);
    for round in 0..300 {
        let tried = AtomicBool::new(false);
        let policy = retries(1, Duration::from_micros(200 + 37 * (round % 20)));
        let second = threads.submit_with(policy, move |_| {
            if tried.swap(true, Ordering::Relaxed) {
                Ok(1)
            } else {
                Err("once".into())
            }
        });
        if round % 3 == 0 {
            // Nobody waits, so the loop thread has to be the one.
            eventually("the retry", || second.is_done());
        }
        assert_eq!(threads.result(&second), 1);
    }
}

// Dependencies.

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
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let first = threads.submit(move |_| {
        held.pass();
        Err("broken".into())
    });
    let mut chain = vec![first];
    for link in 0..100_000 {
        if link == 50_000 {
            gate.open(); // from here on, links are added while earlier ones fail, and after
        }
        chain.push(threads.submit_after(&[&chain[link]], |of| Ok(of[0])));
    }
    let last = chain.pop().expect("not empty");
    drop(chain);
    assert!(matches!(threads.error(&last), TaskError::Dependency(_)));
    drop(last);
}

// Graphs.

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

// Cancelling.

#[test]
fn what_has_not_run_can_be_cancelled_and_what_runs_cannot() {
    let threads = Threads::new(1);
    let (gate, began) = (Gate::new(), Gate::new());
    let (held, begins) = (Arc::clone(&gate), Arc::clone(&began));
    let running = threads.submit(move |_| {
        begins.open();
        held.pass();
        Ok(7)
    });
    let queued: Vec<_> = (0..1_000).map(|_| threads.submit(|_| Ok(0))).collect();
    let dependent = threads.submit_after(&[&queued[0]], |_| Ok(0));
    began.pass();
    assert!(!threads.engine.cancel(&running, false));
    assert!(!threads.engine.cancel(&running, true), "threads go on");
    for task in queued.iter().rev() {
        assert!(threads.engine.cancel(task, false));
        assert!(threads.engine.cancel(task, false), "twice is once");
        assert!(matches!(error(task), TaskError::Cancelled));
    }
    assert!(matches!(error(&dependent), TaskError::Dependency(_)));
    gate.open();
    assert_eq!(threads.result(&running), 7);
    assert!(!threads.engine.cancel(&running, false), "it has ended");
}

#[test]
fn cancelling_all_spares_what_runs() {
    let threads = Threads::new(1);
    let (gate, began) = (Gate::new(), Gate::new());
    let (held, begins) = (Arc::clone(&gate), Arc::clone(&began));
    let running = threads.submit(move |_| {
        begins.open();
        held.pass();
        Ok(7)
    });
    let queued: Vec<_> = (0..100).map(|_| threads.submit(|_| Ok(0))).collect();
    began.pass();
    threads.engine.cancel_all(Some(threads.pool), false);
    for task in &queued {
        assert!(matches!(threads.error(task), TaskError::Cancelled));
    }
    gate.open();
    assert_eq!(threads.result(&running), 7);
}

// Order.

#[test]
fn greater_priority_runs_earlier() {
    let threads = Threads::new(1);
    let (gate, began) = (Gate::new(), Gate::new());
    let (held, begins) = (Arc::clone(&gate), Arc::clone(&began));
    let first = threads.submit(move |_| {
        begins.open();
        held.pass();
        Ok(0)
    });
    began.pass();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for priority in [0, 3, -1, 2, 1] {
        let ran = Arc::clone(&ran);
        let policy = Policy {
            priority,
            ..Policy::default()
        };
        tasks.push(threads.submit_with(policy, move |_| {
            ran.lock().expect("no panic").push(priority);
            Ok(0)
        }));
    }
    gate.open();
    threads.wait(&first);
    for task in &tasks {
        threads.wait(task);
    }
    let ran = ran.lock().expect("no panic").clone();
    // The one that was handed over before the others came is not taken back.
    let sorted: Vec<i32> = ran
        .iter()
        .copied()
        .filter(|priority| *priority != 0)
        .collect();
    assert_eq!(sorted, [3, 2, 1, -1], "{ran:?}");
}

// Time limits.

#[test]
fn a_call_beyond_its_time_limit_fails_and_its_thread_is_replaced() {
    let threads = Threads::new(1);
    for _ in 0..3 {
        let gate = Gate::new();
        let held = Arc::clone(&gate);
        let endless = threads.submit_with(timeout(Duration::from_millis(20)), move |_| {
            held.pass();
            Ok(1)
        });
        let next = threads.submit(|_| Ok(2));
        assert!(matches!(
            threads.error(&endless),
            TaskError::TimedOut { stack: None }
        ));
        assert_eq!(threads.result(&next), 2, "while the first still runs");
        gate.open();
    }
    let after = threads.submit(|_| Ok(3));
    assert_eq!(threads.result(&after), 3);
    assert!(matches!(
        threads.engine.wait_idle(None, Some(PATIENCE), None),
        Waited::Done
    ));
}

#[test]
fn a_time_limit_counts_from_the_start_of_the_call() {
    let threads = Threads::new(1);
    let slow = threads.submit(|_| {
        thread::sleep(Duration::from_millis(120));
        Ok(1)
    });
    let behind = threads.submit_with(timeout(Duration::from_millis(60)), |_| Ok(2));
    assert_eq!(threads.result(&behind), 2);
    assert_eq!(threads.result(&slow), 1);
}

#[test]
fn running_out_of_time_can_be_retried() {
    let threads = Threads::new(1);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let policy = Policy {
        timeout: Some(Duration::from_millis(30)),
        ..retries(1, Duration::ZERO)
    };
    let second_is_fast = threads.submit_with(policy, move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(150));
            Ok(1)
        } else {
            Ok(2)
        }
    });
    assert_eq!(threads.result(&second_is_fast), 2);
}

// Nesting.

/// Submits a task that does the same, to the depth given, and waits for it.
fn nest(threads: &Threads, depth: u64) -> Arc<Promise> {
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
        let pool = inside
            .engine
            .open_pool(common::thread_pool(1))
            .expect("open");
        let other = Threads {
            pool,
            ..inside.share()
        };
        let tasks: Vec<_> = (0..10).map(|_| other.submit(|_| Ok(1))).collect();
        let waited = inside.engine.wait_idle(Some(pool), Some(PATIENCE), None);
        assert_eq!(waited, Waited::Done);
        Ok(tasks.iter().map(|task| number(task)).sum())
    });
    assert_eq!(threads.result(&task), 10);
}

// Defects of others.

#[test]
fn a_panic_of_the_runner_costs_its_call_only() {
    let threads = Threads::new(1);
    for _ in 0..3 {
        let lost = threads.submit(|_| panic!("in a test, on purpose"));
        let next = threads.submit(|_| Ok(1));
        assert!(matches!(threads.error(&lost), TaskError::Transfer(_)));
        assert_eq!(threads.result(&next), 1);
    }
    // What the panicking call was is forgotten: this one is not taken for nested in it.
    assert_eq!(threads.result(&nest(&threads, 3)), 3);
}

#[test]
fn a_panic_of_a_callback_harms_nobody() {
    let threads = Threads::new(1);
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let task = threads.submit(move |_| {
        held.pass();
        Ok(1)
    });
    let called = Arc::new(AtomicUsize::new(0));
    for index in 0..3 {
        let called = Arc::clone(&called);
        task.on_done(move || {
            called.fetch_add(1, Ordering::Relaxed);
            assert!(index == 2, "in a test, on purpose");
        });
    }
    gate.open();
    assert_eq!(threads.result(&task), 1);
    eventually("all callbacks", || called.load(Ordering::Relaxed) == 3);
    let next = threads.submit(|_| Ok(2));
    assert_eq!(threads.result(&next), 2);
}

#[test]
fn a_panic_of_a_check_leaves_the_others_a_leader() {
    let threads = Threads::new(2);
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let task = threads.submit(move |_| {
        held.pass();
        Ok(1)
    });
    let waits = |panics: bool| {
        let (threads, task) = (threads.share(), Arc::clone(&task));
        thread::spawn(move || {
            let mut check = move || {
                assert!(!panics, "in a test, on purpose");
                false
            };
            threads.engine.wait(&task, Some(PATIENCE), Some(&mut check))
        })
    };
    let leader = waits(false);
    thread::sleep(Duration::from_millis(20));
    let follower = waits(true);
    assert!(follower.join().is_err());
    thread::sleep(Duration::from_millis(20));
    gate.open();
    assert_eq!(leader.join().expect("no panic"), Waited::Done);
}

/// What a caller gave may call the engine when it is dropped.
#[test]
fn bodies_and_results_are_dropped_without_the_lock() {
    struct Nosy(Threads);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.engine.stats();
            let task = self.0.submit(|_| Ok(0));
            self.0.engine.cancel(&task, false);
        }
    }
    let threads = Threads::new(1);
    let gate = Gate::new();
    let mut tasks = Vec::new();
    let nosy = || Nosy(threads.share());
    let held = Arc::clone(&gate);
    tasks.push(threads.submit(move |_| {
        held.pass();
        Ok(0)
    }));
    for index in 0..10 {
        let (body, held) = (nosy(), Arc::clone(&gate));
        tasks.push(threads.submit_with(timeout(PATIENCE), move |_| {
            let _body = &body;
            held.pass();
            if index % 2 == 0 {
                Ok(1)
            } else {
                Err("odd".into())
            }
        }));
    }
    threads.engine.cancel(&tasks[9], false);
    gate.open();
    for task in &tasks {
        threads.wait(task);
    }
    let pool = threads.pool;
    let late = nosy();
    threads.engine.close_pool(pool);
    let refused = threads.submit(move |_| {
        let _body = &late;
        Ok(0)
    });
    assert!(matches!(threads.error(&refused), TaskError::Cancelled));
}

#[test]
fn a_panic_inside_ends_every_promise() {
    let threads = Threads::new(2);
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let running = threads.submit(move |_| {
        held.pass();
        Ok(0)
    });
    let queued: Vec<_> = (0..100).map(|_| threads.submit(|_| Ok(0))).collect();
    let waiting = threads.submit_after(&[&running], |_| Ok(0));
    let waiter = {
        let (threads, running) = (threads.share(), Arc::clone(&running));
        thread::spawn(move || threads.engine.wait(&running, Some(PATIENCE), None))
    };
    let idle_waiter = {
        let threads = threads.share();
        thread::spawn(move || threads.engine.wait_idle(None, Some(PATIENCE), None))
    };
    thread::sleep(Duration::from_millis(20));
    threads.engine.panic_inside("in a test, on purpose");
    assert_eq!(waiter.join().expect("no panic"), Waited::Done);
    assert_eq!(idle_waiter.join().expect("no panic"), Waited::Done);
    for task in [&running, &waiting] {
        match error(task) {
            TaskError::Poisoned(message) => assert_eq!(message, "in a test, on purpose"),
            other => panic!("{other:?}"),
        }
    }
    for task in &queued {
        threads.wait(task); // some had run before
    }
    let request = threads.request(|_| Ok(0));
    match threads.engine.submit(request) {
        Err(EngineError::Poisoned(message)) => assert_eq!(message, "in a test, on purpose"),
        other => panic!("{other:?}"),
    }
    assert!(threads.engine.open_pool(common::thread_pool(1)).is_err());
    assert!(!threads.engine.cancel(&running, true));
    assert_eq!(threads.engine.stats().unfinished, 0);
    gate.open();
    threads.engine.shut_down();
}

/// Panics at a random moment, while several threads submit, wait and cancel.
#[test]
fn nobody_hangs_on_an_engine_that_breaks() {
    for seed in 0..60 {
        let threads = Threads::new(2);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let threads = threads.share();
                thread::spawn(move || {
                    let mut random = Seeded(seed * 4 + caller);
                    let mut last: Option<Arc<Promise>> = None;
                    loop {
                        let request = TaskRequest {
                            inputs: last.iter().cloned().collect(),
                            ..threads.request(|_| Ok(0))
                        };
                        let Ok(task) = threads.engine.submit(request) else {
                            return;
                        };
                        if random.below(3) == 0 {
                            threads.wait(&task);
                        } else if random.below(5) == 0 {
                            threads.engine.cancel(&task, false);
                        }
                        last = (random.below(2) == 0).then_some(task);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_micros(500 + 150 * seed));
        threads.engine.panic_inside("in a test, on purpose");
        for caller in callers {
            caller.join().expect("no panic");
        }
    }
}

// Pools.

#[test]
fn a_closed_pool_runs_what_it_has_and_takes_no_more() {
    let threads = Threads::new(1);
    let tasks: Vec<_> = (0..100).map(|i| threads.submit(move |_| Ok(i))).collect();
    threads.engine.close_pool(threads.pool);
    threads.engine.close_pool(threads.pool);
    let refused = threads.submit(|_| Ok(0));
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(threads.result(task), i);
    }
    assert!(matches!(threads.error(&refused), TaskError::Cancelled));
    let empty = threads
        .engine
        .open_pool(common::thread_pool(3))
        .expect("open");
    threads.engine.close_pool(empty);
    let nobody_is_there = Threads {
        pool: empty,
        ..threads.share()
    };
    let refused = nobody_is_there.submit(|_| Ok(0));
    assert!(matches!(threads.error(&refused), TaskError::Cancelled));
}

#[test]
fn a_pool_may_have_fewer_threads_than_calls() {
    let threads = Threads::with(PoolOptions {
        name: "narrow".into(),
        workers: 64,
        kind: PoolKind::Threads {
            runner: Arc::new(common::Closures),
            threads_max: Some(1),
            takes_core: false,
        },
    });
    let seen = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let seen = Arc::clone(&seen);
            threads.submit(move |_| {
                seen.lock()
                    .expect("no panic")
                    .insert(thread::current().id());
                Ok(1)
            })
        })
        .collect();
    let sum: u64 = tasks.iter().map(|task| threads.result(task)).sum();
    assert_eq!(sum, 500);
    assert_eq!(seen.lock().expect("no panic").len(), 1);
}

#[test]
fn a_pool_for_waiting_runs_more_calls_than_cores() {
    let threads = Threads::with(PoolOptions {
        name: "wide".into(),
        workers: 32,
        kind: PoolKind::Threads {
            runner: Arc::new(common::Closures),
            threads_max: None,
            takes_core: false,
        },
    });
    let met = Arc::new(std::sync::Barrier::new(32));
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let met = Arc::clone(&met);
            threads.submit(move |_| {
                met.wait();
                Ok(1)
            })
        })
        .collect();
    let sum: u64 = tasks.iter().map(|task| threads.result(task)).sum();
    assert_eq!(sum, 32);
}

#[test]
fn two_pools_share_the_cores() {
    let threads = Threads::new(2);
    let other = Threads {
        pool: threads
            .engine
            .open_pool(common::thread_pool(2))
            .expect("open"),
        ..threads.share()
    };
    let running = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let running = Arc::clone(&running);
            [&threads, &other][i % 2].submit(move |_| {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                thread::sleep(Duration::from_micros(200));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(now as u64)
            })
        })
        .collect();
    let most = tasks.iter().map(|task| threads.result(task)).max();
    // Calls handed ahead may overlap by the moment between the end of one and its report.
    assert!(most <= Some(4), "{most:?} at a time");
}

// Waiting.

#[test]
fn a_wait_may_run_out_of_time() {
    let threads = Threads::new(1);
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let task = threads.submit(move |_| {
        held.pass();
        Ok(1)
    });
    let wait = |millis| {
        let timeout = Some(Duration::from_millis(millis));
        threads.engine.wait(&task, timeout, None)
    };
    assert_eq!(wait(0), Waited::TimedOut);
    let began = Instant::now();
    assert_eq!(wait(30), Waited::TimedOut);
    assert!(began.elapsed() >= Duration::from_millis(30));
    let idle = threads
        .engine
        .wait_idle(None, Some(Duration::from_millis(10)), None);
    assert_eq!(idle, Waited::TimedOut);
    gate.open();
    assert_eq!(threads.result(&task), 1);
    assert_eq!(wait(0), Waited::Done);
}

/// Leader and followers: each thread waits for its own promises, which finish in random order, so
/// that the leader changes all the time.
#[test]
fn many_threads_wait_at_once() {
    const WAITERS: u64 = 16;
    const ROUNDS: u64 = 150;
    let threads = Threads::new(2);
    let waiters: Vec<_> = (0..WAITERS)
        .map(|waiter| {
            let threads = threads.share();
            thread::spawn(move || {
                let mut random = Seeded(waiter);
                for round in 0..ROUNDS {
                    let tasks: Vec<_> = (0..=random.below(4))
                        .map(|_| {
                            let micros = random.below(80);
                            threads.submit(move |_| {
                                let until = Instant::now() + Duration::from_micros(micros);
                                while Instant::now() < until {
                                    std::hint::spin_loop();
                                }
                                Ok(round)
                            })
                        })
                        .collect();
                    for task in &tasks {
                        if random.below(8) == 0 {
                            // Somebody who gives up early must not take the others' wake-up along.
                            let soon = Some(Duration::from_micros(random.below(60)));
                            threads.engine.wait(task, soon, None);
                        }
                        assert_eq!(threads.result(task), round);
                    }
                }
            })
        })
        .collect();
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
}

#[test]
fn all_wait_for_one() {
    let threads = Threads::new(1);
    for _ in 0..100 {
        let gate = Gate::new();
        let held = Arc::clone(&gate);
        let task = threads.submit(move |_| {
            held.pass();
            Ok(1)
        });
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let (threads, task) = (threads.share(), Arc::clone(&task));
                thread::spawn(move || threads.result(&task))
            })
            .collect();
        gate.open();
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), 1);
        }
    }
}

/// Idle waiters and task waiters change places as leader while tasks end.
#[test]
fn waiting_for_idleness_beside_waiting_for_tasks() {
    let threads = Threads::new(2);
    for round in 0..300 {
        let tasks: Vec<_> = (0..4).map(|i| threads.submit(move |_| Ok(i))).collect();
        let idle = {
            let threads = threads.share();
            thread::spawn(move || threads.engine.wait_idle(None, Some(PATIENCE), None))
        };
        for task in &tasks {
            threads.wait(task);
        }
        assert_eq!(
            idle.join().expect("no panic"),
            Waited::Done,
            "round {round}"
        );
    }
}

#[test]
fn a_callback_comes_once_whenever_it_is_added() {
    let threads = Threads::new(2);
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..500 {
        let task = threads.submit(|_| Ok(1));
        for _ in 0..3 {
            let called = Arc::clone(&called);
            task.on_done(move || {
                called.fetch_add(1, Ordering::Relaxed);
            });
        }
        threads.wait(&task);
    }
    eventually("all callbacks", || called.load(Ordering::Relaxed) == 1_500);
}

// The end.

#[test]
fn shutting_down_cancels_what_is_left() {
    let threads = Threads::new(1);
    let (gate, began) = (Gate::new(), Gate::new());
    let (held, begins) = (Arc::clone(&gate), Arc::clone(&began));
    let running = threads.submit(move |_| {
        begins.open();
        held.pass();
        Ok(1)
    });
    let ran = Arc::new(AtomicBool::new(false));
    let queued: Vec<_> = (0..50)
        .map(|_| {
            let ran = Arc::clone(&ran);
            threads.submit(move |_| {
                ran.store(true, Ordering::Relaxed);
                Ok(0)
            })
        })
        .collect();
    began.pass();
    threads.engine.shut_down();
    threads.engine.shut_down();
    for task in queued.iter().chain([&running]) {
        assert!(matches!(error(task), TaskError::Cancelled));
    }
    assert!(threads.engine.is_closed());
    let request = threads.request(|_| Ok(0));
    assert!(matches!(
        threads.engine.submit(request),
        Err(EngineError::Closed)
    ));
    gate.open();
    thread::sleep(Duration::from_millis(20));
    assert!(!ran.load(Ordering::Relaxed), "cancelled tasks never run");
}

#[test]
fn nobody_hangs_when_an_engine_shuts_down_under_them() {
    for seed in 0..100 {
        let threads = Threads::new(2);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let threads = threads.share();
                thread::spawn(move || {
                    let mut random = Seeded(seed * 4 + caller);
                    loop {
                        let Ok(task) = threads.engine.submit(threads.request(|_| Ok(0))) else {
                            return;
                        };
                        match random.below(4) {
                            0 => threads.wait(&task),
                            1 => {
                                let dependent = threads.request(|_| Ok(0));
                                let dependent = TaskRequest {
                                    inputs: vec![Arc::clone(&task)],
                                    ..dependent
                                };
                                if let Ok(dependent) = threads.engine.submit(dependent) {
                                    threads.wait(&dependent);
                                }
                            }
                            2 => {
                                threads.engine.wait_idle(None, Some(PATIENCE), None);
                            }
                            _ => {
                                if let Ok(pool) = threads.engine.open_pool(common::thread_pool(1)) {
                                    let other = Threads {
                                        pool,
                                        ..threads.share()
                                    };
                                    if let Ok(task) = other.engine.submit(other.request(|_| Ok(0)))
                                    {
                                        other.wait(&task);
                                    }
                                    threads.engine.close_pool(pool);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_micros(200 + 50 * seed));
        threads.engine.shut_down();
        for caller in callers {
            caller.join().expect("no panic");
        }
    }
}

#[test]
fn an_engine_may_be_shut_down_by_its_own_task_or_callback() {
    let threads = Threads::new(1);
    let inside = threads.share();
    let task = threads.submit(move |_| {
        inside.engine.shut_down();
        Ok(1)
    });
    threads.wait(&task);

    let threads = Threads::new(1);
    let task = threads.submit(|_| Ok(1));
    let inside = threads.share();
    let (done, seen) = (Gate::new(), Gate::new());
    let opens = Arc::clone(&done);
    task.on_done(move || {
        inside.engine.shut_down();
        opens.open();
    });
    seen.open();
    done.pass();
}

#[test]
fn dropping_the_engine_ends_its_tasks() {
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let threads = Threads::new(1);
    let running = threads.submit(move |_| {
        held.pass();
        Ok(1)
    });
    let queued = threads.submit(|_| Ok(1));
    drop(threads);
    assert!(matches!(error(&running), TaskError::Cancelled));
    assert!(matches!(error(&queued), TaskError::Cancelled));
    gate.open();
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
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    let foreign = other.submit(move |_| {
        held.pass();
        Ok(5)
    });
    let dependent = || TaskRequest {
        inputs: vec![Arc::clone(&foreign)],
        ..threads.request(|of| Ok(of[0] + 1))
    };
    let submit = std::panic::AssertUnwindSafe(|| threads.engine.submit(dependent()));
    assert!(std::panic::catch_unwind(submit).is_err());
    gate.open();
    wait(&other.engine, &foreign);
    let task = threads.engine.submit(dependent()).expect("open");
    assert_eq!(threads.result(&task), 6, "a result is as good as any other");
}

#[test]
fn an_engine_without_processes_says_so() {
    let engine = Engine::new(common::options(1)).expect("starts");
    let pool = engine
        .open_pool(PoolOptions {
            name: "processes".into(),
            workers: 1,
            kind: PoolKind::Processes {
                initializer: None,
                definitions: Vec::new(),
                tasks_per_worker_max: None,
                growth_bytes_max: None,
            },
        })
        .expect("opens");
    let code = engine.code("f", lineshaft_engine::Payload::inline(b""), Vec::new());
    let task = engine
        .submit(TaskRequest {
            pool,
            group: engine.group("f"),
            work: lineshaft_engine::Work::Remote {
                code,
                definitions: Vec::new(),
                args: lineshaft_engine::Payload::inline(b""),
                each: false,
            },
            inputs: Vec::new(),
            policy: Policy::default(),
        })
        .expect("open");
    wait(&engine, &task);
    match task.outcome() {
        Some(Outcome::Error(TaskError::PoolBroken(Err(why)))) => {
            assert!(why.contains("without worker processes"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_on_a_thread_outlives_being_killed_and_so_does_its_pool() {
    let threads = Threads::new(1);
    for kill in [
        (|threads, running| assert!(!threads.engine.cancel(running, true)))
            as fn(&Threads, &Promise),
        |threads, _| threads.engine.cancel_all(None, true),
        |threads, running| {
            threads
                .engine
                .cancel_within(running.task()..=running.task(), true);
        },
    ] {
        let (entered, gate) = (Gate::new(), Gate::new());
        let (enter, held) = (Arc::clone(&entered), Arc::clone(&gate));
        let running = threads.submit(move |_| {
            enter.open();
            held.pass();
            Ok(1)
        });
        entered.pass();
        kill(&threads, &running);
        let next = threads.submit(|_| Ok(2));
        gate.open();
        assert_eq!(threads.result(&running), 1);
        assert_eq!(threads.result(&next), 2);
    }
}

// What the engine says about itself.

#[test]
fn a_task_says_what_it_does_and_what_it_waits_for() {
    let threads = Threads::new(1);
    let (entered, gate) = (Gate::new(), Gate::new());
    let (enter, held) = (Arc::clone(&entered), Arc::clone(&gate));
    let running = threads.submit(move |_| {
        enter.open();
        held.pass();
        Err("broken".into())
    });
    entered.pass();
    let next = threads.submit(|_| Ok(0));
    let last = threads.submit(|_| Ok(0));
    let dependent = threads.submit_after(&[&running, &last], |_| Ok(0));
    let explain = |task: &Promise| threads.engine.explain(task);
    assert_eq!(explain(&running), "it runs on a thread of this process");
    assert_eq!(
        explain(&next),
        "it was handed to a thread of this process and runs there after what runs now"
    );
    assert_eq!(
        explain(&last),
        "it is the next of its pool; all workers of the pool are busy"
    );
    let names = [&running, &last].map(|task| format!("test (task {})", task.task().0));
    assert_eq!(
        explain(&dependent),
        format!("it waits for 2 other tasks: {}", names.join(", "))
    );
    gate.open();
    wait(&threads.engine, &next);
    assert_eq!(explain(&next), "it has ended");
}

#[test]
fn events_tell_in_order_what_happened() {
    let threads = Threads::new(1);
    let first = threads.submit(|_| Ok(1));
    let second = threads.submit_after(&[&first], |of| Ok(of[0] + 1));
    assert_eq!(threads.result(&second), 2);
    let Since::Batch { events, next } = threads.engine.events(0, usize::MAX) else {
        panic!("a few events fit the log");
    };
    let of_second: Vec<EventKind> = events
        .iter()
        .map(|event| event.kind)
        .filter(|kind| format!("{kind:?}").contains(&format!("{:?}", second.task())))
        .collect();
    assert!(matches!(
        of_second[..],
        [
            EventKind::Submitted { .. },
            EventKind::Ready { .. },
            EventKind::Assigned { .. },
            EventKind::Finished { .. },
        ]
    ));
    assert!(events.is_sorted_by_key(|event| event.at));
    let nothing = Since::Batch {
        events: Vec::new(),
        next,
    };
    assert_eq!(threads.engine.events(next, 10), nothing);
}
