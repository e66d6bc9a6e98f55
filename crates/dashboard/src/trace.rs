//! A run as a trace in Chrome's format, which Perfetto and `chrome://tracing` open.
//!
//! One track for each lane, a slice for each attempt, and in it one for each of its phases where these are
//! known; counters for tasks, cores and memory. What a slice carries beside its times: the task, and how
//! long it was queued, if that is known.

use std::io::{self, Write};
use std::time::Duration;

use lineshaft_core::Time;
use serde::Serialize;

use crate::lanes::Bar;
use crate::picture::Picture;

/// What is in a trace, and what is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traced {
    /// Slices in it.
    pub attempts: u64,
    /// Attempts that are not: their bars were dropped, being the oldest, or never were.
    pub attempts_missing: u64,
    /// Events that were overwritten before they were read: attempts of which nothing is known.
    pub events_missed: u64,
}

/// One entry, as the format has it.
#[derive(Serialize)]
struct Entry<'a, A: Serialize> {
    name: &'a str,
    /// What a slice is of: an attempt, or a phase of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    /// The kind: a slice, a counter, or metadata.
    ph: char,
    /// Microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: usize,
    args: A,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Order {
    sort_index: usize,
}

#[derive(Serialize)]
struct Slice {
    task: u64,
    outcome: &'static str,
    /// From when the task could run until it was handed to its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<f64>,
    /// From then until that began with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_ms: Option<f64>,
    /// What of the slice its call waited for other tasks, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<f64>,
}

/// What is said of a phase beside its times: nothing.
#[derive(Serialize)]
struct Phase {}

#[derive(Serialize)]
struct Tasks {
    running: u64,
    blocked: u64,
    ahead: u64,
    ready: u64,
    backoff: u64,
    waiting: u64,
}

#[derive(Serialize)]
struct Bytes {
    memory: u64,
    disk: u64,
}

/// A trace that has been taken of a picture, and needs it no more.
pub(crate) struct Trace {
    lanes: Vec<(String, Vec<(Bar, Slice)>)>,
    names: rustc_hash::FxHashMap<u32, String>,
    samples: Vec<crate::view::SampleRow>,
    origin: Time,
    pub(crate) traced: Traced,
}

impl Picture {
    pub(crate) fn trace(&self) -> Trace {
        let mut names = rustc_hash::FxHashMap::default();
        let mut lanes = Vec::new();
        let mut traced = Traced {
            attempts: 0,
            attempts_missing: self.lanes.dropped() + self.lanes.unplaced,
            events_missed: self.missed,
        };
        for worker in self.lanes.workers() {
            for (number, running) in self.running_by_lane(worker).into_iter().enumerate() {
                let lane = worker.lanes.get(number);
                let ended = lane.into_iter().flat_map(|lane| lane.bars.iter().copied());
                let slices = ended.chain(running).map(|bar| {
                    let name = || self.group_label(bar.group);
                    names.entry(bar.group.0).or_insert_with(name);
                    (bar, self.slice(&bar))
                });
                let slices: Vec<(Bar, Slice)> = slices.collect();
                traced.attempts += slices.len() as u64;
                lanes.push((worker.label(number), slices));
            }
        }
        Trace {
            lanes,
            names,
            samples: self.whole_run(),
            origin: self.origin,
            traced,
        }
    }

    fn slice(&self, bar: &Bar) -> Slice {
        // Of a task that was run again only the last attempt's times are kept.
        let task = self.tasks.get(bar.task);
        let task = task.filter(|task| task.assigned <= bar.start);
        let ms = |from: Time, to: Time| {
            (from <= to && to != Time::NEVER).then(|| (to - from).as_secs_f64() * 1e3)
        };
        Slice {
            task: bar.task.0,
            outcome: bar.end.word(),
            queued_ms: task.and_then(|task| ms(task.ready, task.assigned)),
            waited_ms: (bar.waited_ns > 0).then(|| bar.waited().as_secs_f64() * 1e3),
            fetch_ms: task.and_then(|task| ms(task.assigned, bar.start)),
        }
    }
}

impl Trace {
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        // The viewer groups tracks by process; these are all of one program.
        let pid = std::process::id();
        let mut list = List { to, is_first: true };
        list.to
            .write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
        list.metadata("process_name", pid, 0, &Name { name: "lineshaft" })?;
        for (number, (label, slices)) in self.lanes.iter().enumerate() {
            let tid = number + 1;
            list.metadata("thread_name", pid, tid, &Name { name: label })?;
            list.metadata("thread_sort_index", pid, tid, &Order { sort_index: tid })?;
            for (bar, slice) in slices {
                list.push(&Entry {
                    name: self.names.get(&bar.group.0).map_or("task", String::as_str),
                    cat: Some("task"),
                    ph: 'X',
                    ts: self.micros(bar.start),
                    dur: Some(bar.ran.as_secs_f64() * 1e6),
                    pid,
                    tid,
                    args: slice,
                })?;
                for (name, start, lasts) in phases(bar) {
                    list.push(&Entry {
                        name,
                        cat: Some("phase"),
                        ph: 'X',
                        ts: self.micros(start),
                        dur: Some(lasts.as_secs_f64() * 1e6),
                        pid,
                        tid,
                        args: Phase {},
                    })?;
                }
            }
        }
        self.write_counters(&mut list, pid)?;
        list.to.write_all(b"\n]}\n")
    }

    fn write_counters(&self, list: &mut List<'_>, pid: u32) -> io::Result<()> {
        for (number, sample) in self.samples.iter().enumerate() {
            let ts = sample.at_s * 1e6;
            let tasks = Tasks {
                running: sample.running,
                blocked: sample.blocked,
                ahead: sample.ahead,
                ready: sample.ready,
                backoff: sample.backoff,
                waiting: sample.waiting,
            };
            list.counter("tasks", pid, ts, &tasks)?;
            let bytes = Bytes {
                memory: sample.memory_bytes,
                disk: sample.spilled_bytes,
            };
            list.counter("store (bytes)", pid, ts, &bytes)?;
            // A rate holds from its sample until the next one.
            let Some(next) = self.samples.get(number + 1) else {
                continue;
            };
            let busy = (next.cpu_s - sample.cpu_s) / (next.at_s - sample.at_s).max(1e-9);
            list.counter(
                "cores busy",
                pid,
                ts,
                &serde_json::json!({ "cores": busy.max(0.0) }),
            )?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    fn micros(&self, at: Time) -> f64 {
        (at.0.cast_signed() - self.origin.0.cast_signed()) as f64 / 1e3
    }
}

/// The phases of an attempt, when each began and how long it took; none if they are not known.
fn phases(bar: &Bar) -> impl Iterator<Item = (&'static str, Time, Duration)> {
    let (load, store) = (bar.phases.load(), bar.phases.store());
    let run = bar.ran.saturating_sub(load + store);
    let are_known = !load.is_zero() || !store.is_zero();
    let stored = if bar.phases.spilled { "spill" } else { "store" };
    let called = bar.start + load;
    let all = [
        ("load", bar.start, load),
        ("run", called, run),
        (stored, called + run, store),
    ];
    all.into_iter()
        .filter(move |(.., lasts)| are_known && !lasts.is_zero())
}

/// Entries with commas between them.
struct List<'a> {
    to: &'a mut dyn Write,
    is_first: bool,
}

impl List<'_> {
    fn push(&mut self, entry: &impl Serialize) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.to.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *self.to, entry).map_err(io::Error::from)
    }

    fn metadata(
        &mut self,
        name: &str,
        pid: u32,
        tid: usize,
        args: &impl Serialize,
    ) -> io::Result<()> {
        self.push(&Entry {
            name,
            cat: None,
            ph: 'M',
            ts: 0.0,
            dur: None,
            pid,
            tid,
            args,
        })
    }

    fn counter(&mut self, name: &str, pid: u32, ts: f64, args: &impl Serialize) -> io::Result<()> {
        self.push(&Entry {
            name,
            cat: None,
            ph: 'C',
            ts,
            dur: None,
            pid,
            tid: 0,
            args,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::script::picture;

    fn entries(script: &str) -> Vec<Value> {
        let mut text = Vec::new();
        let trace = picture(script).trace();
        trace.write(&mut text).expect("a vector takes everything");
        let read: Value = serde_json::from_slice(&text).expect("JSON");
        read["traceEvents"].as_array().expect("a list").clone()
    }

    #[test]
    fn phases_are_slices_within_that_of_their_attempt() {
        let entries = entries(
            "0 up 1 1
             5 hand 1 1 7
             405 finish 1 100 30 20 0
             405 hand 2 1 7
             905 finish 2 100 0 60 1
             905 hand 3 1 7
             1400 finish 3 100",
        );
        let slices = entries.iter().filter(|entry| entry["ph"] == "X");
        let slices: Vec<String> = slices
            .map(|slice| {
                let [name, cat] = ["name", "cat"].map(|key| slice[key].as_str().expect("text"));
                format!("{cat} {name} {} {}", slice["ts"], slice["dur"])
            })
            .collect();
        assert_eq!(
            slices,
            [
                "task f7 5.0 100.0",
                "phase load 5.0 30.0",
                "phase run 35.0 50.0",
                "phase store 85.0 20.0",
                "task f7 505.0 100.0",
                "phase run 505.0 40.0",
                "phase spill 545.0 60.0",
                "task f7 1000.0 100.0",
            ]
        );
    }

    #[test]
    fn a_trace_has_a_track_for_each_lane_and_a_slice_for_each_attempt() {
        let picture = picture(
            "0 up 1 1
             0 up 2 2
             0 submit 1 7
             2 ready 1
             5 hand 1 1 7
             5 hand 2 2 8
             5 hand 3 2 8
             30 fail 2
             205 finish 3 200
             405 finish 1 100",
        );
        let trace = picture.trace();
        let mut text = Vec::new();
        trace.write(&mut text).expect("a vector takes everything");
        let read: Value = serde_json::from_slice(&text).expect("JSON");
        let entries = read["traceEvents"].as_array().expect("a list");
        let of_kind = |kind: &'static str| entries.iter().filter(move |entry| entry["ph"] == kind);
        let tracks: Vec<&Value> = of_kind("M")
            .filter(|entry| entry["name"] == "thread_name")
            .map(|entry| &entry["args"]["name"])
            .collect();
        assert_eq!(tracks, ["worker 1", "worker 2", "worker 2"]);
        let slices: Vec<&Value> = of_kind("X").collect();
        assert_eq!(slices.len(), 3);
        assert_eq!(trace.traced.attempts, 3);
        assert_eq!(slices[0]["name"], "f7");
        assert_eq!(slices[0]["args"]["queued_ms"], 0.003);
        assert_eq!(slices[0]["dur"], 100.0);
        assert_eq!(
            (&slices[0]["ts"], &slices[0]["args"]["fetch_ms"]),
            (&5.0.into(), &0.0.into())
        );
        assert_eq!(
            (&slices[1]["name"], &slices[1]["args"]["outcome"]),
            (&"f8".into(), &"failed".into())
        );
    }
}
