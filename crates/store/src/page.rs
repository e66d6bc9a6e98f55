//! A page of atomics that two processes share.
//!
//! [`SharedPage`] owns one mapping of a memfd whose length is sealed, so that an access can never
//! fault. What the words mean, who writes them and in which order is the business of the type in
//! the page; see [`BudgetPage`] for one.

use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, SealFlags};

use crate::error::{CallFailure, Medium, StoreError};
use crate::file;
use crate::limits::SHARED_PAGE_BYTES_MAX;
use crate::map::mmap_failed;

/// A type that may live in a page shared between processes.
///
/// # Safety
///
/// The type is `#[repr(C)]`, consists of atomics (and arrays or structs of them) only, and is
/// valid when all its bytes are zero and for every other value that another process may store.
/// If [`Self::WRITTEN_BY_CREATOR_ONLY`] is true, every method that a user of [`SharedPage::from_fd`]
/// can reach only loads, with `Ordering::Relaxed`: the page is mapped without write permission,
/// where Rust allows no other atomic access.
pub unsafe trait Shareable: Send + Sync {
    /// Only the process that created the page may write to it. The kernel enforces it.
    const WRITTEN_BY_CREATOR_ONLY: bool = false;
}

/// One `T` in memory that is shared with every process that holds the descriptor.
///
/// `Send` and `Sync` because `T` consists of atomics.
#[derive(Debug)]
pub struct SharedPage<T: Shareable> {
    map: MmapRaw,
    fd: OwnedFd,
    content: PhantomData<T>,
}

impl<T: Shareable> SharedPage<T> {
    /// A new page, all words zero.
    pub fn create() -> Result<Self, StoreError> {
        let fd = file::create_memfd()?;
        let call = |call| {
            move |errno| CallFailure {
                call,
                medium: Medium::Memory,
                errno,
            }
        };
        let bytes = Self::page_bytes();
        rustix::fs::ftruncate(&fd, bytes as u64).map_err(call("ftruncate"))?;
        // Backed by memory now, so that the first access cannot be the one that finds none.
        rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes as u64)
            .map_err(call("fallocate"))?;
        let map = map_page(&fd, bytes, true)?;
        let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        if T::WRITTEN_BY_CREATOR_ONLY {
            // Our own mapping, made above, keeps its write permission.
            seals |= SealFlags::FUTURE_WRITE;
        }
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(call("fcntl(F_ADD_SEALS)"))?;
        Ok(Self {
            map,
            fd,
            content: PhantomData,
        })
    }

    /// Maps the page that another process created.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, StoreError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| StoreError::NotSealed)?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(StoreError::NotSealed);
        }
        let bytes = Self::page_bytes();
        let found_bytes = file::length(fd.as_fd())?;
        if found_bytes != bytes as u64 {
            return Err(StoreError::WrongLength {
                expected_bytes: bytes as u64,
                found_bytes,
            });
        }
        let map = map_page(&fd, bytes, !T::WRITTEN_BY_CREATOR_ONLY)?;
        Ok(Self {
            map,
            fd,
            content: PhantomData,
        })
    }

    /// A new descriptor of the page, to be passed to another process.
    pub fn fd(&self) -> Result<OwnedFd, StoreError> {
        Ok(file::duplicate(self.fd.as_fd())?)
    }

    fn page_bytes() -> usize {
        const { assert!(size_of::<T>() > 0 && size_of::<T>() <= SHARED_PAGE_BYTES_MAX) };
        // The smallest page of any Linux; mappings start at a multiple of it.
        const { assert!(align_of::<T>() <= 4096) };
        size_of::<T>().next_multiple_of(rustix::param::page_size())
    }
}

impl<T: Shareable> Deref for SharedPage<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping lives as long as `self`, starts at a page boundary, is at least
        // `size_of::<T>()` long and backed by a file whose length is sealed. `T: Shareable` is
        // valid whatever its bytes are, and all its fields are atomics, so that writes of other
        // processes are no data races. A page mapped read-only is only loaded from, by the same
        // contract.
        unsafe { &*self.map.as_ptr().cast::<T>() }
    }
}

fn map_page(fd: &OwnedFd, bytes: usize, writable: bool) -> Result<MmapRaw, StoreError> {
    let mut options = MmapOptions::new();
    options.len(bytes);
    let mapped = if writable {
        options.map_raw(fd)
    } else {
        options.map_raw_read_only(fd)
    };
    mapped.map_err(mmap_failed)
}

/// The state of the budget as the workers see it. The engine writes it, workers map it read-only.
///
/// The words are a hint: nothing is ordered by them, so all accesses are relaxed, and a worker may
/// act on a value that is a moment old. Workers that write at the same moment can each see the same
/// room and together take more than there is; the engine spills others when it adopts what they
/// wrote. The excess is bounded by one object per worker.
#[repr(C)]
#[derive(Debug, Default)]
#[expect(
    clippy::struct_field_names,
    reason = "units come last in names, and all four are bytes"
)]
pub struct BudgetPage {
    used_bytes: AtomicU64,
    limit_bytes: AtomicU64,
    spilled_bytes: AtomicU64,
    spill_limit_bytes: AtomicU64,
}

// SAFETY: `#[repr(C)]`, atomics only, any value is valid; all public methods are relaxed loads, and
// `publish` is called by `Store`, which creates its page.
unsafe impl Shareable for BudgetPage {
    const WRITTEN_BY_CREATOR_ONLY: bool = true;
}

impl BudgetPage {
    /// Bytes of objects in memory, those being written by the engine included.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The memory budget.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of objects in the spill directory.
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes.load(Ordering::Relaxed)
    }

    /// The limit of the spill directory, if one is configured.
    pub fn spill_limit_bytes(&self) -> Option<u64> {
        Some(self.spill_limit_bytes.load(Ordering::Relaxed)).filter(|&limit| limit < u64::MAX)
    }

    pub(crate) fn publish_limits(&self, limit_bytes: u64, spill_limit_bytes: Option<u64>) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.spill_limit_bytes
            .store(spill_limit_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, used_bytes: u64, spilled_bytes: u64) {
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
        self.spilled_bytes.store(spilled_bytes, Ordering::Relaxed);
    }
}
