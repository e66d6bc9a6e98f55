//! The zygote of these tests: this test executable itself, started again.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lineshaft_wire::{Filled, FromZygote, Receiver, Sender, ToZygote};
use rustix::event::{PollFd, PollFlags};
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags};

use crate::worker::{OPTIONS, ROLE, stdin, until_exists};

/// A file before which the zygote does not say that it has started a worker.
pub const LATE: &str = "LINESHAFT_TEST_LATE";

/// How many of the first workers it says that it cannot fork.
pub const FAILS: &str = "LINESHAFT_TEST_FORKS_FAIL";

/// Starts workers. They are spawned rather than forked, which the engine cannot tell.
pub fn be_zygote() {
    let socket = stdin();
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    let mut children: Vec<(u32, Child, OwnedFd)> = Vec::new();
    let failures = std::env::var(FAILS).map_or(0_u32, |count| count.parse().expect("a number"));
    let mut asked_for = 0;
    loop {
        let mut polled = vec![PollFd::new(&socket, PollFlags::IN)];
        polled.extend(
            children
                .iter()
                .map(|(_, _, handle)| PollFd::new(handle, PollFlags::IN)),
        );
        rustix::event::poll(&mut polled, None).expect("poll");
        let ended = match receiver.fill(socket.as_fd()).expect("a healthy socket") {
            Filled::Eof => return,
            Filled::Data | Filled::WouldBlock => children.iter_mut().position(|(_, child, _)| {
                let ended = child.try_wait().expect("a child");
                ended.is_some()
            }),
        };
        while let Some((frame, descriptors)) = receiver.next_frame().expect("a frame") {
            let message = lineshaft_wire::decode::<ToZygote<'_>>(frame).expect("a message");
            let ToZygote::Spawn {
                worker, tasks_max, ..
            } = message
            else {
                continue;
            };
            let mut next = || descriptors.take_fd().expect("six descriptors");
            let (socket, control, budget) = (next(), next(), next());
            let (stdout, stderr, _crash) = (next(), next(), next());
            asked_for += 1;
            if asked_for <= failures {
                let errno = rustix::io::Errno::AGAIN.raw_os_error();
                sender
                    .push(&FromZygote::SpawnFailed { worker, errno }, [])
                    .expect("fits");
                continue;
            }
            for inherited in [&control, &budget] {
                rustix::io::fcntl_setfd(inherited, FdFlags::empty()).expect("fcntl");
            }
            let tasks_max = tasks_max.unwrap_or(0);
            let (control_fd, budget_fd) = (control.as_raw_fd(), budget.as_raw_fd());
            let child = Command::new("/proc/self/exe")
                .env(ROLE, "worker")
                .env(OPTIONS, format!("{control_fd} {budget_fd} {tasks_max}"))
                .stdin(Stdio::from(socket))
                .stdout(Stdio::from(stdout))
                .stderr(Stdio::from(stderr))
                .spawn()
                .expect("a worker starts");
            let pid = child.id();
            let handle = Pid::from_raw(pid.cast_signed()).expect("not 0");
            let handle = rustix::process::pidfd_open(handle, PidfdFlags::empty()).expect("pidfd");
            children.push((worker, child, handle));
            if let Some(file) = std::env::var_os(LATE) {
                until_exists(Path::new(&file));
            }
            sender
                .push(&FromZygote::Spawned { worker, pid }, [])
                .expect("fits");
        }
        if let Some(at) = ended {
            let (worker, mut child, _) = children.remove(at);
            let status = child.wait().expect("a child").into_raw();
            let message = FromZygote::Exited {
                worker,
                status,
                peak_memory_bytes: 1 << 20,
                cpu_ns: 1 << 20,
            };
            sender.push(&message, []).expect("fits");
        }
        if sender.flush_blocking(socket.as_fd()).is_err() {
            return;
        }
    }
}
