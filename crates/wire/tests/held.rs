//! Results that a worker has not sent yet.

use lineshaft_wire::{FromWorker, HeldBack, Sender};

fn log(record: &[u8]) -> Vec<u8> {
    let mut sender = Sender::new();
    sender
        .push(&FromWorker::Log { record }, [])
        .expect("small enough");
    sender.pending().to_vec()
}

fn records(held: &HeldBack) -> Vec<Vec<u8>> {
    let mut frames = held.read();
    let mut records = Vec::new();
    while let Some(message) = frames
        .next_message::<FromWorker<'_>>()
        .expect("whole frames")
    {
        match message {
            FromWorker::Log { record } => records.push(record.to_vec()),
            other => panic!("not kept: {other:?}"),
        }
    }
    records
}

#[test]
fn what_is_kept_is_read_in_order_until_it_is_forgotten() {
    let held = HeldBack::default();
    assert!(records(&held).is_empty());
    let sent: Vec<Vec<u8>> = (0..20).map(|bytes| vec![bytes; bytes.into()]).collect();
    for record in &sent {
        assert!(held.keep(&log(record)));
    }
    assert_eq!(records(&held), sent);
    assert_eq!(records(&held), sent, "reading changes nothing");
    held.forget();
    assert!(records(&held).is_empty());
    assert!(held.keep(&log(b"next")));
    assert_eq!(records(&held), [b"next"]);
}

#[test]
fn what_has_no_room_is_refused_and_leaves_the_rest() {
    let held = HeldBack::default();
    let frame = log(&[7; 1000]);
    let mut kept = 0;
    while held.keep(&frame) {
        kept += 1;
    }
    assert!(kept > 10);
    assert!(!held.keep(&log(&vec![0; 100_000])));
    assert_eq!(records(&held).len(), kept);
}

#[test]
fn garbage_ends_the_reading() {
    for garbage in [&[0xff; 64][..], &[9, 0, 0, 0, 1], &[3, 0, 0, 0, 6, 0, 0]] {
        let held = HeldBack::default();
        assert!(held.keep(garbage));
        assert!(held.read().next_message::<FromWorker<'_>>().is_err());
    }
}
