//! A whole run in one piece, for pages that have no server any more: what they would ask it for, they
//! reckon from this.
//!
//! Tasks and bars are lists of numbers, one list for each of their properties, since there may be a
//! quarter of a million of each. Times are nanoseconds since the origin.

use lineshaft_core::{TaskId, Time};
use lineshaft_engine::{AttemptText, Death, OutputDropped, Printed, TaskOutput};
use serde::Serialize;

use super::{DroppedRow, GroupQuery, GroupRow, Overview, PathRow, SampleRow, TextRow, WorkerList};
use crate::lanes::{Bar, End};
use crate::picture::Picture;
use crate::tasks::Task;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Whether the engine had ended when this was taken.
    has_ended: bool,
    overview: Overview,
    run: Vec<SampleRow>,
    groups: Vec<GroupRow>,
    workers: WorkerList,
    lanes: Vec<RecordedLane>,
    tasks: RecordedTasks,
    graph: RecordedGraph,
    profile: RecordedProfile,
    /// What each task printed, and whether some of it may be another's.
    output: Vec<(u64, String, bool)>,
    /// How much more than that.
    output_dropped: Option<DroppedRow>,
    /// Where tasks raised.
    tracebacks: Vec<(u64, TextRow)>,
    arguments: Vec<(u64, TextRow)>,
}

#[derive(Debug, Serialize)]
struct RecordedLane {
    worker: u32,
    lane: usize,
    label: String,
    up_s: f64,
    down_s: Option<f64>,
    dropped: u64,
    task: Vec<u64>,
    group: Vec<u32>,
    start_ns: Vec<i64>,
    ran_ns: Vec<u64>,
    load_us: Vec<u32>,
    store_us: Vec<u32>,
    /// Places of those that waited for other tasks, and for how long.
    waited_ns: Vec<(usize, u64)>,
    /// When these did, as far as that is kept: beginnings and ends.
    waits_ns: Vec<(usize, Vec<[i64; 2]>)>,
    /// Places of those whose result went to disk.
    spilled: Vec<usize>,
    /// Places of those that failed.
    failed: Vec<usize>,
    /// Places of those of them that nobody measured.
    lost: Vec<usize>,
    /// Whether the last one has not ended.
    runs: bool,
}

/// Of each task the same place in every list; null is what has not come or was missed.
#[derive(Debug, Default, Serialize)]
struct RecordedTasks {
    task: Vec<u64>,
    group: Vec<u32>,
    /// Places in `states`.
    state: Vec<usize>,
    states: Vec<&'static str>,
    attempts: Vec<u32>,
    worker: Vec<Option<u32>>,
    submitted_ns: Vec<Option<i64>>,
    ready_ns: Vec<Option<i64>>,
    assigned_ns: Vec<Option<i64>>,
    ended_ns: Vec<Option<i64>>,
    ran_ns: Vec<Option<u64>>,
    /// Zero if its worker did not say.
    load_us: Vec<u32>,
    store_us: Vec<u32>,
    /// Of its result; zero if there is none, or it stayed in its process.
    bytes: Vec<u64>,
    unlisted: u64,
}

#[derive(Debug, Serialize)]
struct RecordedGraph {
    /// Two groups, and how many edges there are from the one to the other.
    links: Vec<(u32, u32, u64)>,
    /// The tasks that each edge is between.
    by: Vec<u64>,
    task: Vec<u64>,
    dropped: u64,
    unlinked: u64,
    /// The tasks of the longest chain, and the rest of what is said of it.
    chain: Vec<u64>,
    path: PathRow,
}

#[derive(Debug, Serialize)]
struct RecordedProfile {
    every_s: f64,
    dropped: u64,
    cut: u64,
    /// Of each frame of the tree.
    name: Vec<String>,
    parent: Vec<u32>,
    /// Of each stack.
    at_ns: Vec<i64>,
    group: Vec<u32>,
    leaf: Vec<u32>,
    stands_for_ms: Vec<u32>,
    took_us: Vec<u32>,
}

/// What of a record the picture does not know.
pub(crate) struct Beside {
    pub(crate) has_ended: bool,
    pub(crate) origin_unix_ms: u64,
    pub(crate) deaths: Vec<Death>,
    pub(crate) printed: Vec<Printed>,
    pub(crate) output_dropped: Option<OutputDropped>,
    pub(crate) tracebacks: Vec<AttemptText>,
    pub(crate) arguments: Vec<AttemptText>,
}

impl Picture {
    pub(crate) fn record(&self, beside: Beside) -> Record {
        Record {
            has_ended: beside.has_ended,
            // Nothing in it changes any more.
            overview: self.overview(0, beside.origin_unix_ms, true),
            run: self.whole_run(),
            groups: self.all_groups(),
            workers: self.worker_list(beside.deaths),
            lanes: self.recorded_lanes(),
            tasks: self.recorded_tasks(),
            graph: self.recorded_graph(),
            profile: self.recorded_profile(),
            output: by_task(&beside.printed),
            output_dropped: beside
                .output_dropped
                .map(|dropped| self.dropped_row(dropped)),
            tracebacks: beside
                .tracebacks
                .into_iter()
                .map(|traceback| (traceback.task.0, TextRow::of(traceback)))
                .collect(),
            arguments: beside
                .arguments
                .into_iter()
                .map(|text| (text.task.0, TextRow::of(text)))
                .collect(),
        }
    }

    fn all_groups(&self) -> Vec<GroupRow> {
        let mut all = Vec::new();
        loop {
            let page = self.group_page(&GroupQuery {
                offset: all.len(),
                ..GroupQuery::default()
            });
            all.extend(page.rows);
            if all.len() >= page.found {
                return all;
            }
        }
    }

    fn recorded_lanes(&self) -> Vec<RecordedLane> {
        let mut lanes = Vec::new();
        for worker in self.lanes.workers() {
            let running = self.running_by_lane(worker);
            for number in 0..running.len().max(1) {
                let running = running.get(number).and_then(Option::as_ref);
                let lane = worker.lanes.get(number);
                let ended = lane.into_iter().flat_map(|lane| lane.bars.iter());
                let bars: Vec<&Bar> = ended.chain(running).collect();
                let failed = (0..bars.len()).filter(|place| bars[*place].end.is_failure());
                let lost = (0..bars.len()).filter(|place| bars[*place].end == End::Lost);
                let waited = bars.iter().enumerate();
                let waited = waited.map(|(place, bar)| (place, bar.waited_ns));
                let waited = waited.filter(|(_, waited_ns)| *waited_ns > 0);
                let spilled = (0..bars.len()).filter(|place| bars[*place].phases.spilled);
                lanes.push(RecordedLane {
                    worker: worker.id.0,
                    lane: number,
                    label: worker.label(number),
                    up_s: self.seconds_of(worker.up),
                    down_s: worker.down.map(|at| self.seconds_of(at)),
                    dropped: lane.map_or(0, |lane| lane.dropped),
                    task: bars.iter().map(|bar| bar.task.0).collect(),
                    group: bars.iter().map(|bar| bar.group.0).collect(),
                    start_ns: bars.iter().map(|bar| self.ns(bar.start)).collect(),
                    ran_ns: bars.iter().map(|bar| ns_of(bar.ran)).collect(),
                    load_us: bars.iter().map(|bar| bar.phases.load_us).collect(),
                    store_us: bars.iter().map(|bar| bar.phases.store_us).collect(),
                    waited_ns: waited.collect(),
                    waits_ns: self.recorded_waits(&bars),
                    spilled: spilled.collect(),
                    failed: failed.collect(),
                    lost: lost.collect(),
                    runs: running.is_some(),
                });
            }
        }
        lanes
    }

    fn recorded_waits(&self, bars: &[&Bar]) -> Vec<(usize, Vec<[i64; 2]>)> {
        let waits = bars.iter().map(|bar| self.waits_of(bar)).enumerate();
        let waits = waits.filter(|(_, waits)| !waits.is_empty());
        let in_ns = |(from, to)| [self.ns(from), self.ns(to)];
        waits
            .map(|(place, waits)| (place, waits.into_iter().map(in_ns).collect()))
            .collect()
    }

    fn recorded_tasks(&self) -> RecordedTasks {
        let mut all: Vec<&Task> = self.tasks.iter().collect();
        all.sort_unstable_by_key(|task| task.id);
        let running = self.running_tasks();
        let time = |at: Time| (at != Time::NEVER).then(|| self.ns(at));
        let mut rows = RecordedTasks {
            unlisted: self.beyond(self.task_counts().submitted).tasks_unlisted,
            ..RecordedTasks::default()
        };
        for task in all {
            let name = super::tasks::state_name(task, &running);
            let state = rows.states.iter().position(|state| *state == name);
            rows.state.push(state.unwrap_or_else(|| {
                rows.states.push(name);
                rows.states.len() - 1
            }));
            rows.task.push(task.id.0);
            rows.group.push(task.group.0);
            rows.attempts.push(task.attempt);
            rows.worker.push(task.worker.map(|worker| worker.0));
            rows.submitted_ns.push(time(task.submitted));
            rows.ready_ns.push(time(task.ready));
            rows.assigned_ns.push(time(task.assigned));
            rows.ended_ns.push(time(task.ended));
            rows.bytes.push(task.bytes);
            rows.load_us.push(task.phases.load_us);
            rows.store_us.push(task.phases.store_us);
            rows.ran_ns.push(task.ran.map(ns_of));
        }
        rows
    }

    fn recorded_graph(&self) -> RecordedGraph {
        let graph = &self.graph;
        let chain = graph.longest(&self.tasks);
        let links = graph.links();
        let mut links: Vec<_> = links
            .map(|(from, to, count)| (from.0, to.0, count))
            .collect();
        links.sort_unstable();
        RecordedGraph {
            links,
            by: graph.edges().map(|edge| edge.by.0).collect(),
            task: graph.edges().map(|edge| edge.task.0).collect(),
            dropped: graph.dropped,
            unlinked: graph.unlinked,
            chain: chain.tasks.iter().map(|task| task.0).collect(),
            path: self.path_row(&chain),
        }
    }

    fn recorded_profile(&self) -> RecordedProfile {
        let profile = &self.profile;
        let taken: Vec<_> = profile.between(Time(0), Time::NEVER, None).collect();
        let count = u32::try_from(profile.nodes().len()).expect("bounded");
        RecordedProfile {
            every_s: crate::limits::PROFILE_EVERY.as_secs_f64(),
            dropped: profile.dropped,
            cut: profile.cut,
            name: (0..count)
                .map(|node| profile.name(node).to_owned())
                .collect(),
            parent: profile.nodes().iter().map(|node| node.parent).collect(),
            at_ns: taken.iter().map(|taken| self.ns(taken.at)).collect(),
            group: taken.iter().map(|taken| taken.group.0).collect(),
            leaf: taken.iter().map(|taken| taken.leaf).collect(),
            stands_for_ms: taken.iter().map(|taken| taken.stands_for_ms).collect(),
            took_us: taken.iter().map(|taken| taken.took_us).collect(),
        }
    }

    fn ns(&self, at: Time) -> i64 {
        at.0.cast_signed() - self.origin.0.cast_signed()
    }
}

fn ns_of(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn by_task(printed: &[Printed]) -> Vec<(u64, String, bool)> {
    let mut all: rustc_hash::FxHashMap<TaskId, TaskOutput> = rustc_hash::FxHashMap::default();
    for piece in printed {
        if let Some(task) = piece.task {
            all.entry(task).or_default().add(piece);
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut all: Vec<_> = all
        .into_iter()
        .map(|(task, output)| (task.0, text(output.bytes), output.is_guess))
        .collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    #[test]
    fn everything_that_is_kept_is_in_it() {
        let picture = picture(
            "0 up 1 1\n0 submit 1 7\n1 ready 1\n5 hand 1 1 7\n405 finish 1 100 30 20 1
             410 submit 2 8\n411 ready 2\n412 hand 2 1 8\n500 fail 2\n500 reject 2 1
             510 hand 3 1 9",
        );
        let record = picture.record(Beside {
            has_ended: true,
            origin_unix_ms: 1,
            deaths: Vec::new(),
            printed: Vec::new(),
            output_dropped: None,
            tracebacks: Vec::new(),
            arguments: Vec::new(),
        });
        let [lane] = &record.lanes[..] else {
            panic!("one lane: {record:?}");
        };
        assert_eq!(
            (&lane.task[..], &lane.failed[..], &lane.lost[..]),
            (&[1, 2, 3][..], &[1][..], &[1][..])
        );
        assert!(lane.runs);
        assert_eq!((lane.start_ns[0], lane.ran_ns[0]), (5_000, 100_000));
        assert_eq!(
            (&lane.load_us[..], &lane.store_us[..], &lane.spilled[..]),
            (&[30, 0, 0][..], &[20, 0, 0][..], &[0][..])
        );
        let tasks = &record.tasks;
        let states = tasks.state.iter().map(|state| tasks.states[*state]);
        assert!(states.eq(["finished", "failed", "running"]));
        assert_eq!(tasks.submitted_ns, [Some(0), Some(410_000), None]);
        assert_eq!(tasks.ran_ns, [Some(50_000), None, None]);
        assert_eq!((tasks.load_us[0], tasks.store_us[0]), (30, 20));
    }
}
