//! Values and callables on their way to and from worker processes. The engine never looks inside.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lineshaft_core::GroupId;
use lineshaft_store::{Pin, Segment, Store, StoreError};
use lineshaft_wire::{BufferRef, Descriptors, Value};

use crate::error::EngineError;

/// A pickled value: a pickle stream and the segments in which its out-of-band buffers lie.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The pickle stream.
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

    /// Takes over a value that a worker sent, with the segments whose descriptors came along.
    pub(crate) fn from_wire(
        value: &Value<'_>,
        descriptors: &mut Descriptors,
        store: &Store,
    ) -> Result<Payload, EngineError> {
        // Whoever looks at it later has nobody to blame.
        if !value.is_sound() {
            return Err(EngineError::Protocol("a buffer outside of its segment"));
        }
        let mut segments = Vec::with_capacity(value.segments.len());
        for &bytes in &value.segments {
            let fd = descriptors
                .take_fd()
                .ok_or(EngineError::Protocol("a segment without its descriptor"))?;
            segments.push(store.adopt(fd, bytes)?);
        }
        Ok(Payload {
            data: value.data.into(),
            segments,
            buffers: value.buffers.clone(),
        })
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
