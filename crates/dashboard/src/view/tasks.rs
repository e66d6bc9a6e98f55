//! Single tasks: a page of a table, filtered and sorted here, and one of them.

use std::cmp::Reverse;
use std::time::Duration;

use lineshaft_core::{GroupId, TaskId, WorkerId};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::between;
use crate::lanes::Worker;
use crate::limits;
use crate::picture::Picture;
use crate::tasks::{Task, TaskState};

/// Which tasks, and in what order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskQuery {
    /// Of one group.
    pub group: Option<u32>,
    /// Of functions whose name has this in it, in any case of letters.
    pub name: Option<String>,
    /// In one state, as in `TaskRow::state`; or `unfinished`, or `unsuccessful`: ended without a result.
    pub state: Option<String>,
    /// Handed last to this worker.
    pub worker: Option<u32>,
    /// In what order.
    pub sort: Sort,
    /// Rows passed over.
    pub offset: usize,
    /// Rows wanted, at most `limits::PAGE_MAX`; zero for that many.
    pub limit: usize,
}

/// The order of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// The last submitted first.
    #[default]
    Newest,
    /// The first submitted first.
    Oldest,
    /// The longest run first.
    Ran,
    /// The longest wait for a worker first.
    Queued,
}

/// Some rows of the table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TaskPage {
    /// The rows.
    pub rows: Vec<TaskRow>,
    /// How many there are in all that the query is for.
    pub found: usize,
    /// How many tasks the table has.
    pub listed: usize,
    /// Tasks of which only the counters know.
    pub unlisted: u64,
}

/// One task.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TaskRow {
    /// Its identity.
    pub task: u64,
    /// Its group.
    pub group: u32,
    /// The name of that.
    pub name: String,
    /// waiting, ready, backoff, ahead, running, blocked, finished, failed, timed-out, worker-died,
    /// dependency-failed, cancelled, or unknown if it has ended and how was missed.
    pub state: &'static str,
    /// How often it was handed to a worker.
    pub attempts: u32,
    /// The worker that it was handed to last.
    pub worker: Option<u32>,
    /// When it was submitted.
    pub submitted_s: Option<f64>,
    /// When it last came to have all it needs.
    pub ready_s: Option<f64>,
    /// When it was last handed to a worker.
    pub assigned_s: Option<f64>,
    /// When it ended.
    pub ended_s: Option<f64>,
    /// How long its last call ran, once it has ended, if its worker said so.
    pub ran_s: Option<f64>,
    /// How long its function and arguments took to load before that.
    pub load_s: Option<f64>,
    /// How long its result took to store behind that.
    pub store_s: Option<f64>,
    /// Bytes of its result, unless that stays in this process.
    pub bytes: Option<u64>,
    /// How long it waited for a worker.
    pub queued_s: Option<f64>,
}

impl Picture {
    pub(crate) fn task_page(&self, query: &TaskQuery) -> TaskPage {
        let running = self.running_tasks();
        let state = |task: &Task| state_name(task, &running);
        let named = self.groups_named(query.name.as_deref());
        let is_wanted = |task: &&Task| {
            query.group.is_none_or(|group| task.group == GroupId(group))
                && query
                    .worker
                    .is_none_or(|worker| task.worker == Some(WorkerId(worker)))
                && named
                    .as_ref()
                    .is_none_or(|named| named.contains(&task.group))
                && match query.state.as_deref() {
                    None | Some("") => true,
                    Some("unfinished") => !task.state.has_ended(),
                    Some("unsuccessful") => {
                        task.state.has_ended() && task.state != TaskState::Finished
                    }
                    Some(wanted) => wanted == state(task),
                }
        };
        let mut found: Vec<&Task> = self.tasks.iter().filter(is_wanted).collect();
        let count = found.len();
        let limit = match query.limit {
            0 => limits::PAGE_MAX,
            limit => limit.min(limits::PAGE_MAX),
        };
        let start = query.offset.min(count);
        let end = start.saturating_add(limit).min(count);
        // Only what is shown has to be in order.
        if end < count {
            found.select_nth_unstable_by_key(end, |task| query.sort.key(task));
            found.truncate(end);
        }
        found.sort_unstable_by_key(|task| query.sort.key(task));
        let rows = found[start..end].iter();
        TaskPage {
            rows: rows.map(|task| self.task_row(task, state(task))).collect(),
            found: count,
            listed: self.tasks.len(),
            unlisted: self.beyond(self.task_counts().submitted).tasks_unlisted,
        }
    }

    /// One task, if it is in the table.
    pub(crate) fn task(&self, id: TaskId) -> Option<TaskRow> {
        let task = self.tasks.get(id)?;
        Some(self.task_row(task, state_name(task, &self.running_tasks())))
    }

    pub(super) fn running_tasks(&self) -> FxHashSet<TaskId> {
        let workers = self.lanes.workers().iter();
        let running = workers.flat_map(Worker::running);
        running.map(|bar| bar.task).collect()
    }

    fn task_row(&self, task: &Task, state: &'static str) -> TaskRow {
        let measured = |lasted: Duration| task.ran.map(|_| lasted.as_secs_f64());
        TaskRow {
            task: task.id.0,
            group: task.group.0,
            name: self.group_label(task.group),
            state,
            attempts: task.attempt,
            worker: task.worker.map(|worker| worker.0),
            submitted_s: self.seconds(task.submitted),
            ready_s: self.seconds(task.ready),
            assigned_s: self.seconds(task.assigned),
            ended_s: self.seconds(task.ended),
            ran_s: task.ran.map(|ran| ran.as_secs_f64()),
            load_s: measured(task.phases.load()),
            store_s: measured(task.phases.store()),
            bytes: (task.bytes > 0).then_some(task.bytes),
            queued_s: queued(task),
        }
    }
}

fn queued(task: &Task) -> Option<f64> {
    if task.ready > task.assigned {
        // It is queued again.
        return None;
    }
    between(task.ready, task.assigned)
}

pub(super) fn state_name(task: &Task, running: &FxHashSet<TaskId>) -> &'static str {
    match task.state {
        TaskState::Waiting => "waiting",
        TaskState::Ready => "ready",
        TaskState::Backoff => "backoff",
        TaskState::Assigned if running.contains(&task.id) => "running",
        TaskState::Assigned => "ahead",
        TaskState::Blocked => "blocked",
        TaskState::Finished => "finished",
        TaskState::Failed => "failed",
        TaskState::TimedOut => "timed-out",
        TaskState::WorkerDied => "worker-died",
        TaskState::DependencyFailed => "dependency-failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Unknown => "unknown",
    }
}

impl Sort {
    /// What comes first has the least key; no two tasks have the same.
    fn key(self, task: &Task) -> (Reverse<u64>, u64) {
        let id = task.id.0;
        match self {
            Sort::Newest => (Reverse(id), 0),
            Sort::Oldest => (Reverse(u64::MAX - id), 0),
            Sort::Ran => {
                let ran_ns = task.ran.map_or(0, |ran| ran.as_nanos());
                (Reverse(u64::try_from(ran_ns).unwrap_or(u64::MAX)), id)
            }
            Sort::Queued => {
                let queued_ns = queued(task).map_or(0, |_| (task.assigned - task.ready).as_nanos());
                (Reverse(u64::try_from(queued_ns).unwrap_or(u64::MAX)), id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::picture;

    const SCRIPT: &str = "
        0 up 1 1
        0 submit 1 7
        1 submit 2 7
        2 submit 3 8
        3 ready 1
        3 ready 2
        5 hand 1 1 7
        9 hand 2 1 7
        400 finish 1 100
    ";

    fn ids(query: &TaskQuery) -> Vec<u64> {
        let page = picture(SCRIPT).task_page(query);
        page.rows.iter().map(|row| row.task).collect()
    }

    #[test]
    fn a_task_is_shown_with_its_times_and_what_is_not_known_is_left_out() {
        let picture = picture(SCRIPT);
        let row = picture.task(TaskId(1)).expect("known");
        assert_eq!(
            (row.state, row.name.as_str(), row.worker),
            ("finished", "f7", Some(1))
        );
        assert_eq!(row.submitted_s, Some(0.0));
        assert_eq!(row.queued_s, Some(2e-6));
        assert_eq!((row.ran_s, row.ended_s), (Some(1e-4), Some(4e-4)));
        let row = picture.task(TaskId(3)).expect("known");
        assert_eq!(
            (row.state, row.queued_s, row.ran_s),
            ("waiting", None, None)
        );
        assert!(picture.task(TaskId(4)).is_none());
    }

    #[test]
    fn the_first_task_that_a_process_has_runs_and_the_others_were_handed_ahead() {
        let mut picture =
            picture("0 up 1 1\n0 submit 1 7\n0 submit 2 7\n1 hand 1 1 7\n1 hand 2 1 7");
        let states =
            |picture: &Picture| [1, 2].map(|id| picture.task(TaskId(id)).expect("known").state);
        assert_eq!(states(&picture), ["running", "ahead"]);
        crate::script::play(&mut picture, "9 finish 1 5");
        assert_eq!(states(&picture), ["finished", "running"]);
    }

    #[test]
    fn filters_and_orders() {
        let all = TaskQuery::default();
        assert_eq!(ids(&all), [3, 2, 1]);
        let of_group = TaskQuery {
            group: Some(7),
            sort: Sort::Oldest,
            ..all.clone()
        };
        assert_eq!(ids(&of_group), [1, 2]);
        let running = TaskQuery {
            state: Some("running".into()),
            ..all.clone()
        };
        assert_eq!(ids(&running), [2]);
        let longest = TaskQuery {
            sort: Sort::Ran,
            ..all.clone()
        };
        assert_eq!(ids(&longest), [1, 2, 3]);
        let queued = TaskQuery {
            sort: Sort::Queued,
            ..all.clone()
        };
        assert_eq!(ids(&queued), [2, 1, 3]);
        let of_name = TaskQuery {
            name: Some("F8".into()),
            ..all.clone()
        };
        assert_eq!(ids(&of_name), [3]);
        let of_worker = TaskQuery {
            worker: Some(1),
            state: Some("unfinished".into()),
            ..all.clone()
        };
        assert_eq!(ids(&of_worker), [2]);
        let unsuccessful = TaskQuery {
            state: Some("unsuccessful".into()),
            ..all.clone()
        };
        assert_eq!(ids(&unsuccessful), [0; 0]);
        let none = TaskQuery {
            state: Some("no such state".into()),
            ..all
        };
        assert_eq!(ids(&none), [0; 0]);
    }

    #[test]
    fn pages_together_are_the_whole() {
        let lines: Vec<String> = (0..1_000).map(|id| format!("{id} submit {id} 1")).collect();
        let picture = picture(&lines.join("\n"));
        let mut all = Vec::new();
        for offset in (0..1_100).step_by(70) {
            let query = TaskQuery {
                offset,
                limit: 70,
                ..TaskQuery::default()
            };
            let page = picture.task_page(&query);
            assert_eq!((page.found, page.listed), (1_000, 1_000));
            all.extend(page.rows.iter().map(|row| row.task));
        }
        assert!(all.iter().copied().eq((0..1_000).rev()));
        let greedy = TaskQuery {
            limit: usize::MAX,
            ..TaskQuery::default()
        };
        assert_eq!(picture.task_page(&greedy).rows.len(), limits::PAGE_MAX);
        let beyond = TaskQuery {
            offset: usize::MAX,
            ..TaskQuery::default()
        };
        assert!(picture.task_page(&beyond).rows.is_empty());
    }
}
