//! A zygote, seen from the engine: a single-threaded process that forks workers. The engine's own
//! one is freshly started, so that none of its workers inherits a lock of this process; a snapshot
//! is a fork of this process, so that its workers inherit everything.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use lineshaft_core::{PoolId, WorkerId};
use lineshaft_wire::{Flushed, Receiver, Sender, ToZygote, WireError};

use crate::aftermath::Discarded;
use crate::descriptors::Ours;
use crate::error::EngineError;
use crate::options::Program;
use crate::poller::Source;
use crate::shared::Shared;

use super::ProcessPool;
use super::snapshot::{Forked, Snapshot};

/// A zygote, seen from the engine.
pub(super) struct Zygote {
    /// Which of the engine's zygotes it is.
    pub(super) number: u32,
    /// The only pool that it forks workers for, if it is a snapshot.
    pub(super) pool: Option<PoolId>,
    pub(super) socket: Ours,
    pub(super) receiver: Receiver,
    sender: Sender,
    /// Its end of the socket, until it is started.
    start: Option<Ours>,
    process: Process,
    /// It has forked a worker, so it works.
    pub(super) proved: bool,
    /// It was asked to end.
    pub(super) leaving: bool,
    waits_to_write: bool,
}

/// What is known of its process.
enum Process {
    /// It is still to be started.
    Unknown,
    Started(Child),
    /// Is reaped with this.
    Killed(#[expect(dead_code, reason = "it is kept for what it does when dropped")] Dying),
    /// Ends with this.
    Forked(#[expect(dead_code, reason = "it is kept for what it does when dropped")] Forked),
}

impl Zygote {
    /// Sets up the socket. What is sent waits in it until the loop thread has started the process.
    pub(super) fn prepare(
        shared: &Shared,
        number: u32,
        setup: Option<&[u8]>,
    ) -> Result<Zygote, EngineError> {
        let (socket, theirs) = lineshaft_wire::pair().map_err(EngineError::Zygote)?;
        let (socket, theirs) = (Ours::new(socket), Ours::new(theirs));
        let mut zygote = Zygote {
            number,
            pool: None,
            socket,
            receiver: Receiver::new(),
            sender: Sender::new(),
            start: Some(theirs),
            process: Process::Unknown,
            proved: false,
            leaving: false,
            waits_to_write: false,
        };
        zygote.listen(shared)?;
        shared.role.send_errand(&shared.poller);
        let program = shared.options.zygote.as_ref();
        if let Some(data) = setup.or_else(|| program.map(|program| program.setup.as_slice())) {
            zygote.set_up(data)?;
        }
        Ok(zygote)
    }

    /// Takes in a snapshot, which is set up and running.
    pub(super) fn adopt(number: u32, pool: PoolId, snapshot: Snapshot) -> Zygote {
        let Snapshot { socket, child } = snapshot;
        Zygote {
            number,
            pool: Some(pool),
            socket: Ours::new(socket),
            receiver: Receiver::new(),
            sender: Sender::new(),
            start: None,
            process: Process::Forked(child),
            proved: false,
            leaving: false,
            waits_to_write: false,
        }
    }

    /// Begins to listen to it.
    pub(super) fn listen(&self, shared: &Shared) -> Result<(), EngineError> {
        let source = Source::Zygote(self.number);
        shared.poller.add(self.socket.as_fd(), source)
    }

    /// Lets it end: it reads the end of the socket, and we read the end of its side. Killing it and
    /// waiting for that could take long, for it has the memory of the program.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        // It fails only if the other end is closed already.
        let _: rustix::io::Result<()> =
            rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Sets up the workers that it forks from now on.
    pub(super) fn set_up(&mut self, data: &[u8]) -> Result<(), EngineError> {
        self.sender.push(&ToZygote::SetUp { data }, [])?;
        Ok(())
    }

    pub(super) fn take_start(&mut self) -> Option<OwnedFd> {
        self.start.take().map(Ours::give_away)
    }

    pub(super) fn started(&mut self, child: Child) {
        self.process = Process::Started(child);
    }

    pub(super) fn spawn(
        &mut self,
        worker: WorkerId,
        options: &ProcessPool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), EngineError> {
        let message = ToZygote::Spawn {
            worker: worker.0,
            pool_workers: options.workers,
            growth_bytes_max: options.growth_bytes_max,
            tasks_max: options.tasks_per_worker_max,
        };
        self.sender.push(&message, descriptors)?;
        Ok(())
    }

    /// Sends what is waiting. False if the kernel wants to be asked again a little later.
    pub(super) fn flush(&mut self, shared: &Shared) -> bool {
        if self.sender.is_empty() {
            return true;
        }
        let (waits, sent) = match self.sender.flush(self.socket.as_fd()) {
            Ok(Flushed::Blocked) => (true, true),
            // It has ended; its end of file follows.
            Ok(Flushed::Done) | Err(WireError::Closed) => (false, true),
            Err(error) if error.is_passing() => (false, false),
            Err(_) => {
                // Its end of file follows. It fails only if the other end is closed already.
                let _: rustix::io::Result<()> =
                    rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
                (false, true)
            }
        };
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            let registered =
                shared
                    .poller
                    .want_write(self.socket.as_fd(), Source::Zygote(self.number), waits);
            debug_assert!(registered.is_ok(), "the zygote's socket is registered");
        }
        sent
    }

    /// Stops listening to it and kills it; what is left waits for its end when it is dropped. It
    /// would end by itself when its socket closes, but only after its interpreter has tidied up, or
    /// never if it is stopped.
    pub(super) fn close(mut self, shared: &Shared) -> Discarded {
        shared.poller.remove(self.socket.as_fd());
        drop(self.take_start());
        self.process = match self.process {
            Process::Started(child) => Process::Killed(Dying::kill(child)),
            other => other,
        };
        match self.pool {
            Some(pool) => Discarded::Snapshot(pool, Box::new(self)),
            None => Discarded::other(self),
        }
    }
}

/// A process that was killed. Reaped when it is dropped, which takes as long as the kernel needs to
/// give back its memory.
pub(crate) struct Dying(Child);

impl Dying {
    pub(crate) fn kill(mut child: Child) -> Dying {
        // Fails only if somebody else has reaped it.
        let _: std::io::Result<()> = child.kill();
        Dying(child)
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        // As above; there is nobody to report its status to.
        let _: std::io::Result<std::process::ExitStatus> = self.0.wait();
    }
}

/// Starts the program with the socket as its standard input, in a process group of its own so
/// that the terminal's Ctrl-C does not reach it.
pub(crate) fn start(program: &Program, socket: OwnedFd) -> std::io::Result<Child> {
    Command::new(&program.path)
        .args(&program.arguments)
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::from(socket))
        .process_group(0)
        .spawn()
}
