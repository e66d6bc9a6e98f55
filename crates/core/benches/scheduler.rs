//! What the scheduler itself costs for a task that does nothing: submitted, handed over, finished.
//!
//! Divan prints time per iteration and items per second; an item is a task.

use std::time::Duration;

use divan::counter::ItemsCount;
use lineshaft_core::{
    Action, GroupId, Input, Phases, PoolId, PoolSpec, Prefetch, Retries, Scheduler, TaskId,
    TaskSpec, Time, WorkerId,
};

const WORKERS: u32 = 4;
const RAN: Duration = Duration::from_nanos(500);

fn main() {
    divan::main();
}

/// All submitted one by one, then run: the queue is as long as it can be.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5, sample_size = 1)]
fn no_op_tasks(bencher: divan::Bencher, tasks: u64) {
    bencher
        .counter(ItemsCount::new(tasks))
        .with_inputs(|| {
            (0..tasks)
                .map(|task| spec(task, Vec::new()))
                .collect::<Vec<_>>()
        })
        .bench_values(|specs| {
            let mut driver = Driver::new();
            for spec in specs {
                driver.handle(Input::Submit(spec));
            }
            driver.finish_all(tasks)
        });
}

/// A binary tree reduction, submitted as one graph.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5, sample_size = 1)]
fn tree_reduction(bencher: divan::Bencher, tasks: u64) {
    bencher
        .counter(ItemsCount::new(tasks))
        .with_inputs(|| tree(tasks))
        .bench_values(|specs| {
            let mut driver = Driver::new();
            driver.handle(Input::SubmitGraph(specs));
            driver.finish_all(tasks)
        });
}

/// Only the part before the first task runs.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5, sample_size = 1)]
fn submit_tree_reduction(bencher: divan::Bencher, tasks: u64) {
    bencher
        .counter(ItemsCount::new(tasks))
        .with_inputs(|| tree(tasks))
        .bench_values(|specs| {
            let mut driver = Driver::new();
            driver.handle(Input::SubmitGraph(specs));
            driver
        });
}

/// Workers that finish everything at once.
struct Driver {
    scheduler: Scheduler,
    actions: Vec<Action>,
    now: u64,
    finished: u64,
}

impl Driver {
    fn new() -> Driver {
        let mut driver = Driver {
            scheduler: Scheduler::new(),
            actions: Vec::new(),
            now: 0,
            finished: 0,
        };
        driver.handle(Input::SetCores(WORKERS));
        driver.handle(Input::AddPool(PoolSpec {
            pool: PoolId(0),
            workers_max: WORKERS,
            cores_per_task: 1,
            prefetch: Prefetch::Long,
        }));
        for worker in 0..WORKERS {
            driver.handle(Input::WorkerUp {
                worker: WorkerId(worker),
                pool: PoolId(0),
                slots: 1,
            });
        }
        driver
    }

    fn handle(&mut self, input: Input) {
        self.now += 100;
        self.scheduler
            .handle(Time(self.now), input, &mut self.actions);
    }

    fn finish_all(mut self, tasks: u64) -> Driver {
        while self.finished < tasks {
            assert!(!self.actions.is_empty(), "something runs until all is done");
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Run { task, attempt, .. } => {
                        self.finished += 1;
                        self.handle(Input::Finished {
                            task,
                            attempt,
                            ran: RAN,
                            phases: Phases::default(),
                            bytes: 0,
                            items_raised: None,
                        });
                    }
                    Action::Retract { worker } => {
                        self.handle(Input::Retracted {
                            worker,
                            tasks: Vec::new(),
                        });
                    }
                    _ => {}
                }
            }
        }
        self
    }
}

fn spec(task: u64, dependencies: Vec<TaskId>) -> TaskSpec {
    TaskSpec {
        task: TaskId(task),
        pool: PoolId(0),
        group: GroupId(0),
        parent: None,
        dependencies,
        supplied: Vec::new(),
        priority: 0,
        retries: Retries::default(),
        timeout: None,
    }
}

/// Task `i` needs `2i + 1` and `2i + 2`, counted from the root; ids run from the leaves to it.
fn tree(tasks: u64) -> Vec<TaskSpec> {
    (0..tasks)
        .map(|id| {
            let node = tasks - 1 - id;
            let children = [2 * node + 1, 2 * node + 2]
                .into_iter()
                .filter(|child| *child < tasks);
            spec(
                id,
                children.map(|child| TaskId(tasks - 1 - child)).collect(),
            )
        })
        .collect()
}
