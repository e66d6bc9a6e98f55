//! What can go wrong in the store, with the numbers a user needs to act on it.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

/// An operating error of the store. Each variant leaves the accounting as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither the memory budget nor the configured limit of the spill directory has room.
    #[error("no room for an object: {0}")]
    Full(Box<Pressure>),
    /// The file system of the spill directory refuses more bytes: no space, a quota, or a limit on
    /// the size of files.
    #[error("the spill directory takes no more ({errno}): {pressure}")]
    DiskFull {
        /// The budget at that moment.
        pressure: Box<Pressure>,
        /// ENOSPC, EDQUOT or EFBIG.
        errno: Errno,
    },
    /// The kernel refuses memory although the budget has room: the budget is larger than what the
    /// machine or the container grants.
    #[error("the system is out of memory ({errno}){}", told(pressure.as_deref()))]
    OutOfMemory {
        /// The budget at that moment, if it was for an object.
        pressure: Option<Box<Pressure>>,
        /// ENOMEM or ENOSPC (of shared memory), or EFBIG.
        errno: Errno,
    },
    /// Every object is a descriptor, and the process (EMFILE) or the system (ENFILE) has no more.
    #[error("no more file descriptors ({errno}), see `ulimit -n`{}", told(pressure.as_deref()))]
    TooManyDescriptors {
        /// The budget at that moment, if it was for an object.
        pressure: Option<Box<Pressure>>,
        /// EMFILE or ENFILE.
        errno: Errno,
    },
    /// A descriptor that a worker passed can still be changed by that worker.
    #[error("a worker passed a segment that is neither a sealed memfd nor an unlinked spill file")]
    NotSealed,
    /// A descriptor holds another number of bytes than its message claims.
    #[error(
        "a segment of {expected_bytes} bytes was announced, the descriptor holds {found_bytes}"
    )]
    WrongLength {
        /// What the message said.
        expected_bytes: u64,
        /// What the descriptor says.
        found_bytes: u64,
    },
    /// The parts of one object do not fit the address space.
    #[error("an object of {bytes} bytes cannot be addressed")]
    TooLarge {
        /// Its size; `u64::MAX` if even the sum overflows.
        bytes: u64,
    },
    /// A system call failed for a reason of its own.
    #[error("{call} failed in the object store: {errno}")]
    Io {
        /// The call, for the reader of a report.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

/// The state of the budget when a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressure {
    /// Size of the object that found no room.
    pub wanted_bytes: u64,
    /// Bytes of objects in memory.
    pub used_bytes: u64,
    /// The memory budget.
    pub limit_bytes: u64,
    /// Bytes of objects in the spill directory.
    pub spilled_bytes: u64,
    /// The configured limit of the spill directory.
    pub spill_limit_bytes: Option<u64>,
    /// The spill directory.
    pub spill_dir: PathBuf,
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes wanted; memory: {} used of {} bytes; spill directory {}: {} used",
            self.wanted_bytes,
            self.used_bytes,
            self.limit_bytes,
            self.spill_dir.display(),
            self.spilled_bytes,
        )?;
        match self.spill_limit_bytes {
            Some(limit) => write!(f, " of {limit} bytes"),
            None => write!(f, " bytes, no limit set"),
        }
    }
}

fn told(pressure: Option<&Pressure>) -> String {
    pressure.map_or_else(String::new, |pressure| format!(": {pressure}"))
}

/// Where the bytes of a segment go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    Disk,
}

/// A failed system call, before it is known how full the store was. Kept apart from [`StoreError`]
/// so that the code that does I/O needs no access to the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallFailure {
    pub(crate) call: &'static str,
    pub(crate) medium: Medium,
    pub(crate) errno: Errno,
}

impl CallFailure {
    /// The failure to store an object.
    pub(crate) fn with_pressure(self, pressure: Pressure) -> StoreError {
        self.sort(Some(Box::new(pressure)))
    }

    /// Sorts the failure by what the user can do about it.
    fn sort(self, pressure: Option<Box<Pressure>>) -> StoreError {
        let errno = self.errno;
        match (self.medium, errno, pressure) {
            (_, Errno::MFILE | Errno::NFILE, pressure) => {
                StoreError::TooManyDescriptors { pressure, errno }
            }
            (Medium::Disk, Errno::NOSPC | Errno::DQUOT | Errno::FBIG, Some(pressure)) => {
                StoreError::DiskFull { pressure, errno }
            }
            (_, Errno::NOMEM, pressure)
            | (Medium::Memory, Errno::NOSPC | Errno::FBIG, pressure) => {
                StoreError::OutOfMemory { pressure, errno }
            }
            _ => StoreError::Io {
                call: self.call,
                errno,
            },
        }
    }
}

/// The failure of a call that stores no object.
impl From<CallFailure> for StoreError {
    fn from(failure: CallFailure) -> StoreError {
        failure.sort(None)
    }
}
