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
//! it: the sender itself if the state lock is free, else whoever holds the state lock, who looks
//! again after releasing it, or whoever waits for it, who looks once it has it. A sender therefore
//! never waits for the state lock; a command is never left lying, because the holder's last look
//! comes after its unlock, and the sender's push came before its failed attempt to lock.
//!
//! Others may go on sending without a pause, and nobody is to be kept by that. Who holds the lock
//! empties the inbox once and gives the lock back; the lock is not fair, so it is left to those who
//! wait for it. After a few times the rest is for whoever polls. And who submits waits when the inbox
//! is long, or it would grow for as long as it is filled faster than emptied.
//!
//! # Defects
//!
//! A panic while the state is changed is a defect of the engine, and nothing that the state says can
//! be relied on after it. It is caught where the lock is held, and the engine is *poisoned*: every
//! promise ends with the panic's message, workers are killed, and whoever submits later is told the
//! same. The panic goes no further: the thread that it happened on is as innocent as any other.

mod submission;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};

use lineshaft_core::{GroupId, PoolId, Time};
use lineshaft_store::Store;
use rustc_hash::FxHashSet;

use crate::aftermath::Discarded;
use crate::clock;
use crate::command::Command;
use crate::error::EngineError;
use crate::groups::Groups;
use crate::limits::{DRIVE_ROUNDS_MAX, INBOX_MAX};
use crate::options::EngineOptions;
use crate::outcome::{Outcome, TaskError};
use crate::payload::{Code, CodeId, Payload, Unused};
use crate::poll_role::PollRole;
use crate::poller::{Poller, Source};
use crate::pools::Pool;
use crate::process::Snapshot;
use crate::promise::EngineId;
use crate::reader::LogWatch;
use crate::relief::Relief;

use crate::spin::Spinner;
use crate::state::State;
use crate::wait::Waiters;

#[derive(Default)]
struct Inbox {
    commands: Vec<Command>,
    tasks: u64,
    /// Pools that callers have opened and not closed: a task that is pushed for one of them is taken in.
    open: FxHashSet<PoolId>,
}

pub(crate) struct Shared {
    pub(crate) id: EngineId,
    inbox: Mutex<Inbox>,
    /// Whether the inbox is so long that who submits has to wait. Changed under its lock, and only a hint
    /// without it.
    is_behind: AtomicBool,
    state: Mutex<State>,
    pub(crate) poller: Poller,
    pub(crate) role: PollRole,
    pub(crate) store: Arc<Store>,
    pub(crate) groups: Groups,
    pub(crate) unused: Arc<Unused>,
    pub(crate) options: EngineOptions,
    last_pool: AtomicU32,
    last_code: AtomicU64,
    closed: AtomicBool,
    /// What the engine panicked with, if it did.
    poison: OnceLock<String>,
    pub(crate) spinner: Spinner,
    /// For calls of this process.
    pub(crate) spinner_here: Spinner,
    pub(crate) relief: Relief,
    pub(crate) log_watch: LogWatch,
    /// Callers that wait until there are no tasks or no workers.
    pub(crate) quiet_waiters: Waiters,
    /// Threads that wait for the state lock.
    state_waiters: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(
        options: EngineOptions,
        store: Arc<Store>,
    ) -> Result<Arc<Shared>, EngineError> {
        let poller = Poller::new()?;
        Ok(Arc::new_cyclic(|engine: &Weak<Shared>| Shared {
            id: EngineId::new(),
            inbox: Mutex::default(),
            is_behind: AtomicBool::new(false),
            state: Mutex::new(State::new(engine.clone(), options.cores)),
            poller,
            role: PollRole::default(),
            store,
            groups: Groups::default(),
            unused: Arc::default(),
            options,
            last_pool: AtomicU32::new(0),
            last_code: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            poison: OnceLock::new(),
            spinner: Spinner::default(),
            spinner_here: Spinner::default(),
            relief: Relief::default(),
            log_watch: LogWatch::default(),
            quiet_waiters: Waiters::default(),
            state_waiters: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    /// Why nothing can be submitted any more, if that is so.
    pub(crate) fn check_open(&self) -> Result<(), EngineError> {
        match self.poison.get() {
            Some(message) => Err(EngineError::Poisoned(message.clone())),
            None if self.is_closed() => Err(EngineError::Closed),
            None => Ok(()),
        }
    }

    /// Marks the engine closed; true for the first caller.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// The id of a new pool. Wraps around: by then the pools of these ids are long gone.
    pub(crate) fn next_pool(&self) -> PoolId {
        let number = self.last_pool.fetch_add(1, Ordering::Relaxed);
        // The highest bit is that of internal ones.
        PoolId(number.wrapping_add(1) & (u32::MAX >> 1))
    }

    /// Takes in a definition.
    pub(crate) fn define(&self, group: GroupId, body: Payload, needs: Vec<Arc<Code>>) -> Arc<Code> {
        let id = CodeId(self.last_code.fetch_add(1, Ordering::Relaxed) + 1);
        Arc::new(Code {
            id,
            group,
            body,
            needs,
            unused: Arc::downgrade(&self.unused),
        })
    }

    pub(crate) fn group(&self, module: &str, name: &str) -> GroupId {
        self.groups.intern(module, name)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut inbox: MutexGuard<'_, Inbox>, command: Command) {
        inbox.commands.push(command);
        if inbox.commands.len() > INBOX_MAX {
            self.is_behind.store(true, Ordering::Relaxed);
        }
    }

    fn take_commands(&self) -> Vec<Command> {
        let mut inbox = self.inbox();
        self.is_behind.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.commands)
    }

    /// Opens a pool for callers.
    pub(crate) fn open_pool(&self, pool: PoolId, spec: Pool, snapshot: Option<Snapshot>) {
        {
            let mut inbox = self.inbox();
            inbox.open.insert(pool);
            let command = Command::OpenPool {
                pool,
                spec,
                snapshot,
            };
            self.push(inbox, command);
        }
        self.drive();
    }

    /// Closes it.
    pub(crate) fn close_pool(&self, pool: PoolId) {
        {
            let mut inbox = self.inbox();
            inbox.open.remove(&pool);
            self.push(inbox, Command::ClosePool { pool });
        }
        self.drive();
    }

    /// Puts a command into the inbox and sees to it that it is carried out.
    pub(crate) fn post(&self, command: Command) {
        self.push(self.inbox(), command);
        self.drive();
    }

    /// Carries out what is in the inbox, unless somebody else is about to.
    pub(crate) fn drive(&self) {
        let mut rounds = 0;
        while !self.inbox().commands.is_empty() {
            if rounds == DRIVE_ROUNDS_MAX && !self.is_closed() && !self.is_poisoned() {
                return self.poller.wake();
            }
            rounds += 1;
            if self.state_waiters.load(Ordering::SeqCst) > 0 {
                return;
            }
            let state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            self.work(state, |_| ());
        }
    }

    /// Whether the inbox is so long that who submits has to wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Waits while the inbox is long. For those who submit; not with the state lock.
    pub(crate) fn catch_up(&self) {
        if self.is_behind() {
            self.with_state(|_| ());
        }
    }

    /// Looks at the state, or changes it, after everything that was in the inbox before. None if the
    /// engine is poisoned.
    pub(crate) fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.state_waiters.fetch_add(1, Ordering::SeqCst);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Only now: what was left to whoever waits is in the inbox, which is emptied next.
        self.state_waiters.fetch_sub(1, Ordering::SeqCst);
        let value = self.work(state, change);
        self.drive();
        value
    }

    fn work<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        change: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        let value = if let Some(message) = self.poison.get() {
            self.refuse_commands(&mut state, message);
            None
        } else {
            let changed = catch_unwind(AssertUnwindSafe(|| self.change(&mut state, change)));
            let poisoned = |panic: Box<dyn Any + Send>| self.poison(&mut state, text_of(&*panic));
            changed.map_err(poisoned).ok()
        };
        self.poller
            .set_deadline(state.next_deadline().unwrap_or(Time::NEVER));
        let aftermath = state.take_aftermath();
        let is_awaited = self.log_watch.is_awaited(state.scheduler.events().next());
        drop(state);
        if is_awaited {
            self.log_watch.wake();
        }
        let became_quiet = aftermath.became_quiet;
        aftermath.run(self);
        // Last: who waited until the tasks had ended finds that everybody has been told so.
        if became_quiet {
            self.quiet_waiters.wake();
        }
        value
    }

    fn change<T>(&self, state: &mut State, change: impl FnOnce(&mut State) -> T) -> T {
        let now = clock::now();
        for command in self.take_commands() {
            state.on_command(self, now, command);
        }
        let value = change(state);
        state.settle(self, now);
        value
    }

    fn poison(&self, state: &mut State, message: &str) {
        let message = self.poison.get_or_init(|| message.to_owned());
        state.poison(self, message);
        self.refuse_commands(state, message);
    }

    /// Poisons the engine from outside of the state.
    pub(crate) fn break_down(&self, message: &str) {
        self.with_state(|state| self.poison(state, message));
    }

    /// Empties the inbox of an engine that is poisoned.
    fn refuse_commands(&self, state: &mut State, message: &str) {
        let aftermath = &mut state.aftermath;
        for command in self.take_commands() {
            let tasks = match command {
                Command::Submit {
                    pledge, request, ..
                } => vec![(pledge, request)],
                Command::SubmitGraph { tasks, .. } => tasks,
                other => {
                    aftermath.discard(Discarded::other(other));
                    continue;
                }
            };
            for (pledge, request) in tasks {
                let error = TaskError::Poisoned(message.to_owned());
                aftermath.keep(pledge, Outcome::Error(error));
                aftermath.discard(Discarded::other(request));
            }
        }
    }

    /// Takes what is ready and acts on it. Only for the holder of the poll role. True if a signal
    /// arrived.
    pub(crate) fn poll(&self, until: Option<Time>) -> bool {
        let mut ready = Vec::new();
        let interrupted = match self.poller.wait(until, &mut ready) {
            Ok(interrupted) => interrupted,
            Err(error) => {
                self.break_down(&error.to_string());
                return false;
            }
        };
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
}

/// What a panic was given as its message.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}

#[cfg(test)]
impl Shared {
    /// An engine without a loop thread.
    pub(crate) fn without_loop() -> Arc<Shared> {
        let store = lineshaft_store::StoreOptions {
            budget_bytes: 1 << 20,
            spill_dir: std::env::temp_dir(),
            spill_max_bytes: None,
        };
        let options = EngineOptions {
            cores: 1,
            memory_bytes: store.budget_bytes,
            spill_dir: store.spill_dir.clone(),
            zygote: None,
            observer: Arc::new(crate::observer::Silent),
        };
        let store = Store::new(store).expect("a store");
        Shared::new(options, Arc::new(store)).expect("an engine")
    }
}

#[cfg(test)]
mod tests;
