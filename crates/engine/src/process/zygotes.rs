//! All zygotes of an engine: the one that it starts itself, for every pool that has no other, and
//! the snapshots, each of which belongs to one pool.

use lineshaft_core::PoolId;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::aftermath::Discarded;
use crate::error::EngineError;
use crate::shared::Shared;

use super::snapshot::Snapshot;
use super::zygote::Zygote;

/// The zygotes of an engine, by number. A number is never used again.
#[derive(Default)]
pub(super) struct Zygotes {
    known: FxHashMap<u32, Zygote>,
    /// The one that the engine started.
    own: Option<u32>,
    /// Pools whose workers come from a snapshot, which may have ended.
    snapshots: FxHashMap<PoolId, u32>,
    /// Pools whose snapshot is a child of this process, be it one that has ended.
    unreaped: FxHashSet<PoolId>,
    /// Zygotes so far.
    count: u32,
    /// What the engine's own zygotes are sent first from now on, instead of the program's setup.
    setup: Option<Vec<u8>>,
}

impl Zygotes {
    /// The zygote that workers of the pool are forked from; the engine's own is started if need be.
    pub(super) fn of_pool(
        &mut self,
        shared: &Shared,
        pool: PoolId,
    ) -> Result<&mut Zygote, EngineError> {
        if let Some(number) = self.snapshots.get(&pool) {
            return self.known.get_mut(number).ok_or(EngineError::SnapshotGone);
        }
        let number = if let Some(number) = self.own {
            number
        } else {
            let number = self.next_number();
            let zygote = Zygote::prepare(shared, number, self.setup.as_deref())?;
            self.known.insert(number, zygote);
            *self.own.insert(number)
        };
        let zygote = self.known.get_mut(&number);
        Ok(zygote
            .expect("it is only out while its messages are read, and no worker is wanted then"))
    }

    fn next_number(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// Takes in the snapshot that the pool's workers are forked from. If that fails, it is
    /// discarded.
    pub(super) fn adopt(
        &mut self,
        shared: &Shared,
        pool: PoolId,
        snapshot: Snapshot,
        discarded: &mut Vec<Discarded>,
    ) -> Result<(), EngineError> {
        let number = self.next_number();
        // First, so that the pool gets workers of no other kind if this fails.
        self.snapshots.insert(pool, number);
        self.unreaped.insert(pool);
        let zygote = Zygote::adopt(number, pool, snapshot);
        match zygote.listen(shared) {
            Ok(()) => {
                self.known.insert(number, zygote);
                Ok(())
            }
            Err(error) => {
                discarded.push(zygote.close(shared));
                Err(error)
            }
        }
    }

    /// The pool wants no more workers and has none left: its snapshot, if it has one, is to end.
    pub(super) fn release(&mut self, pool: PoolId) {
        let number = self.snapshots.remove(&pool);
        if let Some(zygote) = number.and_then(|number| self.known.get_mut(&number)) {
            zygote.leave();
        }
    }

    /// Whether the pool has, or had, a snapshot that has not been reaped.
    pub(super) fn has_child_of(&self, pool: PoolId) -> bool {
        self.unreaped.contains(&pool)
    }

    pub(super) fn reaped(&mut self, pool: PoolId) {
        self.unreaped.remove(&pool);
    }

    pub(super) fn set_up(&mut self, setup: Vec<u8>) -> Result<(), EngineError> {
        if let Some(zygote) = self.own() {
            zygote.set_up(&setup)?;
        }
        self.setup = Some(setup);
        Ok(())
    }

    /// The one that the engine started, if it has.
    pub(super) fn own(&mut self) -> Option<&mut Zygote> {
        self.known.get_mut(&self.own?)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Zygote> {
        self.known.get_mut(&number)
    }

    /// Takes out a zygote, to be put back unless it has ended.
    pub(super) fn take(&mut self, number: u32) -> Option<Zygote> {
        self.known.remove(&number)
    }

    pub(super) fn put_back(&mut self, zygote: Zygote) {
        self.known.insert(zygote.number, zygote);
    }

    /// A zygote that was taken out has ended.
    pub(super) fn ended(&mut self, number: u32) {
        if self.own == Some(number) {
            self.own = None;
        }
    }

    /// Sends what is waiting. False if the kernel wants to be asked again a little later.
    pub(super) fn flush(&mut self, shared: &Shared) -> bool {
        let sent = |all, zygote: &mut Zygote| zygote.flush(shared) && all;
        self.known.values_mut().fold(true, sent)
    }

    /// Ends all of them; what is left of them is to be discarded.
    pub(super) fn close(&mut self, shared: &Shared) -> Vec<Discarded> {
        self.own = None;
        let known = self.known.drain();
        known.map(|(_, zygote)| zygote.close(shared)).collect()
    }
}
