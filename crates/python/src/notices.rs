//! What workers print and log, until it is shown.

use std::collections::VecDeque;
use std::fmt::Write;

use lineshaft_core::WorkerId;
use lineshaft_engine::Stream;

/// Output and log records that wait to be shown take at most this many bytes; what comes on top is
/// dropped, and how much that was is told.
const NOTICE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What workers want to be shown.
pub enum Notice {
    /// A worker printed.
    Output {
        worker: WorkerId,
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// A task logged.
    Log(Vec<u8>),
}

impl Notice {
    /// The memory that it takes.
    fn bytes(&self) -> usize {
        let (Notice::Output { bytes, .. } | Notice::Log(bytes)) = self;
        size_of::<Notice>() + bytes.len()
    }
}

/// What there was no room for.
#[derive(Default)]
pub struct Dropped {
    output_bytes: usize,
    records: usize,
}

impl Dropped {
    fn add(&mut self, notice: &Notice) {
        match notice {
            Notice::Output { bytes, .. } => self.output_bytes += bytes.len(),
            Notice::Log(_) => self.records += 1,
        }
    }

    /// What to tell people, if there is anything to tell.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (count, what) in [
            (self.output_bytes, "bytes of output"),
            (self.records, "log records"),
        ] {
            if count > 0 {
                writeln!(text, "lineshaft: {count} {what} of workers were dropped")
                    .expect("a string has room");
            }
        }
        text
    }
}

/// Notices, in the order in which they came.
#[derive(Default)]
pub struct Notices {
    waiting: VecDeque<Notice>,
    bytes: usize,
    dropped: Dropped,
}

impl Notices {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes one in, if there is room; whether there was.
    pub fn push(&mut self, notice: Notice) -> bool {
        let bytes = notice.bytes();
        // One alone always has room, or nobody would come to tell that it was dropped.
        if !self.is_empty() && self.bytes + bytes > NOTICE_BYTES_MAX {
            self.dropped.add(&notice);
            return false;
        }
        self.bytes += bytes;
        self.waiting.push_back(notice);
        true
    }

    pub fn pop(&mut self) -> Option<Notice> {
        let notice = self.waiting.pop_front()?;
        self.bytes -= notice.bytes();
        Some(notice)
    }

    /// What there was no room for since this was asked last.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }
}
