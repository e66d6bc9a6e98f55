//! Bars on lanes within a window of time, in no more detail than can be seen.

use std::cmp::Reverse;

use lineshaft_core::Time;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::lanes::{Bar, End, Lane, Worker};
use crate::picture::Picture;

/// Columns of a window at most.
const COLUMNS_MAX: usize = 4_096;

/// Lanes in one answer; the page says how many more there are.
const LANES_SHOWN: usize = 256;

/// A window of time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    /// Its beginning.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// How many columns can be told apart on the screen.
    pub columns: usize,
}

/// Lanes within a window.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Timeline {
    /// The window.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// The first and the last time that there is anything to see of.
    pub whole_s: [f64; 2],
    /// The lanes, in the order in which their workers came up.
    pub lanes: Vec<LaneRow>,
    /// How many more there are.
    pub lanes_more: usize,
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
    /// Time that it ran tasks, in all.
    pub busy_s: f64,
    /// Bars that are gone; they were before those that are there.
    pub dropped: u64,
    /// Single bars, where they are wide enough to be seen.
    pub bars: Vec<BarRow>,
    /// What is drawn for the others.
    pub cells: Vec<Cell>,
}

/// One attempt.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
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
}

/// Attempts too short to be seen one by one, within one column.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The column's beginning.
    pub start_s: f64,
    /// Its end.
    pub end_s: f64,
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
        let now = self.history.last().map_or(self.origin, |sample| sample.at);
        let (from, to) = (self.time(query.from_s), self.time(query.to_s));
        let columns = query.columns.clamp(1, COLUMNS_MAX);
        let window = Window::new(from, to.max(Time(from.0.saturating_add(1))), columns);
        let mut lanes = Vec::new();
        let mut lanes_more = 0;
        for worker in self.lanes.workers() {
            let running: Vec<Bar> = worker.running().collect();
            // A lane that has not ended anything yet is there too.
            let count = worker.lanes.len().max(running.len()).max(1);
            let empty = Lane::default();
            for number in 0..count {
                if lanes.len() == LANES_SHOWN {
                    lanes_more += 1;
                    continue;
                }
                let lane = worker.lanes.get(number).unwrap_or(&empty);
                lanes.push(self.lane_row(worker, number, lane, running.get(number), &window));
            }
        }
        let first = self.lanes.workers().iter().flat_map(|worker| &worker.lanes);
        let first = first
            .filter_map(|lane| Some(lane.bars.front()?.start))
            .min();
        Timeline {
            from_s: self.seconds_of(window.from),
            to_s: self.seconds_of(window.to),
            whole_s: [first.unwrap_or(self.origin), now].map(|at| self.seconds_of(at)),
            lanes,
            lanes_more,
        }
    }

    fn lane_row(
        &self,
        worker: &Worker,
        number: usize,
        lane: &Lane,
        running: Option<&Bar>,
        window: &Window,
    ) -> LaneRow {
        let mut row = LaneRow {
            worker: worker.id.0,
            lane: number,
            label: worker.label(number),
            up_s: self.seconds_of(worker.up),
            down_s: worker.down.map(|at| self.seconds_of(at)),
            busy_s: lane.busy.as_secs_f64(),
            dropped: lane.dropped,
            bars: Vec::new(),
            cells: Vec::new(),
        };
        let mut cell: Option<Column> = None;
        // Bars of a lane do not overlap, so those that end before the window come first.
        let first = lane
            .bars
            .partition_point(|bar| bar.start + bar.ran < window.from);
        for bar in lane
            .bars
            .range(first..)
            .take_while(|bar| bar.start < window.to)
        {
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
            failed: bar.end == End::Failed,
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
            end_s: self.seconds_of(Time(column.start.0 + window.column_ns)),
            group: most.map_or(0, |(group, _)| *group),
            count: column.count,
            busy: (column.busy_ns as f64 / window.column_ns as f64).min(1.0),
            failed: column.failed,
        }
    }
}

struct Window {
    from: Time,
    to: Time,
    column_ns: u64,
}

impl Window {
    fn new(from: Time, to: Time, columns: usize) -> Window {
        let column_ns = (to.0 - from.0).div_ceil(columns as u64).max(1);
        Window {
            from,
            to,
            column_ns,
        }
    }

    /// The beginning of the column that this time is in. Columns do not move with the window, so that
    /// what is drawn does not flicker when it is shifted.
    fn column(&self, at: Time) -> Time {
        Time(at.0 / self.column_ns * self.column_ns)
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
        self.failed += u32::from(bar.end == End::Failed);
        *self.groups.entry(bar.group.0).or_default() += ran_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    fn window(from_us: f64, to_us: f64, columns: usize) -> TimelineQuery {
        TimelineQuery {
            from_s: from_us / 1e6,
            to_s: to_us / 1e6,
            columns,
        }
    }

    /// A hundred tasks of 50 us, one each 100 us.
    fn busy_half_of_the_time() -> Picture {
        let task = |n| {
            let (start, end) = (n * 100, n * 100 + 50);
            format!(
                "{start} hand {n} 1 3
{end} finish {n} 50"
            )
        };
        let lines: Vec<String> = (0..100).map(task).collect();
        picture(&format!(
            "0 up 1 1
{}",
            lines.join(
                "
"
            )
        ))
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
        let [bar] = timeline.lanes[0].bars[..] else {
            panic!("one task runs: {timeline:?}");
        };
        assert_eq!((bar.task, bar.end_s), (1, None));
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
                    };
                    assert_eq!(picture.timeline(&query).lanes.len(), 1);
                }
            }
        }
    }
}
