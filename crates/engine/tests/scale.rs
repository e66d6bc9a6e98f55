//! A million tasks are normal: time per task stays flat, and a queued task is small.
//!
//! Processor times are compared side by side, so that the test holds in debug builds and on busy
//! machines. One test in a process of its own, because these and allocations are counted for all of it.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Closure, Gate, PATIENCE, Threads};
use lineshaft_engine::{Body, Promise, TaskRequest, Waited, Work};
use rustix::time::{ClockId, clock_gettime};

const SMALL: usize = 10_000;
/// With optimisations the million of the promise; without, enough to see what is not linear.
const LARGE: usize = if cfg!(debug_assertions) {
    80_000
} else {
    1_000_000
};
/// Time per task may grow by this much: caches are finite. What is not linear makes it grow by
/// `LARGE / SMALL`.
const SLACK: f64 = 3.0;
/// Noise can only spoil a round, so one good round proves the point.
const ROUNDS: u32 = 3;
/// What one queued task may take on the heap, its promise and the caller's handle included.
const QUEUED_BYTES_MAX: usize = 1_000;

/// Counts the bytes that are allocated now.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn shared_body() -> Body {
    let closure: Closure = Box::new(|of| Ok(1 + of.iter().max().copied().unwrap_or(0)));
    Arc::new(closure)
}

fn request(threads: &Threads, body: &Body) -> TaskRequest {
    TaskRequest {
        work: Work::Local(Arc::clone(body)),
        ..threads.request(|_| Ok(0))
    }
}

/// Holds the only thread, so that everything else queues.
fn hold(threads: &Threads) -> Arc<Gate> {
    let gate = Gate::new();
    let held = Arc::clone(&gate);
    threads.submit(move |_| {
        held.pass();
        Ok(0)
    });
    gate
}

struct Cost {
    cpu_time: Duration,
    queued_bytes: usize,
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("not negative")
}

/// Queues tasks by `submit`, then runs them all.
fn cost(tasks: usize, submit: impl Fn(&Threads, usize) -> Vec<Arc<Promise>>) -> Cost {
    let threads = Threads::new(1);
    let gate = hold(&threads);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let began = cpu_time();
    let promises = submit(&threads, tasks);
    // Everything is taken in by the time this answers.
    assert!(threads.engine.stats().unfinished > tasks);
    let queued = ALLOCATED.load(Ordering::Relaxed) - before;
    gate.open();
    let waited = threads.engine.wait_idle(None, Some(4 * PATIENCE), None);
    let cpu_time = cpu_time().saturating_sub(began);
    assert_eq!(waited, Waited::Done);
    assert!(promises.iter().all(|promise| promise.is_done()));
    Cost {
        cpu_time,
        queued_bytes: queued / tasks,
    }
}

/// As many tasks take as long in one run as in many small ones, but for the slack.
fn check(what: &str, submit: impl Fn(&Threads, usize) -> Vec<Arc<Promise>>) {
    let mut growths = Vec::new();
    for _ in 0..ROUNDS {
        let small: Duration = (0..LARGE / SMALL)
            .map(|_| cost(SMALL, &submit).cpu_time)
            .sum();
        let large = cost(LARGE, &submit);
        assert!(large.queued_bytes < QUEUED_BYTES_MAX);
        let growth = large.cpu_time.as_secs_f64() / small.as_secs_f64();
        println!(
            "{what}: {small:?} in runs of {SMALL}, {:?} in one of {LARGE}; {} bytes per queued task",
            large.cpu_time, large.queued_bytes
        );
        if growth < SLACK {
            return;
        }
        growths.push(growth);
    }
    panic!("{what}: time per task grows {growths:.1?} times");
}

/// Each task needs its two predecessors and one far back: chains, fan-in and fan-out at once.
fn web(threads: &Threads, tasks: usize) -> Vec<Arc<Promise>> {
    let body = shared_body();
    let graph = (0..tasks).map(|index| {
        let needs = match index % 4 {
            0 => Vec::new(),
            1 => vec![index - 1],
            _ => vec![index - 1, index / 2],
        };
        (request(threads, &body), needs)
    });
    threads.engine.submit_graph(graph.collect()).expect("open")
}

#[test]
fn a_million_tasks_cost_the_same_each() {
    check("tasks one by one", |threads, tasks| {
        let body = shared_body();
        let submit = |_| {
            let task = request(threads, &body);
            threads.engine.submit(task).expect("open")
        };
        (0..tasks).map(submit).collect()
    });
    check("a graph", web);
}
