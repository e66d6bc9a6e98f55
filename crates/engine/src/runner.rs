//! The one way in which the engine runs work of its own process: it hands calls to a runner and
//! knows nothing of what they are.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lineshaft_core::{Attempt, Failure, PoolId, TaskId, Time, WorkerId};

use crate::clock;
use crate::command::Command;
use crate::excerpt::excerpt;
use crate::outcome::{Outcome, Portable, TaskError};
use crate::promise::{EngineId, Promise};
use crate::shared::Shared;
use crate::threads::Awaited;
use crate::threads::Lanes;

/// Runs calls on the engine's threads. Implemented for Python by the Python crate, for closures by
/// the example, and by tests.
pub trait Runner: Send + Sync + 'static {
    /// Takes calls from `calls` and runs them until there are none left for now. Whatever is
    /// needed around a run of calls, such as attaching to an interpreter, is done once in here.
    fn run(&self, calls: &mut Calls<'_>);

    /// Called once on each thread, around all that it does, for a runner whose threads need something
    /// for life.
    fn around(&self, serve: &mut (dyn FnMut() + Send)) {
        serve();
    }

    /// For a runner that hands calls on to event loops: those whose turn it is on one of these, and since when.
    /// All others that have begun wait. Called with the state lock held, so it may wait for nothing.
    fn turns(&self) -> Vec<(TaskId, Time)> {
        Vec::new()
    }
}

/// What a task calls, for a runner to downcast. Shared, because a retry runs it again.
pub type Body = Arc<dyn Any + Send + Sync>;

/// The calls that one thread is to run.
pub struct Calls<'a> {
    pub(crate) lanes: &'a Lanes,
    pub(crate) thread: rustix::thread::Pid,
}

impl Calls<'_> {
    /// The next call, if there is one right now.
    #[expect(
        clippy::should_implement_trait,
        reason = "an empty queue is not the end of the calls"
    )]
    pub fn next(&mut self) -> Option<Call> {
        let call = self.lanes.try_next(self.thread)?;
        if call.timed
            && let Some(engine) = call.engine.upgrade()
        {
            engine.post(Command::Started {
                task: call.task,
                attempt: call.attempt,
            });
        }
        Some(call)
    }
}

/// One attempt of one task, to be run on a thread of this process.
pub struct Call {
    pub(crate) engine: Weak<Shared>,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    /// What the scheduler handed it to.
    pub(crate) worker: WorkerId,
    /// It has a time limit, so its start has to be reported.
    pub(crate) timed: bool,
    pub(crate) body: Body,
    pub(crate) inputs: Vec<Arc<Promise>>,
    pub(crate) promise: Arc<Promise>,
    pub(crate) handed_over: bool,
}

/// How a call ended.
pub enum CallEnd {
    /// It returned.
    Value {
        /// What it returned.
        value: Box<dyn Any + Send + Sync>,
        /// The same for worker processes, if `Call::is_for_workers`; or why it cannot be sent there.
        portable: Option<Result<Portable, String>>,
    },
    /// It raised.
    Raised {
        /// What it raised.
        error: Box<dyn Any + Send + Sync>,
        /// Where it did, for people; empty if nobody knows. Of a long one only a part is kept.
        traceback: String,
        /// How, and so whether its retries apply.
        how: Failure,
    },
}

impl Call {
    /// What to call.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The tasks whose results the body refers to by index; all have ended well.
    pub fn inputs(&self) -> &[Arc<Promise>] {
        &self.inputs
    }

    /// The number of the task, of which this is one attempt, among those of its engine.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Says what its arguments are, for people. To be called before it ends, and only if it took long or raised.
    pub fn note_arguments(&self, text: String) {
        if let Some(engine) = self.engine.upgrade() {
            engine.post(Command::Arguments {
                task: self.task,
                attempt: self.attempt,
                text,
            });
        }
    }

    /// Whether nobody needs it any more: the task was cancelled, or has an outcome already.
    pub fn is_unwanted(&self) -> bool {
        self.promise.is_done()
    }

    /// Whether a task in a worker process needs the result. To be asked when it is there: nobody can
    /// ask for it afterwards.
    pub fn is_for_workers(&self) -> bool {
        self.promise.close_requests()
    }

    /// Says that it waits for others, until what is returned is dropped. For runners that run several calls
    /// on a thread; `enter` sees to it for the others.
    pub fn blocked(&self) -> Option<BlockedCall> {
        Some(BlockedCall::begin(
            self.engine.upgrade()?,
            (self.task, self.attempt),
            Awaited::Anything,
        ))
    }

    /// Runs `work` as this task on this thread: what it submits and waits for is known to be
    /// nested in it. Returns what `work` returns and how long it ran.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let _entered = Entered::new(self);
        let began = clock::now();
        let value = work();
        (value, clock::now() - began)
    }

    /// Reports how the call ended. May happen on any thread.
    pub fn finish(mut self, end: CallEnd, ran: Duration) {
        self.handed_over = true;
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        let (task, attempt) = (self.task, self.attempt);
        engine.post(match end {
            CallEnd::Value { value, portable } => Command::Finished {
                task,
                attempt,
                ran,
                outcome: Outcome::Local { value, portable },
            },
            CallEnd::Raised {
                error,
                traceback,
                how,
            } => Command::Failed {
                task,
                attempt,
                how,
                ran: Some(ran),
                error: TaskError::RaisedLocal(error),
                traceback: excerpt(&traceback),
            },
        });
    }
}

impl Drop for Call {
    /// A call that its runner lost, for example by a panic, fails instead of hanging for ever.
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        if let Some(engine) = self.engine.upgrade() {
            engine.post(Command::Failed {
                task: self.task,
                attempt: self.attempt,
                how: Failure::RaisedForGood,
                ran: None,
                error: TaskError::Transfer("the thread that ran the task gave it up".into()),
                traceback: String::new(),
            });
        }
    }
}

thread_local! {
    static CURRENT: Cell<Option<(TaskId, Attempt)>> = const { Cell::new(None) };
    /// The engine of the current task, or of the last one: a thread rarely changes engines, and
    /// so does not have to count references for every call.
    static ENGINE: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
}

/// The task that runs on this thread.
pub fn current_task() -> Option<(TaskId, Attempt)> {
    CURRENT.get()
}

/// The task of this engine that runs on this thread.
pub(crate) fn task_of(engine: &Shared) -> Option<(TaskId, Attempt)> {
    let task = current_task()?;
    let is_its = ENGINE.with_borrow(|it| std::ptr::eq(it.as_ptr(), engine));
    is_its.then_some(task)
}

/// This thread runs a task until this is dropped, also by a panic.
struct Entered {
    outer: Option<(TaskId, Attempt)>,
    outer_engine: Option<Weak<Shared>>,
}

impl Entered {
    fn new(call: &Call) -> Entered {
        let outer_engine = ENGINE.with_borrow_mut(|engine| {
            let same = engine.ptr_eq(&call.engine);
            (!same).then(|| std::mem::replace(engine, Weak::clone(&call.engine)))
        });
        Entered {
            outer: CURRENT.replace(Some((call.task, call.attempt))),
            outer_engine,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        if let Some(engine) = self.outer_engine.take() {
            ENGINE.set(engine);
        }
    }
}

/// A pool of an engine, for tasks of which a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AwaitedPool {
    engine: EngineId,
    pool: PoolId,
}

impl AwaitedPool {
    /// The pool of this task, which it is said to be.
    pub fn of(task: &Promise, pool: PoolId) -> AwaitedPool {
        AwaitedPool {
            engine: task.engine(),
            pool,
        }
    }
}

/// A task waits for others until this is dropped: its core is free meanwhile. The task's own engine is
/// told, which may be another one than that of the tasks it waits for.
pub struct BlockedCall {
    engine: Arc<Shared>,
    task: TaskId,
    attempt: Attempt,
}

impl BlockedCall {
    /// The task on this thread, whatever it waits for; none if it runs no task.
    pub fn new() -> Option<BlockedCall> {
        BlockedCall::on(|_| Awaited::Anything)
    }

    /// The task on this thread, which waits for tasks of these pools; `None` stands for any other task.
    pub fn on_pools(pools: &[Option<AwaitedPool>]) -> Option<BlockedCall> {
        BlockedCall::on(|engine| {
            let of_engine = |pool: &Option<AwaitedPool>| {
                let pool = pool.filter(|pool| pool.engine == engine.id)?;
                Some(pool.pool)
            };
            let pools: Option<Vec<PoolId>> = pools.iter().map(of_engine).collect();
            pools.map_or(Awaited::Anything, Awaited::Pools)
        })
    }

    /// The same, for what its own engine says that it waits for.
    pub(crate) fn on(awaited: impl FnOnce(&Shared) -> Awaited) -> Option<BlockedCall> {
        let task = current_task()?;
        let engine = ENGINE.with_borrow(Weak::upgrade)?;
        let awaited = awaited(&engine);
        Some(BlockedCall::begin(engine, task, awaited))
    }

    fn begin(
        engine: Arc<Shared>,
        (task, attempt): (TaskId, Attempt),
        awaited: Awaited,
    ) -> BlockedCall {
        engine.post(Command::Blocked {
            task,
            attempt,
            awaited,
        });
        BlockedCall {
            engine,
            task,
            attempt,
        }
    }
}

impl Drop for BlockedCall {
    fn drop(&mut self) {
        self.engine.post(Command::Unblocked {
            task: self.task,
            attempt: self.attempt,
        });
    }
}
