//! Tests: a picture made from a script of events.
//!
//! One event a line: the time in microseconds, a verb, and numbers. `submit TASK GROUP`, `ready TASK`,
//! `hand TASK WORKER GROUP`, `start TASK`, `supply TASK BY`, `finish TASK RAN_US [LOAD_US STORE_US SPILLED]` with a result of ten bytes for each, `fail TASK [RAN_US LOAD_US]`, `retry TASK`,
//! `reject TASK WHY`, `block TASK`, `unblock TASK`, `up WORKER SLOTS`, `down WORKER`, `miss COUNT`.

use std::num::NonZeroU64;

use lineshaft_core::{
    Attempt, Event, EventKind, GroupId, Phases, PoolId, Rejection, TaskId, Time, WorkerId,
};

use lineshaft_engine::GroupName;

use crate::picture::Picture;

pub(crate) fn picture(script: &str) -> Picture {
    let mut picture = Picture::new(Time(0));
    play(&mut picture, script);
    picture
}

pub(crate) fn play(picture: &mut Picture, script: &str) {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let small = |index: usize| match words.get(index) {
            Some(word) => word.parse::<u32>().expect("a small number"),
            None => 0,
        };
        let at = Time(number(0) * 1_000);
        if words[1] == "miss" {
            picture.miss(number(2));
            continue;
        }
        let kind = match words[1] {
            "up" => EventKind::WorkerUp {
                worker: WorkerId(small(2)),
                pool: PoolId(0),
                slots: small(3),
            },
            "down" => EventKind::WorkerDown {
                worker: WorkerId(small(2)),
            },
            verb => of_task(verb, TaskId(number(2)), &small),
        };
        picture.apply(&Event { at, kind });
    }
    picture.name_groups(|group| name(&format!("f{}", group.0)));
}

fn of_task(verb: &str, task: TaskId, small: &dyn Fn(usize) -> u32) -> EventKind {
    let attempt = Attempt(1);
    match verb {
        "submit" => EventKind::Submitted {
            task,
            pool: PoolId(0),
            group: GroupId(small(3)),
        },
        "ready" => EventKind::Ready { task },
        "hand" => EventKind::Assigned {
            task,
            attempt,
            worker: WorkerId(small(3)),
            group: GroupId(small(4)),
        },
        "supply" => EventKind::Supplied {
            task,
            by: TaskId(small(3).into()),
        },
        "start" => EventKind::Started { task, attempt },
        "block" => EventKind::Blocked { task, attempt },
        "unblock" => EventKind::Unblocked { task, attempt },
        "finish" => EventKind::Finished {
            task,
            attempt,
            ran_ns: u64::from(small(3)) * 1_000,
            phases: Phases {
                load_us: small(4),
                store_us: small(5),
                spilled: small(6) != 0,
            },
            bytes: 10 * u64::from(small(3)),
        },
        "fail" => EventKind::Failed {
            task,
            attempt,
            ran_ns: NonZeroU64::new(u64::from(small(3)) * 1_000),
            phases: Phases {
                load_us: small(4),
                ..Phases::default()
            },
        },
        "retry" => EventKind::Retried {
            task,
            not_before: Time::NEVER,
        },
        "reject" => EventKind::Rejected {
            task,
            why: match small(3) {
                0 => Rejection::Cancelled,
                1 => Rejection::Failed,
                2 => Rejection::WorkerDied,
                _ => Rejection::Dependency { failed: TaskId(0) },
            },
        },
        other => panic!("no such verb: {other}"),
    }
}

/// A name that only one group has.
pub(crate) fn name(name: &str) -> GroupName {
    GroupName {
        module: "module".into(),
        name: name.into(),
        shown: name.into(),
    }
}
