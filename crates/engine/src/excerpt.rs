//! As much of a traceback as is kept, of its stack and of its exception both the beginning and the end.

use crate::limits::TRACEBACK_BYTES_MAX;

/// What comes before the stack.
const HEADING: &str = "Traceback (most recent call last):\n";

/// A traceback that is no longer than is kept but for the words that say what is missing.
pub(crate) fn excerpt(traceback: &str) -> String {
    if traceback.len() <= TRACEBACK_BYTES_MAX {
        return traceback.to_owned();
    }
    let (stack, exception) = traceback.split_at(exception_at(traceback));
    let half = TRACEBACK_BYTES_MAX / 2;
    let exception_max = TRACEBACK_BYTES_MAX - stack.len().min(half);
    let stack_max = TRACEBACK_BYTES_MAX - exception.len().min(half);
    shortened(stack, stack_max) + &shortened(exception, exception_max)
}

/// Where the type of the last exception is: behind the lines of its stack, which are indented.
fn exception_at(traceback: &str) -> usize {
    // A message that has such a heading in it is taken for a further exception, and no byte is lost by that.
    let mut at = traceback.rfind(HEADING).map_or(0, |at| at + HEADING.len());
    for line in traceback[at..].split_inclusive('\n') {
        if !line.starts_with(' ') {
            break;
        }
        at += line.len();
    }
    at
}

/// A quarter of it from the beginning, where the type of an exception is, and the rest from the end.
fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let head = boundary(text, bytes_max / 4);
    let tail = boundary(text, text.len() - (bytes_max - bytes_max / 4));
    let missing = tail - head;
    let (head, tail) = (&text[..head], &text[tail..]);
    format!("{head}\n[... {missing} bytes are left out ...]\n{tail}")
}

/// The first place from this one on that is not within a character.
fn boundary(text: &str, from: usize) -> usize {
    let mut places = from..text.len();
    places
        .find(|&place| text.is_char_boundary(place))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traceback(frames: usize, message: &str) -> String {
        let frame = "  File \"x.py\", line 1, in f\n    f()\n";
        format!("{HEADING}{}ValueError: {message}\n", frame.repeat(frames))
    }

    #[test]
    fn what_is_short_is_all_there() {
        let text = traceback(10, "why");
        assert_eq!(excerpt(&text), text);
    }

    #[test]
    fn a_long_message_has_its_type_its_beginning_and_its_end() {
        for frames in [2, 10_000] {
            let message = format!("the beginning {} the end", "\u{e9}".repeat(100_000));
            let text = excerpt(&traceback(frames, &message));
            assert!(text.starts_with(HEADING));
            assert!(
                text.contains("\nValueError: the beginning \u{e9}"),
                "{frames}"
            );
            assert!(text.ends_with("\u{e9} the end\n"));
            assert!(text.len() < TRACEBACK_BYTES_MAX + 100);
            assert!(text.contains(" bytes are left out ...]"));
        }
    }

    #[test]
    fn a_deep_stack_has_both_ends_and_its_exception() {
        let text = excerpt(&traceback(10_000, "why"));
        assert!(text.starts_with(HEADING));
        assert!(text.ends_with("    f()\nValueError: why\n"));
        assert!(text.len() < TRACEBACK_BYTES_MAX + 100);
    }

    #[test]
    fn what_is_no_traceback_is_cut_as_well() {
        let text = excerpt(&"x".repeat(100_000));
        assert!(text.len() < TRACEBACK_BYTES_MAX + 100);
        assert!(excerpt(&HEADING.repeat(10_000)).ends_with(HEADING));
    }
}
