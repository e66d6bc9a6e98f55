//! Tasks that send what makes no sense.

use std::os::fd::AsFd;
use std::time::Duration;

use lineshaft_core::{Attempt, TaskId};
use lineshaft_engine::worker::Sent;
use lineshaft_wire::{BufferRef, FromWorker, INLINE_SEGMENT, Sender, Value};
use rustix::process::{Signal, getpid, kill_process};

use super::{End, Worker, stdin};

impl Worker {
    /// Sends what makes no sense.
    pub fn misbehave(&mut self, how: &str, task: TaskId, attempt: Attempt) -> End {
        match how {
            "garbage" => {
                self.flush();
                rustix::io::write(stdin(), &[0xff; 64]).expect("the engine");
                self.stay()
            }
            "more" => {
                self.flush();
                // A message, and something behind it in its frame.
                let mut sender = Sender::new();
                let record = FromWorker::Log { record: b"x" };
                sender.push(&record, []).expect("fits");
                let mut frame = sender.pending().to_vec();
                frame[0] += 1;
                frame.push(0);
                rustix::io::write(stdin(), &frame).expect("the engine");
                self.stay()
            }
            // Dies in the middle of a message.
            "half" => {
                let mut sender = Sender::new();
                let record = FromWorker::Log { record: &[0; 1000] };
                sender.push(&record, []).expect("fits");
                let half = sender.pending_bytes() / 2;
                rustix::io::write(stdin(), &sender.pending()[..half]).expect("the engine");
                kill_process(getpid(), Signal::KILL).expect("of ourselves");
                self.stay()
            }
            // A segment that never comes.
            "lie" => {
                let value = Value {
                    segments: vec![4096],
                    ..says(b"lie")
                };
                self.answer_alone(task, attempt, value)
            }
            // A buffer that begins behind the end of what was sent.
            "misplaced" => {
                let value = Value {
                    buffers: vec![BufferRef {
                        segment: INLINE_SEGMENT,
                        offset: 10,
                        bytes: 0,
                    }],
                    ..says(b"misplaced")
                };
                self.answer_alone(task, attempt, value)
            }
            "unsealed" => {
                let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC);
                let file = file.expect("a memfd");
                rustix::fs::ftruncate(&file, 4096).expect("room");
                Ok(Sent {
                    data: b"unsealed".to_vec(),
                    segments: vec![(file, 4096)],
                    buffers: Vec::new(),
                })
            }
            _ => unreachable!("{how} is not misbehaviour"),
        }
    }

    /// Sends a result past the session, and begins nothing that would be lost behind it.
    fn answer_alone(&self, task: TaskId, attempt: Attempt, value: Value<'_>) -> End {
        self.flush();
        let message = FromWorker::Finished {
            task: task.0,
            attempt: attempt.0,
            ran_ns: 1,
            load_us: 0,
            store_us: 0,
            value,
            remark: None,
        };
        let mut sender = Sender::new();
        sender.push(&message, []).expect("fits");
        sender.flush_blocking(stdin().as_fd()).expect("the engine");
        self.stay()
    }

    /// Has results leave that would come behind garbage, and be lost with it.
    fn flush(&self) {
        let at_once = Some(Duration::from_nanos(1));
        let waited = self.session.wait_for_any(&[], at_once, None);
        waited.expect("the engine");
    }
}

/// What a worker sends for a value that is nothing but bytes.
fn says(data: &[u8]) -> Value<'_> {
    Value {
        data,
        segments: Vec::new(),
        buffers: Vec::new(),
    }
}
