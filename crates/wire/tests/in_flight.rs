//! The kernel limits how many descriptors are on their way. One test in a process of its own, because the
//! limit is one of the whole process.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use lineshaft_wire::{Filled, Flushed, Receiver, Sender, WireError, pair};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const LIMIT: u64 = 64;
const FRAMES: u64 = 150;

/// A descriptor that can be told from others on arrival.
fn marked_fd(mark: u64) -> OwnedFd {
    let fd = memfd_create(c"mark", MemfdFlags::CLOEXEC).expect("a file");
    ftruncate(&fd, mark).expect("room");
    fd
}

/// Root may have as many as it likes, unless it gives that up.
fn obey_the_limit() {
    let mut sets = capabilities(None).expect("allowed");
    let exempt = CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
    sets.effective.remove(exempt);
    set_capabilities(None, sets).expect("less is always allowed");
    let limit = Rlimit {
        current: Some(LIMIT),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).expect("less is always allowed");
}

#[test]
fn descriptors_beyond_the_limit_wait_until_others_have_arrived() {
    obey_the_limit();
    let (left, right) = pair().expect("a socket");
    let mut sender = Sender::new();
    let mut pushed = 0;
    while pushed < FRAMES {
        sender.push(&pushed, [marked_fd(pushed)]).expect("fits");
        pushed += 1;
        match sender.flush(left.as_fd()) {
            Ok(flushed) => assert_eq!(flushed, Flushed::Done),
            Err(WireError::DescriptorsInFlight) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(pushed < FRAMES, "the limit was not reached");
    assert!(!sender.is_empty(), "what could not be sent is kept");
    let reader = thread::spawn(move || {
        let mut receiver = Receiver::new();
        for number in 0..=pushed {
            let fd = loop {
                if let Some((frame, descriptors)) = receiver.next_frame().expect("a frame") {
                    assert_eq!(
                        lineshaft_wire::decode::<u64>(frame).expect("a number"),
                        number
                    );
                    break descriptors.take_fd().expect("its own");
                }
                let filled = receiver.fill_blocking(right.as_fd()).expect("healthy");
                assert_ne!(filled, Filled::Eof);
            };
            let mark = fstat(&fd).expect("a file").st_size;
            assert_eq!(u64::try_from(mark), Ok(number));
        }
    });
    sender.push(&pushed, [marked_fd(pushed)]).expect("fits");
    sender.flush_blocking(left.as_fd()).expect("in the end");
    reader.join().expect("all have arrived");
}
