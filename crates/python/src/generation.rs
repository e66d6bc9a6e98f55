//! `Generation`: which process of a line of forks something belongs to.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::crossing;

/// How many forks lie between this process and the one that was first.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// The process that made something: engines and sessions serve nobody else. A forked child has copies
/// of them, but not their threads, and finds their locks as they were at the fork.
#[derive(Clone, Copy)]
pub struct Generation(u64);

impl Generation {
    /// This process.
    pub fn current() -> Generation {
        Generation(CURRENT.load(Ordering::Relaxed))
    }

    /// Whether it is this process.
    pub fn is_current(self) -> bool {
        self.0 == CURRENT.load(Ordering::Relaxed)
    }

    /// Fails unless it is this process.
    pub fn check(self) -> PyResult<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this engine belongs to the parent process: after os.fork() the child must start its own",
        ))
    }
}

/// Called in the child after `os.fork`: its copies of engines and sessions are of no use. Returns
/// descriptors that it should replace, because others wait for them to be closed.
#[pyfunction]
pub fn after_fork() -> Vec<i32> {
    CURRENT.fetch_add(1, Ordering::SeqCst);
    crossing::after_fork();
    lineshaft_engine::take_inherited()
}
