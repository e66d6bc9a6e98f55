//! Moments in what other threads do, instead of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lineshaft_engine::Waited;

use crate::common::{Gate, eventually};

/// A moment in what several threads do: after so many steps of theirs, whatever else they do by then.
pub struct Moment {
    steps: AtomicU64,
    after: u64,
    gate: Arc<Gate>,
}

impl Moment {
    pub fn after(steps: u64) -> Arc<Moment> {
        Arc::new(Moment {
            steps: AtomicU64::new(0),
            after: steps,
            gate: Gate::new(),
        })
    }

    /// One of the threads goes on.
    pub fn step(&self) {
        if self.steps.fetch_add(1, Ordering::Relaxed) == self.after {
            self.gate.open();
        }
    }

    /// Waits until it has come.
    pub fn pass(&self) {
        self.gate.pass();
    }
}

/// What a caller has a waiting thread do now and then.
pub type Check = dyn FnMut() -> bool + Send;

/// A thread of which it is known that it waits for the engine.
pub struct Waiting {
    thread: thread::JoinHandle<Waited>,
    looks: Arc<AtomicU64>,
}

impl Waiting {
    pub fn spawn(wait: impl FnOnce(&mut Check) -> Waited + Send + 'static) -> Waiting {
        let looks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looks);
        let mut check = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        let thread = thread::spawn(move || wait(&mut check));
        let waiting = Waiting { thread, looks };
        waiting.goes_on();
        waiting
    }

    /// Returns once it has checked again.
    pub fn goes_on(&self) {
        let before = self.looks.load(Ordering::Relaxed);
        eventually("it waits", || self.looks.load(Ordering::Relaxed) > before);
    }

    pub fn join(self) -> Waited {
        self.thread.join().expect("no panic")
    }
}
