//! `Engine`: the engine of this process.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lineshaft_core::PoolId;
use lineshaft_dashboard::Dashboard;
use lineshaft_engine::{
    Code, EngineError, EngineOptions, PoolKind, PoolOptions, Program, Promise, Silent,
    THREAD_IDLE_MAX,
};
use lineshaft_store::LiveBuffers;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::definition::{DefinitionBase, Owner, Parts};
use crate::encode::encode_call;
use crate::generation::Generation;
use crate::graph::{self, Graph, GraphRun, Plan};
use crate::interpreter::{front, interpreter};
use crate::observed::Observed;
use crate::pool::{self, Pool};
use crate::resolver::{Forward, Resolver};
use crate::runner::{LoopRunner, ThreadRunner};
use crate::snapshot::Snapshot;
use crate::stats;
use crate::threads::{open_threads, stack_bytes};
use crate::turns::Turns;
use crate::values::to_payload;

/// An engine and what belongs to it on this side.
pub struct Core {
    /// Left alone in a forked child: its threads are not there, and its locks may be held for ever.
    observed: ManuallyDrop<Observed>,
    pub encoder: Py<PyAny>,
    pub resolver: Arc<Resolver>,
    pub live: LiveBuffers,
    /// What cancels a call that an event loop runs, by the id of its pool.
    pub cancels: Py<PyDict>,
    /// Which of the calls of event loops compute.
    pub turns: Arc<Turns>,
    /// It has worker processes, or can have them.
    pub has_processes: bool,
    owner: Owner,
    generation: Generation,
}

/// Turns an error of the engine into Python's.
pub fn engine_error(py: Python<'_>, error: &EngineError) -> PyErr {
    let (kind, text) = match error {
        EngineError::Closed => ("closed", error.to_string()),
        EngineError::PoolClosed => ("pool_closed", error.to_string()),
        EngineError::Poisoned(text) => ("poisoned", text.clone()),
        _ => ("transfer", error.to_string()),
    };
    let made = front(py).and_then(|front| front.failures.bind(py).call_method1(kind, (text,)));
    made.map_or_else(|error| error, PyErr::from_value)
}

impl Core {
    /// The engine, unless this process is a forked child of the one it belongs to.
    pub fn engine(&self) -> PyResult<&lineshaft_engine::Engine> {
        self.observed().map(Observed::engine)
    }

    /// The engine with what shows it, under the same condition.
    fn observed(&self) -> PyResult<&Observed> {
        self.generation.check()?;
        Ok(&self.observed)
    }

    /// Cancels a task of a pool, unless it has begun to run where it cannot be stopped; whether it is
    /// cancelled. A coroutine is: it runs on until it has cleaned up, but nobody hears of it.
    pub fn cancel(&self, py: Python<'_>, pool: PoolId, promise: &Promise) -> PyResult<bool> {
        let engine = self.engine()?;
        let stop = self.cancels.bind(py).get_item(pool.0)?;
        let can_stop = stop.is_some();
        let cancelled = py.detach(|| engine.cancel(promise, can_stop));
        if let Some(stop) = stop.filter(|_| cancelled) {
            stop.call1((promise.task().0,))?;
        }
        Ok(cancelled)
    }

    /// Whether it was not forked with the process that it belongs to.
    pub fn is_of_this_process(&self) -> bool {
        self.generation.is_current()
    }

    /// A definition as workers know it.
    pub fn definition(&self, py: Python<'_>, definition: &Bound<'_, PyAny>) -> PyResult<Arc<Code>> {
        let base = definition.cast::<DefinitionBase>()?.get();
        if let Some(code) = base.code(self.owner) {
            return Ok(code);
        }
        let parts = Parts::of(definition)?;
        let needs = self.definitions(py, &parts.needs)?;
        let engine = self.engine()?;
        let data = parts.data.as_bytes();
        let body = to_payload(py, data, Some(&parts.buffers), engine.store(), &self.live)?;
        let (module, name) = &parts.group;
        let code = engine.code(engine.group(module, name), body, needs);
        Ok(base.keep(self.owner, code))
    }

    /// Several of them.
    pub fn definitions(
        &self,
        py: Python<'_>,
        definitions: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Arc<Code>>> {
        definitions
            .try_iter()?
            .map(|definition| self.definition(py, &definition?))
            .collect()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            // SAFETY: nothing uses it after its owner is dropped.
            let observed = unsafe { ManuallyDrop::take(&mut self.observed) };
            // Shutting down waits for the loop, which may be about to need the interpreter's lock
            // no more than anyone else: let others have it meanwhile. Where there is no interpreter
            // any more, what was to be called is dropped, and the engine with it.
            let _: Option<()> = Python::try_attach(|py| py.detach(|| drop(observed)));
        }
    }
}

/// The engine of this process.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Engine {
    core: Arc<Core>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, cores, memory_bytes, spill_dir, encoder, console, command, environment, setup))]
    #[expect(clippy::too_many_arguments, reason = "all are named in Python")]
    fn new(
        py: Python<'_>,
        cores: u32,
        memory_bytes: u64,
        spill_dir: PathBuf,
        encoder: Py<PyAny>,
        console: Option<Py<PyAny>>,
        command: Option<Vec<OsString>>,
        environment: Vec<(OsString, OsString)>,
        setup: Vec<u8>,
    ) -> PyResult<Engine> {
        // Looked up while the caller sees to it that nobody forks: whoever looks up something for the
        // first time while the process is forked leaves it half done in the child.
        interpreter(py)?;
        front(py)?;
        let resolver = Resolver::new(console);
        let zygote = command.map(|mut command| Program {
            path: PathBuf::from(command.remove(0)),
            arguments: command,
            environment,
            setup,
        });
        let has_processes = zygote.is_some();
        let observer: Arc<dyn lineshaft_engine::Observer> = if has_processes {
            Arc::new(Forward(Arc::clone(&resolver)))
        } else {
            Arc::new(Silent)
        };
        let options = EngineOptions {
            cores,
            memory_bytes,
            spill_dir,
            zygote,
            observer,
        };
        let engine =
            lineshaft_engine::Engine::new(options).map_err(|error| engine_error(py, &error))?;
        let core = Core {
            observed: ManuallyDrop::new(Observed::new(engine)),
            encoder,
            resolver,
            live: LiveBuffers::new(),
            cancels: PyDict::new(py).unbind(),
            turns: Arc::default(),
            has_processes,
            owner: Owner::new(),
            generation: Generation::current(),
        };
        Ok(Engine {
            core: Arc::new(core),
        })
    }

    /// Workers that start from now on are set up by `setup`.
    fn set_up(&self, py: Python<'_>, setup: Vec<u8>) -> PyResult<()> {
        let engine = self.core.engine()?;
        py.detach(|| engine.set_up(setup))
            .map_err(|error| engine_error(py, &error))
    }

    /// Opens a pool of worker processes. With `snapshot` they are forked from that child of this
    /// process, and `encoder` knows what they have inherited. Those of a `patient` one have all the time that
    /// they need to end, until it is hurried.
    #[pyo3(signature = (*, name, workers, initializer = None, initargs = None, tasks_per_worker_max = None, growth_bytes_max = None, snapshot = None, encoder = None, patient = false))]
    #[expect(clippy::too_many_arguments, reason = "all are named in Python")]
    fn process_pool(
        &self,
        py: Python<'_>,
        name: String,
        workers: u32,
        initializer: Option<Bound<'_, PyAny>>,
        initargs: Option<Bound<'_, PyTuple>>,
        tasks_per_worker_max: Option<u32>,
        growth_bytes_max: Option<u64>,
        snapshot: Option<Bound<'_, Snapshot>>,
        encoder: Option<Py<PyAny>>,
        patient: bool,
    ) -> PyResult<Pool> {
        let snapshot = snapshot
            .map(|snapshot| snapshot.get().hand_over())
            .transpose()?;
        let encoder = encoder.unwrap_or_else(|| self.core.encoder.clone_ref(py));
        let (mut definitions, mut encoded) = (Vec::new(), None);
        if let Some(initializer) = initializer {
            let initargs = initargs.unwrap_or_else(|| PyTuple::empty(py));
            let call = encode_call(py, &self.core, &encoder, &initializer, &initargs, None, 0)?;
            definitions = call.definitions;
            encoded = Some((call.code, call.args));
        }
        let kind = PoolKind::Processes {
            initializer: encoded,
            definitions,
            tasks_per_worker_max,
            growth_bytes_max,
            patient,
        };
        let options = PoolOptions {
            name,
            workers,
            kind,
        };
        let engine = self.core.engine()?;
        let id = match snapshot {
            Some(snapshot) => engine.open_pool_of(snapshot, options),
            None => engine.open_pool(options),
        };
        let id = id.map_err(|error| engine_error(py, &error))?;
        Ok(Pool::processes(Arc::clone(&self.core), id, encoder))
    }

    /// Opens a pool of threads. Those of a `lasting` one stay until it closes; what they start is a daemon if they
    /// are `daemons`. An `internal` one, for tasks that the program has not asked for, is shown nowhere.
    #[pyo3(signature = (*, name, workers, takes_core, lasting, daemons, initializer = None, initargs = None, internal = false))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "all are named in Python"
    )]
    fn thread_pool(
        &self,
        py: Python<'_>,
        name: String,
        workers: u32,
        takes_core: bool,
        lasting: bool,
        daemons: bool,
        initializer: Option<Py<PyAny>>,
        initargs: Option<Py<PyTuple>>,
        internal: bool,
    ) -> PyResult<Pool> {
        let initializer = initializer.map(|initializer| {
            (
                initializer,
                initargs.unwrap_or_else(|| PyTuple::empty(py).unbind()),
            )
        });
        let stack_bytes = stack_bytes(py)?;
        let runner = Arc::new(ThreadRunner::new(initializer, daemons, &self.core));
        let broken = Arc::clone(&runner.broken);
        let kind = PoolKind::Threads {
            runner: Arc::clone(&runner) as _,
            threads_max: None,
            takes_core,
            stack_bytes,
            idle_max: (!lasting).then_some(THREAD_IDLE_MAX),
        };
        let options = PoolOptions {
            name,
            workers,
            kind,
        };
        let id = open_threads(py, &self.core, options, internal)?;
        let fresh = runner.pool.set(id).is_ok();
        debug_assert!(fresh, "a runner belongs to one pool");
        Ok(Pool::threads(Arc::clone(&self.core), id, broken))
    }

    /// Opens a pool that hands its calls to `start`, `workers` of them at a time. `cancel` takes the number
    /// of a task, which has begun unless it is still to be started.
    #[pyo3(signature = (*, name, workers, start, cancel))]
    fn loop_pool(
        &self,
        py: Python<'_>,
        name: String,
        workers: u32,
        start: Py<PyAny>,
        cancel: Py<PyAny>,
    ) -> PyResult<Pool> {
        let core = Arc::downgrade(&self.core);
        let turns = Arc::clone(&self.core.turns);
        let runner = Arc::new(LoopRunner { start, core, turns });
        let kind = PoolKind::Threads {
            runner,
            threads_max: Some(1),
            takes_core: false,
            stack_bytes: None,
            idle_max: None,
        };
        let options = PoolOptions {
            name,
            workers,
            kind,
        };
        let id = open_threads(py, &self.core, options, false)?;
        self.core.cancels.bind(py).set_item(id.0, cancel)?;
        Ok(Pool::threads(Arc::clone(&self.core), id, Arc::default()))
    }

    /// Submits a graph: an object with `nodes`, `values` and `aliases` by key and the list of those
    /// `wanted`. The plan says where its tasks run. With `keep`, every result is kept.
    #[pyo3(signature = (graph, plan, *, keep = false))]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what Python passes is taken over"
    )]
    fn submit_graph(
        &self,
        py: Python<'_>,
        graph: Graph<'_>,
        plan: Plan<'_>,
        keep: bool,
    ) -> PyResult<GraphRun> {
        graph::submit(py, &self.core, &graph, &plan, keep)
    }

    /// What the engine is doing, in numbers.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.core.engine()?;
        let stats = py.detach(|| engine.stats());
        stats::dict(py, stats)
    }

    /// The most memory of this process and its workers, what they share counted once, in bytes; none if nobody has asked
    /// for a picture of them.
    fn most_memory(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let observed = self.core.observed()?;
        Ok(py.detach(|| observed.most_memory()))
    }

    /// Serves pages that show the engine, from the first call on, at this address; returns where they are.
    fn serve(&self, py: Python<'_>, address: &str) -> PyResult<String> {
        let with_port = address.parse::<SocketAddr>();
        let with_port = with_port.map(|address| (address.ip(), Some(address.port())));
        let (address, port) = with_port
            .or_else(|_| address.parse().map(|address| (address, None)))
            .map_err(|_| PyValueError::new_err(format!("not an address: {address:?}")))?;
        let observed = self.core.observed()?;
        if observed.engine().is_closed() {
            return Err(PyRuntimeError::new_err("the engine has been shut down"));
        }
        Ok(py.detach(|| observed.url(address, port).map(str::to_owned))?)
    }

    /// Keeps a picture of what the engine does, from now on and as far as its log goes back; and, if `stacks`, with
    /// stacks of what worker processes run.
    #[pyo3(signature = (*, stacks = false))]
    fn observe(&self, py: Python<'_>, stacks: bool) -> PyResult<()> {
        let observed = self.core.observed()?;
        let dashboard = py.detach(|| observed.dashboard())?;
        if stacks {
            dashboard.keep_stacks();
        }
        Ok(())
    }

    /// The engine's numbers in the text format of Prometheus.
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        let observed = self.core.observed()?;
        Ok(py.detach(|| observed.dashboard().map(Dashboard::metrics))?)
    }

    /// Writes the run so far, all of it if the engine has been shut down, to a file in Chrome's trace
    /// format. Returns how many attempts are in it, how many are not, and how many events were missed.
    fn trace(&self, py: Python<'_>, path: PathBuf) -> PyResult<(u64, u64, u64)> {
        let observed = self.core.observed()?;
        let traced = py.detach(|| observed.trace(path))?;
        Ok((
            traced.attempts,
            traced.attempts_missing,
            traced.events_missed,
        ))
    }

    /// Writes the run so far, all of it if the engine has been shut down, to a page that needs no server.
    fn report(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let observed = self.core.observed()?;
        Ok(py.detach(|| observed.report(path))?)
    }

    /// What worker processes printed lately, oldest first: tuples of worker, task (or None), whether
    /// it was on standard error, and text.
    #[expect(
        clippy::type_complexity,
        reason = "a tuple for Python, explained above"
    )]
    fn output(&self, py: Python<'_>) -> PyResult<Vec<(u32, Option<u64>, bool, String)>> {
        let engine = self.core.engine()?;
        let printed = py.detach(|| engine.output());
        let tuple = |one: lineshaft_engine::Printed| {
            let text = String::from_utf8_lossy(&one.bytes).into_owned();
            (
                one.worker.0,
                one.task.map(|task| task.0),
                one.stream == lineshaft_engine::Stream::Stderr,
                text,
            )
        };
        Ok(printed.into_iter().map(tuple).collect())
    }

    /// Cancels what has not begun; with `kill`, what runs in worker processes as well.
    fn cancel_all(&self, py: Python<'_>, kill: bool) -> PyResult<()> {
        let engine = self.core.engine()?;
        py.detach(|| engine.cancel_all(None, kill));
        Ok(())
    }

    /// Sends SIGINT to all worker processes; False if there are none.
    fn send_interrupt(&self, py: Python<'_>) -> PyResult<bool> {
        let engine = self.core.engine()?;
        Ok(py.detach(|| engine.send_interrupt(None)))
    }

    /// Waits until no task is unfinished, or with `but_daemons` none but daemons; False if `timeout_s`
    /// seconds were not enough.
    #[pyo3(signature = (timeout_s = None, *, but_daemons = false))]
    fn wait_idle(
        &self,
        py: Python<'_>,
        timeout_s: Option<f64>,
        but_daemons: bool,
    ) -> PyResult<bool> {
        pool::wait_idle(py, &self.core, None, timeout_s, but_daemons)
    }

    /// Whether the callbacks of all calls that have ended have been called.
    fn has_called_back(&self) -> bool {
        self.core.resolver.has_called_back(None)
    }

    /// Waits until they have been, and calls those that no other thread calls.
    fn finish_callbacks(&self, py: Python<'_>) -> PyResult<()> {
        self.core.resolver.finish_callbacks(py, None)
    }

    /// Ends the engine: cancels what is unfinished, ends the workers, shows what they still
    /// printed. In a hurry it does not wait long for callbacks.
    #[pyo3(signature = (*, in_hurry = false))]
    fn shut_down(&self, py: Python<'_>, in_hurry: bool) -> PyResult<()> {
        // In a forked child there is nothing to end.
        let Ok(observed) = self.core.observed() else {
            return Ok(());
        };
        py.detach(|| observed.shut_down());
        self.core.resolver.close(py, in_hurry)
    }

    /// Whether it has been shut down.
    #[getter]
    fn closed(&self) -> bool {
        self.core
            .engine()
            .map_or(true, lineshaft_engine::Engine::is_closed)
    }
}
