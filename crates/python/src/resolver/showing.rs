//! What workers print and log is shown, in the order in which it came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lineshaft_core::{TaskId, WorkerId};
use lineshaft_engine::{Observer, Stream};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::notices::Notice;

use super::{Resolver, Rest, SIGNAL_CHECK, Turn};

/// How long whoever asks for a result waits for another thread to show what was printed before it.
/// That thread may need a lock of the caller's.
const SHOW_PATIENCE: Duration = Duration::from_secs(1);

/// Stands for the engine itself, as far as it has something to say on a stream of workers.
const OF_ENGINE: WorkerId = WorkerId(u32::MAX);

impl Resolver {
    /// Sees to it that all that was printed and logged so far is shown, before a result is that came
    /// after it. Calls nothing but the console: the caller may hold any lock. Raises what a signal handler
    /// raises meanwhile.
    pub fn show_before_result(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.unshown.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let _rest = Rest(self);
        self.show_all(py)?;
        let this = thread::current().id();
        let deadline = Instant::now() + SHOW_PATIENCE;
        py.detach(|| {
            let mut queue = self.queue();
            while queue.showing.is_some_and(|thread| thread != this) && Instant::now() < deadline {
                queue = self
                    .dealt
                    .wait_timeout(queue, SIGNAL_CHECK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        });
        Ok(())
    }

    pub(super) fn show_all(&self, py: Python<'_>) -> PyResult<()> {
        if self.unshown.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let Some(_turn) = Turn::take(self, |queue| &mut queue.showing) else {
            return Ok(());
        };
        loop {
            // By itself and first: if telling it raises, no notice is in hand that would be lost.
            let dropped = self.queue().notices.take_dropped().text();
            if !dropped.is_empty() {
                self.show(py, OF_ENGINE, Stream::Stderr, dropped.as_bytes())?;
            }
            let Some(notice) = self.queue().notices.pop() else {
                return Ok(());
            };
            // Until it is shown, whoever asks for a result waits.
            let _shown = Shown(&self.unshown);
            match notice {
                Notice::Output {
                    worker,
                    stream,
                    bytes,
                } => self.show(py, worker, stream, &bytes)?,
                Notice::Log(record) => self.tell(py, "log", (PyBytes::new(py, &record),))?,
            }
        }
    }

    fn show(&self, py: Python<'_>, worker: WorkerId, stream: Stream, bytes: &[u8]) -> PyResult<()> {
        let is_stderr = stream == Stream::Stderr;
        let data = PyBytes::new(py, bytes);
        self.tell(py, "output", (worker.0, is_stderr, data))
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
}

/// A notice in hand, which is no longer unshown once this is dropped.
struct Shown<'a>(&'a AtomicUsize);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Passes on what workers print and log.
pub struct Forward(pub Arc<Resolver>);

impl Observer for Forward {
    fn output(&self, worker: WorkerId, _: Option<TaskId>, stream: Stream, bytes: &[u8]) {
        self.0.push(Notice::Output {
            worker,
            stream,
            bytes: bytes.to_vec(),
        });
    }

    fn log(&self, _: WorkerId, _: Option<TaskId>, record: &[u8]) {
        self.0.push(Notice::Log(record.to_vec()));
    }
}
