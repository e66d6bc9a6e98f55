//! What was sent to one worker process and neither reported nor taken back.

use std::collections::VecDeque;

use lineshaft_core::{Attempt, TaskId};
use lineshaft_store::Pin;

use crate::limits::TASKS_PER_EPOCH_MAX;

/// One attempt of a task at a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
}

#[derive(Debug)]
struct Flying {
    sent: Sent,
    epoch: u32,
    /// Objects that the worker reads for it.
    pins: Vec<Pin>,
}

/// Attempts at one worker, oldest first.
#[derive(Default, Debug)]
pub(super) struct InFlight {
    attempts: VecDeque<Flying>,
    /// The claim word's current epoch.
    epoch: u32,
    /// Attempts of the current epoch that were reported.
    reported: u32,
}

impl InFlight {
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    pub(super) fn sent(&self) -> impl Iterator<Item = Sent> + '_ {
        self.attempts.iter().map(|flying| flying.sent)
    }

    /// What the worker reads for all of them.
    pub(super) fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.attempts.iter().flat_map(|flying| &flying.pins)
    }

    pub(super) fn push(&mut self, sent: Sent, pins: Vec<Pin>) {
        self.attempts.push_back(Flying {
            sent,
            epoch: self.epoch,
            pins,
        });
    }

    /// An attempt was reported: what the worker no longer reads for it. None if it is not one of these.
    pub(super) fn reported(&mut self, sent: Sent) -> Option<Vec<Pin>> {
        let at = self.sent().position(|it| it == sent)?;
        let flying = self.attempts.remove(at)?;
        if flying.epoch == self.epoch {
            self.reported += 1;
        }
        Some(flying.pins)
    }

    /// Takes back what was not begun, given how many attempts of this epoch were claimed, and begins
    /// a new epoch. What remains was begun. Also what the worker no longer reads for it.
    pub(super) fn retract(&mut self, claimed: u32) -> (Vec<Sent>, Vec<Pin>) {
        let of_epoch = self.attempts.iter().position(|it| it.epoch == self.epoch);
        let older = of_epoch.unwrap_or(self.attempts.len());
        let begun = older + (claimed - self.reported.min(claimed)) as usize;
        self.epoch = self.epoch.wrapping_add(1);
        self.reported = 0;
        let taken_back = self.attempts.split_off(begun.min(self.attempts.len()));
        let mut sent = Vec::with_capacity(taken_back.len());
        let mut pins = Vec::new();
        for flying in taken_back {
            sent.push(flying.sent);
            pins.extend(flying.pins);
        }
        (sent, pins)
    }

    /// Whether so many attempts were claimed in this epoch that the next one has to begin.
    pub(super) fn is_epoch_full(&self) -> bool {
        self.reported >= TASKS_PER_EPOCH_MAX
    }

    /// Forgets everything; what the worker no longer reads for it.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Pin> + '_ {
        self.attempts.drain(..).flat_map(|flying| flying.pins)
    }
}
