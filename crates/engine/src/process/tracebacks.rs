//! Where tasks in worker processes raised lately, to be looked at later.

use std::collections::VecDeque;

use lineshaft_core::{Attempt, TaskId};

use super::Processes;
use crate::limits::TRACEBACKS_BYTES;

/// Where one attempt of a task raised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traceback {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// For people.
    pub text: String,
}

/// A ring of them, bounded in bytes: the oldest goes first.
#[derive(Default)]
pub(super) struct Tracebacks {
    recent: VecDeque<Traceback>,
    bytes: usize,
}

impl Tracebacks {
    pub(super) fn note(&mut self, traceback: Traceback) {
        self.bytes += traceback.text.len();
        self.recent.push_back(traceback);
        while self.bytes > TRACEBACKS_BYTES {
            let oldest = self.recent.pop_front();
            self.bytes -= oldest.expect("bytes are counted by entry").text.len();
        }
    }
}

impl Processes {
    /// Those that are kept of a task, or of all of them, oldest first.
    pub(crate) fn tracebacks(&self, task: Option<TaskId>) -> Vec<Traceback> {
        let recent = self.tracebacks.recent.iter();
        let wanted = recent.filter(|one| task.is_none_or(|task| one.task == task));
        wanted.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut processes = Processes::default();
        for task in 0..100 {
            processes.tracebacks.note(Traceback {
                task: TaskId(task),
                attempt: Attempt(1),
                text: "x".repeat(TRACEBACKS_BYTES / 10),
            });
        }
        let kept = processes.tracebacks(None);
        assert!(kept.iter().map(|one| one.task.0).eq(90..100));
        assert_eq!(processes.tracebacks(Some(TaskId(95))), kept[5..6]);
        assert_eq!(processes.tracebacks(Some(TaskId(1))), []);
    }
}
