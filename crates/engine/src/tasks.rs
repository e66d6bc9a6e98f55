//! The engine's side of tasks that have not ended.
//!
//! Ids are handed out in increasing order and tasks submitted together are used together, so tasks
//! lie in pages of consecutive ids: with a million of them queued, the next one is where the last
//! one was, in a cache line that is warm. A hash map of single tasks spreads neighbours over a
//! gigabyte.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lineshaft_core::{GroupId, PoolId, TaskId};
use rustc_hash::FxHashMap;

use crate::options::Work;
use crate::outcome::Outcome;
use crate::promise::{Pledge, Promise};

/// An unfinished task.
pub(crate) struct Task {
    pub(crate) pool: PoolId,
    pub(crate) pledge: Pledge,
    pub(crate) work: Work,
    pub(crate) inputs: Vec<Arc<Promise>>,
    pub(crate) group: GroupId,
    pub(crate) timed: bool,
    /// Whether the end of the program does not wait for it.
    pub(crate) daemon: bool,
    /// Whether the program asked for it, and no other task.
    pub(crate) from_program: bool,
    /// How many may ask for its result; who submitted it is one of them, unless its graph goes on by itself.
    pub(crate) holders: u32,
    /// How its last attempt ended, until the scheduler has decided what that means.
    pub(crate) ended: Option<Outcome>,
}

/// Consecutive ids in one page. A page lives as long as one of its tasks, so this is also how many
/// times its own size the last task of a page may take.
const PAGE_LEN: usize = 32;

struct Page {
    used: usize,
    tasks: [Option<Task>; PAGE_LEN],
}

/// All tasks that have not ended, by id.
#[derive(Default)]
pub(crate) struct Tasks {
    /// By id divided by the page length.
    pages: FxHashMap<u64, Box<Page>>,
    len: usize,
    daemons: usize,
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them the end of the program does not wait for.
    pub(crate) fn daemons(&self) -> usize {
        self.daemons
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        let (page, offset) = position(id);
        self.pages.get(&page)?.tasks[offset].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let (page, offset) = position(id);
        self.pages.get_mut(&page)?.tasks[offset].as_mut()
    }

    /// Adds a task whose id was never used before.
    pub(crate) fn insert(&mut self, id: TaskId, task: Task) {
        let (page, offset) = position(id);
        let page = self.pages.entry(page).or_insert_with(|| {
            Box::new(Page {
                used: 0,
                tasks: [const { None }; PAGE_LEN],
            })
        });
        self.daemons += usize::from(task.daemon);
        page.tasks[offset] = Some(task);
        page.used += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let (number, offset) = position(id);
        let page = self.pages.get_mut(&number)?;
        let task = page.tasks[offset].take()?;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        self.len -= 1;
        self.daemons -= usize::from(task.daemon);
        Some(task)
    }

    /// The ids of the tasks of one pool, or of all, in the order of submission.
    pub(crate) fn ids(&self, pool: Option<PoolId>) -> Vec<TaskId> {
        let mut ids: Vec<TaskId> = Vec::new();
        for (number, page) in &self.pages {
            let first = number * PAGE_LEN as u64;
            for (task, id) in page.tasks.iter().zip(first..) {
                if let Some(task) = task
                    && pool.is_none_or(|pool| task.pool == pool)
                {
                    ids.push(TaskId(id));
                }
            }
        }
        ids.sort_unstable();
        ids
    }

    /// Those of these ids that are here, in the order of submission.
    pub(crate) fn ids_within(&self, range: RangeInclusive<TaskId>) -> impl Iterator<Item = TaskId> {
        let (first, last) = (range.start().0, range.end().0);
        let numbers = first / PAGE_LEN as u64..=last / PAGE_LEN as u64;
        let pages = numbers.filter_map(|number| Some((number, self.pages.get(&number)?)));
        let ids = pages.flat_map(|(number, page)| {
            let numbered = page.tasks.iter().zip(number * PAGE_LEN as u64..);
            numbered.filter_map(|(task, id)| task.as_ref().map(|_| TaskId(id)))
        });
        ids.filter(move |id| range.contains(id))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = Task> {
        let pages = self.pages.into_values();
        pages.flat_map(|page| page.tasks.into_iter().flatten())
    }
}

fn position(id: TaskId) -> (u64, usize) {
    let length = PAGE_LEN as u64;
    let offset = usize::try_from(id.0 % length).expect("a remainder of 32 fits");
    (id.0 / length, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promise::EngineId;
    use crate::runner::Body;

    fn task(pool: u32) -> Task {
        Task {
            pool: PoolId(pool),
            pledge: Pledge::new(&Promise::new(EngineId::new(), true)),
            work: Work::Local(Arc::new(()) as Body),
            inputs: Vec::new(),
            group: GroupId(0),
            timed: false,
            daemon: false,
            from_program: true,
            holders: 1,
            ended: None,
        }
    }

    #[test]
    fn tasks_are_found_until_they_are_removed_and_pages_go_with_their_last_task() {
        let mut tasks = Tasks::default();
        let ids = [1, 31, 32, 33, 1_000_000_007].map(TaskId);
        for (id, pool) in ids.into_iter().zip(0..) {
            tasks.insert(id, task(pool % 2));
        }
        assert_eq!(tasks.ids(None), ids);
        assert_eq!(tasks.ids(Some(PoolId(1))), [ids[1], ids[3]]);
        assert!(
            tasks
                .ids_within(ids[1]..=ids[2])
                .eq(ids[1..=2].iter().copied())
        );
        assert_eq!(tasks.ids_within(TaskId(2)..=TaskId(30)).count(), 0);
        assert!(tasks.get(TaskId(2)).is_none());
        assert!(tasks.get_mut(TaskId(64)).is_none());
        for (id, pool) in ids.into_iter().zip(0..) {
            assert_eq!(tasks.get(id).map(|task| task.pool), Some(PoolId(pool % 2)));
            assert!(tasks.remove(id).is_some());
            assert!(tasks.remove(id).is_none(), "a task is removed once");
        }
        assert_eq!((tasks.len(), tasks.pages.len()), (0, 0));
    }
}
