//! How tasks are taken in.

use lineshaft_core::{Input, PoolId, Scheduler, TaskSpec};

use crate::aftermath::Discarded;
use crate::command::Asker;
use crate::options::TaskRequest;
use crate::outcome::{Outcome, TaskError, failed_input};
use crate::pools::Pool;
use crate::promise::Pledge;
use crate::state::State;
use crate::tasks::{Task, Tasks};

impl State {
    /// Takes a graph in, dependencies first: only then is a task whose dependency is refused refused
    /// as well. The scheduler is given it as it was submitted. `order` is a topological one, or none
    /// if the graph is in such an order as it is.
    pub(crate) fn admit_graph(
        &mut self,
        tasks: Vec<(Pledge, TaskRequest)>,
        asker: Asker,
        order: Option<Vec<usize>>,
    ) {
        let specs = match order {
            None => {
                let specs = tasks
                    .into_iter()
                    .filter_map(|(pledge, request)| self.admit(pledge, request, asker));
                specs.collect()
            }
            Some(order) => {
                let mut tasks: Vec<Option<_>> = tasks.into_iter().map(Some).collect();
                let mut specs: Vec<Option<TaskSpec>> = tasks.iter().map(|_| None).collect();
                for index in order {
                    let (pledge, request) = tasks[index].take().expect("an order names each once");
                    specs[index] = self.admit(pledge, request, asker);
                }
                specs.into_iter().flatten().collect()
            }
        };
        self.inputs.push_back(Input::SubmitGraph(specs));
    }

    /// Takes a task in. One whose pool is closed or whose inputs have already failed ends here. A pool that
    /// closes runs what it has to its end, and so takes what that asks for.
    pub(crate) fn admit(
        &mut self,
        pledge: Pledge,
        request: TaskRequest,
        asker: Asker,
    ) -> Option<TaskSpec> {
        if let Some(error) = failed_input(&request.inputs) {
            self.refuse(pledge, request, error);
            return None;
        }
        let is_taken = |pool: &&mut Pool| {
            !pool.closing || belongs(&self.tasks, &self.scheduler, asker, request.pool)
        };
        let Some(pool) = self.pools.get_mut(&request.pool).filter(is_taken) else {
            self.refuse(pledge, request, TaskError::Cancelled);
            return None;
        };
        pool.unfinished += 1;
        pool.daemons += usize::from(request.policy.daemon);
        let from_program = matches!(asker, Asker::Program);
        pool.from_program += usize::from(from_program);
        if from_program && pool.from_program == 1 {
            self.follow_use(request.pool);
        }
        let task = pledge.promise().task();
        let group = if request.policy.internal {
            request.group.internal()
        } else {
            request.group
        };
        let (mut dependencies, mut supplied) = (Vec::new(), Vec::new());
        for input in &request.inputs {
            if !input.is_done() {
                dependencies.push(input.task());
                if let Some(on) = self.tasks.get(input.task()).map(|needed| needed.pool) {
                    self.note_wait(request.pool, on);
                }
            } else if input.is_beside(pledge.promise()) {
                supplied.push(input.task());
            }
        }
        let spec = TaskSpec {
            task,
            pool: request.pool,
            group,
            parent: asker.task(),
            dependencies,
            supplied,
            priority: request.policy.priority,
            retries: request.policy.retries,
            timeout: request.policy.timeout,
        };
        let TaskRequest {
            pool,
            work,
            inputs,
            policy,
            ..
        } = request;
        let timed = policy.timeout.is_some();
        self.tasks.insert(
            task,
            Task {
                pool,
                pledge,
                work,
                inputs,
                group,
                timed,
                daemon: policy.daemon,
                from_program,
                holders: 1,
                ended: None,
            },
        );
        Some(spec)
    }

    /// Refuses a task at once.
    pub(crate) fn refuse(&mut self, pledge: Pledge, request: TaskRequest, error: TaskError) {
        self.aftermath.keep(pledge, Outcome::Error(error));
        self.aftermath
            .discard(Discarded::Task(request.work, request.inputs));
    }
}

/// Whether it is a part of what a pool runs to its end that asks.
fn belongs(tasks: &Tasks, scheduler: &Scheduler, asker: Asker, pool: PoolId) -> bool {
    match asker {
        Asker::Program | Asker::Worker => false,
        Asker::Task(task) => {
            let is_here = (tasks.get(task)).is_some_and(|task| task.pool == pool);
            is_here && scheduler.may_go_on(task)
        }
        Asker::Initializer(of) => of == pool,
    }
}
