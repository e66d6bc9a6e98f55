//! What the engine costs for a task that does nothing, on threads of this process.
//!
//! Divan prints time per iteration and items per second; an item is a task. The time per task is
//! printed beside it, after each bench.

use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use lineshaft_core::{GroupId, PoolId};
use lineshaft_engine::{
    Body, CallEnd, Calls, Engine, EngineOptions, Outcome, Policy, PoolKind, PoolOptions, Promise,
    Runner, Silent, TaskRequest, Waited, Work,
};

fn main() {
    divan::main();
}

type Closure = fn(u64) -> u64;

struct Closures;

impl Runner for Closures {
    fn run(&self, calls: &mut Calls<'_>) {
        while let Some(call) = calls.next() {
            let sum = call.inputs().iter().map(|input| number(input)).sum();
            let closure: &Closure = call.body().downcast_ref().expect("a closure");
            let (value, ran) = call.enter(|| closure(sum));
            let value = Box::new(value);
            call.finish(
                CallEnd::Value {
                    value,
                    portable: None,
                },
                ran,
            );
        }
    }
}

fn number(promise: &Promise) -> u64 {
    match promise.outcome() {
        Some(Outcome::Local { value, .. }) => *value.downcast_ref().expect("a number"),
        other => panic!("no result: {other:?}"),
    }
}

struct Bench {
    engine: Engine,
    pool: PoolId,
    group: GroupId,
    body: Body,
}

impl Bench {
    fn new(workers: u32) -> Bench {
        let engine = Engine::new(EngineOptions {
            cores: workers,
            memory_bytes: 1 << 30,
            spill_dir: std::env::temp_dir(),
            zygote: None,
            observer: Arc::new(Silent),
        })
        .expect("an engine starts");
        let pool = engine
            .open_pool(PoolOptions {
                name: "bench".into(),
                workers,
                kind: PoolKind::Threads {
                    runner: Arc::new(Closures),
                    threads_max: None,
                    takes_core: true,
                    stack_bytes: None,
                    idle_max: None,
                },
            })
            .expect("a pool opens");
        let group = engine.group("", "bench");
        let closure: Closure = |sum| sum + 1;
        Bench {
            engine,
            pool,
            group,
            body: Arc::new(closure),
        }
    }

    fn request(&self, inputs: Vec<Arc<Promise>>) -> TaskRequest {
        TaskRequest {
            pool: self.pool,
            group: self.group,
            work: Work::Local(Arc::clone(&self.body)),
            inputs,
            policy: Policy::default(),
        }
    }

    fn submit(&self, inputs: Vec<Arc<Promise>>) -> Arc<Promise> {
        self.engine.submit(self.request(inputs)).expect("open")
    }

    fn wait(&self, promise: &Promise) {
        assert_eq!(self.engine.wait(promise, None, None), Waited::Done);
    }

    /// Runs `work` and prints what each of its tasks took.
    fn timed(what: &str, tasks: u64, work: impl FnOnce()) {
        let began = Instant::now();
        work();
        let nanos = began.elapsed().as_nanos() / u128::from(tasks);
        eprintln!("{what}: {nanos} ns per task, {tasks} tasks");
    }
}

/// Submitted, handed to a thread, run, waited for.
#[divan::bench(args = [1, 2], sample_count = 20, sample_size = 500)]
fn round_trip(bencher: divan::Bencher, workers: u32) {
    let bench = Bench::new(workers);
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| bench.wait(&bench.submit(Vec::new())));
}

/// Submitted one by one, then waited for.
#[divan::bench(args = [100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn no_op_tasks(bencher: divan::Bencher, tasks: u64) {
    let bench = Bench::new(2);
    bencher.counter(ItemsCount::new(tasks)).bench_local(|| {
        Bench::timed("one by one", tasks, || {
            let promises: Vec<_> = (0..tasks).map(|_| bench.submit(Vec::new())).collect();
            for promise in &promises {
                bench.wait(promise);
            }
        });
    });
}

/// A binary tree over so many leaves, submitted as one graph.
#[divan::bench(args = [50_000, 500_000], sample_count = 3, sample_size = 1)]
fn tree_reduction(bencher: divan::Bencher, leaves: usize) {
    let bench = Bench::new(2);
    let tasks = 2 * leaves - 1;
    bencher.counter(ItemsCount::new(tasks)).bench_local(|| {
        Bench::timed("tree", tasks as u64, || {
            let graph = (0..tasks).map(|index| {
                let needs = if index < leaves {
                    Vec::new()
                } else {
                    // Level above level, each task adds up two of the level below.
                    let left = 2 * (index - leaves);
                    vec![left, left + 1]
                };
                (bench.request(Vec::new()), needs)
            });
            let promises = bench.engine.submit_graph(graph.collect()).expect("open");
            bench.wait(promises.last().expect("not empty"));
        });
    });
}
