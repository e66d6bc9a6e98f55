//! For tests: one pool of one worker, to which one task is handed.

use crate::{GroupId, Input, PoolId, PoolSpec, Prefetch, Retries, TaskId, TaskSpec, WorkerId};

pub(super) const TASK: TaskId = TaskId(1);

/// The inputs that make it so, the last of which submits the task.
pub(super) fn inputs(retries: Retries) -> [Input; 4] {
    let pool = PoolId(0);
    [
        Input::SetCores(1),
        Input::AddPool(PoolSpec {
            pool,
            workers_max: 1,
            cores_per_task: 1,
            prefetch: Prefetch::Off,
        }),
        Input::WorkerUp {
            worker: WorkerId(0),
            pool,
            slots: 1,
        },
        Input::Submit(TaskSpec {
            task: TASK,
            pool,
            group: GroupId(0),
            parent: None,
            dependencies: Vec::new(),
            supplied: Vec::new(),
            priority: 0,
            retries,
            timeout: None,
        }),
    ]
}
