//! Pickles and their out-of-band buffers, on the way between Python and payloads.
//!
//! Where the bytes of a value lie: the pickle stream in `data`, small buffers behind it in `data`
//! (unpickling stops before them), larger ones in segments. A stream that is itself too large for
//! a message lies in a segment too: then `data` is empty and the last buffer is the stream.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use lineshaft_engine::worker::{Received, Sent, Session};
use lineshaft_engine::{INLINE_BYTES_MAX, Payload};
use lineshaft_store::{LiveBuffers, Store, StoreError, map_fd_private};
use lineshaft_wire::{BufferRef, INLINE_SEGMENT};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList};

use crate::interpreter::interpreter;
use crate::segment::Segment;

/// Alignment of small buffers behind the pickle, in bytes; what allocators give arrays.
const INLINE_ALIGNMENT: usize = 16;

/// Turns an error of the store into Python's.
pub fn store_error(error: &StoreError) -> PyErr {
    PyOSError::new_err(error.to_string())
}

/// A pickle and its buffers, sorted by where they go.
struct Layout {
    data: Vec<u8>,
    buffers: Vec<BufferRef>,
    /// Indices of the buffers that are too large to be sent inline.
    large: Vec<usize>,
}

/// Views of the out-of-band buffers that the pickler collected.
struct Views(Vec<PyBuffer<u8>>);

impl Views {
    fn new(buffers: &Bound<'_, PyList>) -> PyResult<Views> {
        let raw = |buffer: Bound<'_, PyAny>| PyBuffer::get(&buffer.call_method0("raw")?);
        buffers.iter().map(raw).collect::<PyResult<_>>().map(Views)
    }

    /// The bytes of a buffer. They may change while they are read, if the program writes to them
    /// meanwhile; it would do so to a pickle being made as well.
    fn bytes(&self, index: usize) -> &[u8] {
        let view = &self.0[index];
        // SAFETY: a buffer that gave a view neither moves nor shrinks while the view lives; it is
        // contiguous, because `PickleBuffer.raw` gives nothing else.
        unsafe { std::slice::from_raw_parts(view.buf_ptr().cast(), view.len_bytes()) }
    }
}

// SAFETY: a view is only read from and only released while attached; see `detached`.
unsafe impl Send for Views {}
// SAFETY: as above.
unsafe impl Sync for Views {}

impl Layout {
    fn new(stream: &[u8], views: &Views) -> Layout {
        let mut layout = Layout {
            data: Vec::new(),
            buffers: Vec::with_capacity(views.0.len() + 1),
            large: Vec::new(),
        };
        let is_stream_inline = stream.len() <= INLINE_BYTES_MAX;
        if is_stream_inline {
            layout.data.extend_from_slice(stream);
        }
        for index in 0..views.0.len() {
            let bytes = views.bytes(index);
            let offset = layout.data.len().next_multiple_of(INLINE_ALIGNMENT);
            if !is_stream_inline || offset + bytes.len() > INLINE_BYTES_MAX {
                layout.large.push(index);
                layout.buffers.push(BufferRef {
                    segment: 0,
                    offset: 0,
                    bytes: bytes.len() as u64,
                });
                continue;
            }
            layout.data.resize(offset, 0);
            layout.data.extend_from_slice(bytes);
            layout.buffers.push(BufferRef {
                segment: INLINE_SEGMENT,
                offset: offset as u64,
                bytes: bytes.len() as u64,
            });
        }
        layout
    }
}

fn index_of(position: usize) -> u32 {
    u32::try_from(position).expect("a value has fewer buffers than 2^32")
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
    let put = || -> Result<Payload, StoreError> {
        let Layout {
            data,
            mut buffers,
            large,
        } = Layout::new(stream, &views);
        let mut segments = Vec::new();
        for index in large {
            buffers[index].segment = index_of(segments.len());
            segments.push(live.get_or_put(store, views.bytes(index))?);
        }
        if stream.len() > INLINE_BYTES_MAX {
            let (segment, offsets) = store.put(&[stream])?;
            buffers.push(BufferRef {
                segment: index_of(segments.len()),
                offset: offsets[0],
                bytes: stream.len() as u64,
            });
            segments.push(segment);
        }
        Ok(Payload {
            data: data.into(),
            segments,
            buffers,
        })
    };
    // Copying and hashing large buffers must not stop the other threads of the program.
    let payload = py.detach(put);
    drop(views);
    payload.map_err(|error| store_error(&error))
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
    let Layout {
        data,
        mut buffers,
        large,
    } = Layout::new(stream, &views);
    let mut parts: Vec<&[u8]> = large.iter().map(|&index| views.bytes(index)).collect();
    if stream.len() > INLINE_BYTES_MAX {
        parts.push(stream);
        buffers.push(BufferRef {
            segment: 0,
            offset: 0,
            bytes: stream.len() as u64,
        });
    }
    if parts.is_empty() {
        return Ok(Sent {
            data,
            segments: Vec::new(),
            buffers,
        });
    }
    let (fd, bytes, offsets) = session
        .write_segment(&parts)
        .map_err(|error| store_error(&error))?;
    let stream_index = (stream.len() > INLINE_BYTES_MAX).then_some(buffers.len() - 1);
    for (index, offset) in large.into_iter().chain(stream_index).zip(offsets) {
        buffers[index].offset = offset;
    }
    Ok(Sent {
        data,
        segments: vec![(fd, bytes)],
        buffers,
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
        for BufferRef {
            segment,
            offset,
            bytes,
        } in buffers.iter().copied()
        {
            let (from, to) = (usize::try_from(offset)?, usize::try_from(offset + bytes)?);
            if segment == INLINE_SEGMENT {
                list.append(PyByteArray::new(py, &data[from..to]))?;
            } else {
                let whole = &segments[segment as usize];
                list.append(whole.get_item(pyo3::types::PySlice::new(
                    py,
                    from.try_into()?,
                    to.try_into()?,
                    1,
                ))?)?;
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
