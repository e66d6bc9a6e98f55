//! What Python code tasks run: stacks of worker processes, taken many times a second while somebody
//! wants to know.
//!
//! Stacks are kept as leaves of one tree of calls, with their time and function, so that any part of
//! the run can be added up. The tree, the names in it and the stacks are bounded; a stack that does
//! not fit is counted at the last of its frames that does.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{GroupId, TaskId, Time, WorkerId};
use lineshaft_engine::Stack;
use rustc_hash::FxHashMap;

use crate::limits;

/// A frame in the tree of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    /// The frame that called it; itself for the root.
    pub(crate) parent: u32,
    /// Its name.
    frame: u32,
}

/// A stack that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) at: Time,
    pub(crate) group: GroupId,
    /// The innermost frame.
    pub(crate) leaf: u32,
    /// Time that it stands for.
    pub(crate) stands_for_ms: u32,
    /// What taking it cost, or the one before it: processor time of its worker, and of this program.
    pub(crate) took_us: u32,
}

// So many of them are kept.
const _: () = assert!(size_of::<Taken>() <= 24);

/// The last stack of a worker, in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Latest {
    pub(crate) at: Time,
    pub(crate) task: TaskId,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct Profile {
    /// Until when stacks are taken.
    wanted_until: Time,
    names: Vec<Box<str>>,
    index: FxHashMap<Box<str>, u32>,
    /// The first one is the root.
    nodes: Vec<Node>,
    children: FxHashMap<(u32, u32), u32>,
    taken: VecDeque<Taken>,
    taken_max: usize,
    nodes_max: usize,
    /// Stacks that are gone, being the oldest.
    pub(crate) dropped: u64,
    /// Stacks that are cut off, because the tree was full.
    pub(crate) cut: u64,
    latest: FxHashMap<WorkerId, Latest>,
    /// Processor time of this program that no stack has been charged with.
    uncharged: Duration,
}

const ROOT: u32 = 0;

impl Default for Profile {
    fn default() -> Profile {
        Profile::with_bounds(limits::STACKS_MAX, limits::FRAMES_MAX)
    }
}

impl Profile {
    fn with_bounds(taken_max: usize, nodes_max: usize) -> Profile {
        Profile {
            wanted_until: Time(0),
            names: vec!["".into()],
            index: FxHashMap::default(),
            nodes: vec![Node {
                parent: ROOT,
                frame: 0,
            }],
            children: FxHashMap::default(),
            taken: VecDeque::new(),
            taken_max,
            nodes_max,
            dropped: 0,
            cut: 0,
            latest: FxHashMap::default(),
            uncharged: Duration::ZERO,
        }
    }

    /// Somebody wants to know; true if nobody did until now.
    pub(crate) fn want(&mut self, now: Time) -> bool {
        let was_wanted = self.is_wanted(now);
        self.wanted_until = now + limits::PROFILE_WANTED;
        !was_wanted
    }

    pub(crate) fn is_wanted(&self, now: Time) -> bool {
        now < self.wanted_until
    }

    pub(crate) fn add(&mut self, at: Time, group: GroupId, stack: Stack) {
        let Stack {
            worker,
            task,
            text,
            stands_for,
            took,
        } = stack;
        let leaf = self.enter(&frames(&text));
        if self.taken.len() == self.taken_max {
            self.taken.pop_front();
            self.dropped += 1;
        }
        let took = took + std::mem::take(&mut self.uncharged);
        self.taken.push_back(Taken {
            at,
            group,
            leaf,
            stands_for_ms: small(stands_for.as_millis()),
            took_us: small(took.as_micros()),
        });
        let text = without_ours(&text);
        self.latest.insert(worker, Latest { at, task, text });
    }

    /// Taking stacks and putting them here has taken so much processor time of this program.
    pub(crate) fn charge(&mut self, took: Duration) {
        self.uncharged += took;
    }

    /// The last stack of a worker that is not older than the question for it.
    pub(crate) fn latest(&self, worker: WorkerId, task: TaskId) -> Option<&Latest> {
        let latest = self.latest.get(&worker)?;
        (latest.task == task).then_some(latest)
    }

    /// Forgets workers that are gone.
    pub(crate) fn keep(&mut self, is_there: impl Fn(WorkerId) -> bool) {
        self.latest.retain(|worker, _| is_there(*worker));
    }

    /// What was taken between these times, of one group or all.
    pub(crate) fn between(
        &self,
        from: Time,
        to: Time,
        group: Option<GroupId>,
    ) -> impl Iterator<Item = &Taken> {
        let first = self.taken.partition_point(|taken| taken.at < from);
        let within = self.taken.range(first..);
        within
            .take_while(move |taken| taken.at <= to)
            .filter(move |taken| group.is_none_or(|group| taken.group == group))
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn name(&self, node: u32) -> &str {
        &self.names[self.nodes[node as usize].frame as usize]
    }

    /// The leaf for frames, outermost first.
    fn enter(&mut self, frames: &[String]) -> u32 {
        let mut node = ROOT;
        for name in frames {
            let frame = self.frame(name);
            node = match self.children.get(&(node, frame)) {
                Some(child) => *child,
                None if self.nodes.len() >= self.nodes_max => {
                    self.cut += 1;
                    break;
                }
                None => {
                    let child = u32::try_from(self.nodes.len()).expect("bounded");
                    self.nodes.push(Node {
                        parent: node,
                        frame,
                    });
                    self.children.insert((node, frame), child);
                    child
                }
            };
        }
        node
    }

    fn frame(&mut self, name: &str) -> u32 {
        if let Some(frame) = self.index.get(name) {
            return *frame;
        }
        // There are no more names than nodes; what has no place is named like the root.
        if self.names.len() >= self.nodes_max {
            return 0;
        }
        let frame = u32::try_from(self.names.len()).expect("bounded");
        self.names.push(name.into());
        self.index.insert(name.into(), frame);
        frame
    }
}

fn small(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The frames of the task, outermost first. Each is the function and the end of its file's path. What the worker does
/// before and after the call is one frame.
fn frames(text: &str) -> Vec<String> {
    let mut innermost_first: Vec<(&str, &str)> = lines_of_task(text).filter_map(frame).collect();
    let phase = phase(text).or_else(|| phase_of(*innermost_first.last()?));
    if phase.is_some() {
        while innermost_first
            .pop_if(|(file, _)| is_of_lineshaft(file))
            .is_some()
        {}
    } else if innermost_first.is_empty() {
        return vec![NOT_PYTHON.into()];
    }
    let outermost_first = innermost_first.into_iter().rev();
    let names = outermost_first.map(|(file, function)| {
        let mut name = format!("{function} ({})", short(file));
        truncate(&mut name, limits::FRAME_BYTES_MAX);
        name
    });
    let beyond = text.ends_with(MORE_FRAMES).then(|| TOO_DEEP.to_owned());
    let outermost = phase.map(str::to_owned).or(beyond);
    outermost.into_iter().chain(names).collect()
}

/// What the worker says that it does itself, such as `[storing the result]`; nothing while the call runs.
fn phase(text: &str) -> Option<&str> {
    let phase = of_task(text).next()?.strip_prefix("  ")?;
    (phase.starts_with('[') && phase.ends_with(']')).then_some(phase)
}

/// What it does in this frame: it stores what single items of a batch returned before the batch has.
fn phase_of((file, function): (&str, &str)) -> Option<&'static str> {
    let stores = is_of_lineshaft(file) && function.starts_with("dumps_");
    stores.then_some("[storing the result]")
}

/// What the worker writes behind the frames that it shows, if there are more.
const MORE_FRAMES: &str = "\n  ...";

/// What is said instead of the outer frames of such a stack.
const TOO_DEEP: &str = "outer frames: too many to be shown";

/// What is said of a task that is a function of an extension module, or came from one to its end.
const NOT_PYTHON: &str = "no Python code: in an extension module until the call returned";

/// The stack of the task only, innermost frame first, as people read it.
fn without_ours(text: &str) -> String {
    let mut lines: Vec<&str> = lines_of_task(text).collect();
    lines.extend(phase(text));
    if lines.is_empty() {
        NOT_PYTHON.into()
    } else {
        lines.join("\n")
    }
}

/// The lines of the main thread, innermost frame first, up to where Lineshaft calls the task.
fn lines_of_task(text: &str) -> impl Iterator<Item = &str> {
    let lines = of_task(text).skip(usize::from(phase(text).is_some()));
    lines.take_while(|line| frame(line).is_some_and(|(file, _)| !is_ours(file)))
}

/// The lines of the main thread.
fn of_task(text: &str) -> impl Iterator<Item = &str> {
    // It is the last one.
    let start = text.rfind("(most recent call first):");
    text[start.unwrap_or(0)..].lines().skip(1)
}

/// File and function of a line such as `  File "a/b.py", line 3 in f`.
fn frame(line: &str) -> Option<(&str, &str)> {
    let (file, rest) = line.strip_prefix("  File \"")?.split_once("\", line ")?;
    let (_, function) = rest.split_once(" in ")?;
    Some((file, function))
}

/// Whether it is the code around tasks. Tasks call other parts of Lineshaft, and these are not.
fn is_ours(file: &str) -> bool {
    let own = [
        "lineshaft/_worker.py",
        "lineshaft/_batch.py",
        "lineshaft/_chunks.py",
    ];
    own.iter().any(|end| file.ends_with(end))
}

fn is_of_lineshaft(file: &str) -> bool {
    file.contains("/lineshaft/")
}

/// The last two parts of a path.
fn short(file: &str) -> &str {
    let mut slashes = file.rmatch_indices('/').map(|(at, _)| at + 1);
    let second = slashes.nth(1).unwrap_or(0);
    &file[second..]
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "Thread 0x00007f01 (most recent call first):
  File \"/usr/lib/python3/threading.py\", line 324 in wait

Current thread 0x00007f02 [python] (most recent call first):
  File \"/home/me/job/flights.py\", line 12 in inner
  File \"/home/me/job/flights.py\", line 20 in outer
  File \"/site-packages/lineshaft/_batch.py\", line 7 in run
  File \"/site-packages/lineshaft/_worker.py\", line 99 in main
  File \"<string>\", line 1 in <module>
";

    fn stack(worker: u32, task: u64, functions: &[&str]) -> Stack {
        let lines = functions
            .iter()
            .map(|function| format!("  File \"a/b/c.py\", line 1 in {function}\n"));
        Stack {
            worker: WorkerId(worker),
            task: TaskId(task),
            text: format!(
                "Current thread 0x1 (most recent call first):\n{}",
                lines.collect::<String>()
            ),
            stands_for: Duration::from_millis(100),
            took: Duration::from_micros(20),
        }
    }

    #[test]
    fn the_frames_are_those_of_the_task() {
        assert_eq!(
            frames(DUMP),
            ["outer (job/flights.py)", "inner (job/flights.py)"]
        );
        let expected = "  File \"/home/me/job/flights.py\", line 12 in inner
  File \"/home/me/job/flights.py\", line 20 in outer";
        assert_eq!(without_ours(DUMP), expected);
        let deep = "Current thread (most recent call first):\n  File \"a.py\", line 1 in f\n  ...";
        assert_eq!(frames(deep), [TOO_DEEP, "f (a.py)"]);
        let stored = "Current thread (most recent call first):
  [storing the result]
  File \"a/b.py\", line 1 in __reduce__
  File \"/site-packages/lineshaft/_serial/worker.py\", line 9 in dumps_result
  File \"/site-packages/lineshaft/_worker.py\", line 99 in main";
        let expected = ["[storing the result]", "__reduce__ (a/b.py)"];
        assert_eq!(frames(stored), expected);
        let of_item = stored.replace("  [storing the result]\n", "");
        assert_eq!(frames(&of_item), expected);
        let native = "Current thread (most recent call first):
  [loading the call]
  File \"/site-packages/lineshaft/_worker.py\", line 99 in main";
        assert_eq!(frames(native), ["[loading the call]"]);
        assert_eq!(without_ours(native), "[loading the call]");
        for garbage in [
            "",
            "File",
            "  File \"",
            "Thread (most recent call first):\n  ...",
        ] {
            assert_eq!(frames(garbage), [NOT_PYTHON], "{garbage}");
        }
    }

    #[test]
    fn equal_stacks_are_one_leaf_and_everything_is_bounded() {
        let mut profile = Profile::with_bounds(10, 50);
        for number in 0..1_000_u64 {
            // Innermost first, as the handler writes them.
            let inner = format!("inner{}", number % 100);
            let at = Time(number);
            profile.add(at, GroupId(1), stack(1, number, &[&inner, "outer"]));
        }
        assert_eq!((profile.taken.len(), profile.dropped), (10, 990));
        assert_eq!(profile.nodes.len(), 50);
        assert!(profile.names.len() <= 50);
        // Two nodes are the root and `outer`; 48 of 100 inner functions have a place.
        assert_eq!(profile.cut, 1_000 - 48 * 10);
        let all = profile.between(Time(0), Time(2_000), None);
        assert_eq!(all.count(), 10);
        assert_eq!(profile.between(Time(995), Time(996), None).count(), 2);
        let other = Some(GroupId(2));
        assert_eq!(profile.between(Time(0), Time(2_000), other).count(), 0);
        assert!(profile.latest(WorkerId(1), TaskId(999)).is_some());
        assert!(profile.latest(WorkerId(1), TaskId(998)).is_none());
        profile.keep(|_| false);
        assert!(profile.latest(WorkerId(1), TaskId(999)).is_none());
    }

    #[test]
    fn what_this_program_took_is_charged_to_a_stack_once() {
        let mut profile = Profile::default();
        profile.charge(Duration::from_micros(5));
        profile.charge(Duration::from_micros(6));
        for task in 0..2 {
            profile.add(Time(task), GroupId(1), stack(1, task, &["f"]));
        }
        let took = profile.taken.iter().map(|taken| taken.took_us);
        assert!(took.eq([31, 20]));
    }

    #[test]
    fn it_is_wanted_for_a_while() {
        let mut profile = Profile::default();
        assert!(!profile.is_wanted(Time(0)));
        assert!(profile.want(Time(0)));
        assert!(!profile.want(Time(1)));
        assert!(!profile.is_wanted(Time(1) + limits::PROFILE_WANTED));
    }
}
