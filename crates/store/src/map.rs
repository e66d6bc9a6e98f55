//! Mappings of segments. Read-only ones share their pages with every other process.
//!
//! All mappings are private ones (`MAP_PRIVATE`). Until someone writes to it, a private page is the
//! page of the file, so nothing is copied; and kernels before 6.7 refuse to map a write-sealed
//! memfd as shared even for reading.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use memmap2::{Mmap, MmapMut, MmapOptions};
use rustix::io::Errno;

use crate::error::{CallFailure, Medium, StoreError};
use crate::file;

/// The bytes of a segment, mapped for reading.
#[derive(Debug)]
pub struct ReadOnlyMap {
    // The kernel maps no empty ranges; a segment without bytes needs none.
    map: Option<Mmap>,
}

/// The bytes of a segment, mapped copy-on-write: writes stay in this mapping.
#[derive(Debug)]
pub struct PrivateMap {
    map: Option<MmapMut>,
}

/// Maps the first `bytes` bytes of a segment that another process passed, for reading.
pub fn map_fd(fd: BorrowedFd<'_>, bytes: u64) -> Result<ReadOnlyMap, StoreError> {
    let Some(len) = checked_len(fd, bytes)? else {
        return Ok(ReadOnlyMap { map: None });
    };
    // SAFETY: nobody changes a segment once its descriptor is passed on: a memfd is sealed, and a
    // spill file has no name and a descriptor in our own processes only, none of which writes to
    // it. The length was checked, so no access lies behind the end of the file.
    let map = unsafe { MmapOptions::new().len(len).map_copy_read_only(fd_of(fd)) };
    Ok(ReadOnlyMap {
        map: Some(map.map_err(mmap_failed)?),
    })
}

/// Maps the first `bytes` bytes of a segment so that this process can write to its own copy. Pages
/// are copied when they are first written.
pub fn map_fd_private(fd: BorrowedFd<'_>, bytes: u64) -> Result<PrivateMap, StoreError> {
    let Some(len) = checked_len(fd, bytes)? else {
        return Ok(PrivateMap { map: None });
    };
    // SAFETY: as in `map_fd`.
    let map = unsafe { MmapOptions::new().len(len).map_copy(fd_of(fd)) };
    Ok(PrivateMap {
        map: Some(map.map_err(mmap_failed)?),
    })
}

fn checked_len(fd: BorrowedFd<'_>, bytes: u64) -> Result<Option<usize>, StoreError> {
    let found_bytes = file::length(fd)?;
    if found_bytes < bytes {
        return Err(StoreError::WrongLength {
            expected_bytes: bytes,
            found_bytes,
        });
    }
    let len = usize::try_from(bytes).map_err(|_| StoreError::TooLarge { bytes })?;
    Ok(Some(len).filter(|&len| len > 0))
}

fn fd_of(fd: BorrowedFd<'_>) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_fd().as_raw_fd()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of map_err"
)]
pub(crate) fn mmap_failed(error: std::io::Error) -> StoreError {
    StoreError::from(CallFailure {
        call: "mmap",
        medium: Medium::Memory,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

impl Deref for ReadOnlyMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for ReadOnlyMap {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for PrivateMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for PrivateMap {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PrivateMap {
    fn as_mut(&mut self) -> &mut [u8] {
        self.map.as_deref_mut().unwrap_or_default()
    }
}
