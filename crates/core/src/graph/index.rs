//! From task id to slot.
//!
//! Ids are handed out in increasing order, so neighbours are looked up together. One hash entry
//! covers a run of ids: a page of slots that fills one cache line. In a dense range that is ten
//! bytes a task; at worst, with every id in a page of its own, about 150.

use rustc_hash::FxHashMap;

use super::NONE;
use crate::ids::TaskId;

/// Ids in one page.
const PAGE_LEN: usize = 16;

type Page = [u32; PAGE_LEN];

#[derive(Default, Debug)]
pub(super) struct Index {
    /// By id divided by the page length. Never iterated for decisions.
    pages: FxHashMap<u64, Page>,
}

impl Index {
    pub(super) fn find(&self, task: TaskId) -> Option<u32> {
        let (page, offset) = position(task);
        let slot = self.pages.get(&page)?[offset];
        (slot != NONE).then_some(slot)
    }

    pub(super) fn insert(&mut self, task: TaskId, slot: u32) {
        let (page, offset) = position(task);
        let entry = &mut self.pages.entry(page).or_insert([NONE; PAGE_LEN])[offset];
        assert!(*entry == NONE, "{task:?} is in the graph already");
        *entry = slot;
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        let (number, offset) = position(task);
        if let Some(page) = self.pages.get_mut(&number) {
            page[offset] = NONE;
            if *page == [NONE; PAGE_LEN] {
                self.pages.remove(&number);
            }
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.pages.capacity() * 8 / 7 * (size_of::<(u64, Page)>() + 1)
    }

    pub(super) fn check_invariants(&self, tasks: usize) {
        let mut entries = 0;
        for page in self.pages.values() {
            let used = page.iter().filter(|slot| **slot != NONE).count();
            assert!(used > 0, "an empty page is dropped");
            entries += used;
        }
        assert_eq!(entries, tasks, "the index has one entry for each task");
    }
}

fn position(task: TaskId) -> (u64, usize) {
    let length = PAGE_LEN as u64;
    let offset = usize::try_from(task.0 % length).expect("a remainder of 16 fits");
    (task.0 / length, offset)
}
