//! What the processes of an engine use, as the kernel says.

use std::fs;
use std::time::{Duration, Instant};

use lineshaft_core::Time;
use rustix::param::{clock_ticks_per_second, page_size};

use crate::limits;
use crate::memory::{self, Resident};

/// Rates of single processes are of at least this time.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Processes that are looked at below one worker.
const DESCENDANTS_MAX: usize = 256;

/// Processor time of a thread from which on it counts as one that computes, between two times that rates are reckoned.
const COMPUTED_NS: u64 = 20_000_000;

/// What one process uses.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct ProcessUsage {
    pub(crate) pid: u32,
    /// Processor time so far, in nanoseconds; of a worker, with that of the processes it has started.
    pub(crate) cpu_ns: u64,
    /// Resident memory, in bytes. Pages that it shares with others count in each.
    pub(crate) resident_bytes: u64,
    /// What of it no other process has, and the most that was ever resident.
    pub(crate) memory: Resident,
    /// What of its memory it was forked with, and when to find out anew.
    pub(crate) inherited: (u64, Time),
    /// Cores that it kept busy during the last second or so; None before.
    pub(crate) cores: Option<f64>,
}

/// What all of them use.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Usage {
    /// This process and the workers that run.
    pub(crate) processes: Vec<ProcessUsage>,
    /// Processor time of all processes so far, in nanoseconds. That of those that are gone is what the kernel
    /// reckoned at their ends, or of those that nobody waited for what was last seen.
    pub(crate) cpu_ns: u64,
    /// Threads of these processes that run or could run, when rates were last reckoned.
    pub(crate) runnable: u64,
    /// Time that the cores of this machine had nothing to do so far, in nanoseconds, if the kernel says so.
    pub(crate) idle_ns: Option<u64>,
    /// The cores of this machine, whoever may use them, if the kernel says so.
    pub(crate) machine_cores: Option<u32>,
    /// Threads of this process that took processor time, when rates were last reckoned.
    pub(crate) computing: u64,
    /// The processor time of each of them then.
    threads: Vec<(u32, u64)>,
    /// What was last seen of processes that are gone: at most what they took in all.
    gone_cpu_ns: u64,
    /// What rates are reckoned from: when, and the processor time of each process then.
    base: (Time, Vec<(u32, u64)>),
}

impl Usage {
    /// The usage now of this process and these workers; those that have ended took `ended_cpu_ns` in all.
    pub(crate) fn now(
        &self,
        at: Time,
        workers: impl Iterator<Item = u32>,
        ended_cpu_ns: u64,
    ) -> Usage {
        // What this process starts and waits for are the workers, too, which are counted by themselves.
        let program = of_process(std::process::id()).map(|stat| stat.own);
        let workers = workers.filter_map(of_tree);
        let mut processes: Vec<ProcessUsage> = program.into_iter().chain(workers).collect();
        for process in &mut processes {
            // What a child used is lost if its parent never hears of its end.
            let was = self.processes.iter().find(|was| was.pid == process.pid);
            process.cpu_ns = process.cpu_ns.max(was.map_or(0, |was| was.cpu_ns));
            // One that ends just now says nothing of it any more.
            let before = was.map(|was| was.memory).unwrap_or_default();
            let memory = memory::of_process(process.pid);
            let inherited = was.map_or((0, Time(0)), |was| was.inherited);
            // What workers are forked from is this process, or small.
            if process.pid != std::process::id() {
                process.inherited = inherited_now(process.pid, at, inherited);
            }
            let (inherited, _) = process.inherited;
            process.memory =
                memory.map_or(before, |memory| memory.inheriting(inherited).since(before));
        }
        let base = self.set_rates(at, &mut processes);
        let is_gone = |was: &&ProcessUsage| processes.iter().all(|is| is.pid != was.pid);
        let gone = self.processes.iter().filter(is_gone);
        let gone_cpu_ns = self.gone_cpu_ns + gone.map(|process| process.cpu_ns).sum::<u64>();
        let (mut runnable, mut computing) = (self.runnable, self.computing);
        let mut threads = self.threads.clone();
        if base.0 == at {
            runnable = processes
                .iter()
                .map(|process| runnable_in(process.pid))
                .sum();
            threads = threads_cpu_ns();
            computing = computed_since(&self.threads, &threads);
        }
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let running_ns: u64 = processes.iter().map(|process| process.cpu_ns).sum();
        // A process that has just been reaped may be counted nowhere for a moment, and time does not run back.
        let cpu_ns = (gone_cpu_ns.max(ended_cpu_ns) + running_ns).max(self.cpu_ns);
        Usage {
            processes,
            cpu_ns,
            runnable,
            idle_ns: parse_idle(&machine),
            machine_cores: parse_cores(&machine),
            computing,
            threads,
            gone_cpu_ns,
            base,
        }
    }

    /// Memory that these processes have each for itself, in bytes.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.processes
            .iter()
            .map(|process| process.memory.own_bytes)
            .sum()
    }

    /// Processor time of this process so far, in nanoseconds.
    pub(crate) fn program_cpu_ns(&self) -> u64 {
        let own = std::process::id();
        let program = self.processes.iter().find(|process| process.pid == own);
        program.map_or(0, |program| program.cpu_ns)
    }

    /// The kernel counts in steps of ten milliseconds, so rates are of a second at least.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn set_rates(&self, at: Time, processes: &mut [ProcessUsage]) -> (Time, Vec<(u32, u64)>) {
        let (since, base) = &self.base;
        let elapsed = at - *since;
        let is_due = elapsed >= RATE_OVER;
        for process in processes.iter_mut() {
            let was = self.processes.iter().find(|was| was.pid == process.pid);
            let before = base.iter().find(|(pid, _)| *pid == process.pid);
            process.cores = match before.filter(|_| is_due) {
                Some((_, cpu_ns)) => {
                    let grown_ns = process.cpu_ns.saturating_sub(*cpu_ns);
                    Some(grown_ns as f64 / elapsed.as_nanos() as f64)
                }
                None => was.and_then(|was| was.cores),
            };
        }
        if !is_due {
            return self.base.clone();
        }
        let base = processes
            .iter()
            .map(|process| (process.pid, process.cpu_ns));
        (at, base.collect())
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(PartialEq, Debug)]
struct Stat {
    own: ProcessUsage,
    /// Processor time of its children that it has waited for, and of theirs.
    reaped_ns: u64,
}

/// The usage of a worker. Programs that its tasks run count for it, those that run still and those that have ended.
fn of_tree(pid: u32) -> Option<ProcessUsage> {
    let Stat { own, reaped_ns } = of_process(pid)?;
    let mut cpu_ns = own.cpu_ns + reaped_ns;
    let mut descendants = children(pid);
    let mut seen = 0;
    while let Some(pid) = descendants.pop().filter(|_| seen < DESCENDANTS_MAX) {
        seen += 1;
        if let Some(Stat { own, reaped_ns }) = of_process(pid) {
            cpu_ns += own.cpu_ns + reaped_ns;
            descendants.extend(children(pid));
        }
    }
    Some(ProcessUsage { cpu_ns, ..own })
}

/// What of a worker's memory it was forked with, if it is time to find out anew.
fn inherited_now(pid: u32, at: Time, (bytes, due): (u64, Time)) -> (u64, Time) {
    if at < due {
        return (bytes, due);
    }
    let begun = Instant::now();
    let bytes = memory::inherited(pid);
    let pause = begun.elapsed() * limits::INHERITED_PART;
    (bytes, at + pause.max(RATE_OVER))
}

/// The children of all threads of a process that have not been waited for. None where the kernel does not list them.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut all = Vec::new();
    for list in lists {
        all.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    all
}

fn of_process(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &text)
}

fn parse(pid: u32, text: &str) -> Option<Stat> {
    // Behind the name, which may contain anything; the first is field 3 of proc(5).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        own: ProcessUsage {
            pid,
            cpu_ns: nanoseconds(field(14)? + field(15)?),
            resident_bytes: field(24)?.saturating_mul(page_size() as u64),
            memory: Resident::default(),
            inherited: (0, Time(0)),
            cores: None,
        },
        reaped_ns: nanoseconds(field(16)? + field(17)?),
    })
}

/// How many threads of a process run or could run, the one that asks left out.
fn runnable_in(pid: u32) -> u64 {
    let is_runnable = |(_, stat): &(u32, String)| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" R"))
    };
    threads_of(pid).filter(is_runnable).count() as u64
}

/// Processor time so far of each thread of this process, the one that asks left out.
fn threads_cpu_ns() -> Vec<(u32, u64)> {
    let cpu_ns = |(id, stat): (u32, String)| Some((id, parse(id, &stat)?.own.cpu_ns));
    threads_of(std::process::id()).filter_map(cpu_ns).collect()
}

/// How many threads computed between two looks at them. One that is new has done so since the first look.
fn computed_since(before: &[(u32, u64)], now: &[(u32, u64)]) -> u64 {
    if before.is_empty() {
        return 0;
    }
    let has_computed = |(id, cpu_ns): &&(u32, u64)| {
        let was = before.iter().find(|(was, _)| was == id);
        cpu_ns.saturating_sub(was.map_or(0, |(_, before)| *before)) >= COMPUTED_NS
    };
    now.iter().filter(has_computed).count() as u64
}

/// The threads of a process and what the kernel says of each, the one that asks left out.
fn threads_of(pid: u32) -> impl Iterator<Item = (u32, String)> {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let others = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter(move |thread| thread.file_name() != own.as_str());
    others.filter_map(|thread| {
        let id = thread.file_name().to_str()?.parse().ok()?;
        Some((id, fs::read_to_string(thread.path().join("stat")).ok()?))
    })
}

/// The first line is that of all cores together; a core that waits for a disk could do something else.
fn parse_idle(text: &str) -> Option<u64> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?;
    let mut ticks = fields.split_ascii_whitespace().skip(3);
    let mut next = || ticks.next()?.parse::<u64>().ok();
    Some(nanoseconds(next()? + next()?))
}

/// Each has a line of its own.
fn parse_cores(text: &str) -> Option<u32> {
    let names = text.lines().filter_map(|line| line.strip_prefix("cpu"));
    let cores = names.filter(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    u32::try_from(cores.count()).ok().filter(|&count| count > 0)
}

fn nanoseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / clock_ticks_per_second().max(1))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_could_run_are_counted_whether_there_is_a_core_for_them_or_not() {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            while runnable_in(std::process::id()) < 20 {}
            // They have run by now, some perhaps for less than what is counted.
            let mut usage = Usage::default().now(Time(1_000_000_000), std::iter::empty(), 0);
            while usage.computing < 20 {
                std::thread::yield_now();
                let later = Time(usage.base.0.0 + 1_000_000_000);
                let before = usage.threads.clone();
                usage = usage.now(later, std::iter::empty(), 0);
                usage.threads = before;
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_thread_that_is_new_computes_as_soon_as_it_has_taken_time() {
        let before = [(1, 5 * COMPUTED_NS), (2, 0)];
        let now = [
            (1, 5 * COMPUTED_NS),
            (2, COMPUTED_NS),
            (3, COMPUTED_NS),
            (4, 1),
        ];
        assert_eq!(computed_since(&before, &now), 2);
        // What they did before the first look of all is no news.
        assert_eq!(computed_since(&[], &now), 0);
    }

    #[test]
    fn idle_time_is_that_of_all_cores_and_of_waiting_for_disks() {
        let text = "cpu  10 20 30 400 50 6 7 8 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(parse_idle(text), Some(nanoseconds(450)));
        assert_eq!(parse_cores(text), Some(1));
        assert_eq!(parse_cores("intr 1 2 3\n"), None);
        for garbage in ["", "cpu", "cpu  1 2 3", "cpu  1 2 3 x 5", "cpu0 1 2 3 4 5"] {
            assert_eq!(parse_idle(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let usage = Usage::default().now(Time(0), std::iter::empty(), 0);
        let [own] = usage.processes[..] else {
            panic!("it runs: {usage:?}");
        };
        assert_eq!(own.pid, std::process::id());
        assert!(own.resident_bytes > 0);
        assert_eq!(usage.cpu_ns, own.cpu_ns);
    }

    #[test]
    fn programs_that_a_worker_runs_count_for_it() {
        let script =
            "sh -c 'while :; do :; done' & read line; kill $!; wait $!; echo waited; read line";
        let mut worker = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pid = worker.id();
        let used = || {
            Usage::default()
                .now(Time(0), std::iter::once(pid), 0)
                .processes[1]
                .cpu_ns
        };
        // Counted as it runs, in a process that itself does nothing.
        let enough_ns = 100_000_000;
        while used() < enough_ns {
            std::thread::yield_now();
        }
        assert!(of_process(pid).expect("it runs").own.cpu_ns < enough_ns);
        let stdin = worker.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("it reads");
        let mut said = [0; 6];
        let stdout = worker.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut said).expect("it writes");
        assert!(used() >= enough_ns, "and after its end");
        drop(worker.stdin.take());
        worker.wait().expect("a child");
    }

    #[test]
    fn the_time_of_processes_that_are_gone_still_counts() {
        let was = Usage {
            processes: vec![ProcessUsage {
                pid: u32::MAX,
                cpu_ns: 7,
                resident_bytes: 1,
                memory: Resident::default(),
                inherited: (0, Time(0)),
                cores: None,
            }],
            cpu_ns: 7,
            gone_cpu_ns: 5,
            ..Usage::default()
        };
        let is = was.now(Time(0), std::iter::once(u32::MAX), 0);
        assert_eq!(is.processes.len(), 1);
        assert_eq!(is.cpu_ns, 12 + is.processes[0].cpu_ns);
    }

    #[test]
    fn what_was_never_seen_to_run_counts_as_the_kernel_reckoned_it_at_its_end() {
        let second = 1_000_000_000;
        let was = Usage::default().now(Time(0), std::iter::empty(), 0);
        let is = was.now(Time(second), std::iter::empty(), 5 * second);
        assert_eq!(is.cpu_ns, 5 * second + is.processes[0].cpu_ns);
        // One that is gone and not yet reckoned with does not turn the counter back.
        let seen = Usage {
            cpu_ns: is.cpu_ns + second,
            ..is
        };
        let later = seen.now(Time(2 * second), std::iter::empty(), 5 * second);
        assert!(later.cpu_ns >= seen.cpu_ns);
    }

    #[test]
    fn a_rate_is_that_of_the_last_second_or_more() {
        let (second, pid) = (1_000_000_000, std::process::id());
        let base = (Time(0), vec![(pid, 0)]);
        let was = Usage {
            base,
            ..Usage::default()
        };
        let soon = was.now(Time(second / 2), std::iter::empty(), 0);
        assert_eq!(soon.processes[0].cores, None);
        let later = soon.now(Time(second * 2), std::iter::empty(), 0);
        let busy = Duration::from_nanos(later.processes[0].cpu_ns).as_secs_f64() / 2.0;
        assert!((later.processes[0].cores.expect("a rate") - busy).abs() < 1e-9);
        assert_eq!(later.base.0, Time(second * 2));
    }

    #[test]
    fn a_name_with_parentheses_and_garbage_are_no_trouble() {
        let fields: Vec<String> = (3..=30).map(|number| number.to_string()).collect();
        let text = format!("1 (a) b (c) {}", fields.join(" "));
        let stat = parse(1, &text).expect("well-formed");
        let tick_ns = 1_000_000_000 / clock_ticks_per_second();
        assert_eq!(
            (stat.own.cpu_ns, stat.reaped_ns),
            (29 * tick_ns, 33 * tick_ns)
        );
        assert_eq!(stat.own.resident_bytes, 24 * page_size() as u64);
        for garbage in ["", "1 (a", "1 (a) R", "1 (a) R x y z"] {
            assert_eq!(parse(1, garbage), None);
        }
    }
}
