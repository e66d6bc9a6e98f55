//! The process that workers are forked from cannot start, ends, or is killed.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use lineshaft_engine::{Program, Snapshot, TaskError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::eventually;
use crate::setup::{self, Hold, Processes, family, kill, options, parent, pool, retries};
use crate::zygote;

tests![
    a_zygote_that_cannot_start_breaks_the_pool,
    a_zygote_that_ends_breaks_the_pool,
    a_killed_zygote_is_replaced,
    forks_that_fail_for_a_moment_lose_nothing,
    tasks_do_not_wait_for_ever_for_forks_that_fail,
    a_snapshot_that_cannot_be_taken_in_leaves_no_child,
];

fn broken(processes: &Processes) -> String {
    let task = processes.submit("echo", b"");
    let why = match processes.error(&task) {
        TaskError::PoolBroken(Err(why)) => why.clone(),
        other => panic!("{other:?}"),
    };
    let later = processes.submit("echo", b"");
    assert!(matches!(processes.error(&later), TaskError::PoolBroken(_)));
    why
}

fn a_zygote_that_cannot_start_breaks_the_pool() {
    let mut options = options(2);
    options.zygote = Some(Program {
        path: "/nowhere/python".into(),
        ..setup::zygote()
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

fn with_failing_forks(workers: u32, failures: u32) -> Processes {
    let mut options = options(workers);
    let program = options.zygote.as_mut().expect("there is one");
    let failures = OsString::from(failures.to_string());
    program.environment.push((zygote::FAILS.into(), failures));
    Processes::with(options, pool(workers))
}

fn forks_that_fail_for_a_moment_lose_nothing() {
    const WORKERS: u32 = 8;
    let processes = with_failing_forks(WORKERS, WORKERS);
    let tasks: Vec<_> = (0..WORKERS)
        .map(|_| processes.submit("echo", b"done"))
        .collect();
    for task in &tasks {
        assert_eq!(processes.result(task), b"done");
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn tasks_do_not_wait_for_ever_for_forks_that_fail() {
    let processes = with_failing_forks(2, u32::MAX);
    let task = processes.submit("echo", b"");
    match processes.error(&task) {
        TaskError::NoWorker(why) => assert!(why.contains("cannot fork a worker"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn a_killed_zygote_is_replaced() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    let hold_twice = Hold::new();
    let held_twice = processes.submit_with(retries(0, 1), "hold", hold_twice.args());
    hold.began();
    hold_twice.began();
    let before: [u32; 2] = processes.pids_of();
    kill(parent(before[0]).expect("a zygote"));
    processes.died(&held);
    hold_twice.release();
    assert_eq!(processes.result(&held_twice), b"held");
    processes.check();
    eventually("the old workers end", || {
        before.iter().all(|pid| parent(*pid).is_none())
    });
}

fn a_snapshot_that_cannot_be_taken_in_leaves_no_child() {
    // It would not end by itself.
    let mut child = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::piped())
        .spawn()
        .expect("a child");
    let socket = OwnedFd::from(child.stdin.take().expect("a pipe"));
    let pid = child.id();
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none).expect("less is always allowed");
    let snapshot = Snapshot::new(socket, pid.cast_signed());
    setrlimit(Resource::Nofile, limit).expect("it was so before");
    assert!(snapshot.is_err(), "a handle of it is a descriptor");
    assert_eq!(parent(pid), None, "it was killed");
    assert!(child.wait().is_err(), "it was reaped");
}
