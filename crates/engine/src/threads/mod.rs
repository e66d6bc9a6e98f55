//! The threads of a thread pool.
//!
//! The scheduler decides how many calls may run; the lanes only see to it that there is a thread
//! for each. Threads start when there is a call and none of them is free, and stay until the pool
//! closes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::runner::{Call, Calls, Runner};

/// The threads of one pool and the calls that wait for one of them.
pub(crate) struct Lanes {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Threads there may be at most.
    threads_max: usize,
    name: String,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Call>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Lanes {
    pub(crate) fn new(name: String, threads_max: usize) -> Lanes {
        assert!(threads_max > 0, "a pool without threads runs nothing");
        Lanes {
            queue: Mutex::default(),
            changed: Condvar::new(),
            threads_max,
            name,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a call to a free thread, starting one if there is none.
    pub(crate) fn push(
        self: &Arc<Self>,
        call: Call,
        runner: &Arc<dyn Runner>,
    ) -> std::io::Result<()> {
        let mut queue = self.queue();
        queue.calls.push_back(call);
        if queue.calls.len() <= queue.idle {
            self.changed.notify_one();
            return Ok(());
        }
        if queue.threads >= self.threads_max {
            return Ok(());
        }
        let (lanes, runner) = (Arc::clone(self), Arc::clone(runner));
        let spawned = thread::Builder::new()
            .name(format!("{}-{}", self.name, queue.threads))
            .spawn(move || lanes.serve(&*runner));
        match spawned {
            Ok(_detached) => queue.threads += 1,
            Err(_) if queue.threads > 0 => {} // the threads that exist will come to it
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn try_next(&self) -> Option<Call> {
        self.queue().calls.pop_front()
    }

    /// Takes back the calls that no thread has begun.
    pub(crate) fn drain(&self) -> Vec<Call> {
        self.queue().calls.drain(..).collect()
    }

    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    fn serve(&self, runner: &dyn Runner) {
        crate::signals::block_all();
        loop {
            // A panic in a runner loses the calls it held, which fail by being dropped; the thread
            // goes on for the others.
            let _: thread::Result<()> =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    runner.run(&mut Calls { lanes: self });
                }));
            let mut queue = self.queue();
            while queue.calls.is_empty() {
                if queue.closed {
                    queue.threads -= 1;
                    return;
                }
                queue.idle += 1;
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}
