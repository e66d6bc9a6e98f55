//! What can go wrong between engine and worker.

use rustix::io::Errno;

use crate::limits::{DESCRIPTORS_HELD_MAX, DESCRIPTORS_PER_FRAME_MAX, FRAME_MAX_BYTES};

/// A failure of one channel. Other workers are not affected by any of these.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A frame claims, or would need, more bytes than a frame may have. On the receiving side the
    /// stream cannot be understood any more.
    #[error("a frame of at least {bytes} bytes exceeds the limit of {FRAME_MAX_BYTES} bytes")]
    FrameTooLong {
        /// Its length; on the sending side one more than allowed, for encoding stops there.
        bytes: usize,
    },
    /// A message could not be encoded.
    #[error("a message cannot be encoded: {0}")]
    Encode(#[source] postcard::Error),
    /// The bytes of a frame are not the message that was expected.
    #[error("a frame cannot be decoded: {0}")]
    Decode(#[source] postcard::Error),
    /// A frame holds more than the message that was expected.
    #[error("{bytes} bytes follow a message in its frame")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// More descriptors than may travel with one frame.
    #[error("{count} descriptors for one frame, at most {DESCRIPTORS_PER_FRAME_MAX} are allowed")]
    TooManyDescriptors {
        /// How many.
        count: usize,
    },
    /// The peer sends descriptors that nobody takes.
    #[error("more than {DESCRIPTORS_HELD_MAX} received descriptors were not taken")]
    DescriptorsNotTaken,
    /// The kernel dropped descriptors on their way in, because this process has no more
    /// (`ulimit -n`). Which ones is unknown, so the channel is lost.
    #[error(
        "received descriptors were dropped: this process has too many open files, see `ulimit -n`"
    )]
    DescriptorsDropped,
    /// The peers of this user have not read too many descriptors yet (`ETOOMANYREFS`). Nothing is
    /// lost; flush again once they have read.
    #[error("too many descriptors are on their way to other processes, see `ulimit -n`")]
    DescriptorsInFlight,
    /// The receiver was filled again and again without its frames being taken.
    #[error("the receive buffer is full: take the frames before filling it again")]
    NotDrained,
    /// The peer is gone; what is not yet sent will never be read.
    #[error("the peer has closed the channel")]
    Closed,
    /// A system call failed for a reason of its own.
    #[error("{call} failed on a channel: {errno}")]
    Io {
        /// The call, for the reader of a report.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl WireError {
    /// Whether the kernel only lacks room at the moment: too many descriptors are on their way, or it
    /// has no memory for a message. Nothing is lost; flush again a little later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            WireError::DescriptorsInFlight
                | WireError::Io {
                    errno: Errno::NOBUFS | Errno::NOMEM,
                    ..
                }
        )
    }
}
