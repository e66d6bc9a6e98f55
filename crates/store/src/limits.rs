//! Every limit and fixed size of this crate.

/// Each part of a segment starts at a multiple of this many bytes: a cache line, and enough for
/// every vector instruction and for Arrow's buffers.
pub const ALIGNMENT: u64 = 64;

/// How many live buffers [`crate::LiveBuffers`] remembers. Few arrays of a program are handed to
/// tasks again and again; a forgotten one is only stored once more.
pub(crate) const LIVE_BUFFERS_MAX: usize = 1024;

/// Segments that [`crate::LiveBuffers`] keeps for a caller who wants that. Few arrays are handed to all calls.
pub(crate) const KEPT_SEGMENTS_MAX: usize = 4;

/// Owners that are known although none of their objects is there any more, 56 bytes each.
pub(crate) const OWNERS_MAX: usize = 1024;

/// From this size on a buffer is hashed by two threads. Below, starting the thread would cost a
/// noticeable part of what it saves.
pub(crate) const HASH_TWO_THREADS_BYTES_MIN: usize = 32 << 20;

/// From this size on a live buffer that comes again is watched for writes. Below, hashing it costs
/// little more than asking.
pub(crate) const WATCHED_BYTES_MIN: usize = 1 << 20;

/// Samples that are compared of a watched buffer.
pub(crate) const SAMPLES: usize = 16;

/// Bytes in a sample.
pub(crate) const SAMPLE_BYTES: usize = 4096;

/// Bytes copied per call when a segment is spilled, so that a spill file that cannot grow is
/// noticed early.
pub(crate) const SPILL_CHUNK_BYTES: usize = 8 << 20;

/// Upper bound of a [`crate::SharedPage`]. These pages hold a handful of atomics; a larger type is
/// a mistake.
pub(crate) const SHARED_PAGE_BYTES_MAX: usize = 64 << 10;

/// Names tried for a spill file where the file system has no `O_TMPFILE`.
pub(crate) const SPILL_NAMES_MAX: u32 = 16;

/// Mappings that [`crate::MapCache`] keeps. Programs that hand the same array to many tasks hand
/// over one or two of them.
pub(crate) const KEPT_MAPS_MAX: usize = 4;

/// Smaller mappings are not worth keeping: entering their pages costs less than looking whether
/// they were written to.
pub(crate) const KEPT_BYTES_MIN: u64 = 1 << 20;

/// How often a segment is sealed of which something else has a page, each time after the kernel has
/// waited for it: for some 15 seconds in all.
pub(crate) const SEAL_TRIES_MAX: u32 = 100;
