//! What is kept of attempts in words, to be looked at later: where those raised that ran in worker processes, and
//! what the arguments were of those that took long or raised.

use std::collections::VecDeque;

use lineshaft_core::{Attempt, TaskId};

use super::Processes;
use crate::limits::{ARGUMENTS_BYTES, ARGUMENTS_BYTES_MAX, TRACEBACKS_BYTES};

/// What is kept of one attempt of a task: where it raised, or what its arguments were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptText {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// For people.
    pub text: String,
}

/// What an entry takes beside its text.
const ENTRY_BYTES: usize = size_of::<AttemptText>();

/// Where attempts raised.
pub(super) type Tracebacks = Texts<TRACEBACKS_BYTES>;
/// What their arguments were.
pub(super) type Arguments = Texts<ARGUMENTS_BYTES>;

/// A ring of them, bounded in bytes: the oldest goes first.
#[derive(Default)]
pub(super) struct Texts<const BYTES_MAX: usize> {
    recent: VecDeque<AttemptText>,
    bytes: usize,
}

impl<const BYTES_MAX: usize> Texts<BYTES_MAX> {
    pub(super) fn note(&mut self, text: AttemptText) {
        self.bytes += ENTRY_BYTES + text.text.len();
        self.recent.push_back(text);
        while self.bytes > BYTES_MAX {
            let oldest = self.recent.pop_front();
            let oldest = oldest.expect("bytes are counted by entry");
            self.bytes -= ENTRY_BYTES + oldest.text.len();
        }
    }

    /// Those that are kept of a task, or of all of them, oldest first.
    fn of(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        let recent = self.recent.iter();
        let wanted = recent.filter(|one| task.is_none_or(|task| one.task == task));
        wanted.cloned().collect()
    }
}

impl Processes {
    /// Where the attempts of a task raised, or of all of them, oldest first.
    pub(crate) fn tracebacks(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        self.tracebacks.of(task)
    }

    /// What the arguments were of the attempts of a task, or of all of them, oldest first.
    pub(crate) fn arguments(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        self.arguments.of(task)
    }

    pub(crate) fn note_arguments(&mut self, task: TaskId, attempt: Attempt, text: &str) {
        if !text.is_empty() {
            // A worker may say anything.
            let mut end = text.len().min(ARGUMENTS_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let text = text[..end].to_owned();
            self.arguments.note(AttemptText {
                task,
                attempt,
                text,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut processes = Processes::default();
        for task in 0..100 {
            processes.tracebacks.note(AttemptText {
                task: TaskId(task),
                attempt: Attempt(1),
                text: "x".repeat(TRACEBACKS_BYTES / 10 - ENTRY_BYTES),
            });
        }
        let kept = processes.tracebacks(None);
        assert!(kept.iter().map(|one| one.task.0).eq(90..100));
        assert_eq!(processes.tracebacks(Some(TaskId(95))), kept[5..6]);
        assert_eq!(processes.tracebacks(Some(TaskId(1))), []);
    }

    #[test]
    fn arguments_are_no_longer_than_a_worker_makes_them() {
        let mut processes = Processes::default();
        let note = |processes: &mut Processes, text: &str| {
            processes.note_arguments(TaskId(1), Attempt(1), text);
        };
        note(&mut processes, "");
        assert_eq!(processes.arguments(None), []);
        note(&mut processes, &"ä".repeat(ARGUMENTS_BYTES));
        let kept = processes.arguments(Some(TaskId(1)));
        assert!(kept[0].text.len() <= ARGUMENTS_BYTES_MAX);
        for _ in 0..ARGUMENTS_BYTES {
            note(&mut processes, "x");
        }
        assert!(processes.arguments(None).len() < ARGUMENTS_BYTES / ENTRY_BYTES);
    }
}
