//! `Session`: a worker process's side.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lineshaft_engine::worker::{Job, NestedCall, Raised, Remark, Sent, SessionOptions, Stopwatch};
use lineshaft_engine::{EngineError, Policy};
use lineshaft_wire::CallOptions;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::definition::{DefinitionBase, Owner, Parts};
use crate::encode::{Encoded, code_and_arguments, future_of_another_engine};
use crate::engine::engine_error;
use crate::future::{FutureBase, Source};
use crate::generation::Generation;
use crate::hooks::Hooks;
use crate::locked::Locked;
use crate::pool::{Pool, RemoteCall};
use crate::resolver::Resolver;
use crate::values::{Loadable, to_sent};

/// What nested calls need.
pub struct Client {
    session: Arc<lineshaft_engine::worker::Session>,
    generation: Generation,
    pub resolver: Arc<Resolver>,
    /// Made when the first nested call is.
    encoder: PyOnceLock<Py<PyAny>>,
    owner: Owner,
}

fn failed(error: &EngineError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// A call, ready to be sent.
struct EncodedCall<'py> {
    code: u64,
    definitions: Vec<u64>,
    args: Sent,
    futures: Bound<'py, PyAny>,
    /// The engine keeps a definition no longer than its object: these are held until it has the call.
    held: [Bound<'py, PyAny>; 2],
}

impl Client {
    /// The session, unless this process is a forked child of the worker.
    pub fn session(&self) -> PyResult<&Arc<lineshaft_engine::worker::Session>> {
        self.generation.check()?;
        Ok(&self.session)
    }

    /// The same, for whoever has nothing to do in a child.
    pub fn own_session(&self) -> Option<&Arc<lineshaft_engine::worker::Session>> {
        self.generation.is_current().then_some(&self.session)
    }

    /// The session as what maps received objects: a forked child may look at those, too.
    pub fn memory(&self) -> &lineshaft_engine::worker::Session {
        &self.session
    }

    pub fn encoder(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        self.encoder.get_or_try_init(py, || {
            let parent = py.import("lineshaft._serial.parent")?;
            Ok(parent.getattr("Encoder")?.call0()?.unbind())
        })
    }

    /// Makes a nested call.
    pub fn submit(
        &self,
        py: Python<'_>,
        pool: Option<u64>,
        call: &RemoteCall<'_, '_>,
        policy: Policy,
    ) -> PyResult<Arc<NestedCall>> {
        let session = self.session()?;
        let encoded = self.encode(py, call.function, call.args, call.kwargs)?;
        let inputs = encoded.futures.try_iter()?.map(|found| {
            let found = found?;
            match found.cast::<FutureBase>()?.get().source()? {
                Source::Nested { call, .. } => Ok(call.id()),
                Source::Task { .. } => Err(future_of_another_engine(&found)),
            }
        });
        let inputs = inputs.collect::<PyResult<Vec<u64>>>()?;
        let nanos =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let options = CallOptions {
            each: call.each,
            priority: policy.priority,
            failures_max: policy.retries.failures_max,
            deaths_max: policy.retries.deaths_max,
            backoff_ns: nanos(policy.retries.backoff),
            timeout_ns: policy.timeout.map(nanos),
            internal: policy.internal,
        };
        let (code, definitions, args) = (encoded.code, encoded.definitions, encoded.args);
        session
            .call(pool, code, definitions, inputs, options, args)
            .map_err(|error| match error {
                EngineError::PoolClosed => engine_error(py, &error),
                error => failed(&error),
            })
    }

    /// Pickles a call, and sees to it that the engine has what it needs.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<EncodedCall<'py>> {
        let encoder = self.encoder(py)?;
        let (function_code, args) = code_and_arguments(encoder.bind(py), function, args)?;
        let code = self.define(&function_code)?;
        let keywords = kwargs.cloned().unwrap_or_else(|| PyDict::new(py));
        let call = PyTuple::new(py, [args.as_any(), keywords.as_any()])?;
        let encoded = Encoded::new(py, encoder, function, &call, 0)?;
        let definitions = encoded.definitions.try_iter()?;
        let definitions = definitions.map(|definition| self.define(&definition?));
        Ok(EncodedCall {
            code,
            definitions: definitions.collect::<PyResult<_>>()?,
            args: to_sent(
                encoded.data.as_bytes(),
                Some(&encoded.buffers),
                &self.session,
            )?,
            futures: encoded.futures,
            held: [function_code, encoded.definitions],
        })
    }

    /// Sees to it that the engine has a definition, and what it needs.
    fn define(&self, definition: &Bound<'_, PyAny>) -> PyResult<u64> {
        let base = definition.cast::<DefinitionBase>()?.get();
        let id: u64 = definition.getattr("id")?.extract()?;
        if base.is_sent(self.owner) {
            return Ok(id);
        }
        let parts = Parts::of(definition)?;
        let needs = (parts.needs.try_iter()?).map(|needed| self.define(&needed?));
        let needs = needs.collect::<PyResult<Vec<u64>>>()?;
        let body = to_sent(parts.data.as_bytes(), Some(&parts.buffers), &self.session)?;
        self.session
            .define(id, needs, (&parts.group.0, &parts.group.1), body)
            .map_err(|error| failed(&error))?;
        base.sent(self.owner, &self.session, id);
        Ok(id)
    }
}

/// A worker process's conversation with its engine.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Session {
    client: Arc<Client>,
    /// Definitions are being loaded. A time limit that struck in between would leave half of one.
    is_learning: AtomicBool,
    /// What is to be said of the running task beside its result.
    remark: Locked<Option<Remark>>,
}

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
        let client = Client {
            session: Arc::new(session),
            generation: Generation::current(),
            resolver: Resolver::new(None),
            encoder: PyOnceLock::new(),
            owner: Owner::new(),
        };
        Ok(Session {
            client: Arc::new(client),
            is_learning: AtomicBool::new(false),
            remark: Locked::default(),
        })
    }

    /// Runs tasks until the engine wants no more. `hooks` has the functions of
    /// `lineshaft._serial.worker`, `flush` with `unflushed`, `check_limit`, which raises if the
    /// running task is to be interrupted, and `changed`.
    fn serve(&self, hooks: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = hooks.py();
        let session = &*self.client.session;
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
        self.is_running() && self.client.session.is_interrupted()
    }

    /// Whether a task is running, and not only loading what it needs.
    fn is_running(&self) -> bool {
        let session = self.client.own_session();
        !self.is_learning.load(Ordering::Relaxed) && session.is_some_and(|it| it.is_running())
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
        let session = &*self.client.session;
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
                self.remark.with(|noted| *noted = None);
                let mut phases = Stopwatch::start();
                let mut arguments = None;
                let called = self
                    .learn(hooks, lessons)
                    .and_then(|()| hooks.load(session, code, &args, &inputs))
                    .and_then(|call| {
                        phases.call();
                        arguments = Some(call.arguments());
                        call.run(hooks, each)
                    });
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
                let end = called.and_then(|value| self.value(hooks, &value));
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
                let loadable = Loadable::from_received(py, &body, &self.client.session)?;
                let arguments = (id, &loadable.stream, loadable.buffers(py));
                hooks.load_definition.call1(arguments).map(drop)
            }
            Job::Forget { ids } => hooks.forget.call1((ids,)).map(drop),
            Job::Initialize { .. } | Job::Run { .. } => unreachable!("calls are not kept"),
        });
        self.is_learning.store(false, Ordering::Relaxed);
        if learned.is_err() {
            // For want of memory, perhaps. The engine believes that this worker knows all of them.
            self.client.session.leave_soon();
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
            &self.client.session,
        )
    }

    fn exception(&self, hooks: &Hooks<'_>, error: PyErr) -> PyResult<Raised> {
        let py = hooks.code.py();
        let raised = hooks.dumps_raised.call1((error.into_value(py),))?;
        let (data, traceback) = raised.extract::<(Bound<'_, PyBytes>, Bound<'_, PyString>)>()?;
        Ok(Raised {
            error: to_sent(data.as_bytes(), None, &self.client.session)?,
            traceback: traceback.to_string_lossy().into_owned(),
        })
    }
}
