//! What a small frame costs on its way. Run with `cargo bench -p lineshaft-wire`.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;
use std::os::fd::AsFd;
use std::time::Instant;

use lineshaft_wire::{ControlPage, Filled, FromWorker, Receiver, Sender, Value, decode, pair};

fn message(task: u64) -> FromWorker<'static> {
    let value = Value {
        data: &[7; 24],
        ..Value::default()
    };
    FromWorker::Finished {
        task,
        attempt: 1,
        ran_ns: 12_345_678,
        load_us: 123,
        store_us: 45,
        value,
        remark: None,
    }
}

fn report(name: &str, operations: u64, run: impl Fn()) {
    run();
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
    let each_ns = times[times.len() / 2].as_secs_f64() * 1e9 / operations as f64;
    println!("{name:<52} {each_ns:>9.1} ns");
}

/// Sends `frames` in batches and takes each batch in the same thread.
fn there(frames: u64, batch: u64) {
    let (left, right) = pair().unwrap();
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    let mut taken = 0;
    while taken < frames {
        for task in 0..batch {
            sender.push(&message(task), []).unwrap();
        }
        sender.flush(left.as_fd()).unwrap();
        let before = taken;
        while taken < before + batch {
            assert_eq!(receiver.fill(right.as_fd()).unwrap(), Filled::Data);
            while let Some((frame, _)) = receiver.next_frame().unwrap() {
                black_box(decode::<FromWorker<'_>>(frame).unwrap());
                taken += 1;
            }
            sender.flush(left.as_fd()).unwrap();
        }
    }
}

/// Two threads, one frame in flight.
fn back_and_forth(rounds: u64) {
    let (left, right) = pair().unwrap();
    let echo = |socket: &std::os::fd::OwnedFd, first: bool| {
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
        if first {
            sender.push(&message(0), []).unwrap();
            sender.flush(socket.as_fd()).unwrap();
        }
        let mut taken = 0;
        while taken < rounds {
            receiver.fill_blocking(socket.as_fd()).unwrap();
            while receiver.next_frame().unwrap().is_some() {
                taken += 1;
                sender.push(&message(taken), []).unwrap();
            }
            sender.flush(socket.as_fd()).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&left, true));
        echo(&right, false);
    });
}

fn main() {
    for batch in [1, 16, 256, 2048] {
        let frames = 100_000 / batch * batch;
        report(
            &format!("frame, sent and taken, {batch} a flush"),
            frames,
            || there(frames, batch),
        );
    }
    report("frame, encoded only", 100_000, || {
        for _ in 0..100 {
            let mut sender = Sender::new();
            for task in 0..1000 {
                sender.push(black_box(&message(task)), []).unwrap();
            }
            black_box(sender.pending_bytes());
        }
    });
    report("frame of 60 kB, encoded only", 1000, || {
        let value = Value {
            data: &vec![7; 60_000],
            ..Value::default()
        };
        let message = FromWorker::Finished {
            task: 1,
            attempt: 1,
            ran_ns: 1,
            load_us: 0,
            store_us: 0,
            value,
            remark: None,
        };
        for _ in 0..100 {
            let mut sender = Sender::new();
            for _ in 0..10 {
                sender.push(black_box(&message), []).unwrap();
            }
            black_box(sender.pending_bytes());
        }
    });
    report("round trip between two threads", 2_000, || {
        back_and_forth(2_000);
    });
    report("claim", 1_000_000, || {
        let page = ControlPage::default();
        for _ in 0..1_000_000 {
            assert!(page.try_claim(0));
        }
    });
}
