//! The pipes that a worker's standard output and error are.

use std::os::fd::{AsFd, BorrowedFd};

use lineshaft_core::TaskId;
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use crate::marks::mark;

/// Which files standard output and error were when the worker began. Tasks put others in their places.
pub(super) struct OutputPipes([Option<FileId>; 2]);

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl OutputPipes {
    pub(super) fn of_process() -> OutputPipes {
        OutputPipes([
            pipe_at(std::io::stdout().as_fd()),
            pipe_at(std::io::stderr().as_fd()),
        ])
    }

    /// Writes whose is what follows, if this still is one of them.
    pub(super) fn mark(&self, fd: BorrowedFd<'_>, task: Option<TaskId>) {
        let found = pipe_at(fd);
        if found.is_none() || !self.0.contains(&found) {
            return;
        }
        let mark = mark(task);
        // One that cannot be written belongs to an engine that is gone.
        while rustix::io::write(fd, &mark) == Err(Errno::INTR) {}
    }
}

fn pipe_at(fd: BorrowedFd<'_>) -> Option<FileId> {
    let stat = fstat(fd).ok()?;
    FileType::from_raw_mode(stat.st_mode)
        .is_fifo()
        .then_some(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
}
