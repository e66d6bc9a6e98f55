//! The overview as it changes: server-sent events.
//!
//! Each event is the overview with the samples since the one before, and its id says which these are.
//! So a reader that comes back with the id of its last event goes on where it was, if the samples are
//! still there and it is the same run; if not, it is told that it was not resumed, and starts afresh.
//! The last event has the whole run in it, so that pages that are open go on without the server.
//! What is sent is put together when the reader can take it: nothing waits in a queue, and a reader
//! that was slow gets more samples at once. While nothing happens, an event without a content says that
//! the program is still there.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;
use tokio::time::sleep;

use super::routes::Context;
use crate::collector::Shared;
use crate::limits::ALIVE_EVERY;

/// The event last put together, which is the same for all readers that keep up.
#[derive(Default)]
pub(crate) struct Latest {
    overview: Mutex<Option<Prepared>>,
    /// The whole run, once it is over.
    record: OnceLock<Arc<str>>,
}

#[derive(Clone)]
struct Prepared {
    since: u64,
    tick: u64,
    next: u64,
    ended: bool,
    text: Arc<str>,
}

struct Reader {
    context: Context,
    ticks: watch::Receiver<u64>,
    since: u64,
    /// Whether it has had an event.
    begun: bool,
    /// Whether it has had the last overview.
    ended: bool,
    done: bool,
}

pub(crate) async fn events(
    State(context): State<Context>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = id.and_then(|id| resumed(id, context.shared.origin_unix_ms));
    let reader = Reader {
        ticks: context.shared.ticks.subscribe(),
        since: since.unwrap_or(0),
        begun: false,
        ended: false,
        done: false,
        context,
    };
    Sse::new(unfold(reader, next))
}

/// The number of the next sample for a reader of this run.
fn resumed(id: &str, origin_unix_ms: u64) -> Option<u64> {
    let (run, next) = id.split_once('-')?;
    (run.parse::<u64>().ok()? == origin_unix_ms).then(|| next.parse().ok())?
}

async fn next(mut reader: Reader) -> Option<(Result<Event, Infallible>, Reader)> {
    if reader.done {
        return None;
    }
    if reader.ended {
        reader.done = true;
        let record = reader.context.latest.record(&reader.context.shared);
        let event = Event::default().event("record").data(&*record);
        return Some((Ok(event), reader));
    }
    if reader.begun {
        let Context { stopped, .. } = &mut reader.context;
        let mut is_quiet = false;
        tokio::select! {
            changed = reader.ticks.changed() => changed.ok()?,
            () = sleep(ALIVE_EVERY) => is_quiet = true,
            // What has not been sent yet is sent before the end.
            _ = stopped.wait_for(|stopped| *stopped) => reader.done = true,
        }
        if is_quiet {
            // A program where nothing happens could not be told from one that is stopped.
            let event = Event::default().event("alive").data("{}");
            return Some((Ok(event), reader));
        }
    }
    reader.begun = true;
    let tick = *reader.ticks.borrow_and_update();
    let prepared = reader
        .context
        .latest
        .prepare(&reader.context.shared, reader.since, tick);
    reader.since = prepared.next;
    reader.ended = prepared.ended;
    reader.done &= !prepared.ended;
    let id = format!("{}-{}", reader.context.shared.origin_unix_ms, prepared.next);
    let event = Event::default()
        .event("overview")
        .id(id)
        .data(&*prepared.text);
    Some((Ok(event), reader))
}

impl Latest {
    fn prepare(&self, shared: &Shared, since: u64, tick: u64) -> Prepared {
        let mut latest = self.overview.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |latest: &&Prepared| latest.since == since && latest.tick == tick;
        if let Some(latest) = latest.as_ref().filter(is_same) {
            return latest.clone();
        }
        let overview = shared.overview(since);
        let text = serde_json::to_string(&overview).expect("views have string keys");
        let prepared = Prepared {
            since,
            tick,
            next: overview.next,
            ended: overview.ended,
            text: text.into(),
        };
        *latest = Some(prepared.clone());
        prepared
    }
}

impl Latest {
    /// The same for all readers: it is put together once.
    fn record(&self, shared: &Shared) -> Arc<str> {
        let text = || {
            let text = serde_json::to_string(&shared.record());
            text.expect("views have string keys").into()
        };
        Arc::clone(self.record.get_or_init(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_this_run_is_resumed() {
        assert_eq!(resumed("1700-42", 1700), Some(42));
        for id in [
            "1699-42",
            "42",
            "",
            "-",
            "1700-",
            "1700-x",
            "1700-42-1",
            "1700--1",
        ] {
            assert_eq!(resumed(id, 1700), None, "{id}");
        }
    }
}
