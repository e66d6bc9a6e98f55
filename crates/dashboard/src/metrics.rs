//! The engine's numbers in the text format of Prometheus.

use std::fmt::{Display, Write};

use lineshaft_core::GroupId;
use lineshaft_engine::{GroupName, Owned, Owner};

use crate::picture::Picture;
use crate::view::GroupRow;

/// Groups with metrics of their own; a gauge says how many more there are.
const GROUPS_MAX: usize = 1_000;

impl Picture {
    pub(crate) fn metrics(&self) -> String {
        let mut text = Text::default();
        self.write_tasks(&mut text);
        self.write_groups(&mut text);
        self.write_workers(&mut text);
        self.write_usage(&mut text);
        self.write_memory(&mut text);
        text.text
    }

    fn write_tasks(&self, text: &mut Text) {
        let tasks = self.task_counts();
        text.family("lineshaft_tasks", "gauge", "Tasks that have not ended.");
        for (state, count) in [
            ("waiting", tasks.waiting),
            ("ready", tasks.ready),
            ("backoff", tasks.backoff),
            ("ahead", tasks.ahead),
            ("running", tasks.running),
            ("blocked", tasks.blocked),
        ] {
            text.labelled("state", state, count);
        }
        text.single(
            "lineshaft_tasks_submitted_total",
            "counter",
            "Tasks submitted.",
            tasks.submitted,
        );
        text.family(
            "lineshaft_tasks_ended_total",
            "counter",
            "Tasks that have ended.",
        );
        for (outcome, count) in [
            ("finished", tasks.finished),
            ("failed", tasks.failed),
            ("dropped", tasks.dropped),
        ] {
            text.labelled("outcome", outcome, count);
        }
        let help = "Attempts that failed and were followed by another.";
        text.single(
            "lineshaft_attempts_retried_total",
            "counter",
            help,
            tasks.retried,
        );
    }

    fn write_groups(&self, text: &mut Text) {
        let (rows, more) = self.group_rows(GROUPS_MAX);
        // What a group is shown as may change, its labels do not.
        let names = rows.iter().map(|row| self.group_name(GroupId(row.group)));
        let names: Vec<GroupName> = names.collect();
        let groups: Vec<(&GroupRow, &GroupName)> = rows.iter().zip(&names).collect();
        text.family(
            "lineshaft_group_tasks_finished_total",
            "counter",
            "Tasks that returned.",
        );
        for (row, name) in &groups {
            text.of_group(name, row.finished);
        }
        let help = "Tasks that were cancelled, or needed a task without a result.";
        text.family("lineshaft_group_tasks_dropped_total", "counter", help);
        for (row, name) in &groups {
            text.of_group(name, row.dropped);
        }
        let help = "Attempts that raised, ran out of time or lost their worker.";
        text.family("lineshaft_group_failures_total", "counter", help);
        for (row, name) in &groups {
            text.of_group(name, row.failed + row.retried);
        }
        let help = "Time that calls ran that returned or raised, without waits for other tasks.";
        text.family("lineshaft_group_run_seconds_total", "counter", help);
        for (row, name) in &groups {
            text.of_group(name, row.total_s);
        }
        let help = "Time that calls which returned or raised waited for other tasks.";
        text.family("lineshaft_group_wait_seconds_total", "counter", help);
        for (row, name) in &groups {
            text.of_group(name, row.waited_s);
        }
        let help = "Groups without metrics of their own.";
        text.single("lineshaft_groups_unlisted", "gauge", help, more);
    }

    fn write_workers(&self, text: &mut Text) {
        let workers = self.worker_counts();
        text.family(
            "lineshaft_workers",
            "gauge",
            "Workers; the threads of a pool are one.",
        );
        text.labelled("state", "busy", workers.up - workers.idle);
        text.labelled("state", "idle", workers.idle);
        text.labelled("state", "starting", workers.starting);
        let help = "Worker processes that died under a task or without being asked to end.";
        text.single(
            "lineshaft_worker_deaths_total",
            "counter",
            help,
            workers.died,
        );
        let help = "Worker processes that were started in the stead of another one, by the name of their pools.";
        text.family("lineshaft_worker_restarts_total", "counter", help);
        for (name, restarts) in &self.totals.pools.restarts {
            text.labelled("pool", name, *restarts);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "processor time to a nanosecond")]
    fn write_usage(&self, text: &mut Text) {
        let cores = &self.totals.counts;
        let help = "Cores that running tasks take of the budget.";
        text.single("lineshaft_cores_taken", "gauge", help, cores.cores_used);
        let budget = cores.cores_max.unwrap_or(0);
        text.single(
            "lineshaft_cores_budget",
            "gauge",
            "Cores that they may take.",
            budget,
        );
        let cpu_s = self.usage.cpu_ns as f64 / 1e9;
        let help = "Processor time of this process and its workers.";
        text.single("lineshaft_cpu_seconds_total", "counter", help, cpu_s);
        text.family(
            "lineshaft_resident_bytes",
            "gauge",
            "Resident memory of this process and its workers; pages that several share count in each.",
        );
        for process in &self.usage.processes {
            text.labelled("pid", process.pid, process.resident_bytes);
        }
    }

    fn write_memory(&self, text: &mut Text) {
        let memory = self.memory();
        let help = "Objects in shared memory.";
        text.single("lineshaft_store_bytes", "gauge", help, memory.used_bytes);
        let help = "Memory that objects may take.";
        text.single(
            "lineshaft_store_budget_bytes",
            "gauge",
            help,
            memory.budget_bytes,
        );
        let help = "Objects on disk.";
        text.single(
            "lineshaft_store_spilled_bytes",
            "gauge",
            help,
            memory.spilled_bytes,
        );
        let help = "Objects moved to disk, or written there at once.";
        text.single(
            "lineshaft_store_spills_total",
            "counter",
            help,
            memory.spills,
        );
        text.single(
            "lineshaft_store_objects",
            "gauge",
            "Objects, wherever they are.",
            memory.objects,
        );
        self.write_owners(text);
    }

    /// Of whoever wrote something that went to disk.
    fn write_owners(&self, text: &mut Text) {
        let owners = &self.totals.owners;
        let spilled = || {
            let all = owners.by_owner.iter();
            all.filter(|(_, owned)| owned.spilled_bytes > 0)
        };
        let name = |owner: &Owner| match owner {
            Owner::Program => "program".to_owned(),
            Owner::Worker(number) => number.to_string(),
        };
        let mut family = |family, kind, help, number: fn(&Owned) -> u64| {
            text.family(family, kind, help);
            for (owner, owned) in spilled() {
                text.labelled("worker", name(owner), number(owned));
            }
        };
        let help = "Objects on disk, by the worker that wrote them, or the program.";
        family("lineshaft_worker_disk_bytes", "gauge", help, |owned| {
            owned.disk_bytes
        });
        let help = "Objects that went to disk, by the worker that wrote them, or the program.";
        let counter = "lineshaft_worker_spilled_bytes_total";
        family(counter, "counter", help, |owned| owned.spilled_bytes);
        let others = owners.forgotten_bytes;
        if others > 0 {
            text.labelled("worker", "forgotten", others);
        }
    }
}

/// Metrics, family by family.
#[derive(Default)]
struct Text {
    text: String,
    /// The family that samples are added to.
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn labelled(&mut self, label: &str, of: impl Display, value: impl Display) {
        let (name, of) = (self.name, quoted(&of.to_string()));
        self.line(format_args!("{name}{{{label}={of}}} {value}"));
    }

    fn of_group(&mut self, group: &GroupName, value: impl Display) {
        if group.module.is_empty() {
            return self.labelled("group", &group.name, value);
        }
        let (name, group, module) = (self.name, quoted(&group.name), quoted(&group.module));
        self.line(format_args!(
            "{name}{{group={group},module={module}}} {value}"
        ));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes everything");
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_contains_does_not_end_it() {
        let mut text = Text::default();
        text.family("m", "gauge", "Help.");
        text.labelled("group", "a\"} 1\n\\", 2);
        assert_eq!(
            text.text,
            "# HELP m Help.\n# TYPE m gauge\nm{group=\"a\\\"} 1\\n\\\\\"} 2\n"
        );
    }
}
