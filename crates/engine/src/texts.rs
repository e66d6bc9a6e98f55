//! What is kept of attempts in words, to be looked at later: where those raised that did, and what the arguments were
//! of those that took long or raised.

use std::collections::VecDeque;

use lineshaft_core::{Attempt, TaskId};

use crate::limits::{ARGUMENTS_BYTES, ARGUMENTS_BYTES_MAX, TRACEBACK_BYTES_MAX, TRACEBACKS_BYTES};

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

/// All of them.
#[derive(Default)]
pub(crate) struct Texts {
    /// Where attempts raised.
    pub(crate) tracebacks: Ring<TRACEBACKS_BYTES, { 2 * TRACEBACK_BYTES_MAX }>,
    /// What their arguments were.
    pub(crate) arguments: Ring<ARGUMENTS_BYTES, ARGUMENTS_BYTES_MAX>,
}

/// Those of one kind, bounded in bytes, all together and each: the oldest goes first.
#[derive(Default)]
pub(crate) struct Ring<const BYTES_MAX: usize, const TEXT_BYTES_MAX: usize> {
    recent: VecDeque<AttemptText>,
    bytes: usize,
}

impl<const BYTES_MAX: usize, const TEXT_BYTES_MAX: usize> Ring<BYTES_MAX, TEXT_BYTES_MAX> {
    /// Keeps what is said of an attempt, unless it is nothing. It is short already, but a worker may say anything.
    pub(crate) fn note(&mut self, task: TaskId, attempt: Attempt, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].to_owned();
        self.bytes += ENTRY_BYTES + text.len();
        self.recent.push_back(AttemptText {
            task,
            attempt,
            text,
        });
        while self.bytes > BYTES_MAX {
            let oldest = self.recent.pop_front();
            let oldest = oldest.expect("bytes are counted by entry");
            self.bytes -= ENTRY_BYTES + oldest.text.len();
        }
    }

    /// Those that are kept of a task, or of all of them, oldest first.
    pub(crate) fn of(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        let recent = self.recent.iter();
        let wanted = recent.filter(|one| task.is_none_or(|task| one.task == task));
        wanted.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut tracebacks = Ring::<1000, 1000>::default();
        for task in 0..100 {
            let text = "x".repeat(100 - ENTRY_BYTES);
            tracebacks.note(TaskId(task), Attempt(1), &text);
        }
        let kept = tracebacks.of(None);
        assert!(kept.iter().map(|one| one.task.0).eq(90..100));
        assert_eq!(tracebacks.of(Some(TaskId(95))), kept[5..6]);
        assert_eq!(tracebacks.of(Some(TaskId(1))), []);
    }

    #[test]
    fn none_is_longer_than_a_worker_makes_them() {
        let mut arguments = Texts::default().arguments;
        arguments.note(TaskId(1), Attempt(1), "");
        assert_eq!(arguments.of(None), []);
        arguments.note(TaskId(1), Attempt(1), &"ä".repeat(ARGUMENTS_BYTES));
        let kept = arguments.of(Some(TaskId(1)));
        assert!(kept[0].text.len() <= ARGUMENTS_BYTES_MAX);
        for _ in 0..ARGUMENTS_BYTES {
            arguments.note(TaskId(1), Attempt(1), "x");
        }
        assert!(arguments.of(None).len() < ARGUMENTS_BYTES / ENTRY_BYTES);
    }
}
