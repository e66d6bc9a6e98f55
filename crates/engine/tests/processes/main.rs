//! Worker processes without Python: the zygote and the workers are this executable itself.
//!
//! So it has a `main` of its own, which runs the tests one after the other: they count processes and
//! descriptors. Names on the command line choose among them, as with the usual harness.

#![expect(
    clippy::disallowed_methods,
    reason = "tests sleep: in tasks, and between two looks at something outside"
)]

#[path = "../common/mod.rs"]
mod common;
mod worker;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, descriptors, error, eventually, threads};
use lineshaft_core::{GroupId, PoolId, Retries, TaskId, WorkerId};
use lineshaft_engine::{
    DeathReport, Engine, EngineOptions, Observer, Outcome, Payload, Policy, PoolKind, PoolOptions,
    Program, Promise, Stream, TaskError, TaskRequest, Waited, Work,
};
use rustix::process::{Pid, Signal, kill_process};

const TESTS: &[(&str, fn())] = &[
    ("results_arrive", results_arrive),
    ("tasks_need_each_other", tasks_need_each_other),
    ("what_is_raised_arrives", what_is_raised_arrives),
    (
        "large_values_pass_through_memory",
        large_values_pass_through_memory,
    ),
    (
        "what_exceeds_the_budget_goes_to_disk",
        what_exceeds_the_budget_goes_to_disk,
    ),
    ("what_a_worker_reads_stays", what_a_worker_reads_stays),
    (
        "only_the_task_of_a_dead_worker_fails",
        only_the_task_of_a_dead_worker_fails,
    ),
    (
        "what_has_ended_does_not_run_again",
        what_has_ended_does_not_run_again,
    ),
    ("a_death_is_described", a_death_is_described),
    ("a_death_can_be_retried", a_death_can_be_retried),
    ("garbage_is_answered_for", garbage_is_answered_for),
    ("who_hangs_up_is_killed", who_hangs_up_is_killed),
    (
        "nobody_waits_behind_a_long_task",
        nobody_waits_behind_a_long_task,
    ),
    (
        "a_worker_ends_after_its_number_of_tasks",
        a_worker_ends_after_its_number_of_tasks,
    ),
    ("epochs_are_renewed", epochs_are_renewed),
    ("calls_nest_in_one_worker", calls_nest_in_one_worker),
    (
        "nested_calls_can_be_cancelled",
        nested_calls_can_be_cancelled,
    ),
    (
        "a_nested_pool_runs_what_it_has",
        a_nested_pool_runs_what_it_has,
    ),
    ("a_nested_failure_arrives", a_nested_failure_arrives),
    (
        "a_task_may_wait_for_who_waits",
        a_task_may_wait_for_who_waits,
    ),
    (
        "an_initializer_may_make_calls",
        an_initializer_may_make_calls,
    ),
    (
        "a_thread_that_reads_hands_tasks_over",
        a_thread_that_reads_hands_tasks_over,
    ),
    (
        "a_zygote_that_cannot_start_breaks_the_pool",
        a_zygote_that_cannot_start_breaks_the_pool,
    ),
    (
        "a_zygote_that_ends_breaks_the_pool",
        a_zygote_that_ends_breaks_the_pool,
    ),
    ("a_killed_zygote_is_replaced", a_killed_zygote_is_replaced),
    ("an_initializer_runs_first", an_initializer_runs_first),
    (
        "an_initializer_that_fails_breaks_its_pool",
        an_initializer_that_fails_breaks_its_pool,
    ),
    ("a_time_limit_interrupts", a_time_limit_interrupts),
    (
        "a_time_limit_may_come_before_the_process_is_known",
        a_time_limit_may_come_before_the_process_is_known,
    ),
    (
        "a_time_limit_kills_who_does_not_listen",
        a_time_limit_kills_who_does_not_listen,
    ),
    (
        "an_interrupted_attempt_does_not_kill_the_next",
        an_interrupted_attempt_does_not_kill_the_next,
    ),
    ("what_runs_can_be_killed", what_runs_can_be_killed),
    ("what_is_printed_arrives", what_is_printed_arrives),
    ("random_kills_lose_nothing", random_kills_lose_nothing),
    (
        "a_panic_inside_ends_the_processes",
        a_panic_inside_ends_the_processes,
    ),
    ("nothing_is_left_behind", nothing_is_left_behind),
];

fn main() {
    match std::env::var(worker::ROLE).as_deref() {
        Ok("zygote") => return worker::be_zygote(),
        Ok("worker") => return worker::be_worker(),
        _ => {}
    }
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if std::env::args().any(|argument| argument == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return;
    }
    let mut failed = 0;
    for (name, test) in TESTS {
        if !chosen.is_empty() && !chosen.iter().any(|part| name.contains(part)) {
            continue;
        }
        let began = Instant::now();
        let passed = std::panic::catch_unwind(test).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:?})", began.elapsed());
        failed += i32::from(!passed);
    }
    assert_eq!(failed, 0, "tests failed");
}

struct Processes {
    engine: Engine,
    pool: PoolId,
    group: GroupId,
}

fn zygote() -> Program {
    Program {
        path: "/proc/self/exe".into(),
        arguments: Vec::new(),
        environment: vec![(worker::ROLE.into(), "zygote".into())],
        setup: b"hello".to_vec(),
    }
}

fn options(cores: u32) -> EngineOptions {
    EngineOptions {
        zygote: Some(zygote()),
        ..common::options(cores)
    }
}

fn pool(workers: u32) -> PoolOptions {
    pool_with(workers, None)
}

fn pool_with(workers: u32, tasks_per_worker_max: Option<u32>) -> PoolOptions {
    PoolOptions {
        name: "test".into(),
        workers,
        kind: PoolKind::Processes {
            initializer: None,
            definitions: Vec::new(),
            tasks_per_worker_max,
            growth_bytes_max: None,
        },
    }
}

impl Processes {
    fn new(workers: u32) -> Processes {
        Processes::with(options(workers), pool(workers))
    }

    fn with(options: EngineOptions, pool: PoolOptions) -> Processes {
        let engine = Engine::new(options).expect("an engine starts");
        let pool = engine.open_pool(pool).expect("a pool opens");
        let group = engine.group("test");
        Processes {
            engine,
            pool,
            group,
        }
    }

    fn request(&self, function: &str, args: Payload) -> TaskRequest {
        // A definition for each call: cheap enough here, and it exercises sending them.
        let body = Payload::inline(function.as_bytes());
        TaskRequest {
            pool: self.pool,
            group: self.group,
            work: Work::Remote {
                code: self.engine.code(function, body, Vec::new()),
                definitions: Vec::new(),
                args,
                each: false,
            },
            inputs: Vec::new(),
            policy: Policy::default(),
        }
    }

    fn submit(&self, function: &str, args: &[u8]) -> Arc<Promise> {
        self.submit_with(Policy::default(), function, args)
    }

    fn submit_with(&self, policy: Policy, function: &str, args: &[u8]) -> Arc<Promise> {
        let request = TaskRequest {
            policy,
            ..self.request(function, Payload::inline(args))
        };
        self.engine.submit(request).expect("open")
    }

    fn submit_after(&self, inputs: &[&Arc<Promise>], function: &str, args: &[u8]) -> Arc<Promise> {
        let request = TaskRequest {
            inputs: inputs.iter().map(|input| Arc::clone(input)).collect(),
            ..self.request(function, Payload::inline(args))
        };
        self.engine.submit(request).expect("open")
    }

    fn wait(&self, promise: &Promise) {
        common::wait(&self.engine, promise);
    }

    fn result<'a>(&self, promise: &'a Promise) -> &'a [u8] {
        self.wait(promise);
        match promise.outcome() {
            Some(Outcome::Value(payload)) => &payload.data,
            other => panic!("no result: {other:?}"),
        }
    }

    fn number(&self, promise: &Promise) -> u64 {
        u64::from_le_bytes(self.result(promise).try_into().expect("a number"))
    }

    fn error<'a>(&self, promise: &'a Promise) -> &'a TaskError {
        self.wait(promise);
        error(promise)
    }

    fn raised(&self, promise: &Promise) -> String {
        match self.error(promise) {
            TaskError::Raised(payload) => String::from_utf8_lossy(&payload.data).into_owned(),
            other => panic!("not raised: {other:?}"),
        }
    }

    fn died<'a>(&self, promise: &'a Promise) -> &'a DeathReport {
        match self.error(promise) {
            TaskError::WorkerDied(report) => report,
            other => panic!("not died: {other:?}"),
        }
    }

    /// That the pool still works.
    fn check(&self) {
        let task = self.submit("echo", b"still here");
        assert_eq!(self.result(&task), b"still here");
    }

    fn pids(&self) -> Vec<u32> {
        let workers = self.engine.stats().workers;
        workers.into_iter().map(|(_, pid)| pid).collect()
    }
}

fn bytes(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn retries(failures_max: u16, deaths_max: u16) -> Policy {
    Policy {
        retries: Retries {
            failures_max,
            deaths_max,
            backoff: Duration::ZERO,
        },
        ..Policy::default()
    }
}

fn timeout(millis: u64) -> Policy {
    Policy {
        timeout: Some(Duration::from_millis(millis)),
        ..Policy::default()
    }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("not 0");
    // It may have ended by itself meanwhile.
    let _: rustix::io::Result<()> = kill_process(pid, Signal::KILL);
}

/// The parent of a process, if there is such a process; a zombie is one.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Processes below this one.
fn family() -> Vec<u32> {
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

/// A file that a task waits for.
struct Hold(PathBuf);

impl Hold {
    fn new() -> Hold {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("lineshaft-test-{}-{number}", std::process::id());
        Hold(std::env::temp_dir().join(name))
    }

    fn args(&self) -> &[u8] {
        self.0.as_os_str().as_encoded_bytes()
    }

    fn began(&self) {
        let file = self.0.with_extension("began");
        eventually("the task begins", || Path::exists(&file));
    }

    fn release(&self) {
        std::fs::write(&self.0, "").expect("a file");
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release(); // so that a failed test leaves nobody waiting
        std::thread::sleep(Duration::from_millis(5));
        for file in [self.0.clone(), self.0.with_extension("began")] {
            let _: std::io::Result<()> = std::fs::remove_file(file);
        }
    }
}

// Results.

fn results_arrive() {
    let processes = Processes::new(2);
    let tasks: Vec<_> = (0..2_000)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(processes.number(task), i);
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn tasks_need_each_other() {
    let processes = Processes::new(2);
    let one = processes.submit("sum", &bytes(1));
    let mut last = Arc::clone(&one);
    for _ in 0..200 {
        last = processes.submit_after(&[&last, &one], "sum", &bytes(1));
    }
    assert_eq!(processes.number(&last), 401);
}

fn what_is_raised_arrives() {
    let processes = Processes::new(1);
    let task = processes.submit("raise", b"words");
    assert_eq!(processes.raised(&task), "words");
    let needs = processes.submit_after(&[&task], "sum", &bytes(1));
    assert!(matches!(processes.error(&needs), TaskError::Dependency(_)));
    let again = processes.submit_with(retries(2, 0), "raise", b"again");
    assert_eq!(processes.raised(&again), "again");
}

fn large_values_pass_through_memory() {
    const BYTES: usize = 3 << 20;
    let processes = Processes::new(2);
    let array = vec![1_u8; BYTES];
    let (segment, _) = processes.engine.store().put(&[&array]).expect("room");
    let args = Payload {
        data: b"array".as_slice().into(),
        segments: vec![segment],
        buffers: Vec::new(),
    };
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let request = processes.request("checksum", args.clone());
            processes.engine.submit(request).expect("open")
        })
        .collect();
    for task in &tasks {
        assert_eq!(processes.number(task), BYTES as u64);
    }
    // And back, and from worker to worker.
    let blob = processes.submit("blob", &bytes(BYTES as u64));
    let sum = processes.submit_after(&[&blob, &blob], "checksum", b"");
    assert_eq!(processes.number(&sum), 2 * BYTES as u64);
    let used = processes.engine.stats().memory_bytes;
    assert_eq!(used, 2 * BYTES as u64, "one copy of each");
    drop((args, tasks, blob, sum));
    assert_eq!(processes.engine.stats().memory_bytes, 0);
    processes.engine.store().check_invariants();
}

fn what_exceeds_the_budget_goes_to_disk() {
    const BYTES: u64 = 256 << 10;
    let small = EngineOptions {
        memory_bytes: 4 * BYTES,
        ..options(2)
    };
    let processes = Processes::with(small, pool(2));
    let blobs: Vec<_> = (0..40)
        .map(|_| processes.submit("blob", &bytes(BYTES)))
        .collect();
    for blob in &blobs {
        assert_eq!(processes.result(blob), b"blob");
    }
    eventually("memory within its budget", || {
        processes.engine.stats().memory_bytes <= 4 * BYTES
    });
    assert!(processes.engine.stats().spilled_bytes >= 36 * BYTES);
    let all: Vec<_> = blobs.iter().collect();
    let sum = processes.submit_after(&all, "checksum", b"");
    assert_eq!(processes.number(&sum), 40 * BYTES);
    drop(all);
    drop((blobs, sum));
    processes.engine.store().check_invariants();
    assert_eq!(processes.engine.stats().spilled_bytes, 0);
}

fn what_a_worker_reads_stays() {
    const BYTES: usize = 600 << 10;
    let small = EngineOptions {
        memory_bytes: 1 << 20,
        ..options(1)
    };
    let processes = Processes::with(small, pool(1));
    let store = processes.engine.store();
    let (segment, _) = store.put(&[&vec![1_u8; BYTES]]).expect("room");
    let hold = Hold::new();
    let args = Payload {
        segments: vec![Arc::clone(&segment)],
        ..Payload::inline(hold.args())
    };
    let request = processes.request("hold", args);
    let task = processes.engine.submit(request).expect("open");
    hold.began();
    let (other, _) = store.put(&[&vec![2_u8; BYTES]]).expect("room on disk");
    assert!(!segment.is_spilled() && other.is_spilled());
    hold.release();
    processes.wait(&task);
    let (third, _) = store.put(&[&vec![3_u8; BYTES]]).expect("room");
    assert!(
        segment.is_spilled() && !third.is_spilled(),
        "nobody reads it any more"
    );
}

// Deaths.

fn only_the_task_of_a_dead_worker_fails() {
    let processes = Processes::new(2);
    let mut tasks = Vec::new();
    let mut deadly = Vec::new();
    for i in 0..300 {
        if i % 50 == 25 {
            deadly.push(processes.submit("die", b""));
        }
        tasks.push(processes.submit("echo", &bytes(i)));
    }
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(processes.number(task), i);
    }
    for task in &deadly {
        assert_eq!(processes.died(task).signal, Some(9));
    }
    assert_eq!(processes.engine.stats().deaths, 6);
}

/// Results are held back for a moment; a death in this moment does not take them.
fn what_has_ended_does_not_run_again() {
    let processes = Processes::new(1);
    for deadly in ["die", "exit"] {
        let log = Hold::new();
        let rounds: Vec<_> = (0..20)
            .map(|_| {
                let ended = processes.submit("leave a line", log.args());
                (ended, processes.submit(deadly, &bytes(3)))
            })
            .collect();
        for (ended, killed) in &rounds {
            assert_eq!(processes.result(ended), b"left", "before {deadly}");
            processes.error(killed);
        }
        let lines = std::fs::read_to_string(&log.0).expect("a file");
        assert_eq!(lines.lines().count(), rounds.len(), "before {deadly}");
    }
}

fn a_death_is_described() {
    let processes = Processes::new(1);
    let task = processes.submit("exit", &bytes(3));
    let report = processes.died(&task);
    assert_eq!((report.exit_code, report.signal), (Some(3), None));
    assert_eq!(report.task, "test");
    assert!(report.pid > 0 && report.peak_memory_bytes.is_some());
    processes.check();
    // Killed from outside, in the middle.
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    hold.began();
    let pid = processes.pids()[0];
    kill(pid);
    let report = processes.died(&held);
    assert_eq!((report.pid, report.signal), (pid, Some(9)));
    processes.check();
    // And while it has nothing to do.
    kill(processes.pids()[0]);
    processes.check();
}

fn a_death_can_be_retried() {
    let processes = Processes::new(2);
    let twice = processes.submit_with(retries(0, 1), "die once", b"");
    assert_eq!(processes.result(&twice), b"lived");
    let never = processes.submit_with(retries(5, 2), "die", b"");
    assert_eq!(processes.died(&never).signal, Some(9));
    assert_eq!(processes.engine.stats().deaths, 4);
}

fn garbage_is_answered_for() {
    for function in ["garbage", "more", "lie", "unsealed", "misplaced"] {
        let processes = Processes::new(1);
        let tasks: Vec<_> = (0..20)
            .map(|i| processes.submit("echo", &bytes(i)))
            .collect();
        let bad = processes.submit_with(retries(1, 1), function, b"");
        let more: Vec<_> = (0..20)
            .map(|i| processes.submit("echo", &bytes(i)))
            .collect();
        match processes.error(&bad) {
            TaskError::Transfer(text) => assert!(text.len() > 10, "{function}: {text}"),
            other => panic!("{function}: {other:?}"),
        }
        for task in tasks.iter().chain(&more) {
            assert_eq!(processes.result(task).len(), 8);
        }
    }
}

fn who_hangs_up_is_killed() {
    let processes = Processes::new(1);
    let task = processes.submit("hang up", b"");
    assert_eq!(processes.died(&task).signal, Some(9));
    processes.check();
}

// Workers.

fn nobody_waits_behind_a_long_task() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    // So short that many are handed ahead.
    let warm: Vec<_> = (0..200)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    let long = processes.submit("hold", hold.args());
    let behind: Vec<_> = (0..500)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    for task in warm.iter().chain(&behind) {
        processes.wait(task);
    }
    assert!(!long.is_done());
    hold.release();
    assert_eq!(processes.result(&long), b"held");
}

fn a_worker_ends_after_its_number_of_tasks() {
    let processes = Processes::with(options(2), pool_with(2, Some(7)));
    let mut runs = std::collections::HashMap::new();
    let tasks: Vec<_> = (0..100).map(|_| processes.submit("pid", b"")).collect();
    for task in &tasks {
        *runs.entry(processes.number(task)).or_insert(0) += 1;
    }
    assert!(runs.values().all(|runs| *runs <= 7), "{runs:?}");
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn epochs_are_renewed() {
    let processes = Processes::new(1);
    let request = processes.request("echo", Payload::inline(b"x"));
    let mut waiting = std::collections::VecDeque::new();
    // More than one epoch has room for, and never an empty queue at its end.
    for _ in 0..150_000 {
        let request = TaskRequest {
            work: request.work.clone(),
            ..processes.request("echo", Payload::inline(b""))
        };
        waiting.push_back(processes.engine.submit(request).expect("open"));
        if waiting.len() > 2_000 {
            let first: Arc<Promise> = waiting.pop_front().expect("not empty");
            assert_eq!(processes.result(&first), b"x");
        }
    }
    for task in waiting {
        assert_eq!(processes.result(&task), b"x");
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

// Nested calls.

fn calls_nest_in_one_worker() {
    for workers in [1, 2] {
        let processes = Processes::new(workers);
        let task = processes.submit("nest", &bytes(12));
        assert_eq!(processes.number(&task), 12);
        let tasks: Vec<_> = (0..4)
            .map(|_| processes.submit("nest", &bytes(4)))
            .collect();
        for task in &tasks {
            assert_eq!(processes.number(task), 4);
        }
    }
}

fn nested_calls_can_be_cancelled() {
    for workers in [1, 2] {
        let processes = Processes::new(workers);
        let tasks: Vec<_> = (0..3)
            .map(|_| processes.submit("nest and cancel", b""))
            .collect();
        let cancelled: u64 = tasks.iter().map(|task| processes.number(task)).sum();
        assert!(cancelled > 0, "none could be cancelled");
        processes.check();
    }
}

fn a_nested_pool_runs_what_it_has() {
    let processes = Processes::new(1);
    let task = processes.submit("nest in a pool", &bytes(20));
    assert_eq!(processes.result(&task), b"all");
    processes.check();
}

fn a_nested_failure_arrives() {
    let processes = Processes::new(1);
    let task = processes.submit("nest a failure", b"");
    assert_eq!(processes.raised(&task), "outside of inside");
}

/// With one worker, the nested call needs another one in place of the one that is blocked.
fn a_task_may_wait_for_who_waits() {
    let processes = Processes::new(1);
    for function in ["nest in a thread", "nest in a callback"] {
        let task = processes.submit(function, function.as_bytes());
        assert_eq!(processes.result(&task), function.as_bytes());
    }
}

fn an_initializer_may_make_calls() {
    let plain = Processes::new(1);
    let options = pool_initialized_by(&plain, "nest", &bytes(3));
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    processes.check();
}

/// While a thread of a worker waits for an answer it may read tasks, too: its main thread must hear
/// of each.
fn a_thread_that_reads_hands_tasks_over() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let left = processes.submit("leave a thread waiting", hold.args());
    assert_eq!(processes.result(&left), b"left");
    // What is held fills the other worker; all these run where the thread is, one by one, so that the
    // main thread goes to sleep between them.
    for i in 0..3_000 {
        let task = processes.submit("echo", &bytes(i));
        assert_eq!(processes.number(&task), i);
    }
    let joined = processes.submit("join the thread", b"");
    hold.release();
    assert_eq!(processes.result(&joined), b"held");
}

// The zygote.

fn broken(processes: &Processes) -> String {
    let began = Instant::now();
    let task = processes.submit("echo", b"");
    let why = match processes.error(&task) {
        TaskError::PoolBroken(Err(why)) => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(began.elapsed() < Duration::from_secs(20));
    let later = processes.submit("echo", b"");
    assert!(matches!(processes.error(&later), TaskError::PoolBroken(_)));
    why
}

fn a_zygote_that_cannot_start_breaks_the_pool() {
    let mut options = options(2);
    options.zygote = Some(Program {
        path: "/nowhere/python".into(),
        ..zygote()
    });
    let processes = Processes::with(options, pool(2));
    let why = broken(&processes);
    assert!(why.contains("No such file"), "{why}");
}

fn a_zygote_that_ends_breaks_the_pool() {
    for script in [
        "exit 1",
        "echo garbage, but long enough to be a frame >&0; exec sleep 60",
    ] {
        let mut options = options(2);
        options.zygote = Some(Program {
            path: "/bin/sh".into(),
            arguments: vec![OsString::from("-c"), OsString::from(script)],
            environment: Vec::new(),
            setup: Vec::new(),
        });
        let processes = Processes::with(options, pool(2));
        let why = broken(&processes);
        assert!(!why.is_empty());
        drop(processes);
        assert_eq!(family(), [] as [u32; 0], "{script}");
    }
}

fn a_killed_zygote_is_replaced() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    let hold_twice = Hold::new();
    let held_twice = processes.submit_with(retries(0, 1), "hold", hold_twice.args());
    hold.began();
    hold_twice.began();
    let before = processes.pids();
    kill(parent(before[0]).expect("a zygote"));
    processes.died(&held);
    hold_twice.release();
    assert_eq!(processes.result(&held_twice), b"held");
    processes.check();
    eventually("the old workers end", || {
        before.iter().all(|pid| parent(*pid).is_none())
    });
}

// Initializers.

fn pool_initialized_by(processes: &Processes, function: &str, args: &[u8]) -> PoolOptions {
    let body = Payload::inline(function.as_bytes());
    let code = processes.engine.code(function, body, Vec::new());
    PoolOptions {
        name: "initialized".into(),
        workers: 1,
        kind: PoolKind::Processes {
            initializer: Some((code, Payload::inline(args))),
            definitions: Vec::new(),
            tasks_per_worker_max: None,
            growth_bytes_max: None,
        },
    }
}

fn an_initializer_runs_first() {
    let plain = Processes::new(1);
    let hold = Hold::new();
    hold.release();
    let options = pool_initialized_by(&plain, "hold", hold.args());
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    processes.check();
    assert!(hold.0.with_extension("began").exists());
}

fn an_initializer_that_fails_breaks_its_pool() {
    let plain = Processes::new(1);
    plain.check();
    let open = |words: &str| {
        let options = pool_initialized_by(&plain, "raise", words.as_bytes());
        plain.engine.open_pool(options).expect("open")
    };
    let pools = ["one", "two"].map(|words| (words, open(words)));
    let in_pool = |pool| {
        let request = plain.request("echo", Payload::inline(b""));
        let request = TaskRequest { pool, ..request };
        plain.engine.submit(request).expect("open")
    };
    for _ in 0..2 {
        for (words, pool) in pools {
            let task = in_pool(pool);
            match plain.error(&task) {
                TaskError::PoolBroken(Ok(payload)) => {
                    assert_eq!(&*payload.data, words.as_bytes(), "its own exception");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    plain.check();
}

// Time limits and cancelling.

fn a_time_limit_interrupts() {
    let processes = Processes::new(1);
    let began = Instant::now();
    let task = processes.submit_with(timeout(100), "sleep", &bytes(60_000));
    assert_eq!(processes.raised(&task), "interrupted");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(processes.engine.stats().deaths, 0, "the worker lives");
    processes.check();
}

/// The worker's own socket may be faster than the zygote's.
fn a_time_limit_may_come_before_the_process_is_known() {
    let file = Hold::new();
    let mut options = options(1);
    let program = options.zygote.as_mut().expect("there is one");
    let late = (worker::LATE.into(), file.0.clone().into_os_string());
    program.environment.push(late);
    let processes = Processes::with(options, pool(1));
    let task = processes.submit_with(timeout(50), "await the signal", file.args());
    assert_eq!(processes.raised(&task), "signalled");
    processes.check();
}

fn a_time_limit_kills_who_does_not_listen() {
    let processes = Processes::new(1);
    let task = processes.submit_with(timeout(100), "sleep through", &bytes(60_000));
    let behind = processes.submit("echo", b"behind");
    match processes.error(&task) {
        TaskError::TimedOut { .. } | TaskError::WorkerDied(_) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(processes.result(&behind), b"behind");
}

fn an_interrupted_attempt_does_not_kill_the_next() {
    let processes = Processes::new(1);
    let policy = Policy {
        timeout: Some(Duration::from_millis(1_500)),
        ..retries(1, 0)
    };
    // The second attempt runs when the first would be killed if it had not listened.
    let task = processes.submit_with(policy, "sleep again", &bytes(1_200));
    assert_eq!(processes.result(&task), b"slept");
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn what_runs_can_be_killed() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let running = processes.submit("hold", hold.args());
    let queued = processes.submit("echo", b"queued");
    hold.began();
    assert!(processes.engine.is_running(&running));
    assert!(!processes.engine.cancel(&running, false));
    processes.engine.cancel(&running, true);
    assert!(matches!(processes.error(&running), TaskError::Cancelled));
    assert_eq!(processes.result(&queued), b"queued");
    let other = Hold::new();
    let running = processes.submit("hold", other.args());
    let queued = processes.submit("echo", b"queued");
    other.began();
    assert!(processes.engine.cancel(&queued, false));
    other.release();
    assert_eq!(processes.result(&running), b"held");
}

#[derive(Default)]
struct Heard(Mutex<Vec<u8>>);

impl Observer for Heard {
    fn output(&self, _: WorkerId, task: Option<TaskId>, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Stdout);
        assert!(task.is_some());
        self.0.lock().expect("no panic").extend_from_slice(bytes);
    }

    fn log(&self, _: WorkerId, _: Option<TaskId>, _: &[u8]) {}
}

fn what_is_printed_arrives() {
    let heard = Arc::new(Heard::default());
    let options = EngineOptions {
        observer: Arc::clone(&heard) as Arc<dyn Observer>,
        ..options(1)
    };
    let processes = Processes::with(options, pool(1));
    let text = vec![b'x'; 300_000];
    let task = processes.submit("print", &text);
    processes.wait(&task);
    eventually("all of it", || {
        heard.0.lock().expect("no panic").len() == text.len()
    });
}

// Everything at once.

fn random_kills_lose_nothing() {
    let processes = Processes::new(3);
    let mut random = common::Seeded(7);
    let mut tasks = Vec::new();
    for i in 0..3_000_u64 {
        tasks.push(processes.submit_with(retries(0, 1_000), "sum", &bytes(i)));
        if i % 100 == 99 {
            processes
                .wait(&tasks[tasks.len() - 1 - usize::try_from(random.below(90)).expect("few")]);
            let pids = processes.pids();
            if !pids.is_empty() {
                kill(pids[usize::try_from(random.below(pids.len() as u64)).expect("few")]);
            }
        }
    }
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(processes.number(task), i);
    }
    assert!(processes.engine.stats().deaths >= 10);
}

fn a_panic_inside_ends_the_processes() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let running = processes.submit("hold", hold.args());
    let queued: Vec<_> = (0..50)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    hold.began();
    processes.engine.panic_inside("in a test, on purpose");
    assert!(matches!(error(&running), TaskError::Poisoned(_)));
    for task in &queued {
        processes.wait(task);
    }
    processes.engine.shut_down();
    eventually("no process is left", || family().is_empty());
}

fn nothing_is_left_behind() {
    let live = || {
        let processes = Processes::new(2);
        let blob = processes.submit("blob", &bytes(1 << 20));
        let sum = processes.submit_after(&[&blob], "checksum", b"");
        processes.wait(&sum);
        let died = processes.submit("die", b"");
        processes.wait(&died);
        let nested = processes.submit("nest", &bytes(2));
        processes.wait(&nested);
        let hold = Hold::new();
        let running = processes.submit("hold", hold.args());
        hold.began();
        let began = Instant::now();
        processes.engine.shut_down();
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(matches!(error(&running), TaskError::Cancelled));
        assert_eq!(family(), [] as [u32; 0], "zombies count");
        assert_eq!(
            processes.engine.wait_idle(None, Some(PATIENCE), None),
            Waited::Done
        );
    };
    live();
    eventually("threads end", || threads() == 1);
    let before = descriptors();
    for _ in 0..3 {
        live();
    }
    eventually("threads end", || threads() == 1);
    assert_eq!(descriptors(), before);
}
