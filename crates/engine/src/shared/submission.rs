//! How tasks get into the inbox.

use std::sync::Arc;

use lineshaft_core::TaskId;

use crate::command::{Asker, Command};
use crate::error::EngineError;
use crate::options::TaskRequest;
use crate::promise::{Pledge, Promise};
use crate::runner;

use super::{Inbox, Shared};

impl Shared {
    /// Submits a task of a caller, unless its pool was closed.
    pub(crate) fn submit_to_open(&self, request: TaskRequest) -> Result<Arc<Promise>, EngineError> {
        let is_open = |inbox: &Inbox, request: &TaskRequest| inbox.open.contains(&request.pool);
        self.submit_if(request, self.asker_here(), is_open)
            .ok_or(EngineError::PoolClosed)
    }

    /// Submits a task, whether or not its pool was closed for callers.
    pub(crate) fn submit_within(&self, asker: Asker, request: TaskRequest) -> Arc<Promise> {
        self.submit_if(request, asker, |_, _| true)
            .expect("there is no condition")
    }

    /// The task of this engine that runs on this thread, or the program.
    fn asker_here(&self) -> Asker {
        runner::task_of(self).map_or(Asker::Program, |(task, _)| Asker::Task(task))
    }

    fn submit_if(
        &self,
        request: TaskRequest,
        asker: Asker,
        condition: impl FnOnce(&Inbox, &TaskRequest) -> bool,
    ) -> Option<Arc<Promise>> {
        self.check_inputs(&request);
        let promise = Promise::new(self.id, request.work.is_local());
        {
            let mut inbox = self.inbox();
            if !condition(&inbox, &request) {
                drop(inbox);
                return None;
            }
            inbox.tasks += 1;
            promise.set_task(TaskId(inbox.tasks));
            let pledge = Pledge::new(&promise);
            self.push(
                inbox,
                Command::Submit {
                    pledge,
                    request,
                    asker,
                },
            );
        }
        self.drive();
        Some(promise)
    }

    /// Submits a graph: each request with the indices of the requests of the same graph whose
    /// results are its first inputs.
    pub(crate) fn submit_graph(
        &self,
        requests: Vec<(TaskRequest, Vec<usize>)>,
    ) -> Vec<Arc<Promise>> {
        // Panics if there is a cycle: here, in the caller's thread, before anything has changed.
        let order = crate::graph::topological_order(&requests);
        let promises: Vec<Arc<Promise>> = requests
            .iter()
            .map(|(request, _)| {
                self.check_inputs(request);
                Promise::new(self.id, request.work.is_local())
            })
            .collect();
        let tasks = requests
            .into_iter()
            .zip(&promises)
            .map(|((mut request, needs), promise)| {
                let is_remote = !request.work.is_local();
                let needed = needs
                    .into_iter()
                    .map(|index| &promises[index])
                    .inspect(|needed| {
                        if is_remote && needed.is_local() {
                            let in_time = needed.request_for_workers();
                            debug_assert!(in_time, "the engine does not know of the graph yet");
                        }
                    });
                request.inputs.splice(..0, needed.cloned());
                (Pledge::new(promise), request)
            })
            .collect();
        {
            let mut inbox = self.inbox();
            for promise in &promises {
                inbox.tasks += 1;
                promise.set_task(TaskId(inbox.tasks));
            }
            self.push(
                inbox,
                Command::SubmitGraph {
                    tasks,
                    asker: self.asker_here(),
                    order,
                },
            );
        }
        self.drive();
        promises
    }

    /// Panics in the caller's thread, before anything has changed.
    fn check_inputs(&self, request: &TaskRequest) {
        let known = |input: &Arc<Promise>| input.is_known_to(self.id);
        assert!(
            request.inputs.iter().all(known),
            "a task depends on a task of another engine"
        );
    }
}
