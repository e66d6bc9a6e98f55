//! Which segment leaves memory, and what its way to the disk means for the books.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Ledger, Place, SegmentId, Use};

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

impl Ledger {
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
        // What never fits in memory may not fit on the disk either, and others have to go then.
        let mut is_disk_full = false;
        for fits in [false, true] {
            let Some((_, &id)) = self.order.range(Use { fits, number: 0 }..).next() else {
                break;
            };
            match self.start_spill(id) {
                Some(victim) => return Relief::Spill(victim),
                None => is_disk_full = true,
            }
        }
        if is_disk_full {
            Relief::DiskLimit
        } else if self.spilling_bytes > 0 {
            Relief::Wait
        } else {
            Relief::Nothing
        }
    }

    /// Marks a segment of the order as being spilled; none if the disk may not take it.
    fn start_spill(&mut self, id: SegmentId) -> Option<Victim> {
        let entry = self.entries.get_mut(&id);
        let entry = entry.expect("a segment leaves the order before it is freed");
        let Place::Memory { fd, last_use } = &entry.place else {
            unreachable!("a segment leaves the order before it leaves memory");
        };
        assert_eq!(entry.pins, 0, "{id:?} is pinned, and in the order");
        let spilled_after_bytes = self.spilled_bytes.saturating_add(entry.bytes);
        if spilled_after_bytes > self.spill_limit_bytes {
            return None;
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
        Some(victim)
    }

    /// Ends what [`Self::start_spill`] began, with the finished copy or without one.
    pub(crate) fn finish_spill(&mut self, victim: &Victim, copy: Option<OwnedFd>) -> SpillEnd {
        self.failed_spill_count += u64::from(copy.is_none());
        let Some(entry) = self.entries.get(&victim.id) else {
            return SpillEnd::Discarded;
        };
        let (pins, owner) = (entry.pins, entry.owner);
        assert!(matches!(entry.place, Place::Spilling { .. }));
        self.spilling_bytes -= victim.bytes;
        if let (Some(copy), 0) = (copy, pins) {
            self.used_bytes -= victim.bytes;
            self.spill_count += 1;
            self.owners.spill(owner, victim.bytes);
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
                last_use: self.next_use(victim.bytes),
            }
        };
        self.set_place(victim.id, place);
        SpillEnd::Discarded
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Medium;
    use crate::ledger::Owner;

    use super::*;

    fn fd() -> OwnedFd {
        OwnedFd::from(std::fs::File::open("/dev/null").unwrap())
    }

    fn put(ledger: &mut Ledger, bytes: u64) -> SegmentId {
        assert!(ledger.try_reserve(Medium::Memory, bytes));
        ledger.seal(Medium::Memory, bytes, fd(), Owner::Worker(1))
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
        let owned = |ledger: &Ledger| {
            let owned = ledger.owners().of(Owner::Worker(1));
            (owned.bytes, owned.disk_bytes, owned.spilled_bytes)
        };
        assert_eq!(owned(&ledger), (10, 0, 0), "not before it is there");
        assert_eq!(ledger.finish_spill(&victim, Some(fd())), SpillEnd::Spilled);
        check(&ledger, 0, 10);
        assert_eq!(owned(&ledger), (10, 10, 10));
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
