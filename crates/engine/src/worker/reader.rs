//! What the engine sends, read by one thread at a time for all threads of the worker.
//!
//! # Who reads
//!
//! The main thread waits for jobs, and any thread may wait for answers to nested calls. The
//! receiver is the right to read: whoever takes it out of the state reads the socket, alone, and
//! may sleep on it; nobody else looks at the socket. What it reads it hands out in one place, `Reading::fill`:
//! jobs go into the queue, answers to their calls, which wake the threads that wait for them.
//!
//! Threads that find the receiver taken wait in line (`Place`), parked; the main thread, when it has no
//! job, sleeps on `for_main` instead, because a signal has to end its sleep.
//!
//! * A job is read by another thread while the main thread goes to sleep: the queue, and whether the
//!   main thread sleeps, are under one lock. It sees the job, or is seen to sleep and woken.
//! * The reader leaves while others are in line: putting the receiver back wakes one of them, which
//!   takes it if nobody was faster; whoever was will wake the next. Who leaves the line wakes the next
//!   as well if the receiver lies there, for the wake-up may have been meant for it.
//! * An answer is read while its waiter goes to sleep: the waiter is entered in the call before it
//!   looks for the answer the last time (`calls`).
//!
//! The lock is held for a few assignments, never over a system call or a sleep, so that it may also be
//! taken while holding an interpreter.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use lineshaft_core::{Attempt, TaskId};
use lineshaft_wire::{Descriptors, Filled, Receiver, ToWorker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::descriptors::Ours;
use crate::error::EngineError;
use crate::poller;

use super::calls::Calls;
use super::jobs::{Job, receive};

/// The worker's incoming direction.
pub(super) struct Reader {
    socket: Arc<Ours>,
    calls: Arc<Calls>,
    state: Mutex<State>,
    /// Readable once the main thread, which sleeps without the receiver, is to look again.
    for_main: OwnedFd,
}

struct State {
    /// Nobody reads if it is here.
    receiver: Option<Receiver>,
    jobs: VecDeque<Job>,
    /// The main thread sleeps without the receiver and has not been woken.
    main_sleeps: bool,
    line: Vec<Thread>,
    end: Option<End>,
}

/// Why there will be no more jobs.
enum End {
    /// The engine said so. Answers still come: threads that the worker waits for before it ends may want them.
    Told,
    /// The engine is gone.
    Gone,
    /// What it sent could not be received. The main thread reports it, once.
    Failed(Option<EngineError>),
}

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slept {
    /// There is something to look at.
    Woken,
    /// Time was up.
    TimedOut,
    /// A signal arrived.
    Interrupted,
}

impl Reader {
    pub(super) fn new(socket: Arc<Ours>, calls: Arc<Calls>) -> Result<Reader, EngineError> {
        Ok(Reader {
            socket,
            calls,
            state: Mutex::new(State {
                receiver: Some(Receiver::new()),
                jobs: VecDeque::new(),
                main_sleeps: false,
                line: Vec::new(),
                end: None,
            }),
            for_main: poller::event_descriptor()?,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that has been read.
    pub(super) fn pop(&self) -> Option<Job> {
        self.state().jobs.pop_front()
    }

    /// Reads what is there; whether there was anything. If another thread reads, that one will.
    pub(super) fn read(&self) -> bool {
        self.take().is_some_and(|mut reading| reading.fill())
    }

    /// Whether there will be no more jobs.
    pub(super) fn has_ended(&self) -> bool {
        self.state().end.is_some()
    }

    /// Whether nothing more will be read, not even an answer.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self.state().end, Some(End::Gone | End::Failed(_)))
    }

    /// Why nothing more could be received, for the main thread.
    pub(super) fn take_failure(&self) -> Result<(), EngineError> {
        match &mut self.state().end {
            Some(End::Failed(error)) => error.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn take(&self) -> Option<Reading<'_>> {
        let receiver = self.state().receiver.take()?;
        Some(Reading {
            reader: self,
            receiver,
        })
    }

    /// What the main thread, which wants a job, is to do.
    pub(super) fn enter_main(&self) -> MainTurn<'_> {
        let mut state = self.state();
        if !state.jobs.is_empty() {
            return MainTurn::Work;
        }
        if state.end.is_some() {
            return MainTurn::End;
        }
        if let Some(receiver) = state.receiver.take() {
            MainTurn::Read(Reading {
                reader: self,
                receiver,
            })
        } else {
            state.main_sleeps = true;
            MainTurn::Sleep
        }
    }

    /// The main thread's sleep, while another thread reads.
    pub(super) fn sleep_as_main(&self, timeout: Option<Duration>) -> Result<Slept, EngineError> {
        let slept = sleep_on(&self.for_main, timeout);
        let mut state = self.state();
        state.main_sleeps = false;
        if slept != Ok(Slept::Woken) {
            self.wake_next(&mut state); // if it was woken at the same time, to read
        }
        drop(state);
        poller::drain(&self.for_main);
        slept.map_err(EngineError::system("poll"))
    }

    fn wake_main(&self, state: &mut State) {
        if std::mem::take(&mut state.main_sleeps) {
            poller::signal(&self.for_main);
        }
    }

    /// Has somebody read, if nobody does.
    fn wake_next(&self, state: &mut State) {
        if state.receiver.is_none() {
            return;
        }
        if state.main_sleeps {
            self.wake_main(state);
        } else if let Some(next) = state.line.first() {
            next.unpark();
        }
    }
}

/// What the main thread is to do when it wants a job.
pub(super) enum MainTurn<'a> {
    /// There is one.
    Work,
    /// There will be none.
    End,
    /// Read the socket.
    Read(Reading<'a>),
    /// Sleep until another thread has read one.
    Sleep,
}

/// The right to read the socket.
pub(super) struct Reading<'a> {
    reader: &'a Reader,
    receiver: Receiver,
}

impl Reading<'_> {
    /// Reads what is there and hands it out; whether there was anything.
    pub(super) fn fill(&mut self) -> bool {
        let mut batch = Batch::default();
        let outcome = self.receive(&mut batch);
        let any = matches!(outcome, Ok(true));
        let end = match outcome {
            Ok(_) => batch.end,
            Err(error) => Some(End::Failed(Some(error))),
        };
        if !batch.jobs.is_empty() || end.is_some() {
            let mut state = self.reader.state();
            state.jobs.append(&mut batch.jobs);
            if matches!(state.end, None | Some(End::Told)) && end.is_some() {
                state.end = end;
                state.line.iter().for_each(Thread::unpark);
            }
            self.reader.wake_main(&mut state);
        }
        any
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<bool, EngineError> {
        match self.receiver.fill(self.reader.socket.as_fd())? {
            Filled::WouldBlock => return Ok(false),
            Filled::Eof => {
                batch.end = Some(End::Gone);
                return Ok(false);
            }
            Filled::Data => {}
        }
        while let Some((frame, descriptors)) = self.receiver.next_frame()? {
            let message = lineshaft_wire::decode(frame)?;
            batch.add(message, descriptors, &self.reader.calls)?;
        }
        Ok(true)
    }

    /// Sleeps until there is something to read.
    pub(super) fn sleep(&self, timeout: Option<Duration>) -> Result<Slept, EngineError> {
        sleep_on(self.reader.socket.get(), timeout).map_err(EngineError::system("poll"))
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.reader.state();
        state.receiver = Some(std::mem::take(&mut self.receiver));
        self.reader.wake_next(&mut state);
    }
}

/// The place of a thread that waits for an answer: at the socket, or in line behind who is.
pub(super) struct Place<'a> {
    reader: &'a Reader,
    reading: Option<Reading<'a>>,
    in_line: bool,
}

impl<'a> Place<'a> {
    /// Not in line yet.
    pub(super) fn new(reader: &'a Reader) -> Place<'a> {
        Place {
            reader,
            reading: None,
            in_line: false,
        }
    }

    /// The right to read, if nobody else has it. Otherwise the thread is in line: it parks, and is
    /// unparked when it may try again.
    pub(super) fn enter(&mut self) -> Option<&mut Reading<'a>> {
        if self.reading.is_none() {
            let mut state = self.reader.state();
            if let Some(receiver) = state.receiver.take() {
                self.reading = Some(Reading {
                    reader: self.reader,
                    receiver,
                });
                self.leave_line(&mut state);
            } else if !self.in_line {
                state.line.push(thread::current());
                self.in_line = true;
            }
        }
        self.reading.as_mut()
    }

    /// Lets others read.
    pub(super) fn leave(&mut self) {
        self.reading = None;
        if self.in_line {
            let mut state = self.reader.state();
            self.leave_line(&mut state);
            self.reader.wake_next(&mut state);
        }
    }

    fn leave_line(&mut self, state: &mut State) {
        if std::mem::take(&mut self.in_line) {
            let me = thread::current().id();
            state.line.retain(|thread| thread.id() != me);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What one read brought, beside answers.
#[derive(Default)]
struct Batch {
    jobs: VecDeque<Job>,
    end: Option<End>,
}

impl Batch {
    fn add(
        &mut self,
        message: ToWorker<'_>,
        descriptors: &mut Descriptors,
        calls: &Calls,
    ) -> Result<(), EngineError> {
        match message {
            ToWorker::Code { id, body } => self.jobs.push_back(Job::Define {
                id,
                body: receive(&body, descriptors)?,
            }),
            ToWorker::Initialize { code, args } => self.jobs.push_back(Job::Initialize {
                code,
                args: receive(&args, descriptors)?,
            }),
            ToWorker::Run {
                task,
                attempt,
                epoch,
                code,
                report_start,
                each,
                args,
                inputs,
            } => {
                let args = receive(&args, descriptors)?;
                let inputs = inputs.iter().map(|input| receive(input, descriptors));
                self.jobs.push_back(Job::Run {
                    task: TaskId(task),
                    attempt: Attempt(attempt),
                    epoch,
                    code,
                    report_start,
                    each,
                    args,
                    inputs: inputs.collect::<Result<_, _>>()?,
                });
            }
            ToWorker::Forget { ids } => self.jobs.push_back(Job::Forget { ids }),
            ToWorker::Answer { call, answer } => calls.answered(call, &answer, descriptors)?,
            ToWorker::CancelAnswer { call, cancelled } => calls.cancel_answered(call, cancelled),
            ToWorker::Exit => self.end = Some(End::Told),
        }
        Ok(())
    }
}

fn sleep_on(fd: &OwnedFd, timeout: Option<Duration>) -> Result<Slept, Errno> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(0) => Ok(Slept::TimedOut),
        Ok(_) => Ok(Slept::Woken),
        Err(Errno::INTR) => Ok(Slept::Interrupted),
        Err(errno) => Err(errno),
    }
}
