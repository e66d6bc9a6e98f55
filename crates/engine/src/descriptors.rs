//! The descriptors of this process: how many it may have open, and which of them are engines'.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the soft limit is raised to, if the hard limit allows it: each object in shared memory is a
/// descriptor, in the engine and, while it is on its way, in the kernel's count of descriptors in
/// flight, which has the same limit. The usual 1,024 are soon used up by a map over arrays. Not
/// higher than this, because old programs that our workers may start close every descriptor up to
/// the limit one by one, and `select` of more than 1,024 is their own affair in either case.
const DESCRIPTORS: u64 = 65_536;

/// Raises the soft limit towards the hard one, for this process and the workers that inherit it.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS);
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

/// Sockets and pipes of the engines of this process, a bit each. A forked child that kept them would
/// keep the other ends from learning that this process has ended. Atomics rather than a set under a
/// lock, which nobody could ever take in a child that was forked while it was held.
static OURS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Enough for every descriptor up to the limit.
const WORDS: usize = 1024;
const _: () = assert!(WORDS as u64 * 64 == DESCRIPTORS);

fn bit(fd: BorrowedFd<'_>) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(fd.as_raw_fd()).ok()?;
    Some((OURS.get(number / 64)?, 1 << (number % 64)))
}

/// A descriptor that belongs to an engine, from before anybody at its other end relies on it until
/// it is closed or given away.
pub(crate) struct Ours(Option<OwnedFd>);

impl Ours {
    pub(crate) fn new(fd: OwnedFd) -> Ours {
        if let Some((word, bit)) = bit(fd.as_fd()) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
        Ours(Some(fd))
    }

    pub(crate) fn give_away(mut self) -> OwnedFd {
        self.forget()
            .expect("it is only gone once it was given away")
    }

    fn forget(&mut self) -> Option<OwnedFd> {
        let fd = self.0.take()?;
        if let Some((word, bit)) = bit(fd.as_fd()) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
        Some(fd)
    }
}

impl AsFd for Ours {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.0.as_ref();
        fd.expect("it is only gone once it was given away").as_fd()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.forget());
    }
}

/// In a forked child: which of its descriptors belong to engines of its parent. They must not be
/// closed, because objects that own them exist here as well, but should be replaced.
pub fn inherited() -> Vec<RawFd> {
    let numbers = (0..).zip(&OURS).flat_map(|(index, word)| {
        let word = word.load(Ordering::SeqCst);
        let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
        bits.map(move |bit| index * 64 + bit)
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_ours_only_while_its_descriptor_is() {
        let open = || OwnedFd::from(std::fs::File::open("/dev/null").expect("a device"));
        let is_ours = |number| inherited().contains(&number);
        let fd = Ours::new(open());
        let number = fd.as_fd().as_raw_fd();
        assert!(is_ours(number));
        drop(fd);
        assert!(!is_ours(number));
        let fd = Ours::new(open());
        let number = fd.as_fd().as_raw_fd();
        let given_away = fd.give_away();
        assert!(!is_ours(number));
        drop(given_away);
    }
}
