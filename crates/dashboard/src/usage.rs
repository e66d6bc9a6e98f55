//! What the processes of an engine use, as the kernel says.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// What one process uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ProcessUsage {
    pub(crate) pid: u32,
    /// Processor time so far, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory, in bytes. Pages that it shares with others count in each.
    pub(crate) resident_bytes: u64,
}

/// What all of them use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// This process and the workers that run.
    pub(crate) processes: Vec<ProcessUsage>,
    /// Processor time of all processes so far, in nanoseconds; of those that are gone, what was
    /// last seen.
    pub(crate) cpu_ns: u64,
    gone_cpu_ns: u64,
}

impl Usage {
    /// The usage now of this process and these workers.
    pub(crate) fn now(&self, workers: impl Iterator<Item = u32>) -> Usage {
        let pids = std::iter::once(std::process::id()).chain(workers);
        let processes: Vec<ProcessUsage> = pids.filter_map(of_process).collect();
        let is_gone = |was: &&ProcessUsage| processes.iter().all(|is| is.pid != was.pid);
        let gone = self.processes.iter().filter(is_gone);
        let gone_cpu_ns = self.gone_cpu_ns + gone.map(|process| process.cpu_ns).sum::<u64>();
        let cpu_ns = gone_cpu_ns + processes.iter().map(|process| process.cpu_ns).sum::<u64>();
        Usage {
            processes,
            cpu_ns,
            gone_cpu_ns,
        }
    }
}

fn of_process(pid: u32) -> Option<ProcessUsage> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &text)
}

fn parse(pid: u32, text: &str) -> Option<ProcessUsage> {
    // Behind the name, which may contain anything; the first is field 3 of proc(5).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(ProcessUsage {
        pid,
        cpu_ns: ticks.saturating_mul(1_000_000_000 / clock_ticks_per_second().max(1)),
        resident_bytes: field(24)?.saturating_mul(page_size() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let usage = Usage::default().now(std::iter::empty());
        let [own] = usage.processes[..] else {
            panic!("it runs: {usage:?}");
        };
        assert_eq!(own.pid, std::process::id());
        assert!(own.resident_bytes > 0);
        assert_eq!(usage.cpu_ns, own.cpu_ns);
    }

    #[test]
    fn the_time_of_processes_that_are_gone_still_counts() {
        let was = Usage {
            processes: vec![ProcessUsage {
                pid: u32::MAX,
                cpu_ns: 7,
                resident_bytes: 1,
            }],
            cpu_ns: 7,
            gone_cpu_ns: 5,
        };
        let is = was.now(std::iter::once(u32::MAX));
        assert_eq!(is.processes.len(), 1);
        assert_eq!(is.cpu_ns, 12 + is.processes[0].cpu_ns);
    }

    #[test]
    fn a_name_with_parentheses_and_garbage_are_no_trouble() {
        let fields: Vec<String> = (3..=30).map(|number| number.to_string()).collect();
        let text = format!("1 (a) b (c) {}", fields.join(" "));
        let usage = parse(1, &text).expect("well-formed");
        assert_eq!(
            usage.cpu_ns,
            29 * (1_000_000_000 / clock_ticks_per_second())
        );
        assert_eq!(usage.resident_bytes, 24 * page_size() as u64);
        for garbage in ["", "1 (a", "1 (a) R", "1 (a) R x y z"] {
            assert_eq!(parse(1, garbage), None);
        }
    }
}
