//! One worker process, seen from the engine: what was sent to it, and the ways to reach it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use lineshaft_core::{Attempt, PoolId, TaskId, Time, WorkerId};
use lineshaft_store::{Pin, SharedPage, above_standard};
use lineshaft_wire::{ControlPage, Flushed, Receiver, Sender, ToWorker, WireError};
use rustc_hash::FxHashMap;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::descriptors::Ours;
use crate::error::EngineError;
use crate::limits::DESCRIPTORS_WAITING_MAX;
use crate::options::Work;
use crate::output::{OutputPipe, output_pipe};
use crate::payload::{Code, CodeId, Payload};
use crate::poller::Source;
use crate::promise::Promise;
use crate::shared::Shared;
use crate::tasks::Task;
use crate::worker::{DUMP_SIGNAL, INTERRUPT_SIGNAL, LOOK_SIGNAL};

use super::Processes;
use super::crash::CrashFile;
use super::in_flight::{InFlight, Sent};
use super::look::Look;
use super::pace::Pace;
use super::pinned::Pinned;
use super::places::Place;

/// One worker process, seen from the engine.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) pool: PoolId,
    /// The number of the zygote that it is forked from.
    pub(super) zygote: u32,
    pub(super) socket: Ours,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) control: SharedPage<ControlPage>,
    pub(super) in_flight: InFlight,
    /// Definitions that it has, and the objects that it may read of them.
    known: FxHashMap<CodeId, Vec<Pin>>,
    /// Objects of the initializer's arguments.
    initial: Vec<Pin>,
    /// Results of nested calls that it was sent and may read until it forgets the call.
    pub(super) answered: FxHashMap<u64, Vec<Pin>>,
    /// Objects that it no longer reads, to be unpinned outside of the state lock.
    pub(super) released: Vec<Pin>,
    /// Why nothing that it says is believed any more, in words for the task that has to answer for it.
    pub(super) garbage: Option<String>,
    pub(super) stdout: Option<OutputPipe>,
    pub(super) stderr: Option<OutputPipe>,
    pub(super) crash: CrashFile,
    /// When somebody looked at it last, if it runs the same task.
    pub(super) look: Option<Look>,
    /// Its place in its pool, if it has begun.
    pub(super) place: Option<Place>,
    /// How often it is looked at.
    pub(super) pace: Pace,
    pid: Option<u32>,
    /// To signal the process by; none if it had ended by the time we heard of it.
    process: Option<OwnedFd>,
    /// It will be killed, at the latest when its process is known, and begins nothing more.
    pub(super) doomed: bool,
    /// The scheduler no longer counts on it; only its process is left.
    pub(super) departed: bool,
    /// It was asked to end.
    pub(super) retired: bool,
    /// The engine ends it because nobody wants what it runs, or because somebody who looks at it said so: its
    /// end is no death.
    pub(super) unwanted: bool,
    /// Since when it is about to end by itself, if it is (`leaving`).
    pub(super) leaving_since: Option<Time>,
    /// It may take as long for that as it needs.
    pub(super) patient: bool,
    /// It has begun at least one task.
    pub(super) proved: bool,
    /// The task that it runs waits for others.
    pub(super) blocked: bool,
    /// It has printed something, so it is worth asking whether it has again.
    pub(super) prints: bool,
    waits_to_write: bool,
    /// Nested calls that it made and has not forgotten.
    pub(super) calls: FxHashMap<u64, Arc<Promise>>,
    /// Definitions that it sent for nested calls.
    pub(super) codes: FxHashMap<u64, Arc<Code>>,
    /// Pools that it opened for nested calls.
    pub(super) pools: FxHashMap<u64, PoolId>,
}

impl Worker {
    /// Sets up both ends of everything a worker needs; returns what its process is to inherit.
    pub(super) fn prepare(
        shared: &Shared,
        id: WorkerId,
        pool: PoolId,
        zygote: u32,
    ) -> Result<(Worker, Vec<OwnedFd>), EngineError> {
        let (socket, theirs) = lineshaft_wire::pair().map_err(|source| EngineError::System {
            what: "socketpair",
            source,
        })?;
        let socket = Ours::new(socket);
        let control: SharedPage<ControlPage> = SharedPage::create()?;
        let (stdout, their_stdout) = output_pipe()?;
        let (stderr, their_stderr) = output_pipe()?;
        let crash = CrashFile::create()?;
        let inherited = vec![
            theirs,
            control.fd()?,
            shared.store.budget_page().fd()?,
            their_stdout,
            their_stderr,
            crash.fd()?,
        ];
        let worker = Worker {
            id,
            pool,
            zygote,
            socket,
            sender: Sender::new(),
            receiver: Receiver::new(),
            control,
            in_flight: InFlight::default(),
            known: FxHashMap::default(),
            initial: Vec::new(),
            answered: FxHashMap::default(),
            released: Vec::new(),
            garbage: None,
            stdout: Some(OutputPipe::new(stdout)),
            stderr: Some(OutputPipe::new(stderr)),
            crash,
            look: None,
            place: None,
            pace: Pace::default(),
            pid: None,
            process: None,
            doomed: false,
            departed: false,
            retired: false,
            unwanted: false,
            leaving_since: None,
            patient: false,
            proved: false,
            blocked: false,
            prints: false,
            waits_to_write: false,
            calls: FxHashMap::default(),
            codes: FxHashMap::default(),
            pools: FxHashMap::default(),
        };
        Ok((worker, inherited))
    }

    /// Begins to listen to it.
    pub(super) fn listen(&self, shared: &Shared) -> Result<(), EngineError> {
        let pipes = [&self.stdout, &self.stderr].into_iter().flatten();
        let ends = std::iter::once(&self.socket).chain(pipes.map(|pipe| &pipe.fd));
        for (end, source) in ends.zip(Processes::sources(self.id)) {
            shared.poller.add(end.as_fd(), source)?;
        }
        Ok(())
    }

    pub(super) fn spawned(&mut self, pid: u32) {
        let handle = i32::try_from(pid).ok().and_then(Pid::from_raw);
        self.pid = Some(pid);
        // Without a handle it has already ended, and the zygote is about to say so.
        let open = |handle| pidfd_open(handle, PidfdFlags::empty()).and_then(above_standard);
        self.process = handle.and_then(|handle| open(handle).ok());
        if self.doomed {
            self.kill();
        } else if self.control.interrupt() != 0 {
            // Its first task began, and ran out of time, before we heard of its process.
            self.signal(INTERRUPT_SIGNAL);
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(super) fn send_initializer(
        &mut self,
        code: &Code,
        definitions: &[Arc<Code>],
        args: &Payload,
    ) -> Result<(), EngineError> {
        for definition in definitions {
            self.teach(definition)?;
        }
        self.teach(code)?;
        self.initial = args.pins();
        let mut descriptors = Vec::new();
        args.descriptors(&mut descriptors)?;
        self.sender.push(
            &ToWorker::Initialize {
                code: code.id.0,
                args: args.to_wire(),
            },
            descriptors,
        )?;
        Ok(())
    }

    /// Sends a task. True if the worker's messages have to be flushed.
    pub(super) fn send_task(
        &mut self,
        id: TaskId,
        attempt: Attempt,
        task: &Task,
    ) -> Result<bool, EngineError> {
        let Work::Remote {
            code,
            definitions,
            args,
            each,
        } = &task.work
        else {
            unreachable!("a process pool is only given calls that can be sent")
        };
        for definition in definitions {
            self.teach(definition)?;
        }
        self.teach(code)?;
        let mut descriptors = Vec::new();
        let mut pins = args.pins();
        args.descriptors(&mut descriptors)?;
        let mut inputs = Vec::with_capacity(task.inputs.len());
        for input in &task.inputs {
            let outcome = input.outcome().ok_or(EngineError::Protocol(
                "a task was to run before one that it depends on",
            ))?;
            let (payload, definitions) = outcome
                .for_worker()
                .map_err(|why| EngineError::Input(why.to_owned()))?;
            for definition in definitions {
                self.teach(definition)?;
            }
            pins.extend(payload.pins());
            payload.descriptors(&mut descriptors)?;
            inputs.push(payload.to_wire());
        }
        let message = ToWorker::Run {
            task: id.0,
            attempt: attempt.0,
            epoch: self.in_flight.epoch(),
            code: code.id.0,
            report_start: task.timed,
            each: *each,
            args: args.to_wire(),
            inputs,
        };
        self.sender.push(&message, descriptors)?;
        if self.sender.pending_descriptors() > DESCRIPTORS_WAITING_MAX {
            // What goes wrong here goes wrong again when the rest is flushed, which looks at it.
            let _: Result<Flushed, WireError> = self.sender.flush(self.socket.as_fd());
        }
        if self.control.interrupt() == id.0 {
            // That was meant for an earlier attempt.
            self.control.set_interrupt(0);
        }
        self.in_flight.push(Sent { task: id, attempt }, pins);
        Ok(true)
    }

    /// Sends a definition and what it needs, unless the worker has them.
    fn teach(&mut self, code: &Code) -> Result<(), EngineError> {
        if self.known.contains_key(&code.id) {
            return Ok(());
        }
        for needed in &code.needs {
            self.teach(needed)?;
        }
        let pins = code.body.pins();
        let mut descriptors = Vec::new();
        code.body.descriptors(&mut descriptors)?;
        self.sender.push(
            &ToWorker::Code {
                id: code.id.0,
                body: code.body.to_wire(),
            },
            descriptors,
        )?;
        self.known.insert(code.id, pins);
        Ok(())
    }

    /// Tells it to forget what it has of these definitions; whether there was anything.
    pub(super) fn forget(&mut self, unused: &[CodeId]) -> bool {
        let mut ids = Vec::new();
        for id in unused {
            if let Some(pins) = self.known.remove(id) {
                ids.push(id.0);
                self.released.extend(pins);
            }
        }
        if ids.is_empty() {
            return false;
        }
        self.send(&ToWorker::Forget { ids }, Vec::new());
        true
    }

    pub(super) fn send(&mut self, message: &ToWorker<'_>, descriptors: Vec<OwnedFd>) {
        if let Err(error) = self.sender.push(message, descriptors) {
            // What cannot be encoded is a defect of ours; the worker would wait for ever.
            debug_assert!(false, "message to a worker: {error}");
            self.kill();
        }
    }

    pub(super) fn send_exit(&mut self) {
        self.send(&ToWorker::Exit, Vec::new());
    }

    /// A task was reported. False if it is not one of the worker's.
    pub(super) fn reported(&mut self, task: TaskId, attempt: Attempt) -> bool {
        self.proved = true;
        self.blocked = false;
        let pins = self.in_flight.reported(Sent { task, attempt });
        let is_its = pins.is_some();
        self.released.extend(pins.into_iter().flatten());
        is_its
    }

    /// Whether it was sent the attempt and has neither reported it nor given it back.
    pub(super) fn has(&self, task: TaskId, attempt: Attempt) -> bool {
        let sent = Sent { task, attempt };
        self.in_flight.sent().any(|it| it == sent)
    }

    /// Nothing of what it was sent counts any more.
    pub(super) fn release_all(&mut self) {
        self.released.extend(self.in_flight.clear());
    }

    /// Takes back what the worker has not begun; what remains in flight has been begun.
    pub(super) fn retract(&mut self) -> Vec<Sent> {
        let (taken_back, pins) = self.in_flight.retract(self.control.retract());
        self.released.extend(pins);
        taken_back
    }

    /// What stays where it is because this worker may read it.
    pub(super) fn pinned(&self) -> Pinned {
        let of_definitions = self.known.values().flatten();
        let of_answers = self.answered.values().flatten();
        let others = self.initial.iter().chain(of_definitions).chain(of_answers);
        Pinned::by(self.in_flight.pins().chain(others))
    }

    /// The attempt that has been begun and not reported for the longest time.
    pub(super) fn oldest(&self) -> Option<Sent> {
        self.in_flight.sent().next()
    }

    /// The task it is running right now, as its control page has it.
    pub(super) fn running(&self) -> Option<Sent> {
        let task = TaskId(self.control.task());
        self.in_flight.sent().find(|sent| sent.task == task)
    }

    pub(super) fn is_running(&self, task: TaskId, attempt: Attempt) -> bool {
        self.running()
            .is_some_and(|sent| sent.task == task && sent.attempt == attempt)
    }

    pub(super) fn interrupt(&mut self, task: TaskId) {
        self.control.set_interrupt(task.0);
        self.signal(INTERRUPT_SIGNAL);
    }

    /// As a terminal would.
    pub(super) fn send_interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// Has it write its stack from wherever it is, which it may not survive.
    pub(super) fn dump_stack(&mut self) {
        self.signal(DUMP_SIGNAL);
    }

    /// Has it write its stack as soon as it can.
    pub(super) fn show_stack(&mut self) {
        self.signal(LOOK_SIGNAL);
    }

    pub(super) fn kill(&mut self) {
        self.doomed = true;
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(handle) = &self.process {
            // It can only fail because the process has ended, which the zygote reports.
            let _: Result<(), rustix::io::Errno> = pidfd_send_signal(handle, signal);
        }
    }

    /// Sends what is waiting. False if the kernel wants to be asked again a little later.
    pub(super) fn flush(&mut self, shared: &Shared) -> bool {
        let (waits, sent) = match self.sender.flush(self.socket.as_fd()) {
            Ok(Flushed::Blocked) => (true, true),
            // The process is ending, which the zygote reports.
            Ok(Flushed::Done) | Err(WireError::Closed) => (false, true),
            Err(error) if error.is_passing() => (false, false),
            Err(_) => {
                self.kill();
                (false, true)
            }
        };
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            if shared
                .poller
                .want_write(self.socket.as_fd(), Source::Worker(self.id), waits)
                .is_err()
            {
                self.kill();
            }
        }
        sent
    }

    pub(super) fn fill(&mut self) -> Result<lineshaft_wire::Filled, WireError> {
        self.receiver.fill(self.socket.as_fd())
    }

    /// Stops listening to it.
    pub(super) fn close(&self, shared: &Shared) {
        shared.poller.remove(self.socket.as_fd());
        for pipe in [&self.stdout, &self.stderr].into_iter().flatten() {
            shared.poller.remove(pipe.fd.as_fd());
        }
    }
}
