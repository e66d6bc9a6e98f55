//! Where the parts of an object lie in its segment. Arithmetic only.

use crate::error::StoreError;
use crate::limits::ALIGNMENT;

/// The offsets of the parts of one segment and its length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) offsets: Vec<u64>,
    pub(crate) bytes: u64,
}

impl Layout {
    /// Lays the parts one behind the other, each at a multiple of [`ALIGNMENT`].
    pub(crate) fn of(parts: &[&[u8]]) -> Result<Layout, StoreError> {
        let mut offsets = Vec::with_capacity(parts.len());
        let mut end: u64 = 0;
        for part in parts {
            // The sum can only overflow if the same slice is passed many times over.
            let too_large = StoreError::TooLarge { bytes: u64::MAX };
            let Some(offset) = end.checked_next_multiple_of(ALIGNMENT) else {
                return Err(too_large);
            };
            offsets.push(offset);
            let Some(next) = offset.checked_add(part.len() as u64) else {
                return Err(too_large);
            };
            end = next;
        }
        // Lengths of files and of mappings are signed.
        if isize::try_from(end).is_err() {
            return Err(StoreError::TooLarge { bytes: end });
        }
        Ok(Layout {
            offsets,
            bytes: end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_and_do_not_overlap() {
        let layout = Layout::of(&[&[0; 10], &[], &[0; 64], &[0; 1]]).unwrap();
        assert_eq!(layout.offsets, [0, 64, 64, 128]);
        assert_eq!(layout.bytes, 129);
    }

    #[test]
    fn an_empty_last_part_lies_within_the_segment() {
        let layout = Layout::of(&[&[0; 10], &[]]).unwrap();
        assert_eq!(
            (layout.offsets.as_slice(), layout.bytes),
            ([0, 64].as_slice(), 64)
        );
        assert_eq!(
            Layout::of(&[]).unwrap(),
            Layout {
                offsets: vec![],
                bytes: 0
            }
        );
    }
}
