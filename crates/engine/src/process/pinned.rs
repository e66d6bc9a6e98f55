//! What a worker keeps where it is, for those who look.

use std::sync::Arc;

use lineshaft_store::Pin;
use rustc_hash::FxHashSet;

/// Objects that a worker may read: they are not freed, and stay where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pinned {
    /// How many there are, each counted once.
    pub objects: usize,
    /// What they take.
    pub bytes: u64,
    /// As much of that as is on disk.
    pub disk_bytes: u64,
}

impl Pinned {
    pub(super) fn by<'a>(pins: impl Iterator<Item = &'a Pin>) -> Pinned {
        let (mut seen, mut pinned) = (FxHashSet::default(), Pinned::default());
        for segment in pins.map(Pin::segment) {
            if seen.insert(Arc::as_ptr(segment)) {
                pinned.objects += 1;
                pinned.bytes += segment.bytes();
                if segment.is_spilled() {
                    pinned.disk_bytes += segment.bytes();
                }
            }
        }
        pinned
    }
}
