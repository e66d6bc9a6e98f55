//! The books, against a model.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::common::{SpillDir, adopt, content, sealed};
use lineshaft_store::{Mapping, Owned, Owner, Segment, Store, StoreError};
use proptest::prelude::*;

const KIB: u64 = 1024;
const BUDGET_BYTES: u64 = 100 * KIB;
const SPILL_MAX_BYTES: u64 = 150 * KIB;
/// Who wrote what is adopted.
const WORKER: Owner = Owner::Worker(1);

#[derive(Debug, Clone)]
enum Step {
    Put {
        bytes: u64,
    },
    Adopt {
        bytes: u64,
    },
    /// A worker writes, wherever the budget page sends it, and the engine adopts.
    Write {
        bytes: u64,
    },
    Map {
        index: usize,
    },
    Unmap {
        index: usize,
    },
    Fd {
        index: usize,
    },
    Drop {
        index: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![1 => Just(0), 8 => 1..40 * KIB, 1 => 90 * KIB..130 * KIB];
    let index = || 0..64_usize;
    prop_oneof![
        4 => bytes().prop_map(|bytes| Step::Put { bytes }),
        2 => bytes().prop_map(|bytes| Step::Adopt { bytes }),
        2 => bytes().prop_map(|bytes| Step::Write { bytes }),
        2 => index().prop_map(|index| Step::Map { index }),
        2 => index().prop_map(|index| Step::Unmap { index }),
        1 => index().prop_map(|index| Step::Fd { index }),
        3 => index().prop_map(|index| Step::Drop { index }),
    ]
}

/// What the store should do, told in the simplest way: a list, oldest use first.
#[derive(Default)]
struct Model {
    objects: Vec<Object>,
    peak_bytes: u64,
    spill_count: u64,
    /// What went to disk, by its owner.
    spilled: BTreeMap<Owner, u64>,
}

struct Object {
    seed: u64,
    owner: Owner,
    bytes: u64,
    is_spilled: bool,
    maps: u64,
}

impl Model {
    fn used_bytes(&self) -> u64 {
        self.objects
            .iter()
            .filter(|object| !object.is_spilled)
            .map(|object| object.bytes)
            .sum()
    }

    fn spilled_bytes(&self) -> u64 {
        self.objects
            .iter()
            .filter(|object| object.is_spilled)
            .map(|object| object.bytes)
            .sum()
    }

    fn owned(&self, owner: Owner) -> Owned {
        let its = || self.objects.iter().filter(|object| object.owner == owner);
        let bytes = |object: &Object| object.bytes;
        Owned {
            objects: its().count() as u64,
            bytes: its().map(bytes).sum(),
            disk_bytes: its().filter(|object| object.is_spilled).map(bytes).sum(),
            spilled_bytes: self.spilled.get(&owner).copied().unwrap_or(0),
        }
    }

    fn note_spill(&mut self, owner: Owner, bytes: u64) {
        self.spill_count += 1;
        *self.spilled.entry(owner).or_default() += bytes;
    }

    fn add(&mut self, owner: Owner, seed: u64, bytes: u64, is_spilled: bool) {
        if is_spilled {
            self.note_spill(owner, bytes);
        }
        self.objects.push(Object {
            seed,
            owner,
            bytes,
            is_spilled,
            maps: 0,
        });
        self.peak_bytes = self.peak_bytes.max(self.used_bytes());
    }

    /// Spills the unpinned object used longest ago, but what never fits into memory before all others.
    /// False if there is none or the disk is full.
    fn spill_oldest(&mut self) -> bool {
        let room_bytes = SPILL_MAX_BYTES - self.spilled_bytes();
        for fits in [false, true] {
            let oldest = self
                .objects
                .iter_mut()
                .find(|it| !it.is_spilled && it.maps == 0 && (it.bytes <= BUDGET_BYTES) == fits);
            if let Some(oldest) = oldest.filter(|it| it.bytes <= room_bytes) {
                oldest.is_spilled = true;
                let (owner, bytes) = (oldest.owner, oldest.bytes);
                self.note_spill(owner, bytes);
                return true;
            }
        }
        false
    }

    fn put(&mut self, seed: u64, bytes: u64) -> bool {
        let pinned = self
            .objects
            .iter()
            .filter(|object| !object.is_spilled && object.maps > 0);
        let pinned_bytes: u64 = pinned.map(|object| object.bytes).sum();
        if pinned_bytes + bytes <= BUDGET_BYTES {
            while self.used_bytes() + bytes > BUDGET_BYTES && self.spill_oldest() {}
        }
        let in_memory = self.used_bytes() + bytes <= BUDGET_BYTES;
        let fits = in_memory || self.spilled_bytes() + bytes <= SPILL_MAX_BYTES;
        if fits {
            self.add(Owner::Program, seed, bytes, !in_memory);
        }
        fits
    }

    fn adopt(&mut self, seed: u64, bytes: u64) {
        self.add(WORKER, seed, bytes, false);
        self.relieve();
    }

    fn relieve(&mut self) {
        while self.used_bytes() > BUDGET_BYTES && self.spill_oldest() {}
    }

    /// Moves an object to the end of the list; returns its new index.
    fn touch(&mut self, index: usize) -> usize {
        let object = self.objects.remove(index);
        self.objects.push(object);
        self.objects.len() - 1
    }
}

/// The real store and the handles of its segments, in the order of the model's list.
struct Real {
    store: Store,
    segments: Vec<(Arc<Segment>, Vec<Mapping>)>,
}

impl Real {
    fn touch(&mut self, index: usize) {
        let segment = self.segments.remove(index);
        self.segments.push(segment);
    }

    fn check(&self, model: &Model) {
        self.store.check_invariants();
        let stats = self.store.stats();
        assert_eq!(stats.used_bytes, model.used_bytes());
        assert_eq!(stats.spilled_bytes, model.spilled_bytes());
        assert_eq!(stats.segments, model.objects.len() as u64);
        assert_eq!(stats.peak_bytes, model.peak_bytes);
        assert_eq!(stats.spill_count, model.spill_count);
        assert_eq!(stats.failed_spill_count, 0);
        let owners = self.store.owners();
        for owner in [Owner::Program, WORKER] {
            assert_eq!(owners.of(owner), model.owned(owner));
        }
        for ((segment, maps), object) in self.segments.iter().zip(&model.objects) {
            assert_eq!(segment.is_spilled(), object.is_spilled);
            assert_eq!(maps.len() as u64, object.maps);
        }
    }
}

fn run(steps: Vec<Step>) {
    let dir = SpillDir::new("accounting");
    let store = dir.store(BUDGET_BYTES, Some(SPILL_MAX_BYTES));
    let writer = dir.writer(&store);
    let mut real = Real {
        store,
        segments: Vec::new(),
    };
    let mut model = Model::default();
    for (seed, step) in steps.into_iter().enumerate() {
        let (seed, count) = (seed as u64, real.segments.len());
        match step {
            Step::Put { bytes } => {
                let put = real.store.put(&[&content(seed, bytes)]);
                if model.put(seed, bytes) {
                    real.segments.push((put.unwrap().0, Vec::new()));
                } else {
                    assert!(matches!(put, Err(StoreError::Full(_))));
                }
            }
            Step::Adopt { bytes } => {
                let fd = sealed(&content(seed, bytes));
                real.segments
                    .push((adopt(&real.store, fd, bytes), Vec::new()));
                model.adopt(seed, bytes);
            }
            Step::Write { bytes } => {
                let written = writer.write(&[&content(seed, bytes)]);
                if model.used_bytes() + bytes <= BUDGET_BYTES {
                    model.adopt(seed, bytes);
                } else if model.spilled_bytes() + bytes <= SPILL_MAX_BYTES {
                    model.add(WORKER, seed, bytes, true);
                    // What an earlier adoption left over the budget may fit on disk by now.
                    model.relieve();
                } else {
                    assert!(matches!(written, Err(StoreError::Full(_))));
                    continue;
                }
                let (fd, len, _) = written.unwrap();
                real.segments
                    .push((adopt(&real.store, fd, len), Vec::new()));
            }
            _ if count == 0 => {}
            Step::Map { index } => {
                let (segment, maps) = &mut real.segments[index % count];
                let object = &mut model.objects[index % count];
                maps.push(segment.map().unwrap());
                object.maps += 1;
                assert_eq!(
                    maps.last().unwrap().as_ref(),
                    content(object.seed, object.bytes)
                );
            }
            Step::Unmap { index } => {
                let index = index % count;
                // The end of the last pin is a use.
                if real.segments[index].1.pop().is_some() {
                    model.objects[index].maps -= 1;
                    if model.objects[index].maps == 0 {
                        model.touch(index);
                        real.touch(index);
                    }
                }
            }
            Step::Fd { index } => {
                let index = index % count;
                let fd = real.segments[index].0.fd().unwrap();
                let object = &model.objects[index];
                let map = lineshaft_store::map_fd(fd.as_fd(), object.bytes).unwrap();
                assert_eq!(map.as_ref(), content(object.seed, object.bytes));
                if model.objects[index].maps == 0 {
                    model.touch(index);
                    real.touch(index);
                }
            }
            Step::Drop { index } => {
                // A mapping keeps the segment alive: both go.
                drop(real.segments.remove(index % count));
                model.objects.remove(index % count);
            }
        }
        real.check(&model);
    }
    for ((segment, _), object) in real.segments.iter().zip(&model.objects) {
        assert_eq!(
            segment.map().unwrap().as_ref(),
            content(object.seed, object.bytes)
        );
    }
    real.segments.clear();
    let stats = real.store.stats();
    assert_eq!(
        (stats.used_bytes, stats.spilled_bytes, stats.segments),
        (0, 0, 0)
    );
    real.store.check_invariants();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_books_are_those_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

#[test]
fn the_least_recently_used_goes_first() {
    let dir = SpillDir::new("order");
    let store = dir.store(3 * KIB, None);
    let put = |seed| store.put(&[&content(seed, KIB)]).unwrap().0;
    let (a, b, c) = (put(1), put(2), put(3));
    drop(a.map().unwrap());
    let _next = put(4);
    assert_eq!(
        [a.is_spilled(), b.is_spilled(), c.is_spilled()],
        [false, true, false]
    );
    drop(c.fd().unwrap());
    let _last = put(5);
    assert_eq!([a.is_spilled(), c.is_spilled()], [true, false]);
    assert_eq!(b.map().unwrap().as_ref(), content(2, KIB));
}

#[test]
fn what_is_pinned_stays_and_others_go_to_disk() {
    let dir = SpillDir::new("pinned");
    let store = dir.store(2 * KIB, None);
    let put = |seed| store.put(&[&content(seed, KIB)]).unwrap().0;
    let (a, b) = (put(1), put(2));
    let (map, pin) = (a.map().unwrap(), b.pin());
    let c = put(3);
    assert_eq!(
        [a.is_spilled(), b.is_spilled(), c.is_spilled()],
        [false, false, true]
    );
    // An adopted segment goes itself when everything else is pinned.
    let adopted = adopt(&store, sealed(&content(4, KIB)), KIB);
    assert!(adopted.is_spilled());
    drop((map, pin));
    let e = put(5);
    assert_eq!(
        [a.is_spilled(), b.is_spilled(), e.is_spilled()],
        [true, false, false]
    );
}

#[test]
fn what_never_fits_goes_to_disk_alone() {
    let dir = SpillDir::new("large");
    let store = dir.store(2 * KIB, None);
    let small = store.put(&[&content(1, KIB)]).unwrap().0;
    let large = store.put(&[&content(2, 5 * KIB)]).unwrap().0;
    let adopted = adopt(&store, sealed(&content(3, 5 * KIB)), 5 * KIB);
    assert_eq!(
        [small.is_spilled(), large.is_spilled(), adopted.is_spilled()],
        [false, true, true]
    );
    assert_eq!(adopted.map().unwrap().as_ref(), content(3, 5 * KIB));
}

#[test]
fn many_threads_leave_the_books_exact() {
    let dir = SpillDir::new("threads");
    let store = dir.store(50 * KIB, Some(200 * KIB));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..500 {
                    let (seed, bytes) = (thread * 1000 + round, (round * 97 + thread) % (9 * KIB));
                    match store.put(&[&content(seed, bytes)]) {
                        Ok((segment, _)) => held.push((seed, segment)),
                        Err(StoreError::Full(_)) => held.clear(),
                        Err(error) => panic!("{error}"),
                    }
                    if round % 3 == 0 && !held.is_empty() {
                        let at = usize::try_from(seed).unwrap() % held.len();
                        let (seed, segment) = &held[at];
                        assert_eq!(
                            segment.map().unwrap().as_ref(),
                            content(*seed, segment.bytes())
                        );
                        held.swap_remove(at);
                    }
                    if held.len() > 10 {
                        held.remove(0);
                    }
                }
            });
        }
    });
    store.check_invariants();
    let stats = store.stats();
    assert_eq!(
        (stats.used_bytes, stats.spilled_bytes, stats.segments),
        (0, 0, 0)
    );
    assert!(
        stats.peak_bytes <= 50 * KIB,
        "puts alone never exceed the budget"
    );
    assert!(stats.spill_count > 0);
}
