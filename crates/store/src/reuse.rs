//! Mappings that are kept for the next task that reads the same segment.
//!
//! Mapping a segment is cheap; touching its pages for the first time is not: the kernel enters
//! every page into the page table one by one, and takes it out again afterwards. For an array that
//! many tasks read this costs several times more than reading it. So a worker keeps a mapping when
//! a task is done with it, provided that the task has not written to it: the next task must see
//! the segment's bytes, not its predecessor's.
//!
//! Whether a private page was written to is told by the page table itself: such a page is
//! anonymous, while an untouched one still belongs to the file. `/proc/self/pagemap` shows that in
//! bit 61 of its entries; see `Documentation/admin-guide/mm/pagemap.rst` of the kernel. Looking through it takes
//! a third as long as reading the array. But the first write to a page is a page fault: if this process has had
//! none since a mapping was last found untouched, it still is. (Not so if another process writes into this one's
//! memory, as by `process_vm_writev(2)`: who does that to a task's arguments finds it in the next task's.)
//!
//! Kept mappings hold their memory, so they are few, and their owner clears them when it idles.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::fstat;

use crate::error::StoreError;
use crate::limits::{KEPT_BYTES_MIN, KEPT_MAPS_MAX};
use crate::map::{PrivateMap, map_fd_private};

/// Mappings that are kept for the next use of the same segment. One per process.
#[derive(Debug, Default)]
pub struct MapCache {
    /// The one given back last is last.
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    file: FileId,
    map: PrivateMap,
    /// Before it was last found untouched.
    faults: Option<Faults>,
}

/// The page faults that a process has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Faults {
    minor: i64,
    major: i64,
}

/// Which file is mapped. While it is mapped, no other file can have the same identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    bytes: u64,
}

/// A mapping that goes back to its cache when it is dropped untouched.
#[derive(Debug)]
pub struct ReusableMap {
    /// `None` only while it is dropped.
    map: Option<PrivateMap>,
    file: FileId,
    /// Before it was last found untouched.
    faults: Option<Faults>,
    cache: Arc<MapCache>,
}

impl MapCache {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps the first `bytes` bytes of a segment copy-on-write, as [`map_fd_private`] does.
    pub fn map(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        bytes: u64,
    ) -> Result<ReusableMap, StoreError> {
        let stat = fstat(fd).map_err(|errno| StoreError::Io {
            call: "fstat",
            errno,
        })?;
        let file = FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
            bytes,
        };
        let known = {
            let mut kept = self.kept();
            let at = kept.iter().position(|kept| kept.file == file);
            at.and_then(|at| kept.remove(at))
        };
        let (map, faults) = match known {
            Some(kept) => (kept.map, kept.faults),
            None => (map_fd_private(fd, bytes)?, None),
        };
        Ok(ReusableMap {
            map: Some(map),
            file,
            faults,
            cache: Arc::clone(self),
        })
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// Lets go of everything.
    pub fn clear(&self) {
        // Taken out first: unmapping takes a while and needs no lock.
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    fn give_back(&self, file: FileId, map: PrivateMap, then: Option<Faults>) {
        if file.bytes < KEPT_BYTES_MIN {
            return;
        }
        let now = faults();
        if (now.is_none() || now != then) && !is_untouched(&map) {
            return;
        }
        let kept = Kept {
            file,
            map,
            faults: now,
        };
        let oldest = {
            let mut all = self.kept();
            all.push_back(kept);
            if all.len() > KEPT_MAPS_MAX {
                all.pop_front()
            } else {
                None
            }
        };
        drop(oldest);
    }
}

impl AsMut<[u8]> for ReusableMap {
    fn as_mut(&mut self) -> &mut [u8] {
        self.map
            .as_mut()
            .expect("only dropping takes the map away")
            .as_mut()
    }
}

impl Drop for ReusableMap {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.cache.give_back(self.file, map, self.faults);
        }
    }
}

fn faults() -> Option<Faults> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(Faults {
        minor: usage.minor_page_faults(),
        major: usage.major_page_faults(),
    })
}

const ENTRY_BYTES: usize = 8;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// Whether no page of the mapping was ever written to. No, if that cannot be told.
fn is_untouched(map: &PrivateMap) -> bool {
    let page_bytes = rustix::param::page_size();
    let first = map.as_ptr() as usize / page_bytes;
    let mut pages = map.len().div_ceil(page_bytes);
    let Ok(pagemap) = File::open("/proc/self/pagemap") else {
        return false;
    };
    let mut offset = first * ENTRY_BYTES;
    let mut entries = [0_u8; 16 * 1024];
    while pages > 0 {
        let bytes = (pages * ENTRY_BYTES).min(entries.len());
        if pagemap
            .read_exact_at(&mut entries[..bytes], offset as u64)
            .is_err()
        {
            return false;
        }
        let touched = |entry: &[u8; ENTRY_BYTES]| {
            let entry = u64::from_ne_bytes(*entry);
            entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0
        };
        if entries[..bytes]
            .as_chunks::<ENTRY_BYTES>()
            .0
            .iter()
            .any(touched)
        {
            return false;
        }
        offset += bytes;
        pages -= bytes / ENTRY_BYTES;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{Store, StoreOptions};

    fn segment(byte: u8) -> (Store, Arc<crate::Segment>) {
        let options = StoreOptions {
            budget_bytes: 1 << 30,
            spill_dir: std::env::temp_dir(),
            spill_max_bytes: None,
        };
        let store = Store::new(options).unwrap();
        let bytes = vec![byte; usize::try_from(KEPT_BYTES_MIN).unwrap()];
        let (segment, _) = store.put(&[&bytes]).unwrap();
        (store, segment)
    }

    fn map(cache: &Arc<MapCache>, segment: &crate::Segment) -> ReusableMap {
        cache
            .map(segment.fd().unwrap().as_fd(), segment.bytes())
            .unwrap()
    }

    #[test]
    fn what_was_only_read_is_mapped_once() {
        let (_store, segment) = segment(7);
        let cache = Arc::new(MapCache::default());
        let mut first = map(&cache, &segment);
        let address = first.as_mut().as_ptr();
        assert!(first.as_mut().iter().all(|&byte| byte == 7));
        drop(first);
        assert_eq!(map(&cache, &segment).as_mut().as_ptr(), address);
    }

    #[test]
    fn what_was_written_to_is_not_seen_by_the_next() {
        for reads_before in 0..3 {
            let (_store, segment) = segment(7);
            let cache = Arc::new(MapCache::default());
            for _ in 0..reads_before {
                assert!(map(&cache, &segment).as_mut().iter().all(|&byte| byte == 7));
            }
            let mut writes = map(&cache, &segment);
            *writes.as_mut().last_mut().unwrap() = 8;
            drop(writes);
            assert!(cache.is_empty());
            assert_eq!(map(&cache, &segment).as_mut().last(), Some(&7));
        }
    }

    #[test]
    fn two_at_a_time_do_not_share() {
        let (_store, segment) = segment(7);
        let cache = Arc::new(MapCache::default());
        let (mut first, mut second) = (map(&cache, &segment), map(&cache, &segment));
        first.as_mut()[0] = 1;
        assert_eq!(second.as_mut()[0], 7);
    }

    #[test]
    fn few_are_kept() {
        let cache = Arc::new(MapCache::default());
        for byte in 0..10 {
            let (_store, segment) = segment(byte);
            drop(map(&cache, &segment));
        }
        assert_eq!(cache.kept().len(), KEPT_MAPS_MAX);
        cache.clear();
        assert!(cache.is_empty());
    }
}
