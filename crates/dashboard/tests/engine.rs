//! The picture of a real engine: closures on its threads.

mod common;

use std::time::Duration;

use common::Rig;
use lineshaft_dashboard::Dashboard;
use lineshaft_dashboard::limits::SAMPLE_EVERY;
use lineshaft_dashboard::view::{TaskQuery, TimelineQuery};
use lineshaft_engine::Waited;

#[test]
fn what_happened_before_and_after_the_start_is_there_when_the_engine_has_ended() {
    let rig = Rig::new();
    rig.run("before", 10);
    let dashboard = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    assert_eq!(dashboard.overview(0).tasks.finished, 10, "at once");
    rig.run("after", 20);
    let failed = rig.submit(rig.engine.group("", "failing"), true);
    assert!(matches!(
        rig.engine
            .wait(&failed, Some(Duration::from_secs(30)), None),
        Waited::Done
    ));
    rig.engine.shut_down();
    dashboard.refresh();

    let overview = dashboard.overview(0);
    assert!(overview.ended);
    let tasks = overview.tasks;
    assert_eq!(
        (tasks.submitted, tasks.finished, tasks.failed, tasks.dropped),
        (31, 30, 1, 0)
    );
    let open = tasks.waiting + tasks.ready + tasks.backoff + tasks.ahead + tasks.running;
    assert_eq!(open + tasks.blocked, 0);
    for group in &overview.groups {
        let ended = group.finished + group.failed + group.dropped;
        assert_eq!(ended, group.submitted, "{group:?}");
    }
    let mut finished: Vec<(String, u64, u64)> = overview
        .groups
        .iter()
        .map(|group| (group.name.clone(), group.finished, group.seen))
        .collect();
    finished.sort();
    let expected = [("after", 20, 20), ("before", 10, 10), ("failing", 0, 1)];
    assert_eq!(
        finished,
        expected.map(|(name, finished, seen)| (name.into(), finished, seen))
    );
    assert_eq!(
        overview.beyond,
        lineshaft_dashboard::view::Beyond::default()
    );

    let page = dashboard.tasks(&TaskQuery::default());
    assert_eq!((page.found, page.unlisted), (31, 0));
    assert_eq!(
        (page.rows[0].task, page.rows[0].state),
        (failed.task().0, "failed")
    );
    let window = TimelineQuery {
        from_s: -1.0,
        to_s: 1e6,
        columns: 4_000,
        ..TimelineQuery::default()
    };
    let timeline = dashboard.timeline(&window);
    let cells = timeline.lanes.iter().flat_map(|lane| &lane.cells);
    assert_eq!(cells.map(|cell| cell.count).sum::<u32>(), 31);

    let mut trace = Vec::new();
    let traced = dashboard
        .trace(&mut trace)
        .expect("a vector takes everything");
    assert_eq!((traced.attempts, traced.attempts_missing), (31, 0));
    let metrics = dashboard.metrics();
    for line in [
        "lineshaft_tasks_ended_total{outcome=\"finished\"} 30",
        "lineshaft_tasks_ended_total{outcome=\"failed\"} 1",
        "lineshaft_tasks{state=\"running\"} 0",
        "lineshaft_group_tasks_finished_total{group=\"after\"} 20",
        "lineshaft_group_failures_total{group=\"after\"} 0",
        "lineshaft_group_failures_total{group=\"failing\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
}

#[test]
fn who_looks_often_sees_what_is_so_and_takes_no_samples() {
    let rig = Rig::new();
    let dashboard = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    for count in 1..=200 {
        rig.run("some", 1);
        dashboard.refresh();
        let overview = dashboard.overview(0);
        assert_eq!(overview.tasks.finished, count, "at once");
        let last = overview.samples.last().expect("the first of all");
        assert!(last.at_s <= overview.at_s);
    }
    rig.engine.shut_down();
    dashboard.refresh();
    let run = dashboard.whole_run();
    let apart = run.windows(2).map(|two| two[1].at_s - two[0].at_s);
    let least_s = SAMPLE_EVERY.as_secs_f64() - 1e-6;
    assert!(
        apart.into_iter().all(|apart_s| apart_s >= least_s),
        "{run:?}"
    );
    assert_eq!(run.last().map(|sample| sample.ended), Some(200));
}

#[test]
fn a_reader_that_comes_late_counts_all_and_says_what_it_missed() {
    let rig = Rig::new();
    let kept = lineshaft_core::limits::EVENTS_MAX;
    rig.run("many", kept / 2);
    let dashboard = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    let overview = dashboard.overview(0);
    assert_eq!(overview.tasks.finished, kept as u64 / 2);
    let beyond = overview.beyond;
    assert!(beyond.events_missed > 0, "{beyond:?}");
    let page = dashboard.tasks(&TaskQuery::default());
    assert_eq!(page.listed as u64 + page.unlisted, kept as u64 / 2);
}

#[test]
fn a_report_has_the_run_in_it_and_a_build_without_pages_says_that_it_has_none() {
    let rig = Rig::new();
    let dashboard = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    rig.run("</script>few", 3);
    let mut report = Vec::new();
    let written = dashboard.report(&mut report);
    // The same variable says which of the two this build is.
    if option_env!("LINESHAFT_WEB_DIST").is_some_and(|dist| std::path::Path::new(dist).is_dir()) {
        written.expect("a vector takes everything");
        let report = String::from_utf8(report).expect("HTML is text");
        assert!(
            report.contains("\\u003c/script>few"),
            "what looks like a tag is text"
        );
        assert_eq!(report.matches("</script").count(), 2);
        assert!(!report.contains("app.js") && !report.contains("app.css"));
    } else {
        let error = written.expect_err("there are no pages");
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(report.is_empty());
    }
}

#[test]
fn the_picture_does_not_keep_the_engine_from_ending_nor_the_engine_the_picture() {
    let rig = Rig::new();
    let first = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    drop(first);
    let second = Dashboard::start(rig.engine.reader()).expect("a thread starts");
    rig.run("few", 3);
    drop(rig);
    second.refresh();
    let overview = second.overview(0);
    assert!(overview.ended);
    assert_eq!(overview.tasks.finished, 3);
}
