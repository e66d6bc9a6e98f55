//! Virtual time, a caller and fake workers around the scheduler.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lineshaft_core::{
    Action, Attempt, Failure, GroupId, Input, Phases, PoolId, PoolSpec, Prefetch, Retries,
    Scheduler, TaskId, TaskSpec, Time, WorkerId,
};

use crate::ledger::Ledger;
use crate::random::Random;

/// Inputs after which a run must have come to rest; anything longer is a livelock.
const STEPS_MAX: usize = 200_000;

/// Something on its way.
enum Mail {
    ToScheduler(Input),
    ToWorker(WorkerId, Order),
    /// The caller does something.
    Call,
    /// A worker that was asked for comes up, or does not.
    Spawned(PoolId),
}

/// What reaches a worker.
#[derive(Clone, Copy)]
enum Order {
    Run(TaskId, Attempt),
    Retract,
    TimeOut(TaskId, Attempt),
    /// It is killed, crashes or ends.
    End,
    /// It turns out that it cannot be started.
    NeverStart,
    /// Its task has run to its end.
    Done(TaskId, Attempt),
}

struct Worker {
    slots: u32,
    /// Chance of each of its bad habits, in percent.
    badness: u64,
    queue: VecDeque<(TaskId, Attempt)>,
    running: Vec<(TaskId, Attempt)>,
}

pub struct World {
    random: Random,
    scheduler: Scheduler,
    ledger: Ledger,
    now: Time,
    mail: BTreeMap<(Time, u64), Mail>,
    mail_number: u64,
    workers: BTreeMap<WorkerId, Worker>,
    pools: Vec<PoolId>,
    calls_left: u64,
    task_next: u64,
    worker_next: u32,
    badness: u64,
    actions: Vec<Action>,
}

impl World {
    pub fn new(mut random: Random) -> World {
        let (calls_left, badness) = (
            1 + random.below(60),
            [0, 1, 5, 20][random.count(4) as usize],
        );
        let mut world = World {
            random,
            scheduler: Scheduler::new(),
            ledger: Ledger::default(),
            now: Time(0),
            mail: BTreeMap::new(),
            mail_number: 0,
            workers: BTreeMap::new(),
            pools: Vec::new(),
            calls_left,
            task_next: 0,
            worker_next: 0,
            badness,
            actions: Vec::new(),
        };
        if world.random.percent(70) {
            let cores = 1 + world.random.count(6);
            world.tell(Input::SetCores(cores));
        }
        for pool in 0..=world.random.count(3) {
            world.add_pool(PoolId(pool));
        }
        world.post(Duration::ZERO, Mail::Call);
        world
    }

    /// Runs until nothing is on its way and nothing waits for time to pass. Returns all orders.
    pub fn run_to_rest(mut self) -> Vec<Action> {
        for _ in 0..STEPS_MAX {
            let mail_at = self.mail.first_key_value().map(|((at, _), _)| *at);
            match (mail_at, self.scheduler.next_deadline()) {
                (None, None) => {
                    self.check_rest();
                    return self.actions;
                }
                (Some(at), deadline) if deadline.is_none_or(|deadline| at < deadline) => {
                    let ((at, _), mail) = self.mail.pop_first().expect("seen above");
                    self.now = self.now.max(at);
                    self.deliver(mail);
                }
                (_, deadline) => {
                    self.now = self.now.max(deadline.expect("one of the two is there"));
                    self.tell(Input::Tick);
                }
            }
        }
        panic!(
            "no rest after {STEPS_MAX} steps: {:?}",
            self.scheduler.counts()
        );
    }

    fn check_rest(&self) {
        assert_eq!(self.ledger.unfinished(), [], "every task has ended");
        let counts = self.scheduler.counts();
        assert_eq!((counts.total.unfinished(), counts.cores_used), (0, 0));
        assert_eq!(counts.total.workers_starting, 0, "every start was answered");
    }

    fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::ToScheduler(input) => self.tell(input),
            Mail::ToWorker(worker, order) => self.obey(worker, order),
            Mail::Call => self.call(),
            Mail::Spawned(pool) => self.spawned(pool),
        }
    }

    /// Gives the scheduler an input, checks all laws and carries out its orders.
    fn tell(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.ledger.before(&input);
        let kept = input.clone();
        self.scheduler.handle(self.now, input, &mut actions);
        self.scheduler.check_invariants();
        self.ledger.after(&kept, &actions, &self.scheduler.counts());
        for action in &actions {
            self.carry_out(action);
        }
        self.actions.extend(actions);
    }

    fn carry_out(&mut self, action: &Action) {
        let way = Duration::from_micros(20);
        let (worker, order) = match *action {
            Action::Run {
                worker,
                task,
                attempt,
            } => (worker, Order::Run(task, attempt)),
            Action::Retract { worker } => (worker, Order::Retract),
            Action::TimeOut {
                worker,
                task,
                attempt,
            } => (worker, Order::TimeOut(task, attempt)),
            Action::Kill { worker, .. } | Action::Retire { worker } => (worker, Order::End),
            Action::Resolve { .. } | Action::Reject { .. } => return,
            Action::Spawn { pool, count } => {
                for _ in 0..count {
                    let delay = self.random.micros(5_000);
                    self.post(delay, Mail::Spawned(pool));
                }
                return;
            }
        };
        self.post(way, Mail::ToWorker(worker, order));
    }

    fn post(&mut self, delay: Duration, mail: Mail) {
        self.mail_number += 1;
        self.mail.insert((self.now + delay, self.mail_number), mail);
    }

    fn spawned(&mut self, pool: PoolId) {
        if self.random.percent(self.badness * 2) {
            let broken = self.random.percent(self.badness / 2);
            return self.tell(Input::SpawnFailed { pool, broken });
        }
        let worker = WorkerId(self.worker_next);
        self.worker_next += 1;
        let slots = if self.random.percent(70) {
            1
        } else {
            1 + self.random.count(4)
        };
        let badness = self.badness;
        let never_starts = self.random.percent(badness / 2);
        let fake = Worker {
            slots: if never_starts { 0 } else { slots },
            badness,
            queue: VecDeque::new(),
            running: Vec::new(),
        };
        self.workers.insert(worker, fake);
        self.tell(Input::WorkerUp {
            worker,
            pool,
            slots,
        });
        if never_starts {
            let delay = self.random.micros(3_000);
            self.post(delay, Mail::ToWorker(worker, Order::NeverStart));
        } else if self.random.percent(self.badness) {
            let delay = self.random.micros(3_000);
            self.post(delay, Mail::ToWorker(worker, Order::End));
        }
    }

    fn obey(&mut self, id: WorkerId, order: Order) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match order {
            Order::Run(task, attempt) => {
                worker.queue.push_back((task, attempt));
                self.start_tasks(id);
            }
            Order::Retract => {
                let lies = self.random.percent(worker.badness);
                let given_back = if lies {
                    VecDeque::new()
                } else {
                    std::mem::take(&mut worker.queue)
                };
                let tasks = given_back.into_iter().map(|(task, _)| task).collect();
                let delay = self.random.micros(300);
                self.post(
                    delay,
                    Mail::ToScheduler(Input::Retracted { worker: id, tasks }),
                );
            }
            Order::TimeOut(task, attempt) => {
                if !worker.running.contains(&(task, attempt)) {
                    return;
                }
                if self.random.percent(50) {
                    self.end_task(id, task, attempt);
                    self.report(Input::Failed {
                        task,
                        attempt,
                        how: Failure::TimedOut,
                        measured: None,
                    });
                    self.start_tasks(id);
                } else {
                    self.end_worker(id);
                }
            }
            Order::End => self.end_worker(id),
            Order::NeverStart => {
                self.workers.remove(&id);
                self.tell(Input::NeverStarted { worker: id });
            }
            Order::Done(task, attempt) => {
                if worker.running.contains(&(task, attempt)) {
                    self.finish(id, task, attempt);
                }
            }
        }
    }

    fn start_tasks(&mut self, id: WorkerId) {
        loop {
            let worker = self.workers.get_mut(&id).expect("checked by the caller");
            if worker.running.len() >= worker.slots as usize {
                return;
            }
            let Some((task, attempt)) = worker.queue.pop_front() else {
                return;
            };
            worker.running.push((task, attempt));
            if self.random.percent(80) {
                self.report(Input::Started { task, attempt });
            }
            let ran = match self.random.below(10) {
                0..6 => self.random.micros(50),
                6..9 => self.random.micros(3_000),
                _ => self.random.micros(60_000),
            };
            if self.random.percent(15) {
                // It waits for something on the way.
                let (from, to) = (self.random.micros(1_000), self.random.micros(5_000));
                let keeps_place = self.random.percent(50);
                self.post(
                    from,
                    Mail::ToScheduler(Input::Blocked {
                        task,
                        attempt,
                        keeps_place,
                    }),
                );
                self.post(
                    from + to,
                    Mail::ToScheduler(Input::Unblocked { task, attempt }),
                );
            }
            self.post(ran, Mail::ToWorker(id, Order::Done(task, attempt)));
        }
    }

    fn finish(&mut self, id: WorkerId, task: TaskId, attempt: Attempt) {
        let badness = self.workers[&id].badness;
        if self.random.percent(badness / 2) {
            return self.end_worker(id);
        }
        self.end_task(id, task, attempt);
        if self.random.percent(badness) {
            let how = if self.random.percent(80) {
                Failure::Raised
            } else {
                Failure::RaisedForGood
            };
            self.report(Input::Failed {
                task,
                attempt,
                how,
                measured: None,
            });
        } else {
            let ran = self.random.micros(2_000);
            self.report(Input::Finished {
                task,
                attempt,
                ran,
                phases: Phases::default(),
                bytes: 0,
                items_raised: None,
            });
        }
        self.start_tasks(id);
    }

    fn end_task(&mut self, id: WorkerId, task: TaskId, attempt: Attempt) {
        let worker = self.workers.get_mut(&id).expect("checked by the caller");
        worker.running.retain(|other| *other != (task, attempt));
    }

    fn end_worker(&mut self, id: WorkerId) {
        let worker = self.workers.remove(&id).expect("checked by the caller");
        let running = worker.running.into_iter().map(|(task, _)| task).collect();
        let delay = self.random.micros(300);
        self.post(
            delay,
            Mail::ToScheduler(Input::WorkerDown {
                worker: id,
                running,
            }),
        );
    }

    /// Sends a message about an attempt: late, sometimes twice, overtaking others.
    fn report(&mut self, input: Input) {
        if self.random.percent(self.badness) {
            let delay = self.random.micros(20_000);
            self.post(delay, Mail::ToScheduler(input.clone()));
        }
        let delay = self.random.micros(200);
        self.post(delay, Mail::ToScheduler(input));
    }

    fn add_pool(&mut self, pool: PoolId) {
        self.pools.push(pool);
        let spec = PoolSpec {
            pool,
            workers_max: 1 + self.random.count(4),
            cores_per_task: self.random.count(3),
            prefetch: match self.random.below(3) {
                0 => Prefetch::Off,
                1 => Prefetch::Short,
                _ => Prefetch::Long,
            },
        };
        self.tell(Input::AddPool(spec));
    }

    /// The caller does one thing and comes back later, a limited number of times.
    fn call(&mut self) {
        match self.random.below(20) {
            0..7 => {
                let spec = self.spec(&self.ledger.unfinished());
                self.tell(Input::Submit(spec));
            }
            7..13 => {
                let graph = self.graph();
                self.tell(Input::SubmitGraph(graph));
            }
            13..16 => {
                let unfinished = self.ledger.unfinished();
                if let Some(task) = self.random.pick(&unfinished) {
                    let kill = self.random.percent(50);
                    self.tell(Input::Cancel { task, kill });
                }
            }
            16..18 => {
                let short = self.random.percent(50);
                self.tell(Input::MemoryPressure(short));
            }
            18 => {
                let cores = 1 + self.random.count(6);
                self.tell(Input::SetCores(cores));
            }
            _ if self.random.percent(30) => {
                let pool = PoolId(self.random.count(3));
                if self.pools.contains(&pool) {
                    // Its workers answer nothing any more, but their messages may be on their way.
                    self.tell(Input::RemovePool { pool });
                }
            }
            _ => {}
        }
        self.calls_left -= 1;
        if self.calls_left > 0 {
            let delay = self.random.micros(4_000);
            self.post(delay, Mail::Call);
        }
    }

    fn graph(&mut self) -> Vec<TaskSpec> {
        let mut known = self.ledger.unfinished();
        let mut specs = Vec::new();
        for _ in 0..=self.random.below(40) {
            let spec = self.spec(&known);
            known.push(spec.task);
            specs.push(spec);
        }
        if self.random.percent(50) {
            specs.reverse();
        }
        specs
    }

    fn spec(&mut self, known: &[TaskId]) -> TaskSpec {
        self.task_next += 1 + self.random.below(2) * self.random.below(30);
        let recent = &known[known.len().saturating_sub(12)..];
        let wanted = self.random.below(4);
        let dependencies: BTreeSet<TaskId> = (0..wanted)
            .filter_map(|_| self.random.pick(recent))
            .collect();
        TaskSpec {
            task: TaskId(self.task_next),
            pool: self.random.pick(&self.pools).expect("there is a pool"),
            group: GroupId(self.random.count(3)),
            parent: known.last().copied().filter(|_| self.random.percent(30)),
            dependencies: dependencies.into_iter().collect(),
            supplied: Vec::new(),
            priority: i32::try_from(self.random.below(3)).expect("a small number"),
            retries: Retries {
                failures_max: u16::try_from(self.random.below(3)).expect("a small number"),
                deaths_max: u16::try_from(self.random.below(3)).expect("a small number"),
                backoff: self.random.micros(2_000),
                items_run_again: false,
            },
            timeout: self.random.percent(20).then(|| self.random.micros(30_000)),
        }
    }
}
