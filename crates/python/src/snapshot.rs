//! `Snapshot`: a fork of the program, from which the workers of one pool are forked.

use std::os::fd::{IntoRawFd, OwnedFd};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::engine::engine_error;
use crate::locked::Locked;

/// A fork of the program and the socket to it. Until a pool has it, it belongs to this object, with
/// which it is ended and reaped: a signal handler of the program may raise at any point.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Snapshot {
    state: Locked<State>,
}

#[derive(Default)]
enum State {
    /// The socket's two ends: ours and the child's.
    Before(OwnedFd, OwnedFd),
    Forked(lineshaft_engine::Snapshot),
    /// It was handed over, or forking it failed.
    #[default]
    Gone,
}

#[pymethods]
impl Snapshot {
    #[new]
    fn new() -> PyResult<Snapshot> {
        let (ours, theirs) = lineshaft_wire::pair()?;
        Ok(Snapshot {
            state: Locked::new(State::Before(ours, theirs)),
        })
    }

    /// Forks by `fork`. In the child returns its end of the socket and the program's, which it is to
    /// close; in the program, None.
    fn fork(&self, fork: &Bound<'_, PyAny>) -> PyResult<Option<(i32, i32)>> {
        let py = fork.py();
        let State::Before(ours, theirs) = self.take() else {
            return Err(PyRuntimeError::new_err("a snapshot is forked once"));
        };
        let pid: i32 = fork.call0()?.extract()?;
        if pid == 0 {
            return Ok(Some((theirs.into_raw_fd(), ours.into_raw_fd())));
        }
        // It waits for the child's end if it fails.
        let forked = py.detach(|| lineshaft_engine::Snapshot::new(ours, pid));
        let forked = forked.map_err(|error| engine_error(py, &error))?;
        self.state.with(|state| *state = State::Forked(forked));
        Ok(None)
    }
}

impl Snapshot {
    fn take(&self) -> State {
        self.state.with(std::mem::take)
    }

    /// Hands it over.
    pub fn hand_over(&self) -> PyResult<lineshaft_engine::Snapshot> {
        match self.take() {
            State::Forked(snapshot) => Ok(snapshot),
            _ => Err(PyRuntimeError::new_err("there is no fork to hand over")),
        }
    }
}
