//! Shared memory as Python sees it: an object with the buffer protocol.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use lineshaft_store::Pin;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::engine::Core;

/// A segment of shared memory, mapped copy-on-write: reading copies nothing, writing copies the
/// touched pages for this mapping alone, as if the object had been pickled and loaded.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Segment {
    start: *mut u8,
    bytes: usize,
    // Drop in this order: unmapped first, then released to be spilled.
    _map: Box<dyn Send + Sync>,
    _pin: Option<Pin>,
}

// SAFETY: the pointer leads into the map, which is owned beside it and neither moves nor shrinks.
// The struct itself never reads or writes through it; who does so through the buffer protocol is
// synchronised as with any other Python buffer, by the interpreter or not at all.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Hands a mapping to Python; `pin` keeps its segment from being spilled meanwhile.
    pub fn new(mut map: impl AsMut<[u8]> + Send + Sync + 'static, pin: Option<Pin>) -> Segment {
        let memory: &mut [u8] = map.as_mut();
        let (start, bytes) = (memory.as_mut_ptr(), memory.len());
        Segment {
            start,
            bytes,
            _map: Box::new(map),
            _pin: pin,
        }
    }
}

#[pymethods]
impl Segment {
    fn __len__(&self) -> usize {
        self.bytes
    }

    /// Gives out the memory.
    ///
    /// # Safety
    ///
    /// `view` must be null or point to a `Py_buffer` to be filled; the interpreter sees to that.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("a view is needed"));
        }
        let segment = slf.get();
        let bytes = ffi::Py_ssize_t::try_from(segment.bytes)?;
        // SAFETY: `view` is not null and to be filled; the memory is as long as said and lives as
        // long as `slf`, of which the view takes a reference.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), segment.start.cast(), bytes, 0, flags)
        };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// While it exists, arrays that are handed to several calls stay in shared memory between them.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct ArraysKept {
    core: Arc<Core>,
}

impl ArraysKept {
    pub fn new(core: &Arc<Core>) -> ArraysKept {
        core.live.keep();
        ArraysKept {
            core: Arc::clone(core),
        }
    }
}

impl Drop for ArraysKept {
    fn drop(&mut self) {
        if self.core.is_of_this_process() {
            self.core.live.let_go();
        } else {
            // In a forked child locks may be held for ever, those that the kept segments take as well.
            let _never_dropped = ManuallyDrop::new(Arc::clone(&self.core));
        }
    }
}
