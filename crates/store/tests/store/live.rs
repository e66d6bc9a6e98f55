//! The same live buffer is stored once, and never stale.

use std::sync::Arc;

use crate::common::{SpillDir, content};
use lineshaft_store::LiveBuffers;

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
