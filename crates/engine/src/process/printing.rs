//! What worker processes print, and which of their tasks did.

use std::os::fd::AsFd;

use lineshaft_core::TaskId;

use crate::clock::now;
use crate::limits::OUTPUT_READ_BYTES;
use crate::marks::Next;
use crate::output::{OutputPipe, OutputRing, Printed};
use crate::poller::Stream;
use crate::shared::Shared;

use super::worker::Worker;

impl Worker {
    /// Reads what is there, or some of it if it is much: other workers print, too.
    pub(super) fn read_output(&mut self, shared: &Shared, stream: Stream, ring: &mut OutputRing) {
        // Of what has no mark. If none runs any more, it was the oldest that has not been reported:
        // output is read first.
        let guess = match self.control.task() {
            0 => self.oldest().map(|sent| sent.task),
            task => Some(TaskId(task)),
        };
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(OutputPipe { fd, marks }) = pipe else {
            return;
        };
        let worker = self.id;
        let mut show = |marked: Option<TaskId>, bytes: &[u8]| {
            let task = marked.or(guess);
            shared.options.observer.output(worker, task, stream, bytes);
            ring.push(Printed {
                at: now(),
                worker,
                task,
                is_certain: marked.is_some(),
                stream,
                bytes: bytes.to_vec(),
            });
        };
        let mut buffer = [0_u8; 4096];
        let reads = OUTPUT_READ_BYTES / buffer.len();
        for number in 1..=reads {
            match rustix::io::read(&*fd, &mut buffer) {
                Ok(0) => {
                    marks.split(&[], Next::Nothing, &mut show);
                    shared.poller.remove(fd.as_fd());
                    *pipe = None;
                    return;
                }
                Ok(count) => {
                    self.prints = true;
                    let next = if count < buffer.len() {
                        Next::Nothing
                    } else if number < reads {
                        Next::More
                    } else if rustix::io::ioctl_fionread(&*fd).is_ok_and(|bytes| bytes > 0) {
                        Next::MoreAfterOthers
                    } else {
                        Next::Nothing
                    };
                    marks.split(&buffer[..count], next, &mut show);
                }
                Err(_) => {
                    marks.split(&[], Next::Nothing, &mut show);
                    return;
                }
            }
        }
    }
}
