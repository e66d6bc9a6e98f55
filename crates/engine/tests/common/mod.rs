//! Closures on an engine, for tests.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lineshaft_engine::{
    CallEnd, Calls, Engine, EngineOptions, Outcome, Policy, PoolKind, PoolOptions, Promise, Runner,
    Silent, TaskError, TaskRequest, Waited, Work,
};

pub use lineshaft_core::PoolId;
use lineshaft_core::{GroupId, Retries};

/// Nothing in these tests takes as long; what does has hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a task calls: a function of the results of the tasks it needs.
pub type Closure = Box<dyn Fn(&[u64]) -> Result<u64, String> + Send + Sync>;

/// Runs closures. One that panics takes the run of calls with it, as a defect of a runner would.
pub struct Closures;

impl Runner for Closures {
    fn run(&self, calls: &mut Calls<'_>) {
        while let Some(call) = calls.next() {
            let inputs: Vec<u64> = call.inputs().iter().map(|input| number(input)).collect();
            let body = Arc::clone(call.body());
            let closure = body.downcast_ref::<Closure>().expect("a closure");
            let (end, ran) = call.enter(|| closure(&inputs));
            let end = match end {
                Ok(value) => CallEnd::Value {
                    value: Box::new(value),
                    portable: None,
                },
                Err(error) => CallEnd::Raised {
                    traceback: format!("raised {error}"),
                    error: Box::new(error),
                    how: lineshaft_core::Failure::Raised,
                },
            };
            // As for every runner: what the call held is let go before its end is known.
            drop(body);
            call.finish(end, ran);
        }
    }
}

pub fn options(cores: u32) -> EngineOptions {
    EngineOptions {
        cores,
        memory_bytes: 64 << 20,
        spill_dir: std::env::temp_dir(),
        zygote: None,
        observer: Arc::new(Silent),
    }
}

pub fn thread_pool(workers: u32) -> PoolOptions {
    PoolOptions {
        name: "test".into(),
        workers,
        kind: PoolKind::Threads {
            runner: Arc::new(Closures),
            threads_max: None,
            takes_core: true,
            stack_bytes: None,
            idle_max: None,
        },
    }
}

/// A policy with retries.
pub fn retries(failures_max: u16, backoff: Duration) -> Policy {
    Policy {
        retries: Retries {
            failures_max,
            backoff,
            ..Retries::default()
        },
        ..Policy::default()
    }
}

/// A policy with a time limit.
pub fn timeout(timeout: Duration) -> Policy {
    Policy {
        timeout: Some(timeout),
        ..Policy::default()
    }
}

/// An engine with one pool of threads.
pub struct Threads {
    pub engine: Arc<Engine>,
    pub pool: PoolId,
    pub group: GroupId,
}

impl Threads {
    pub fn new(workers: u32) -> Threads {
        Threads::with(thread_pool(workers))
    }

    pub fn with(pool: PoolOptions) -> Threads {
        let engine = Arc::new(Engine::new(options(pool.workers)).expect("an engine starts"));
        let pool = engine.open_pool(pool).expect("a pool opens");
        let group = engine.group("", "test");
        Threads {
            engine,
            pool,
            group,
        }
    }

    /// The same engine in another thread.
    pub fn share(&self) -> Threads {
        Threads {
            engine: Arc::clone(&self.engine),
            ..*self
        }
    }

    /// The same engine with another pool of threads.
    pub fn open_pool(&self, workers: u32) -> Threads {
        let pool = self.engine.open_pool(thread_pool(workers)).expect("open");
        Threads {
            pool,
            ..self.share()
        }
    }

    /// Submits a call that ends like this when it is let go.
    pub fn hold(&self, end: Result<u64, String>) -> Held {
        self.hold_with(Policy::default(), end)
    }

    pub fn hold_with(&self, policy: Policy, end: Result<u64, String>) -> Held {
        let (began, gate) = (Gate::new(), Gate::new());
        let (begins, held) = (Arc::clone(&began), Arc::clone(&gate));
        let task = self.submit_with(policy, move |_| {
            begins.open();
            held.pass();
            end.clone()
        });
        Held { task, began, gate }
    }

    pub fn request(
        &self,
        closure: impl Fn(&[u64]) -> Result<u64, String> + Send + Sync + 'static,
    ) -> TaskRequest {
        let closure: Closure = Box::new(closure);
        TaskRequest {
            pool: self.pool,
            group: self.group,
            work: Work::Local(Arc::new(closure)),
            inputs: Vec::new(),
            policy: Policy::default(),
        }
    }

    pub fn submit(
        &self,
        closure: impl Fn(&[u64]) -> Result<u64, String> + Send + Sync + 'static,
    ) -> Arc<Promise> {
        self.engine.submit(self.request(closure)).expect("open")
    }

    pub fn submit_with(
        &self,
        policy: Policy,
        closure: impl Fn(&[u64]) -> Result<u64, String> + Send + Sync + 'static,
    ) -> Arc<Promise> {
        let request = TaskRequest {
            policy,
            ..self.request(closure)
        };
        self.engine.submit(request).expect("open")
    }

    pub fn submit_after(
        &self,
        inputs: &[&Arc<Promise>],
        closure: impl Fn(&[u64]) -> Result<u64, String> + Send + Sync + 'static,
    ) -> Arc<Promise> {
        let request = TaskRequest {
            inputs: inputs.iter().map(|input| Arc::clone(input)).collect(),
            ..self.request(closure)
        };
        self.engine.submit(request).expect("open")
    }

    /// Waits; whoever waits in vain fails the test instead of hanging it.
    pub fn wait(&self, promise: &Promise) {
        wait(&self.engine, promise);
    }

    /// The result of a task, waiting for it.
    pub fn result(&self, promise: &Promise) -> u64 {
        self.wait(promise);
        number(promise)
    }

    /// Why a task has no result, waiting for its end.
    pub fn error<'a>(&self, promise: &'a Promise) -> &'a TaskError {
        self.wait(promise);
        error(promise)
    }
}

pub fn wait(engine: &Engine, promise: &Promise) {
    let waited = engine.wait(promise, Some(PATIENCE), None);
    assert_eq!(waited, Waited::Done, "the wait for {promise:?} hung");
}

/// The result of a task that has ended well.
pub fn number(promise: &Promise) -> u64 {
    match promise.outcome() {
        Some(Outcome::Local { value, .. }) => *value.downcast_ref().expect("a number"),
        other => panic!("no result: {other:?}"),
    }
}

/// Why a task that has ended has no result.
pub fn error(promise: &Promise) -> &TaskError {
    match promise.outcome() {
        Some(Outcome::Error(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// What a closure raised.
pub fn raised(error: &TaskError) -> &str {
    match error {
        TaskError::RaisedLocal(raised) => raised.downcast_ref::<String>().expect("words"),
        other => panic!("not raised: {other:?}"),
    }
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "nothing tells when it is so")]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Something to wait for, in closures: a flag that opens once.
#[derive(Default)]
pub struct Gate {
    open: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        Arc::default()
    }

    pub fn open(&self) {
        *self.open.lock().expect("no panic inside") = true;
        self.changed.notify_all();
    }

    pub fn pass(&self) {
        let open = self.open.lock().expect("no panic inside");
        let (open, _) = self
            .changed
            .wait_timeout_while(open, PATIENCE, |open| !*open)
            .expect("no panic inside");
        assert!(*open, "nobody opened the gate");
    }
}

/// A call that does not end until it is let go, at the latest when this is dropped.
pub struct Held {
    pub task: Arc<Promise>,
    began: Arc<Gate>,
    gate: Arc<Gate>,
}

impl Held {
    /// Waits until it has begun.
    pub fn began(&self) {
        self.began.pass();
    }

    pub fn release(&self) {
        self.gate.open();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// Threads of this process.
pub fn threads() -> usize {
    entries("/proc/self/task")
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    entries("/proc/self/fd") - 1 // the one that lists
}

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).expect("procfs").count()
}

/// Numbers that look random and are the same in each run.
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
