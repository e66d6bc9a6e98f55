//! Frames and descriptors through a real socket pair.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not marked as tests"
)]

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lineshaft_wire::{
    DESCRIPTORS_PER_FRAME_MAX, FRAME_MAX_BYTES, Filled, Flushed, Receiver, Sender, WireError,
    decode, pair,
};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message<'a> {
    number: u64,
    descriptors: u32,
    #[serde(borrow)]
    body: &'a [u8],
}

/// A descriptor that can be told from others on arrival.
fn marked_fd(mark: u64) -> OwnedFd {
    let fd = memfd_create(c"mark", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, mark).unwrap();
    fd
}

fn mark_of(fd: BorrowedFd<'_>) -> u64 {
    fstat(fd).unwrap().st_size.try_into().unwrap()
}

fn fill_all(receiver: &mut Receiver, socket: &OwnedFd) -> bool {
    match receiver.fill(socket.as_fd()).unwrap() {
        Filled::Data => true,
        Filled::WouldBlock | Filled::Eof => false,
    }
}

#[test]
fn a_large_frame_passes_through_a_small_socket() {
    let (left, right) = pair().unwrap();
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let sent = Message {
        number: 7,
        descriptors: 1,
        body: &body,
    };
    sender.push(&sent, [marked_fd(7)]).unwrap();
    assert_eq!(sender.flush(left.as_fd()).unwrap(), Flushed::Blocked);
    loop {
        if let Some((frame, descriptors)) = receiver.next_frame().unwrap() {
            assert_eq!(decode::<Message<'_>>(frame).unwrap(), sent);
            assert_eq!(mark_of(descriptors.take_fd().unwrap().as_fd()), 7);
            break;
        }
        assert!(fill_all(&mut receiver, &right));
        sender.flush(left.as_fd()).unwrap();
    }
    assert!(sender.is_empty());
    assert_eq!(receiver.pending_bytes(), 0);
}

#[test]
fn a_frame_carries_more_descriptors_than_one_call() {
    let (left, right) = pair().unwrap();
    for count in [16, 17, 32, 33, 700] {
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
        let fds = (0..u64::from(count)).map(marked_fd);
        sender
            .push(
                &Message {
                    number: 1,
                    descriptors: count,
                    body: b"",
                },
                fds,
            )
            .unwrap();
        sender
            .push(
                &Message {
                    number: 2,
                    descriptors: 1,
                    body: b"",
                },
                [marked_fd(999)],
            )
            .unwrap();
        assert_eq!(sender.flush(left.as_fd()).unwrap(), Flushed::Done);
        while fill_all(&mut receiver, &right) {}
        let (frame, descriptors) = receiver.next_frame().unwrap().unwrap();
        assert_eq!(decode::<Message<'_>>(frame).unwrap().number, 1);
        for mark in 0..u64::from(count) {
            assert_eq!(mark_of(descriptors.take_fd().unwrap().as_fd()), mark);
        }
        let (frame, descriptors) = receiver.next_frame().unwrap().unwrap();
        assert_eq!(decode::<Message<'_>>(frame).unwrap().number, 2);
        assert_eq!(mark_of(descriptors.take_fd().unwrap().as_fd()), 999);
        assert!(descriptors.is_empty());
    }
}

#[test]
fn what_cannot_be_sent_leaves_the_sender_as_it_was() {
    let mut sender = Sender::new();
    sender.push(&1_u8, []).unwrap();
    let before = sender.pending_bytes();

    let body = vec![0; FRAME_MAX_BYTES + 1];
    let error = sender.push(
        &Message {
            number: 0,
            descriptors: 1,
            body: &body,
        },
        [marked_fd(0)],
    );
    assert!(matches!(error, Err(WireError::FrameTooLong { bytes }) if bytes > FRAME_MAX_BYTES));

    let fd = marked_fd(0);
    let fds = (0..=DESCRIPTORS_PER_FRAME_MAX).map(|_| fd.try_clone());
    if let Ok(fds) = fds.collect::<Result<Vec<_>, _>>() {
        let error = sender.push(&2_u8, fds);
        assert!(matches!(error, Err(WireError::TooManyDescriptors { .. })));
    }
    assert_eq!(sender.pending_bytes(), before);

    let (left, right) = pair().unwrap();
    sender.flush(left.as_fd()).unwrap();
    let mut receiver = Receiver::new();
    assert!(fill_all(&mut receiver, &right));
    let (frame, descriptors) = receiver.next_frame().unwrap().unwrap();
    assert_eq!((decode::<u8>(frame).unwrap(), descriptors.len()), (1, 0));
}

#[test]
fn garbage_is_an_error_each_time_and_allocates_nothing() {
    let (left, right) = pair().unwrap();
    let mut receiver = Receiver::new();
    rustix::io::write(&left, &[0xff; 64]).unwrap();
    assert!(fill_all(&mut receiver, &right));
    for _ in 0..2 {
        assert!(matches!(
            receiver.next_frame(),
            Err(WireError::FrameTooLong { .. })
        ));
    }
    assert!(matches!(
        decode::<Message<'_>>(&[1, 2]),
        Err(WireError::Decode(_))
    ));
    assert!(matches!(
        decode::<u8>(&[1, 2, 3]),
        Err(WireError::TrailingBytes { bytes: 2 })
    ));
}

#[test]
fn the_end_of_the_peer_is_seen_on_both_sides() {
    let (left, right) = pair().unwrap();
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    sender.push(&5_u8, []).unwrap();
    assert_eq!(sender.flush(left.as_fd()).unwrap(), Flushed::Done);
    rustix::io::write(&right, b"never read").unwrap();
    drop(left);
    // What was sent before is still read.
    assert_eq!(receiver.fill(right.as_fd()).unwrap(), Filled::Data);
    assert_eq!(receiver.next_frame().unwrap().unwrap().0, [5]);
    assert_eq!(receiver.fill(right.as_fd()).unwrap(), Filled::Eof);
    sender.push(&6_u8, []).unwrap();
    assert!(matches!(
        sender.flush(right.as_fd()),
        Err(WireError::Closed)
    ));
}

#[test]
fn a_blocking_flush_waits_for_the_reader() {
    let (left, right) = pair().unwrap();
    let body = vec![3; 3_000_000];
    let frames = 5;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::new();
            for number in 0..frames {
                sender
                    .push(
                        &Message {
                            number,
                            descriptors: 0,
                            body: &body,
                        },
                        [],
                    )
                    .unwrap();
            }
            sender.flush_blocking(left.as_fd()).unwrap();
        });
        let mut receiver = Receiver::new();
        for number in 0..frames {
            loop {
                if let Some((frame, _)) = receiver.next_frame().unwrap() {
                    let message = decode::<Message<'_>>(frame).unwrap();
                    assert_eq!((message.number, message.body.len()), (number, body.len()));
                    break;
                }
                assert_eq!(receiver.fill_blocking(right.as_fd()).unwrap(), Filled::Data);
            }
        }
    });
}

#[test]
fn filling_without_taking_is_refused_in_the_end() {
    let (left, right) = pair().unwrap();
    let mut receiver = Receiver::new();
    let chunk = vec![1; 100_000];
    let error = loop {
        rustix::io::write(&left, &chunk).unwrap();
        match receiver.fill(right.as_fd()) {
            Ok(filled) => assert_eq!(filled, Filled::Data),
            Err(error) => break error,
        }
        assert!(receiver.pending_bytes() < 2 * FRAME_MAX_BYTES);
    };
    assert!(matches!(error, WireError::NotDrained));
}

/// One step of the sending side.
#[derive(Debug, Clone)]
enum Step {
    Push { body_bytes: usize, descriptors: u32 },
    Flush,
    Fill,
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let body_bytes = prop_oneof![8 => 0..200_usize, 2 => 1000..70_000_usize, 1 => 0..900_000_usize];
    let descriptors = prop_oneof![6 => Just(0_u32), 3 => 1..4_u32, 1 => 200..300_u32];
    prop_oneof![
        4 => (body_bytes, descriptors)
            .prop_map(|(body_bytes, descriptors)| Step::Push { body_bytes, descriptors }),
        2 => Just(Step::Flush),
        2 => Just(Step::Fill),
        2 => Just(Step::Take),
    ]
}

/// Takes all whole frames and checks them against what was pushed.
fn take_frames(receiver: &mut Receiver, expected: &mut VecDeque<(u64, Vec<u8>, Vec<u64>)>) {
    while let Some((frame, descriptors)) = receiver.next_frame().unwrap() {
        let message = decode::<Message<'_>>(frame).unwrap();
        let (number, body, marks) = expected.pop_front().expect("a frame that was not pushed");
        assert_eq!((message.number, message.body), (number, body.as_slice()));
        assert_eq!(message.descriptors as usize, marks.len());
        for mark in marks {
            let fd = descriptors
                .take_fd()
                .expect("a descriptor is there with its frame");
            assert_eq!(mark_of(fd.as_fd()), mark);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn frames_and_descriptors_arrive_whole_and_in_order(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (left, right) = pair().unwrap();
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
        let mut expected = VecDeque::new();
        let (mut next_number, mut next_mark, mut held) = (0_u64, 0_u64, 0_u64);
        for step in steps {
            match step {
                // Many frames in flight would exceed the number of files a test may open.
                Step::Push { descriptors, .. } if held + u64::from(descriptors) > 600 => {}
                Step::Push { body_bytes, descriptors } => {
                    let body = vec![next_number.to_le_bytes()[0]; body_bytes];
                    let marks: Vec<_> = (next_mark..next_mark + u64::from(descriptors)).collect();
                    let fds: Vec<_> = marks.iter().copied().map(marked_fd).collect();
                    let message = Message { number: next_number, descriptors, body: &body };
                    sender.push(&message, fds).unwrap();
                    expected.push_back((next_number, body, marks));
                    next_number += 1;
                    next_mark += u64::from(descriptors);
                    held += u64::from(descriptors);
                }
                Step::Flush => { sender.flush(left.as_fd()).unwrap(); }
                Step::Fill => {
                    take_frames(&mut receiver, &mut expected);
                    receiver.fill(right.as_fd()).unwrap();
                }
                Step::Take => {
                    take_frames(&mut receiver, &mut expected);
                    held = expected.iter().map(|(_, _, marks)| marks.len() as u64).sum();
                }
            }
        }
        while !expected.is_empty() {
            sender.flush(left.as_fd()).unwrap();
            receiver.fill(right.as_fd()).unwrap();
            take_frames(&mut receiver, &mut expected);
        }
        prop_assert!(sender.is_empty());
        prop_assert_eq!(receiver.pending_bytes(), 0);
        prop_assert!(receiver.take_fd().is_none());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
        small in any::<bool>(),
    ) {
        let (left, right) = pair().unwrap();
        let mut receiver = Receiver::new();
        let mut broken = false;
        for mut chunk in chunks {
            if small {
                // Mostly valid length words, so that frames are found.
                for byte in chunk.iter_mut().skip(1) { *byte %= 2; }
            }
            let bytes = rustix::io::write(&left, &chunk).unwrap();
            prop_assert_eq!(bytes, chunk.len());
            receiver.fill(right.as_fd()).unwrap();
            loop {
                match receiver.next_frame() {
                    Ok(Some((frame, _))) => {
                        prop_assert!(!broken, "a broken stream stays broken");
                        let _either_way = decode::<Message<'_>>(frame);
                    }
                    Ok(None) => break,
                    Err(_) => { broken = true; break; }
                }
            }
        }
    }
}
