//! Bars on lanes within a window of time, in no more detail than can be seen.

use std::cmp::Reverse;
use std::time::Duration;

use lineshaft_core::{GroupId, Time};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::lanes::{Bar, End, Lane, Worker};
use crate::picture::Picture;

/// Columns of a window at most.
const COLUMNS_MAX: usize = 4_096;

/// Lanes in one answer; further ones are asked for by their number.
const LANES_MAX: usize = 256;

/// Groups in one answer; the page says how many more there are.
const GROUPS_SHOWN: usize = 100;

/// A window of time.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    /// Its beginning.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// How many columns can be told apart on the screen.
    pub columns: usize,
    /// The number of the first lane wanted.
    #[serde(default)]
    pub lane: usize,
    /// Lanes wanted, at most 256; zero for that many.
    #[serde(default)]
    pub lanes: usize,
}

/// Lanes within a window.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Timeline {
    /// The window.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// When this was so: bars without an end had come to here.
    pub at_s: f64,
    /// The first and the last time that there is anything to see of.
    pub whole_s: [f64; 2],
    /// The width of the columns that cells are of.
    pub column_s: f64,
    /// The lanes, in the order in which their workers came up.
    pub lanes: Vec<LaneRow>,
    /// The number of the first one among all.
    pub lane: usize,
    /// How many there are in all.
    pub lanes_total: usize,
    /// How many of them ran something in the window.
    pub lanes_ran: usize,
    /// Time within the window that tasks took on all lanes, and what of that their calls ran.
    pub took_s: f64,
    /// See there.
    pub ran_s: f64,
    /// What all lanes ran in the window, by function; those that took the most time.
    pub groups: Vec<GroupShare>,
    /// How many more functions there are.
    pub groups_more: usize,
    /// Bars that are gone, of all lanes and times.
    pub bars_dropped: u64,
    /// Attempts that never had one.
    pub bars_missing: u64,
}

/// What of one function was run within a window.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GroupShare {
    /// Identity.
    pub group: u32,
    /// Its name.
    pub name: String,
    /// Attempts that lie in the window, at least in part.
    pub count: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of these nobody measured, since their workers died or they ran out of time on a thread: what of their
    /// time their calls ran is not known.
    pub lost: u64,
    /// Time within the window that these took.
    pub lost_s: f64,
    /// Time within the window that their calls ran. What a call that lies in it in part waited counts in proportion.
    pub ran_s: f64,
    /// Time within the window that they waited for other tasks.
    pub waited_s: f64,
    /// Time within the window that they took beside that, to load and to store.
    pub moved_s: f64,
    /// The longest call of them, in all.
    pub longest_s: f64,
}

/// One lane.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LaneRow {
    /// Its worker.
    pub worker: u32,
    /// Its number among the lanes of this worker.
    pub lane: usize,
    /// Its name.
    pub label: String,
    /// When the worker came up.
    pub up_s: f64,
    /// When the worker was gone.
    pub down_s: Option<f64>,
    /// Time within the window that it ran tasks.
    pub ran_s: f64,
    /// Bars that are gone; they were before those that are there.
    pub dropped: u64,
    /// Single bars, where they are wide enough to be seen.
    pub bars: Vec<BarRow>,
    /// What is drawn for the others.
    pub cells: Vec<Cell>,
}

/// One attempt.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BarRow {
    /// Its task.
    pub task: u64,
    /// The group of that.
    pub group: u32,
    /// Its beginning.
    pub start_s: f64,
    /// Its end; None while it runs.
    pub end_s: Option<f64>,
    /// Whether it failed.
    pub failed: bool,
    /// How long it loaded its function and arguments, at its beginning.
    pub load_s: f64,
    /// How long it stored its result, at its end.
    pub store_s: f64,
    /// Whether it did that onto disk.
    pub spilled: bool,
    /// How long its call waited for other tasks, somewhere between these.
    pub waited_s: f64,
    /// When it did so, as far as that is kept: beginnings and ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_s: Vec<[f64; 2]>,
}

/// Attempts too short to be seen one by one, within one column.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The column's beginning.
    pub start_s: f64,
    /// The group that ran for most of the time.
    pub group: u32,
    /// Attempts that begin in it.
    pub count: u32,
    /// How much of the column they fill.
    pub busy: f64,
    /// How many of them failed.
    pub failed: u32,
}

impl Picture {
    pub(crate) fn timeline(&self, query: &TimelineQuery) -> Timeline {
        let window = Window::new(self, query.from_s, query.to_s, query.columns);
        let wanted = match query.lanes {
            0 => LANES_MAX,
            lanes => lanes.min(LANES_MAX),
        };
        let wanted = query.lane..query.lane.saturating_add(wanted);
        let (mut lanes, mut shares) = (Vec::new(), Shares::default());
        let (mut lanes_total, mut lanes_ran) = (0, 0);
        let empty = Lane::default();
        for worker in self.lanes.workers() {
            let running = self.running_by_lane(worker);
            // A lane that has not ended anything yet is there too.
            for number in 0..running.len().max(1) {
                let lane = worker.lanes.get(number).unwrap_or(&empty);
                let running = running.get(number).and_then(Option::as_ref);
                let bars = || lane.bars_between(window.from, window.to);
                let of_lane = bars().chain(running.filter(|bar| bar.start < window.to));
                let ran_ns: u64 = of_lane.map(|bar| shares.add(bar, &window)).sum();
                lanes_ran += usize::from(ran_ns > 0);
                if wanted.contains(&lanes_total) {
                    let ran = Duration::from_nanos(ran_ns);
                    let row = self.lane_row(worker, number, lane, ran);
                    lanes.push(self.fill(row, bars(), running, &window));
                }
                lanes_total += 1;
            }
        }
        let [took_s, ran_s] = shares.total_s();
        let (groups, groups_more) = shares.rows(self);
        Timeline {
            from_s: self.seconds_of(window.from),
            to_s: self.seconds_of(window.to),
            at_s: self.seconds_of(self.now()),
            whole_s: self.whole(),
            column_s: Duration::from_nanos(window.column_ns).as_secs_f64(),
            lanes,
            lane: query.lane,
            lanes_total,
            lanes_ran,
            took_s,
            ran_s,
            groups,
            groups_more,
            bars_dropped: self.lanes.dropped(),
            bars_missing: self.lanes.unplaced,
        }
    }

    /// What a worker runs, by lane, with bars that come to here.
    pub(crate) fn running_by_lane(&self, worker: &Worker) -> Vec<Option<Bar>> {
        let running = worker.running_by_lane().into_iter();
        running
            .map(|bar| bar.map(|bar| self.until_now(bar)))
            .collect()
    }

    /// The first and the last time that there is a bar of; of one without an end that is now.
    pub(crate) fn whole(&self) -> [f64; 2] {
        let workers = || self.lanes.workers().iter();
        let lanes = workers().flat_map(|worker| &worker.lanes);
        let ended = lanes.filter_map(|lane| Some((lane.bars.front()?, lane.bars.back()?)));
        let ended = ended.map(|(first, last)| (first.start, last.start + last.ran));
        let running = workers().flat_map(Worker::running);
        let running = running.map(|bar| (bar.start, self.now().max(bar.start)));
        let both =
            |one: (Time, Time), other: (Time, Time)| (one.0.min(other.0), one.1.max(other.1));
        let (first, last) = ended
            .chain(running)
            .reduce(both)
            .unwrap_or((self.origin, self.now()));
        [first, last].map(|at| self.seconds_of(at))
    }

    fn lane_row(&self, worker: &Worker, number: usize, lane: &Lane, ran: Duration) -> LaneRow {
        LaneRow {
            worker: worker.id.0,
            lane: number,
            label: worker.label(number),
            up_s: self.seconds_of(worker.up),
            down_s: worker.down.map(|at| self.seconds_of(at)),
            ran_s: ran.as_secs_f64(),
            dropped: lane.dropped,
            bars: Vec::new(),
            cells: Vec::new(),
        }
    }

    fn fill<'a>(
        &self,
        mut row: LaneRow,
        bars: impl Iterator<Item = &'a Bar>,
        running: Option<&Bar>,
        window: &Window,
    ) -> LaneRow {
        let mut cell: Option<Column> = None;
        for bar in bars {
            if bar.ran.as_nanos() >= u128::from(window.column_ns) {
                row.bars.push(self.bar_row(bar));
                continue;
            }
            let start = window.column(bar.start);
            if cell.as_ref().is_none_or(|cell| cell.start != start) {
                row.cells
                    .extend(cell.take().map(|cell| self.cell(&cell, window)));
            }
            cell.get_or_insert_with(|| Column::new(start)).add(bar);
        }
        row.cells.extend(cell.map(|cell| self.cell(&cell, window)));
        let running = running.filter(|bar| bar.start < window.to);
        row.bars.extend(running.map(|bar| self.bar_row(bar)));
        row
    }

    fn bar_row(&self, bar: &Bar) -> BarRow {
        BarRow {
            task: bar.task.0,
            group: bar.group.0,
            start_s: self.seconds_of(bar.start),
            end_s: (bar.end != End::Running).then(|| self.seconds_of(bar.start + bar.ran)),
            failed: bar.end.is_failure(),
            load_s: bar.phases.load().as_secs_f64(),
            store_s: bar.phases.store().as_secs_f64(),
            spilled: bar.phases.spilled,
            waited_s: bar.waited().as_secs_f64(),
            waits_s: self
                .waits_of(bar)
                .into_iter()
                .map(|(from, to)| [self.seconds_of(from), self.seconds_of(to)])
                .collect(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a fraction")]
    fn cell(&self, column: &Column, window: &Window) -> Cell {
        let most = column
            .groups
            .iter()
            .max_by_key(|(group, ran)| (**ran, Reverse(**group)));
        Cell {
            start_s: self.seconds_of(column.start),
            group: most.map_or(0, |(group, _)| *group),
            count: column.count,
            busy: (column.busy_ns as f64 / window.column_ns as f64).min(1.0),
            failed: column.failed,
        }
    }
}

pub(crate) struct Window {
    pub(crate) from: Time,
    pub(crate) to: Time,
    pub(crate) column_ns: u64,
}

impl Window {
    pub(crate) fn new(picture: &Picture, from_s: f64, to_s: f64, columns: usize) -> Window {
        let (from, to) = (picture.time(from_s), picture.time(to_s));
        let to = to.max(Time(from.0.saturating_add(1)));
        let columns = columns.clamp(1, COLUMNS_MAX) as u64;
        Window {
            from,
            to,
            column_ns: (to.0 - from.0).div_ceil(columns).max(1),
        }
    }

    /// The beginning of the column that this time is in. Columns do not move with the window, so that
    /// what is drawn does not flicker when it is shifted.
    pub(crate) fn column(&self, at: Time) -> Time {
        Time(at.0 / self.column_ns * self.column_ns)
    }
}

/// What was run within a window, by group.
#[derive(Default)]
struct Shares(FxHashMap<GroupId, Share>);

#[derive(Default)]
struct Share {
    count: u64,
    failed: u64,
    lost: u64,
    lost_ns: u64,
    ran_ns: u64,
    waited_ns: u64,
    moved_ns: u64,
    longest: Duration,
}

impl Share {
    fn took_ns(&self) -> u64 {
        self.ran_ns + self.waited_ns + self.moved_ns + self.lost_ns
    }
}

impl Shares {
    /// Adds a bar; returns how much of the window it takes.
    fn add(&mut self, bar: &Bar, window: &Window) -> u64 {
        let within_ns = |start: Time, lasted| {
            let end = (start + lasted).min(window.to);
            end.0.saturating_sub(start.max(window.from).0)
        };
        let all_ns = within_ns(bar.start, bar.ran);
        let share = self.0.entry(bar.group).or_default();
        share.count += 1;
        share.failed += u64::from(bar.end.is_failure());
        if bar.end == End::Lost {
            share.lost += 1;
            share.lost_ns += all_ns;
            return all_ns;
        }
        let (load, call) = (bar.phases.load(), bar.phases.call(bar.ran));
        let called_ns = within_ns(bar.start + load, call).min(all_ns);
        let waited_ns = u128::from(bar.waited_ns) * u128::from(called_ns) / call.as_nanos().max(1);
        let waited_ns = u64::try_from(waited_ns).map_or(called_ns, |ns| ns.min(called_ns));
        share.ran_ns += called_ns - waited_ns;
        share.waited_ns += waited_ns;
        share.moved_ns += all_ns - called_ns;
        share.longest = share.longest.max(call.saturating_sub(bar.waited()));
        all_ns
    }

    /// Time that all of them took, and what of that their calls ran.
    fn total_s(&self) -> [f64; 2] {
        let sum = |of: fn(&Share) -> u64| self.0.values().map(of).sum();
        let took_ns = sum(Share::took_ns);
        [took_ns, sum(|share| share.ran_ns)].map(|ns| Duration::from_nanos(ns).as_secs_f64())
    }

    /// Those that took the most time, and how many more there are.
    fn rows(self, picture: &Picture) -> (Vec<GroupShare>, usize) {
        let mut all: Vec<(GroupId, Share)> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(id, share)| (Reverse(share.took_ns()), *id));
        let more = all.len().saturating_sub(GROUPS_SHOWN);
        all.truncate(GROUPS_SHOWN);
        let row = |(id, share): (GroupId, Share)| GroupShare {
            group: id.0,
            name: picture.group_label(id),
            count: share.count,
            failed: share.failed,
            lost: share.lost,
            lost_s: Duration::from_nanos(share.lost_ns).as_secs_f64(),
            ran_s: Duration::from_nanos(share.ran_ns).as_secs_f64(),
            waited_s: Duration::from_nanos(share.waited_ns).as_secs_f64(),
            moved_s: Duration::from_nanos(share.moved_ns).as_secs_f64(),
            longest_s: share.longest.as_secs_f64(),
        };
        (all.into_iter().map(row).collect(), more)
    }
}

struct Column {
    start: Time,
    busy_ns: u64,
    count: u32,
    failed: u32,
    groups: FxHashMap<u32, u64>,
}

impl Column {
    fn new(start: Time) -> Column {
        Column {
            start,
            busy_ns: 0,
            count: 0,
            failed: 0,
            groups: FxHashMap::default(),
        }
    }

    fn add(&mut self, bar: &Bar) {
        let ran_ns = u64::try_from(bar.ran.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns += ran_ns;
        self.count += 1;
        self.failed += u32::from(bar.end.is_failure());
        *self.groups.entry(bar.group.0).or_default() += ran_ns;
    }
}

#[cfg(test)]
mod tests;
