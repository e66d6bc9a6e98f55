//! A worker's conversation with the engine.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lineshaft_core::{Attempt, TaskId, Time};
use lineshaft_store::{MapCache, ReusableMap, SegmentWriter, SharedPage, StoreError};
use lineshaft_wire::{
    ControlPage, Descriptors, Filled, FromWorker, Receiver, ToWorker, Value, WireError,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock;
use crate::error::EngineError;
use crate::limits::{MAPS_KEPT, MEMORY_CHECK};
use crate::spin::Spinner;

use super::calls::Calls;
use super::outbox::Outbox;
use super::{Received, Sent};

/// How a worker is set up.
pub struct SessionOptions {
    /// Its end of the socket.
    pub socket: OwnedFd,
    /// The control page it shares with the engine.
    pub control: OwnedFd,
    /// The budget page it shares with everyone.
    pub budget: OwnedFd,
    /// Where objects go that do not fit into the budget.
    pub spill_dir: PathBuf,
    /// Tasks after which it asks to be replaced.
    pub tasks_max: Option<u32>,
    /// Growth of its resident memory at which it asks to be replaced, in bytes.
    pub growth_bytes_max: Option<u64>,
}

/// A worker's conversation with the engine. The main thread runs jobs; other threads of the worker
/// may make nested calls.
pub struct Session {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) control: SharedPage<ControlPage>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) incoming: Mutex<Incoming>,
    /// Held by the thread that reads for those that wait for answers; see `calls`.
    pub(super) reading: Mutex<()>,
    /// Readable once such a thread has read something for the main thread.
    job_read: OwnedFd,
    pub(super) calls: Calls,
    writer: SegmentWriter,
    /// Mappings of segments for the next task that reads them.
    maps: Arc<MapCache>,
    spinner: Spinner,
    tasks_max: Option<u32>,
    tasks_done: AtomicU32,
    growth: Option<Growth>,
}

#[derive(Default)]
pub(super) struct Incoming {
    receiver: Receiver,
    jobs: VecDeque<Job>,
    ended: bool,
}

/// What a worker is to do next.
#[derive(Debug)]
pub enum Job {
    /// Load a definition.
    Define {
        /// Its identity.
        id: u64,
        /// What it is.
        body: Received,
    },
    /// Drop definitions.
    Forget {
        /// Their identities.
        ids: Vec<u64>,
    },
    /// Call the initializer.
    Initialize {
        /// The callable.
        code: u64,
        /// Its arguments.
        args: Received,
    },
    /// Run a task.
    Run {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// The epoch in which it may be claimed.
        epoch: u32,
        /// The callable.
        code: u64,
        /// Whether to report that it starts.
        report_start: bool,
        /// Whether the arguments are a list of items, for each of which the callable is called.
        each: bool,
        /// Its arguments.
        args: Received,
        /// Results of other tasks that the arguments refer to.
        inputs: Vec<Received>,
    },
}

/// Watches the worker's own memory.
struct Growth {
    limit_bytes: u64,
    state: Mutex<GrowthState>,
}

#[derive(Default)]
struct GrowthState {
    baseline_bytes: Option<u64>,
    checked: Time,
}

impl Session {
    /// Joins the engine.
    pub fn new(options: SessionOptions) -> Result<Session, EngineError> {
        let socket = Arc::new(options.socket);
        Ok(Session {
            outbox: Outbox::new(Arc::clone(&socket)),
            socket,
            control: SharedPage::from_fd(options.control)?,
            incoming: Mutex::default(),
            reading: Mutex::default(),
            job_read: crate::poller::event_descriptor()?,
            calls: Calls::default(),
            writer: SegmentWriter::new(SharedPage::from_fd(options.budget)?, options.spill_dir),
            maps: Arc::default(),
            spinner: Spinner::default(),
            tasks_max: options.tasks_max,
            tasks_done: AtomicU32::new(0),
            growth: options.growth_bytes_max.map(|limit_bytes| Growth {
                limit_bytes,
                state: Mutex::default(),
            }),
        })
    }

    pub(super) fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, if there is one right now. A task that is returned has been claimed: it runs
    /// here and nowhere else. Before it says that there is none, it sends what was held back.
    pub fn try_next(&self) -> Result<Option<Job>, EngineError> {
        let mut incoming = self.incoming();
        loop {
            while let Some(job) = incoming.jobs.pop_front() {
                let Job::Run {
                    task,
                    attempt,
                    epoch,
                    report_start,
                    ..
                } = &job
                else {
                    return Ok(Some(job));
                };
                if !self.control.try_claim(*epoch) {
                    continue; // the engine took it back
                }
                self.control.begin(task.0, clock::now().0);
                if *report_start {
                    let message = FromWorker::Started {
                        task: task.0,
                        attempt: attempt.0,
                    };
                    self.outbox.push_quietly(&message, Vec::new())?;
                    self.outbox.flush()?;
                }
                return Ok(Some(job));
            }
            self.outbox.flush()?;
            if !self.fill(&mut incoming)? {
                return Ok(None);
            }
        }
    }

    /// Waits for a job. False if there will be none: the engine said so, or is gone. A signal ends
    /// the wait early.
    pub fn wait(&self) -> Result<bool, EngineError> {
        let mut incoming = self.incoming();
        let mut outcome = Ok(false);
        let arrived = self.spinner.spin(|| {
            outcome = self.fill(&mut incoming);
            outcome.is_err() || incoming.ended || !incoming.jobs.is_empty()
        });
        outcome?;
        if incoming.ended && incoming.jobs.is_empty() {
            return Ok(false);
        }
        drop(incoming);
        if !arrived {
            if !self.maps.is_empty() && self.sleep_for_job(Some(MAPS_KEPT))? {
                return Ok(true);
            }
            self.maps.clear();
            self.sleep_for_job(None)?;
        }
        Ok(true)
    }

    /// Sleeps until the socket is readable, time is up or a signal arrived; false if time is up.
    pub(super) fn sleep(&self, timeout: Option<Duration>) -> Result<bool, EngineError> {
        Self::sleep_on(&mut [PollFd::new(&*self.socket, PollFlags::IN)], timeout)
    }

    /// The same, also until another thread has read something for this one.
    fn sleep_for_job(&self, timeout: Option<Duration>) -> Result<bool, EngineError> {
        let mut sources = [
            PollFd::new(&*self.socket, PollFlags::IN),
            PollFd::new(&self.job_read, PollFlags::IN),
        ];
        let woken = Self::sleep_on(&mut sources, timeout)?;
        crate::poller::drain(&self.job_read);
        Ok(woken)
    }

    fn sleep_on(
        sources: &mut [PollFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<bool, EngineError> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(sources, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(EngineError::system("poll")(errno)),
        }
    }

    /// Reads what is there on behalf of a thread that waits for answers; whether there was anything.
    /// The main thread may be asleep, and is told of what is for it.
    pub(super) fn take_in(&self) -> Result<bool, EngineError> {
        let mut incoming = self.incoming();
        let anything = self.fill(&mut incoming)?;
        if !incoming.jobs.is_empty() || incoming.ended {
            crate::poller::signal(&self.job_read);
        }
        Ok(anything)
    }

    /// Reads what is there; whether there was anything.
    pub(super) fn fill(&self, incoming: &mut Incoming) -> Result<bool, EngineError> {
        match incoming.receiver.fill(self.socket.as_fd())? {
            Filled::WouldBlock => return Ok(false),
            Filled::Eof => {
                incoming.ended = true;
                return Ok(false);
            }
            Filled::Data => {}
        }
        let Incoming {
            receiver,
            jobs,
            ended,
        } = incoming;
        while let Some((frame, descriptors)) = receiver.next_frame()? {
            let message: ToWorker<'_> = postcard::from_bytes(frame).map_err(WireError::from)?;
            match message {
                ToWorker::Code { id, body } => jobs.push_back(Job::Define {
                    id,
                    body: receive(&body, descriptors)?,
                }),
                ToWorker::Initialize { code, args } => {
                    jobs.push_back(Job::Initialize {
                        code,
                        args: receive(&args, descriptors)?,
                    });
                }
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
                    jobs.push_back(Job::Run {
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
                ToWorker::Forget { ids } => jobs.push_back(Job::Forget { ids }),
                ToWorker::Answer { call, answer } => {
                    self.calls.answered(call, &answer, descriptors)?;
                }
                ToWorker::CancelAnswer { call, cancelled } => {
                    self.calls.cancel_answered(call, cancelled);
                }
                ToWorker::Exit => *ended = true,
            }
        }
        Ok(true)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.incoming().ended
    }

    /// Maps a segment that was received, copy-on-write.
    pub fn map(&self, fd: BorrowedFd<'_>, bytes: u64) -> Result<ReusableMap, StoreError> {
        self.maps.map(fd, bytes)
    }

    /// Writes large buffers into shared memory: each part's place, and the segment.
    pub fn write_segment(&self, parts: &[&[u8]]) -> Result<(OwnedFd, u64, Vec<u64>), StoreError> {
        self.writer.write(parts)
    }

    /// Reports how a task ended.
    pub fn report(
        &self,
        task: TaskId,
        attempt: Attempt,
        began: Time,
        end: Result<Sent, Sent>,
    ) -> Result<(), EngineError> {
        let now = clock::now();
        let ran_ns = u64::try_from((now - began).as_nanos()).unwrap_or(u64::MAX);
        let (task, attempt) = (task.0, attempt.0);
        match end {
            Ok(mut value) => {
                let (value, descriptors) = value.split();
                let message = FromWorker::Finished {
                    task,
                    attempt,
                    ran_ns,
                    value,
                };
                self.outbox.push(&message, descriptors, now)?;
            }
            Err(mut error) => {
                let (error, descriptors) = error.split();
                let message = FromWorker::Failed {
                    task,
                    attempt,
                    ran_ns,
                    error,
                };
                self.outbox.push(&message, descriptors, now)?;
            }
        }
        // Only now: whoever dies before this line is known to have died in the task.
        self.control.end();
        self.tasks_done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reports that the initializer raised.
    pub fn report_broken(&self, mut error: Sent) -> Result<(), EngineError> {
        let (error, descriptors) = error.split();
        self.outbox
            .push_quietly(&FromWorker::InitializeFailed { error }, descriptors)?;
        Ok(self.outbox.flush()?)
    }

    /// Passes on a log record.
    pub fn log(&self, record: &[u8]) -> Result<(), EngineError> {
        self.outbox
            .push(&FromWorker::Log { record }, Vec::new(), clock::now())
            .map_err(EngineError::from)
    }

    /// Shows which item of the running task begins, counted from 0.
    pub fn set_item(&self, index: u64) {
        self.control.set_item(index);
    }

    /// Whether a task is running. Asked by signal handlers.
    pub fn is_running(&self) -> bool {
        self.control.task() != 0
    }

    /// Whether the engine wants the running task interrupted. Asked by the signal's handler.
    pub fn is_interrupted(&self) -> bool {
        self.control.is_interrupted()
    }

    /// Whether the worker has done its share. It has then said so, and must end.
    pub fn recycle(&self) -> Result<bool, EngineError> {
        let reason = if self
            .tasks_max
            .is_some_and(|max| self.tasks_done.load(Ordering::Relaxed) >= max)
        {
            "it ran its number of tasks"
        } else if self.growth.as_ref().is_some_and(Growth::is_exceeded) {
            "its memory grew beyond its limit"
        } else {
            return Ok(false);
        };
        self.outbox
            .push_quietly(&FromWorker::Recycle { reason }, Vec::new())?;
        self.outbox.flush()?;
        Ok(true)
    }
}

impl Growth {
    fn is_exceeded(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if now - state.checked < MEMORY_CHECK {
            return false;
        }
        state.checked = now;
        let Some(resident) = resident_bytes() else {
            return false;
        };
        let baseline = *state.baseline_bytes.get_or_insert(resident);
        resident.saturating_sub(baseline) > self.limit_bytes
    }
}

/// This process's private resident memory: shared objects that it merely looks at do not count.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

pub(super) fn receive(
    value: &Value<'_>,
    descriptors: &mut Descriptors,
) -> Result<Received, EngineError> {
    let mut segments = Vec::with_capacity(value.segments.len());
    for &bytes in &value.segments {
        let fd = descriptors
            .take_fd()
            .ok_or(EngineError::Protocol("a segment without its descriptor"))?;
        segments.push((fd, bytes));
    }
    Ok(Received {
        data: value.data.into(),
        segments,
        buffers: value.buffers.clone(),
    })
}
