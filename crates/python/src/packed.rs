//! Where the bytes of a value lie: a pickle stream and its out-of-band buffers, put into as few
//! places as possible, and found there again.
//!
//! The stream is in `data`, with small buffers behind it (unpickling stops before them) for as long
//! as they fit into a message. What does not fit lies in one segment that was made for this value.
//! Large buffers of the program that are still alive have segments of their own, which other tasks
//! share; only a few of them, because each is a descriptor here and in every worker that has it. A
//! stream that is itself too large for a message is the last buffer, and `data` is empty then.

use lineshaft_engine::INLINE_BYTES_MAX;
use lineshaft_store::StoreError;
use lineshaft_wire::{BufferRef, INLINE_SEGMENT};

/// Alignment of small buffers behind the pickle, in bytes; what allocators give arrays.
const INLINE_ALIGNMENT: usize = 16;

/// Buffers from this size on may have a segment of their own. Smaller ones travel inside the message
/// if they come alone, and then are copied for each task as well.
const SHARED_BYTES_MIN: usize = INLINE_BYTES_MAX;

/// Buffers of one value that have segments of their own: the largest ones.
const SHARED_MAX: usize = 64;

/// Makes segments, on one side or the other.
pub trait Shelf {
    type Segment;

    /// Writes the parts into one new segment; the offset of each.
    fn put(&self, parts: &[&[u8]]) -> Result<(Self::Segment, Vec<u64>), StoreError>;

    /// The segment of a live buffer, the same one each time; none if this side does not remember.
    fn share(&self, buffer: &[u8]) -> Option<Result<Self::Segment, StoreError>>;
}

/// A value, packed.
pub struct Packed<S> {
    pub data: Vec<u8>,
    pub segments: Vec<S>,
    pub buffers: Vec<BufferRef>,
}

impl<S> Packed<S> {
    pub fn new(
        stream: &[u8],
        buffers: &[&[u8]],
        shelf: &impl Shelf<Segment = S>,
    ) -> Result<Packed<S>, StoreError> {
        let is_stream_inline = stream.len() <= INLINE_BYTES_MAX;
        let mut packed = Packed {
            data: Vec::new(),
            segments: Vec::new(),
            buffers: Vec::with_capacity(buffers.len() + 1),
        };
        if is_stream_inline {
            packed.data.extend_from_slice(stream);
        }
        let mut outside = Vec::new();
        for (index, buffer) in buffers.iter().enumerate() {
            let inline = is_stream_inline && packed.append(buffer);
            if !inline {
                outside.push(index);
                packed.buffers.push(nowhere(buffer));
            }
        }
        packed.share(&mut outside, buffers, shelf)?;
        let mut parts: Vec<&[u8]> = outside.iter().map(|&index| buffers[index]).collect();
        if !is_stream_inline {
            outside.push(packed.buffers.len());
            packed.buffers.push(nowhere(stream));
            parts.push(stream);
        }
        if !parts.is_empty() {
            let (segment, offsets) = shelf.put(&parts)?;
            for (index, offset) in outside.into_iter().zip(offsets) {
                packed.buffers[index].segment = packed.next_segment();
                packed.buffers[index].offset = offset;
            }
            packed.segments.push(segment);
        }
        Ok(packed)
    }

    /// Puts a buffer behind the stream if there is room; whether there was.
    fn append(&mut self, buffer: &[u8]) -> bool {
        let offset = self.data.len().next_multiple_of(INLINE_ALIGNMENT);
        if offset + buffer.len() > INLINE_BYTES_MAX {
            return false;
        }
        self.data.resize(offset, 0);
        self.data.extend_from_slice(buffer);
        self.buffers.push(BufferRef {
            segment: INLINE_SEGMENT,
            offset: offset as u64,
            bytes: buffer.len() as u64,
        });
        true
    }

    /// Gives the largest of the buffers that are `outside` segments of their own; leaves the others.
    fn share(
        &mut self,
        outside: &mut Vec<usize>,
        buffers: &[&[u8]],
        shelf: &impl Shelf<Segment = S>,
    ) -> Result<(), StoreError> {
        let large = outside.iter().copied();
        let mut large: Vec<usize> = large
            .filter(|&index| buffers[index].len() >= SHARED_BYTES_MIN)
            .collect();
        large.sort_by_key(|&index| std::cmp::Reverse(buffers[index].len()));
        large.truncate(SHARED_MAX);
        large.sort_unstable();
        for &index in &large {
            let Some(segment) = shelf.share(buffers[index]) else {
                return Ok(());
            };
            self.buffers[index].segment = self.next_segment();
            self.segments.push(segment?);
        }
        outside.retain(|index| large.binary_search(index).is_err());
        Ok(())
    }

    fn next_segment(&self) -> u32 {
        u32::try_from(self.segments.len()).expect("a value has few segments")
    }
}

/// A buffer whose place is yet to be found.
fn nowhere(buffer: &[u8]) -> BufferRef {
    BufferRef {
        segment: 0,
        offset: 0,
        bytes: buffer.len() as u64,
    }
}

/// Where a buffer of a value is found again.
pub enum Place<'a> {
    /// Behind the stream.
    Inline(&'a [u8]),
    /// These bytes of a segment.
    Segment {
        index: usize,
        from: usize,
        to: usize,
    },
}

impl<'a> Place<'a> {
    /// The place of a buffer of a value whose soundness was checked when it arrived.
    pub fn of(buffer: &BufferRef, data: &'a [u8]) -> Place<'a> {
        let index = |number: u64| usize::try_from(number).expect("it lies in memory");
        let (from, to) = (index(buffer.offset), index(buffer.offset + buffer.bytes));
        if buffer.segment == INLINE_SEGMENT {
            return Place::Inline(&data[from..to]);
        }
        Place::Segment {
            index: buffer.segment as usize,
            from,
            to,
        }
    }
}
