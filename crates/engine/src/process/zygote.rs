//! The zygote, seen from the engine: a freshly started, single-threaded process that forks the
//! workers, so that starting one costs milliseconds and none inherits a lock of this process.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use lineshaft_core::WorkerId;
use lineshaft_wire::{Flushed, Receiver, Sender, ToZygote, WireError};

use crate::error::EngineError;
use crate::options::Program;
use crate::poller::Source;
use crate::shared::Shared;

use super::ProcessPool;

/// The zygote, seen from the engine.
pub(super) struct Zygote {
    /// Which of the engine's zygotes it is.
    pub(super) number: u32,
    pub(super) socket: OwnedFd,
    pub(super) receiver: Receiver,
    sender: Sender,
    /// Its end of the socket, until it is started.
    start: Option<OwnedFd>,
    child: Option<Child>,
    /// It has forked a worker, so it works.
    pub(super) proved: bool,
    waits_to_write: bool,
}

impl Zygote {
    /// Sets up the socket. What is sent waits in it until the loop thread has started the process.
    pub(super) fn prepare(
        shared: &Shared,
        number: u32,
        setup: Option<&[u8]>,
    ) -> Result<Zygote, EngineError> {
        let (socket, theirs) = lineshaft_wire::pair().map_err(EngineError::Zygote)?;
        shared.poller.add(socket.as_fd(), Source::Zygote)?;
        shared.role.send_errand(&shared.poller);
        let mut zygote = Zygote {
            number,
            socket,
            receiver: Receiver::new(),
            sender: Sender::new(),
            start: Some(theirs),
            child: None,
            proved: false,
            waits_to_write: false,
        };
        let program = shared.options.zygote.as_ref();
        if let Some(data) = setup.or_else(|| program.map(|program| program.setup.as_slice())) {
            zygote.set_up(data)?;
        }
        Ok(zygote)
    }

    /// Sets up the workers that it forks from now on.
    pub(super) fn set_up(&mut self, data: &[u8]) -> Result<(), EngineError> {
        self.sender.push(&ToZygote::SetUp { data }, [])?;
        Ok(())
    }

    pub(super) fn take_start(&mut self) -> Option<OwnedFd> {
        self.start.take()
    }

    pub(super) fn started(&mut self, child: Child) {
        self.child = Some(child);
    }

    pub(super) fn spawn(
        &mut self,
        worker: WorkerId,
        options: &ProcessPool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), EngineError> {
        let message = ToZygote::Spawn {
            worker: worker.0,
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
            // As for a worker: nothing is lost.
            Err(_) => (false, false),
        };
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            let registered = shared
                .poller
                .want_write(self.socket.as_fd(), Source::Zygote, waits);
            debug_assert!(registered.is_ok(), "the zygote's socket is registered");
        }
        sent
    }

    /// Stops listening to it, ends it and reaps it. It would end by itself when its socket closes,
    /// but only after its interpreter has tidied up, or never if it is stopped.
    pub(super) fn close(self, shared: &Shared) {
        shared.poller.remove(self.socket.as_fd());
        if let Some(child) = self.child {
            end(child);
        }
    }
}

/// Ends the process and reaps it.
pub(crate) fn end(mut child: Child) {
    // Both fail only if somebody else has reaped it. There is nobody to report its status to.
    let _: std::io::Result<()> = child.kill();
    let _: std::io::Result<std::process::ExitStatus> = child.wait();
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
