//! Engines with worker processes, and what tests of them need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lineshaft_core::{GroupId, PoolId, Retries};
use lineshaft_engine::{
    DeathReport, Engine, EngineOptions, Outcome, Payload, Policy, PoolKind, PoolOptions, Program,
    Promise, TaskError, TaskRequest, Work,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{self, error, eventually};
use crate::worker;

pub struct Processes {
    pub engine: Engine,
    pub pool: PoolId,
    pub group: GroupId,
}

pub fn zygote() -> Program {
    Program {
        path: "/proc/self/exe".into(),
        arguments: Vec::new(),
        environment: vec![(worker::ROLE.into(), "zygote".into())],
        setup: b"hello".to_vec(),
    }
}

pub fn options(cores: u32) -> EngineOptions {
    EngineOptions {
        zygote: Some(zygote()),
        ..common::options(cores)
    }
}

pub fn pool(workers: u32) -> PoolOptions {
    pool_with(workers, None)
}

pub fn pool_with(workers: u32, tasks_per_worker_max: Option<u32>) -> PoolOptions {
    PoolOptions {
        name: "test".into(),
        workers,
        kind: PoolKind::Processes {
            initializer: None,
            definitions: Vec::new(),
            tasks_per_worker_max,
            growth_bytes_max: None,
            patient: false,
        },
    }
}

impl Processes {
    pub fn new(workers: u32) -> Processes {
        Processes::with(options(workers), pool(workers))
    }

    pub fn with(options: EngineOptions, pool: PoolOptions) -> Processes {
        let engine = Engine::new(options).expect("an engine starts");
        let pool = engine.open_pool(pool).expect("a pool opens");
        let group = engine.group("", "test");
        Processes {
            engine,
            pool,
            group,
        }
    }

    pub fn request(&self, function: &str, args: Payload) -> TaskRequest {
        // A definition for each call: cheap enough here, and it exercises sending them.
        let body = Payload::inline(function.as_bytes());
        TaskRequest {
            pool: self.pool,
            group: self.group,
            work: Work::Remote {
                code: self
                    .engine
                    .code(self.engine.group("", function), body, Vec::new()),
                definitions: Vec::new(),
                args,
                each: false,
            },
            inputs: Vec::new(),
            policy: Policy::default(),
        }
    }

    pub fn submit(&self, function: &str, args: &[u8]) -> Arc<Promise> {
        self.submit_with(Policy::default(), function, args)
    }

    pub fn submit_with(&self, policy: Policy, function: &str, args: &[u8]) -> Arc<Promise> {
        let request = TaskRequest {
            policy,
            ..self.request(function, Payload::inline(args))
        };
        self.engine.submit(request).expect("open")
    }

    pub fn submit_after(
        &self,
        inputs: &[&Arc<Promise>],
        function: &str,
        args: &[u8],
    ) -> Arc<Promise> {
        let request = TaskRequest {
            inputs: inputs.iter().map(|input| Arc::clone(input)).collect(),
            ..self.request(function, Payload::inline(args))
        };
        self.engine.submit(request).expect("open")
    }

    pub fn wait(&self, promise: &Promise) {
        common::wait(&self.engine, promise);
    }

    pub fn result<'a>(&self, promise: &'a Promise) -> &'a [u8] {
        self.wait(promise);
        match promise.outcome() {
            Some(Outcome::Value(payload)) => &payload.data,
            other => panic!("no result: {other:?}"),
        }
    }

    pub fn number(&self, promise: &Promise) -> u64 {
        u64::from_le_bytes(self.result(promise).try_into().expect("a number"))
    }

    pub fn error<'a>(&self, promise: &'a Promise) -> &'a TaskError {
        self.wait(promise);
        error(promise)
    }

    pub fn raised(&self, promise: &Promise) -> String {
        match self.error(promise) {
            TaskError::Raised(payload) => String::from_utf8_lossy(&payload.data).into_owned(),
            other => panic!("not raised: {other:?}"),
        }
    }

    pub fn died<'a>(&self, promise: &'a Promise) -> &'a DeathReport {
        match self.error(promise) {
            TaskError::WorkerDied(report) => report,
            other => panic!("not died: {other:?}"),
        }
    }

    /// That the pool still works.
    pub fn check(&self) {
        let task = self.submit("echo", b"still here");
        assert_eq!(self.result(&task), b"still here");
    }

    pub fn pids(&self) -> Vec<u32> {
        let workers = self.engine.stats().workers;
        workers.into_iter().map(|(_, pid)| pid).collect()
    }

    /// The processes of all workers: their tasks may begin before the zygote has told of them.
    pub fn pids_of<const COUNT: usize>(&self) -> [u32; COUNT] {
        eventually("all workers are known", || self.pids().len() == COUNT);
        self.pids().try_into().expect("counted above")
    }
}

pub fn bytes(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

pub fn retries(failures_max: u16, deaths_max: u16) -> Policy {
    Policy {
        retries: Retries {
            failures_max,
            deaths_max,
            backoff: Duration::ZERO,
            items_run_again: false,
        },
        ..Policy::default()
    }
}

pub fn timeout(millis: u64) -> Policy {
    common::timeout(Duration::from_millis(millis))
}

pub fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("not 0");
    // It may have ended by itself meanwhile.
    let _: rustix::io::Result<()> = kill_process(pid, Signal::KILL);
}

/// The parent of a process, if there is such a process; a zombie is one.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Processes below this one.
pub fn family() -> Vec<u32> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").expect("procfs");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let below = |pid: &u32| {
        let mut at = *pid;
        while let Some(up) = parent(at) {
            if up == own {
                return true;
            }
            at = up;
        }
        false
    };
    pids.filter(below).collect()
}

/// The folder of this run, for files by which tests and tasks tell each other something.
pub fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("lineshaft-test-{}", std::process::id()))
}

/// A file that a task waits for.
pub struct Hold(pub PathBuf);

impl Hold {
    pub fn new() -> Hold {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        Hold(scratch().join(number.to_string()))
    }

    pub fn args(&self) -> &[u8] {
        self.0.as_os_str().as_encoded_bytes()
    }

    pub fn began(&self) {
        let file = self.0.with_extension("began");
        eventually("the task begins", || Path::exists(&file));
    }

    /// Waits until a worker that is about to end waits for the file.
    pub fn is_awaited(&self) {
        let file = self.0.with_extension("leaving");
        eventually("the worker is to end", || Path::exists(&file));
    }

    pub fn release(&self) {
        std::fs::write(&self.0, "").expect("a file");
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release(); // so that a failed test leaves nobody waiting
    }
}

pub fn pool_initialized_by(processes: &Processes, function: &str, args: &[u8]) -> PoolOptions {
    let body = Payload::inline(function.as_bytes());
    let code = processes
        .engine
        .code(processes.engine.group("", function), body, Vec::new());
    PoolOptions {
        name: "initialized".into(),
        workers: 1,
        kind: PoolKind::Processes {
            initializer: Some((code, Payload::inline(args))),
            definitions: Vec::new(),
            tasks_per_worker_max: None,
            growth_bytes_max: None,
            patient: false,
        },
    }
}
