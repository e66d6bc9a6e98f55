use lineshaft_core::{Phases, WorkerId};

use super::*;
use crate::script::{picture, play};

fn state(picture: &Picture, task: u64) -> &'static str {
    picture.task(TaskId(task)).expect("known").state
}

fn bars(picture: &Picture) -> Vec<(u64, End)> {
    let lanes = picture
        .lanes
        .workers()
        .iter()
        .flat_map(|worker| &worker.lanes);
    let bars = lanes.flat_map(|lane| &lane.bars);
    bars.map(|bar| (bar.task.0, bar.end)).collect()
}

#[test]
fn a_task_goes_through_its_states() {
    let mut picture = picture("0 up 1 1\n0 submit 1 7");
    let steps = [
        ("1 ready 1", "ready"),
        ("2 hand 1 1 7", "running"),
        ("3 block 1", "blocked"),
        ("4 unblock 1", "running"),
        ("5 fail 1\n5 retry 1", "backoff"),
        ("6 ready 1", "ready"),
        ("7 hand 1 1 7", "running"),
        ("8 ready 1", "ready"),
        ("9 hand 1 1 7", "running"),
        ("20 finish 1 5", "finished"),
    ];
    for (event, expected) in steps {
        play(&mut picture, event);
        assert_eq!(state(&picture, 1), expected, "after {event}");
    }
    assert_eq!(bars(&picture), [(1, End::Lost), (1, End::Finished)]);
}

#[test]
fn ends_without_a_result_say_why() {
    let picture = picture(
        "0 up 1 1
         0 submit 1 7
         0 submit 2 7
         0 submit 3 7
         0 submit 4 7
         1 hand 1 1 7
         2 hand 2 1 7
         5 fail 1
         5 reject 1 1
         6 reject 3 3
         7 down 1
         7 fail 2
         7 reject 2 2
         8 reject 4 0",
    );
    let states = [1, 2, 3, 4].map(|task| state(&picture, task));
    assert_eq!(
        states,
        ["failed", "worker-died", "dependency-failed", "cancelled"]
    );
    assert_eq!(bars(&picture), [(1, End::Lost), (2, End::Lost)]);
}

#[test]
fn loading_and_storing_are_no_part_of_a_run_and_what_a_worker_loads_first_is_told_apart() {
    // The first one in each worker loads for 3.2 s.
    let picture = picture(
        "0 up 1 1\n0 up 2 1\n0 submit 1 7\n0 submit 2 7\n0 submit 3 7\n0 submit 4 8
         1 hand 1 1 7\n1 hand 2 2 7
         3300000 finish 1 3290000 3200000 30000\n3300000 supply 4 1
         3300000 finish 2 3260000 3200000
         3300001 hand 3 1 7\n3400000 finish 3 70000 10000
         3400000 hand 4 1 8\n3400010 finish 4 5",
    );
    let row = picture.task(TaskId(1)).expect("known");
    assert_eq!(
        (row.ran_s, row.load_s, row.store_s),
        (Some(0.06), Some(3.2), Some(0.03))
    );
    let group = picture.groups.get(GroupId(7)).expect("seen");
    assert_eq!(group.moving.first_load, Duration::from_millis(6_400));
    assert_eq!(group.moving.most, 2);
    let [.., longest] = group.ran.quartiles().expect("seen");
    assert!(longest < 70_000_000, "{longest}");
    let chain = picture.graph.longest(&picture.tasks);
    assert_eq!(chain.ran, Duration::from_micros(60_005));
}

#[test]
fn what_a_task_waits_for_its_own_calls_is_no_part_of_how_long_it_ran() {
    let mut picture = picture(
        "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n11 block 1\n911 unblock 1\n921 block 1
         971 unblock 1\n1001 finish 1 1000\n1001 submit 2 7\n1002 hand 2 1 7\n1012 block 2",
    );
    let group = picture.groups.get(GroupId(7)).expect("seen");
    assert_eq!(picture.task(TaskId(1)).expect("known").ran_s, Some(5e-5));
    let [.., longest] = group.ran.quartiles().expect("seen");
    assert!(longest < 60_000, "{longest}");
    // What it takes now is no more, either.
    picture.latest.at = Time(5_000_000);
    assert_eq!(picture.waited(TaskId(2)), Duration::from_micros(3_988));
    play(&mut picture, "6000 fail 2\n6000 reject 2 2");
    assert!(picture.waits.is_empty());
}

#[test]
fn what_failed_ran_as_long_as_its_worker_says() {
    let picture = picture(
        "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n2000 fail 1 500\n2000 retry 1\n2001 ready 1
         2002 hand 1 1 7\n9000 fail 1\n9000 reject 1 2\n9000 submit 2 7\n9001 hand 2 1 7
         9900 fail 2 100 30\n9900 reject 2 1",
    );
    let bars = picture.lanes.workers()[0].lanes[0].bars.iter();
    let ran = bars.map(|bar| (bar.task.0, bar.ran.as_micros(), bar.end));
    assert!(ran.eq([
        (1, 500, End::Failed),
        (1, 6_998, End::Lost),
        (2, 100, End::Failed)
    ]));
    let row = |task| picture.task(TaskId(task)).expect("known");
    assert_eq!((row(1).ran_s, row(1).load_s), (None, None));
    assert_eq!((row(2).ran_s, row(2).load_s), (Some(7e-5), Some(3e-5)));
    assert_eq!(picture.groups.get(GroupId(7)).expect("seen").ran.count(), 2);
}

#[test]
fn what_was_taken_back_has_been_queued_all_the_time() {
    let mut picture = picture(
        "0 up 1 1\n0 up 2 1\n0 submit 1 7\n1 ready 1\n2 hand 1 1 7\n300 ready 1\n310 hand 1 2 7
         400 fail 1 50\n400 retry 1\n500 ready 1\n520 hand 1 2 7",
    );
    let queued_s = |picture: &Picture| picture.task(TaskId(1)).expect("known").queued_s;
    let sum = |picture: &Picture| {
        let queued = &picture.groups.get(GroupId(7)).expect("seen").queued;
        (queued.count(), queued.quantile(0.0))
    };
    assert_eq!(queued_s(&picture), Some(2e-5), "since it was to be retried");
    // Once for each attempt that was made.
    assert_eq!(sum(&picture).0, 1);
    assert!(sum(&picture).1 > Some(280_000), "{:?}", sum(&picture));
    play(&mut picture, "600 finish 1 70");
    assert_eq!(sum(&picture).0, 2);
}

#[test]
fn what_is_lost_has_waited_for_nothing() {
    let picture = picture(
        "0 up 1 1\n0 submit 1 7\n1 hand 1 1 7\n11 block 1\n311 unblock 1\n411 fail 1\n411 reject 1 2",
    );
    let bar = &picture.lanes.workers()[0].lanes[0].bars[0];
    assert_eq!((bar.ran.as_micros(), bar.waited_ns), (410, 0));
}

#[test]
fn a_task_whose_submission_was_missed_has_its_group_and_its_bar() {
    let picture = picture("3 miss 1000\n5 hand 9 1 7\n400 finish 9 100");
    assert_eq!((state(&picture, 9), picture.missed), ("finished", 1000));
    assert_eq!(picture.task(TaskId(9)).expect("known").name, "f7");
    assert_eq!(picture.task(TaskId(9)).expect("known").submitted_s, None);
    assert_eq!(bars(&picture), [(9, End::Finished)]);
    assert_eq!(picture.groups.get(GroupId(7)).expect("seen").ran.count(), 1);
}

#[test]
fn an_end_whose_beginning_was_missed_is_counted() {
    let mut picture = picture("0 up 1 1\n5 finish 1 5");
    assert_eq!((picture.lanes.unplaced, bars(&picture).len()), (1, 0));
    play(&mut picture, "6 submit 2 7\n7 finish 2 1");
    assert_eq!(
        (picture.lanes.unplaced, state(&picture, 2)),
        (2, "finished")
    );
}

#[test]
fn after_a_gap_what_has_ended_meanwhile_is_known_to_have() {
    let mut picture =
        picture("0 up 1 1\n0 submit 1 7\n0 submit 2 7\n0 submit 3 7\n1 hand 1 1 7\n1 hand 2 1 7");
    picture.miss(10);
    picture.catch_up(|tasks| tasks.iter().map(|task| *task != TaskId(1)).collect());
    let states = [1, 2, 3].map(|task| state(&picture, task));
    assert_eq!(states, ["unknown", "running", "waiting"]);
    let worker = &picture.lanes.workers()[0];
    assert_eq!(worker.id, WorkerId(1));
    assert!(worker.running().map(|bar| bar.task).eq([TaskId(2)]));
}

#[test]
fn a_million_tasks_stay_within_the_bounds_and_are_all_counted() {
    let mut picture = picture("0 up 1 1");
    for (id, group) in (0..1_000_000).zip([0, 1, 2].into_iter().cycle()) {
        let at = Time(id * 1_000);
        let (task, group, worker) = (TaskId(id), GroupId(group), WorkerId(1));
        let attempt = lineshaft_core::Attempt(1);
        let kinds = [
            EventKind::Submitted {
                task,
                pool: lineshaft_core::PoolId(0),
                group,
            },
            EventKind::Ready { task },
            EventKind::Assigned {
                task,
                attempt,
                worker,
                group,
            },
            EventKind::Finished {
                task,
                attempt,
                ran_ns: 500,
                phases: Phases::default(),
                bytes: 0,
            },
        ];
        for kind in kinds {
            picture.apply(&Event { at, kind });
        }
    }
    assert_eq!(picture.tasks.len(), crate::limits::TASKS_MAX);
    let kept = bars(&picture).len();
    assert!(kept <= crate::limits::BARS_MAX, "{kept}");
    assert_eq!(kept as u64 + picture.lanes.dropped(), 1_000_000);
    let seen = (0..3).map(|group| {
        picture
            .groups
            .get(GroupId(group))
            .expect("seen")
            .ran
            .count()
    });
    assert_eq!(seen.sum::<u64>(), 1_000_000);
}

#[test]
fn a_task_that_ends_is_not_looked_for_among_all_that_its_worker_has() {
    const TASKS: u64 = 500;
    let mut picture = picture("0 up 1 1");
    for verb in ["submit", "ready", "hand"] {
        for task in 0..TASKS {
            let more = if verb == "hand" { "1 7" } else { "7" };
            play(&mut picture, &format!("1 {verb} {task} {more}"));
        }
    }
    for task in 0..TASKS {
        play(&mut picture, &format!("{} finish {task} 1", 10 + task));
    }
    assert_eq!(picture.lanes.workers()[0].looked_at, 500);
    assert_eq!(bars(&picture).len(), 500);
}

#[test]
fn a_task_without_a_place_in_the_table_has_a_bar_and_ends() {
    // Each second one would have the place of the one before it, which waits.
    let other = crate::limits::TASKS_MAX as u64 + 1;
    let running = |picture: &Picture| picture.lanes.workers()[0].in_flight();
    let begun =
        format!("0 up 1 1\n0 submit 1 7\n0 submit {other} 7\n1 ready {other}\n2 hand {other} 1 7");
    let ends = [
        (format!("50 finish {other} 5"), vec![(other, End::Finished)]),
        (
            format!("50 fail {other} 5\n50 reject {other} 1"),
            vec![(other, End::Failed)],
        ),
        (format!("50 reject {other} 0"), vec![]),
        (format!("50 ready {other}"), vec![]),
    ];
    for (end, expected) in ends {
        let mut picture = picture(&begun);
        assert_eq!(running(&picture), 1);
        play(&mut picture, &end);
        assert_eq!(
            (running(&picture), bars(&picture)),
            (0, expected),
            "after {end}"
        );
        assert!(picture.unlisted.is_empty());
        assert_eq!(picture.lanes.unplaced, 0);
    }
    let mut picture = picture(&begun);
    picture.catch_up(|tasks| vec![true; tasks.len()]);
    assert_eq!((running(&picture), picture.unlisted.len()), (1, 1));
    picture.catch_up(|tasks| vec![false; tasks.len()]);
    assert_eq!((running(&picture), picture.unlisted.len()), (0, 0));
}

#[test]
fn how_long_tasks_have_run_grows_while_they_run_and_has_what_was_too_short_to_be_seen() {
    let mut picture = picture("0 up 1 1\n0 submit 1 7\n100 hand 1 1 7\n150 block 1\n200 unblock 1");
    let took_us = |picture: &mut Picture, at_us, ran_us| {
        let summary = lineshaft_core::GroupSummary {
            ran_total: Duration::from_micros(ran_us),
            load_total: Duration::from_micros(1),
            store_total: Duration::from_micros(2),
            ..lineshaft_core::GroupSummary::default()
        };
        let totals = Totals {
            groups: vec![(GroupId(7), summary)],
            ..Totals::default()
        };
        picture.look(Time(at_us * 1_000_u64), totals, Usage::default());
        picture.latest.took.as_micros()
    };
    assert_eq!(took_us(&mut picture, 300, 0), 3 + 150);
    play(&mut picture, "400 finish 1 300");
    assert_eq!(took_us(&mut picture, 500, 250), 3 + 250);
}
