//! What is known of the death of a worker, and the stack that it wrote before.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use lineshaft_core::TaskId;
use lineshaft_store::above_standard;
use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};

use crate::error::EngineError;
use crate::limits::STACK_BYTES_MAX;
use crate::outcome::DeathReport;

use super::inspect::counted;
use super::worker::Worker;

/// How `faulthandler` begins what it writes at a crash, and not when it is asked.
const FATAL: &str = "Fatal Python error:";

const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Describes how a process with this wait status ended. The task is still to be named.
pub(super) fn report(worker: &Worker, status: Option<i32>, peak_memory_bytes: u64) -> DeathReport {
    let (signal, exit_code) = match status.map(|status| (status & 0x7f, (status >> 8) & 0xff)) {
        Some((0, code)) => (None, Some(code)),
        Some((signal, _)) => (Some(signal), None),
        None => (Some(KILL), None),
    };
    DeathReport {
        task: String::new(),
        pid: worker.pid().unwrap_or(0),
        signal,
        exit_code,
        peak_memory_bytes: (peak_memory_bytes > 0).then_some(peak_memory_bytes),
        oom_killed: signal == Some(KILL) && is_oom_kill(),
        item: worker.control.item(),
        stack: worker.last_stack(),
    }
}

/// A file in memory that a worker's crash handler writes stacks to, one at a time.
pub(super) struct CrashFile {
    file: OwnedFd,
    pub(super) stack_for: StackFor,
}

/// Whom the worker was last asked for its stack for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StackFor {
    /// For nobody who has not read it.
    Nobody,
    /// For somebody who looks at what it runs: this task, when it was asked.
    Reader(TaskId),
    /// For the report of its death. It is about to be killed.
    Report,
}

impl CrashFile {
    pub(super) fn create() -> Result<CrashFile, EngineError> {
        let file = memfd_create("lineshaft-crash", MemfdFlags::CLOEXEC)
            .and_then(above_standard)
            .map_err(EngineError::system("memfd_create"))?;
        Ok(CrashFile {
            file,
            stack_for: StackFor::Nobody,
        })
    }

    /// The file, for the worker.
    pub(super) fn fd(&self) -> Result<OwnedFd, EngineError> {
        self.file.try_clone().map_err(|source| EngineError::System {
            what: "dup",
            source,
        })
    }

    /// What the crash handler wrote, if it wrote anything.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = vec![0_u8; STACK_BYTES_MAX];
        let count = rustix::io::pread(&self.file, &mut text, 0).ok()?;
        text.truncate(count);
        (count > 0).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    /// Makes room for the next stack.
    pub(super) fn empty(&self) {
        // The worker writes where the shared offset is. A stale stack in a later report is a
        // blemish, no reason to end anything.
        if ftruncate(&self.file, 0).is_ok() {
            let _: Result<u64, rustix::io::Errno> = seek(&self.file, SeekFrom::Start(0));
        }
    }
}

impl Worker {
    /// The stack that it wrote for the report of its death, when it crashed or was condemned; or else for
    /// somebody who looked at it, if that was of the task that it ran last.
    fn last_stack(&self) -> Option<String> {
        let Some(text) = self.crash.text() else {
            return self.held_stack();
        };
        let StackFor::Reader(task) = self.crash.stack_for else {
            return Some(text);
        };
        match text.find(FATAL) {
            Some(at) => Some(text[at..].to_owned()),
            None => (self.control.task() == task.0).then(|| counted(&text).1.to_owned()),
        }
    }

    /// It is about to be killed: has it write its stack, and nothing else from now on.
    pub(super) fn condemn(&mut self) {
        self.crash.stack_for = StackFor::Report;
        self.crash.empty();
        self.dump_stack();
    }
}

/// A wait status in words.
pub(super) fn words(status: i32) -> String {
    match status & 0x7f {
        0 => format!("exited with status {}", (status >> 8) & 0xff),
        signal => format!("killed by signal {signal}"),
    }
}

/// How many processes the kernel had killed for lack of memory when a worker was last started, and those
/// that we know of since.
static OOM_KILLS_KNOWN: AtomicU64 = AtomicU64::new(0);

/// A worker has been started: what was killed before, it was not.
pub(super) fn note_start() {
    OOM_KILLS_KNOWN.store(oom_kills().unwrap_or(0), Ordering::Relaxed);
}

/// Whether a death by SIGKILL is one of those that the kernel has counted and that nothing else accounts
/// for.
fn is_oom_kill() -> bool {
    let known = OOM_KILLS_KNOWN.load(Ordering::Relaxed);
    let is_new = oom_kills().is_some_and(|count| count > known);
    if is_new {
        OOM_KILLS_KNOWN.store(known + 1, Ordering::Relaxed);
    }
    is_new
}

/// The kernel's counter, of version 2 or 1 of cgroups, or of the whole machine.
fn oom_kills() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut files: Vec<(PathBuf, &str)> = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            files.push((
                PathBuf::from("/sys/fs/cgroup")
                    .join(path)
                    .join("memory.events"),
                "oom_kill ",
            ));
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push((
                PathBuf::from("/sys/fs/cgroup/memory")
                    .join(path)
                    .join("memory.oom_control"),
                "oom_kill ",
            ));
        }
    }
    files.push((PathBuf::from("/proc/vmstat"), "oom_kill "));
    files.iter().find_map(|(file, key)| {
        let text = fs::read_to_string(file).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    })
}
