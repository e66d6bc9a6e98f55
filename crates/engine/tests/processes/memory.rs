//! Values in shared memory and on disk.

use std::sync::Arc;

use lineshaft_engine::{EngineOptions, Payload, Pinned};

use crate::common::eventually;
use crate::setup::{Hold, Processes, bytes, options, pool};

tests![
    large_values_pass_through_memory,
    what_exceeds_the_budget_goes_to_disk,
    what_a_worker_reads_stays,
    what_a_worker_may_read_is_counted,
];

fn large_values_pass_through_memory() {
    const BYTES: usize = 3 << 20;
    let processes = Processes::new(2);
    let array = vec![1_u8; BYTES];
    let (segment, _) = processes.engine.store().put(&[&array]).expect("room");
    let args = Payload {
        data: b"array".as_slice().into(),
        segments: vec![segment],
        buffers: Vec::new(),
    };
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let request = processes.request("checksum", args.clone());
            processes.engine.submit(request).expect("open")
        })
        .collect();
    for task in &tasks {
        assert_eq!(processes.number(task), BYTES as u64);
    }
    // And back, and from worker to worker.
    let blob = processes.submit("blob", &bytes(BYTES as u64));
    let sum = processes.submit_after(&[&blob, &blob], "checksum", b"");
    assert_eq!(processes.number(&sum), 2 * BYTES as u64);
    let used = processes.engine.stats().memory_bytes;
    assert_eq!(used, 2 * BYTES as u64, "one copy of each");
    drop((args, tasks, blob, sum));
    assert_eq!(processes.engine.stats().memory_bytes, 0);
    processes.engine.store().check_invariants();
}

fn what_exceeds_the_budget_goes_to_disk() {
    const BYTES: u64 = 256 << 10;
    let small = EngineOptions {
        memory_bytes: 4 * BYTES,
        ..options(2)
    };
    let processes = Processes::with(small, pool(2));
    let blobs: Vec<_> = (0..40)
        .map(|_| processes.submit("blob", &bytes(BYTES)))
        .collect();
    for blob in &blobs {
        assert_eq!(processes.result(blob), b"blob");
    }
    eventually("memory within its budget", || {
        processes.engine.stats().memory_bytes <= 4 * BYTES
    });
    assert!(processes.engine.stats().spilled_bytes >= 36 * BYTES);
    let all: Vec<_> = blobs.iter().collect();
    let sum = processes.submit_after(&all, "checksum", b"");
    assert_eq!(processes.number(&sum), 40 * BYTES);
    drop(all);
    drop((blobs, sum));
    processes.engine.store().check_invariants();
    assert_eq!(processes.engine.stats().spilled_bytes, 0);
}

fn what_a_worker_reads_stays() {
    const BYTES: usize = 600 << 10;
    let small = EngineOptions {
        memory_bytes: 1 << 20,
        ..options(1)
    };
    let processes = Processes::with(small, pool(1));
    let store = processes.engine.store();
    let (segment, _) = store.put(&[&vec![1_u8; BYTES]]).expect("room");
    let hold = Hold::new();
    let args = Payload {
        segments: vec![Arc::clone(&segment)],
        ..Payload::inline(hold.args())
    };
    let request = processes.request("hold", args);
    let task = processes.engine.submit(request).expect("open");
    hold.began();
    let (other, _) = store.put(&[&vec![2_u8; BYTES]]).expect("room on disk");
    assert!(!segment.is_spilled() && other.is_spilled());
    hold.release();
    processes.wait(&task);
    let (third, _) = store.put(&[&vec![3_u8; BYTES]]).expect("room");
    assert!(
        segment.is_spilled() && !third.is_spilled(),
        "nobody reads it any more"
    );
}

fn what_a_worker_may_read_is_counted() {
    const BYTES: u64 = 300 << 10;
    let processes = Processes::new(1);
    let reader = processes.engine.reader();
    let pinned = || {
        let workers = reader.totals().expect("a sound engine").workers;
        let all = workers.iter().map(|worker| worker.pinned);
        all.collect::<Vec<_>>()
    };
    let blob = processes.submit("blob", &bytes(BYTES));
    processes.wait(&blob);
    assert_eq!(pinned(), [Pinned::default()], "its own results are not");
    let store = processes.engine.store();
    let (segment, _) = store.put(&[&vec![1_u8; 2 << 20]]).expect("room");
    let segment_bytes = segment.bytes();
    let hold = Hold::new();
    let args = Payload {
        segments: vec![segment],
        ..Payload::inline(hold.args())
    };
    // Each of them twice, and counted once.
    let mut request = processes.request("hold", args.clone());
    request.inputs = vec![Arc::clone(&blob), Arc::clone(&blob)];
    let task = processes.engine.submit(request).expect("open");
    hold.began();
    let [Pinned { objects, bytes, .. }] = pinned()[..] else {
        panic!("one worker: {:?}", pinned());
    };
    assert_eq!(objects, 2);
    assert!(bytes >= segment_bytes + BYTES, "{bytes}");
    hold.release();
    processes.wait(&task);
    eventually("it reads them no more", || pinned() == [Pinned::default()]);
}
