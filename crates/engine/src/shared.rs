//! What all handles, threads and callers of one engine share.
//!
//! # Who may change state
//!
//! Whoever holds the state lock is the loop for that moment: a caller that submits, a caller that
//! polls while it waits, a thread that finished a call, or the loop thread. Nobody sleeps, runs
//! user code or takes the interpreter's lock while holding it.
//!
//! # The inbox
//!
//! Commands are put into the inbox, under a lock held for a push only, and then somebody drains
//! it: the sender itself if the state lock is free, else the holder of the state lock, who looks
//! again after releasing it. A sender therefore never waits for the state lock; a command is never
//! left lying, because the holder's last look comes after its unlock, and the sender's push came
//! before its failed attempt to lock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use lineshaft_core::{Attempt, GroupId, PoolId, TaskId, Time, WorkerId};
use lineshaft_store::Store;

use crate::clock;
use crate::error::EngineError;
use crate::groups::Groups;
use crate::limits::{SIGNAL_CHECK, STANDBY};
use crate::options::{EngineOptions, TaskRequest};
use crate::outcome::{Outcome, TaskError};
use crate::poll_role::{PollRole, Turn};
use crate::poller::{Poller, Source};
use crate::promise::Promise;
use crate::spin::Spinner;
use crate::state::{Pool, State};
use crate::wait::{Check, Waited, Waiter};

/// What senders put into the inbox.
pub(crate) enum Command {
    Submit {
        promise: Arc<Promise>,
        request: TaskRequest,
    },
    SubmitGraph(Vec<(Arc<Promise>, TaskRequest)>),
    Started {
        task: TaskId,
        attempt: Attempt,
    },
    Finished {
        task: TaskId,
        attempt: Attempt,
        ran: Duration,
        outcome: Outcome,
    },
    Failed {
        task: TaskId,
        attempt: Attempt,
        retry: bool,
        error: TaskError,
    },
    Blocked {
        task: TaskId,
        attempt: Attempt,
    },
    Unblocked {
        task: TaskId,
        attempt: Attempt,
    },
    OpenPool {
        pool: PoolId,
        spec: Pool,
    },
    ClosePool {
        pool: PoolId,
    },
    /// A nested call of a worker process has ended.
    Answer {
        worker: WorkerId,
        call: u64,
    },
}

#[derive(Default)]
struct Inbox {
    commands: Vec<Command>,
    tasks: u64,
}

pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    state: Mutex<State>,
    pub(crate) poller: Poller,
    pub(crate) role: PollRole,
    pub(crate) store: Arc<Store>,
    pub(crate) groups: Groups,
    pub(crate) options: EngineOptions,
    next_id: AtomicU64,
    closed: AtomicBool,
    spinner: Spinner,
    /// Callers that wait for a pool to have no tasks.
    idle_waiters: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(
        options: EngineOptions,
        store: Arc<Store>,
    ) -> Result<Arc<Shared>, EngineError> {
        let poller = Poller::new()?;
        Ok(Arc::new_cyclic(|engine: &Weak<Shared>| Shared {
            inbox: Mutex::default(),
            state: Mutex::new(State::new(engine.clone(), options.cores)),
            poller,
            role: PollRole::default(),
            store,
            groups: Groups::default(),
            options,
            next_id: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            spinner: Spinner::default(),
            idle_waiters: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Marks the engine closed; true for the first caller.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// An integer that this engine has not used before, for ids of pools and code.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn group(&self, name: &str) -> GroupId {
        self.groups.intern(name)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a task.
    pub(crate) fn submit(&self, request: TaskRequest) -> Arc<Promise> {
        let promise = Promise::new();
        {
            let mut inbox = self.inbox();
            inbox.tasks += 1;
            promise.set_task(TaskId(inbox.tasks));
            inbox.commands.push(Command::Submit {
                promise: Arc::clone(&promise),
                request,
            });
        }
        self.drive();
        promise
    }

    /// Submits a graph: each request with the indices of the requests of the same graph whose
    /// results it needs, behind its other inputs.
    pub(crate) fn submit_graph(
        &self,
        requests: Vec<(TaskRequest, Vec<usize>)>,
    ) -> Vec<Arc<Promise>> {
        let promises: Vec<Arc<Promise>> = requests.iter().map(|_| Promise::new()).collect();
        let graph = requests
            .into_iter()
            .zip(&promises)
            .map(|((mut request, needs), promise)| {
                request
                    .inputs
                    .extend(needs.into_iter().map(|index| Arc::clone(&promises[index])));
                (Arc::clone(promise), request)
            })
            .collect();
        {
            let mut inbox = self.inbox();
            for promise in &promises {
                inbox.tasks += 1;
                promise.set_task(TaskId(inbox.tasks));
            }
            inbox.commands.push(Command::SubmitGraph(graph));
        }
        self.drive();
        promises
    }

    /// Puts a command into the inbox and sees to it that it is carried out.
    pub(crate) fn post(&self, command: Command) {
        self.inbox().commands.push(command);
        self.drive();
    }

    /// Carries out what is in the inbox, unless somebody else is about to.
    pub(crate) fn drive(&self) {
        while !self.inbox().commands.is_empty() {
            let state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            self.work(state, |_| ());
        }
    }

    /// Changes the state, after everything that is in the inbox.
    pub(crate) fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.work(state, change);
        self.drive();
        value
    }

    fn work<T>(&self, mut state: MutexGuard<'_, State>, change: impl FnOnce(&mut State) -> T) -> T {
        let now = clock::now();
        loop {
            let commands = std::mem::take(&mut self.inbox().commands);
            if commands.is_empty() {
                break;
            }
            for command in commands {
                state.on_command(self, now, command);
            }
        }
        let value = change(&mut state);
        state.settle(self, now);
        self.poller
            .set_deadline(state.next_deadline().unwrap_or(Time::NEVER));
        let wakes = state.take_wakes();
        let became_idle = state.take_became_idle();
        drop(state);
        if became_idle && self.idle_waiters.load(Ordering::SeqCst) > 0 {
            self.poller.wake();
        }
        for wake in wakes {
            wake.run();
        }
        value
    }

    /// Takes what is ready and acts on it. Only for the holder of the poll role. True if a signal
    /// arrived.
    pub(crate) fn poll(&self, until: Option<Time>) -> bool {
        let mut ready = Vec::new();
        let interrupted = self
            .poller
            .wait(until, &mut ready)
            .unwrap_or_else(|error| panic!("the poller broke: {error}"));
        if !ready.is_empty() || clock::now() >= self.poller.next_deadline() {
            self.on_ready(&ready);
        } else {
            self.drive();
        }
        interrupted
    }

    fn on_ready(&self, ready: &[Source]) {
        self.with_state(|state| {
            for &source in ready {
                state.on_ready(self, source);
            }
        });
    }

    /// What the loop thread does until the engine closes.
    pub(crate) fn run_loop(&self) {
        crate::signals::block_all();
        loop {
            match self.role.stand_by() {
                Turn::Close => return,
                Turn::Errand => self.start_zygote(),
                Turn::Poll => {
                    self.poller
                        .wait_in_loop()
                        .unwrap_or_else(|error| panic!("the poller broke: {error}"));
                    if self.role.is_loop() {
                        self.poll(Some(Time(0)));
                    }
                }
            }
        }
    }

    /// Starts the zygote if one is wanted. Only on the loop thread: the kernel ends a process that
    /// asked to die with its parent when the *thread* that started it ends.
    fn start_zygote(&self) {
        let Some(socket) = self.with_state(|state| state.processes.zygote_to_start()) else {
            return;
        };
        let started = match &self.options.zygote {
            Some(program) => crate::process::start(program, socket),
            None => Err(std::io::Error::other(
                "this engine was set up without worker processes",
            )),
        };
        self.with_state(|state| match started {
            Ok(child) => state.processes.zygote_started(child),
            Err(error) => {
                let lost = state.processes.give_up(self, &error.to_string());
                state.inputs.extend(lost);
            }
        });
    }

    /// Waits until the task has ended, polling for everybody if nobody else does. `check` is asked
    /// after each signal and now and then; a caller that no signal reaches passes none.
    pub(crate) fn wait(
        &self,
        promise: &Promise,
        deadline: Option<Time>,
        mut check: Option<Check<'_>>,
    ) -> Waited {
        self.drive();
        if promise.is_done() {
            return Waited::Done;
        }
        let waiter = Waiter::new(Some(Arc::clone(self.poller.wake_descriptor())));
        if !promise.add_waiter(&waiter) {
            return Waited::Done;
        }
        let current = crate::runner::current_task();
        if let Some((task, attempt)) = current {
            self.post(Command::Blocked { task, attempt });
        }
        self.role.join(&waiter, &self.poller);
        let mut spun = false;
        let waited = loop {
            if promise.is_done() {
                break Waited::Done;
            }
            let now = clock::now();
            if deadline.is_some_and(|at| at <= now) {
                break Waited::TimedOut;
            }
            let mut signalled = false;
            if !waiter.is_polling() {
                let nap = if check.is_some() {
                    SIGNAL_CHECK
                } else {
                    Duration::from_secs(3600)
                };
                std::thread::park_timeout(deadline.map_or(nap, |at| nap.min(at - now)));
                signalled = true;
            } else if spun {
                signalled = self.poll(deadline);
            } else {
                spun = true;
                self.spinner.spin(|| {
                    self.poll(Some(Time(0)));
                    promise.is_done()
                });
            }
            if signalled
                && let Some(check) = &mut check
                && check()
            {
                break Waited::Interrupted;
            }
        };
        self.role.leave(&waiter);
        if waited != Waited::Done {
            promise.remove_waiter(&waiter);
        }
        if let Some((task, attempt)) = current {
            self.post(Command::Unblocked { task, attempt });
        }
        waited
    }

    /// Waits until there is no unfinished task, in one pool or in all.
    pub(crate) fn wait_idle(
        &self,
        pool: Option<PoolId>,
        deadline: Option<Time>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.idle_waiters.fetch_add(1, Ordering::SeqCst);
        let waited = self.poll_until(deadline, check, |state| state.unfinished(pool) == 0);
        self.idle_waiters.fetch_sub(1, Ordering::SeqCst);
        waited
    }

    /// Waits until no worker process is left.
    pub(crate) fn wait_for_workers(&self, deadline: Time) -> Waited {
        self.poll_until(Some(deadline), None, |state| state.processes.is_empty())
    }

    /// Waits until the state is as wanted: polls, or looks now and then while another caller does.
    fn poll_until(
        &self,
        deadline: Option<Time>,
        mut check: Option<Check<'_>>,
        done: impl Fn(&State) -> bool,
    ) -> Waited {
        let waiter = Waiter::new(Some(Arc::clone(self.poller.wake_descriptor())));
        self.role.join(&waiter, &self.poller);
        let waited = loop {
            // Asked before the look at the state: a wake-up that comes after it is ours to see. A
            // leader before us may have swallowed an earlier one.
            let leads = waiter.is_polling();
            if self.with_state(|state| done(state)) {
                break Waited::Done;
            }
            if deadline.is_some_and(|at| at <= clock::now()) {
                break Waited::TimedOut;
            }
            if leads {
                self.poll(deadline);
            } else {
                std::thread::park_timeout(STANDBY);
            }
            if let Some(check) = &mut check
                && check()
            {
                break Waited::Interrupted;
            }
        };
        self.role.leave(&waiter);
        waited
    }
}
