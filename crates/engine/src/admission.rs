//! How tasks are taken in.

use lineshaft_core::{Input, TaskId, TaskSpec};

use crate::aftermath::Discarded;
use crate::options::TaskRequest;
use crate::outcome::{Outcome, TaskError, failed_input};
use crate::promise::Pledge;
use crate::state::State;
use crate::tasks::Task;

impl State {
    /// Takes a graph in, dependencies first: only then is a task whose dependency is refused refused
    /// as well. The scheduler is given it as it was submitted. `order` is a topological one, or none
    /// if the graph is in such an order as it is.
    pub(crate) fn admit_graph(
        &mut self,
        tasks: Vec<(Pledge, TaskRequest)>,
        parent: Option<TaskId>,
        order: Option<Vec<usize>>,
    ) {
        let specs = match order {
            None => {
                let specs = tasks
                    .into_iter()
                    .filter_map(|(pledge, request)| self.admit(pledge, request, parent));
                specs.collect()
            }
            Some(order) => {
                let mut tasks: Vec<Option<_>> = tasks.into_iter().map(Some).collect();
                let mut specs: Vec<Option<TaskSpec>> = tasks.iter().map(|_| None).collect();
                for index in order {
                    let (pledge, request) = tasks[index].take().expect("an order names each once");
                    specs[index] = self.admit(pledge, request, parent);
                }
                specs.into_iter().flatten().collect()
            }
        };
        self.inputs.push_back(Input::SubmitGraph(specs));
    }

    /// Takes a task in. One whose pool is closed or whose inputs have already failed ends here.
    pub(crate) fn admit(
        &mut self,
        pledge: Pledge,
        request: TaskRequest,
        parent: Option<TaskId>,
    ) -> Option<TaskSpec> {
        if let Some(error) = failed_input(&request.inputs) {
            self.refuse(pledge, request, error);
            return None;
        }
        let Some(pool) = self
            .pools
            .get_mut(&request.pool)
            .filter(|pool| !pool.closing)
        else {
            self.refuse(pledge, request, TaskError::Cancelled);
            return None;
        };
        pool.unfinished += 1;
        pool.daemons += usize::from(request.policy.daemon);
        if pool.unfinished == 1 {
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
            parent,
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
