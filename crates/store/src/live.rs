//! Stores a live buffer once, however many tasks it is handed to.
//!
//! Programs pass the same array to thousands of calls. Its address and length find the segment that
//! was made of it before; a hash of its content, computed anew on each call, proves that it was not
//! changed since, or replaced by another array at the same address. A buffer found changed is
//! stored anew; segments are immutable, so earlier tasks keep what they were given.
//!
//! Entries are weak: remembering a buffer never keeps its segment alive. Any thread may call it; the
//! lock is not held while hashing or storing, so two threads that bring the same new buffer at the
//! same moment store it twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::error::StoreError;
use crate::hash::{ContentHash, content_hash};
use crate::limits::{HASH_TWO_THREADS_BYTES_MIN, LIVE_BUFFERS_MAX};
use crate::segment::Segment;
use crate::store::Store;

/// Where a buffer lies in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    address: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    segment: Weak<Segment>,
    hash: ContentHash,
    /// Grows with each use of any entry; the smallest one is forgotten first.
    last_use: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_place: HashMap<Place, Entry>,
    uses: u64,
}

/// The live buffers of this process that were stored, each as one segment.
#[derive(Debug, Default)]
pub struct LiveBuffers {
    entries: Mutex<Entries>,
}

impl LiveBuffers {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The segment that holds exactly `bytes`: the one made of this buffer before if it still
    /// exists and the buffer has not changed, else a new one.
    pub fn get_or_put(&self, store: &Store, bytes: &[u8]) -> Result<Arc<Segment>, StoreError> {
        let place = Place {
            address: bytes.as_ptr().addr(),
            bytes: bytes.len(),
        };
        let Some((segment, hash_then)) = self.lookup(place) else {
            let (hash, segment) = hash_and_put(store, bytes);
            let segment = segment?;
            self.insert(place, &segment, hash);
            return Ok(segment);
        };
        let hash_now = content_hash(bytes);
        if hash_now == hash_then {
            return Ok(segment);
        }
        // Freed first if nobody else holds it, so that the old and the new copy need not fit both.
        drop(segment);
        let (segment, _) = store.put(&[bytes])?;
        self.insert(place, &segment, hash_now);
        Ok(segment)
    }

    fn lookup(&self, place: Place) -> Option<(Arc<Segment>, ContentHash)> {
        let mut entries = self.lock();
        entries.uses += 1;
        let last_use = entries.uses;
        let entry = entries.by_place.get_mut(&place)?;
        entry.last_use = last_use;
        Some((entry.segment.upgrade()?, entry.hash))
    }

    fn insert(&self, place: Place, segment: &Arc<Segment>, hash: ContentHash) {
        let mut entries = self.lock();
        let is_full = entries.by_place.len() >= LIVE_BUFFERS_MAX;
        if is_full && !entries.by_place.contains_key(&place) {
            entries.make_room();
        }
        entries.uses += 1;
        let entry = Entry {
            segment: Arc::downgrade(segment),
            hash,
            last_use: entries.uses,
        };
        entries.by_place.insert(place, entry);
        assert!(entries.by_place.len() <= LIVE_BUFFERS_MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The map is a cache of which every state is valid.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Forgets buffers whose segments are gone, or else the one used longest ago.
    fn make_room(&mut self) {
        self.by_place
            .retain(|_, entry| entry.segment.strong_count() > 0);
        if self.by_place.len() < LIVE_BUFFERS_MAX {
            return;
        }
        let oldest = self.by_place.iter().min_by_key(|(_, entry)| entry.last_use);
        if let Some(&place) = oldest.map(|(place, _)| place) {
            self.by_place.remove(&place);
        }
    }
}

/// Hashes a large buffer while it is written: the copy is bound by the kernel, the hash by memory.
fn hash_and_put(store: &Store, bytes: &[u8]) -> (ContentHash, Result<Arc<Segment>, StoreError>) {
    let put = || store.put(&[bytes]).map(|(segment, _)| segment);
    if bytes.len() < HASH_TWO_THREADS_BYTES_MIN {
        return (content_hash(bytes), put());
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("lineshaft-hash".into());
        let hash = builder.spawn_scoped(scope, || content_hash(bytes));
        let segment = put();
        let hash = hash.ok().and_then(|hash| hash.join().ok());
        (hash.unwrap_or_else(|| content_hash(bytes)), segment)
    })
}
