//! Where tasks spend their time, as a tree of calls: what a flame graph is drawn of.

use std::cmp::Reverse;
use std::time::Duration;

use lineshaft_core::{GroupId, Time};
use serde::{Deserialize, Serialize};

use crate::picture::Picture;

/// Frames in one answer.
const FRAMES_SHOWN: usize = 2_000;

/// A part of what was seen.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileQuery {
    /// Of one function's tasks.
    pub group: Option<u32>,
    /// Not before this.
    pub from_s: Option<f64>,
    /// Not after this.
    pub to_s: Option<f64>,
}

/// Stacks, added up.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProfileTree {
    /// Stacks in it.
    pub stacks: u64,
    /// Time between two stacks of one worker, unless they take it too long.
    pub every_s: f64,
    /// Processor time that it took to take them: of the workers, and of this program. What they stand for is that of
    /// the first frame.
    pub took_s: f64,
    /// The first frame is what all begin with; each other one comes after the one that called it.
    pub frames: Vec<FrameRow>,
    /// Frames that are left out, each of less time than those that are there.
    pub frames_more: usize,
    /// Stacks that were too many to keep, of any time.
    pub dropped: u64,
    /// Stacks of which only the outer frames are known.
    pub cut: u64,
    /// Functions that stacks were seen of in this time, with how many.
    pub groups: Vec<ProfiledGroup>,
}

/// One frame.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FrameRow {
    /// The function and its file.
    pub name: String,
    /// The place in the list of the frame that called it; of the first one, itself.
    pub parent: usize,
    /// Stacks that it is in.
    pub stacks: u64,
    /// Time that these stand for, in milliseconds.
    pub all_ms: u64,
    /// The same of those that it is the innermost frame of.
    pub own_ms: u64,
}

/// One function.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProfiledGroup {
    /// Identity.
    pub group: u32,
    /// Its name.
    pub name: String,
    /// Stacks of its tasks.
    pub stacks: u64,
}

/// What is added up of a frame.
#[derive(Clone, Copy, Default)]
struct Sums {
    stacks: u64,
    all_ms: u64,
    own_ms: u64,
}

impl Picture {
    pub(crate) fn profile_tree(&self, query: &ProfileQuery) -> ProfileTree {
        let from = query.from_s.map_or(Time(0), |at| self.time(at));
        let to = query.to_s.map_or(Time::NEVER, |at| self.time(at));
        let profile = &self.profile;
        let nodes = profile.nodes();
        let mut sums = vec![Sums::default(); nodes.len()];
        let mut took_us = 0;
        for taken in profile.between(from, to, query.group.map(GroupId)) {
            let leaf = &mut sums[taken.leaf as usize];
            leaf.stacks += 1;
            leaf.own_ms += u64::from(taken.stands_for_ms);
            took_us += u64::from(taken.took_us);
        }
        // Whoever is called comes behind who calls it.
        for node in (0..nodes.len()).rev() {
            sums[node].all_ms += sums[node].own_ms;
            let Sums { stacks, all_ms, .. } = sums[node];
            if node > 0 {
                let caller = &mut sums[nodes[node].parent as usize];
                caller.stacks += stacks;
                caller.all_ms += all_ms;
            }
        }
        let mut shown: Vec<usize> = (0..nodes.len())
            .filter(|node| *node == 0 || sums[*node].stacks > 0)
            .collect();
        // A frame has no more time than the one that called it, which has the lower number: so the
        // first ones are a tree.
        shown.sort_by_key(|node| (Reverse(sums[*node].all_ms), *node));
        let frames_more = shown.len().saturating_sub(FRAMES_SHOWN);
        shown.truncate(FRAMES_SHOWN);
        let places: rustc_hash::FxHashMap<usize, usize> = shown
            .iter()
            .enumerate()
            .map(|(place, node)| (*node, place))
            .collect();
        let frames = shown.iter().map(|node| FrameRow {
            name: profile
                .name(u32::try_from(*node).expect("bounded"))
                .to_owned(),
            parent: places[&(nodes[*node].parent as usize)],
            stacks: sums[*node].stacks,
            all_ms: sums[*node].all_ms,
            own_ms: sums[*node].own_ms,
        });
        ProfileTree {
            stacks: sums[0].stacks,
            every_s: crate::limits::PROFILE_EVERY.as_secs_f64(),
            took_s: Duration::from_micros(took_us).as_secs_f64(),
            frames: frames.collect(),
            frames_more,
            dropped: profile.dropped,
            cut: profile.cut,
            groups: self.profiled_groups(from, to),
        }
    }

    fn profiled_groups(&self, from: Time, to: Time) -> Vec<ProfiledGroup> {
        let mut counts: rustc_hash::FxHashMap<GroupId, u64> = rustc_hash::FxHashMap::default();
        for taken in self.profile.between(from, to, None) {
            *counts.entry(taken.group).or_default() += 1;
        }
        let mut groups: Vec<(GroupId, u64)> = counts.into_iter().collect();
        groups.sort_unstable_by_key(|(id, stacks)| (Reverse(*stacks), *id));
        let row = |(id, stacks): (GroupId, u64)| ProfiledGroup {
            group: id.0,
            name: self.group_label(id),
            stacks,
        };
        groups.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_core::{TaskId, WorkerId};
    use lineshaft_engine::Stack;

    use super::*;
    use crate::script::picture;

    /// One stack for each, outermost frame first; a microsecond apart.
    fn seen(stacks: &[(&[&str], u32)]) -> Picture {
        let mut picture = picture("");
        for (number, (frames, group)) in (0..).zip(stacks) {
            let lines = frames.iter().rev();
            let lines = lines.map(|name| format!("  File \"a.py\", line 1 in {name}\n"));
            let stack = Stack {
                worker: WorkerId(1),
                task: TaskId(number),
                text: format!(
                    "Thread 1 (most recent call first):\n{}",
                    lines.collect::<String>()
                ),
                stands_for: Duration::from_millis(100 * (number + 1)),
                took: Duration::from_micros(50),
            };
            let at = Time(number * 1_000);
            picture.profile.add(at, GroupId(*group), stack);
        }
        picture
    }

    fn tree(picture: &Picture, query: &ProfileQuery) -> Vec<(String, usize, u64, u64, u64)> {
        let tree = picture.profile_tree(query);
        let rows = tree.frames.into_iter();
        rows.map(|row| (row.name, row.parent, row.stacks, row.all_ms, row.own_ms))
            .collect()
    }

    #[test]
    fn stacks_are_added_up_from_the_inside_to_the_outside() {
        let picture = seen(&[(&["f", "g"], 1), (&["f"], 1), (&["f", "g"], 2), (&["h"], 2)]);
        let name = |name: &str| match name {
            "" => String::new(),
            name => format!("{name} (a.py)"),
        };
        assert_eq!(
            tree(&picture, &ProfileQuery::default()),
            [
                (name(""), 0, 4, 1_000, 0),
                (name("f"), 0, 3, 600, 200),
                // Frames are in the order of the time that their stacks stand for.
                (name("g"), 1, 2, 400, 400),
                (name("h"), 0, 1, 400, 400),
            ]
        );
        let took_s = picture.profile_tree(&ProfileQuery::default()).took_s;
        assert!((took_s - 200e-6).abs() < 1e-9, "{took_s}");
        let of_group = ProfileQuery {
            group: Some(2),
            ..ProfileQuery::default()
        };
        assert_eq!(tree(&picture, &of_group)[0].2, 2);
        let early = ProfileQuery {
            to_s: Some(1e-6),
            ..ProfileQuery::default()
        };
        assert_eq!(tree(&picture, &early)[0].2, 2);
        let groups = picture.profile_tree(&ProfileQuery::default()).groups;
        let stacks: Vec<u64> = groups.iter().map(|group| group.stacks).collect();
        assert_eq!(stacks, [2, 2]);
    }

    #[test]
    fn without_stacks_there_is_the_root_only() {
        let picture = picture("");
        let query = ProfileQuery {
            from_s: Some(f64::NAN),
            to_s: Some(f64::INFINITY),
            group: None,
        };
        assert_eq!(tree(&picture, &query), [(String::new(), 0, 0, 0, 0)]);
    }
}
