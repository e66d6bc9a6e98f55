//! Whose output it is: marks that a worker writes into its pipes, between what its tasks print.
//!
//! A pipe may be read long after it was written to, when the worker is at another task. So the worker says
//! there what is a task's: before the first that the task prints, and once it has ended. A task that prints
//! nothing costs nothing. What is written around the worker's streams, by a subprocess for one, may lie
//! between two marks: then nobody knows whose it is.
//!
//! A mark is a control string for applications (ECMA-48, APC), which a terminal would not show. It is written
//! at once and is far shorter than what a pipe takes as a whole, so it is torn only by the end of what is read.

use lineshaft_core::TaskId;

/// How a mark begins. The number of the task follows, or 0 for none.
const BEGIN: &[u8] = b"\x1b_lineshaft:";

/// How it ends.
const END: &[u8] = b"\x1b\\";

/// The most bytes that a mark has.
const MARK_BYTES_MAX: usize = BEGIN.len() + 20 + END.len();

/// What a worker writes before what this task prints; without one, after that.
pub(crate) fn mark(task: Option<TaskId>) -> Vec<u8> {
    let number = task.map_or(0, |task| task.0).to_string();
    [BEGIN, number.as_bytes(), END].concat()
}

/// Takes the marks out of what is read from one pipe.
#[derive(Default)]
pub(crate) struct Marks {
    /// The task of the last one.
    task: Option<TaskId>,
    /// What may be the beginning of one, or of a line that is to be shown whole.
    torn: Vec<u8>,
}

/// What follows what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Nothing for now.
    Nothing,
    /// More is to be read at once: the end of this may be that of a mark of which the rest is still to come.
    More,
    /// More is to be read, but others are shown before: a line that has begun is kept for then.
    MoreAfterOthers,
}

impl Marks {
    /// Passes on what is between marks, and whose it is, as far as they say so.
    pub(crate) fn split(
        &mut self,
        read: &[u8],
        next: Next,
        mut each: impl FnMut(Option<TaskId>, &[u8]),
    ) {
        let mut bytes = std::mem::take(&mut self.torn);
        bytes.extend_from_slice(read);
        let mut rest = &bytes[..];
        let mut plain = 0;
        while let Some(offset) = rest[plain..].iter().position(|&byte| byte == BEGIN[0]) {
            plain += offset;
            match parse(&rest[plain..]) {
                Parsed::Mark { task, bytes } => {
                    if plain > 0 {
                        each(self.task, &rest[..plain]);
                    }
                    self.task = task;
                    rest = &rest[plain + bytes..];
                    plain = 0;
                }
                Parsed::Beginning if next != Next::Nothing => {
                    self.torn = rest[plain..].to_vec();
                    rest = &rest[..plain];
                }
                Parsed::Beginning | Parsed::Text => plain += 1,
            }
        }
        if next == Next::MoreAfterOthers
            && let Some(newline) = rest.iter().rposition(|&byte| byte == b'\n')
        {
            let line = rest[newline + 1..].iter();
            self.torn.splice(..0, line.copied());
            rest = &rest[..=newline];
        }
        if !rest.is_empty() {
            each(self.task, rest);
        }
    }
}

enum Parsed {
    Mark {
        task: Option<TaskId>,
        bytes: usize,
    },
    /// What is there might be the beginning of one.
    Beginning,
    Text,
}

fn parse(text: &[u8]) -> Parsed {
    let known = text.len().min(BEGIN.len());
    if text[..known] != BEGIN[..known] {
        return Parsed::Text;
    }
    let number = &text[known..];
    let digits = number
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let end = &number[digits..];
    if end.starts_with(END) {
        let number = std::str::from_utf8(&number[..digits])
            .ok()
            .and_then(|digits| digits.parse().ok());
        return number.map_or(Parsed::Text, |number| Parsed::Mark {
            task: Some(TaskId(number)).filter(|task| task.0 != 0),
            bytes: known + digits + END.len(),
        });
    }
    if END.starts_with(end) && text.len() < MARK_BYTES_MAX {
        return Parsed::Beginning;
    }
    Parsed::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pieces = Vec<(Option<u64>, Vec<u8>)>;

    /// Splits it, read in pieces of this size.
    fn split(text: &[u8], piece_bytes: usize) -> Pieces {
        let mut marks = Marks::default();
        let mut pieces = Pieces::new();
        let mut add = |task: Option<TaskId>, bytes: &[u8]| {
            let task = task.map(|task| task.0);
            match pieces.last_mut() {
                Some((last, text)) if *last == task => text.extend_from_slice(bytes),
                _ => pieces.push((task, bytes.to_vec())),
            }
        };
        for piece in text.chunks(piece_bytes) {
            marks.split(piece, Next::More, &mut add);
        }
        marks.split(&[], Next::Nothing, &mut add);
        pieces
    }

    #[test]
    fn what_is_between_marks_is_the_tasks() {
        let (one, two, none) = (
            mark(Some(TaskId(1))),
            mark(Some(TaskId(u64::MAX))),
            mark(None),
        );
        let text = [
            b"first",
            &one[..],
            b"a\nb",
            &none,
            &two,
            b"c",
            &none,
            b"d",
            &one,
            &none,
        ]
        .concat();
        let expected: Pieces = vec![
            (None, b"first".into()),
            (Some(1), b"a\nb".into()),
            (Some(u64::MAX), b"c".into()),
            (None, b"d".into()),
        ];
        for piece_bytes in 1..=text.len() {
            assert_eq!(
                split(&text, piece_bytes),
                expected,
                "in pieces of {piece_bytes}"
            );
        }
    }

    #[test]
    fn a_line_that_has_begun_is_kept_while_others_are_shown() {
        let mut marks = Marks::default();
        let mut shown = |read: &[u8], next| {
            let mut pieces = Vec::new();
            marks.split(read, next, |task, bytes| {
                pieces.push((task.map(|task| task.0), bytes.to_vec()));
            });
            pieces
        };
        let one = mark(Some(TaskId(1)));
        let (begun, rest) = one.split_at(5);
        let read = [&one[..], b"a\nb\nc", begun].concat();
        let expected = [(Some(1), b"a\nb\n".to_vec())];
        assert_eq!(shown(&read, Next::MoreAfterOthers), expected);
        let expected = [(Some(1), b"c".to_vec()), (Some(1), b"d".to_vec())];
        assert_eq!(shown(&[rest, b"d"].concat(), Next::Nothing), expected);
        // What has no lines is not kept.
        let expected = [(Some(1), b"dots...".to_vec())];
        assert_eq!(shown(b"dots...", Next::MoreAfterOthers), expected);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_text() {
        for text in [
            &b"\x1b"[..],
            b"\x1b[31mred\x1b[0m",
            b"\x1b_lineshaft",
            b"\x1b_lineshaft:12",
            b"\x1b_lineshaft:\x1b\\",
            b"\x1b_lineshaft:12\x1bx",
            b"\x1b_lineshaft:99999999999999999999\x1b\\",
            b"\x1b\x1b\x1b_other\x1b\\",
        ] {
            for piece_bytes in 1..=text.len() {
                assert_eq!(split(text, piece_bytes), [(None, text.to_vec())]);
            }
        }
    }
}
