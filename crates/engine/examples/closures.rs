//! The engine without Python: closures on a thread pool, with dependencies between them.
//!
//! ```text
//! cargo run --release -p lineshaft-engine --example closures
//! ```

use std::sync::Arc;
use std::time::Instant;

use lineshaft_engine::{
    CallEnd, Calls, Engine, EngineError, EngineOptions, Outcome, Policy, PoolKind, PoolOptions,
    Promise, Runner, Silent, TaskRequest, Waited, Work,
};

/// What a task calls: a function of the results of the tasks it depends on.
type Closure = Box<dyn Fn(&[u64]) -> u64 + Send + Sync>;

struct Closures;

impl Runner for Closures {
    fn run(&self, calls: &mut Calls<'_>) {
        while let Some(call) = calls.next() {
            let inputs: Vec<u64> = call
                .inputs()
                .iter()
                .map(|promise| number(promise))
                .collect();
            let body = Arc::clone(call.body());
            let closure = body
                .downcast_ref::<Closure>()
                .expect("only closures are submitted");
            let (value, ran) = call.enter(|| closure(&inputs));
            call.finish(
                CallEnd::Value {
                    value: Box::new(value),
                    portable: None,
                },
                ran,
            );
        }
    }
}

/// The result of a task that has ended well.
fn number(promise: &Promise) -> u64 {
    match promise.outcome() {
        Some(Outcome::Local { value, .. }) => *value
            .downcast_ref()
            .expect("every closure returns a number"),
        other => panic!("no result: {other:?}"),
    }
}

fn main() -> Result<(), EngineError> {
    let engine = Engine::new(EngineOptions {
        cores: 2,
        memory_bytes: 1 << 30,
        spill_dir: std::env::temp_dir(),
        zygote: None,
        observer: Arc::new(Silent),
    })?;
    let pool = engine.open_pool(PoolOptions {
        name: "closures".into(),
        workers: 2,
        kind: PoolKind::Threads {
            runner: Arc::new(Closures),
            threads_max: None,
            takes_core: true,
            stack_bytes: None,
            idle_max: None,
        },
    })?;
    let group = engine.group("", "closure");
    let request = |closure: Closure, inputs: Vec<Arc<Promise>>| TaskRequest {
        pool,
        group,
        work: Work::Local(Arc::new(closure)),
        inputs,
        policy: Policy::default(),
    };

    // A tree: the sum of squares, added up pairwise.
    let began = Instant::now();
    let mut level = Vec::new();
    for i in 0..1_u64 << 14 {
        level.push(engine.submit(request(Box::new(move |_| i * i), Vec::new()))?);
    }
    let mut tasks = level.len();
    while level.len() > 1 {
        let mut next = Vec::new();
        for pair in level.chunks(2) {
            next.push(engine.submit(request(Box::new(|parts| parts.iter().sum()), pair.to_vec()))?);
        }
        tasks += next.len();
        level = next;
    }
    assert_eq!(engine.wait(&level[0], None, None), Waited::Done);
    println!("sum of squares: {}", number(&level[0]));
    println!(
        "{tasks} tasks, {:.2} us each",
        began.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(tasks).unwrap_or(u32::MAX))
    );
    engine.shut_down();
    Ok(())
}
