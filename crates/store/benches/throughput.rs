//! How fast objects are stored and hashed, printed in GB/s. Run with
//! `cargo bench -p lineshaft-store`.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use lineshaft_store::{
    LiveBuffers, Owner, SegmentWriter, SharedPage, Store, StoreOptions, content_hash, map_fd,
};
use std::os::fd::AsFd;

const ROUNDS: u32 = 9;

/// The median of several rounds: the first ones pay for page faults of the source.
fn median(mut round: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn report(name: &str, bytes: usize, mut round: impl FnMut()) {
    let time = median(&mut round);
    #[expect(clippy::cast_precision_loss, reason = "printed with two digits")]
    let rate = bytes as f64 / time.as_secs_f64() / 1e9;
    println!(
        "{name:<34} {:>6} kB {:>10.3} ms {rate:>8.2} GB/s",
        bytes / 1000,
        time.as_secs_f64() * 1e3
    );
}

fn main() {
    let spill_dir = std::env::temp_dir();
    let options = StoreOptions {
        budget_bytes: 1 << 30,
        spill_dir: spill_dir.clone(),
        spill_max_bytes: None,
    };
    let store = Store::new(options).unwrap();
    let page = SharedPage::from_fd(store.budget_page().fd().unwrap()).unwrap();
    let writer = SegmentWriter::new(page, spill_dir);
    for megabytes in [200, 50, 1] {
        let bytes = vec![1_u8; megabytes * 1_000_000];
        let len = bytes.len();
        report("put, freed again", len, || {
            drop(store.put(&[&bytes]).unwrap());
        });
        let (segment, _) = store.put(&[&bytes]).unwrap();
        report("map and read all", len, || {
            let map = segment.map().unwrap();
            black_box(
                map.iter()
                    .step_by(4096)
                    .map(|&byte| u64::from(byte))
                    .sum::<u64>(),
            );
        });
        drop(segment);
        report("hash", len, || {
            black_box(content_hash(&bytes));
        });
        let live = LiveBuffers::new();
        let kept = live.get_or_put(&store, &bytes).unwrap();
        report("same live buffer again", len, || {
            black_box(live.get_or_put(&store, &bytes).unwrap());
        });
        drop(kept);
        report("new live buffer, freed again", len, || {
            black_box(live.get_or_put(&store, &bytes).unwrap());
        });
        report("worker writes, engine adopts", len, || {
            let (fd, bytes, _) = writer.write(&[&bytes]).unwrap();
            let map = map_fd(fd.as_fd(), bytes).unwrap();
            black_box(map.len());
            drop(store.adopt(fd, bytes, Owner::Worker(1)).unwrap());
        });
    }
    let bytes = vec![1_u8; 100_000];
    report("put, freed again", bytes.len(), || {
        drop(store.put(&[&bytes]).unwrap());
    });
    let small = Store::new(StoreOptions {
        budget_bytes: 200_000_000,
        spill_dir: std::env::temp_dir(),
        spill_max_bytes: None,
    })
    .unwrap();
    let bytes = vec![1_u8; 200_000_000];
    let mut held = small.put(&[&bytes]).unwrap();
    report("put that spills as much", bytes.len(), || {
        held = small.put(&[&bytes]).unwrap();
    });
    drop(held);
}
