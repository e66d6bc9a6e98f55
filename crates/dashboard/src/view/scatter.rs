//! Start against duration: how long attempts ran depending on when they began.
//!
//! The plane is divided into cells that can be told apart on the screen, durations on a logarithmic
//! scale. So an answer is no larger than the screen, and every attempt is counted in it.

use std::time::Duration;

use lineshaft_core::Time;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::timeline::Window;
use crate::lanes::Bar;
use crate::picture::Picture;

/// Cells from the shortest to the longest attempt.
const ROWS_MAX: usize = 512;

/// A window of time, and how finely it is divided.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScatterQuery {
    /// Its beginning.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// Columns of time.
    pub columns: usize,
    /// Rows of durations.
    pub rows: usize,
}

/// Attempts that began within a window.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Scatter {
    /// The window.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// The shortest and the longest attempt; None if there is none.
    pub ran_s: Option<[f64; 2]>,
    /// How many there are.
    pub count: u64,
    /// Where they lie.
    pub dots: Vec<Dot>,
}

/// Attempts of one function that began at about the same time and ran for about as long.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Dot {
    /// When they began.
    pub start_s: f64,
    /// How long they ran.
    pub ran_s: f64,
    /// Their function.
    pub group: u32,
    /// How many they are.
    pub count: u32,
    /// How many of them failed.
    pub failed: u32,
    /// One of them.
    pub task: u64,
}

impl Picture {
    pub(crate) fn scatter(&self, query: &ScatterQuery) -> Scatter {
        let window = Window::new(self, query.from_s, query.to_s, query.columns);
        let lanes = self.lanes.workers().iter().flat_map(|worker| &worker.lanes);
        let bars = lanes.flat_map(|lane| lane.bars_between(window.from, window.to));
        let bars: Vec<&Bar> = bars.filter(|bar| bar.start >= window.from).collect();
        let scale = Scale::of(&bars, query.rows);
        let mut dots: FxHashMap<(Time, u32, u32), Dot> = FxHashMap::default();
        for bar in &bars {
            let (start, row) = (window.column(bar.start), scale.row(bar.ran));
            let dot = dots
                .entry((start, row, bar.group.0))
                .or_insert_with(|| Dot {
                    start_s: self.seconds_of(start),
                    ran_s: scale.middle_s(row),
                    group: bar.group.0,
                    count: 0,
                    failed: 0,
                    task: bar.task.0,
                });
            dot.count += 1;
            dot.failed += u32::from(bar.end.is_failure());
        }
        let mut dots: Vec<((Time, u32, u32), Dot)> = dots.into_iter().collect();
        dots.sort_unstable_by_key(|(place, _)| *place);
        Scatter {
            from_s: self.seconds_of(window.from),
            to_s: self.seconds_of(window.to),
            ran_s: (!bars.is_empty()).then_some([scale.least.exp(), scale.most.exp()]),
            count: bars.len() as u64,
            dots: dots.into_iter().map(|(_, dot)| dot).collect(),
        }
    }
}

/// Rows of equal height on a logarithmic scale.
struct Scale {
    /// Logarithms of seconds.
    least: f64,
    most: f64,
    rows: u32,
}

impl Scale {
    fn of(bars: &[&Bar], rows: usize) -> Scale {
        let rows = u32::try_from(rows.clamp(1, ROWS_MAX)).expect("not many");
        let of = |ran: Option<Duration>| logarithm(ran.unwrap_or_default());
        Scale {
            least: of(bars.iter().map(|bar| bar.ran).min()),
            most: of(bars.iter().map(|bar| bar.ran).max()),
            rows,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "less than the number of rows"
    )]
    fn row(&self, ran: Duration) -> u32 {
        let width = (self.most - self.least).max(f64::MIN_POSITIVE);
        let place = (logarithm(ran) - self.least) / width;
        ((place * f64::from(self.rows)) as u32).min(self.rows - 1)
    }

    fn middle_s(&self, row: u32) -> f64 {
        let place = (f64::from(row) + 0.5) / f64::from(self.rows);
        (self.least + place * (self.most - self.least)).exp()
    }
}

/// Of what took next to no time, that of a tenth of a microsecond: no call is faster.
fn logarithm(ran: Duration) -> f64 {
    ran.as_secs_f64().max(1e-7).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    fn query(from_us: f64, to_us: f64) -> ScatterQuery {
        ScatterQuery {
            from_s: from_us / 1e6,
            to_s: to_us / 1e6,
            columns: 100,
            rows: 50,
        }
    }

    #[test]
    fn every_attempt_that_began_in_the_window_is_counted_near_its_place() {
        let lines: Vec<String> = (0..1_000)
            .map(|n| {
                let (start, ran) = (n * 1_000, 10 + n % 7 * 100);
                let end = start + ran;
                format!("{start} hand {n} 1 {}\n{end} finish {n} {ran}", n % 2)
            })
            .collect();
        let picture = picture(&format!("0 up 1 1\n{}", lines.join("\n")));
        let scatter = picture.scatter(&query(0.0, 1e6));
        let counted: u32 = scatter.dots.iter().map(|dot| dot.count).sum();
        assert_eq!((counted, scatter.count), (1_000, 1_000));
        let [least_s, most_s] = scatter.ran_s.expect("some ran");
        assert!((least_s / 10e-6 - 1.0).abs() < 1e-9 && (most_s / 610e-6 - 1.0).abs() < 1e-9);
        for dot in &scatter.dots {
            let ran = Duration::from_micros(10 + dot.task % 7 * 100);
            let ran_s = ran.as_secs_f64();
            assert!((dot.ran_s / ran_s).ln().abs() < 0.1, "{dot:?}");
            assert_eq!(u64::from(dot.group), dot.task % 2);
        }
        assert_eq!(picture.scatter(&query(100_000.0, 200_000.0)).count, 100);
    }

    #[test]
    fn nothing_is_an_answer_too_and_so_is_any_window() {
        let picture = picture("0 up 1 1\n0 hand 1 1 3\n5 finish 1 0");
        assert_eq!(picture.scatter(&query(1e6, 2e6)).ran_s, None);
        for from_s in [0.0, -1.0, f64::NAN, f64::INFINITY, -1e300] {
            for rows in [0, 1, usize::MAX] {
                let query = ScatterQuery {
                    from_s,
                    to_s: 1e300,
                    columns: rows,
                    rows,
                };
                assert!(picture.scatter(&query).dots.len() <= 1);
            }
        }
    }
}
