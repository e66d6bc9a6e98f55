//! The engine's side of the store: joins the ledger, which decides, with the file system, which
//! does.
//!
//! Any thread may call any method. [`Store::put`] may write to disk before it returns;
//! [`Store::adopt`] never does, so that a thread that must not wait can call it, and leaves
//! [`Store::relieve`] to another one.
//!
//! The ledger's lock is the only one, and it is never held over a system call. A segment that is
//! copied to disk is marked in the ledger meanwhile; whoever pins or frees it in that time wins, and
//! the copy is thrown away.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Medium, Pressure, StoreError};
use crate::file;
use crate::layout::Layout;
use crate::ledger::{Ledger, Owner, Owners, Relief, SpillEnd, Victim};
use crate::page::{BudgetPage, SharedPage};
use crate::segment::Segment;

/// What a store may use.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes of objects in memory. An object larger than this goes to disk at once.
    pub budget_bytes: u64,
    /// Where segments go that memory has no room for. Must exist; files there have no names.
    pub spill_dir: PathBuf,
    /// Bytes of objects in the spill directory, or no limit but the file system's.
    pub spill_max_bytes: Option<u64>,
}

/// The books at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Bytes of objects in memory, those being written included.
    pub used_bytes: u64,
    /// Bytes of objects on disk, those being written included.
    pub spilled_bytes: u64,
    /// Objects, wherever they are.
    pub segments: u64,
    /// The most that `used_bytes` has ever been.
    pub peak_bytes: u64,
    /// Objects that went to disk so far because memory had no room: moved there, or written there at once.
    pub spill_count: u64,
    /// Attempts to move an object to disk that the file system refused.
    pub failed_spill_count: u64,
}

/// Objects in shared memory, under a budget. See the crate's documentation.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// An empty store. Fails if the spill directory cannot be written to.
    pub fn new(options: StoreOptions) -> Result<Store, StoreError> {
        let StoreOptions {
            budget_bytes,
            spill_dir,
            spill_max_bytes,
        } = options;
        let page = SharedPage::<BudgetPage>::create()?;
        page.publish_limits(budget_bytes, spill_max_bytes);
        let shared = Shared {
            owner_pid: std::process::id(),
            ledger: Mutex::new(Ledger::new(budget_bytes, spill_max_bytes)),
            spill_ended: Condvar::new(),
            page,
            spill_limit_bytes: spill_max_bytes,
            // Overwritten below; the probe's error needs the numbers of the store.
            spill_device: 0,
            spill_dir,
        };
        let spill_device = file::spill_device(&shared.spill_dir)
            .map_err(|failure| failure.with_pressure(shared.pressure(0)))?;
        Ok(Store {
            shared: Arc::new(Shared {
                spill_device,
                ..shared
            }),
        })
    }

    /// Writes the parts one behind the other, each at a multiple of [`crate::ALIGNMENT`], into one
    /// new segment, which is the program's. Returns it with the offset of each part.
    ///
    /// Spills others if the budget has no room, and goes to disk itself if that does not help.
    pub fn put(&self, parts: &[&[u8]]) -> Result<(Arc<Segment>, Vec<u64>), StoreError> {
        let layout = Layout::of(parts)?;
        let reservation = self.shared.reserve(layout.bytes)?;
        let written = match reservation.medium {
            Medium::Memory => file::write_memfd(parts, &layout),
            Medium::Disk => file::write_spill_file(&self.shared.spill_dir, parts, &layout),
        };
        match written {
            Ok(fd) => Ok((reservation.seal(fd), layout.offsets)),
            Err(failure) => {
                // Before the books are read: what was not written takes no room.
                drop(reservation);
                Err(failure.with_pressure(self.shared.pressure(layout.bytes)))
            }
        }
    }

    /// Takes over a segment that a worker wrote and whose descriptor it passed, after checking that
    /// nobody can change it and that it is as long as announced. Never waits for the disk. `owner` is who wrote it.
    ///
    /// The store may be over its budget afterwards, until something is freed or spilled: refusing a
    /// segment that is in memory already would lose a result without freeing anything that its
    /// worker does not hold. Call [`Store::relieve`] soon.
    pub fn adopt(&self, fd: OwnedFd, bytes: u64, owner: Owner) -> Result<Arc<Segment>, StoreError> {
        let medium = file::inspect(fd.as_fd(), bytes, self.shared.spill_device)?;
        let id = self.shared.update(|ledger| {
            ledger.reserve(medium, bytes);
            ledger.seal(medium, bytes, fd, owner)
        });
        Ok(Segment::new(id, bytes, Arc::clone(&self.shared)))
    }

    /// Whether objects in memory exceed the budget, as they can after [`Store::adopt`].
    pub fn is_over_budget(&self) -> bool {
        self.shared
            .update(|ledger| ledger.used_bytes() > ledger.limit_bytes())
    }

    /// Spills the least recently used segments until memory is within its budget or everything left
    /// is pinned.
    pub fn relieve(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut ledger = shared.lock();
        loop {
            match ledger.relief_of_excess() {
                Relief::Nothing => return Ok(()),
                Relief::Wait => ledger = shared.wait_for_spill(ledger),
                Relief::DiskLimit => {
                    drop(ledger);
                    return Err(StoreError::Full(Box::new(shared.pressure(0))));
                }
                Relief::Spill(victim) => {
                    drop(ledger);
                    shared.spill(&victim)?;
                    ledger = shared.lock();
                }
            }
        }
    }

    /// The page that tells the workers whether there is room; pass its descriptor to each.
    pub fn budget_page(&self) -> &SharedPage<BudgetPage> {
        &self.shared.page
    }

    /// The books at this moment.
    pub fn stats(&self) -> StoreStats {
        let ledger = self.shared.lock();
        StoreStats {
            used_bytes: ledger.used_bytes(),
            spilled_bytes: ledger.spilled_bytes(),
            segments: ledger.segments(),
            peak_bytes: ledger.peak_bytes(),
            spill_count: ledger.spill_count(),
            failed_spill_count: ledger.failed_spill_count(),
        }
    }

    /// Who wrote what at this moment.
    pub fn owners(&self) -> Owners {
        self.shared.lock().owners().clone()
    }

    /// Panics if the books do not add up. For tests.
    pub fn check_invariants(&self) {
        let ledger = self.shared.lock();
        ledger.check_invariants();
        assert_eq!(self.shared.page.used_bytes(), ledger.used_bytes());
        assert_eq!(self.shared.page.spilled_bytes(), ledger.spilled_bytes());
    }
}

/// What the store and its segments share. Segments may outlive the [`Store`].
#[derive(Debug)]
pub(crate) struct Shared {
    /// The process whose books these are. Its forked children have copies, and its page.
    owner_pid: u32,
    ledger: Mutex<Ledger>,
    /// Signalled whenever a segment stops being spilled, one way or the other.
    spill_ended: Condvar,
    page: SharedPage<BudgetPage>,
    spill_dir: PathBuf,
    spill_limit_bytes: Option<u64>,
    /// What `fstat` reports for files of the spill directory.
    spill_device: u64,
}

impl Shared {
    /// Changes the books, and tells the workers, unless these are a forked child's copy of the books.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let is_owner = self.is_owner();
        let mut ledger = self.lock();
        let result = change(&mut ledger);
        if is_owner {
            self.publish(&ledger);
        }
        result
    }

    /// The same for what is let go. A forked child does without if its copy of the lock is held: by
    /// a thread that is not there, which will never release it.
    pub(crate) fn let_go<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
        if self.is_owner() {
            return Some(self.update(change));
        }
        let mut ledger = self.ledger.try_lock().ok()?;
        Some(change(&mut ledger))
    }

    fn is_owner(&self) -> bool {
        self.owner_pid == std::process::id()
    }

    pub(crate) fn pressure(&self, wanted_bytes: u64) -> Pressure {
        let ledger = self.lock();
        Pressure {
            wanted_bytes,
            used_bytes: ledger.used_bytes(),
            limit_bytes: ledger.limit_bytes(),
            spilled_bytes: ledger.spilled_bytes(),
            spill_limit_bytes: self.spill_limit_bytes,
            spill_dir: self.spill_dir.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic in the ledger is a bug that its caller reports. Handles dropped while that panic
        // unwinds must not panic again: that would abort the interpreter.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, ledger: &Ledger) {
        self.page
            .publish(ledger.used_bytes(), ledger.spilled_bytes());
    }

    fn wait_for_spill<'a>(&self, ledger: MutexGuard<'a, Ledger>) -> MutexGuard<'a, Ledger> {
        self.spill_ended
            .wait(ledger)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds room for a new segment: in memory, spilling others if need be, else on disk.
    fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation<'_>, StoreError> {
        // Why the disk has no room for others, if that is why this segment finds none.
        let mut spill_error = None;
        let mut ledger = self.lock();
        let medium = loop {
            if ledger.try_reserve(Medium::Memory, bytes) {
                break Some(Medium::Memory);
            }
            let relief = if spill_error.is_none() {
                ledger.relief(bytes)
            } else {
                Relief::Nothing
            };
            match relief {
                Relief::Wait => ledger = self.wait_for_spill(ledger),
                Relief::Spill(victim) => {
                    drop(ledger);
                    spill_error = self.spill(&victim).err();
                    ledger = self.lock();
                }
                // A smaller segment may fit where the one to spill does not.
                Relief::DiskLimit | Relief::Nothing => {
                    break ledger
                        .try_reserve(Medium::Disk, bytes)
                        .then_some(Medium::Disk);
                }
            }
        };
        self.publish(&ledger);
        drop(ledger);
        match medium {
            Some(medium) => Ok(Reservation {
                shared: self,
                medium,
                bytes,
            }),
            None => {
                Err(spill_error.unwrap_or_else(|| StoreError::Full(Box::new(self.pressure(bytes)))))
            }
        }
    }

    /// Copies a segment to disk, for which the ledger has marked it.
    fn spill(&self, victim: &Victim) -> Result<SpillEnd, StoreError> {
        let copied = file::copy_to_spill_file(&self.spill_dir, victim.fd.as_fd(), victim.bytes);
        let (copy, failure) = match copied {
            Ok(copy) => (Some(copy), None),
            Err(failure) => (None, Some(failure)),
        };
        let end = self.update(|ledger| ledger.finish_spill(victim, copy));
        self.spill_ended.notify_all();
        match failure {
            None => Ok(end),
            Some(failure) => Err(failure.with_pressure(self.pressure(victim.bytes))),
        }
    }
}

/// Bytes charged for a segment that is being written. Dropping it gives them back.
struct Reservation<'a> {
    shared: &'a Arc<Shared>,
    medium: Medium,
    bytes: u64,
}

impl Reservation<'_> {
    fn seal(self, fd: OwnedFd) -> Arc<Segment> {
        // The charge passes to the segment; the guard borrows everything else it has.
        let this = ManuallyDrop::new(self);
        let id = this
            .shared
            .update(|ledger| ledger.seal(this.medium, this.bytes, fd, Owner::Program));
        Segment::new(id, this.bytes, Arc::clone(this.shared))
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.shared
            .update(|ledger| ledger.release(self.medium, self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rust has no fork: it is up to the child to do nothing that needs another thread.
    unsafe extern "C" {
        fn fork() -> i32;
        fn alarm(seconds: u32) -> u32;
        fn _exit(status: i32) -> !;
    }

    /// Whether a forked child, which may be killed if it hangs, comes to the end of `work`.
    fn in_child(work: impl FnOnce()) -> bool {
        // SAFETY: the child calls what works without the other threads, and never returns.
        let pid = unsafe { fork() };
        if pid == 0 {
            // SAFETY: they only take numbers.
            unsafe {
                alarm(20);
                work();
                _exit(0);
            }
        }
        let pid = rustix::process::Pid::from_raw(pid).expect("a child");
        let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        let (_, status) = ended.expect("our own child").expect("it has ended");
        status.exit_status() == Some(0)
    }

    fn store() -> Store {
        Store::new(StoreOptions {
            budget_bytes: 1 << 20,
            spill_dir: std::env::temp_dir(),
            spill_max_bytes: None,
        })
        .expect("a store")
    }

    #[test]
    fn what_a_forked_child_does_is_not_told_to_the_workers() {
        let store = store();
        let (kept, _) = store.put(&[&[1; 100]]).expect("room");
        let (freed, _) = store.put(&[&[2; 200]]).expect("room");
        let mut freed = Some(freed);
        let used = || store.budget_page().used_bytes();
        assert_eq!(used(), 300);
        assert!(in_child(|| {
            let map = freed
                .take()
                .map(|freed| freed.map().expect("address space"));
            assert_eq!(map.as_deref(), Some([2; 200].as_slice()));
            drop((kept.pin(), map));
        }));
        assert_eq!(used(), 300);
        store.check_invariants();
    }

    #[test]
    fn a_forked_child_lets_go_while_the_books_are_locked() {
        let store = store();
        let (segment, _) = store.put(&[&[1; 100]]).expect("room");
        let mut held = Some((segment.pin(), segment));
        // As another thread may have at the moment of the fork.
        let books = store.shared.lock();
        assert!(in_child(|| held = None));
        drop(books);
        drop(held);
        store.check_invariants();
    }
}
