//! `Crossing`: native code of a thread of the program that has called Python.
//!
//! Before CPython 3.14 a thread that wants the interpreter after its end is ended where it is, by unwinding its
//! stack. Rust's frames do not let that pass, and the C library aborts the program. Who waits in native code is
//! safe, as PyO3 has such threads hang. Who pickles a call, loads a result or calls back runs Python under
//! native code: these are counted, and the end of the program waits for them. Those of them that the interpreter
//! does not wait for begin no other from then on.
//!
//! The count changes while the thread is attached, so at a fork no other thread is in the midst of that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::ffi::PyThread_get_thread_ident;
use pyo3::prelude::*;

use crate::generation::Generation;

/// How long a thread is kept from Python when the interpreter is about to end. For ever, but for a hook of
/// `atexit` that waits for this thread.
const KEPT: Duration = Duration::from_secs(10);

/// Threads that are in Python under native code, those counted twice that are there twice.
static CROSSINGS: AtomicUsize = AtomicUsize::new(0);

/// The interpreter is about to end.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Identifiers of the threads that it does not wait for, as Python has them.
static DAEMONS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
/// Signalled when there are no crossings left, once the interpreter is about to end.
static NONE_LEFT: Condvar = Condvar::new();

/// Counts this thread until it is dropped.
pub struct Crossing(Generation);

impl Crossing {
    pub fn begin(py: Python<'_>) -> Crossing {
        if IS_ENDING.load(Ordering::SeqCst) {
            keep_daemon(py);
        }
        CROSSINGS.fetch_add(1, Ordering::SeqCst);
        Crossing(Generation::current())
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        // In a child that was forked meanwhile nobody is counted any more.
        if self.0.is_current()
            && CROSSINGS.fetch_sub(1, Ordering::SeqCst) == 1
            && IS_ENDING.load(Ordering::SeqCst)
        {
            // Locked, lest it comes between the look and the wait of who waits.
            let _known = daemons_known();
            NONE_LEFT.notify_all();
        }
    }
}

fn daemons_known() -> MutexGuard<'static, Vec<u64>> {
    DAEMONS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "nobody is to wake it")]
fn keep_daemon(py: Python<'_>) {
    // SAFETY: it may be called at any time.
    let this_thread = unsafe { PyThread_get_thread_ident() };
    if daemons_known().contains(&this_thread) {
        // If the interpreter has ended meanwhile, PyO3 does not let it come back.
        py.detach(|| thread::sleep(KEPT));
    }
}

/// In a forked child: its parent's threads are not there, and it is not its end.
pub fn after_fork() {
    CROSSINGS.store(0, Ordering::SeqCst);
    IS_ENDING.store(false, Ordering::SeqCst);
}

/// Waits until no thread runs Python under native code, which those of these identifiers will no longer do; False
/// if `timeout_s` seconds have passed before that.
#[pyfunction]
pub fn end_crossings(py: Python<'_>, daemons: Vec<u64>, timeout_s: f64) -> PyResult<bool> {
    let timeout = Duration::try_from_secs_f64(timeout_s)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    *daemons_known() = daemons;
    IS_ENDING.store(true, Ordering::SeqCst);
    Ok(py.detach(|| {
        let waited = NONE_LEFT.wait_timeout_while(daemons_known(), timeout, |_| {
            CROSSINGS.load(Ordering::SeqCst) > 0
        });
        let (_ending, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }))
}
