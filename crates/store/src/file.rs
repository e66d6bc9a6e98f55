//! The system calls behind segments: memfds, seals and spill files. Decides nothing, keeps no
//! state; any thread may call it.
//!
//! Segments are written with `pwrite(2)`, never through a mapping. A store to a mapped page that
//! the kernel cannot back is a SIGBUS, which kills the interpreter we live in, while `pwrite`
//! allocates the page itself and returns ENOSPC or ENOMEM. It is also faster: a fresh page that is
//! about to be overwritten whole need not be zeroed first, and there is no page fault per page.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{CallFailure, Medium, StoreError};
use crate::layout::Layout;
use crate::limits::{SEAL_TRIES_MAX, SPILL_CHUNK_BYTES, SPILL_NAMES_MAX};

/// The seals of a finished segment: neither its bytes nor its length nor its seals can change.
pub(crate) const SEGMENT_SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// An empty memfd that can be sealed. Its name shows in `/proc/<pid>/maps` and nowhere else.
pub(crate) fn create_memfd() -> Result<OwnedFd, CallFailure> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Hardened systems refuse memfds that could be executed (vm.memfd_noexec=2); kernels before
    // 6.3 do not know the flag that says so.
    let created = match rustix::fs::memfd_create(c"lineshaft", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"lineshaft", flags),
        other => other,
    };
    let created = created.and_then(above_standard);
    created.map_err(|errno| CallFailure {
        call: "memfd_create",
        medium: Medium::Memory,
        errno,
    })
}

/// Writes the parts into a new memfd and seals it.
pub(crate) fn write_memfd(parts: &[&[u8]], layout: &Layout) -> Result<OwnedFd, CallFailure> {
    let fd = create_memfd()?;
    write_parts(fd.as_fd(), Medium::Memory, parts, layout)?;
    seal(|| rustix::fs::fcntl_add_seals(&fd, SEGMENT_SEALS))?;
    Ok(fd)
}

/// Seals a segment that has been written, by `add_seals`.
///
/// The kernel does not seal pages that something else has a hold of, as when it moves them or writes
/// them to swap. It waits for that itself, but for a fraction of a second only, and says EBUSY.
fn seal(mut add_seals: impl FnMut() -> rustix::io::Result<()>) -> Result<(), CallFailure> {
    let mut tries = 0;
    loop {
        tries += 1;
        match add_seals() {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) if tries < SEAL_TRIES_MAX => {}
            Err(errno) => {
                return Err(CallFailure {
                    call: "fcntl(F_ADD_SEALS)",
                    medium: Medium::Memory,
                    errno,
                });
            }
        }
    }
}

/// Writes the parts into a new file of the spill directory that has no name.
pub(crate) fn write_spill_file(
    spill_dir: &Path,
    parts: &[&[u8]],
    layout: &Layout,
) -> Result<OwnedFd, CallFailure> {
    let fd = create_spill_file(spill_dir)?;
    write_parts(fd.as_fd(), Medium::Disk, parts, layout)?;
    Ok(fd)
}

/// Copies the first `bytes` bytes of a segment into a new file of the spill directory.
///
/// Not synchronised to the device: the file serves as memory, not as a record, and the page cache
/// writes it back when memory is short.
pub(crate) fn copy_to_spill_file(
    spill_dir: &Path,
    segment: BorrowedFd<'_>,
    bytes: u64,
) -> Result<OwnedFd, CallFailure> {
    let fd = create_spill_file(spill_dir)?;
    let mut offset: u64 = 0;
    while offset < bytes {
        let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
        // Advances `offset`; copies within the kernel.
        let sent =
            rustix::fs::sendfile(&fd, segment, Some(&mut offset), left.min(SPILL_CHUNK_BYTES));
        match sent {
            // The segment is sealed and `bytes` long, so there is always more to read.
            Ok(0) => {
                return Err(CallFailure {
                    call: "sendfile",
                    medium: Medium::Disk,
                    errno: Errno::IO,
                });
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(CallFailure {
                    call: "sendfile",
                    medium: Medium::Disk,
                    errno,
                });
            }
        }
    }
    Ok(fd)
}

/// An empty file without a name in `spill_dir`.
pub(crate) fn create_spill_file(spill_dir: &Path) -> Result<OwnedFd, CallFailure> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(spill_dir, flags | OFlags::TMPFILE, mode).and_then(above_standard) {
        // The file system has no unnamed files (NFS, old overlayfs; ISDIR from old kernels).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
            create_and_unlink(spill_dir, flags | OFlags::CREATE | OFlags::EXCL, mode)
        }
        other => other.map_err(|errno| CallFailure {
            call: "open(O_TMPFILE)",
            medium: Medium::Disk,
            errno,
        }),
    }
}

/// The fallback. A process killed between the two calls leaves one empty file.
fn create_and_unlink(spill_dir: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, CallFailure> {
    static NEXT_NAME: AtomicU64 = AtomicU64::new(0);
    let failure = |call, errno| CallFailure {
        call,
        medium: Medium::Disk,
        errno,
    };
    let dir = rustix::fs::open(
        spill_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| failure("open", errno))?;
    let mut last = failure("open", Errno::EXIST);
    for _ in 0..SPILL_NAMES_MAX {
        let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
        let name = format!(".lineshaft-{}-{number}", std::process::id());
        match rustix::fs::openat(&dir, &name, flags, mode).and_then(above_standard) {
            Ok(fd) => {
                rustix::fs::unlinkat(&dir, &name, AtFlags::empty())
                    .map_err(|errno| failure("unlink", errno))?;
                return Ok(fd);
            }
            Err(errno) => last = failure("open", errno),
        }
        if last.errno != Errno::EXIST {
            break;
        }
    }
    Err(last)
}

fn write_parts(
    fd: BorrowedFd<'_>,
    medium: Medium,
    parts: &[&[u8]],
    layout: &Layout,
) -> Result<(), CallFailure> {
    assert_eq!(parts.len(), layout.offsets.len());
    // The length first: an empty last part may lie behind the last byte written.
    rustix::fs::ftruncate(fd, layout.bytes).map_err(|errno| CallFailure {
        call: "ftruncate",
        medium,
        errno,
    })?;
    for (part, &offset) in parts.iter().zip(&layout.offsets) {
        write_all_at(fd, medium, part, offset)?;
    }
    Ok(())
}

fn write_all_at(
    fd: BorrowedFd<'_>,
    medium: Medium,
    mut bytes: &[u8],
    mut offset: u64,
) -> Result<(), CallFailure> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, offset) {
            Ok(0) => {
                return Err(CallFailure {
                    call: "pwrite",
                    medium,
                    errno: Errno::NOSPC,
                });
            }
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(CallFailure {
                    call: "pwrite",
                    medium,
                    errno,
                });
            }
        }
    }
    Ok(())
}

/// The length of a file.
pub(crate) fn length(fd: BorrowedFd<'_>) -> Result<u64, StoreError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| StoreError::Io {
        call: "fstat",
        errno,
    })?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// The lowest number that is not standard input, output or error.
const ABOVE_STANDARD: RawFd = 3;

/// The same open file under a number that no standard stream has. A program that has closed those, as daemons
/// do, opens them anew by `dup2`, whatever has their numbers by then.
pub fn above_standard(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if fd.as_raw_fd() >= ABOVE_STANDARD {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_STANDARD)
}

/// A new descriptor of the same open file, closed on exec.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, CallFailure> {
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_STANDARD).map_err(|errno| CallFailure {
        call: "fcntl(F_DUPFD_CLOEXEC)",
        medium: Medium::Memory,
        errno,
    })
}

/// Finds out what kind of segment a worker passed.
///
/// `spill_device` is the device that files of the spill directory report. A memfd created without
/// the permission to seal it looks like a file on tmpfs; the device tells them apart.
pub(crate) fn inspect(
    fd: BorrowedFd<'_>,
    bytes: u64,
    spill_device: u64,
) -> Result<Medium, StoreError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| StoreError::Io {
        call: "fstat",
        errno,
    })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(StoreError::NotSealed);
    }
    let medium = match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(SEGMENT_SEALS) => Medium::Memory,
        _ if stat.st_dev == spill_device && stat.st_nlink == 0 => Medium::Disk,
        _ => return Err(StoreError::NotSealed),
    };
    // Checked after the seals: only now can the length no longer change.
    let found_bytes = length(fd)?;
    if found_bytes != bytes {
        return Err(StoreError::WrongLength {
            expected_bytes: bytes,
            found_bytes,
        });
    }
    Ok(medium)
}

/// The device that files of the spill directory report. Not the device of the directory: on
/// overlayfs the two differ.
pub(crate) fn spill_device(spill_dir: &Path) -> Result<u64, CallFailure> {
    let probe = create_spill_file(spill_dir)?;
    let stat = rustix::fs::fstat(&probe).map_err(|errno| CallFailure {
        call: "fstat",
        medium: Medium::Disk,
        errno,
    })?;
    Ok(stat.st_dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_something_has_a_hold_of_are_sealed_once_it_lets_go() {
        let fd = create_memfd().unwrap();
        assert_eq!(rustix::io::pwrite(&fd, &[1; 4096], 0).unwrap(), 4096);
        let (read, write) = rustix::pipe::pipe().unwrap();
        // The page is now in the pipe as well.
        let no_flags = rustix::pipe::SpliceFlags::empty();
        let spliced = rustix::pipe::splice(&fd, Some(&mut 0), &write, None, 4096, no_flags);
        assert_eq!(spliced.unwrap(), 4096);
        let mut pipe = Some((read, write));
        let sealed = seal(|| {
            let added = rustix::fs::fcntl_add_seals(&fd, SEGMENT_SEALS);
            if added == Err(Errno::BUSY) {
                pipe = None;
            }
            added
        });
        assert!(sealed.is_ok());
        assert!(pipe.is_none(), "the first try was refused");
        let seals = rustix::fs::fcntl_get_seals(&fd).unwrap();
        assert!(seals.contains(SEGMENT_SEALS));
    }

    #[test]
    fn the_fallback_makes_files_without_names_too() {
        let dir = std::env::temp_dir().join(format!("lineshaft-file-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let fds: Vec<_> = (0..3)
            .map(|_| create_and_unlink(&dir, flags, Mode::RUSR | Mode::WUSR).unwrap())
            .collect();
        // Fails if a file is left.
        std::fs::remove_dir(&dir).unwrap();
        for fd in fds {
            assert_eq!(rustix::fs::fstat(&fd).unwrap().st_nlink, 0);
            assert_eq!(rustix::io::pwrite(&fd, b"usable", 0).unwrap(), 6);
        }
    }
}
