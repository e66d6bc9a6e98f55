//! What is known of the death of a worker.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::limits::STACK_BYTES_MAX;
use crate::outcome::DeathReport;

use super::worker::Worker;

const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Describes how a process with this wait status ended.
pub(super) fn report(
    worker: &Worker,
    task: String,
    status: Option<i32>,
    peak_memory_bytes: u64,
) -> DeathReport {
    let (signal, exit_code) = match status.map(|status| (status & 0x7f, (status >> 8) & 0xff)) {
        Some((0, code)) => (None, Some(code)),
        Some((signal, _)) => (Some(signal), None),
        None => (Some(KILL), None),
    };
    DeathReport {
        task,
        pid: worker.pid().unwrap_or(0),
        signal,
        exit_code,
        peak_memory_bytes: (peak_memory_bytes > 0).then_some(peak_memory_bytes),
        oom_killed: signal == Some(KILL) && oom_kills_since_start() > 0,
        item: worker.control.item(),
        stack: worker.stack(),
    }
}

impl Worker {
    /// What the crash handler wrote.
    pub(super) fn stack(&self) -> Option<String> {
        let mut text = vec![0_u8; STACK_BYTES_MAX];
        let count = rustix::io::pread(&self.crash, &mut text, 0).ok()?;
        text.truncate(count);
        (count > 0).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    /// It is about to be killed: has it write its stack, and nothing else from now on.
    pub(super) fn condemn(&mut self) {
        self.condemned = true;
        self.sampled = None;
        self.forget_stack();
        self.dump_stack();
    }

    /// It lives on.
    pub(super) fn pardon(&mut self) {
        self.condemned = false;
        self.forget_stack();
    }

    /// Empties what the crash handler writes to.
    pub(super) fn forget_stack(&self) {
        // The worker writes where the shared offset is. A stale stack in a later report is a
        // blemish, no reason to end anything.
        if rustix::fs::ftruncate(&self.crash, 0).is_ok() {
            let _: Result<u64, rustix::io::Errno> =
                rustix::fs::seek(&self.crash, rustix::fs::SeekFrom::Start(0));
        }
    }
}

/// A wait status in words.
pub(super) fn words(status: i32) -> String {
    match status & 0x7f {
        0 => format!("exited with status {}", (status >> 8) & 0xff),
        signal => format!("killed by signal {signal}"),
    }
}

/// How often the kernel killed a process of our cgroup for lack of memory since the first worker
/// was started.
fn oom_kills_since_start() -> u64 {
    static AT_START: OnceLock<u64> = OnceLock::new();
    let now = oom_kills().unwrap_or(0);
    now - *AT_START.get_or_init(|| now).min(&now)
}

/// Notes the counter, so that later deaths are judged by its growth.
pub(super) fn note_start() {
    oom_kills_since_start();
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
