//! Frames that a worker has not sent yet, where its death does not take them.
//!
//! A worker holds results back for a moment, to send many at once. If the next task kills it, the
//! tasks before that one have ended, and must neither run again nor lose what they returned. So each
//! such frame is also written into this ring beside the control page, until it has been sent; after the death
//! of a worker, the engine reads here what it did not read from the socket. It may find what it has read:
//! a worker can die between sending and saying so. A result that comes twice changes nothing.
//!
//! `length` is written last and read first, as a release and an acquire, so that what it counts is
//! there. To forget the frames, the worker counts `generation` up and sets `length` to 0, and starts
//! again at the first word. The race this prevents: an engine that reads while the worker still runs takes
//! half of an old frame and half of a new one for one. It looks at `generation` before and after, and if the two
//! differ it has read nothing.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use serde::Deserialize;

use crate::error::WireError;
use crate::frame;
use crate::limits::HELD_BYTES;

const WORDS: usize = HELD_BYTES / size_of::<u64>();

/// Frames that a worker has not sent yet. Written by the worker, one thread at a time, read by the
/// engine.
#[repr(C)]
pub struct HeldBack {
    /// How often frames were forgotten.
    generation: AtomicU32,
    /// Words in use.
    length: AtomicU32,
    /// Frames, each from the start of a word.
    words: [AtomicU64; WORDS],
}

impl HeldBack {
    /// Keeps a frame. False if there is no room for it.
    pub fn keep(&self, frame: &[u8]) -> bool {
        let start = self.length.load(Ordering::Relaxed) as usize;
        let count = frame.len().div_ceil(size_of::<u64>());
        let Some(room) = self.words.get(start..).and_then(|rest| rest.get(..count)) else {
            return false;
        };
        for (word, bytes) in room.iter().zip(frame.chunks(size_of::<u64>())) {
            let mut padded = [0; size_of::<u64>()];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        let end = u32::try_from(start + count).expect("the ring is small");
        self.length.store(end, Ordering::Release);
        true
    }

    /// Forgets the frames: they have been sent.
    pub fn forget(&self) {
        if self.length.load(Ordering::Relaxed) > 0 {
            let generation = self.generation.load(Ordering::Relaxed);
            self.generation
                .store(generation.wrapping_add(1), Ordering::Relaxed);
            // No word is written anew before both stores.
            self.length.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
        }
    }

    /// The frames that are kept, for the engine.
    pub fn read(&self) -> HeldFrames {
        let generation = self.generation.load(Ordering::Acquire);
        let length = self.length.load(Ordering::Acquire) as usize;
        let words = self.words.iter().take(length);
        let mut bytes: Vec<u8> = words
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        fence(Ordering::Acquire);
        if self.generation.load(Ordering::Relaxed) != generation {
            bytes.clear();
        }
        HeldFrames { bytes, start: 0 }
    }
}

impl Default for HeldBack {
    fn default() -> Self {
        Self {
            generation: AtomicU32::new(0),
            length: AtomicU32::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }
}

impl fmt::Debug for HeldBack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HeldBack")
            .field("generation", &self.generation)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A copy of frames that a worker had not sent. Its bytes are believed as little as those of the socket.
#[derive(Debug)]
pub struct HeldFrames {
    bytes: Vec<u8>,
    start: usize,
}

impl HeldFrames {
    /// The next message.
    pub fn next_message<'a, M: Deserialize<'a>>(&'a mut self) -> Result<Option<M>, WireError> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some(length) = frame::body_length(rest)? else {
            return Ok(None);
        };
        let end = frame::HEADER_BYTES + length;
        self.start += end.next_multiple_of(size_of::<u64>());
        match rest.get(frame::HEADER_BYTES..end) {
            Some(body) => frame::decode(body).map(Some),
            None => Err(WireError::FrameTooLong { bytes: length }),
        }
    }
}
