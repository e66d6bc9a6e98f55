use super::*;
use lineshaft_engine::Totals;

use crate::script::{picture, play};
use crate::usage::Usage;

fn window(from_us: f64, to_us: f64, columns: usize) -> TimelineQuery {
    TimelineQuery {
        from_s: from_us / 1e6,
        to_s: to_us / 1e6,
        columns,
        ..TimelineQuery::default()
    }
}

/// A hundred tasks of 50 us, one each 100 us.
fn busy_half_of_the_time() -> Picture {
    let task = |n| {
        let (start, end) = (n * 100, n * 100 + 50);
        format!("{start} hand {n} 1 3\n{end} finish {n} 50")
    };
    let lines: Vec<String> = (0..100).map(task).collect();
    picture(&format!("0 up 1 1\n{}", lines.join("\n")))
}

#[test]
fn from_near_there_are_bars() {
    let timeline = busy_half_of_the_time().timeline(&window(1_000.0, 1_390.0, 100));
    let [lane] = &timeline.lanes[..] else {
        panic!("one lane: {timeline:?}");
    };
    let bars: Vec<u64> = lane.bars.iter().map(|bar| bar.task).collect();
    assert_eq!((bars, lane.cells.len()), (vec![10, 11, 12, 13], 0));
}

#[test]
fn from_afar_there_are_cells_that_say_how_busy_the_lane_was() {
    let timeline = busy_half_of_the_time().timeline(&window(0.0, 10_000.0, 10));
    let lane = &timeline.lanes[0];
    assert!(lane.bars.is_empty());
    assert_eq!(lane.cells.len(), 10);
    for cell in &lane.cells {
        assert_eq!((cell.count, cell.group), (10, 3));
        assert!((cell.busy - 0.5).abs() < 1e-9, "{cell:?}");
    }
    assert_eq!(lane.cells.iter().map(|cell| cell.count).sum::<u32>(), 100);
}

#[test]
fn a_running_task_has_a_bar_without_an_end() {
    let picture = picture("0 up 1 1\n5 hand 1 1 3\n5 hand 2 1 3");
    let timeline = picture.timeline(&window(0.0, 10.0, 10));
    let [bar] = &timeline.lanes[0].bars[..] else {
        panic!("one task runs: {timeline:?}");
    };
    assert_eq!((bar.task, bar.end_s), (1, None));
}

#[test]
fn a_bar_has_phases() {
    let picture = picture("0 up 1 1\n5 hand 1 1 3\n500 finish 1 100 30 20 1");
    let timeline = picture.timeline(&window(0.0, 1_000.0, 100));
    let [bar] = &timeline.lanes[0].bars[..] else {
        panic!("one task ran: {timeline:?}");
    };
    assert_eq!((bar.load_s, bar.store_s, bar.spilled), (30e-6, 20e-6, true));
    let all_of_it = &timeline.groups[0];
    assert!((all_of_it.ran_s - 50e-6).abs() < 1e-9, "{all_of_it:?}");
    assert!((all_of_it.moved_s - 50e-6).abs() < 1e-9, "{all_of_it:?}");
    assert!((all_of_it.longest_s - 50e-6).abs() < 1e-9, "{all_of_it:?}");
    // A window that ends 10 us after the call began.
    let start_us = bar.start_s * 1e6;
    let part = picture.timeline(&window(start_us + 5.0, start_us + 40.0, 100));
    assert!((part.groups[0].ran_s - 10e-6).abs() < 1e-9, "{part:?}");
    assert!((part.groups[0].moved_s - 25e-6).abs() < 1e-9, "{part:?}");
}

#[test]
fn what_a_call_waits_is_no_part_of_how_long_it_ran_in_a_window() {
    let picture = picture(
        "0 up 1 1\n0 submit 1 3\n5 hand 1 1 3\n110 block 1\n260 unblock 1\n500 finish 1 250 30 20",
    );
    let timeline = picture.timeline(&window(0.0, 1_000.0, 100));
    let bar = &timeline.lanes[0].bars[0];
    assert!((bar.waited_s - 150e-6).abs() < 1e-9, "{bar:?}");
    let share = &timeline.groups[0];
    let times = [share.ran_s, share.waited_s, share.moved_s, share.longest_s];
    for (is, expected) in times.into_iter().zip([50e-6, 150e-6, 50e-6, 50e-6]) {
        assert!((is - expected).abs() < 1e-9, "{share:?}");
    }
    assert!((timeline.took_s - 250e-6).abs() < 1e-9, "{timeline:?}");
    // Where in the call it waited is not known: a window that has half of the call has half of the wait.
    let call_us = bar.start_s * 1e6 + 30.0;
    let half = picture.timeline(&window(call_us, call_us + 100.0, 100));
    let share = &half.groups[0];
    assert!((share.waited_s - 75e-6).abs() < 1e-9, "{share:?}");
    assert!((share.ran_s - 25e-6).abs() < 1e-9, "{share:?}");
}

#[test]
fn an_attempt_that_nobody_measured_is_in_no_time_that_calls_ran() {
    let picture = picture(
        "0 up 1 1\n0 submit 1 3\n0 submit 2 3\n0 submit 3 3\n5 hand 1 1 3\n105 finish 1 100
         110 hand 2 1 3\n140 fail 2 30\n150 hand 3 1 3\n650 fail 3\n650 reject 3 2",
    );
    let timeline = picture.timeline(&window(0.0, 1_000.0, 100));
    let share = &timeline.groups[0];
    assert_eq!((share.count, share.failed, share.lost), (3, 2, 1));
    let times = [share.ran_s, share.longest_s, share.lost_s, timeline.ran_s];
    for (is, expected) in times.into_iter().zip([130e-6, 100e-6, 500e-6, 130e-6]) {
        assert!((is - expected).abs() < 1e-9, "{share:?}");
    }
    // Its lane was taken all the same.
    assert!((timeline.took_s - 630e-6).abs() < 1e-9, "{timeline:?}");
    assert!((timeline.lanes[0].ran_s - 630e-6).abs() < 1e-9);
}

#[test]
fn lanes_are_asked_for_by_their_number_and_shares_are_of_all() {
    let lines: Vec<String> = (0..300)
        .map(|n| format!("0 up {n} 1\n5 hand {n} {n} 3\n400 finish {n} 100"))
        .collect();
    let picture = picture(&lines.join("\n"));
    let labels = |lane, lanes| {
        let timeline = picture.timeline(&TimelineQuery {
            lane,
            lanes,
            ..window(0.0, 1_000.0, 100)
        });
        assert_eq!((timeline.lane, timeline.lanes_total), (lane, 300));
        assert_eq!(timeline.lanes_ran, 300);
        let [all] = &timeline.groups[..] else {
            panic!("one group: {timeline:?}");
        };
        assert_eq!((all.count, all.name.as_str()), (300, "f3"));
        assert!((all.ran_s - 300.0 * 1e-4).abs() < 1e-9);
        let workers = timeline.lanes.iter().map(|lane| lane.worker);
        workers.collect::<Vec<u32>>()
    };
    assert_eq!(labels(298, 10), [298, 299]);
    assert_eq!(labels(10, 2), [10, 11]);
    assert_eq!(labels(0, 0).len(), LANES_MAX);
    assert_eq!(labels(usize::MAX, 0).len(), 0);
}

#[test]
fn only_what_lies_in_the_window_counts() {
    let timeline = busy_half_of_the_time().timeline(&window(1_025.0, 1_125.0, 100));
    let [share] = &timeline.groups[..] else {
        panic!("one group: {timeline:?}");
    };
    assert_eq!(share.count, 2);
    assert!((timeline.took_s - 50e-6).abs() < 1e-9, "{timeline:?}");
    let gap = busy_half_of_the_time().timeline(&window(1_060.0, 1_090.0, 100));
    assert_eq!((gap.lanes_total, gap.lanes_ran), (1, 0));
    assert!((share.ran_s - 50e-6).abs() < 1e-9, "{share:?}");
    assert!((timeline.lanes[0].ran_s - share.ran_s).abs() < 1e-12);
}

#[test]
fn the_whole_is_from_the_first_bar_to_the_last_one_or_to_now_while_one_runs() {
    let mut picture = picture("0 up 1 1");
    let whole = |picture: &mut Picture, at_us| {
        picture.look(Time(at_us * 1_000_u64), Totals::default(), Usage::default());
        picture.whole().map(|at| format!("{:.0}", at * 1e6))
    };
    assert_eq!(whole(&mut picture, 50), ["0", "50"]);
    play(&mut picture, "100 hand 1 1 3");
    assert_eq!(whole(&mut picture, 500), ["100", "500"]);
    play(&mut picture, "600 finish 1 500");
    assert_eq!(whole(&mut picture, 9_000), ["100", "600"]);
}

#[test]
fn any_window_has_an_answer() {
    let picture = busy_half_of_the_time();
    let strange = [0.0, -1.0, 1e300, -1e300, f64::NAN, f64::INFINITY];
    for from_s in strange {
        for to_s in strange {
            for columns in [0, 1, usize::MAX] {
                let query = TimelineQuery {
                    from_s,
                    to_s,
                    columns,
                    ..TimelineQuery::default()
                };
                assert_eq!(picture.timeline(&query).lanes.len(), 1);
            }
        }
    }
}

#[test]
fn what_runs_long_lies_on_a_lane_of_its_own() {
    // One thread runs the first task all the time, the other one the short ones.
    let picture = picture(
        "0 up 1 2
         0 hand 1 1 7\n0 hand 2 1 8\n100 finish 2 100
         100 hand 3 1 8\n200 finish 3 100
         200 hand 4 1 8",
    );
    let lanes = picture.timeline(&window(0.0, 300.0, 100)).lanes;
    let tasks = |lane: &LaneRow| -> Vec<u64> { lane.bars.iter().map(|bar| bar.task).collect() };
    let tasks: Vec<Vec<u64>> = lanes.iter().map(tasks).collect();
    assert_eq!(tasks, [vec![2, 3, 4], vec![1]]);
}

#[test]
fn each_attempt_has_its_own_waits_within_its_call_and_those_that_are_not_over_come_to_here() {
    let mut picture = picture(
        "0 up 1 1\n0 submit 1 3\n5 hand 1 1 3\n50 block 1\n60 unblock 1\n80 block 1
         100 fail 1 95\n100 retry 1\n200 ready 1\n205 hand 1 1 3\n250 block 1\n260 unblock 1\n290 block 1",
    );
    picture.latest.at = Time(310_000);
    let timeline = picture.timeline(&window(0.0, 310.0, 310));
    let [first, second] = &timeline.lanes[0].bars[..] else {
        panic!("two attempts: {timeline:?}");
    };
    assert_eq!(first.waits_s, [[50e-6, 60e-6], [80e-6, 100e-6]]);
    assert_eq!(second.waits_s, [[250e-6, 260e-6], [290e-6, 310e-6]]);
}
