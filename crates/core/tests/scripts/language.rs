//! A small language for scheduler tests: on each line an input and, two or more blanks behind it,
//! the orders that follow. If there are none, nothing may follow.
//!
//! ```text
//! pool p max=2                    a pool; also cores=, prefetch=off or short
//! submit b(a) timeout=1s          a task that needs a; also pool=, group=, prio= (or offer), retries=, deaths=, items=again, internal=yes,
//!                                 backoff=, in= for the one that asked for it, given= for one that it needs and that has finished
//! graph a b(a) c(a,b) / g=2       a graph; options after the slash hold for all
//! up w0 slots=4                   a worker; also pool=
//! start a, finish a 10ms, fail a, fail a final, block a, lend a (and keep its place), unblock a
//! finish a#1                      about an attempt other than the current one
//! retracted w0 a b, down w0 running a, cancel a kill
//! cores 4, memory short, memory ok, spawn-failed p broken, never-started w0, remove p
//! tick 10ms                       time passes, then a tick
//! explain a, counts, deadline     questions; by the events: edges, who supplied whom; starts, who began; seen, whom they name
//! ```
//!
//! Names are given to ids in the order in which they appear. Invariants are checked after each line.

use std::collections::HashMap;
use std::time::Duration;

use lineshaft_core::{
    Action, Attempt, EventKind, Explanation, Failure, GroupId, Input, OFFER, Phases, PoolId,
    PoolSpec, Prefetch, Rejection, Retries, Scheduler, Since, TaskId, TaskSpec, Time, WorkerId,
};

/// Runs a script and compares the orders that each line causes with those beside it.
pub fn check(script: &str) {
    let mut bench = Bench::default();
    let (mut caused, mut expected) = (String::new(), String::new());
    for line in script.lines().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        let (input, orders) = line.split_once("  ").unwrap_or((line, ""));
        let row = |orders: &str| format!("{input:<32}  {}\n", orders.trim_start());
        caused += &row(&bench.line(input));
        expected += &row(orders);
    }
    assert!(
        caused == expected,
        "expected was:\n{expected}\nand this follows:\n{caused}"
    );
}

/// A scheduler with names for its tasks.
#[derive(Default)]
struct Bench {
    scheduler: Scheduler,
    now: Time,
    names: Vec<String>,
    pools: Vec<String>,
    groups: Vec<String>,
    /// Attempt that was last handed out, by task.
    attempts: HashMap<TaskId, Attempt>,
}

impl Bench {
    fn line(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let command = words.next().expect("a line has a first word");
        let words: Vec<&str> = words.collect();
        match command {
            "explain" => return self.explain(words[0]),
            "deadline" => {
                return match self.scheduler.next_deadline() {
                    None => "none".into(),
                    Some(at) => format!("in {:?}", at - self.now),
                };
            }
            "counts" => return self.counts(),
            "edges" => return self.edges(),
            "starts" => return self.starts(),
            "seen" => return self.seen(),
            "tick" => {
                self.now = self.now + words.first().map_or(Duration::ZERO, |text| duration(text));
            }
            _ => {}
        }
        let input = self.input(command, &words);
        let mut actions = Vec::new();
        self.scheduler.handle(self.now, input, &mut actions);
        self.scheduler.check_invariants();
        let shown: Vec<String> = actions.iter().map(|action| self.show(action)).collect();
        shown.join(", ")
    }

    fn input(&mut self, command: &str, words: &[&str]) -> Input {
        let options = Options::of(words);
        let first = words.first().copied().unwrap_or_default();
        let flag = |name: &str| words.contains(&name);
        match command {
            "pool" => Input::AddPool(PoolSpec {
                pool: PoolId(position(&mut self.pools, first)),
                workers_max: options.number("max", 1),
                cores_per_task: options.number("cores", 1),
                prefetch: match options.get("prefetch") {
                    Some("off") => Prefetch::Off,
                    Some("short") => Prefetch::Short,
                    Some(other) => panic!("no such prefetch: {other}"),
                    None => Prefetch::Long,
                },
            }),
            "remove" => Input::RemovePool {
                pool: self.pool(first),
            },
            "submit" => Input::Submit(self.spec(first, &options)),
            "graph" => {
                let tasks = words.iter().take_while(|word| **word != "/");
                Input::SubmitGraph(tasks.map(|word| self.spec(word, &options)).collect())
            }
            "up" => Input::WorkerUp {
                worker: worker(first),
                pool: self.pool(options.get("pool").unwrap_or("p")),
                slots: options.number("slots", 1),
            },
            "down" => {
                let running = words.iter().skip(2).map(|word| self.task(word)).collect();
                Input::WorkerDown {
                    worker: worker(first),
                    running,
                }
            }
            "never-started" => Input::NeverStarted {
                worker: worker(first),
            },
            "retracted" => {
                let tasks = words.iter().skip(1).map(|word| self.task(word)).collect();
                Input::Retracted {
                    worker: worker(first),
                    tasks,
                }
            }
            "spawn-failed" => Input::SpawnFailed {
                pool: self.pool(first),
                broken: flag("broken"),
            },
            "cancel" => Input::Cancel {
                task: self.task(first),
                kill: flag("kill"),
            },
            "cores" => Input::SetCores(first.parse().expect("a number")),
            "memory" => Input::MemoryPressure(first == "short"),
            "tick" => Input::Tick,
            _ => {
                let (task, attempt) = self.attempt(first);
                match command {
                    "start" => Input::Started { task, attempt },
                    "finish" => {
                        let ran = words
                            .get(1)
                            .map_or(Duration::from_millis(10), |w| duration(w));
                        Input::Finished {
                            task,
                            attempt,
                            ran,
                            phases: Phases::default(),
                            bytes: 0,
                            items_raised: None,
                        }
                    }
                    "fail" => Input::Failed {
                        task,
                        attempt,
                        how: if flag("final") {
                            Failure::RaisedForGood
                        } else if flag("late") {
                            Failure::TimedOut
                        } else if flag("cancelled") {
                            Failure::Cancelled
                        } else {
                            Failure::Raised
                        },
                        measured: None,
                    },
                    "block" | "lend" => Input::Blocked {
                        task,
                        attempt,
                        keeps_place: command == "lend",
                    },
                    "unblock" => Input::Unblocked { task, attempt },
                    other => panic!("no such command: {other}"),
                }
            }
        }
    }

    /// `c(a,b)`: the task c, which needs a and b.
    fn spec(&mut self, text: &str, options: &Options) -> TaskSpec {
        let (name, dependencies) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => (name, rest.trim_end_matches(')')),
        };
        let task = TaskId(u64::from(position(&mut self.names, name)));
        let dependencies = dependencies.split(',').filter(|name| !name.is_empty());
        let dependencies = dependencies.map(|name| self.task(name)).collect();
        let group = options.get("group").unwrap_or("g");
        let group = GroupId(position(&mut self.groups, group));
        TaskSpec {
            task,
            pool: self.pool(options.get("pool").unwrap_or("p")),
            group: match options.get("internal") {
                Some(_) => group.internal(),
                None => group,
            },
            parent: options.get("in").map(|name| self.task(name)),
            dependencies,
            supplied: options
                .get("given")
                .map(|name| self.task(name))
                .into_iter()
                .collect(),
            priority: match options.get("prio") {
                None => 0,
                Some("offer") => OFFER,
                Some(text) => text.parse().expect("a priority"),
            },
            retries: Retries {
                failures_max: options.number("retries", 0),
                deaths_max: options.number("deaths", 0),
                backoff: options.get("backoff").map_or(Duration::ZERO, duration),
                items_run_again: options.get("items").is_some(),
            },
            timeout: options.get("timeout").map(duration),
        }
    }

    fn pool(&mut self, name: &str) -> PoolId {
        PoolId(position(&mut self.pools, name))
    }

    fn task(&mut self, name: &str) -> TaskId {
        TaskId(u64::from(position(&mut self.names, name)))
    }

    /// `a` is the current attempt of a, `a#1` its first.
    fn attempt(&mut self, text: &str) -> (TaskId, Attempt) {
        if let Some((name, attempt)) = text.split_once('#') {
            return (self.task(name), Attempt(attempt.parse().expect("a number")));
        }
        let task = self.task(text);
        (
            task,
            self.attempts.get(&task).copied().unwrap_or(Attempt(0)),
        )
    }

    fn name(&self, task: TaskId) -> &str {
        &self.names[usize::try_from(task.0).expect("a small number")]
    }

    fn show(&mut self, action: &Action) -> String {
        match *action {
            Action::Run {
                worker,
                task,
                attempt,
            } => {
                self.attempts.insert(task, attempt);
                format!("run {}#{} on w{}", self.name(task), attempt.0, worker.0)
            }
            Action::Retract { worker } => format!("retract w{}", worker.0),
            Action::TimeOut {
                worker,
                task,
                attempt,
            } => {
                format!(
                    "time out {}#{} on w{}",
                    self.name(task),
                    attempt.0,
                    worker.0
                )
            }
            Action::Kill { worker, task } => format!("kill w{} for {}", worker.0, self.name(task)),
            Action::Resolve { task } => format!("resolve {}", self.name(task)),
            Action::Reject { task, why } => {
                let why = match why {
                    Rejection::Dependency { failed } => format!("needs {}", self.name(failed)),
                    other => format!("{other:?}"),
                };
                format!("reject {} ({why})", self.name(task))
            }
            Action::Spawn { pool, count } => {
                format!("spawn {count} for {}", self.pools[pool.0 as usize])
            }
            Action::Retire { worker } => format!("retire w{}", worker.0),
        }
    }

    fn explain(&mut self, name: &str) -> String {
        let task = self.task(name);
        let explanation = self.scheduler.explain(self.now, task);
        let (attempt, started) = match explanation {
            Explanation::Assigned { attempt, .. } => (Some(attempt), false),
            Explanation::Running { attempt, .. } => (Some(attempt), true),
            _ => (None, false),
        };
        assert_eq!(self.scheduler.attempt_at_worker(task), attempt);
        assert_eq!(self.scheduler.has_started(task), started);
        match explanation {
            Explanation::Unknown => "unknown".into(),
            Explanation::Waiting {
                missing,
                dependencies,
            } => {
                let names: Vec<&str> = dependencies.iter().map(|task| self.name(*task)).collect();
                format!("waits for {missing}: {}", names.join(" "))
            }
            Explanation::BackingOff { until } => format!("backs off for {:?}", until - self.now),
            Explanation::Queued { ahead, because } => format!("queued behind {ahead}: {because:?}"),
            Explanation::Assigned { worker, attempt } => {
                format!("handed to w{} as #{}", worker.0, attempt.0)
            }
            Explanation::Running {
                worker,
                attempt,
                blocked,
            } => {
                let how = if blocked { "blocked" } else { "runs" };
                format!("{how} on w{} as #{}", worker.0, attempt.0)
            }
        }
    }

    fn edges(&self) -> String {
        self.told(|event| match event {
            EventKind::Supplied { task, by } => {
                Some(format!("{} by {}", self.name(task), self.name(by)))
            }
            _ => None,
        })
    }

    fn starts(&self) -> String {
        self.told(|event| match event {
            EventKind::Started { task, .. } => Some(self.name(task).to_owned()),
            _ => None,
        })
    }

    fn seen(&self) -> String {
        let mut seen = Vec::new();
        self.told(|event| {
            let (EventKind::Submitted { task, .. }
            | EventKind::Supplied { task, .. }
            | EventKind::Ready { task }
            | EventKind::Assigned { task, .. }
            | EventKind::Started { task, .. }
            | EventKind::Blocked { task, .. }
            | EventKind::Unblocked { task, .. }
            | EventKind::Finished { task, .. }
            | EventKind::Failed { task, .. }
            | EventKind::Retried { task, .. }
            | EventKind::Rejected { task, .. }) = event
            else {
                return None;
            };
            if !seen.contains(&self.name(task)) {
                seen.push(self.name(task));
            }
            None
        });
        seen.join(" ")
    }

    /// What all events tell so far.
    fn told(&self, mut told: impl FnMut(EventKind) -> Option<String>) -> String {
        let Since::Batch { events, .. } = self.scheduler.events().since(0, usize::MAX) else {
            panic!("a script has few events");
        };
        let told = events.iter().filter_map(|event| told(event.kind));
        told.collect::<Vec<String>>().join(", ")
    }

    fn counts(&self) -> String {
        let counts = self.scheduler.counts();
        let it = counts.total;
        format!(
            "waiting {} ready {} backoff {} handed {} running {} blocked {} \
             | up {} idle {} blocked {} starting {} | cores {}",
            it.waiting,
            it.ready,
            it.backoff,
            it.handed_over,
            it.running,
            it.blocked,
            it.workers,
            it.workers_idle,
            it.workers_blocked,
            it.workers_starting,
            counts.cores_used,
        )
    }
}

/// The `key=value` words of a line.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn of(words: &[&'a str]) -> Options<'a> {
        Options(
            words
                .iter()
                .filter_map(|word| word.split_once('='))
                .collect(),
        )
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        match self.get(key).map(str::parse) {
            None => default,
            Some(Ok(number)) => number,
            Some(Err(_)) => panic!("{key} takes a number"),
        }
    }
}

fn position(names: &mut Vec<String>, name: &str) -> u32 {
    let found = names
        .iter()
        .position(|known| known == name)
        .unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
    u32::try_from(found).expect("a small number")
}

fn worker(name: &str) -> WorkerId {
    WorkerId(
        name.trim_start_matches('w')
            .parse()
            .expect("workers are called w0, w1, ..."),
    )
}

fn duration(text: &str) -> Duration {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .expect("a duration has a unit");
    let number: u64 = text[..split]
        .parse()
        .expect("a duration starts with a number");
    match &text[split..] {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        unit => panic!("no such unit: {unit}"),
    }
}
