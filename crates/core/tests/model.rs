//! The scheduler against a naive reference that knows only tasks and edges.
//!
//! The reference has no pools, queues or limits. It says which tasks could run at all and how each
//! must end; the scheduler decides when and where. Steps are generated as small numbers and given a
//! meaning by what is possible at that moment, so that every generated sequence shrinks well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lineshaft_core::{
    Action, Attempt, Failure, GroupId, Input, Phases, PoolId, PoolSpec, Prefetch, Rejection,
    Retries, Scheduler, TaskId, TaskSpec, Time, WorkerId,
};
use proptest::prelude::*;

const POOL: PoolId = PoolId(0);
const CORES: u32 = 3;

/// What a task is, to somebody who does not schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Open,
    Done,
    Failed,
    Cancelled,
    /// Something that it needs, this one in the end, has no result.
    Inherited(TaskId),
}

#[derive(Default)]
struct Reference {
    needs: BTreeMap<TaskId, BTreeSet<TaskId>>,
    fates: BTreeMap<TaskId, Fate>,
    failures_left: BTreeMap<TaskId, u16>,
}

impl Reference {
    fn submit(&mut self, spec: &TaskSpec) {
        self.needs
            .insert(spec.task, spec.dependencies.iter().copied().collect());
        self.fates.insert(spec.task, Fate::Open);
        self.failures_left
            .insert(spec.task, spec.retries.failures_max);
    }

    fn open(&self) -> Vec<TaskId> {
        let open = self.fates.iter().filter(|(_, fate)| **fate == Fate::Open);
        open.map(|(task, _)| *task).collect()
    }

    fn could_run(&self, task: TaskId) -> bool {
        let done = |needed: &TaskId| self.fates[needed] == Fate::Done;
        self.fates[&task] == Fate::Open && self.needs[&task].iter().all(done)
    }

    /// Ends a task without a result, and all that need it.
    fn lose(&mut self, root: TaskId, fate: Fate) {
        self.fates.insert(root, fate);
        let mut lost = BTreeSet::from([root]);
        // Ids increase along edges within one submission and between them, so one pass suffices.
        for (task, needs) in &self.needs {
            if self.fates[task] == Fate::Open && !needs.is_disjoint(&lost) {
                self.fates.insert(*task, Fate::Inherited(root));
                lost.insert(*task);
            }
        }
    }

    fn fail(&mut self, task: TaskId, retry: bool) {
        let left = self.failures_left.get_mut(&task).expect("submitted");
        match left.checked_sub(1).filter(|_| retry) {
            Some(fewer) => *left = fewer,
            None => self.lose(task, Fate::Failed),
        }
    }
}

/// A task at a worker, from hand-over to its end.
type Held = (WorkerId, TaskId, Attempt);

struct Machine {
    scheduler: Scheduler,
    reference: Reference,
    ended: BTreeMap<TaskId, Fate>,
    now: Time,
    held: Vec<Held>,
    retracting: Vec<WorkerId>,
    workers: Vec<WorkerId>,
    starting: u32,
    started_ever: u32,
    task_next: u64,
}

impl Machine {
    fn new(workers_max: u32, prefetch: Prefetch) -> Machine {
        let mut machine = Machine {
            scheduler: Scheduler::new(),
            reference: Reference::default(),
            ended: BTreeMap::new(),
            now: Time(0),
            held: Vec::new(),
            retracting: Vec::new(),
            workers: Vec::new(),
            starting: 0,
            started_ever: 0,
            task_next: 0,
        };
        machine.tell(Input::SetCores(CORES));
        let pool = PoolSpec {
            pool: POOL,
            workers_max,
            cores_per_task: 1,
            prefetch,
        };
        machine.tell(Input::AddPool(pool));
        machine
    }

    /// One input, then all laws.
    fn tell(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.scheduler.handle(self.now, input, &mut actions);
        self.scheduler.check_invariants();
        for action in actions {
            self.obey(action);
        }
        for (task, fate) in &self.reference.fates {
            let ended = self.ended.get(task).copied().unwrap_or(Fate::Open);
            assert_eq!(ended, *fate, "{task:?}");
        }
        assert!(
            self.scheduler.counts().cores_used <= u64::from(CORES),
            "cores in use"
        );
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::Run {
                worker,
                task,
                attempt,
            } => {
                assert!(
                    self.reference.could_run(task),
                    "{task:?} cannot run yet, or any more"
                );
                assert!(
                    self.held.iter().all(|held| held.1 != task),
                    "{task:?} runs once"
                );
                assert!(self.workers.contains(&worker), "{worker:?} is up");
                self.held.push((worker, task, attempt));
            }
            Action::Retract { worker } => self.retracting.push(worker),
            Action::Resolve { task } => self.end(task, Fate::Done),
            Action::Reject { task, why } => {
                let fate = match why {
                    Rejection::Cancelled => Fate::Cancelled,
                    Rejection::Failed => Fate::Failed,
                    Rejection::Dependency { failed } => Fate::Inherited(failed),
                    other => panic!("nothing here leads to {other:?}"),
                };
                self.end(task, fate);
            }
            Action::Spawn { count, .. } => self.starting += count,
            other => panic!("nothing here leads to {other:?}"),
        }
    }

    fn end(&mut self, task: TaskId, fate: Fate) {
        assert_eq!(self.ended.insert(task, fate), None, "{task:?} ends once");
    }

    fn step(&mut self, what: u8, which: u16) {
        let pick = |len: usize| usize::from(which) % len.max(1);
        match what % 8 {
            0 => {
                let spec = self.spec(which);
                self.reference.submit(&spec);
                self.tell(Input::Submit(spec));
            }
            1 => {
                let specs: Vec<TaskSpec> = (0..which % 6)
                    .map(|i| {
                        let spec = self.spec(which.rotate_left(u32::from(i)));
                        self.reference.submit(&spec);
                        spec
                    })
                    .collect();
                self.tell(Input::SubmitGraph(specs));
            }
            2 if self.starting > 0 => {
                self.starting -= 1;
                let worker = WorkerId(self.started_ever);
                self.started_ever += 1;
                self.workers.push(worker);
                self.tell(Input::WorkerUp {
                    worker,
                    pool: POOL,
                    slots: u32::from(which % 3) + 1,
                });
            }
            3 | 4 if !self.held.is_empty() => {
                let (_, task, attempt) = self.held.remove(pick(self.held.len()));
                self.reference.fates.insert(task, Fate::Done);
                let ran = Duration::from_micros(u64::from(which));
                self.tell(Input::Finished {
                    task,
                    attempt,
                    ran,
                    phases: Phases::default(),
                    bytes: 0,
                    items_raised: None,
                });
            }
            5 if !self.held.is_empty() => {
                let (_, task, attempt) = self.held.remove(pick(self.held.len()));
                let retry = !which.is_multiple_of(3);
                self.reference.fail(task, retry);
                self.tell(Input::Failed {
                    task,
                    attempt,
                    how: if retry {
                        Failure::Raised
                    } else {
                        Failure::RaisedForGood
                    },
                    measured: None,
                });
            }
            6 if !self.retracting.is_empty() => self.answer_retraction(which),
            6 => self.cancel(which),
            _ => {
                self.now = self.now + Duration::from_micros(u64::from(which));
                self.tell(Input::Tick);
            }
        }
    }

    /// Cancels something that is not at a worker; whether what is there has started is for the
    /// simulator to play.
    fn cancel(&mut self, which: u16) {
        let mut open = self.reference.open();
        open.retain(|task| self.held.iter().all(|held| held.1 != *task));
        let Some(task) = open.get(usize::from(which) % open.len().max(1)).copied() else {
            return;
        };
        self.reference.lose(task, Fate::Cancelled);
        self.tell(Input::Cancel { task, kill: false });
    }

    /// A worker gives back some of what it has.
    fn answer_retraction(&mut self, which: u16) {
        let worker = self
            .retracting
            .remove(usize::from(which) % self.retracting.len());
        let mut kept = usize::from(which / 7 % 4);
        let mut tasks = Vec::new();
        self.held.retain(|(at, task, _)| {
            let gives_back = *at == worker && kept == 0;
            if *at == worker {
                kept = kept.saturating_sub(1);
            }
            if gives_back {
                tasks.push(*task);
            }
            !gives_back
        });
        self.tell(Input::Retracted { worker, tasks });
    }

    fn spec(&mut self, which: u16) -> TaskSpec {
        let mut open = self.reference.open();
        open.retain(|task| (task.0 + u64::from(which)).is_multiple_of(3));
        open.truncate(usize::from(which % 4));
        let task = TaskId(self.task_next);
        self.task_next += 1;
        TaskSpec {
            task,
            pool: POOL,
            group: GroupId(u32::from(which % 2)),
            parent: self.held.get(usize::from(which % 5)).map(|held| held.1),
            dependencies: open,
            supplied: Vec::new(),
            priority: i32::from(which % 3),
            retries: Retries {
                failures_max: which % 2,
                ..Retries::default()
            },
            timeout: None,
        }
    }

    /// Everything that is still open runs to its end.
    fn run_to_end(mut self) {
        while !self.reference.open().is_empty() {
            let before = (self.held.len(), self.reference.open().len(), self.starting);
            for what in [2, 6, 3] {
                if what != 6 || !self.retracting.is_empty() {
                    self.step(what, 0);
                }
            }
            if before == (self.held.len(), self.reference.open().len(), self.starting) {
                self.step(7, 5_000);
            }
        }
        let counts = self.scheduler.counts();
        assert_eq!(counts.total.unfinished(), 0, "everything is freed");
        assert_eq!(counts.cores_used, 0);
        assert_eq!(
            self.scheduler.next_deadline(),
            None,
            "an idle scheduler waits for nothing"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scheduler_does_what_the_reference_says(
        workers_max in 1..4_u32,
        prefetch in prop::sample::select(&[Prefetch::Off, Prefetch::Short, Prefetch::Long][..]),
        steps in prop::collection::vec((any::<u8>(), any::<u16>()), 0..150),
    ) {
        let mut machine = Machine::new(workers_max, prefetch);
        for (what, which) in steps {
            machine.step(what, which);
        }
        machine.run_to_end();
    }
}
