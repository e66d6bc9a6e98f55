//! What tasks printed lately, tagged with the task, to be looked at later.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use lineshaft_core::{TaskId, Time, WorkerId};
use lineshaft_store::above_standard;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::descriptors::Ours;
use crate::error::EngineError;
use crate::limits::OUTPUT_RING_BYTES;
use crate::marks::Marks;
use crate::poller::Stream;

/// Something that was printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// When it was read.
    pub at: Time,
    /// The worker that printed it.
    pub worker: WorkerId,
    /// Whose it is, or else the task that the worker was running when it was read.
    pub task: Option<TaskId>,
    /// Whether the worker said whose it is.
    pub is_certain: bool,
    /// Where it was printed.
    pub stream: Stream,
    /// What was printed; not necessarily whole lines or characters.
    pub bytes: Vec<u8>,
}

/// What one task printed, as far as it is kept.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TaskOutput {
    /// In the order in which it was read.
    pub bytes: Vec<u8>,
    /// Some of it may be another task's, which its worker ran before or after it.
    pub is_guess: bool,
}

/// What was printed and is not kept any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputDropped {
    /// How much.
    pub bytes: u64,
    /// When the last of it was read: what began later has lost nothing.
    pub until: Time,
}

/// A ring of what was printed lately, bounded in bytes: the oldest goes first.
#[derive(Default)]
pub(crate) struct OutputRing {
    printed: VecDeque<Printed>,
    bytes: usize,
    dropped: Option<OutputDropped>,
}

impl TaskOutput {
    /// Adds what the task printed next.
    pub fn add(&mut self, printed: &Printed) {
        self.bytes.extend_from_slice(&printed.bytes);
        self.is_guess |= !printed.is_certain;
    }
}

impl OutputRing {
    /// Adds what was printed; to the last entry if that is the same task's, on the same stream.
    pub(crate) fn push(&mut self, printed: Printed) {
        self.bytes += printed.bytes.len();
        match self.printed.back_mut() {
            Some(last)
                if (last.worker, last.task, last.is_certain, last.stream)
                    == (
                        printed.worker,
                        printed.task,
                        printed.is_certain,
                        printed.stream,
                    )
                    && last.bytes.len() < OUTPUT_RING_BYTES / 16 =>
            {
                last.bytes.extend_from_slice(&printed.bytes);
            }
            _ => self.printed.push_back(printed),
        }
        while self.bytes > OUTPUT_RING_BYTES {
            let oldest = self
                .printed
                .pop_front()
                .expect("bytes are counted by entry");
            self.bytes -= oldest.bytes.len();
            let before = self.dropped.map_or(0, |dropped| dropped.bytes);
            self.dropped = Some(OutputDropped {
                bytes: before + oldest.bytes.len() as u64,
                until: oldest.at,
            });
        }
    }

    pub(crate) fn dropped(&self) -> Option<OutputDropped> {
        self.dropped
    }

    pub(crate) fn of(&self, task: TaskId) -> TaskOutput {
        let mut output = TaskOutput::default();
        for printed in &self.printed {
            if printed.task == Some(task) {
                output.add(printed);
            }
        }
        output
    }

    /// All of it, oldest first.
    pub(crate) fn all(&self) -> Vec<Printed> {
        self.printed.iter().cloned().collect()
    }
}

/// The end of a worker's output, or of its errors, that the engine reads.
pub(crate) struct OutputPipe {
    pub(crate) fd: Ours,
    pub(crate) marks: Marks,
}

impl OutputPipe {
    pub(crate) fn new(fd: OwnedFd) -> OutputPipe {
        OutputPipe {
            fd: Ours::new(fd),
            marks: Marks::default(),
        }
    }
}

/// A pipe whose reading end, ours, does not block.
pub(crate) fn output_pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(EngineError::system("pipe"))?;
    let ours = above_standard(ours).map_err(EngineError::system("fcntl"))?;
    let flags = fcntl_getfl(&ours).map_err(EngineError::system("fcntl"))?;
    fcntl_setfl(&ours, flags | OFlags::NONBLOCK).map_err(EngineError::system("fcntl"))?;
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(task: u64, bytes: &[u8]) -> Printed {
        Printed {
            at: Time(task),
            worker: WorkerId(1),
            task: Some(TaskId(task)),
            is_certain: true,
            stream: Stream::Stdout,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn pieces_of_one_task_are_one_entry() {
        let mut ring = OutputRing::default();
        for (task, bytes) in [(1, b"a"), (1, b"b"), (2, b"c")] {
            ring.push(printed(task, bytes));
        }
        let texts: Vec<Vec<u8>> = ring
            .all()
            .into_iter()
            .map(|printed| printed.bytes)
            .collect();
        assert_eq!(texts, [b"ab".to_vec(), b"c".to_vec()]);
        assert_eq!(ring.of(TaskId(1)).bytes, b"ab");
        assert_eq!(ring.of(TaskId(3)), TaskOutput::default());
        assert_eq!(ring.dropped(), None);
    }

    #[test]
    fn what_may_be_anothers_is_told_apart() {
        let mut ring = OutputRing::default();
        ring.push(printed(1, b"a"));
        ring.push(Printed {
            is_certain: false,
            ..printed(1, b"b")
        });
        ring.push(printed(2, b"c"));
        let of = |task| {
            let output = ring.of(TaskId(task));
            (output.bytes, output.is_guess)
        };
        assert_eq!(of(1), (b"ab".to_vec(), true));
        assert_eq!(of(2), (b"c".to_vec(), false));
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut ring = OutputRing::default();
        for task in 0..100 {
            ring.push(printed(task, &vec![b'x'; OUTPUT_RING_BYTES / 10]));
        }
        let kept: Vec<u64> = ring
            .all()
            .iter()
            .filter_map(|printed| printed.task)
            .map(|task| task.0)
            .collect();
        assert_eq!(kept, (90..100).collect::<Vec<_>>());
        let dropped = OutputDropped {
            bytes: 90 * (OUTPUT_RING_BYTES as u64 / 10),
            until: Time(89),
        };
        assert_eq!(ring.dropped(), Some(dropped));
    }
}
