//! The incoming half of a channel: bytes and descriptors that were read but not yet taken.
//!
//! One thread at a time. The owner alternates between [`Receiver::fill`], one system call, and
//! [`Receiver::next_frame`] until it returns `None`, which makes no system call, copies nothing and
//! allocates nothing.
//!
//! The bytes come from a process that user code runs in, so nothing in them is believed: a length
//! word makes the buffer grow only as bytes really arrive, and the first impossible one ends the
//! channel.
//!
//! Invariant: `start <= end <= buffer.len()`; the bytes between are received and not yet taken.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use lineshaft_store::above_standard;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

use crate::error::WireError;
use crate::frame;
use crate::limits::{
    BUFFER_KEEP_BYTES, DESCRIPTORS_HELD_MAX, DESCRIPTORS_PER_CALL_MAX, FRAME_MAX_BYTES, READ_BYTES,
};

/// Room for the control message of one call.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_CALL_MAX));

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Bytes; there may be more.
    Data,
    /// Nothing for now.
    WouldBlock,
    /// The peer is gone, and everything it sent has been read.
    Eof,
}

/// The incoming half of a channel.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Initialised over its whole length, so that the kernel can be handed any part of it.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    descriptors: Descriptors,
}

/// Received descriptors that were not taken yet, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Descriptors {
    queue: VecDeque<OwnedFd>,
}

impl Descriptors {
    /// The next one.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.queue.pop_front()
    }

    /// How many there are. Some may belong to frames that are still on their way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Receiver {
    /// Nothing is received.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what is there, up to 256 KiB and the descriptors that came with it. Never waits.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, WireError> {
        self.make_room()?;
        loop {
            match self.read(socket) {
                // Reset: the peer died without having read all that we sent.
                Ok(0) | Err(ReadError::System(Errno::CONNRESET)) => return Ok(Filled::Eof),
                Ok(_) => return Ok(Filled::Data),
                Err(ReadError::System(Errno::INTR)) => {}
                Err(ReadError::System(Errno::AGAIN)) => return Ok(Filled::WouldBlock),
                Err(ReadError::System(errno)) => {
                    return Err(WireError::Io {
                        call: "recvmsg",
                        errno,
                    });
                }
                Err(ReadError::Wire(error)) => return Err(error),
            }
        }
    }

    /// [`Self::fill`] that waits until there is something, for a peer with nothing else to do.
    /// Returns `WouldBlock` only if a signal ended the wait.
    pub fn fill_blocking(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, WireError> {
        loop {
            match self.fill(socket)? {
                Filled::WouldBlock => {}
                filled => return Ok(filled),
            }
            let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
            match rustix::event::poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(Filled::WouldBlock),
                Err(errno) => {
                    return Err(WireError::Io {
                        call: "poll",
                        errno,
                    });
                }
            }
        }
    }

    /// The next whole frame, to be [decoded](crate::decode) in place, and the descriptors received
    /// so far, of which its own are the first.
    ///
    /// After an error the stream cannot be understood any more; each further call fails alike.
    pub fn next_frame(&mut self) -> Result<Option<(&[u8], &mut Descriptors)>, WireError> {
        loop {
            let received = &self.buffer[self.start..self.end];
            let Some(length) = frame::body_length(received)? else {
                return Ok(None);
            };
            if received.len() - frame::HEADER_BYTES < length {
                return Ok(None);
            }
            let body = self.start + frame::HEADER_BYTES;
            self.start = body + length;
            // An empty frame only carries descriptors.
            if length > 0 {
                return Ok(Some((
                    &self.buffer[body..body + length],
                    &mut self.descriptors,
                )));
            }
        }
    }

    /// The next descriptor, in the order in which they were sent.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.descriptors.take_fd()
    }

    /// Bytes received that are not part of a frame taken. Not zero at `Eof`: the peer died while it
    /// was sending.
    pub fn pending_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Makes room for one read behind `end`. Moves bytes only when fewer are moved than were taken
    /// since the last time, or when the buffer must grow, which doubles it; so each byte is moved a
    /// bounded number of times on average.
    fn make_room(&mut self) -> Result<(), WireError> {
        let pending = self.pending_bytes();
        if pending > frame::HEADER_BYTES + FRAME_MAX_BYTES {
            return Err(WireError::NotDrained);
        }
        if pending == 0 {
            self.start = 0;
            self.end = 0;
            if self.buffer.is_empty() || self.buffer.len() > BUFFER_KEEP_BYTES {
                // The first read, or the end of a large frame whose room is given back.
                self.buffer = vec![0; READ_BYTES];
            }
            return Ok(());
        }
        if pending <= self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = pending;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        Ok(())
    }

    /// One system call.
    fn read(&mut self, socket: BorrowedFd<'_>) -> Result<usize, ReadError> {
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(&mut self.buffer[self.end..])];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = rustix::net::recvmsg(socket, &mut room, &mut control, flags)
            .map_err(ReadError::System)?;
        self.end += received.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    let fd = above_standard(fd)
                        .map_err(|_| ReadError::Wire(WireError::DescriptorsDropped))?;
                    self.descriptors.queue.push_back(fd);
                }
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ReadError::Wire(WireError::DescriptorsDropped));
        }
        if self.descriptors.len() > DESCRIPTORS_HELD_MAX {
            return Err(ReadError::Wire(WireError::DescriptorsNotTaken));
        }
        Ok(received.bytes)
    }
}

enum ReadError {
    System(Errno),
    Wire(WireError),
}
