//! The open pools, their workers, and the budget of cores that they share.

use std::sync::Arc;

use lineshaft_core::{Input, PoolId, PoolSpec, Prefetch, Time, WorkerId};

use crate::aftermath::Discarded;
use crate::options::{PoolKind, PoolOptions};
use crate::process::ProcessPool;
use crate::shared::Shared;
use crate::state::State;
use crate::threads::{Lanes, Threads};

/// An open pool.
pub(crate) struct Pool {
    pub(crate) workers: u32,
    pub(crate) unfinished: usize,
    /// How many of these the end of the program does not wait for.
    pub(crate) daemons: usize,
    /// How many of these the program itself asked for.
    pub(crate) from_program: usize,
    /// It takes no more tasks but those that its own ask for, and is removed when it has none.
    pub(crate) closing: bool,
    /// Its tasks are rejected: it can start no worker.
    pub(crate) broken: bool,
    /// Workers that start only when others have ended (`process::leaving`).
    pub(crate) withheld: u32,
    pub(crate) executor: Executor,
}

/// What runs the tasks of a pool.
pub(crate) enum Executor {
    Threads {
        lanes: Arc<Lanes>,
        takes_core: bool,
        /// How far ahead calls are handed over.
        prefetch: Prefetch,
    },
    Processes(Box<ProcessPool>),
}

impl Pool {
    pub(crate) fn new(options: PoolOptions) -> Pool {
        let executor = match options.kind {
            PoolKind::Threads {
                runner,
                threads_max,
                takes_core,
                stack_bytes,
                idle_max,
            } => {
                // Calls that are handed on to an event loop are nowhere else before they begin.
                let prefetch = match threads_max {
                    None => Prefetch::Short,
                    Some(_) => Prefetch::Off,
                };
                let threads = Threads {
                    max: threads_max.unwrap_or(options.workers) as usize,
                    are_held: threads_max.is_none(),
                    stack_bytes,
                    idle_max,
                };
                let lanes = Lanes::new(options.name, &threads, runner);
                Executor::Threads {
                    lanes,
                    takes_core,
                    prefetch,
                }
            }
            PoolKind::Processes {
                initializer,
                definitions,
                tasks_per_worker_max,
                growth_bytes_max,
                patient,
            } => Executor::Processes(Box::new(ProcessPool {
                name: options.name,
                workers: options.workers,
                initializer,
                definitions,
                tasks_per_worker_max,
                growth_bytes_max,
                patient,
            })),
        };
        Pool {
            workers: options.workers,
            unfinished: 0,
            daemons: 0,
            from_program: 0,
            closing: false,
            broken: false,
            withheld: 0,
            executor,
        }
    }

    /// Unfinished tasks that the end of the program waits for.
    pub(crate) fn awaited_at_exit(&self) -> usize {
        self.unfinished - self.daemons
    }

    fn takes_cores(&self) -> bool {
        !matches!(
            self.executor,
            Executor::Threads {
                takes_core: false,
                ..
            }
        )
    }

    fn spec(&self, pool: PoolId) -> PoolSpec {
        match &self.executor {
            // The threads of a pool are one worker with many slots.
            Executor::Threads {
                takes_core,
                prefetch,
                ..
            } => PoolSpec {
                pool,
                workers_max: 1,
                cores_per_task: u32::from(*takes_core),
                prefetch: *prefetch,
            },
            Executor::Processes(_) => PoolSpec {
                pool,
                workers_max: self.workers,
                cores_per_task: 1,
                prefetch: Prefetch::Long,
            },
        }
    }
}

/// Numbers workers. Those of internal pools have numbers of their own, so that others have no gaps.
#[derive(Default)]
pub(crate) struct WorkerNumbers {
    last: u32,
    last_internal: u32,
}

impl WorkerNumbers {
    fn next(&mut self, pool: PoolId) -> WorkerId {
        if pool.is_internal() {
            self.last_internal += 1;
            return WorkerId(self.last_internal).internal();
        }
        self.last += 1;
        WorkerId(self.last)
    }

    /// The one that was asked for last.
    pub(crate) fn last(&self) -> WorkerId {
        WorkerId(self.last)
    }
}

impl State {
    pub(crate) fn open_pool(&mut self, id: PoolId, pool: Pool) {
        if self.closed {
            // Its tasks will find no pool.
            return self.aftermath.discard(Discarded::other(pool));
        }
        if let Executor::Processes(options) = &pool.executor {
            self.processes.add_pool(id, options);
        }
        self.inputs.push_back(Input::AddPool(pool.spec(id)));
        self.pools.insert(id, pool);
        self.set_cores();
    }

    /// Lets a pool take no more tasks but what those that it has ask for; it goes when it has none.
    pub(crate) fn close_pool(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.closing = true;
        if pool.unfinished == 0 {
            self.remove_pool(id);
        }
    }

    /// Takes the pool away; what is left of its tasks is cancelled.
    pub(crate) fn remove_pool(&mut self, pool: PoolId) {
        self.inputs.push_back(Input::RemovePool { pool });
        if let Some(removed) = self.pools.remove(&pool) {
            match &removed.executor {
                Executor::Threads { lanes, .. } => self.close_lanes(lanes),
                Executor::Processes(_) => self.processes.remove_pool(pool),
            }
            self.aftermath.discard(Discarded::other(removed));
        }
        self.waits.forget_pool(pool);
        self.aftermath.became_quiet = true;
        self.set_cores();
    }

    /// Closes every pool, with what is left of its tasks, and opens no more.
    pub(crate) fn close_pools(&mut self) {
        self.closed = true;
        let mut pools: Vec<PoolId> = self.pools.keys().copied().collect();
        pools.sort_unstable();
        for pool in pools {
            self.remove_pool(pool);
        }
    }

    /// Unfinished tasks, of one pool or of all.
    pub(crate) fn unfinished(&self, pool: Option<PoolId>) -> usize {
        match pool {
            Some(pool) => self.pools.get(&pool).map_or(0, |pool| pool.unfinished),
            None => self.tasks.len(),
        }
    }

    /// Those of them that the end of the program waits for.
    pub(crate) fn awaited_at_exit(&self, pool: Option<PoolId>) -> usize {
        match pool {
            Some(pool) => self.pools.get(&pool).map_or(0, Pool::awaited_at_exit),
            None => self.tasks.len() - self.tasks.daemons(),
        }
    }

    /// Follows a pool that has got the program's first task, or has none of these left.
    pub(crate) fn follow_use(&mut self, pool: PoolId) {
        if self
            .pools
            .get(&pool)
            .is_some_and(|pool| pool.workers > self.cores)
        {
            self.set_cores();
        }
    }

    /// A program that asks for a pool larger than the budget means it: the budget grows to that pool's size
    /// while it has tasks of the program, but not to the sum of all. What tasks ask for in turn does not know
    /// what else there is: it shares the budget.
    pub(crate) fn set_cores(&mut self) {
        let cores = (self.cores_max()).saturating_add(self.stalls.lent_cores());
        self.inputs.push_back(Input::SetCores(cores));
    }

    pub(crate) fn cores_max(&self) -> u32 {
        self.computing_pools()
            .filter(|pool| pool.from_program > 0)
            .map(|pool| pool.workers)
            .fold(self.cores, u32::max)
    }

    pub(crate) fn computing_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().filter(|pool| pool.takes_cores())
    }

    /// Starts workers of a pool, as the scheduler orders.
    pub(crate) fn spawn(&mut self, shared: &Shared, pool: PoolId, count: u32) {
        let Some(open) = self.pools.get_mut(&pool) else {
            return;
        };
        for _ in 0..count {
            if self.processes.departing(pool) > open.workers as usize {
                open.withheld += 1;
                continue;
            }
            let worker = self.workers.next(pool);
            match &open.executor {
                Executor::Threads { .. } => {
                    self.threads.insert(worker, pool);
                    self.inputs.push_back(Input::WorkerUp {
                        worker,
                        pool,
                        slots: open.workers,
                    });
                }
                Executor::Processes(process_pool) => {
                    // Work may be sent at once: it waits in the socket until the process is there.
                    match self.processes.spawn(shared, worker, pool, process_pool) {
                        Ok(()) => self.inputs.push_back(Input::WorkerUp {
                            worker,
                            pool,
                            slots: 1,
                        }),
                        Err(error) => {
                            self.processes.note_trouble(pool, &error.to_string());
                            self.inputs.push_back(Input::SpawnFailed {
                                pool,
                                broken: false,
                            });
                        }
                    }
                }
            }
        }
    }

    /// Lets a worker end, as the scheduler orders.
    pub(crate) fn retire(&mut self, worker: WorkerId, now: Time) {
        if self.threads.remove(&worker).is_some() {
            self.inputs.push_back(Input::WorkerDown {
                worker,
                running: Vec::new(),
            });
        } else {
            self.processes.retire(worker, now);
        }
    }
}
