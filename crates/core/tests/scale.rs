//! A million tasks are normal: time per task stays flat and memory small.
//!
//! Processor times of this thread are compared, side by side, so that the tests hold in debug builds and
//! on busy machines.

use std::time::Duration;

use lineshaft_core::{
    Action, GroupId, Input, Phases, PoolId, PoolSpec, Prefetch, Retries, Scheduler, TaskId,
    TaskSpec, Time, WorkerId,
};
use rustix::time::{ClockId, clock_gettime};

/// The large runs are so many times the small ones.
const FACTOR: u64 = 16;
const SMALL: u64 = 8_192;
const LARGE: u64 = SMALL * FACTOR;
/// Time per task may grow by this much: caches are finite. What is not linear makes it grow by
/// `FACTOR`.
const SLACK: f64 = 3.0;
/// Noise can only spoil a round, so one good round proves the point.
const ROUNDS: u32 = 5;

struct Driver {
    scheduler: Scheduler,
    actions: Vec<Action>,
    now: u64,
}

impl Driver {
    fn new(workers: u32) -> Driver {
        let mut driver = Driver {
            scheduler: Scheduler::new(),
            actions: Vec::new(),
            now: 0,
        };
        driver.handle(Input::AddPool(PoolSpec {
            pool: PoolId(0),
            workers_max: workers,
            cores_per_task: 1,
            prefetch: Prefetch::Long,
        }));
        for worker in 0..workers {
            driver.handle(Input::WorkerUp {
                worker: WorkerId(worker),
                pool: PoolId(0),
                slots: 1,
            });
        }
        driver
    }

    fn handle(&mut self, input: Input) {
        self.now += 1_000;
        self.scheduler
            .handle(Time(self.now), input, &mut self.actions);
    }

    /// Finishes whatever runs until all have ended. Returns how many did and the orders in total.
    fn run_all(&mut self) -> (u64, u64) {
        let (mut ended, mut orders) = (0, 0);
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                orders += 1;
                match action {
                    Action::Run { task, attempt, .. } => {
                        let ran = Duration::from_micros(3);
                        self.handle(Input::Finished {
                            task,
                            attempt,
                            ran,
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
                    Action::Resolve { .. } | Action::Reject { .. } => ended += 1,
                    _ => {}
                }
            }
        }
        (ended, orders)
    }
}

fn spec(task: u64, dependencies: impl IntoIterator<Item = u64>) -> TaskSpec {
    TaskSpec {
        task: TaskId(task),
        pool: PoolId(0),
        group: GroupId(0),
        parent: None,
        dependencies: dependencies.into_iter().map(TaskId).collect(),
        supplied: Vec::new(),
        priority: 0,
        retries: Retries::default(),
        timeout: None,
    }
}

/// Task `i` of a tree counted from the root needs `2i + 1` and `2i + 2`; ids run towards the root.
fn tree(tasks: u64) -> Vec<TaskSpec> {
    let children = |id| {
        let node = tasks - 1 - id;
        [2 * node + 1, 2 * node + 2]
            .into_iter()
            .filter(move |child| *child < tasks)
    };
    (0..tasks)
        .map(|id| spec(id, children(id).map(|child| tasks - 1 - child)))
        .collect()
}

/// The processor time that this thread takes for something. Time that others take is not in it.
fn cpu_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("not negative")
    };
    let start = now();
    work();
    now().saturating_sub(start)
}

/// As many tasks take as long in one run as in many small ones, but for the slack.
fn check_flat(name: &str, mut run: impl FnMut(u64) -> Duration) {
    let mut growths = Vec::new();
    for _ in 0..ROUNDS {
        let small: Duration = (0..FACTOR).map(|_| run(SMALL)).sum();
        let growth = run(LARGE).as_secs_f64() / small.as_secs_f64();
        growths.push(growth);
        if growth < SLACK {
            return;
        }
    }
    panic!("{name}: time per task grows {growths:.1?} times from {SMALL} to {LARGE} tasks");
}

#[test]
fn time_per_single_task_is_flat() {
    check_flat("single tasks", |tasks| {
        let mut driver = Driver::new(8);
        cpu_time(|| {
            for task in 0..tasks {
                driver.handle(Input::Submit(spec(task, [])));
            }
            let (ended, orders) = driver.run_all();
            assert_eq!(ended, tasks);
            assert!(
                orders < tasks * 2 + 1_000,
                "{orders} orders for {tasks} tasks"
            );
        })
    });
}

#[test]
fn time_per_task_of_a_graph_is_flat() {
    check_flat("tree reduction", |tasks| {
        let specs = tree(tasks);
        let mut driver = Driver::new(8);
        cpu_time(|| {
            driver.handle(Input::SubmitGraph(specs));
            assert_eq!(driver.run_all().0, tasks);
        })
    });
}

#[test]
fn time_per_cancelled_task_is_flat() {
    check_flat("cancellation", |tasks| {
        let mut driver = Driver::new(1);
        driver.handle(Input::Submit(spec(0, [])));
        // All wait for the first, so each of them leaves the middle of a long list of dependents.
        let specs = (1..tasks).map(|task| spec(task, [0])).collect();
        driver.handle(Input::SubmitGraph(specs));
        cpu_time(|| {
            for task in (1..tasks).step_by(2).chain((2..tasks).step_by(2)) {
                driver.handle(Input::Cancel {
                    task: TaskId(task),
                    kill: false,
                });
            }
            assert_eq!(driver.run_all().0, tasks);
        })
    });
}

#[test]
fn a_queue_of_cancelled_tasks_is_swept() {
    let mut driver = Driver::new(1);
    for task in 0..100_000 {
        driver.handle(Input::Submit(spec(task, [])));
    }
    for task in 10..100_000 {
        driver.handle(Input::Cancel {
            task: TaskId(task),
            kill: false,
        });
    }
    assert_eq!(driver.run_all().0, 100_000);
    driver.scheduler.check_invariants();
}

/// The first fails, and with it a chain that no recursion could follow.
#[test]
fn a_rejection_cascades_through_a_long_chain() {
    let tasks = 300_000;
    let mut driver = Driver::new(1);
    driver.handle(Input::SubmitGraph(
        (0..tasks).map(|id| spec(id, id.checked_sub(1))).collect(),
    ));
    let Some(Action::Run { task, attempt, .. }) = driver.actions.pop() else {
        panic!("the first task runs");
    };
    driver.handle(Input::Failed {
        task,
        attempt,
        how: lineshaft_core::Failure::Raised,
        measured: None,
    });
    assert_eq!(driver.run_all().0, tasks);
    assert_eq!(driver.scheduler.counts().total.unfinished(), 0);
}

#[test]
fn tasks_take_less_than_250_bytes_each_and_give_them_back() {
    // A little over half of a power of two, where vectors that double are emptiest.
    let tasks = 600_000_u64;
    let mut driver = Driver::new(8);
    for task in 0..tasks {
        driver.handle(Input::Submit(spec(task, [])));
    }
    check_memory("single tasks", &driver, tasks);
    assert_eq!(driver.run_all().0, tasks);
    assert!(
        driver.scheduler.allocated_bytes() < 1 << 20,
        "memory is given back"
    );

    let mut driver = Driver::new(8);
    driver.handle(Input::SubmitGraph(tree(tasks)));
    check_memory("tree reduction", &driver, tasks);
    assert_eq!(driver.run_all().0, tasks);
    assert!(
        driver.scheduler.allocated_bytes() < 1 << 20,
        "memory is given back"
    );
}

fn check_memory(name: &str, driver: &Driver, tasks: u64) {
    let per_task = driver.scheduler.allocated_bytes() as u64 / tasks;
    println!("{name}: {per_task} bytes per task");
    assert!(per_task < 250, "{name}: {per_task} bytes per task");
}
