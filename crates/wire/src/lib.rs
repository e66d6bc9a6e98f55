//! What engine and workers say to each other, and how it gets across.
//!
//! Each worker has one socket pair of its own, and one page of shared memory:
//!
//! * `channel` makes the sockets; `sender` and `receiver` are the two halves of one end, with
//!   the format of `frame`. They carry any message that serde can encode, and descriptors.
//! * [`control`] is the page, for what cannot wait until the worker reads its socket.
//! * `message` is the vocabulary.
//!
//! Architecture invariant: nothing here starts a thread, reads a clock or waits, except the calls
//! named `blocking`. Nothing is shared between two workers, so one that dies or writes garbage
//! harms its own channel only.

mod bytes;
mod channel;
pub mod control;
mod error;
mod frame;
mod held;
mod limits;
mod message;
mod receiver;
mod sender;

pub use channel::pair;
pub use control::ControlPage;
pub use error::WireError;
pub use frame::decode;
pub use held::{HeldBack, HeldFrames};
pub use limits::{
    CLAIMS_PER_EPOCH_MAX, DESCRIPTORS_PER_FRAME_MAX, FRAME_MAX_BYTES, SOCKET_BUFFER_BYTES,
};
pub use message::*;
pub use receiver::{Descriptors, Filled, Receiver};
pub use sender::{Flushed, Sender};
