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
//! * `order` holds exactly the segments in memory that nobody pins, oldest use first.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Medium;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId(u64);

/// A moment in the order of uses; no clock is involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use(u64);

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
    /// Holders that need the segment to stay where it is.
    pins: u64,
    place: Place,
}

/// The segment to copy to disk next.
#[derive(Debug)]
pub(crate) struct Victim {
    pub(crate) id: SegmentId,
    pub(crate) bytes: u64,
    pub(crate) fd: Arc<OwnedFd>,
}

/// What can be done about a lack of memory.
#[derive(Debug)]
pub(crate) enum Relief {
    /// Spill this segment. It is marked, and nobody else is told to spill it.
    Spill(Victim),
    /// Other threads are spilling enough: wait for one of them.
    Wait,
    /// Spilling would help, but the spill directory has reached its limit.
    DiskLimit,
    /// Even spilling everything that may be spilled would not make the room.
    Nothing,
}

/// How an attempt to spill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpillEnd {
    /// The segment is on disk now.
    Spilled,
    /// The copy was thrown away: it failed, or the segment was pinned or freed in the meantime.
    Discarded,
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
    pub(crate) fn seal(&mut self, medium: Medium, bytes: u64, fd: OwnedFd) -> SegmentId {
        self.take_reservation(medium, bytes);
        let id = SegmentId(self.next_id);
        self.next_id += 1;
        let fd = Arc::new(fd);
        let place = match medium {
            Medium::Memory => self.enter_order(id, bytes, fd),
            Medium::Disk => Place::Disk { fd },
        };
        let previous = self.entries.insert(
            id,
            Entry {
                bytes,
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

    /// What to do so that `wanted_bytes` more fit into memory.
    pub(crate) fn relief(&mut self, wanted_bytes: u64) -> Relief {
        let movable_bytes = self.spillable_bytes + self.spilling_bytes;
        let fixed_bytes = self.used_bytes - movable_bytes;
        if fixed_bytes.saturating_add(wanted_bytes) > self.limit_bytes {
            return Relief::Nothing;
        }
        self.relief_by_any(wanted_bytes)
    }

    /// What to do to get closer to the limit, even if it cannot be reached.
    pub(crate) fn relief_of_excess(&mut self) -> Relief {
        if self.used_bytes <= self.limit_bytes {
            return Relief::Nothing;
        }
        self.relief_by_any(0)
    }

    fn relief_by_any(&mut self, wanted_bytes: u64) -> Relief {
        let used_after_bytes = self.used_bytes - self.spilling_bytes;
        if used_after_bytes.saturating_add(wanted_bytes) <= self.limit_bytes {
            return Relief::Wait;
        }
        match self.order.first_key_value() {
            Some((_, &id)) => self.start_spill(id),
            None if self.spilling_bytes > 0 => Relief::Wait,
            None => Relief::Nothing,
        }
    }

    /// Marks a segment as being spilled, if it is in memory, not pinned, and the disk may take it.
    pub(crate) fn start_spill(&mut self, id: SegmentId) -> Relief {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Relief::Nothing;
        };
        let Place::Memory { fd, last_use } = &entry.place else {
            return Relief::Nothing;
        };
        if entry.pins > 0 {
            return Relief::Nothing;
        }
        let spilled_after_bytes = self.spilled_bytes.saturating_add(entry.bytes);
        if spilled_after_bytes > self.spill_limit_bytes {
            return Relief::DiskLimit;
        }
        let victim = Victim {
            id,
            bytes: entry.bytes,
            fd: Arc::clone(fd),
        };
        let removed = self.order.remove(last_use);
        assert_eq!(removed, Some(id));
        entry.place = Place::Spilling {
            fd: Arc::clone(&victim.fd),
        };
        self.spillable_bytes -= victim.bytes;
        self.spilling_bytes += victim.bytes;
        self.spilled_bytes = spilled_after_bytes;
        Relief::Spill(victim)
    }

    /// Ends what [`Self::start_spill`] began, with the finished copy or without one.
    pub(crate) fn finish_spill(&mut self, victim: &Victim, copy: Option<OwnedFd>) -> SpillEnd {
        self.failed_spill_count += u64::from(copy.is_none());
        let Some(entry) = self.entries.get(&victim.id) else {
            return SpillEnd::Discarded;
        };
        let pins = entry.pins;
        assert!(matches!(entry.place, Place::Spilling { .. }));
        self.spilling_bytes -= victim.bytes;
        if let (Some(copy), 0) = (copy, pins) {
            self.used_bytes -= victim.bytes;
            self.spill_count += 1;
            self.set_place(victim.id, Place::Disk { fd: Arc::new(copy) });
            return SpillEnd::Spilled;
        }
        self.spilled_bytes -= victim.bytes;
        let fd = Arc::clone(&victim.fd);
        // Back as the most recently used one: the next choice is another segment.
        let place = if pins == 0 {
            self.enter_order(victim.id, victim.bytes, fd)
        } else {
            Place::Memory {
                fd,
                last_use: self.next_use(),
            }
        };
        self.set_place(victim.id, place);
        SpillEnd::Discarded
    }

    /// Panics if the books do not add up. Linear in the number of segments.
    pub(crate) fn check_invariants(&self) {
        let (mut used, mut spilled) = (self.reserved_memory_bytes, self.reserved_disk_bytes);
        let (mut spillable, mut spilling, mut ordered) = (0, 0, 0);
        for (id, entry) in &self.entries {
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

    fn next_use(&mut self) -> Use {
        self.next_use += 1;
        Use(self.next_use)
    }

    fn enter_order(&mut self, id: SegmentId, bytes: u64, fd: Arc<OwnedFd>) -> Place {
        let last_use = self.next_use();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        OwnedFd::from(std::fs::File::open("/dev/null").unwrap())
    }

    fn put(ledger: &mut Ledger, bytes: u64) -> SegmentId {
        assert!(ledger.try_reserve(Medium::Memory, bytes));
        ledger.seal(Medium::Memory, bytes, fd())
    }

    fn start(ledger: &mut Ledger, wanted_bytes: u64) -> Victim {
        match ledger.relief(wanted_bytes) {
            Relief::Spill(victim) => victim,
            other => panic!("{other:?}"),
        }
    }

    fn check(ledger: &Ledger, used_bytes: u64, spilled_bytes: u64) {
        ledger.check_invariants();
        assert_eq!(
            (ledger.used_bytes(), ledger.spilled_bytes()),
            (used_bytes, spilled_bytes)
        );
    }

    #[test]
    fn a_segment_pinned_while_it_is_spilled_stays_in_memory() {
        let mut ledger = Ledger::new(10, None);
        let id = put(&mut ledger, 10);
        let victim = start(&mut ledger, 5);
        check(&ledger, 10, 10);
        let _memory = ledger.pin(id);
        assert_eq!(
            ledger.finish_spill(&victim, Some(fd())),
            SpillEnd::Discarded
        );
        assert!(!ledger.is_on_disk(id));
        check(&ledger, 10, 0);
        assert!(matches!(ledger.relief(5), Relief::Nothing));
        ledger.unpin(id);
        let victim = start(&mut ledger, 5);
        assert_eq!(ledger.finish_spill(&victim, Some(fd())), SpillEnd::Spilled);
        check(&ledger, 0, 10);
    }

    #[test]
    fn a_segment_pinned_and_unpinned_while_it_is_spilled_goes_to_disk() {
        let mut ledger = Ledger::new(10, None);
        let id = put(&mut ledger, 10);
        let victim = start(&mut ledger, 5);
        let _memory = ledger.use_fd(id);
        check(&ledger, 10, 10);
        assert_eq!(ledger.finish_spill(&victim, Some(fd())), SpillEnd::Spilled);
        check(&ledger, 0, 10);
    }

    #[test]
    fn a_segment_freed_while_it_is_spilled_is_gone() {
        let mut ledger = Ledger::new(10, None);
        let id = put(&mut ledger, 10);
        let victim = start(&mut ledger, 5);
        drop(ledger.free(id));
        check(&ledger, 0, 0);
        assert_eq!(
            ledger.finish_spill(&victim, Some(fd())),
            SpillEnd::Discarded
        );
        check(&ledger, 0, 0);
        assert_eq!(ledger.spill_count(), 0);
    }

    #[test]
    fn a_failed_spill_is_tried_with_another_segment_next() {
        let mut ledger = Ledger::new(10, None);
        let (a, b) = (put(&mut ledger, 5), put(&mut ledger, 5));
        let first = start(&mut ledger, 1);
        assert_eq!(first.id, a);
        assert_eq!(ledger.finish_spill(&first, None), SpillEnd::Discarded);
        check(&ledger, 10, 0);
        assert_eq!(ledger.failed_spill_count(), 1);
        assert_eq!(start(&mut ledger, 1).id, b);
    }

    #[test]
    fn two_threads_in_need_do_not_spill_for_the_same_bytes() {
        let mut ledger = Ledger::new(10, None);
        let _held = [put(&mut ledger, 5), put(&mut ledger, 5)];
        let victim = start(&mut ledger, 5);
        assert!(matches!(ledger.relief(5), Relief::Wait));
        let second = start(&mut ledger, 6);
        assert!(matches!(ledger.relief(10), Relief::Wait));
        assert!(matches!(ledger.relief(11), Relief::Nothing));
        ledger.finish_spill(&victim, Some(fd()));
        ledger.finish_spill(&second, Some(fd()));
        check(&ledger, 0, 10);
    }

    #[test]
    fn a_spill_reserves_its_place_on_disk() {
        let mut ledger = Ledger::new(10, Some(7));
        let _held = [put(&mut ledger, 5), put(&mut ledger, 5)];
        let victim = start(&mut ledger, 5);
        assert!(!ledger.try_reserve(Medium::Disk, 3));
        assert!(matches!(ledger.relief(10), Relief::DiskLimit));
        ledger.finish_spill(&victim, None);
        assert!(ledger.try_reserve(Medium::Disk, 7));
        ledger.release(Medium::Disk, 7);
        check(&ledger, 10, 0);
    }
}
