//! The books of the store: who is charged for what, in which order segments were used, and which
//! one to spill. Decides and counts; makes no system call, so it can be locked for a moment by any
//! thread (the lock is in [`crate::store`]).
//!
//! Invariants, checked by [`Ledger::check_invariants`]:
//!
//! * `used_bytes` is the sum over segments in memory plus reservations of memory; a segment being
//!   spilled is still in memory.
//! * `spilled_bytes` is the sum over segments on disk plus reservations of disk; a segment being
//!   spilled holds one, so that its copy cannot find the directory over its limit.
//! * `order` holds exactly the segments in memory that nobody pins, oldest use first, behind those
//!   that alone exceed the limit.
//! * `owners` has each segment with its owner.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Medium;

mod owners;
mod spill;

pub use owners::{Owned, Owner, Owners};
pub(crate) use spill::{Relief, SpillEnd, Victim};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId(u64);

/// A place in the order in which segments are spilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    /// False for what is larger than the limit: it goes first, and nothing has to go for it.
    fits: bool,
    /// Counts uses; no clock is involved.
    number: u64,
}

/// Where a sealed segment is. Descriptors are shared so that they can be used, and closed, without
/// holding the lock.
#[derive(Debug)]
enum Place {
    Memory {
        fd: Arc<OwnedFd>,
        last_use: Use,
    },
    /// Some thread copies it to disk. Readers still use the memory.
    Spilling {
        fd: Arc<OwnedFd>,
    },
    Disk {
        fd: Arc<OwnedFd>,
    },
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    owner: Owner,
    /// Holders that need the segment to stay where it is.
    pins: u64,
    place: Place,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    limit_bytes: u64,
    spill_limit_bytes: u64,
    used_bytes: u64,
    spilled_bytes: u64,
    peak_bytes: u64,
    spill_count: u64,
    failed_spill_count: u64,
    /// Sum over `order`.
    spillable_bytes: u64,
    /// Sum over segments being spilled.
    spilling_bytes: u64,
    reserved_memory_bytes: u64,
    reserved_disk_bytes: u64,
    entries: HashMap<SegmentId, Entry>,
    order: BTreeMap<Use, SegmentId>,
    owners: Owners,
    next_id: u64,
    next_use: u64,
}

impl Ledger {
    pub(crate) fn new(limit_bytes: u64, spill_limit_bytes: Option<u64>) -> Ledger {
        Ledger {
            limit_bytes,
            spill_limit_bytes: spill_limit_bytes.unwrap_or(u64::MAX),
            used_bytes: 0,
            spilled_bytes: 0,
            peak_bytes: 0,
            spill_count: 0,
            failed_spill_count: 0,
            spillable_bytes: 0,
            spilling_bytes: 0,
            reserved_memory_bytes: 0,
            reserved_disk_bytes: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            owners: Owners::default(),
            next_id: 0,
            next_use: 0,
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(crate) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    pub(crate) fn spill_count(&self) -> u64 {
        self.spill_count
    }

    pub(crate) fn failed_spill_count(&self) -> u64 {
        self.failed_spill_count
    }

    pub(crate) fn segments(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Charges a segment that is about to be written, if its medium has room for it.
    pub(crate) fn try_reserve(&mut self, medium: Medium, bytes: u64) -> bool {
        let (used_bytes, limit_bytes) = match medium {
            Medium::Memory => (self.used_bytes, self.limit_bytes),
            Medium::Disk => (self.spilled_bytes, self.spill_limit_bytes),
        };
        let fits = used_bytes
            .checked_add(bytes)
            .is_some_and(|sum| sum <= limit_bytes);
        if fits {
            self.reserve(medium, bytes);
        }
        fits
    }

    /// Charges a segment that exists already, limit or not.
    pub(crate) fn reserve(&mut self, medium: Medium, bytes: u64) {
        match medium {
            Medium::Memory => {
                self.used_bytes += bytes;
                self.reserved_memory_bytes += bytes;
                self.peak_bytes = self.peak_bytes.max(self.used_bytes);
            }
            Medium::Disk => {
                self.spilled_bytes += bytes;
                self.reserved_disk_bytes += bytes;
            }
        }
    }

    /// Gives a reservation back: its segment could not be written.
    pub(crate) fn release(&mut self, medium: Medium, bytes: u64) {
        self.take_reservation(medium, bytes);
        match medium {
            Medium::Memory => self.used_bytes -= bytes,
            Medium::Disk => self.spilled_bytes -= bytes,
        }
    }

    /// Turns a reservation into a segment.
    pub(crate) fn seal(
        &mut self,
        medium: Medium,
        bytes: u64,
        fd: OwnedFd,
        owner: Owner,
    ) -> SegmentId {
        self.take_reservation(medium, bytes);
        self.owners.add(owner, bytes);
        let id = SegmentId(self.next_id);
        self.next_id += 1;
        let fd = Arc::new(fd);
        let place = match medium {
            Medium::Memory => self.enter_order(id, bytes, fd),
            Medium::Disk => {
                self.spill_count += 1;
                self.owners.spill(owner, bytes);
                Place::Disk { fd }
            }
        };
        let previous = self.entries.insert(
            id,
            Entry {
                bytes,
                owner,
                pins: 0,
                place,
            },
        );
        assert!(previous.is_none(), "{id:?} was handed out twice");
        id
    }

    /// Keeps a segment where it is until [`Self::unpin`].
    pub(crate) fn pin(&mut self, id: SegmentId) -> Arc<OwnedFd> {
        let entry = self
            .entries
            .get_mut(&id)
            .expect("a segment is entered while a handle exists");
        entry.pins += 1;
        match &entry.place {
            Place::Memory { fd, last_use } => {
                if entry.pins == 1 {
                    let removed = self.order.remove(last_use);
                    assert_eq!(removed, Some(id));
                    self.spillable_bytes -= entry.bytes;
                }
                Arc::clone(fd)
            }
            Place::Spilling { fd } | Place::Disk { fd } => Arc::clone(fd),
        }
    }

    pub(crate) fn unpin(&mut self, id: SegmentId) {
        let entry = self
            .entries
            .get_mut(&id)
            .expect("a segment is entered while a handle exists");
        assert!(entry.pins > 0, "{id:?} is unpinned more often than pinned");
        entry.pins -= 1;
        if entry.pins > 0 {
            return;
        }
        if let Place::Memory { fd, .. } = &entry.place {
            let (bytes, fd) = (entry.bytes, Arc::clone(fd));
            let place = self.enter_order(id, bytes, fd);
            self.set_place(id, place);
        }
    }

    /// The descriptor of a segment, which counts as a use.
    pub(crate) fn use_fd(&mut self, id: SegmentId) -> Arc<OwnedFd> {
        let fd = self.pin(id);
        self.unpin(id);
        fd
    }

    pub(crate) fn is_on_disk(&self, id: SegmentId) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|entry| matches!(entry.place, Place::Disk { .. }))
    }

    /// Ends a segment. The caller closes the descriptor after it has unlocked the ledger: freeing
    /// the pages of a large segment takes milliseconds.
    pub(crate) fn free(&mut self, id: SegmentId) -> Arc<OwnedFd> {
        let entry = self
            .entries
            .remove(&id)
            .expect("a segment is freed by its last handle, once");
        assert_eq!(entry.pins, 0, "a pin of {id:?} outlived the segment");
        let was_on_disk = matches!(entry.place, Place::Disk { .. });
        self.owners.remove(entry.owner, entry.bytes, was_on_disk);
        match entry.place {
            Place::Memory { fd, last_use } => {
                let removed = self.order.remove(&last_use);
                assert_eq!(removed, Some(id));
                self.spillable_bytes -= entry.bytes;
                self.used_bytes -= entry.bytes;
                fd
            }
            Place::Spilling { fd } => {
                // The thread that copies it finds the entry gone and discards the copy.
                self.spilling_bytes -= entry.bytes;
                self.used_bytes -= entry.bytes;
                self.spilled_bytes -= entry.bytes;
                fd
            }
            Place::Disk { fd } => {
                self.spilled_bytes -= entry.bytes;
                fd
            }
        }
    }

    /// Panics if the books do not add up. Linear in the number of segments.
    pub(crate) fn check_invariants(&self) {
        let (mut used, mut spilled) = (self.reserved_memory_bytes, self.reserved_disk_bytes);
        let (mut spillable, mut spilling, mut ordered) = (0, 0, 0);
        let mut owned: BTreeMap<Owner, Owned> = BTreeMap::new();
        for (id, entry) in &self.entries {
            let its = owned.entry(entry.owner).or_default();
            its.objects += 1;
            its.bytes += entry.bytes;
            if matches!(entry.place, Place::Disk { .. }) {
                its.disk_bytes += entry.bytes;
            }
            match &entry.place {
                Place::Memory { last_use, .. } => {
                    used += entry.bytes;
                    let unpinned = entry.pins == 0;
                    assert_eq!(self.order.get(last_use) == Some(id), unpinned);
                    spillable += if unpinned { entry.bytes } else { 0 };
                    ordered += usize::from(unpinned);
                }
                Place::Spilling { .. } => {
                    used += entry.bytes;
                    spilled += entry.bytes;
                    spilling += entry.bytes;
                }
                Place::Disk { .. } => spilled += entry.bytes,
            }
        }
        assert_eq!(self.used_bytes, used);
        assert_eq!(self.spilled_bytes, spilled);
        assert_eq!(self.spillable_bytes, spillable);
        assert_eq!(self.spilling_bytes, spilling);
        assert_eq!(self.order.len(), ordered);
        assert!(self.peak_bytes >= self.used_bytes);
        for (owner, known) in &self.owners.by_owner {
            let its = owned.remove(owner).unwrap_or_default();
            let its = Owned {
                spilled_bytes: known.spilled_bytes,
                ..its
            };
            assert_eq!(*known, its, "of {owner:?}");
            assert!(known.spilled_bytes >= known.disk_bytes);
        }
        assert!(owned.is_empty(), "owners that nobody knows: {owned:?}");
    }

    fn take_reservation(&mut self, medium: Medium, bytes: u64) {
        let reserved_bytes = match medium {
            Medium::Memory => &mut self.reserved_memory_bytes,
            Medium::Disk => &mut self.reserved_disk_bytes,
        };
        assert!(
            *reserved_bytes >= bytes,
            "more is given back than was reserved"
        );
        *reserved_bytes -= bytes;
    }

    fn next_use(&mut self, bytes: u64) -> Use {
        self.next_use += 1;
        Use {
            fits: bytes <= self.limit_bytes,
            number: self.next_use,
        }
    }

    fn enter_order(&mut self, id: SegmentId, bytes: u64, fd: Arc<OwnedFd>) -> Place {
        let last_use = self.next_use(bytes);
        let previous = self.order.insert(last_use, id);
        assert_eq!(previous, None);
        self.spillable_bytes += bytes;
        Place::Memory { fd, last_use }
    }

    fn set_place(&mut self, id: SegmentId, place: Place) {
        let entry = self
            .entries
            .get_mut(&id)
            .expect("the caller looked the segment up before");
        entry.place = place;
    }
}
