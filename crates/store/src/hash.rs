//! Content hashes at memory speed. Pure; any thread may call it.

use std::thread;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::limits::{HASH_TWO_THREADS_BYTES_MIN, SAMPLE_BYTES, SAMPLES};

/// A 128 bit hash of the content of a buffer.
///
/// Not cryptographic: it proves that a buffer was not changed by accident, which is all that
/// telling a live array from its stored copy needs. Both come from the same program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(u128);

/// Hashes `bytes`. Large buffers are hashed in two halves by two threads; the value depends on the
/// bytes only, not on whether the second thread could be started.
pub fn content_hash(bytes: &[u8]) -> ContentHash {
    if bytes.len() < HASH_TWO_THREADS_BYTES_MIN {
        return ContentHash(xxh3_128(bytes));
    }
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let (first, second) = thread::scope(|scope| {
        let helper = thread::Builder::new()
            .name("lineshaft-hash".into())
            .spawn_scoped(scope, || xxh3_128(second));
        let first = xxh3_128(first);
        // The system may refuse a thread; the hash is then late, not wrong.
        let second = helper.ok().and_then(|helper| helper.join().ok());
        (
            first,
            second.unwrap_or_else(|| xxh3_128(bytes.split_at(bytes.len() / 2).1)),
        )
    });
    let mut both = [0; 32];
    both[..16].copy_from_slice(&first.to_le_bytes());
    both[16..].copy_from_slice(&second.to_le_bytes());
    ContentHash(xxh3_128(&both))
}

/// Hashes `edge_bytes` at both ends of a large buffer, and samples of what lies between.
pub(crate) fn sample_hash(bytes: &[u8], edge_bytes: usize) -> ContentHash {
    let mut hash = Xxh3Default::new();
    hash.update(&bytes[..edge_bytes]);
    let step = (bytes.len() - SAMPLE_BYTES) / SAMPLES;
    for sample in 1..SAMPLES {
        hash.update(&bytes[sample * step..][..SAMPLE_BYTES]);
    }
    hash.update(&bytes[bytes.len() - edge_bytes..]);
    ContentHash(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_byte_counts() {
        for len in [1, 1000, HASH_TWO_THREADS_BYTES_MIN + 3] {
            let mut bytes = vec![7; len];
            let before = content_hash(&bytes);
            assert_eq!(before, content_hash(&bytes));
            for at in [0, len / 2, len - 1] {
                bytes[at] ^= 1;
                assert_ne!(before, content_hash(&bytes), "byte {at} of {len}");
                bytes[at] ^= 1;
            }
        }
    }
}
