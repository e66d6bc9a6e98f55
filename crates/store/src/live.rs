//! Stores a live buffer once, however many tasks it is handed to.
//!
//! Programs pass the same array to thousands of calls. Its address and length find the segment that
//! was made of it before; then it has to be proved that it was not changed since, or replaced by
//! another array at the same address. A buffer found changed is stored anew; segments are immutable,
//! so earlier tasks keep what they were given.
//!
//! The proof is a hash of the content. A large buffer that comes a second time is watched for writes
//! from before it is hashed (see `unwritten`); from then on the kernel's word replaces the hash, as
//! long as it says that nobody has written. What the kernel does not see is compared all the same:
//! the edges of the buffer, and samples of it, lest a device has filled it past the page table.
//!
//! Watching some pages anew forgets what was written to them before, so a buffer that shares pages
//! with another is not watched at the same time as that one.
//!
//! Entries are weak: remembering a buffer never keeps its segment alive. Who hands the same buffers to
//! one task after the other says so ([`LiveBuffers::keep`]), for else the segment is gone whenever the
//! tasks that have it end before the next one is made. Then a few segments stay, of buffers that have come
//! again: what comes once is not kept.
//!
//! Any thread may call it; the lock is held while samples are compared, and not while a buffer is hashed
//! whole or stored, so two threads that bring the same new buffer at the same moment store it twice.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::error::StoreError;
use crate::hash::{ContentHash, content_hash, sample_hash};
use crate::limits::{
    HASH_TWO_THREADS_BYTES_MIN, KEPT_SEGMENTS_MAX, LIVE_BUFFERS_MAX, WATCHED_BYTES_MIN,
};
use crate::segment::Segment;
use crate::store::Store;
use crate::unwritten::{WriteWatch, whole_pages};

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
    watch: Watch,
    /// Grows with each use of any entry; the smallest one is forgotten first.
    last_use: u64,
}

/// Whether the pages of a buffer are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Watch {
    /// No.
    Off,
    /// Since this use, of which the content is not proved yet.
    Begun { pages: Range<usize>, by_use: u64 },
    /// Since before the content was last proved. With a hash of what the kernel does not see.
    Proved {
        pages: Range<usize>,
        samples: ContentHash,
    },
}

/// What is known of a buffer that was stored before.
enum Known {
    /// Its segment, which holds what it held then.
    Proved(Arc<Segment>),
    /// Its segment and the hash of it, to be compared.
    Doubtful {
        segment: Arc<Segment>,
        hash: ContentHash,
        by_use: u64,
    },
}

#[derive(Debug, Default)]
struct Entries {
    by_place: HashMap<Place, Entry>,
    uses: u64,
    /// How many callers want segments to be kept.
    keepers: usize,
    /// Segments that are kept; the one that came last is last.
    kept: VecDeque<Arc<Segment>>,
    /// Opened at the first need; `None` inside if the kernel cannot watch.
    write_watch: OnceCell<Option<WriteWatch>>,
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

    /// Keeps segments of buffers that come again, until `let_go` has been called as often.
    pub fn keep(&self) {
        self.lock().keepers += 1;
    }

    /// Ends what `keep` began.
    pub fn let_go(&self) {
        let mut entries = self.lock();
        assert!(entries.keepers > 0, "who lets go has kept");
        entries.keepers -= 1;
        let unwanted = if entries.keepers == 0 {
            std::mem::take(&mut entries.kept)
        } else {
            VecDeque::new()
        };
        drop(entries);
        drop(unwanted);
    }

    /// The segment that holds exactly `bytes`: the one made of this buffer before if it still
    /// exists and the buffer has not changed, else a new one.
    pub fn get_or_put(&self, store: &Store, bytes: &[u8]) -> Result<Arc<Segment>, StoreError> {
        let place = Place {
            address: bytes.as_ptr().addr(),
            bytes: bytes.len(),
        };
        // Not within the match: the lock would be held to its end.
        let known = self.lock().look_up(place, bytes);
        let (segment, hash_then, by_use) = match known {
            Some(Known::Proved(segment)) => return Ok(self.kept(segment)),
            Some(Known::Doubtful {
                segment,
                hash,
                by_use,
            }) => (segment, hash, by_use),
            None => {
                let (hash, segment) = hash_and_put(store, bytes);
                let segment = segment?;
                let comes_again = self.lock().insert(place, &segment, hash);
                return Ok(if comes_again {
                    self.kept(segment)
                } else {
                    segment
                });
            }
        };
        // In this order: what changes after the samples were taken is found by the hash.
        let samples = can_be_watched(bytes).then(|| samples(bytes));
        let hash_now = content_hash(bytes);
        if hash_now == hash_then {
            if let Some(samples) = samples {
                self.lock().prove(place, by_use, samples);
            }
            return Ok(self.kept(segment));
        }
        // Freed first if nobody else holds it, so that the old and the new copy need not fit both.
        self.lock().kept.retain(|kept| !Arc::ptr_eq(kept, &segment));
        drop(segment);
        let (segment, _) = store.put(&[bytes])?;
        self.lock().insert(place, &segment, hash_now);
        Ok(segment)
    }

    /// The same segment, which is kept if somebody wants that.
    fn kept(&self, segment: Arc<Segment>) -> Arc<Segment> {
        let mut entries = self.lock();
        if entries.keepers == 0 {
            return segment;
        }
        let is_new = !entries.kept.iter().any(|kept| Arc::ptr_eq(kept, &segment));
        if is_new {
            entries.kept.push_back(Arc::clone(&segment));
        }
        let oldest = if entries.kept.len() > KEPT_SEGMENTS_MAX {
            entries.kept.pop_front()
        } else {
            None
        };
        drop(entries);
        drop(oldest);
        segment
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The map is a cache of which every state is valid.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn look_up(&mut self, place: Place, bytes: &[u8]) -> Option<Known> {
        self.uses += 1;
        let by_use = self.uses;
        let entry = self.by_place.get_mut(&place)?;
        entry.last_use = by_use;
        let segment = entry.segment.upgrade()?;
        let hash = entry.hash;
        if let Watch::Proved { pages, samples } = &entry.watch
            && let Some(Some(watch)) = self.write_watch.get()
            && *samples == self::samples(bytes)
            && watch.is_unwritten(pages)
        {
            return Some(Known::Proved(segment));
        }
        if can_be_watched(bytes) {
            self.begin_watch(place, whole_pages(bytes), by_use);
        }
        Some(Known::Doubtful {
            segment,
            hash,
            by_use,
        })
    }

    fn begin_watch(&mut self, place: Place, pages: Range<usize>, by_use: u64) {
        let Some(watch) = self.write_watch.get_or_init(WriteWatch::open) else {
            return;
        };
        // What was written to pages that others share with it would be forgotten.
        for entry in self.by_place.values_mut() {
            if let Watch::Begun { pages: other, .. } | Watch::Proved { pages: other, .. } =
                &entry.watch
                && other.start < pages.end
                && pages.start < other.end
            {
                entry.watch = Watch::Off;
            }
        }
        if watch.watch(&pages)
            && let Some(entry) = self.by_place.get_mut(&place)
        {
            entry.watch = Watch::Begun { pages, by_use };
        }
    }

    /// The content was found to be what it was when the watch began, if it is still the same watch.
    fn prove(&mut self, place: Place, by_use: u64, samples: ContentHash) {
        if let Some(entry) = self.by_place.get_mut(&place)
            && let Watch::Begun {
                pages,
                by_use: begun,
            } = &entry.watch
            && *begun == by_use
        {
            entry.watch = Watch::Proved {
                pages: pages.clone(),
                samples,
            };
        }
    }

    /// Remembers a buffer; whether it was known with the same content.
    fn insert(&mut self, place: Place, segment: &Arc<Segment>, hash: ContentHash) -> bool {
        if self.by_place.len() >= LIVE_BUFFERS_MAX && !self.by_place.contains_key(&place) {
            self.make_room();
        }
        self.uses += 1;
        let entry = Entry {
            segment: Arc::downgrade(segment),
            hash,
            watch: Watch::Off,
            last_use: self.uses,
        };
        let old = self.by_place.insert(place, entry);
        if let Some(old) = &old {
            self.forget_watch(old);
        }
        assert!(self.by_place.len() <= LIVE_BUFFERS_MAX);
        old.is_some_and(|old| old.hash == hash)
    }

    /// Forgets buffers whose segments are gone, or else the one used longest ago.
    fn make_room(&mut self) {
        let gone: Vec<Place> = self
            .by_place
            .iter()
            .filter(|(_, entry)| entry.segment.strong_count() == 0)
            .map(|(&place, _)| place)
            .collect();
        let oldest = || self.by_place.iter().min_by_key(|(_, entry)| entry.last_use);
        let leaving = if gone.is_empty() {
            oldest().map(|(&place, _)| place).into_iter().collect()
        } else {
            gone
        };
        for place in leaving {
            if let Some(entry) = self.by_place.remove(&place) {
                self.forget_watch(&entry);
            }
        }
    }

    /// Writing to the pages of a buffer that nobody asks for need not cost anything any more.
    fn forget_watch(&self, entry: &Entry) {
        if let Watch::Begun { pages, .. } | Watch::Proved { pages, .. } = &entry.watch
            && let Some(Some(watch)) = self.write_watch.get()
        {
            watch.forget(pages);
        }
    }
}

fn can_be_watched(bytes: &[u8]) -> bool {
    bytes.len() >= WATCHED_BYTES_MIN
}

/// A hash of what the kernel does not see: the parts of pages at the edges, and some of the rest.
fn samples(bytes: &[u8]) -> ContentHash {
    sample_hash(bytes, rustix::param::page_size())
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
