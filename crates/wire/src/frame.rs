//! The format of a frame: its length in four bytes, little-endian, then one message in postcard.
//!
//! A frame of length zero holds no message. It carries descriptors, and the receiver skips it: one
//! system call passes only so many of them, and each call must send at least one byte.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::limits::FRAME_MAX_BYTES;

/// Bytes of the length word.
pub(crate) const HEADER_BYTES: usize = 4;

/// Appends one frame to `buffer`. On an error the buffer is as it was.
pub(crate) fn append<M: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    message: &M,
) -> Result<(), WireError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    let body = start + HEADER_BYTES;
    let mut too_long = false;
    let flavor = Body {
        buffer,
        end_max: body + FRAME_MAX_BYTES,
        too_long: &mut too_long,
    };
    let encoded = postcard::serialize_with_flavor(message, flavor);
    let error = match (encoded, too_long) {
        (Ok(()), _) => {
            let length = buffer.len() - body;
            assert!(
                length > 0,
                "a frame without bytes would be taken for a carrier"
            );
            let length = u32::try_from(length).expect("the flavor stops at FRAME_MAX_BYTES");
            buffer[start..body].copy_from_slice(&length.to_le_bytes());
            return Ok(());
        }
        (Err(_), true) => WireError::FrameTooLong {
            bytes: FRAME_MAX_BYTES + 1,
        },
        (Err(error), false) => WireError::Encode(error),
    };
    buffer.truncate(start);
    Err(error)
}

/// Appends a frame that carries nothing but descriptors.
pub(crate) fn append_carrier(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
}

/// The length of the body of the frame at the start of `bytes`, if its length word is there.
pub(crate) fn body_length(bytes: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    match usize::try_from(u32::from_le_bytes(*header)) {
        Ok(length) if length <= FRAME_MAX_BYTES => Ok(Some(length)),
        too_long => Err(WireError::FrameTooLong {
            bytes: too_long.unwrap_or(usize::MAX),
        }),
    }
}

/// The message in a frame, which may borrow from it. The whole frame must be the message.
pub fn decode<'a, M: Deserialize<'a>>(frame: &'a [u8]) -> Result<M, WireError> {
    let (message, rest) = postcard::take_from_bytes(frame).map_err(WireError::Decode)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(WireError::TrailingBytes { bytes: rest.len() })
    }
}

/// Lets postcard write straight into the send buffer, up to the limit of a frame.
struct Body<'a> {
    buffer: &'a mut Vec<u8>,
    /// Length of the buffer at which the frame is too long.
    end_max: usize,
    /// Set when the limit was hit, which postcard's error cannot tell.
    too_long: &'a mut bool,
}

impl Body<'_> {
    #[cold]
    fn stop(&mut self) -> postcard::Result<()> {
        *self.too_long = true;
        Err(postcard::Error::SerializeBufferFull)
    }
}

impl Flavor for Body<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if data.len() > self.end_max - self.buffer.len() {
            return self.stop();
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.buffer.len() == self.end_max {
            return self.stop();
        }
        self.buffer.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
