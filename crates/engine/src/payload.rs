//! Values and callables on their way to and from worker processes. The engine never looks inside.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lineshaft_core::GroupId;
use lineshaft_store::{Owner, Pin, Segment, Store, StoreError};
use lineshaft_wire::{BufferRef, Descriptors, INLINE_SEGMENT, Value};

use crate::descriptors;
use crate::error::EngineError;
use crate::limits::{ABSORBED_BYTES_MAX, BUFFER_ALIGNMENT};

/// A pickled value: a pickle stream and the segments in which its out-of-band buffers lie.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The pickle stream, perhaps with buffers behind it; empty if the stream is the last of the buffers.
    pub data: Arc<[u8]>,
    /// Shared memory that the buffers lie in.
    pub segments: Vec<Arc<Segment>>,
    /// The out-of-band buffers, in the order of the stream.
    pub buffers: Vec<BufferRef>,
}

impl Payload {
    /// A value without out-of-band buffers.
    pub fn inline(data: &[u8]) -> Payload {
        Payload {
            data: data.into(),
            segments: Vec::new(),
            buffers: Vec::new(),
        }
    }

    /// Bytes that the value takes, in-band and out-of-band.
    pub fn bytes(&self) -> u64 {
        self.data.len() as u64
            + self
                .segments
                .iter()
                .map(|segment| segment.bytes())
                .sum::<u64>()
    }

    /// Whether some of it is on disk.
    pub(crate) fn is_spilled(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_spilled())
    }

    pub(crate) fn to_wire(&self) -> Value<'_> {
        Value {
            data: &self.data,
            segments: self
                .segments
                .iter()
                .map(|segment| segment.bytes())
                .collect(),
            buffers: self.buffers.clone(),
        }
    }

    pub(crate) fn descriptors(&self, into: &mut Vec<OwnedFd>) -> Result<(), StoreError> {
        for segment in &self.segments {
            into.push(segment.fd()?);
        }
        Ok(())
    }

    /// Keeps the segments in memory, or on disk if that is where they are, for as long as a worker may
    /// read them: pages that it has mapped would otherwise be missing from the books.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.segments.iter().map(Segment::pin).collect()
    }

    /// Takes over a value that a worker, its owner, sent, with the segments whose descriptors came along.
    pub(crate) fn from_wire(
        value: &Value<'_>,
        descriptors: &mut Descriptors,
        store: &Store,
        owner: Owner,
    ) -> Result<Payload, EngineError> {
        // Whoever looks at it later has nobody to blame.
        if !value.is_sound() {
            return Err(EngineError::Protocol("a buffer outside of its segment"));
        }
        let mut segments = Vec::with_capacity(value.segments.len());
        let mut is_short = false;
        for &bytes in &value.segments {
            let fd = descriptors
                .take_fd()
                .ok_or(EngineError::Protocol("a segment without its descriptor"))?;
            is_short |= descriptors::are_short(&fd);
            segments.push(store.adopt(fd, bytes, owner)?);
        }
        let payload = Payload {
            data: value.data.into(),
            segments,
            buffers: value.buffers.clone(),
        };
        Ok(if is_short {
            payload.without_segments()
        } else {
            payload
        })
    }

    /// The same value with all its bytes in `data`, outside of the store's books, so that it takes no
    /// descriptor. One that is on disk or would be too large for a message stays as it is.
    fn without_segments(self) -> Payload {
        if self.bytes() > ABSORBED_BYTES_MAX || self.is_spilled() {
            return self;
        }
        let maps = self.segments.iter().map(Segment::map);
        let Ok(maps) = maps.collect::<Result<Vec<_>, _>>() else {
            return self;
        };
        let bytes_of = |buffer: &BufferRef| {
            let whole: &[u8] = match buffer.segment {
                INLINE_SEGMENT => &self.data,
                index => &maps[index as usize],
            };
            let position = |at: u64| usize::try_from(at).expect("what is mapped has addresses");
            &whole[position(buffer.offset)..position(buffer.offset + buffer.bytes)]
        };
        let (stream, buffers) = match self.buffers.split_last() {
            Some((stream, others)) if self.data.is_empty() => (bytes_of(stream), others),
            _ => (&*self.data, &*self.buffers),
        };
        let mut data = stream.to_vec();
        let behind_stream = |buffer: &BufferRef| {
            if buffer.segment == INLINE_SEGMENT {
                return *buffer;
            }
            let offset = data.len().next_multiple_of(BUFFER_ALIGNMENT);
            data.resize(offset, 0);
            data.extend_from_slice(bytes_of(buffer));
            BufferRef {
                segment: INLINE_SEGMENT,
                offset: offset as u64,
                bytes: buffer.bytes,
            }
        };
        let buffers = buffers.iter().map(behind_stream).collect();
        Payload {
            data: data.into(),
            segments: Vec::new(),
            buffers,
        }
    }
}

/// A definition that workers need before they can run a task: usually the callable itself.
#[derive(Debug)]
pub struct Code {
    /// Its identity in this engine.
    pub id: CodeId,
    /// The group that tasks calling it belong to.
    pub group: GroupId,
    /// The pickled definition.
    pub body: Payload,
    /// What a worker must have before it, in this order.
    pub needs: Vec<Arc<Code>>,
    pub(crate) unused: Weak<Unused>,
}

impl Drop for Code {
    /// Nobody can call it any more: workers may forget it.
    fn drop(&mut self) {
        if let Some(unused) = self.unused.upgrade() {
            unused.push(self.id);
        }
    }
}

/// Definitions that nobody refers to any more, until the workers have been told.
#[derive(Debug, Default)]
pub(crate) struct Unused {
    ids: Mutex<Vec<CodeId>>,
    some: AtomicBool,
}

impl Unused {
    fn push(&self, id: CodeId) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
        self.some.store(true, Ordering::Release);
    }

    /// All of them, once.
    pub(crate) fn take(&self) -> Vec<CodeId> {
        // The usual answer, without the lock.
        if !self.some.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Identity of a definition in one engine. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CodeId(pub u64);

#[cfg(test)]
mod tests {
    use lineshaft_store::StoreOptions;

    use super::*;

    fn store() -> Store {
        let options = StoreOptions {
            budget_bytes: 1 << 30,
            spill_dir: std::env::temp_dir(),
            spill_max_bytes: None,
        };
        Store::new(options).expect("a store")
    }

    fn buffer(segment: u32, offset: u64, bytes: u64) -> BufferRef {
        BufferRef {
            segment,
            offset,
            bytes,
        }
    }

    #[test]
    fn a_value_without_segments_has_the_same_stream_and_buffers() {
        let store = store();
        let (segment, offsets) = store.put(&[b"second", b"stream"]).expect("room");
        let (second, stream) = (buffer(0, offsets[0], 6), buffer(0, offsets[1], 6));
        let bytes_of = |payload: &Payload, index: usize| {
            let buffer = payload.buffers[index];
            assert_eq!(buffer.segment, INLINE_SEGMENT);
            let from = usize::try_from(buffer.offset).expect("an offset");
            payload.data[from..from + usize::try_from(buffer.bytes).expect("a length")].to_vec()
        };

        let inline = Payload {
            data: b"stream.first".as_slice().into(),
            segments: vec![Arc::clone(&segment)],
            buffers: vec![buffer(INLINE_SEGMENT, 7, 5), second],
        }
        .without_segments();
        assert!(inline.data.starts_with(b"stream."));
        assert_eq!(bytes_of(&inline, 0), b"first");
        assert_eq!(bytes_of(&inline, 1), b"second");

        let outside = Payload {
            data: Arc::default(),
            segments: vec![segment],
            buffers: vec![second, stream],
        }
        .without_segments();
        assert!(outside.data.starts_with(b"stream"));
        assert_eq!(outside.buffers.len(), 1);
        assert_eq!(bytes_of(&outside, 0), b"second");
        assert_eq!(store.stats().segments, 0, "their descriptors are closed");
    }

    #[test]
    fn what_is_too_large_for_a_message_keeps_its_segment() {
        let store = store();
        let bytes = vec![0; usize::try_from(ABSORBED_BYTES_MAX).expect("a size") + 1];
        let (segment, _) = store.put(&[&bytes]).expect("room");
        let payload = Payload {
            data: Arc::default(),
            segments: vec![segment],
            buffers: vec![buffer(0, 0, bytes.len() as u64)],
        };
        assert_eq!(payload.without_segments().segments.len(), 1);
    }
}
