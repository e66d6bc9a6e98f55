//! A snapshot: a fork of this process, made by the front end, that serves as the zygote of one pool.
//! The pool's workers find what the program had at that moment.

use std::os::fd::{AsFd, OwnedFd};

use lineshaft_store::above_standard;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, pidfd_send_signal,
    waitid,
};

use crate::error::EngineError;

/// A forked child of this process that serves the zygote's protocol. It is ended and reaped when
/// this is dropped.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) socket: OwnedFd,
    pub(super) child: Forked,
}

/// A child that was forked, not executed, by its handle: somebody else may have reaped it, and then
/// its number may be another process's.
#[derive(Debug)]
pub(super) struct Forked(OwnedFd);

impl Snapshot {
    /// The child of number `pid`, which serves the other end of `socket`.
    pub fn new(socket: OwnedFd, pid: i32) -> Result<Snapshot, EngineError> {
        let pid = Pid::from_raw(pid).ok_or(EngineError::Protocol("a process without a number"))?;
        match pidfd_open(pid, PidfdFlags::empty()).and_then(above_standard) {
            Ok(handle) => Ok(Snapshot {
                socket,
                child: Forked(handle),
            }),
            Err(errno) => {
                end(pid);
                Err(EngineError::system("pidfd_open")(errno))
            }
        }
    }
}

/// Ends and reaps a child of which there is no handle.
fn end(pid: Pid) {
    // Who is our child and not reaped yet has its number for as long as that is so.
    let is_child = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if waitid(WaitId::Pid(pid), is_child).is_ok() {
        // Both fail only if somebody else reaps it just now.
        let _: Result<(), Errno> = kill_process(pid, Signal::KILL);
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {}
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // Both fail only if it was reaped by somebody else, as a program may that waits for any child.
        let _: Result<(), Errno> = pidfd_send_signal(&self.0, Signal::KILL);
        while let Err(Errno::INTR) = waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED) {}
    }
}
