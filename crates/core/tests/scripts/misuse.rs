//! Mistakes of the caller panic with a message that says what to look for.

use crate::language::check;

#[test]
#[should_panic(expected = "ids increase")]
fn an_id_is_submitted_once() {
    check(
        "
        pool p
        submit a   spawn 1 for p
        submit a
    ",
    );
}

#[test]
#[should_panic(expected = "depends on itself")]
fn a_task_cannot_need_itself() {
    check(
        "
        pool p
        submit a(a)
    ",
    );
}

#[test]
#[should_panic(expected = "is in the graph twice")]
fn an_id_is_in_a_graph_once() {
    check(
        "
        pool p
        graph a a
    ",
    );
}

#[test]
#[should_panic(expected = "exists already")]
fn a_pool_is_opened_once() {
    check(
        "
        pool p
        pool p
    ",
    );
}

#[test]
fn a_cycle_panics_and_leaves_no_trace() {
    use lineshaft_core::{GroupId, Input, PoolId, Retries, Scheduler, TaskId, TaskSpec, Time};
    let spec = |task, dependencies: &[u64]| TaskSpec {
        task: TaskId(task),
        pool: PoolId(0),
        group: GroupId(0),
        parent: None,
        dependencies: dependencies.iter().copied().map(TaskId).collect(),
        supplied: Vec::new(),
        priority: 0,
        retries: Retries::default(),
        timeout: None,
    };
    let mut scheduler = Scheduler::new();
    let graph = vec![spec(1, &[]), spec(2, &[1, 4]), spec(3, &[2]), spec(4, &[3])];
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scheduler.handle(Time(0), Input::SubmitGraph(graph), &mut Vec::new());
    }))
    .expect_err("a cycle is a mistake");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(
        message.contains("cycle") && message.contains("TaskId(2)"),
        "{message}"
    );
    scheduler.check_invariants();
    assert_eq!(scheduler.events().next(), 0);
}
