//! The descriptors of this process: how many it may have open, and which of them forks give up.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{DESCRIPTORS_EASY_PERCENT, DESCRIPTORS_MAX};

/// Raises the soft limit towards the hard one, for this process and the workers that inherit it.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS_MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        // If it is refused, things are as they were: too many objects fail with a clear error.
        let _: rustix::io::Result<()> = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..limit
            },
        );
    }
}

/// Whether one that was opened just now tells that few more can be: the lowest number that is free is
/// given out. The limit is looked up each time, since it is the program's to change.
pub(crate) fn are_short(newest: &impl AsFd) -> bool {
    let number = u64::try_from(newest.as_fd().as_raw_fd()).unwrap_or(0);
    let limit = getrlimit(Resource::Nofile).current;
    let part = |limit: u64| limit.saturating_mul(DESCRIPTORS_EASY_PERCENT) / 100;
    limit.is_some_and(|limit| number >= part(limit))
}

/// Sockets and pipes that forked children of this process must not keep, a bit each: the other ends
/// would not learn that this process has ended. Atomics rather than a set under a lock, which nobody
/// could ever take in a child that was forked while it was held. A descriptor with a higher number
/// than there are bits is kept by forked children, which is untidy and no more.
static NOTED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Enough for every descriptor up to the limit that we set.
const WORDS: usize = 1024;
const _: () = assert!(WORDS as u64 * 64 == DESCRIPTORS_MAX);

fn place(number: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(number).ok()?;
    Some((NOTED.get(number / 64)?, 1 << (number % 64)))
}

/// As long as this is there, forked children are told to give a descriptor up. It is made before
/// anybody at the other end relies on that, and must be dropped before the descriptor is closed:
/// afterwards the number may be that of another one, which was noted as well.
pub struct Noted(RawFd);

impl Noted {
    /// Notes a descriptor.
    pub fn of(fd: &impl AsFd) -> Noted {
        let number = fd.as_fd().as_raw_fd();
        if let Some((word, bit)) = place(number) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
        Noted(number)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some((word, bit)) = place(self.0) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

/// What owns a descriptor that is noted until it is closed or given away.
pub struct Ours<T = OwnedFd> {
    // Fields are dropped in this order.
    noted: Noted,
    owner: T,
}

impl<T: AsFd> Ours<T> {
    /// Notes the descriptor.
    pub fn new(owner: T) -> Ours<T> {
        let noted = Noted::of(&owner);
        Ours { noted, owner }
    }

    /// Who owns it.
    pub fn get(&self) -> &T {
        &self.owner
    }

    /// It is no longer noted.
    pub(crate) fn give_away(self) -> T {
        drop(self.noted);
        self.owner
    }
}

impl<T: AsFd> AsFd for Ours<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owner.as_fd()
    }
}

/// In a forked child, once: which of its descriptors belong to its parent and are no use to it. They
/// must not be closed, because objects that own them exist here as well, but should be replaced.
pub fn take_inherited() -> Vec<RawFd> {
    let numbers = (0..).zip(&NOTED).flat_map(|(index, word)| {
        let word = word.swap(0, Ordering::SeqCst);
        let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
        bits.map(move |bit| index * 64 + bit)
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_number_is_noted_only_while_its_descriptor_is_ours() {
        let ours = || Ours::new(File::open("/dev/null").expect("a device"));
        let is_noted = |number| {
            let (word, bit) = place(number).expect("a low number");
            word.load(Ordering::SeqCst) & bit != 0
        };
        let fd = ours();
        let number = fd.as_fd().as_raw_fd();
        assert!(is_noted(number));
        drop(fd);
        assert!(!is_noted(number));
        let fd = ours();
        let number = fd.as_fd().as_raw_fd();
        let given_away = fd.give_away();
        assert!(!is_noted(number));
        drop(given_away);
    }
}
