//! Every way to run out of something. Each leaves the books exact and all objects readable.

use std::os::fd::AsFd;

use crate::common::{SpillDir, content, in_own_process, sealed};
use lineshaft_store::{BudgetPage, Owner, SharedPage, Store, StoreError, map_fd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const KIB: u64 = 1024;

fn books(store: &Store) -> (u64, u64, u64) {
    store.check_invariants();
    let stats = store.stats();
    (stats.used_bytes, stats.spilled_bytes, stats.segments)
}

#[test]
fn a_full_store_says_what_it_has_and_what_was_wanted() {
    let dir = SpillDir::new("full");
    let store = dir.store(2 * KIB, Some(KIB));
    let held = [1, 2, 3].map(|seed| store.put(&[&content(seed, KIB)]).unwrap().0);
    assert_eq!(books(&store), (2 * KIB, KIB, 3));
    let Err(StoreError::Full(pressure)) = store.put(&[&content(4, 100)]) else {
        panic!("there is no room")
    };
    assert_eq!(
        (
            pressure.wanted_bytes,
            pressure.used_bytes,
            pressure.limit_bytes
        ),
        (100, 2 * KIB, 2 * KIB)
    );
    assert_eq!(
        (pressure.spilled_bytes, pressure.spill_limit_bytes),
        (KIB, Some(KIB))
    );
    assert!(
        pressure
            .to_string()
            .contains(&dir.path().display().to_string())
    );
    let writer = dir.writer(&store);
    assert!(matches!(
        writer.write(&[&content(4, 100)]),
        Err(StoreError::Full(_))
    ));
    assert_eq!(books(&store), (2 * KIB, KIB, 3));
    for (seed, segment) in (1..).zip(&held) {
        assert_eq!(segment.map().unwrap().as_ref(), content(seed, KIB));
    }
    // A result that a worker has already written is taken nevertheless.
    let adopted = store
        .adopt(sealed(&content(5, KIB)), KIB, Owner::Worker(1))
        .unwrap();
    assert!(store.is_over_budget());
    assert!(matches!(store.relieve(), Err(StoreError::Full(_))));
    assert_eq!(books(&store), (3 * KIB, KIB, 4));
    drop(held);
    assert_eq!(books(&store), (KIB, 0, 1));
    assert_eq!(adopted.map().unwrap().as_ref(), content(5, KIB));
}

#[test]
fn a_disk_that_refuses_bytes_loses_nothing() {
    if !in_own_process("limits::a_disk_that_refuses_bytes_loses_nothing") {
        return;
    }
    let dir = SpillDir::new("fsize");
    let store = dir.store(300 * KIB, None);
    let held = [1, 2, 3].map(|seed| store.put(&[&content(seed, 100 * KIB)]).unwrap().0);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(50 * KIB),
            maximum: None,
        },
    )
    .unwrap();

    // Nothing that is there can be spilled, but a small object can go to disk itself.
    let small = store.put(&[&content(4, 40 * KIB)]).unwrap().0;
    assert!(small.is_spilled());
    assert_eq!(books(&store), (300 * KIB, 40 * KIB, 4));
    assert_eq!(store.stats().failed_spill_count, 1);

    let error = store.put(&[&content(5, 60 * KIB)]).unwrap_err();
    let StoreError::DiskFull { pressure, .. } = &error else {
        panic!("{error}")
    };
    // What could not be written is not counted as used.
    let told = (pressure.used_bytes, pressure.spilled_bytes);
    assert_eq!(told, (300 * KIB, 40 * KIB));
    assert_eq!(books(&store), (300 * KIB, 40 * KIB, 4));
    for (seed, segment) in (1..).zip(&held) {
        assert!(!segment.is_spilled());
        assert_eq!(segment.map().unwrap().as_ref(), content(seed, 100 * KIB));
    }
    assert_eq!(small.map().unwrap().as_ref(), content(4, 40 * KIB));

    // Memory that the system refuses has an error of its own.
    drop(held);
    let error = store.put(&[&content(6, 60 * KIB)]).unwrap_err();
    assert!(matches!(error, StoreError::OutOfMemory { .. }), "{error}");
    assert_eq!(books(&store), (0, 40 * KIB, 1));
}

#[test]
fn running_out_of_descriptors_is_an_error_of_its_own() {
    if !in_own_process("limits::running_out_of_descriptors_is_an_error_of_its_own") {
        return;
    }
    let dir = SpillDir::new("nofile");
    let store = dir.store(1000 * KIB, None);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(40),
            maximum,
        },
    )
    .unwrap();
    let mut held = Vec::new();
    let error = loop {
        match store.put(&[&content(1, KIB)]) {
            Ok((segment, _)) => held.push(segment),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::TooManyDescriptors { .. }),
        "{error}"
    );
    let count = held.len() as u64;
    assert!(count < 40);
    assert_eq!(books(&store), (count * KIB, 0, count));
    let error = held[0].fd().unwrap_err();
    assert!(
        matches!(error, StoreError::TooManyDescriptors { .. }),
        "{error}"
    );
    // A page that stores no object is refused for the same reason.
    let error = SharedPage::<BudgetPage>::create().unwrap_err();
    assert!(
        matches!(error, StoreError::TooManyDescriptors { pressure: None, .. }),
        "{error}"
    );
    // Mapping needs no descriptor.
    assert_eq!(held[0].map().unwrap().as_ref(), content(1, KIB));
    held.pop();
    store.put(&[&content(1, KIB)]).unwrap();
}

#[test]
fn running_out_of_address_space_is_running_out_of_memory() {
    if !in_own_process("limits::running_out_of_address_space_is_running_out_of_memory") {
        return;
    }
    let bytes = 1 << 30;
    let fd = memfd_create(c"large", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, bytes).unwrap();
    let limit = Rlimit {
        current: Some(bytes),
        maximum: None,
    };
    setrlimit(Resource::As, limit).unwrap();
    let error = map_fd(fd.as_fd(), bytes).unwrap_err();
    assert!(matches!(error, StoreError::OutOfMemory { .. }), "{error}");
}

#[test]
fn a_spill_directory_that_is_not_there_is_an_error_at_once() {
    let dir = SpillDir::new("missing");
    let spill_dir = dir.path().join("no-such-directory");
    let options = lineshaft_store::StoreOptions {
        budget_bytes: 1,
        spill_dir,
        spill_max_bytes: None,
    };
    assert!(matches!(Store::new(options), Err(StoreError::Io { .. })));
}
