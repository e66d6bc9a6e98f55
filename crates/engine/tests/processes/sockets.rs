//! Messages that do not fit into a socket at once, in both directions, and workers that die in their middle.

use std::sync::Arc;

use lineshaft_engine::Promise;

use crate::setup::{Hold, Processes, kill};

tests![
    more_than_a_socket_holds_goes_there_and_back,
    a_message_waits_until_its_worker_reads,
    a_message_that_waits_is_taken_back,
    a_worker_that_dies_before_it_has_read_a_message_loses_nothing,
    a_worker_that_dies_in_the_middle_of_a_message_costs_its_task,
];

/// Several times what a socket holds.
const BYTES: u32 = 3 << 20;

/// Bytes of which a part that is lost, doubled or out of place shows.
fn large(mark: u8) -> Vec<u8> {
    let numbers = (0..BYTES / 4).flat_map(u32::to_le_bytes);
    std::iter::once(mark).chain(numbers).collect()
}

fn echo(processes: &Processes, mark: u8) -> (Arc<Promise>, Vec<u8>) {
    let bytes = large(mark);
    (processes.submit("echo", &bytes), bytes)
}

/// Also while the other side is writing itself.
fn more_than_a_socket_holds_goes_there_and_back() {
    let processes = Processes::new(2);
    let tasks: Vec<_> = (0..20).map(|mark| echo(&processes, mark)).collect();
    for (task, bytes) in &tasks {
        assert!(processes.result(task) == bytes);
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

/// A worker does not read while it runs a task.
fn a_message_waits_until_its_worker_reads() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    hold.began();
    let (task, bytes) = echo(&processes, 1);
    let small = processes.submit("echo", b"behind it");
    hold.release();
    assert_eq!(processes.result(&held), b"held");
    assert!(processes.result(&task) == bytes);
    assert_eq!(processes.result(&small), b"behind it");
}

/// The rest of it must still be sent, or what follows would not be understood.
fn a_message_that_waits_is_taken_back() {
    let processes = Processes::new(2);
    let (first, second) = (Hold::new(), Hold::new());
    let held = processes.submit("hold", first.args());
    let soon = processes.submit("hold", second.args());
    first.began();
    second.began();
    // One behind each.
    let tasks = [1, 2].map(|mark| echo(&processes, mark));
    second.release();
    for (task, bytes) in &tasks {
        assert!(processes.result(task) == bytes);
    }
    assert!(!held.is_done());
    first.release();
    assert_eq!(processes.result(&held), b"held");
    assert_eq!(processes.result(&soon), b"held");
    // Both workers understand what comes next.
    let pids: Vec<_> = (0..200).map(|_| processes.submit("pid", b"")).collect();
    for pid in &pids {
        processes.number(pid);
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn a_worker_that_dies_before_it_has_read_a_message_loses_nothing() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    hold.began();
    let (task, bytes) = echo(&processes, 1);
    let [pid] = processes.pids_of();
    kill(pid);
    assert_eq!(processes.died(&held).signal, Some(9));
    assert!(processes.result(&task) == bytes);
}

fn a_worker_that_dies_in_the_middle_of_a_message_costs_its_task() {
    let processes = Processes::new(1);
    let task = processes.submit("half", b"");
    let behind = processes.submit("echo", b"behind");
    assert_eq!(processes.died(&task).signal, Some(9));
    assert_eq!(processes.result(&behind), b"behind");
}
