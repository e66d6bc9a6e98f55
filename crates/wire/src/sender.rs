//! The outgoing half of a channel: frames and descriptors that were pushed but not yet sent.
//!
//! One thread at a time. Pushing never blocks and makes no system call; flushing sends everything
//! that is pending with as few calls as the kernel allows, one for many small frames.
//!
//! Descriptors keep the order in which they were pushed, and none arrives later than the first byte
//! of its frame; some arrive earlier. The receiver therefore needs no marks: a message says how many
//! descriptors belong to it, and they are the next ones in the queue.
//!
//! What makes that true: on a stream socket, descriptors arrive with the first byte of the call
//! that sent them. Each call sends with it all descriptors of the frames that begin within its
//! bytes, and its bytes end before the first frame for which there is no room. A frame with more
//! descriptors than one call can pass is preceded by carriers, empty frames that take the surplus.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Serialize;

use crate::error::WireError;
use crate::frame;
use crate::limits::{
    BUFFER_KEEP_BYTES, DESCRIPTORS_PER_CALL_MAX, DESCRIPTORS_PER_FRAME_MAX, RETRY_MS,
};

/// Room for the control message of one call.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_CALL_MAX));

/// How far a flush came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is pending.
    Done,
    /// The socket's buffer is full; flush again when the socket is writable.
    Blocked,
}

/// The outgoing half of a channel.
#[derive(Debug, Default)]
pub struct Sender {
    /// Encoded frames; those before `sent` are sent already.
    buffer: Vec<u8>,
    sent: usize,
    /// Descriptors to send, each with the index in `buffer` of its frame's first byte.
    descriptors: VecDeque<(usize, OwnedFd)>,
}

impl Sender {
    /// Nothing is pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one frame and the descriptors that travel with it. On an error nothing is appended,
    /// and the descriptors are closed.
    pub fn push<M: Serialize + ?Sized>(
        &mut self,
        message: &M,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<(), WireError> {
        self.compact();
        let frame_start = self.buffer.len();
        let first_fd = self.descriptors.len();
        // Positions are set below, when it is known how many carriers the frame needs.
        self.descriptors
            .extend(fds.into_iter().map(|fd| (frame_start, fd)));
        let fd_count = self.descriptors.len() - first_fd;
        let appended = if fd_count > DESCRIPTORS_PER_FRAME_MAX {
            Err(WireError::TooManyDescriptors { count: fd_count })
        } else {
            self.append_carriers(first_fd, fd_count);
            frame::append(&mut self.buffer, message)
        };
        if appended.is_err() {
            self.buffer.truncate(frame_start);
            self.descriptors.truncate(first_fd);
        }
        appended
    }

    /// Sends what is pending until it is done or the socket would block. Never waits.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<Flushed, WireError> {
        self.flush_by(|sender| sender.send_once(socket))
    }

    fn flush_by(
        &mut self,
        mut send: impl FnMut(&mut Self) -> Result<(), Errno>,
    ) -> Result<Flushed, WireError> {
        while !self.is_empty() {
            match send(self) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Flushed::Blocked),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(WireError::Closed),
                Err(Errno::TOOMANYREFS) => return Err(WireError::DescriptorsInFlight),
                Err(errno) => {
                    return Err(WireError::Io {
                        call: "sendmsg",
                        errno,
                    });
                }
            }
        }
        self.compact();
        Ok(Flushed::Done)
    }

    /// Sends everything that is pending, waiting for the peer to read. For a worker, whose engine
    /// never waits for it.
    pub fn flush_blocking(&mut self, socket: BorrowedFd<'_>) -> Result<(), WireError> {
        self.flush_blocking_by(socket, |sender| sender.send_once(socket))
    }

    fn flush_blocking_by(
        &mut self,
        socket: BorrowedFd<'_>,
        mut send: impl FnMut(&mut Self) -> Result<(), Errno>,
    ) -> Result<(), WireError> {
        let retry = Timespec {
            tv_sec: 0,
            tv_nsec: RETRY_MS * 1_000_000,
        };
        loop {
            let polled = match self.flush_by(&mut send) {
                Ok(Flushed::Done) => return Ok(()),
                Ok(Flushed::Blocked) => {
                    // A peer that goes away ends the wait too: the next flush reports it.
                    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
                    rustix::event::poll(&mut polled, None)
                }
                Err(error) if error.is_passing() => rustix::event::poll(&mut [], Some(&retry)),
                Err(error) => return Err(error),
            };
            match polled {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(WireError::Io {
                        call: "poll",
                        errno,
                    });
                }
            }
        }
    }

    /// Frames that are pushed but not sent, the first perhaps in part.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    /// Bytes that are pushed but not sent.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Descriptors that are waiting to be sent.
    pub fn pending_descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Puts carriers before a frame with many descriptors, and spreads them.
    fn append_carriers(&mut self, first_fd: usize, fd_count: usize) {
        let carriers = fd_count.saturating_sub(1) / DESCRIPTORS_PER_CALL_MAX;
        if carriers == 0 {
            return;
        }
        let start = self.buffer.len();
        for _ in 0..carriers {
            frame::append_carrier(&mut self.buffer);
        }
        for (index, (position, _)) in self.descriptors.iter_mut().skip(first_fd).enumerate() {
            *position = start + index / DESCRIPTORS_PER_CALL_MAX * frame::HEADER_BYTES;
        }
    }

    /// One system call.
    fn send_once(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if self.descriptors.is_empty() {
            self.sent += rustix::net::send(socket, &self.buffer[self.sent..], flags)?;
            return Ok(());
        }
        // Those beyond the first few have to wait, and with them the frames they belong to.
        let end = match self.descriptors.get(DESCRIPTORS_PER_CALL_MAX) {
            Some(&(position, _)) => position,
            None => self.buffer.len(),
        };
        assert!(
            end > self.sent,
            "a frame has at most as many descriptors as a call can pass"
        );
        let mut batch = [socket; DESCRIPTORS_PER_CALL_MAX];
        let mut count = 0;
        for ((position, fd), slot) in self.descriptors.iter().zip(&mut batch) {
            if *position >= end {
                break;
            }
            *slot = fd.as_fd();
            count += 1;
        }
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&batch[..count]));
        assert!(fits, "CONTROL_BYTES is room for DESCRIPTORS_PER_CALL_MAX");
        let bytes = IoSlice::new(&self.buffer[self.sent..end]);
        let sent = rustix::net::sendmsg(socket, &[bytes], &mut control, flags)?;
        // All descriptors of the call went with its first byte, even if not all bytes did.
        assert!(sent > 0);
        self.sent += sent;
        self.descriptors.drain(..count);
        Ok(())
    }

    /// Moves what is pending to the front of the buffer, when that moves less than was sent since
    /// the last time.
    fn compact(&mut self) {
        if self.is_empty() {
            assert!(
                self.descriptors.is_empty(),
                "a descriptor is sent no later than its frame"
            );
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_KEEP_BYTES);
        } else if self.sent > self.buffer.len() / 2 {
            self.buffer.drain(..self.sent);
            for (position, _) in &mut self.descriptors {
                *position -= self.sent;
            }
        } else {
            return;
        }
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first calls fail as they do when the kernel has no memory, which cannot be brought about.
    #[test]
    fn what_the_kernel_has_no_room_for_is_sent_a_little_later() {
        let (left, right) = crate::pair().expect("a socket");
        let mut sender = Sender::new();
        sender.push("kept", []).expect("it fits");
        let mut refusals = vec![Errno::TOOMANYREFS, Errno::NOMEM, Errno::NOBUFS];
        let sent = sender.flush_blocking_by(left.as_fd(), |sender| match refusals.pop() {
            Some(errno) => Err(errno),
            None => sender.send_once(left.as_fd()),
        });
        assert!(sent.is_ok(), "{sent:?}");
        let mut receiver = crate::Receiver::new();
        receiver.fill(right.as_fd()).expect("healthy");
        let (frame, _) = receiver.next_frame().expect("whole").expect("sent");
        assert_eq!(crate::decode::<&str>(frame).expect("words"), "kept");
    }

    #[test]
    fn other_failures_are_told() {
        let (left, _right) = crate::pair().expect("a socket");
        let mut sender = Sender::new();
        sender.push("lost", []).expect("it fits");
        for errno in [Errno::PIPE, Errno::CONNRESET, Errno::BADF] {
            let sent = sender.flush_blocking_by(left.as_fd(), |_| Err(errno));
            assert!(sent.is_err_and(|error| !error.is_passing()));
        }
    }
}
