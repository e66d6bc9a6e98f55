//! One task with all that is known of it: its attempts, what it printed and raised, how its worker died.

use lineshaft_core::TaskId;
use lineshaft_engine::{AttemptText, Death, OutputDropped, Reader, TaskOutput};
use serde::Serialize;

use super::{DeathRow, TaskRow};
use crate::lanes::{Bar, Worker};
use crate::picture::Picture;

/// One task.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TaskDetail {
    #[serde(flatten)]
    row: TaskRow,
    /// In words what it is doing.
    explanation: String,
    /// Whether the program itself runs it, on a thread or an event loop: what it prints there nobody keeps.
    is_local: bool,
    /// What it printed, as far as the engine still has it.
    output: String,
    /// Some of it may be another task's.
    output_is_guess: bool,
    /// What tasks printed that it does not have any more, if something of this one may be among it.
    output_dropped: Option<DroppedRow>,
    /// Its attempts that have a bar, in the order of time.
    history: Vec<AttemptRow>,
    /// Where it raised, as far as the engine still has it, oldest first.
    tracebacks: Vec<TextRow>,
    /// What its arguments were, of attempts that took long or raised, as far as the engine still has it.
    arguments: Vec<TextRow>,
    /// How the workers died that ran it, the last one first.
    deaths: Vec<DeathRow>,
}

/// One attempt.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct AttemptRow {
    worker: u32,
    start_s: f64,
    took_s: f64,
    load_s: f64,
    store_s: f64,
    spilled: bool,
    waited_s: f64,
    /// finished, failed or running.
    end: &'static str,
}

/// What tasks printed that is not kept any more.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct DroppedRow {
    bytes: u64,
    /// What was submitted later has lost nothing.
    until_s: f64,
}

/// Where one attempt raised, or what its arguments were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct TextRow {
    attempt: u32,
    text: String,
}

/// What the engine says of a task.
#[derive(Default)]
pub(crate) struct Said {
    explanation: String,
    output: TaskOutput,
    output_dropped: Option<OutputDropped>,
    tracebacks: Vec<AttemptText>,
    arguments: Vec<AttemptText>,
    deaths: Vec<Death>,
}

impl Said {
    pub(crate) fn of(reader: &Reader, task: TaskId) -> Said {
        let mut deaths = reader.deaths();
        deaths.retain(|death| death.task == Some(task));
        Said {
            explanation: reader.explain(task),
            output: reader.output(task),
            output_dropped: reader.output_dropped(),
            tracebacks: reader.tracebacks(Some(task)),
            arguments: reader.arguments(Some(task)),
            deaths,
        }
    }
}

impl TextRow {
    pub(crate) fn of(traceback: AttemptText) -> TextRow {
        TextRow {
            attempt: traceback.attempt.0,
            text: traceback.text,
        }
    }
}

impl Picture {
    /// One task, if it is in the table.
    pub(crate) fn task_detail(&self, id: TaskId, said: Said) -> Option<TaskDetail> {
        let deaths = said.deaths.into_iter().rev();
        let tracebacks = said.tracebacks.into_iter();
        let arguments = said.arguments.into_iter();
        let row = self.task(id)?;
        let dropped = said.output_dropped.map(|dropped| self.dropped_row(dropped));
        let local = |worker: &&Worker| Some(worker.id.0) == row.worker && !worker.is_process();
        let is_local = self.lanes.workers().iter().any(|worker| local(&worker));
        let began_s = row.submitted_s.unwrap_or(f64::MIN);
        Some(TaskDetail {
            row,
            output_dropped: dropped.filter(|dropped| began_s <= dropped.until_s),
            explanation: said.explanation,
            is_local,
            output: String::from_utf8_lossy(&said.output.bytes).into_owned(),
            output_is_guess: said.output.is_guess,
            history: self.history_of(id),
            tracebacks: tracebacks.map(TextRow::of).collect(),
            arguments: arguments.map(TextRow::of).collect(),
            deaths: deaths.map(|death| self.death_row(death)).collect(),
        })
    }

    pub(super) fn dropped_row(&self, dropped: OutputDropped) -> DroppedRow {
        DroppedRow {
            bytes: dropped.bytes,
            until_s: self.seconds_of(dropped.until),
        }
    }

    fn history_of(&self, id: TaskId) -> Vec<AttemptRow> {
        let mut attempts = Vec::new();
        for worker in self.lanes.workers() {
            let ended = worker.lanes.iter().flat_map(|lane| &lane.bars).copied();
            let running = worker.running().map(|bar| self.until_now(bar));
            let bars = ended.chain(running).filter(|bar| bar.task == id);
            attempts.extend(bars.map(|bar| self.attempt_row(worker, bar)));
        }
        attempts.sort_by(|one: &AttemptRow, other| one.start_s.total_cmp(&other.start_s));
        attempts
    }

    fn attempt_row(&self, worker: &Worker, bar: Bar) -> AttemptRow {
        AttemptRow {
            worker: worker.id.0,
            start_s: self.seconds_of(bar.start),
            took_s: bar.ran.as_secs_f64(),
            load_s: bar.phases.load().as_secs_f64(),
            store_s: bar.phases.store().as_secs_f64(),
            spilled: bar.phases.spilled,
            waited_s: bar.waited().as_secs_f64(),
            end: bar.end.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    #[test]
    fn attempts_are_told_in_the_order_of_time() {
        let picture = picture(
            "0 up 1 1\n0 up 2 1\n0 submit 1 7\n1 hand 1 2 7\n5 fail 1\n5 retry 1\n6 ready 1
             7 hand 1 1 7\n30 finish 1 20\n30 submit 2 7\n31 hand 2 1 7",
        );
        let ends = |task| {
            let detail = picture.task_detail(TaskId(task), Said::default());
            let history = detail.expect("listed").history;
            let ends = history.iter().map(|attempt| (attempt.worker, attempt.end));
            ends.collect::<Vec<_>>()
        };
        assert_eq!(ends(1), [(2, "failed"), (1, "finished")]);
        assert_eq!(ends(2), [(1, "running")]);
        assert!(picture.task_detail(TaskId(3), Said::default()).is_none());
    }
}
