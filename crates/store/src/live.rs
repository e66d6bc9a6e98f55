//! Stores a live buffer once, however many tasks it is handed to.
//!
//! Programs pass the same array to thousands of calls. Its address and length find the segment that
//! was made of it before; then it has to be proved that it was not changed since, or replaced by
//! another array at the same address. A buffer found changed is stored anew; segments are immutable,
//! so earlier tasks keep what they were given.
//!
//! The proof is a hash of the content; that of a segment is made when it is needed first. A large buffer that
//! comes a second time is watched for writes from before it is hashed (see `unwritten`); from then on the kernel's
//! word replaces the hash, as long as it says that nobody has written. What the kernel does not see is compared
//! all the same: the edges of the buffer, and samples of it, lest a device has filled it past the page table.
//!
//! Watching some pages anew forgets what was written to them before, so a buffer that shares pages
//! with another is not watched at the same time as that one.
//!
//! Entries are weak: remembering a buffer never keeps its segment alive. Who hands the same buffers to
//! one task after the other says so ([`LiveBuffers::keep`]), for else the segment is gone whenever the
//! tasks that have it end before the next one is made. Then a few segments stay, of buffers that have come
//! again: what comes once is not kept. To know that a buffer comes again whose segment is gone, it is watched
//! from before it is stored for the first time, or else hashed then.
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
    /// Of nothing while it is stored for the first time.
    segment: Weak<Segment>,
    /// Once somebody needed it.
    hash: Option<ContentHash>,
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

/// What is known of a buffer.
enum Known {
    /// It was stored, and this segment holds what the buffer holds now.
    Proved(Arc<Segment>),
    /// It was stored, and may have changed.
    Doubtful {
        segment: Arc<Segment>,
        hash: Option<ContentHash>,
        by_use: u64,
    },
    /// There is no segment of it.
    New { by_use: u64, recognise: Recognise },
}

/// How a new buffer is known again when it comes after its segment is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recognise {
    /// Nobody wants that.
    No,
    /// By its hash.
    ByHash,
    /// It is watched, and it is the same as the last time or not.
    ByWatch { comes_again: bool },
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
            Known::Proved(segment) => return Ok(self.kept(segment)),
            Known::New { by_use, recognise } => {
                let (segment, comes_again) = self.put(store, place, bytes, by_use, recognise)?;
                return Ok(if comes_again {
                    self.kept(segment)
                } else {
                    segment
                });
            }
            Known::Doubtful {
                segment,
                hash,
                by_use,
            } => (segment, hash, by_use),
        };
        // In this order: what changes after the samples were taken is found by the hash.
        let samples = can_be_watched(bytes).then(|| samples(bytes));
        let hash_now = content_hash(bytes);
        let hash_then = match hash_then {
            Some(hash) => hash,
            None => content_hash(&segment.map()?),
        };
        if hash_now == hash_then {
            self.lock().prove(place, by_use, hash_now, samples);
            return Ok(self.kept(segment));
        }
        // Freed first if nobody else holds it, so that the old and the new copy need not fit both.
        self.lock().kept.retain(|kept| !Arc::ptr_eq(kept, &segment));
        drop(segment);
        let (segment, _) = store.put(&[bytes])?;
        self.lock().insert(place, &segment, Some(hash_now));
        Ok(segment)
    }

    /// Stores a buffer of which there is no segment; and whether it is known to come again.
    fn put(
        &self,
        store: &Store,
        place: Place,
        bytes: &[u8],
        by_use: u64,
        recognise: Recognise,
    ) -> Result<(Arc<Segment>, bool), StoreError> {
        match recognise {
            Recognise::No => {
                let (segment, _) = store.put(&[bytes])?;
                self.lock().insert(place, &segment, None);
                Ok((segment, false))
            }
            Recognise::ByHash => {
                let (hash, segment) = hash_and_put(store, bytes);
                let segment = segment?;
                let comes_again = self.lock().insert(place, &segment, Some(hash));
                Ok((segment, comes_again))
            }
            Recognise::ByWatch { comes_again } => {
                // In this order: what changes after the samples were taken is in the segment, or the kernel saw it.
                let samples = samples(bytes);
                let (segment, _) = store.put(&[bytes])?;
                self.lock().fill(place, by_use, &segment, samples);
                Ok((segment, comes_again))
            }
        }
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
    fn look_up(&mut self, place: Place, bytes: &[u8]) -> Known {
        self.uses += 1;
        let by_use = self.uses;
        let is_proved = self.is_proved(place, bytes);
        let entry = self.by_place.get_mut(&place);
        let Some((segment, entry)) =
            entry.and_then(|entry| Some((entry.segment.upgrade()?, entry)))
        else {
            let recognise = self.recognise(place, bytes, by_use, is_proved);
            return Known::New { by_use, recognise };
        };
        entry.last_use = by_use;
        if is_proved {
            return Known::Proved(segment);
        }
        let hash = entry.hash;
        if can_be_watched(bytes) {
            self.begin_watch(place, whole_pages(bytes), by_use);
        }
        Known::Doubtful {
            segment,
            hash,
            by_use,
        }
    }

    /// Whether a buffer is certainly what it was when it was last handed over.
    fn is_proved(&self, place: Place, bytes: &[u8]) -> bool {
        if let Some(entry) = self.by_place.get(&place)
            && let Watch::Proved { pages, samples } = &entry.watch
            && let Some(Some(watch)) = self.write_watch.get()
        {
            *samples == self::samples(bytes) && watch.is_unwritten(pages)
        } else {
            false
        }
    }

    /// How a buffer that has no segment will be known again. If by a watch, that begins now.
    fn recognise(
        &mut self,
        place: Place,
        bytes: &[u8],
        by_use: u64,
        comes_again: bool,
    ) -> Recognise {
        if self.keepers == 0 {
            return Recognise::No;
        }
        if !can_be_watched(bytes) {
            return Recognise::ByHash;
        }
        let pages = whole_pages(bytes);
        // Watching it would end the watch of others, of which there may be no hash.
        let overlaps = |(&other, entry): (&Place, &Entry)| {
            other != place && entry.watch.pages().is_some_and(|other| meet(other, &pages))
        };
        let watches = !self.by_place.iter().any(overlaps)
            && (self.write_watch.get_or_init(WriteWatch::open).as_ref())
                .is_some_and(|watch| watch.watch(&pages));
        if !watches {
            return Recognise::ByHash;
        }
        self.make_room_for(place);
        let entry = Entry {
            segment: Weak::new(),
            hash: None,
            watch: Watch::Begun { pages, by_use },
            last_use: by_use,
        };
        self.by_place.insert(place, entry);
        Recognise::ByWatch { comes_again }
    }

    /// Watches the pages of a buffer that is remembered, from now on, if they can be.
    fn begin_watch(&mut self, place: Place, pages: Range<usize>, by_use: u64) {
        let Some(watch) = self.write_watch.get_or_init(WriteWatch::open) else {
            return;
        };
        // What was written to pages that others share with it would be forgotten.
        for entry in self.by_place.values_mut() {
            if entry.watch.pages().is_some_and(|other| meet(other, &pages)) {
                entry.watch = Watch::Off;
            }
        }
        if watch.watch(&pages)
            && let Some(entry) = self.by_place.get_mut(&place)
        {
            entry.watch = Watch::Begun { pages, by_use };
        }
    }

    /// The content was found to be what it was when it was stored, and when the watch began, if it is still the
    /// same watch.
    fn prove(
        &mut self,
        place: Place,
        by_use: u64,
        hash: ContentHash,
        samples: Option<ContentHash>,
    ) {
        let Some(entry) = self.by_place.get_mut(&place) else {
            return;
        };
        if entry.last_use == by_use {
            entry.hash = Some(hash);
        }
        if let Some(samples) = samples {
            entry.watch.prove(by_use, samples);
        }
    }

    /// A buffer that is watched was stored.
    fn fill(&mut self, place: Place, by_use: u64, segment: &Arc<Segment>, samples: ContentHash) {
        match self.by_place.get_mut(&place) {
            Some(entry) if entry.last_use == by_use => {
                entry.segment = Arc::downgrade(segment);
                entry.watch.prove(by_use, samples);
            }
            // Another thread has brought it meanwhile, or many others.
            _ => {
                self.insert(place, segment, None);
            }
        }
    }

    /// Remembers a buffer; whether it was known with the same content.
    fn insert(&mut self, place: Place, segment: &Arc<Segment>, hash: Option<ContentHash>) -> bool {
        self.make_room_for(place);
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
        hash.is_some() && old.is_some_and(|old| old.hash == hash)
    }

    /// If need be, forgets buffers whose segments are gone, or else the one used longest ago.
    fn make_room_for(&mut self, place: Place) {
        if self.by_place.len() < LIVE_BUFFERS_MAX || self.by_place.contains_key(&place) {
            return;
        }
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
        if let Some(pages) = entry.watch.pages()
            && let Some(Some(watch)) = self.write_watch.get()
        {
            watch.forget(pages);
        }
    }
}

impl Watch {
    fn pages(&self) -> Option<&Range<usize>> {
        match self {
            Watch::Off => None,
            Watch::Begun { pages, .. } | Watch::Proved { pages, .. } => Some(pages),
        }
    }

    /// The content since it was begun is proved, if it is the watch that this use began.
    fn prove(&mut self, by_use: u64, samples: ContentHash) {
        if let Watch::Begun {
            pages,
            by_use: begun,
        } = self
            && *begun == by_use
        {
            *self = Watch::Proved {
                pages: pages.clone(),
                samples,
            };
        }
    }
}

fn meet(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
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
