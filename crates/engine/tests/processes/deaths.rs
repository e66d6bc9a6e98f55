//! Workers die, or have to be killed because of what they sent.

use lineshaft_engine::{Left, TaskError};

use crate::common::{self, eventually};
use crate::setup::{Hold, Processes, bytes, kill, parent, retries};

tests![
    only_the_task_of_a_dead_worker_fails,
    what_has_ended_does_not_run_again,
    a_death_is_described,
    a_death_can_be_retried,
    a_restarted_worker_takes_only_what_it_runs_with_it,
    who_takes_whose_place_is_known,
    garbage_is_answered_for,
    who_hangs_up_is_killed,
    random_kills_lose_nothing,
];

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

fn who_takes_whose_place_is_known() {
    let processes = Processes::new(1);
    let reader = processes.engine.reader();
    let place = || {
        let totals = reader.totals().expect("it is well");
        let worker = totals.workers.last().expect("one is there");
        (worker.worker, worker.place.expect("it has begun"))
    };
    processes.wait(&processes.submit("echo", b""));
    let (first, its) = place();
    assert_eq!((its.number, its.attempt, its.after), (1, 1, None));
    processes.died(&processes.submit("die", b""));
    processes.wait(&processes.submit("echo", b""));
    let (second, its) = place();
    assert_eq!((its.number, its.attempt), (1, 2));
    assert_eq!(its.after, Some((first, Left::Died)));
    assert!(reader.retire_worker(second));
    processes.wait(&processes.submit("echo", b""));
    let (_, its) = place();
    assert_eq!((its.number, its.attempt), (1, 3));
    assert_eq!(its.after, Some((second, Left::Retired)));
    let totals = reader.totals().expect("it is well");
    let pool = &totals.pools.known[&processes.pool];
    assert_eq!((pool.places, pool.started, pool.restarts), (1, 3, 2));
    assert_eq!((pool.died, pool.retired, pool.ended), (1, 1, 0));
    let left: Vec<_> = totals.started.iter().map(|started| started.left).collect();
    assert_eq!(left, [Some(Left::Died), Some(Left::Retired), None]);
}

fn a_restarted_worker_takes_only_what_it_runs_with_it() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    hold.began();
    let hold_behind = Hold::new();
    let behind = processes.submit("hold", hold_behind.args());
    let [pid] = processes.pids_of();
    let reader = processes.engine.reader();
    let worker = reader.totals().expect("it is well").workers[0].worker;
    assert!(reader.restart_worker(worker));
    // It may end by itself before it is killed: what comes next must not begin there.
    hold.release();
    processes.wait(&held);
    eventually("the worker is killed", || parent(pid).is_none());
    hold_behind.release();
    assert_eq!(processes.result(&behind), b"held");
    // Its end was asked for.
    assert!(reader.deaths().is_empty());
    assert_eq!(reader.totals().expect("it is well").deaths, 0);
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
    let [pid] = processes.pids_of();
    kill(pid);
    let report = processes.died(&held);
    assert_eq!((report.pid, report.signal), (pid, Some(9)));
    processes.check();
    // And while it has nothing to do.
    let [pid] = processes.pids_of();
    kill(pid);
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
