//! The thread that tells Python what happened: callbacks of futures, output and log records of
//! workers.
//!
//! The engine's loop never takes the interpreter's lock; it puts notices here. Whoever is attached
//! anyway may deal with them too (`drain`); each notice is dealt with once, by one thread at a time
//! and in the order in which they came.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use lineshaft_core::{TaskId, WorkerId};
use lineshaft_engine::{Observer, Stream};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::future::{self, FutureBase};
use crate::interpreter::hanging_if_unwound;

/// Output and log records that wait to be shown take at most this many bytes; what comes on top is
/// dropped, and how much that was is told.
const NOTICE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How often whoever waits for another thread to deal with the notices looks for signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// How long a close in a hurry waits for the thread that deals with notices.
const HURRY: Duration = Duration::from_secs(1);

/// How long whoever asks for a result waits for another thread to show what was printed before it.
/// That thread may need a lock of the caller's.
const SHOW_PATIENCE: Duration = Duration::from_secs(1);

/// What workers want to be shown.
enum Notice {
    /// A worker printed.
    Output { stream: Stream, bytes: Vec<u8> },
    /// A task logged.
    Log(Vec<u8>),
}

impl Notice {
    /// The memory that it takes.
    fn bytes(&self) -> usize {
        let (Notice::Output { bytes, .. } | Notice::Log(bytes)) = self;
        size_of::<Notice>() + bytes.len()
    }
}

/// What there was no room for.
#[derive(Default)]
struct Dropped {
    output_bytes: usize,
    records: usize,
}

impl Dropped {
    fn add(&mut self, notice: &Notice) {
        match notice {
            Notice::Output { bytes, .. } => self.output_bytes += bytes.len(),
            Notice::Log(_) => self.records += 1,
        }
    }

    /// What to tell people, if there is anything to tell.
    fn text(&self) -> String {
        let mut text = String::new();
        for (count, what) in [
            (self.output_bytes, "bytes of output"),
            (self.records, "log records"),
        ] {
            if count > 0 {
                writeln!(text, "lineshaft: {count} {what} of workers were dropped")
                    .expect("a string has room");
            }
        }
        text
    }
}

/// The thread that tells Python what happened.
pub struct Resolver {
    /// Not a `Locked`, because threads wait for it; nothing of Python happens under it either.
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Futures in the queue.
    pending: AtomicUsize,
    /// Notices that have not been shown.
    unshown: AtomicUsize,
    console: Option<Py<PyAny>>,
}

#[derive(Default)]
struct Queue {
    /// Futures that somebody watches and that are done.
    done: VecDeque<Py<FutureBase>>,
    notices: VecDeque<Notice>,
    notice_bytes: usize,
    dropped: Dropped,
    started: bool,
    closed: bool,
    /// The thread that publishes futures right now.
    busy: Option<ThreadId>,
    /// The thread that shows what workers printed right now.
    showing: Option<ThreadId>,
}

impl Resolver {
    /// `console` has methods `output(stream, data)` and `log(record)`.
    pub fn new(console: Option<Py<PyAny>>) -> Arc<Resolver> {
        Arc::new(Resolver {
            queue: Mutex::default(),
            wake: Condvar::new(),
            pending: AtomicUsize::new(0),
            unshown: AtomicUsize::new(0),
            console,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A future that somebody watches is done.
    pub fn done(self: &Arc<Self>, future: Py<FutureBase>) {
        let mut queue = self.queue();
        queue.done.push_back(future);
        self.pending.fetch_add(1, Ordering::SeqCst);
        self.wake_up(queue);
    }

    fn push(self: &Arc<Self>, notice: Notice) {
        let mut queue = self.queue();
        let bytes = notice.bytes();
        // One alone always has room, or nobody would come to tell that it was dropped.
        if !queue.notices.is_empty() && queue.notice_bytes + bytes > NOTICE_BYTES_MAX {
            queue.dropped.add(&notice);
            return;
        }
        queue.notice_bytes += bytes;
        queue.notices.push_back(notice);
        self.unshown.fetch_add(1, Ordering::SeqCst);
        self.wake_up(queue);
    }

    /// Sees to it that a thread deals with what is in the queue.
    fn wake_up(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        if !queue.started && !queue.closed {
            queue.started = true;
            let resolver = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("lineshaft-resolver".into())
                .spawn(move || {
                    // One state of the thread for all callbacks: what they leave in `threading.local`
                    // is there for the next.
                    let serve = || resolver.serve();
                    if Python::try_attach(|py| py.detach(serve)).is_none() {
                        resolver.serve();
                    }
                });
            // Without a thread, whoever is attached next deals with it.
            queue.started = spawned.is_ok();
        }
        self.wake.notify_all();
    }

    /// Deals with what is there, on this thread, unless another one does so already. What was printed
    /// comes before the futures that are done.
    pub fn drain(&self, py: Python<'_>) {
        self.show_or_report(py);
        if self.pending.load(Ordering::SeqCst) == 0 {
            return;
        }
        let Some(_turn) = Turn::take(self, |queue| &mut queue.busy) else {
            return;
        };
        loop {
            let Some(future) = self.queue().done.pop_front() else {
                return;
            };
            self.pending.fetch_sub(1, Ordering::SeqCst);
            self.show_or_report(py);
            let future = future.bind(py);
            if let Err(error) = future::publish(future, || self.queue().closed) {
                error.write_unraisable(py, Some(future));
            }
        }
    }

    /// Sees to it that all that was printed and logged so far is shown, before a result is that came
    /// after it. Calls nothing but the console: the caller may hold any lock. Raises what a signal handler
    /// raises meanwhile.
    pub fn show_before_result(&self, py: Python<'_>) -> PyResult<()> {
        if self.unshown.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        self.show_all(py)?;
        let this = thread::current().id();
        let deadline = Instant::now() + SHOW_PATIENCE;
        py.detach(|| {
            let mut queue = self.queue();
            while queue.showing.is_some_and(|thread| thread != this) && Instant::now() < deadline {
                queue = self
                    .wake
                    .wait_timeout(queue, SIGNAL_CHECK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        });
        Ok(())
    }

    fn show_or_report(&self, py: Python<'_>) {
        while let Err(error) = self.show_all(py) {
            error.write_unraisable(py, self.console.as_ref().map(|console| console.bind(py)));
        }
    }

    fn show_all(&self, py: Python<'_>) -> PyResult<()> {
        if self.unshown.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let Some(_turn) = Turn::take(self, |queue| &mut queue.showing) else {
            return Ok(());
        };
        loop {
            // By itself and first: if telling it raises, no notice is in hand that would be lost.
            let dropped = std::mem::take(&mut self.queue().dropped).text();
            if !dropped.is_empty() {
                self.show(py, Stream::Stderr, dropped.as_bytes())?;
            }
            let notice = {
                let mut queue = self.queue();
                let Some(notice) = queue.notices.pop_front() else {
                    return Ok(());
                };
                queue.notice_bytes -= notice.bytes();
                notice
            };
            // Until it is shown, whoever asks for a result waits.
            let _shown = Shown(&self.unshown);
            match notice {
                Notice::Output { stream, bytes } => self.show(py, stream, &bytes)?,
                Notice::Log(record) => self.tell(py, "log", (PyBytes::new(py, &record),))?,
            }
        }
    }

    fn show(&self, py: Python<'_>, stream: Stream, bytes: &[u8]) -> PyResult<()> {
        let is_stderr = stream == Stream::Stderr;
        self.tell(py, "output", (is_stderr, PyBytes::new(py, bytes)))
    }

    /// Calls the console. Its failures are reported; what is no `Exception`, as `KeyboardInterrupt`, was
    /// raised by a signal handler and is the caller's.
    fn tell<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<()> {
        let Some(console) = &self.console else {
            return Ok(());
        };
        match console.bind(py).call_method1(method, arguments) {
            Err(error) if error.is_instance_of::<PyException>(py) => {
                error.write_unraisable(py, Some(console.bind(py)));
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(())
    }

    fn serve(&self) {
        loop {
            {
                let mut queue = self.queue();
                while !queue.has_work() {
                    if queue.closed && queue.is_empty() {
                        queue.started = false;
                        self.wake.notify_all();
                        return;
                    }
                    queue = self
                        .wake
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            if Python::try_attach(|py| hanging_if_unwound(|| self.drain(py))).is_none() {
                // The interpreter is shutting down: there is nobody left to tell.
                let mut queue = self.queue();
                queue.closed = true;
                let left = (
                    std::mem::take(&mut queue.notices),
                    std::mem::take(&mut queue.done),
                );
                self.unshown.store(0, Ordering::SeqCst);
                self.pending.store(0, Ordering::SeqCst);
                drop(queue);
                drop(left);
            }
        }
    }

    /// Sees to it that what is there has been dealt with, by this thread or another. Raises what a
    /// signal handler raises meanwhile.
    pub fn finish(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            self.drain(py);
            if self.is_finished() {
                return Ok(());
            }
            self.wait(py)?;
        }
    }

    /// Waits for a moment while another thread deals with notices, or is about to.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let queue = self.queue();
            if queue.busy.is_some()
                || queue.showing.is_some()
                || (queue.started && !queue.is_empty())
            {
                let waited = self.wake.wait_timeout(queue, SIGNAL_CHECK);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        });
        py.check_signals()
    }

    /// Nothing is left to be dealt with, except by whoever asks.
    fn is_finished(&self) -> bool {
        let queue = self.queue();
        let this = Some(thread::current().id());
        // What this thread is about itself, it cannot wait for.
        (queue.done.is_empty() && queue.busy.is_none() || queue.busy == this)
            && (queue.notices.is_empty() && queue.showing.is_none() || queue.showing == this)
    }

    /// Deals with what is left and ends the thread. In a hurry the thread is left alone with it, and
    /// waited for only briefly: who was interrupted within the standard library's pure Python locks
    /// holds one for ever, and whoever tells a waiter of a future may need it.
    pub fn close(&self, py: Python<'_>, in_hurry: bool) -> PyResult<()> {
        let has_thread = {
            let mut queue = self.queue();
            queue.closed = true;
            queue.started
        };
        self.wake.notify_all();
        if !in_hurry || !has_thread {
            return self.finish(py);
        }
        let deadline = Instant::now() + HURRY;
        while !self.is_finished() && Instant::now() < deadline {
            self.wait(py)?;
        }
        Ok(())
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.done.is_empty()
    }

    /// Whether there is something that no thread deals with.
    fn has_work(&self) -> bool {
        (!self.notices.is_empty() && self.showing.is_none())
            || (!self.done.is_empty() && self.busy.is_none())
    }
}

/// A notice in hand, which is no longer unshown once this is dropped.
struct Shown<'a>(&'a AtomicUsize);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The right to publish futures, or to show what was printed, until it is dropped.
struct Turn<'a> {
    resolver: &'a Resolver,
    holder: fn(&mut Queue) -> &mut Option<ThreadId>,
}

impl<'a> Turn<'a> {
    fn take(
        resolver: &'a Resolver,
        holder: fn(&mut Queue) -> &mut Option<ThreadId>,
    ) -> Option<Turn<'a>> {
        let mut queue = resolver.queue();
        let held = holder(&mut queue);
        if held.is_some() {
            return None;
        }
        *held = Some(thread::current().id());
        Some(Turn { resolver, holder })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *(self.holder)(&mut self.resolver.queue()) = None;
        self.resolver.wake.notify_all();
    }
}

/// Passes on what workers print and log.
pub struct Forward(pub Arc<Resolver>);

impl Observer for Forward {
    fn output(&self, _: WorkerId, _: Option<TaskId>, stream: Stream, bytes: &[u8]) {
        self.0.push(Notice::Output {
            stream,
            bytes: bytes.to_vec(),
        });
    }

    fn log(&self, _: WorkerId, _: Option<TaskId>, record: &[u8]) {
        self.0.push(Notice::Log(record.to_vec()));
    }
}
