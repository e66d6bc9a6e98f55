//! The claim protocol under contention, and across processes.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use lineshaft_store::SharedPage;
use lineshaft_wire::ControlPage;

/// A worker claims tasks as fast as it can while the engine takes them back and sends them again.
/// Every task must be started exactly once, and the engine must know which.
#[test]
fn each_task_is_either_claimed_or_taken_back() {
    const TASKS: usize = 30_000;
    let page = SharedPage::<ControlPage>::create().unwrap();
    let (sender, receiver) = mpsc::sync_channel::<(u64, u32)>(8);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let claimed = receiver
                .into_iter()
                .filter(|&(_, epoch)| page.try_claim(epoch));
            claimed.map(|(task, _)| task).collect::<Vec<_>>()
        });
        let mut epoch = 0_u32;
        let mut sent = Vec::new();
        let mut known_started = Vec::new();
        let mut next = 0;
        let mut again = Vec::new();
        while known_started.len() + sent.len() < TASKS || !again.is_empty() {
            let task = again.pop().unwrap_or_else(|| {
                next += 1;
                next
            });
            sender.send((task, epoch)).unwrap();
            sent.push(task);
            if task % 3 == 0 || sent.len() > 20 {
                let claimed = page.retract() as usize;
                epoch += 1;
                again.extend(sent.split_off(claimed));
                known_started.append(&mut sent);
            }
        }
        drop(sender);
        let mut started = worker.join().unwrap();
        let last = page.retract() as usize;
        assert_eq!(last, sent.len(), "the worker claims all of the last epoch");
        known_started.append(&mut sent);
        assert_eq!(started, known_started, "both sides agree, in order");
        started.sort_unstable();
        assert!(
            started.iter().copied().eq(1..=next),
            "none is lost, none started twice"
        );
    });
}

#[test]
fn an_interrupt_hits_only_the_task_it_names() {
    let page = ControlPage::default();
    page.set_interrupt(5);
    assert!(!page.is_interrupted(), "no task runs");
    page.begin(4);
    assert!(!page.is_interrupted());
    page.begin(5);
    assert!(page.is_interrupted());
    page.end();
    assert!(!page.is_interrupted());
    page.set_interrupt(0);
    page.begin(5);
    assert!(
        !page.is_interrupted(),
        "the request was for the earlier attempt"
    );
}

/// The page arrives as standard input. Claims what it can, then stays until it is killed.
#[test]
#[ignore = "the other side of claims_outlive_a_killed_worker"]
fn child_claims_and_waits() {
    let fd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let page = SharedPage::<ControlPage>::from_fd(fd).unwrap();
    for _ in 0..3 {
        assert!(page.try_claim(0));
    }
    // Not left behind if the other side fails.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    page.begin(42);
    loop {
        std::thread::park();
    }
}

#[test]
fn claims_outlive_a_killed_worker() {
    let page = SharedPage::<ControlPage>::create().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_claims_and_waits"])
        .stdin(Stdio::from(page.fd().unwrap()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while page.task() != 42 {
        assert!(child.try_wait().unwrap().is_none(), "the child failed");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(page.retract(), 3);
    assert!(!page.try_claim(0));
    assert!(page.try_claim(1));
}
