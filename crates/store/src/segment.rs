//! Handles of segments: the segment itself, pins, and mappings within the engine's process.
//!
//! All of them may be used and dropped by any thread. None holds the ledger's lock beyond a call.

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::error::StoreError;
use crate::ledger::SegmentId;
use crate::map::{ReadOnlyMap, map_fd};
use crate::store::Shared;

/// One sealed, immutable object of a [`crate::Store`]. Dropping the last handle frees it and gives
/// its bytes back to the budget.
///
/// Readers in other processes that still map it keep its pages alive in the kernel; the engine
/// therefore [pins](Segment::pin) what a running task reads, and frees it after the task.
#[derive(Debug)]
pub struct Segment {
    id: SegmentId,
    bytes: u64,
    shared: Arc<Shared>,
}

impl Segment {
    pub(crate) fn new(id: SegmentId, bytes: u64, shared: Arc<Shared>) -> Arc<Segment> {
        Arc::new(Segment { id, bytes, shared })
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A new descriptor of the segment, to be passed to a worker. Counts as a use.
    ///
    /// A descriptor does not keep the segment from being spilled; pages that a worker has mapped
    /// through it stay in memory all the same and are then missing from the books. Hold a
    /// [`Pin`] for as long as the worker may read.
    pub fn fd(&self) -> Result<OwnedFd, StoreError> {
        // The lock is released before the call; the shared descriptor stays open meanwhile.
        let fd = self.shared.update(|ledger| ledger.use_fd(self.id));
        let duplicate = crate::file::duplicate(fd.as_fd());
        duplicate.map_err(|failure| failure.with_pressure(self.shared.pressure(self.bytes)))
    }

    /// Maps the segment into this process for reading and pins it while mapped.
    pub fn map(self: &Arc<Self>) -> Result<Mapping, StoreError> {
        // Pinned first, so that the descriptor is still the right one when it is mapped.
        let (pin, fd) = self.pin_with_fd();
        let map = map_fd(fd.as_fd(), self.bytes)?;
        Ok(Mapping { map, pin })
    }

    /// Keeps the segment from being spilled for as long as the pin lives.
    pub fn pin(self: &Arc<Self>) -> Pin {
        self.pin_with_fd().0
    }

    /// Whether its bytes are in a spill file.
    pub fn is_spilled(&self) -> bool {
        self.shared.update(|ledger| ledger.is_on_disk(self.id))
    }

    fn pin_with_fd(self: &Arc<Self>) -> (Pin, Arc<OwnedFd>) {
        let fd = self.shared.update(|ledger| ledger.pin(self.id));
        (
            Pin {
                segment: Arc::clone(self),
            },
            fd,
        )
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Bound to a name so that it is closed after the ledger is unlocked.
        let fd = self.shared.let_go(|ledger| ledger.free(self.id));
        drop(fd);
    }
}

/// Keeps one segment alive and where it is.
#[derive(Debug)]
pub struct Pin {
    segment: Arc<Segment>,
}

impl Pin {
    /// The segment that is pinned.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let id = self.segment.id;
        // None in a forked child that does without.
        let _: Option<()> = self.segment.shared.let_go(|ledger| ledger.unpin(id));
    }
}

/// The bytes of a segment in this process. Keeps the segment alive and pinned.
#[derive(Debug)]
pub struct Mapping {
    // Fields drop in order: unmapped first, then unpinned.
    map: ReadOnlyMap,
    pin: Pin,
}

impl Mapping {
    /// The segment that is mapped.
    pub fn segment(&self) -> &Arc<Segment> {
        self.pin.segment()
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
