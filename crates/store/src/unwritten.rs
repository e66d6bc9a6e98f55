//! Asks the kernel whether memory was written to.
//!
//! Linux can write-protect pages without anybody being called when they are written to: the page
//! fault lifts the protection, and the page table remembers it. So "nobody has written here since"
//! is answered from the page table, some hundred times faster than by reading the memory again.
//! See `Documentation/admin-guide/mm/userfaultfd.rst` (`UFFD_FEATURE_WP_ASYNC`) and `pagemap.rst`
//! (`PAGEMAP_SCAN`) of the kernel, from 6.7 on. Where the kernel is older, or a container forbids the
//! call, nothing can be watched, and callers have to look for themselves.
//!
//! What the answer does not cover, and callers must therefore look at in another way:
//! * pages that the bytes share with others: only whole pages are watched;
//! * devices that write into memory past the page table, as to buffers pinned for a GPU.
//!
//! A write by another process is no such gap: shared memory and files are never called unwritten.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use crate::file::above_standard;

/// Faults of user code only, which needs no privilege.
const USER_MODE_ONLY: UserfaultfdFlags = UserfaultfdFlags::from_bits_retain(1);

const API_VERSION: u64 = 0xAA;
const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const FEATURE_WP_ASYNC: u64 = 1 << 15;

const REGISTER_MODE_WP: u64 = 1 << 1;
const WRITEPROTECT_MODE_WP: u64 = 1 << 0;

/// Fail on memory that is not watched, instead of leaving it out.
const SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Span {
    start: u64,
    bytes: u64,
}

#[repr(C)]
struct Register {
    span: Span,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct WriteProtect {
    span: Span,
    mode: u64,
}

#[repr(C)]
#[derive(Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
struct PageScan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    pages_max: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const API: Opcode = opcode::read_write::<Api>(0xAA, 0x3F);
const REGISTER: Opcode = opcode::read_write::<Register>(0xAA, 0x00);
const UNREGISTER: Opcode = opcode::read::<Span>(0xAA, 0x01);
const WRITEPROTECT: Opcode = opcode::read_write::<WriteProtect>(0xAA, 0x06);
const PAGEMAP_SCAN: Opcode = opcode::read_write::<PageScan>(b'f', 16);

/// Watches memory of this process for writes. Belongs to the process that made it: in a forked
/// child it would speak of the parent.
#[derive(Debug)]
pub(crate) struct WriteWatch {
    faults: OwnedFd,
    pagemap: File,
}

impl WriteWatch {
    /// `None` where the kernel cannot, or may not, watch.
    pub(crate) fn open() -> Option<WriteWatch> {
        // SAFETY: a descriptor that handles no fault by itself changes nothing about any memory.
        let faults = unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC | USER_MODE_ONLY) };
        let faults = faults.and_then(above_standard).ok()?;
        let mut api = Api {
            version: API_VERSION,
            features: FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED,
            ioctls: 0,
        };
        // SAFETY: the structure that this call takes.
        unsafe { ioctl(&faults, Updater::<API, Api>::new(&mut api)) }.ok()?;
        let pagemap = File::open("/proc/self/pagemap").ok()?;
        let pagemap = above_standard(pagemap.into()).ok()?.into();
        Some(WriteWatch { faults, pagemap })
    }

    /// Watches these pages from now on; false if they cannot be watched.
    pub(crate) fn watch(&self, pages: &Range<usize>) -> bool {
        let mut register = Register {
            span: span(pages),
            mode: REGISTER_MODE_WP,
            ioctls: 0,
        };
        let mut protect = WriteProtect {
            span: span(pages),
            mode: WRITEPROTECT_MODE_WP,
        };
        // SAFETY: the structures that these calls take. Whoever writes to a page protected in this
        // manner does not notice: the kernel lifts the protection by itself.
        unsafe {
            ioctl(
                &self.faults,
                Updater::<REGISTER, Register>::new(&mut register),
            )
            .and_then(|()| {
                ioctl(
                    &self.faults,
                    Updater::<WRITEPROTECT, WriteProtect>::new(&mut protect),
                )
            })
        }
        .is_ok()
    }

    /// Whether certainly nobody has written to these pages since they were last watched.
    pub(crate) fn is_unwritten(&self, pages: &Range<usize>) -> bool {
        let mut found = PageRegion::default();
        // Looks for a page that was written to, or belongs to a file or to shared memory, which
        // others can write to, or is not there any more, as after MADV_DONTNEED.
        let mut scan = PageScan {
            size: size_of::<PageScan>() as u64,
            flags: SCAN_CHECK_WPASYNC,
            start: pages.start as u64,
            end: pages.end as u64,
            walk_end: 0,
            regions: (&raw mut found).expose_provenance() as u64,
            regions_len: 1,
            pages_max: 1,
            category_inverted: PAGE_IS_PRESENT,
            category_mask: 0,
            category_anyof_mask: PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PRESENT,
            return_mask: PAGE_IS_WRITTEN,
        };
        // SAFETY: the structure that this call takes; `found` outlives the call.
        let scanned = unsafe {
            ioctl(
                &self.pagemap,
                Updater::<PAGEMAP_SCAN, PageScan>::new(&mut scan),
            )
        };
        // Read as the kernel left it: the compiler knows of no other way into `found`.
        // SAFETY: a valid, initialised place.
        let end = unsafe { (&raw const found.end).read_volatile() };
        scanned.is_ok() && end == 0
    }

    /// Watches these pages no longer.
    pub(crate) fn forget(&self, pages: &Range<usize>) {
        // SAFETY: the structure that this call takes. What is no longer mapped fails, as it should.
        let _gone = unsafe { ioctl(&self.faults, Setter::<UNREGISTER, Span>::new(span(pages))) };
    }
}

fn span(pages: &Range<usize>) -> Span {
    Span {
        start: pages.start as u64,
        bytes: pages.len() as u64,
    }
}

/// The pages that hold nothing but these bytes, which are at least as many as two pages have.
pub(crate) fn whole_pages(bytes: &[u8]) -> Range<usize> {
    let page_bytes = rustix::param::page_size();
    let start = bytes.as_ptr().addr();
    start.next_multiple_of(page_bytes)..(start + bytes.len()) / page_bytes * page_bytes
}
