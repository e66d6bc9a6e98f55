//! Who wrote the objects, and how much of what each wrote went to disk.
//!
//! An owner is known from its first object on, and as long as it has one. Of those that have none any more the
//! last [`OWNERS_MAX`] that ever had one on disk stay known, also when their processes are gone.

use std::collections::BTreeMap;

use crate::limits::OWNERS_MAX;

/// Who wrote an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The process that has the store.
    Program,
    /// A worker, by its number. Greater numbers are of later ones.
    Worker(u32),
}

/// What an owner wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owned {
    /// Its objects that are there, wherever they are.
    pub objects: u64,
    /// What these take.
    pub bytes: u64,
    /// As much of that as is on disk.
    pub disk_bytes: u64,
    /// What went to disk so far because memory had no room, that of objects that are gone included.
    pub spilled_bytes: u64,
}

/// What everybody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    /// The owners that are known, and what each wrote.
    pub by_owner: BTreeMap<Owner, Owned>,
    /// What went to disk of owners that are not known any more.
    pub forgotten_bytes: u64,
}

impl Owners {
    /// What this one wrote; nothing if it is not known.
    pub fn of(&self, owner: Owner) -> Owned {
        self.by_owner.get(&owner).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, owner: Owner, bytes: u64) {
        if !self.by_owner.contains_key(&owner) {
            self.make_room();
        }
        let owned = self.by_owner.entry(owner).or_default();
        owned.objects += 1;
        owned.bytes += bytes;
    }

    /// An object that was added went to disk.
    pub(super) fn spill(&mut self, owner: Owner, bytes: u64) {
        let owned = self.owned_mut(owner);
        owned.disk_bytes += bytes;
        owned.spilled_bytes += bytes;
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, owner: Owner, bytes: u64, was_on_disk: bool) {
        let owned = self.owned_mut(owner);
        owned.objects -= 1;
        owned.bytes -= bytes;
        owned.disk_bytes -= if was_on_disk { bytes } else { 0 };
        if *owned == Owned::default() {
            self.by_owner.remove(&owner);
        }
    }

    fn owned_mut(&mut self, owner: Owner) -> &mut Owned {
        let owned = self.by_owner.get_mut(&owner);
        owned.expect("an owner is known as long as it has an object")
    }

    /// Forgets the first worker that has no object, if enough are known.
    fn make_room(&mut self) {
        if self.by_owner.len() < OWNERS_MAX {
            return;
        }
        let mut workers = self.by_owner.range(Owner::Worker(0)..);
        let without = workers.find(|(_, owned)| owned.objects == 0);
        if let Some((&first, &owned)) = without {
            self.by_owner.remove(&first);
            self.forgotten_bytes += owned.spilled_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_to_disk_stays_known_when_the_object_is_gone() {
        let mut owners = Owners::default();
        let (spills, does_not) = (Owner::Worker(3), Owner::Worker(4));
        owners.add(spills, 10);
        owners.add(does_not, 20);
        owners.spill(spills, 10);
        owners.remove(spills, 10, true);
        owners.remove(does_not, 20, false);
        let known = Owned {
            spilled_bytes: 10,
            ..Owned::default()
        };
        assert_eq!(owners.by_owner, BTreeMap::from([(spills, known)]));
    }

    #[test]
    fn owners_are_bounded_and_what_the_forgotten_spilled_is_counted() {
        let mut owners = Owners::default();
        owners.add(Owner::Program, 1);
        owners.spill(Owner::Program, 1);
        owners.remove(Owner::Program, 1, true);
        owners.add(Owner::Worker(0), 1);
        for worker in 1..=u32::try_from(OWNERS_MAX).expect("few") {
            owners.add(Owner::Worker(worker), 5);
            owners.spill(Owner::Worker(worker), 5);
            owners.remove(Owner::Worker(worker), 5, true);
        }
        assert_eq!(owners.by_owner.len(), OWNERS_MAX);
        assert_eq!(owners.of(Owner::Program).spilled_bytes, 1);
        assert_eq!(owners.of(Owner::Worker(0)).objects, 1, "it has an object");
        assert_eq!(owners.of(Owner::Worker(1)), Owned::default());
        assert_eq!(owners.forgotten_bytes, 10, "of the workers 1 and 2");
    }
}
