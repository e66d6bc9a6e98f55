//! The port, and the descriptors that a fork of this process must not keep.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::limits;

/// Descriptors of all servers of this process; -1 where there is none. Atomics, because a child may
/// have been forked while any lock was held. One that finds no place is kept by forked children,
/// which is untidy and no more.
static OPEN: [AtomicI32; PLACES] = [const { AtomicI32::new(-1) }; PLACES];

const PLACES: usize = 1_024;

/// Listens on the usual port, or the next one that is free.
pub(crate) fn bind() -> io::Result<Noted<TcpListener>> {
    let usual = limits::PORT..limits::PORT + limits::PORTS_TRIED;
    let mut bound = None;
    // The last one leaves it to the kernel.
    for port in usual.chain([0]) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                bound = Some(listener);
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    let listener = bound.ok_or(io::ErrorKind::AddrInUse)?;
    listener.set_nonblocking(true)?;
    Ok(Noted::new(listener))
}

/// A descriptor that is in the table for as long as this is there.
pub(crate) struct Noted<T> {
    place: Option<usize>,
    inner: T,
}

impl<T: AsFd> Noted<T> {
    pub(crate) fn new(inner: T) -> Noted<T> {
        let place = note(inner.as_fd().as_raw_fd());
        Noted { place, inner }
    }

    pub(crate) fn get(&self) -> &T {
        &self.inner
    }
}

impl Noted<()> {
    /// For a descriptor that somebody else owns and closes no sooner.
    pub(crate) fn of(fd: &impl AsFd) -> Noted<()> {
        let place = note(fd.as_fd().as_raw_fd());
        Noted { place, inner: () }
    }
}

impl<T> Drop for Noted<T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            OPEN[place].store(-1, Ordering::SeqCst);
        }
    }
}

fn note(fd: RawFd) -> Option<usize> {
    let free = |place: &AtomicI32| {
        place
            .compare_exchange(-1, fd, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    };
    OPEN.iter().position(free)
}

/// In a forked child: its copies of sockets of its parent's dashboards, so that it can give them up.
/// Otherwise a port would stay open that the parent has closed. They should be replaced, not closed,
/// because objects that own the numbers exist in the child as well.
pub fn take_inherited() -> Vec<RawFd> {
    let all = OPEN.iter().map(|place| place.swap(-1, Ordering::SeqCst));
    all.filter(|fd| *fd >= 0).collect()
}
