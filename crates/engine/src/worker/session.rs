//! A worker's conversation with the engine.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lineshaft_core::{Attempt, TaskId, Time};
use lineshaft_store::{MapCache, ReusableMap, SegmentWriter, SharedPage, StoreError};
use lineshaft_wire::{ControlPage, FromWorker, Remark};

use crate::clock;
use crate::descriptors::Ours;
use crate::error::EngineError;
use crate::excerpt::excerpt;
use crate::limits::{LONG_CALL, MAPS_KEPT, MEMORY_CHECK};
use crate::spin::Spinner;

use super::calls::Calls;
use super::doing::{Activity, Doing};
use super::jobs::Job;
use super::outbox::Outbox;
use super::output::OutputPipes;
use super::reader::{MainTurn, Reader, Slept};
use super::{Raised, Sent};

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

/// When the phases of a task began.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    began: Time,
    /// None if what it needs could not be loaded.
    called: Option<Time>,
    ended: Option<Time>,
}

/// A worker's conversation with the engine. The main thread runs jobs; other threads of the worker
/// may make nested calls.
pub struct Session {
    pub(super) control: Arc<SharedPage<ControlPage>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) reader: Reader,
    pub(super) calls: Arc<Calls>,
    pub(super) activity: Activity,
    writer: SegmentWriter,
    /// Mappings of segments for the next task that reads them.
    maps: Arc<MapCache>,
    spinner: Spinner,
    tasks_max: Option<u32>,
    tasks_done: AtomicU32,
    /// It lacks what the engine believes it has.
    unfit: AtomicBool,
    growth: Option<Growth>,
    pipes: OutputPipes,
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

impl Stopwatch {
    /// The task begins: its function and its arguments are loaded.
    pub fn start() -> Stopwatch {
        Stopwatch {
            began: clock::now(),
            called: None,
            ended: None,
        }
    }

    /// They are there: the call begins.
    pub fn call(&mut self) {
        self.called = Some(clock::now());
    }

    /// It has returned or raised: what it gave is stored.
    pub fn ended(&mut self) {
        self.ended = Some(clock::now());
    }

    /// Whether the call took so long that its arguments are told of.
    pub fn is_long(&self) -> bool {
        let called = self.called.zip(self.ended);
        called.is_some_and(|(called, ended)| ended - called >= LONG_CALL)
    }
}

impl Session {
    /// Joins the engine.
    pub fn new(options: SessionOptions) -> Result<Session, EngineError> {
        let socket = Arc::new(Ours::new(options.socket));
        let control = Arc::new(SharedPage::from_fd(options.control)?);
        let calls: Arc<Calls> = Arc::default();
        Ok(Session {
            outbox: Outbox::new(Arc::clone(&socket), Arc::clone(&control)),
            reader: Reader::new(socket, Arc::clone(&calls))?,
            control,
            calls,
            activity: Activity::default(),
            writer: SegmentWriter::new(SharedPage::from_fd(options.budget)?, options.spill_dir),
            maps: Arc::default(),
            spinner: Spinner::default(),
            tasks_max: options.tasks_max,
            tasks_done: AtomicU32::new(0),
            unfit: AtomicBool::new(false),
            growth: options.growth_bytes_max.map(|limit_bytes| Growth {
                limit_bytes,
                state: Mutex::default(),
            }),
            pipes: OutputPipes::of_process(),
        })
    }

    /// The next job, if there is one right now. A task that is returned has been claimed: it runs
    /// here and nowhere else. Before it says that there is none, it sends what was held back.
    pub fn try_next(&self) -> Result<Option<Job>, EngineError> {
        if let Doing::Initializer { pool: Some(pool) } =
            self.activity.set(Doing::Nothing, &self.outbox)?
        {
            self.close_pool(pool)?;
        }
        loop {
            while let Some(job) = self.reader.pop() {
                let Job::Run {
                    task,
                    attempt,
                    epoch,
                    report_start,
                    ..
                } = &job
                else {
                    if matches!(job, Job::Initialize { .. }) {
                        let doing = Doing::Initializer { pool: None };
                        self.activity.set(doing, &self.outbox)?;
                    }
                    return Ok(Some(job));
                };
                if !self.control.try_claim(*epoch) {
                    continue; // the engine took it back
                }
                let (task, attempt) = (task.0, attempt.0);
                self.control.begin(task);
                self.activity
                    .set(Doing::Task { task, attempt }, &self.outbox)?;
                if *report_start {
                    let message = FromWorker::Started { task, attempt };
                    self.outbox.push_quietly(&message, Vec::new())?;
                    self.outbox.flush()?;
                }
                return Ok(Some(job));
            }
            self.outbox.flush()?;
            if !self.reader.read() {
                self.reader.take_failure()?;
                return Ok(None);
            }
        }
    }

    /// Waits for a job. False if there will be none: the engine said so, or is gone. A signal ends
    /// the wait early.
    pub fn wait(&self) -> Result<bool, EngineError> {
        let mut timeout = Some(MAPS_KEPT).filter(|_| !self.maps.is_empty());
        loop {
            let slept = match self.reader.enter_main() {
                MainTurn::Work => return Ok(true),
                MainTurn::End => {
                    self.reader.take_failure()?;
                    return Ok(false);
                }
                MainTurn::Sleep => self.reader.sleep_as_main(timeout)?,
                MainTurn::Read(mut reading) => {
                    let arrived = self.spinner.spin(|| reading.fill());
                    if arrived || self.reader.has_ended() {
                        continue;
                    }
                    let slept = reading.sleep(timeout)?;
                    reading.fill();
                    slept
                }
            };
            match slept {
                Slept::Woken => {}
                Slept::Interrupted => return Ok(true),
                Slept::TimedOut => {
                    self.maps.clear();
                    timeout = None;
                }
            }
        }
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
        phases: &Stopwatch,
        end: Result<Sent, Raised>,
        remark: Option<&super::Remark>,
    ) -> Result<(), EngineError> {
        let now = clock::now();
        let ran_ns = u64::try_from((now - phases.began).as_nanos()).unwrap_or(u64::MAX);
        let ended = phases.ended.unwrap_or(now);
        let called = phases.called.unwrap_or(ended);
        let (load_us, store_us) = (micros(phases.began, called), micros(ended, now));
        let (task, attempt) = (task.0, attempt.0);
        match end {
            Ok(mut value) => {
                let (value, descriptors) = value.split();
                let text = remark.map_or_else(String::new, |remark| excerpt(&remark.items_raised));
                let message = FromWorker::Finished {
                    task,
                    attempt,
                    ran_ns,
                    load_us,
                    store_us,
                    value,
                    remark: remark.map(|remark| Remark {
                        items_raised: &text,
                        run_again: remark.run_again,
                        arguments: &remark.arguments,
                    }),
                };
                self.outbox.push_result(&message, descriptors, now)?;
            }
            Err(mut raised) => {
                let (error, descriptors) = raised.error.split();
                let message = FromWorker::Failed {
                    task,
                    attempt,
                    ran_ns,
                    load_us,
                    store_us,
                    error,
                    traceback: &excerpt(&raised.traceback),
                    arguments: remark.map_or("", |remark| &remark.arguments),
                };
                self.outbox.push_result(&message, descriptors, now)?;
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

    /// Says in the pipe at this descriptor that what follows is the running task's, or that this is over.
    pub fn mark_output(&self, fd: BorrowedFd<'_>, begins: bool) {
        let task = Some(TaskId(self.control.task())).filter(|task| begins && task.0 != 0);
        self.pipes.mark(fd, task);
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

    /// Has the worker end after the task that runs, because it lacks what the engine has sent it.
    pub fn leave_soon(&self) {
        self.unfit.store(true, Ordering::Relaxed);
    }

    /// Whether the worker has done its share. It has then said so, and must end.
    pub fn recycle(&self) -> Result<bool, EngineError> {
        let tasks_done = self.tasks_done.load(Ordering::Relaxed);
        let is_over = self.tasks_max.is_some_and(|max| tasks_done >= max)
            || self.unfit.load(Ordering::Relaxed)
            || self.control.is_leave_wanted()
            || self.growth.as_ref().is_some_and(Growth::is_exceeded);
        if is_over {
            self.outbox.push_quietly(&FromWorker::Recycle, Vec::new())?;
            self.outbox.flush()?;
        }
        Ok(is_over)
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

fn micros(from: Time, to: Time) -> u32 {
    u32::try_from((to - from).as_micros()).unwrap_or(u32::MAX)
}

/// This process's private resident memory: shared objects that it merely looks at do not count.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}
