//! The worker's side: writes segments without asking the engine.
//!
//! The worker looks at the [`BudgetPage`], writes, and passes the descriptor along with its result;
//! the engine [adopts](crate::Store::adopt) it. There is no round trip, and so no reservation
//! either: see [`BudgetPage`] on how far the budget can be exceeded. Any thread may call it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Medium, Pressure, StoreError};
use crate::file;
use crate::layout::Layout;
use crate::page::{BudgetPage, SharedPage};

/// Writes segments in a worker.
#[derive(Debug)]
pub struct SegmentWriter {
    budget: SharedPage<BudgetPage>,
    spill_dir: PathBuf,
}

impl SegmentWriter {
    /// `budget` is the engine's page and `spill_dir` the engine's spill directory.
    pub fn new(budget: SharedPage<BudgetPage>, spill_dir: PathBuf) -> Self {
        SegmentWriter { budget, spill_dir }
    }

    /// Writes the parts into a new segment: in memory if the budget has room, else in the spill
    /// directory, else [`StoreError::Full`]. Returns its descriptor, its length, and the offset of
    /// each part.
    pub fn write(&self, parts: &[&[u8]]) -> Result<(OwnedFd, u64, Vec<u64>), StoreError> {
        let layout = Layout::of(parts)?;
        let pressure = self.pressure(layout.bytes);
        let written = match choose_medium(&pressure) {
            Some(Medium::Memory) => file::write_memfd(parts, &layout),
            Some(Medium::Disk) => file::write_spill_file(&self.spill_dir, parts, &layout),
            None => return Err(StoreError::Full(Box::new(pressure))),
        };
        let fd = written.map_err(|failure| failure.with_pressure(pressure))?;
        Ok((fd, layout.bytes, layout.offsets))
    }

    fn pressure(&self, wanted_bytes: u64) -> Pressure {
        Pressure {
            wanted_bytes,
            used_bytes: self.budget.used_bytes(),
            limit_bytes: self.budget.limit_bytes(),
            spilled_bytes: self.budget.spilled_bytes(),
            spill_limit_bytes: self.budget.spill_limit_bytes(),
            spill_dir: self.spill_dir.clone(),
        }
    }
}

fn choose_medium(pressure: &Pressure) -> Option<Medium> {
    let fits = |used_bytes: u64, limit_bytes| {
        used_bytes.saturating_add(pressure.wanted_bytes) <= limit_bytes
    };
    if fits(pressure.used_bytes, pressure.limit_bytes) {
        Some(Medium::Memory)
    } else if fits(
        pressure.spilled_bytes,
        pressure.spill_limit_bytes.unwrap_or(u64::MAX),
    ) {
        Some(Medium::Disk)
    } else {
        None
    }
}
