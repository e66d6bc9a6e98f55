//! An engine whose tasks are closures on its threads.

use std::sync::Arc;
use std::time::Duration;

use lineshaft_core::GroupId;
use lineshaft_engine::{
    CallEnd, Calls, Engine, EngineOptions, Policy, PoolKind, PoolOptions, Promise, Runner, Silent,
    TaskRequest, Waited, Work,
};

/// Runs tasks that say by their body whether they fail.
struct Bodies;

impl Runner for Bodies {
    fn run(&self, calls: &mut Calls<'_>) {
        while let Some(call) = calls.next() {
            let fails = *call.body().downcast_ref::<bool>().expect("a body of ours");
            let ((), ran) = call.enter(|| ());
            let end = if fails {
                CallEnd::Raised {
                    error: Box::new("broken"),
                    traceback: String::new(),
                    how: lineshaft_core::Failure::RaisedForGood,
                }
            } else {
                CallEnd::Value {
                    value: Box::new(()),
                    portable: None,
                }
            };
            call.finish(end, ran);
        }
    }
}

pub struct Rig {
    pub engine: Engine,
    pool: lineshaft_core::PoolId,
}

impl Rig {
    pub fn new() -> Rig {
        let engine = Engine::new(EngineOptions {
            cores: 2,
            memory_bytes: 1 << 30,
            spill_dir: std::env::temp_dir(),
            zygote: None,
            observer: Arc::new(Silent),
        })
        .expect("an engine starts");
        let pool = engine
            .open_pool(PoolOptions {
                name: "bodies".into(),
                workers: 2,
                kind: PoolKind::Threads {
                    runner: Arc::new(Bodies),
                    threads_max: None,
                    takes_core: true,
                    stack_bytes: None,
                    idle_max: None,
                },
            })
            .expect("a pool opens");
        Rig { engine, pool }
    }

    pub fn submit(&self, group: GroupId, fails: bool) -> Arc<Promise> {
        let request = TaskRequest {
            pool: self.pool,
            group,
            work: Work::Local(Arc::new(fails)),
            inputs: Vec::new(),
            policy: Policy::default(),
        };
        self.engine.submit(request).expect("the engine is open")
    }

    pub fn run(&self, name: &str, count: usize) {
        let group = self.engine.group("", name);
        let tasks: Vec<_> = (0..count).map(|_| self.submit(group, false)).collect();
        for task in &tasks {
            let waited = self.engine.wait(task, Some(Duration::from_secs(30)), None);
            assert!(matches!(waited, Waited::Done));
        }
    }
}
