//! The same live buffer is stored once, and never stale.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::common::{SpillDir, content};
use lineshaft_store::{LiveBuffers, Segment, Store};
use memmap2::{MmapMut, UncheckedAdvice};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};

#[test]
fn a_buffer_is_stored_once_while_its_segment_lives() {
    let dir = SpillDir::new("live");
    let store = dir.store(1 << 20, None);
    let live = LiveBuffers::new();
    let array = content(1, 1000);
    let first = live.get_or_put(&store, &array).unwrap();
    let second = live.get_or_put(&store, &array).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let equal = array.clone();
    let other = live.get_or_put(&store, &equal).unwrap();
    assert!(
        !Arc::ptr_eq(&first, &other),
        "another buffer, though with the same content"
    );
    assert_eq!(store.stats().segments, 2);
    drop((first, second, other));
    assert_eq!(store.stats().segments, 0, "remembering keeps nothing alive");
    let again = live.get_or_put(&store, &array).unwrap();
    assert_eq!(again.map().unwrap().as_ref(), array);
}

#[test]
fn buffers_that_come_again_are_kept_for_who_wants_that() {
    let dir = SpillDir::new("live-kept");
    for bytes in [1000, 3 << 20] {
        keeps_what_comes_again(&dir.store(1 << 30, None), bytes);
    }
}

fn keeps_what_comes_again(store: &Store, bytes: u64) {
    let live = LiveBuffers::new();
    let mut arrays: Vec<Vec<u8>> = (0..9).map(|seed| content(seed, bytes)).collect();
    let segments_after = |array: &[u8], times: usize| {
        let segments: Vec<_> = (0..times)
            .map(|_| live.get_or_put(store, array).unwrap())
            .collect();
        drop(segments);
        store.stats().segments
    };
    live.keep();
    live.keep();
    assert_eq!(segments_after(&arrays[0], 1), 0, "it came once");
    assert_eq!(segments_after(&arrays[0], 1), 1, "and again");
    let kept = live.get_or_put(store, &arrays[0]).unwrap();
    let same = live.get_or_put(store, &arrays[0]).unwrap();
    assert!(Arc::ptr_eq(&kept, &same));
    drop((kept, same));
    arrays[0][7] ^= 1;
    assert_eq!(
        segments_after(&arrays[0], 1),
        0,
        "what it held before is of no use"
    );
    for array in &arrays {
        segments_after(array, 2);
    }
    assert_eq!(store.stats().segments, 4, "only a few");
    live.let_go();
    assert_eq!(store.stats().segments, 4, "another one wants them still");
    live.let_go();
    assert_eq!(store.stats().segments, 0);
    assert_eq!(segments_after(&arrays[0], 2), 0);
}

#[test]
fn a_change_between_two_calls_is_seen() {
    let dir = SpillDir::new("live-change");
    let store = dir.store(1 << 30, None);
    let live = LiveBuffers::new();
    // The large one is hashed by two threads, and while it is stored.
    for bytes in [1, 1000, (32 << 20) + 5] {
        let mut array = content(1, bytes);
        for at in [0, array.len() / 2, array.len() - 1] {
            let before = live.get_or_put(&store, &array).unwrap();
            let copy = array.clone();
            array[at] ^= 1;
            let after = live.get_or_put(&store, &array).unwrap();
            assert!(!Arc::ptr_eq(&before, &after));
            assert!(
                before.map().unwrap().as_ref() == copy,
                "earlier readers keep what they had"
            );
            assert!(after.map().unwrap().as_ref() == array);
            let same = live.get_or_put(&store, &array).unwrap();
            assert!(Arc::ptr_eq(&same, &after));
        }
    }
}

#[test]
fn more_buffers_than_are_remembered_are_only_stored_again() {
    let dir = SpillDir::new("live-many");
    let store = dir.store(1 << 30, None);
    let live = LiveBuffers::new();
    let arrays = content(1, 1200);
    let first = live.get_or_put(&store, &arrays[..1]).unwrap();
    // Half of the segments are gone when room is needed, and are forgotten before any other.
    let held: Vec<_> = (1..1200)
        .filter_map(|at| {
            let segment = live.get_or_put(&store, &arrays[at..=at]).unwrap();
            (at % 4 == 0).then_some(segment)
        })
        .collect();
    assert_eq!(store.stats().segments, 1 + held.len() as u64);
    let again = live.get_or_put(&store, &arrays[..1]).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
}

#[test]
fn an_empty_buffer_is_a_buffer() {
    let dir = SpillDir::new("live-empty");
    let store = dir.store(1 << 20, None);
    let segment = LiveBuffers::new().get_or_put(&store, &[]).unwrap();
    assert_eq!((segment.bytes(), segment.map().unwrap().len()), (0, 0));
}

/// Reads a segment as a worker would.
fn stored(segment: &Segment) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(segment.bytes()).unwrap()];
    let file = File::from(segment.fd().unwrap());
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[derive(Debug, Clone)]
enum Step {
    /// Hands over these bytes of the memory, three times in a row: the third time they may be
    /// watched already. The segment is held to the end, or let go at once.
    HandOver { from: usize, to: usize, holds: bool },
    /// Changes the byte here.
    Write { at: usize },
    /// Gives the pages back to the kernel: they are zeros from now on.
    Drop { from: usize, to: usize },
}

const MEMORY_BYTES: usize = 5 << 20;

fn step() -> impl Strategy<Value = Step> {
    // Few places, so that views are handed over again, and overlap.
    let place = |bytes: usize| (0_usize..=8).prop_map(move |eighth| eighth * bytes / 8 + eighth);
    let view =
        (place(1 << 20), place(MEMORY_BYTES - 8), any::<bool>()).prop_map(|(from, to, holds)| {
            Step::HandOver {
                from: from.min(to),
                to,
                holds,
            }
        });
    let write = (0..MEMORY_BYTES).prop_map(|at| Step::Write { at });
    let drop = (0..MEMORY_BYTES / 4096, 1_usize..64).prop_map(|(page, pages)| Step::Drop {
        from: page * 4096,
        to: ((page + pages) * 4096).min(MEMORY_BYTES),
    });
    prop_oneof![6 => view, 3 => write, 1 => drop]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is handed over, written and dropped in between: a segment has what the buffer has.
    #[test]
    fn a_segment_has_what_the_buffer_has(keeps in any::<bool>(), steps in prop::collection::vec(step(), 1..40)) {
        let dir = SpillDir::new("live-model");
        let store = dir.store(1 << 30, None);
        let live = LiveBuffers::new();
        if keeps {
            live.keep();
        }
        let mut memory = MmapMut::map_anon(MEMORY_BYTES).unwrap();
        memory.copy_from_slice(&content(1, MEMORY_BYTES as u64));
        // Or else there would be nothing to find again.
        let mut kept = Vec::new();
        for step in steps {
            match step {
                Step::HandOver { from, to, holds } => {
                    let first = live.get_or_put(&store, &memory[from..to]).unwrap();
                    prop_assert!(stored(&first) == memory[from..to]);
                    let mut held = holds.then_some(first);
                    for _ in 0..2 {
                        let again = live.get_or_put(&store, &memory[from..to]).unwrap();
                        prop_assert!(stored(&again) == memory[from..to]);
                        if let Some(held) = &held {
                            prop_assert!(Arc::ptr_eq(held, &again));
                        }
                    }
                    kept.extend(held.take());
                }
                Step::Write { at } => memory[at] ^= 1,
                Step::Drop { from, to } => {
                    // SAFETY: private memory of this test, which nobody refers to.
                    unsafe { memory.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) }.unwrap();
                }
            }
        }
    }
}

#[test]
fn what_another_mapping_writes_is_seen() {
    let dir = SpillDir::new("live-shared");
    let store = dir.store(1 << 30, None);
    let live = LiveBuffers::new();
    let file = File::from(memfd_create("shared", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(2 << 20).unwrap();
    // SAFETY: a file of this test, changed by this test only.
    let map = || unsafe { MmapMut::map_mut(&file) }.unwrap();
    let (ours, mut others) = (map(), map());
    let mut kept = Vec::new();
    for round in 0..3 {
        for _ in 0..3 {
            let segment = live.get_or_put(&store, &ours).unwrap();
            assert_eq!(stored(&segment)[1 << 20], round);
            kept.push(segment);
        }
        // Far from the samples and the edges.
        others[1 << 20] += 1;
    }
}
