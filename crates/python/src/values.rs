//! Pickles and their out-of-band buffers, on the way between Python and payloads.
//!
//! Where their bytes go is decided in `packed`; here they are taken from Python and given back.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use lineshaft_engine::worker::{Received, Sent, Session};
use lineshaft_engine::{INLINE_BYTES_MAX, Payload};
use lineshaft_store::{LiveBuffers, Store, StoreError, map_fd_private};
use lineshaft_wire::BufferRef;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PySlice};

use crate::interpreter::interpreter;
use crate::packed::{Packed, Place, Shelf};
use crate::segment::Segment;

/// Turns an error of the store into Python's.
pub fn store_error(error: &StoreError) -> PyErr {
    PyOSError::new_err(error.to_string())
}

/// Views of the out-of-band buffers that the pickler collected.
struct Views(Vec<PyBuffer<u8>>);

impl Views {
    fn new(buffers: &Bound<'_, PyList>) -> PyResult<Views> {
        let raw = |buffer: Bound<'_, PyAny>| PyBuffer::get(&buffer.call_method0("raw")?);
        buffers.iter().map(raw).collect::<PyResult<_>>().map(Views)
    }

    /// The bytes of each buffer. They may change while they are read, if the program writes to them
    /// meanwhile; it would do so to a pickle being made as well.
    fn all(&self) -> Vec<&[u8]> {
        let bytes = |view: &PyBuffer<u8>| {
            if view.len_bytes() == 0 {
                return &[][..]; // of nothing there may be no address
            }
            // SAFETY: a buffer that gave a view neither moves nor shrinks while the view lives, and
            // the slice borrows the views; it is contiguous, because `PickleBuffer.raw` gives
            // nothing else.
            unsafe { std::slice::from_raw_parts(view.buf_ptr().cast(), view.len_bytes()) }
        };
        self.0.iter().map(bytes).collect()
    }
}

/// The engine's side: what is alive in the program is stored once.
struct EngineShelf<'a> {
    store: &'a Store,
    live: &'a LiveBuffers,
}

impl Shelf for EngineShelf<'_> {
    type Segment = Arc<lineshaft_store::Segment>;

    fn put(&self, parts: &[&[u8]]) -> Result<(Self::Segment, Vec<u64>), StoreError> {
        self.store.put(parts)
    }

    fn share(&self, buffer: &[u8]) -> Option<Result<Self::Segment, StoreError>> {
        Some(self.live.get_or_put(self.store, buffer))
    }
}

/// A worker's side: what it sends it has made for this.
struct WorkerShelf<'a>(&'a Session);

impl Shelf for WorkerShelf<'_> {
    type Segment = (OwnedFd, u64);

    fn put(&self, parts: &[&[u8]]) -> Result<(Self::Segment, Vec<u64>), StoreError> {
        let (fd, bytes, offsets) = self.0.write_segment(parts)?;
        Ok(((fd, bytes), offsets))
    }

    fn share(&self, _: &[u8]) -> Option<Result<Self::Segment, StoreError>> {
        None
    }
}

/// Makes a payload of a pickle; large buffers go into the store, live ones once.
pub fn to_payload(
    py: Python<'_>,
    stream: &[u8],
    buffers: Option<&Bound<'_, PyList>>,
    store: &Store,
    live: &LiveBuffers,
) -> PyResult<Payload> {
    let views = match buffers {
        Some(buffers) if !buffers.is_empty() => Views::new(buffers)?,
        _ if stream.len() <= INLINE_BYTES_MAX => return Ok(Payload::inline(stream)),
        _ => Views(Vec::new()),
    };
    // Copying and hashing large buffers must not stop the other threads of the program.
    let packed = py.detach(|| Packed::new(stream, &views.all(), &EngineShelf { store, live }));
    drop(views);
    let packed = packed.map_err(|error| store_error(&error))?;
    Ok(Payload {
        data: packed.data.into(),
        segments: packed.segments,
        buffers: packed.buffers,
    })
}

/// Makes of a pickle what a worker sends; large buffers go into one segment.
pub fn to_sent(
    stream: &[u8],
    buffers: Option<&Bound<'_, PyList>>,
    session: &Session,
) -> PyResult<Sent> {
    let views = match buffers {
        Some(buffers) if !buffers.is_empty() => Views::new(buffers)?,
        _ if stream.len() <= INLINE_BYTES_MAX => return Ok(Sent::inline(stream.to_vec())),
        _ => Views(Vec::new()),
    };
    let packed = Packed::new(stream, &views.all(), &WorkerShelf(session));
    let packed = packed.map_err(|error| store_error(&error))?;
    Ok(Sent {
        data: packed.data,
        segments: packed.segments,
        buffers: packed.buffers,
    })
}

/// The pickle stream and the buffers to load it with.
pub struct Loadable<'py> {
    pub stream: Bound<'py, PyAny>,
    pub buffers: Option<Bound<'py, PyList>>,
}

impl<'py> Loadable<'py> {
    fn new(
        py: Python<'py>,
        data: &[u8],
        buffers: &[BufferRef],
        segments: Vec<Segment>,
    ) -> PyResult<Loadable<'py>> {
        if buffers.is_empty() {
            return Ok(Loadable {
                stream: PyBytes::new(py, data).into_any(),
                buffers: None,
            });
        }
        let memoryview = interpreter(py)?.memoryview.bind(py);
        let segments: Vec<Bound<'py, PyAny>> = segments
            .into_iter()
            .map(|segment| memoryview.call1((Bound::new(py, segment)?,)))
            .collect::<PyResult<_>>()?;
        let list = PyList::empty(py);
        for buffer in buffers {
            match Place::of(buffer, data) {
                Place::Inline(bytes) => list.append(PyByteArray::new(py, bytes))?,
                Place::Segment { index, from, to } => {
                    let stretch = PySlice::new(py, from.try_into()?, to.try_into()?, 1);
                    list.append(segments[index].get_item(stretch)?)?;
                }
            }
        }
        let stream = if data.is_empty() {
            let last = list.len() - 1;
            let stream = list.get_item(last)?;
            list.del_item(last)?;
            stream
        } else {
            PyBytes::new(py, data).into_any()
        };
        Ok(Loadable {
            stream,
            buffers: Some(list),
        })
    }

    /// Of a payload, in the engine's process.
    pub fn from_payload(py: Python<'py>, payload: &Payload) -> PyResult<Loadable<'py>> {
        let map = |segment: &Arc<lineshaft_store::Segment>| -> Result<Segment, StoreError> {
            let pin = segment.pin();
            let map = map_fd_private(segment.fd()?.as_fd(), segment.bytes())?;
            Ok(Segment::new(map, Some(pin)))
        };
        let segments: Result<Vec<Segment>, StoreError> = payload.segments.iter().map(map).collect();
        let segments = segments.map_err(|error| store_error(&error))?;
        Loadable::new(py, &payload.data, &payload.buffers, segments)
    }

    /// Of what a worker received.
    pub fn from_received(
        py: Python<'py>,
        received: &Received,
        session: &Session,
    ) -> PyResult<Loadable<'py>> {
        let map =
            |(fd, bytes): &(OwnedFd, u64)| Ok(Segment::new(session.map(fd.as_fd(), *bytes)?, None));
        let segments: Result<Vec<Segment>, StoreError> =
            received.segments.iter().map(map).collect();
        let segments = segments.map_err(|error| store_error(&error))?;
        Loadable::new(py, &received.data, &received.buffers, segments)
    }

    /// The buffers as an argument: a sequence, empty if there are none.
    pub fn buffers(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match &self.buffers {
            Some(buffers) => buffers.clone().into_any(),
            None => pyo3::types::PyTuple::empty(py).into_any(),
        }
    }

    /// Unpickles.
    pub fn load(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let loads = interpreter(py)?.loads.bind(py);
        match &self.buffers {
            None => loads.call1((&self.stream,)),
            Some(buffers) => {
                let keywords = PyDict::new(py);
                keywords.set_item(pyo3::intern!(py, "buffers"), buffers)?;
                loads.call((&self.stream,), Some(&keywords))
            }
        }
    }
}
