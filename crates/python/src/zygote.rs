//! `Zygote`: the socket of a process that workers are forked from.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use lineshaft_wire::{Filled, FromZygote, Receiver, Sender, ToZygote};
use pyo3::exceptions::{PyEOFError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use rustix::process::Signal;

use crate::locked::Locked;

/// Blocks up to this size come from the heap; the most that glibc accepts on 64-bit machines.
const MMAP_THRESHOLD_BYTES: i32 = 32 * 1024 * 1024;

/// Free memory at the end of the heap that is kept.
const TRIM_THRESHOLD_BYTES: i32 = 128 * 1024 * 1024;

/// The zygote's end of its socket.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Zygote {
    socket: OwnedFd,
    channel: Locked<(Sender, Receiver)>,
}

fn failed(error: &impl std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

#[pymethods]
impl Zygote {
    /// Takes over the socket with this descriptor.
    #[new]
    fn new(fd: i32) -> Zygote {
        // SAFETY: the caller hands over a descriptor that nobody else in this process owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Zygote {
            socket,
            channel: Locked::default(),
        }
    }

    fn fileno(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// The next request that is there: `bytes` to set up with, or a tuple `(worker, pool_workers,
    /// descriptors, growth_bytes_max, tasks_max)` to fork a worker. None if there is none for now.
    ///
    /// Raises `EOFError` when the engine is gone.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let request = self.channel.with(|(_, receiver)| self.receive(receiver));
        Ok(match request? {
            Request::None => None,
            Request::Eof => return Err(PyEOFError::new_err("the engine is gone")),
            Request::SetUp(data) => Some(PyBytes::new(py, &data).into_any()),
            Request::Spawn {
                worker,
                pool_workers,
                descriptors,
                growth_bytes_max,
                tasks_max,
            } => {
                let descriptors = descriptors.into_iter().map(IntoRawFd::into_raw_fd);
                let descriptors = PyTuple::new(py, descriptors.collect::<Vec<i32>>())?;
                let request = (
                    worker,
                    pool_workers,
                    descriptors,
                    growth_bytes_max,
                    tasks_max,
                );
                Some(request.into_pyobject(py)?.into_any())
            }
        })
    }

    /// Says that a worker was forked.
    fn spawned(&self, worker: u32, pid: u32) -> PyResult<()> {
        self.send(&FromZygote::Spawned { worker, pid })
    }

    /// Says that a worker could not be forked.
    fn spawn_failed(&self, worker: u32, errno: i32) -> PyResult<()> {
        self.send(&FromZygote::SpawnFailed { worker, errno })
    }

    /// Says that a worker ended, with its wait status and the processor time that it took.
    fn exited(
        &self,
        worker: u32,
        status: i32,
        peak_memory_bytes: u64,
        cpu_ns: u64,
    ) -> PyResult<()> {
        self.send(&FromZygote::Exited {
            worker,
            status,
            peak_memory_bytes,
            cpu_ns,
        })
    }

    /// Closes the socket, in a forked worker.
    fn close(&self) {
        // SAFETY: the worker never uses the zygote's object again, and leaves by `os._exit`, which
        // runs no destructor that would close the descriptor a second time.
        drop(unsafe { OwnedFd::from_raw_fd(self.socket.as_raw_fd()) });
    }

    /// Keeps freed memory for the next task, up to some megabytes. A new process gives it back to
    /// the system at once and faults it in again for each task, which costs array code more than
    /// the arithmetic; a process that has run for a while, whose children other pools fork, has
    /// learned better. See mallopt(3), "dynamic mmap threshold".
    #[staticmethod]
    fn tune_allocator() {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        for (parameter, bytes) in [
            (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
            (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
        ] {
            // SAFETY: the zygote has one thread, so nobody allocates meanwhile. If the value is
            // refused, the default stays.
            unsafe { libc::mallopt(parameter, bytes) };
        }
    }

    /// Asks the kernel to kill this process when its parent ends.
    #[staticmethod]
    fn die_with_parent() -> PyResult<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), errno.to_string())))
    }
}

/// What the engine wants next.
enum Request {
    None,
    Eof,
    SetUp(Vec<u8>),
    Spawn {
        worker: u32,
        pool_workers: u32,
        descriptors: Vec<OwnedFd>,
        growth_bytes_max: Option<u64>,
        tasks_max: Option<u32>,
    },
}

impl Zygote {
    fn receive(&self, receiver: &mut Receiver) -> PyResult<Request> {
        loop {
            if let Some((frame, descriptors)) =
                receiver.next_frame().map_err(|error| failed(&error))?
            {
                let request = lineshaft_wire::decode::<ToZygote<'_>>(frame)
                    .map_err(|error| failed(&error))?;
                return match request {
                    ToZygote::SetUp { data } => Ok(Request::SetUp(data.to_vec())),
                    ToZygote::Spawn {
                        worker,
                        pool_workers,
                        growth_bytes_max,
                        tasks_max,
                    } => {
                        let taken: Option<_> = (0..6).map(|_| descriptors.take_fd()).collect();
                        let descriptors =
                            taken.ok_or_else(|| failed(&"a request without its descriptors"))?;
                        Ok(Request::Spawn {
                            worker,
                            pool_workers,
                            descriptors,
                            growth_bytes_max,
                            tasks_max,
                        })
                    }
                };
            }
            match receiver
                .fill(self.socket.as_fd())
                .map_err(|error| failed(&error))?
            {
                Filled::Data => {}
                Filled::WouldBlock => return Ok(Request::None),
                Filled::Eof => return Ok(Request::Eof),
            }
        }
    }

    fn send(&self, message: &FromZygote) -> PyResult<()> {
        let sent = self.channel.with(|(sender, _)| {
            sender.push(message, [])?;
            sender.flush_blocking(self.socket.as_fd())
        });
        sent.map_err(|error| failed(&error))
    }
}
