//! What the engine says about itself.

use lineshaft_engine::{EventKind, Promise, Since};

use crate::common::Threads;

#[test]
fn a_task_says_what_it_does_and_what_it_waits_for() {
    let threads = Threads::new(1);
    let held = threads.hold(Err("broken".into()));
    held.began();
    let next = threads.submit(|_| Ok(0));
    let last = threads.submit(|_| Ok(0));
    let dependent = threads.submit_after(&[&held.task, &last], |_| Ok(0));
    let explain = |task: &Promise| threads.engine.explain(task);
    assert_eq!(explain(&held.task), "it runs on a thread of this process");
    assert_eq!(
        explain(&next),
        "it is the next of its pool; all workers of the pool are busy"
    );
    assert_eq!(
        explain(&last),
        "one task of its pool comes first; all workers of the pool are busy"
    );
    let names = [&held.task, &last].map(|task| format!("test (task {})", task.task().0));
    assert_eq!(
        explain(&dependent),
        format!("it waits for 2 other tasks: {}", names.join(", "))
    );
    held.release();
    threads.wait(&next);
    assert_eq!(explain(&next), "it has ended");
}

#[test]
fn events_tell_in_order_what_happened() {
    let threads = Threads::new(1);
    let first = threads.submit(|_| Ok(1));
    let second = threads.submit_after(&[&first], |of| Ok(of[0] + 1));
    assert_eq!(threads.result(&second), 2);
    let Since::Batch { events, next } = threads.engine.events(0, usize::MAX) else {
        panic!("a few events fit the log");
    };
    let of_second: Vec<EventKind> = events
        .iter()
        .map(|event| event.kind)
        .filter(|kind| format!("{kind:?}").contains(&format!("{:?}", second.task())))
        .collect();
    assert!(matches!(
        of_second[..],
        [
            EventKind::Submitted { .. },
            EventKind::Supplied { .. },
            EventKind::Ready { .. },
            EventKind::Assigned { .. },
            EventKind::Finished { .. },
        ]
    ));
    assert!(events.is_sorted_by_key(|event| event.at));
    let nothing = Since::Batch {
        events: Vec::new(),
        next,
    };
    assert_eq!(threads.engine.events(next, 10), nothing);
}
