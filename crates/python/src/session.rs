//! `Session`: a worker process's side.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use lineshaft_engine::worker::{Job, Raised, Remark, Sent, SessionOptions, Stopwatch};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::client::{Client, failed};
use crate::hooks::Hooks;
use crate::locked::Locked;
use crate::pool::Pool;
use crate::values::{Loadable, to_sent};

/// A worker process's conversation with its engine.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Session {
    client: Arc<Client>,
    /// Definitions are being loaded. A time limit that struck in between would leave half of one.
    is_learning: AtomicBool,
    phase: AtomicU8,
    /// What is to be said of the running task beside its result.
    remark: Locked<Option<Remark>>,
}

/// What a worker does with a call: what comes before it, itself, and what comes after it.
const LOADING: u8 = 0;
const RUNNING: u8 = 1;
const STORING: u8 = 2;

#[pymethods]
impl Session {
    /// Joins the engine through inherited descriptors, which the session then owns.
    #[new]
    #[pyo3(signature = (*, socket, control, budget, spill_dir, tasks_max, growth_bytes_max))]
    fn new(
        socket: i32,
        control: i32,
        budget: i32,
        spill_dir: PathBuf,
        tasks_max: Option<u32>,
        growth_bytes_max: Option<u64>,
    ) -> PyResult<Session> {
        // SAFETY: the caller hands over descriptors that it got from the zygote for this purpose
        // and that nobody else in this process owns.
        let own = |fd: i32| unsafe { OwnedFd::from_raw_fd(fd) };
        let options = SessionOptions {
            socket: own(socket),
            control: own(control),
            budget: own(budget),
            spill_dir,
            tasks_max,
            growth_bytes_max,
        };
        let session =
            lineshaft_engine::worker::Session::new(options).map_err(|error| failed(&error))?;
        Ok(Session {
            client: Arc::new(Client::new(session)),
            is_learning: AtomicBool::new(false),
            phase: AtomicU8::new(LOADING),
            remark: Locked::default(),
        })
    }

    /// Runs tasks until the engine wants no more. `hooks` has the functions of
    /// `lineshaft._serial.worker`, `flush` with `unflushed`, `check_limit`, which raises if the
    /// running task is to be interrupted, and `changed`.
    fn serve(&self, hooks: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = hooks.py();
        let session = self.client.memory();
        let hooks = Hooks::of(hooks)?;
        let mut lessons = Vec::new();
        loop {
            while let Some(job) = session.try_next().map_err(|error| failed(&error))? {
                if !self.run(&hooks, job, &mut lessons)? {
                    return Ok(());
                }
            }
            hooks.flush.call0()?;
            if !py
                .detach(|| session.wait())
                .map_err(|error| failed(&error))?
            {
                return Ok(());
            }
            // A handler that raises outside of a task has nobody to raise to.
            if let Err(error) = py.check_signals() {
                error.write_unraisable(py, None);
            }
        }
    }

    /// Shows which item of the running task begins, counted from 0. What a forked child runs is no
    /// part of that task.
    fn set_item(&self, index: u64) {
        if let Some(session) = self.client.own_session() {
            session.set_item(index);
        }
    }

    /// Notes that items of the running batch raised, where the first of them did, and whether they are run again
    /// by themselves.
    fn note_items_raised(
        &self,
        traceback: &Bound<'_, PyString>,
        run_again: bool,
        arguments: &Bound<'_, PyString>,
    ) {
        let remark = Remark {
            items_raised: traceback.to_string_lossy().into_owned(),
            run_again,
            arguments: arguments.to_string_lossy().into_owned(),
        };
        self.remark.with(|noted| *noted = Some(remark));
    }

    /// Says in the pipe at this descriptor that what is written next is the running task's, or that this is over.
    fn mark_output(&self, py: Python<'_>, fd: i32, begins: bool) {
        if let Some(session) = self.client.own_session() {
            // SAFETY: whether it is open is looked at before anything is done with it.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            py.detach(|| session.mark_output(fd, begins));
        }
    }

    /// Whether the engine wants the running task interrupted.
    fn is_interrupted(&self) -> bool {
        self.is_running() && self.client.memory().is_interrupted()
    }

    /// Whether a task is running, and not only loading what it needs.
    fn is_running(&self) -> bool {
        let session = self.client.own_session();
        !self.is_learning.load(Ordering::Relaxed) && session.is_some_and(|it| it.is_running())
    }

    /// What this worker does with the call that it runs, in words; nothing while that runs itself.
    fn phase(&self) -> &'static str {
        match self.phase.load(Ordering::Relaxed) {
            LOADING => "loading the call",
            STORING => "storing the result",
            _ => "",
        }
    }

    /// Passes on what is to be called in the engine's process, such as what handles a log record: a
    /// function and its arguments, pickled.
    fn log(&self, record: &[u8]) -> PyResult<()> {
        self.client
            .session()?
            .log(record)
            .map_err(|error| failed(&error))
    }

    /// Opens a pool of worker processes for nested calls; without `workers`, the pool that this
    /// worker belongs to.
    #[pyo3(signature = (*, workers = None, initializer = None, initargs = None, tasks_per_worker_max = None))]
    fn process_pool(
        &self,
        py: Python<'_>,
        workers: Option<u32>,
        initializer: Option<Bound<'_, PyAny>>,
        initargs: Option<Bound<'_, PyTuple>>,
        tasks_per_worker_max: Option<u32>,
    ) -> PyResult<Pool> {
        let client = &self.client;
        let session = client.session()?;
        let Some(workers) = workers else {
            return Ok(Pool::nested(Arc::clone(client), None));
        };
        let initargs = initargs.unwrap_or_else(|| PyTuple::empty(py));
        let encoded = initializer
            .map(|initializer| client.encode(py, &initializer, &initargs, None))
            .transpose()?;
        let (initializer, _held) = encoded
            .map(|call| ((call.code, call.definitions, call.args), call.held))
            .unzip();
        let opened = session.open_pool(workers, tasks_per_worker_max, initializer);
        let id = opened.map_err(|error| failed(&error))?;
        Ok(Pool::nested(Arc::clone(client), Some(id)))
    }
}

/// Logs that the initializer raised, where workers of `concurrent.futures` do so too.
fn log_failure(py: Python<'_>, error: &PyErr) {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return; // the program ends, or gives up the pool
    }
    // The value alone does not know its traceback before Python 3.12.
    let value = error.clone_ref(py).into_value(py);
    let logged = py
        .import(pyo3::intern!(py, "lineshaft._failures"))
        .and_then(|failures| failures.call_method1("initializer_raised", (value,)));
    if let Err(error) = logged {
        error.write_unraisable(py, None); // such as a filter of the program's that raised
    }
}

impl Session {
    /// Does a job; false if the process is to end after it, as does a child that the call forked and that
    /// came back from it: what is reported is how its parent came back. Definitions wait in `lessons` for the
    /// first call that needs them: loading one imports modules, and what these do to the process, or
    /// how long they take, is that task's.
    fn run(&self, hooks: &Hooks<'_>, job: Job, lessons: &mut Vec<Job>) -> PyResult<bool> {
        let session = self.client.memory();
        match job {
            Job::Define { .. } | Job::Forget { .. } => lessons.push(job),
            Job::Initialize { code, args } => {
                let called = self
                    .learn(hooks, lessons)
                    .and_then(|()| hooks.load(session, code, &args, &[]))
                    .and_then(|call| call.run(hooks, false));
                if self.client.own_session().is_none() {
                    return called.map(|_| false);
                }
                if let Err(error) = called {
                    log_failure(hooks.loads.py(), &error);
                    let error = self.exception(hooks, error)?.error;
                    session
                        .report_broken(error)
                        .map_err(|error| failed(&error))?;
                    return Ok(false);
                }
            }
            Job::Run {
                task,
                attempt,
                code,
                each,
                args,
                inputs,
                ..
            } => {
                let py = hooks.code.py();
                self.remark.with(|noted| *noted = None);
                self.phase.store(LOADING, Ordering::Relaxed);
                let mut phases = Stopwatch::start();
                let mut arguments = None;
                let called = self
                    .learn(hooks, lessons)
                    .and_then(|()| hooks.load(session, code, &args, &inputs))
                    .and_then(|call| {
                        self.heed_signals(py, RUNNING)?;
                        phases.call();
                        arguments = Some(call.arguments());
                        call.run(hooks, each)
                    })
                    .and_then(|value| self.heed_signals(py, STORING).map(|()| value));
                self.phase.store(STORING, Ordering::Relaxed);
                phases.ended();
                let told = arguments.filter(|_| phases.is_long() || called.is_err());
                if let Some((args, kwargs)) = told
                    && self.client.own_session().is_some()
                {
                    let error = called.as_ref().err();
                    self.note_arguments(hooks, (&args, &kwargs, each), error);
                }
                if self.client.own_session().is_none() {
                    return called.map(|_| false);
                }
                let end = called
                    .and_then(|value| self.value(hooks, &value))
                    .and_then(|sent| self.heed_signals(py, STORING).map(|()| sent));
                let end = match end {
                    Ok(value) => Ok(value),
                    // The time limit may strike while the exception is being pickled.
                    Err(error) => Err(self
                        .exception(hooks, error)
                        .or_else(|instead| self.exception(hooks, instead))?),
                };
                // What it printed is on its way before its end is.
                if !hooks.unflushed.is_empty()
                    && let Err(error) = hooks.flush.call0()
                {
                    error.write_unraisable(hooks.code.py(), None);
                }
                let remark = self.remark.with(Option::take);
                session
                    .report(task, attempt, &phases, end, remark.as_ref())
                    .map_err(|error| failed(&error))?;
                return session
                    .recycle()
                    .map(|ends| !ends)
                    .map_err(|error| failed(&error));
            }
        }
        Ok(true)
    }

    /// Calls the handlers of signals that came in this phase, lest they be called in the next. So a stack that was asked
    /// for is that of what took the time, also where no Python ran.
    fn heed_signals(&self, py: Python<'_>, next: u8) -> PyResult<()> {
        py.check_signals()?;
        self.phase.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Notes what the arguments of the running task are, for people, unless what is said of its items has them.
    fn note_arguments(
        &self,
        hooks: &Hooks<'_>,
        call: (&Bound<'_, PyTuple>, &Bound<'_, PyDict>, bool),
        error: Option<&PyErr>,
    ) {
        let is_told = |noted: &mut Option<Remark>| noted.is_some();
        if self.remark.with(is_told) {
            return;
        }
        // What it cannot tell of is left out.
        let (args, kwargs, each) = call;
        let traceback = error.and_then(|error| error.traceback(args.py()));
        let told = hooks.show_arguments.call1((args, kwargs, each, traceback));
        let text = told.and_then(|text| Ok(text.cast_into::<PyString>()?));
        if let Ok(text) = text {
            let remark = Remark {
                arguments: text.to_string_lossy().into_owned(),
                ..Remark::default()
            };
            self.remark.with(|noted| *noted = Some(remark));
        }
    }

    /// Loads the definitions that have come.
    fn learn(&self, hooks: &Hooks<'_>, lessons: &mut Vec<Job>) -> PyResult<()> {
        if lessons.is_empty() {
            return Ok(());
        }
        self.is_learning.store(true, Ordering::Relaxed);
        let learned = lessons.drain(..).try_for_each(|job| match job {
            Job::Define { id, body } => {
                let py = hooks.code.py();
                let loadable = Loadable::from_received(py, &body, self.client.memory())?;
                let arguments = (id, &loadable.stream, loadable.buffers(py));
                hooks.load_definition.call1(arguments).map(drop)
            }
            Job::Forget { ids } => hooks.forget.call1((ids,)).map(drop),
            Job::Initialize { .. } | Job::Run { .. } => unreachable!("calls are not kept"),
        });
        self.is_learning.store(false, Ordering::Relaxed);
        if learned.is_err() {
            // For want of memory, perhaps. The engine believes that this worker knows all of them.
            self.client.memory().leave_soon();
        }
        learned?;
        hooks.check_limit.call0().map(drop)
    }

    fn value(&self, hooks: &Hooks<'_>, value: &Bound<'_, PyAny>) -> PyResult<Sent> {
        let py = value.py();
        let buffers = PyList::empty(py);
        let data = hooks
            .dumps_result
            .call1((value, buffers.getattr(pyo3::intern!(py, "append"))?))?;
        to_sent(
            data.cast::<PyBytes>()?.as_bytes(),
            Some(&buffers),
            self.client.memory(),
        )
    }

    fn exception(&self, hooks: &Hooks<'_>, error: PyErr) -> PyResult<Raised> {
        let py = hooks.code.py();
        let raised = hooks.dumps_raised.call1((error.into_value(py),))?;
        let (data, traceback) = raised.extract::<(Bound<'_, PyBytes>, Bound<'_, PyString>)>()?;
        Ok(Raised {
            error: to_sent(data.as_bytes(), None, self.client.memory())?,
            traceback: traceback.to_string_lossy().into_owned(),
        })
    }
}
