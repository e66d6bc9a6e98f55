//! Every limit and fixed size of this crate.

/// Longest frame, its length word not counted. Values of this size travel in shared memory; a
/// longer frame is garbage.
pub const FRAME_MAX_BYTES: usize = 64 << 20;

/// Most descriptors that one system call passes. The kernel takes up to 253, but what a receiver has no number left
/// for is lost, and it can make room between two calls only.
pub(crate) const DESCRIPTORS_PER_CALL_MAX: usize = 16;

/// Most descriptors that may travel with one frame.
pub const DESCRIPTORS_PER_FRAME_MAX: usize = 4096;

/// Most descriptors that a receiver holds before they are taken: those of one incomplete frame, and
/// those that came early with its last read.
pub(crate) const DESCRIPTORS_HELD_MAX: usize = DESCRIPTORS_PER_FRAME_MAX + DESCRIPTORS_PER_CALL_MAX;

/// Requested size of each direction's socket buffer. The kernel grants at most
/// `net.core.wmem_max` of it, silently.
pub const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// Bytes asked for by one read, and the first size of a receive buffer.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// Size that a buffer keeps when it runs empty; what a rare large frame took beyond it is given
/// back.
pub(crate) const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// Room for frames that a worker has not sent yet; one for which there is none is sent at once.
pub(crate) const HELD_BYTES: usize = 16 << 10;

/// Most tasks sent to a worker in one epoch of its [`crate::control::ControlPage`]: far below the
/// point where the count would overflow into the epoch.
pub const CLAIMS_PER_EPOCH_MAX: u32 = 1 << 31;

/// How long a blocked sender waits before it tries again when the kernel has too many descriptors
/// in flight or no memory, which no poll reports the end of.
pub(crate) const RETRY_MS: i64 = 2;
