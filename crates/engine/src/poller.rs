//! The set of descriptors the engine listens to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineshaft_core::{Time, WorkerId};
use lineshaft_store::above_standard;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;

use crate::clock;
use crate::error::EngineError;

/// What became ready.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Source {
    /// Captured output of a worker. Sorts first: what a task printed is taken before its result.
    Output(WorkerId, Stream),
    /// The socket of a worker.
    Worker(WorkerId),
    /// The socket of a zygote, by its number. Sorts behind the workers: the news of a death after
    /// what the dead had still sent.
    Zygote(u32),
    /// Somebody wants whoever polls to look around.
    Wake,
}

/// One of the two output streams of a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

const KIND_SHIFT: u32 = 32;

impl Source {
    fn encode(self) -> u64 {
        let (kind, id) = match self {
            Source::Wake => (0, 0),
            Source::Zygote(number) => (1, number),
            Source::Worker(worker) => (2, worker.0),
            Source::Output(worker, Stream::Stdout) => (3, worker.0),
            Source::Output(worker, Stream::Stderr) => (4, worker.0),
        };
        (kind << KIND_SHIFT) | u64::from(id)
    }

    fn decode(word: u64) -> Source {
        let id = u32::try_from(word & u64::from(u32::MAX)).expect("masked to 32 bits");
        let worker = WorkerId(id);
        match word >> KIND_SHIFT {
            0 => Source::Wake,
            1 => Source::Zygote(id),
            2 => Source::Worker(worker),
            3 => Source::Output(worker, Stream::Stdout),
            4 => Source::Output(worker, Stream::Stderr),
            kind => unreachable!("no source of kind {kind} is ever registered"),
        }
    }
}

/// The set of descriptors the engine listens to. Only the holder of the poll role (see
/// `poll_role`) may call `wait`; everything else may be called by anyone.
///
/// # Deadlines
///
/// Anyone may set a deadline that is earlier than the one somebody sleeps for. Whoever is about to
/// sleep first announces that it sleeps for ever, then reads the deadline, then announces that;
/// whoever sets a deadline first writes it, then reads what is announced. All four are sequentially
/// consistent, so either the sleeper sees the new deadline or the setter sees the sleeper and wakes
/// it. The loop thread announces in a word of its own: for a moment it sleeps beside the caller that
/// took the role from it, and must not wipe out what that one has announced.
pub(crate) struct Poller {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    /// Wakes the loop thread, and no one else, so that it gives the poll role up.
    loop_kick: OwnedFd,
    /// When something is due next, whether or not anything becomes ready.
    next_deadline: AtomicU64,
    /// Until when the holder of the poll role sleeps at most; 0 while it is awake.
    sleeps_until: AtomicU64,
    /// The same of the loop thread.
    loop_sleeps_until: AtomicU64,
}

/// A descriptor that can be signalled and polled.
pub(crate) fn event_descriptor() -> Result<OwnedFd, EngineError> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .and_then(above_standard)
        .map_err(EngineError::system("eventfd"))
}

/// Makes an event descriptor readable.
pub(crate) fn signal(fd: &OwnedFd) {
    // It can only fail by being full, and then it is readable already.
    let _: Result<usize, Errno> = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

/// Makes a descriptor that was signalled unreadable again.
pub(crate) fn drain(fd: &OwnedFd) {
    // It can only fail by being empty already.
    let _: Result<usize, Errno> = rustix::io::read(fd, &mut [0_u8; 8]);
}

impl Poller {
    pub(crate) fn new() -> Result<Poller, EngineError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .and_then(above_standard)
            .map_err(EngineError::system("epoll_create"))?;
        let wake = Arc::new(event_descriptor()?);
        let poller = Poller {
            epoll,
            wake,
            loop_kick: event_descriptor()?,
            next_deadline: AtomicU64::new(Time::NEVER.0),
            sleeps_until: AtomicU64::new(0),
            loop_sleeps_until: AtomicU64::new(0),
        };
        poller.add(poller.wake.as_fd(), Source::Wake)?;
        Ok(poller)
    }

    /// What a thread that polls is woken by.
    pub(crate) fn wake_descriptor(&self) -> &Arc<OwnedFd> {
        &self.wake
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, source: Source) -> Result<(), EngineError> {
        let data = epoll::EventData::new_u64(source.encode());
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
            .map_err(EngineError::system("epoll_ctl"))
    }

    /// Listens, or no longer, for room in the descriptor's outgoing buffer.
    pub(crate) fn want_write(
        &self,
        fd: BorrowedFd<'_>,
        source: Source,
        want: bool,
    ) -> Result<(), EngineError> {
        let data = epoll::EventData::new_u64(source.encode());
        let flags = if want {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        epoll::modify(&self.epoll, fd, data, flags).map_err(EngineError::system("epoll_ctl"))
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // A descriptor that is not in the set is what we want.
        let _: Result<(), Errno> = epoll::delete(&self.epoll, fd);
    }

    /// Makes whoever polls look around.
    pub(crate) fn wake(&self) {
        signal(&self.wake);
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Time {
        Time(self.next_deadline.load(Ordering::SeqCst))
    }

    /// Says when something is due next; whoever sleeps beyond that looks around.
    pub(crate) fn set_deadline(&self, deadline: Time) {
        self.next_deadline.store(deadline.0, Ordering::SeqCst);
        let sleepers = [&self.sleeps_until, &self.loop_sleeps_until];
        if sleepers
            .iter()
            .any(|until| deadline.0 < until.load(Ordering::SeqCst))
        {
            self.wake();
        }
    }

    pub(crate) fn kick_loop(&self) {
        signal(&self.loop_kick);
    }

    /// Sleeps until something is ready, a deadline has come or a signal arrived, but not beyond
    /// `latest`; appends what is ready, each once, in the order of `Source`. True if a signal arrived.
    pub(crate) fn wait(
        &self,
        latest: Option<Time>,
        ready: &mut Vec<Source>,
    ) -> Result<bool, EngineError> {
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let timeout = if latest == Some(Time(0)) {
            Some(Timespec::default()) // a look, not a sleep: there is nothing to announce
        } else {
            self.announce(&self.sleeps_until, latest)
        };
        let outcome = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref());
        self.sleeps_until.store(0, Ordering::SeqCst);
        match outcome {
            Ok((events, _)) => {
                ready.extend(events.iter().map(|event| Source::decode(event.data.u64())));
                ready.sort_unstable();
                if ready.last() == Some(&Source::Wake) {
                    drain(&self.wake);
                    ready.pop();
                }
                Ok(false)
            }
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(EngineError::system("epoll_wait")(errno)),
        }
    }

    /// The loop thread's way to sleep: it wakes for everything that `wait` wakes for, without
    /// taking it, and for `kick_loop`.
    pub(crate) fn wait_in_loop(&self) -> Result<(), EngineError> {
        let timeout = self.announce(&self.loop_sleeps_until, None);
        let mut watched = [
            PollFd::new(&self.epoll, PollFlags::IN),
            PollFd::new(&self.loop_kick, PollFlags::IN),
        ];
        let outcome = poll(&mut watched, timeout.as_ref());
        self.loop_sleeps_until.store(0, Ordering::SeqCst);
        match outcome {
            Ok(_) | Err(Errno::INTR) => {
                if !watched[1].revents().is_empty() {
                    drain(&self.loop_kick);
                }
                Ok(())
            }
            Err(errno) => Err(EngineError::system("poll")(errno)),
        }
    }

    /// Announces how long the thread sleeps; returns that.
    fn announce(&self, sleeps_until: &AtomicU64, latest: Option<Time>) -> Option<Timespec> {
        sleeps_until.store(Time::NEVER.0, Ordering::SeqCst);
        let until = latest
            .unwrap_or(Time::NEVER)
            .min(Time(self.next_deadline.load(Ordering::SeqCst)));
        sleeps_until.store(until.0, Ordering::SeqCst);
        if until == Time::NEVER {
            return None;
        }
        let left: Duration = until - clock::now();
        Some(Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        })
    }
}
