//! Python calls on the engine's threads.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use lineshaft_core::{Failure, PoolId, TaskId, Time};
use lineshaft_engine::{BlockedCall, Call, CallEnd, Calls, LONG_CALL, Runner};
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::encode::encode_result;
use crate::engine::Core;
use crate::event_loop;
use crate::graph::Node;
use crate::interpreter::{call_from_frame, front, hanging_if_unwound};
use crate::locked::Locked;
use crate::own_thread::become_own;
use crate::resolver::Resolver;
use crate::turns::{Steps, Turns};

/// How long a thread runs calls before it lets go of the interpreter between two of them. Objects that
/// threads without the interpreter drop, such as results that no task needs any more, are freed by the
/// next thread that takes it. As long as the interpreter itself lets a thread run while others wait.
const ATTACHED_MAX: Duration = Duration::from_millis(5);

/// A Python call.
pub struct Body {
    pub function: Py<PyAny>,
    pub args: Py<PyTuple>,
    pub kwargs: Option<Py<PyDict>>,
}

/// Runs calls where they are.
pub struct ThreadRunner {
    /// Tells this runner's initializer from others' on the same thread.
    id: u64,
    initializer: Option<(Py<PyAny>, Py<PyTuple>)>,
    /// The interpreter does not wait for threads that its calls start.
    daemons: bool,
    /// The initializer raised: nothing runs here any more.
    pub broken: Arc<AtomicBool>,
    /// Weak, because the engine in it holds this runner.
    core: Weak<Core>,
    resolver: Arc<Resolver>,
    /// The pool that calls come from, known once it is open.
    pub pool: OnceLock<PoolId>,
}

thread_local! {
    static INITIALIZED: RefCell<HashSet<u64>> = RefCell::default();
}

fn body(call: &lineshaft_engine::Body) -> &Body {
    call.downcast_ref()
        .expect("this crate submits nothing else to threads")
}

fn invoke<'py>(py: Python<'py>, call: &Call) -> PyResult<Bound<'py, PyAny>> {
    if let Some(node) = call.body().downcast_ref::<Node>() {
        return node.run(py, call.inputs());
    }
    let Body {
        function,
        args,
        kwargs,
    } = body(call.body());
    call_from_frame(
        function.bind(py),
        args.bind(py),
        kwargs.as_ref().map(|kwargs| kwargs.bind(py)),
    )
}

/// Tells the engine what the arguments of a call are, for people. What cannot be told is left out.
fn note_arguments(py: Python<'_>, call: &Call, error: Option<&PyErr>) {
    let told = || -> PyResult<Option<String>> {
        let show = front(py)?.show_arguments.bind(py);
        let shown = if let Some(node) = call.body().downcast_ref::<Node>() {
            match node.arguments(py, call.inputs())? {
                Some((args, kwargs)) => show.call1((args, kwargs))?,
                None => return Ok(None),
            }
        } else {
            let Body { args, kwargs, .. } = body(call.body());
            let traceback = error.and_then(|error| error.traceback(py));
            show.call1((args, kwargs, false, traceback))?
        };
        shown.extract().map(Some)
    };
    if let Ok(Some(text)) = told() {
        call.note_arguments(text);
    }
}

/// Where a call raised, for people; empty if that cannot be told.
fn traceback_of(py: Python<'_>, error: &Bound<'_, PyBaseException>) -> String {
    let told = || -> PyResult<String> {
        let exceptions = py.import(pyo3::intern!(py, "lineshaft._serial.exceptions"))?;
        let text = exceptions.call_method1(pyo3::intern!(py, "traceback_of"), (error,))?;
        Ok(text.cast_into::<PyString>()?.to_string_lossy().into_owned())
    };
    told().unwrap_or_default()
}

fn end(
    py: Python<'_>,
    core: &Weak<Core>,
    call: Call,
    outcome: PyResult<Bound<'_, PyAny>>,
    ran: Duration,
    in_time: bool,
) {
    if outcome.is_err() || ran >= LONG_CALL {
        note_arguments(py, &call, outcome.as_ref().err());
    }
    let end = match outcome {
        Ok(value) => {
            let core = call.is_for_workers().then(|| core.upgrade()).flatten();
            let portable = core.map(|core| {
                encode_result(py, &core, &value).map_err(|error| error.value(py).to_string())
            });
            CallEnd::Value {
                value: Box::new(value.unbind()),
                portable,
            }
        }
        Err(error) => {
            let error = error.into_value(py);
            // In what says that it ran out of time there are no frames of its own.
            let (traceback, how) = if in_time {
                (traceback_of(py, error.bind(py)), Failure::Raised)
            } else {
                (String::new(), Failure::TimedOut)
            };
            CallEnd::Raised {
                error: Box::new(error.into_any()),
                traceback,
                how,
            }
        }
    };
    call.finish(end, ran);
}

impl ThreadRunner {
    pub fn new(
        initializer: Option<(Py<PyAny>, Py<PyTuple>)>,
        daemons: bool,
        core: &Arc<Core>,
    ) -> ThreadRunner {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed);
        ThreadRunner {
            id,
            initializer,
            daemons,
            broken: Arc::default(),
            core: Arc::downgrade(core),
            resolver: Arc::clone(&core.resolver),
            pool: OnceLock::new(),
        }
    }

    /// Gives this thread its name in Python, where it is otherwise a nameless stranger, and what
    /// `threading.settrace` and `setprofile` want of each thread: coverage and debuggers rely on it.
    fn introduce(&self, py: Python<'_>) -> PyResult<()> {
        let name = std::thread::current()
            .name()
            .unwrap_or("lineshaft")
            .to_owned();
        let threading = py.import("threading")?;
        let thread = threading.call_method0("current_thread")?;
        thread.setattr("name", name)?;
        // Threads that it starts inherit this; the interpreter waits for none that it has not started itself.
        thread.setattr("_daemonic", self.daemons)?;
        for (get, set) in [("gettrace", "settrace"), ("getprofile", "setprofile")] {
            let function = threading.call_method0(get)?;
            if !function.is_none() {
                py.import("sys")?.call_method1(set, (function,))?;
            }
        }
        Ok(())
    }

    /// Takes this thread off the list that `threading.enumerate` shows; nobody else does.
    fn take_leave(py: Python<'_>) -> PyResult<()> {
        let threading = py.import("threading")?;
        let id = threading.call_method0("get_ident")?;
        threading
            .getattr("_active")?
            .call_method1("pop", (id, py.None()))?;
        Ok(())
    }

    /// Calls the initializer if this thread has not done so; false if that has ever failed.
    fn initialize(&self, py: Python<'_>) -> bool {
        let Some((initializer, args)) = &self.initializer else {
            return true;
        };
        if !self.broken.load(Ordering::SeqCst)
            && INITIALIZED.with_borrow_mut(|done| done.insert(self.id))
            && let Err(error) = call_from_frame(initializer.bind(py), args.bind(py), None)
        {
            self.broken.store(true, Ordering::SeqCst);
            let told = front(py).and_then(|front| {
                front
                    .failures
                    .bind(py)
                    .call_method1("initializer_raised", (error.into_value(py),))
            });
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        }
        !self.broken.load(Ordering::SeqCst)
    }

    fn run_attached(&self, py: Python<'_>, calls: &mut Calls<'_>) {
        let mut attached = Instant::now();
        while let Some(call) = calls.next() {
            let (outcome, ran) = if self.initialize(py) {
                call.enter(|| hanging_if_unwound(|| invoke(py, &call)))
            } else {
                let broken = front(py)
                    .and_then(|front| front.failures.bind(py).call_method0("thread_pool_broken"));
                (
                    broken.and_then(|error| Err(PyErr::from_value(error))),
                    Duration::ZERO,
                )
            };
            end(py, &self.core, call, outcome, ran, true);
            // Callbacks of other pools may block, and are not what this pool has threads for.
            if let Some(pool) = self.pool.get() {
                self.resolver.drain_or_report(py, Some(*pool));
            }
            if attached.elapsed() > ATTACHED_MAX {
                py.detach(|| ());
                attached = Instant::now();
            }
        }
    }
}

impl Runner for ThreadRunner {
    /// Python's state of this thread stays as long as the thread does: in it are the values of
    /// `threading.local`, which calls expect to find where the initializer or calls before left them.
    fn around(&self, serve: &mut (dyn FnMut() + Send)) {
        become_own();
        let attached = Python::try_attach(|py| {
            let introduced = hanging_if_unwound(|| self.introduce(py));
            py.detach(&mut *serve);
            hanging_if_unwound(|| {
                if let Err(error) = introduced.and_then(|()| Self::take_leave(py)) {
                    error.write_unraisable(py, None);
                }
            });
        });
        if attached.is_none() {
            serve();
        }
    }

    fn run(&self, calls: &mut Calls<'_>) {
        // Without an interpreter the calls are dropped, and thereby fail.
        Python::try_attach(|py| hanging_if_unwound(|| self.run_attached(py, calls)));
    }
}

/// Hands calls to an event loop, which runs many of them at the same time.
pub struct LoopRunner {
    /// Takes an `EventLoopCall`.
    pub start: Py<PyAny>,
    /// Weak, because the engine in it holds this runner.
    pub core: Weak<Core>,
    /// What its event loops tell.
    pub turns: Arc<Turns>,
}

impl LoopRunner {
    fn start_attached(&self, py: Python<'_>, calls: &mut Calls<'_>) {
        while let Some(call) = calls.next() {
            let call = EventLoopCall {
                call: Locked::new(Some(call)),
                blocks: AtomicUsize::new(0),
                awaited: AtomicUsize::new(0),
                in_step: AtomicBool::new(false),
                timed_out: AtomicBool::new(false),
                waiting: Locked::default(),
                core: Weak::clone(&self.core),
            };
            // A call that is not taken is dropped, and thereby fails.
            if let Err(error) = self.start.bind(py).call1((call,)) {
                error.write_unraisable(py, Some(self.start.bind(py)));
            }
        }
    }
}

impl Runner for LoopRunner {
    fn run(&self, calls: &mut Calls<'_>) {
        Python::try_attach(|py| hanging_if_unwound(|| self.start_attached(py, calls)));
    }

    fn turns(&self) -> Vec<(TaskId, Time)> {
        self.turns.now()
    }
}

/// One call of a coroutine function, to be run by an event loop.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct EventLoopCall {
    call: Locked<Option<Call>>,
    /// Waits of its thread, while nothing else runs there.
    blocks: AtomicUsize,
    /// Other tasks that it awaits, or that something awaits which it has started.
    awaited: AtomicUsize,
    /// It is its turn.
    in_step: AtomicBool,
    /// What it raises says that it ran out of time.
    timed_out: AtomicBool,
    /// There while it waits for other tasks; tells the engine, when it is dropped, that it goes on.
    waiting: Locked<Option<BlockedCall>>,
    core: Weak<Core>,
}

impl EventLoopCall {
    /// It is its turn until `end_step`. Whatever it awaits, it runs.
    pub fn begin_step(&self) {
        self.in_step.store(true, Ordering::Relaxed);
        if self.awaited.load(Ordering::Relaxed) > 0 {
            self.settle();
        }
    }

    pub fn end_step(&self) {
        self.in_step.store(false, Ordering::Relaxed);
        if self.awaited.load(Ordering::Relaxed) > 0 {
            self.settle();
        }
    }

    /// Tells the engine if it waits for other tasks from now on, or does no longer. Called by the thread of its loop.
    fn settle(&self) {
        let awaits = self.awaited.load(Ordering::Relaxed) > 0;
        let in_step = self.in_step.load(Ordering::Relaxed);
        if self.blocks.load(Ordering::Relaxed) > 0 || (awaits && !in_step) {
            if self.waiting.with(|waiting| waiting.is_none()) {
                // A call that has ended waits for nothing.
                let begin = |call: &mut Option<Call>| call.as_ref().and_then(Call::blocked);
                let begun = self.call.with(begin);
                self.waiting.with(|waiting| *waiting = begun);
            }
        } else {
            drop(self.waiting.with(Option::take));
        }
    }

    /// The call, which ends.
    fn take(&self) -> PyResult<Call> {
        let call = self.call.with(Option::take).ok_or_else(Self::has_ended);
        // It may have left behind what it has awaited.
        drop(self.waiting.with(Option::take));
        call
    }

    fn has_ended() -> PyErr {
        PyRuntimeError::new_err("this call has ended")
    }
}

#[pymethods]
impl EventLoopCall {
    /// The number of the call's task; attempts of one task share it.
    #[getter]
    fn task(&self) -> PyResult<u64> {
        let number = |call: &mut Option<Call>| call.as_ref().map(|call| call.task().0);
        self.call.with(number).ok_or_else(Self::has_ended)
    }

    /// Whether it was cancelled before it began.
    #[getter]
    fn is_unwanted(&self) -> bool {
        let is_unwanted = |call: &mut Option<Call>| call.as_ref().is_none_or(Call::is_unwanted);
        self.call.with(is_unwanted)
    }

    /// Its thread waits for another task from now on.
    fn begin_block(&self) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.settle();
    }

    /// Its thread has waited for another task.
    fn end_block(&self) {
        self.blocks.fetch_sub(1, Ordering::Relaxed);
        self.settle();
    }

    /// It awaits another task from now on, and does not need its place among those that run when it is not its turn.
    fn begin_await(&self) {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        self.settle();
    }

    /// It has awaited another task.
    fn end_await(&self) {
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        self.settle();
    }

    /// It was stopped because it had run out of time: what it raises now says so.
    fn time_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    /// Calls the function, on the thread of `event_loop`; the coroutine to be awaited.
    fn coroutine<'py>(
        slf: &Bound<'py, Self>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let turn = event_loop::adopt(&this.core, event_loop);
        let shared = |call: &mut Option<Call>| {
            let call = call.as_ref()?;
            Some((call.task(), Arc::clone(call.body())))
        };
        let (task, called) = this.call.with(shared).ok_or_else(Self::has_ended)?;
        let Body {
            function,
            args,
            kwargs,
        } = body(&called);
        let kwargs = kwargs.as_ref().map(|kwargs| kwargs.bind(py));
        let awaitable = function.bind(py).call(args.bind(py), kwargs)?;
        Steps::around(awaitable, slf.clone().unbind(), task, turn)
    }

    /// Reports the result. `ran_s` is how long it took, in seconds.
    fn finish(&self, py: Python<'_>, value: Bound<'_, PyAny>, ran_s: f64) -> PyResult<()> {
        end(
            py,
            &self.core,
            self.take()?,
            Ok(value),
            Duration::try_from_secs_f64(ran_s).unwrap_or_default(),
            true,
        );
        Ok(())
    }

    /// Reports what it raised.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>, ran_s: f64) -> PyResult<()> {
        let ran = Duration::try_from_secs_f64(ran_s).unwrap_or_default();
        let error = Err(PyErr::from_value(error));
        let in_time = !self.timed_out.load(Ordering::Relaxed);
        end(py, &self.core, self.take()?, error, ran, in_time);
        Ok(())
    }
}
