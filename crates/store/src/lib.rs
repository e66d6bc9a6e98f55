//! Objects in shared memory, under a budget, spilled to disk when it is exceeded.
//!
//! An object's bytes live in a **segment**: one sealed memfd, or one unlinked file in the spill
//! directory. Segments have no names. A process refers to one by a descriptor, which travels over
//! the worker's socket, so the kernel frees a segment with the last process that knows it and
//! nothing can be left behind, not even by `kill -9`.
//!
//! A segment moves through four states:
//!
//! ```text
//! Reserved ──> Sealed ──> Spilled ──> Freed
//!     │           └──────────────────> ↑
//!     └──(too large for memory)──> Spilled
//! ```
//!
//! * *Reserved*: its bytes are charged to the budget, nothing is written. A guard on the stack of
//!   the thread that writes it; dropping the guard gives the bytes back.
//! * *Sealed*: written to a memfd whose seals forbid any further change, in every process.
//! * *Spilled*: in an unlinked file; readers map the file. It never returns to memory.
//! * *Freed*: the last [`Segment`] handle is gone, and so is the charge.
//!
//! Which module owns what:
//!
//! * `ledger` decides: accounting, whose a segment is, order of use, which one to spill. No system calls.
//! * `file` does: memfds, spill files, seals. No decisions.
//! * `store` puts the two together, `segment` and `map` are what others hold.
//! * `writer` is the worker's side, which shares only the [`BudgetPage`] with the engine.
//! * `reuse` keeps mappings for the next task that reads the same segment.
//! * `live` stores the same live buffer once; `unwritten` asks the kernel whether it was changed.
//!
//! Architecture invariant: this is the only crate that maps memory, and the lock of the ledger is
//! never held over a system call.

mod error;
mod file;
mod hash;
mod layout;
mod ledger;
mod limits;
mod live;
mod map;
mod page;
mod reuse;
mod segment;
mod store;
mod unwritten;
mod writer;

pub use error::{Pressure, StoreError};
pub use file::above_standard;
pub use hash::{ContentHash, content_hash};
pub use ledger::{Owned, Owner, Owners};
pub use limits::ALIGNMENT;
pub use live::LiveBuffers;
pub use map::{PrivateMap, ReadOnlyMap, map_fd, map_fd_private};
pub use page::{BudgetPage, Shareable, SharedPage};
pub use reuse::{MapCache, ReusableMap};
pub use segment::{Mapping, Pin, Segment};
pub use store::{Store, StoreOptions, StoreStats};
pub use writer::SegmentWriter;
