//! The thread that reads an engine's log.
//!
//! It reads when a quarter of what the log keeps is unread, and at the time of the next sample while
//! anything happens. When nothing does, it sleeps until the next event. Whoever wants to know how
//! things are at this moment, or at the end, reads what is unread first, in the thread's place.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lineshaft_core::{TaskId, Time};
use lineshaft_engine::{Engine, Reader, Since, Totals};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::limits::{self, EVENTS_AT_ONCE, EVENTS_UNREAD_MAX, QUIET_SAMPLES, SAMPLE_EVERY};
use crate::picture::Picture;
use crate::report;
use crate::server::Server;
use crate::trace::Traced;
use crate::view::{
    Beside, GraphQuery, GraphView, GroupPage, GroupQuery, Overview, ProfileQuery, ProfileTree,
    Record, SampleRow, Scatter, ScatterQuery, TaskPage, TaskQuery, TaskRow, Timeline,
    TimelineQuery, WorkerList,
};

/// The picture of one engine, and the thread that keeps it up to date.
///
/// The last one to be dropped ends the thread, and does not wait for that. It does not keep the
/// engine from ending; afterwards the picture is that of a run that is over.
pub struct Dashboard {
    pub(crate) shared: Arc<Shared>,
}

/// What the thread and those who look share.
pub(crate) struct Shared {
    pub(crate) reader: Reader,
    /// Taken before the picture.
    collector: Mutex<Collector>,
    picture: Mutex<Picture>,
    /// The wall clock at the picture's origin, in milliseconds since 1970.
    pub(crate) origin_unix_ms: u64,
    stopped: AtomicBool,
    /// Stacks are taken all the time, and not only while somebody looks.
    keeps_stacks: AtomicBool,
    /// The engine has ended, and everything is in the picture.
    complete: AtomicBool,
    /// Counts samples, for those who wait for the next one.
    pub(crate) ticks: watch::Sender<u64>,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dashboard").finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Starts to read the log of an engine. What it still has of the time before is read first.
    pub fn start(reader: Reader) -> io::Result<Dashboard> {
        let now = Engine::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let collector = Collector::new(reader.clone(), now);
        let origin = collector.first_event().unwrap_or(now);
        let age = now - origin;
        let origin_unix = unix.unwrap_or_default().saturating_sub(age);
        let shared = Arc::new(Shared {
            reader,
            collector: Mutex::new(collector),
            picture: Mutex::new(Picture::new(origin)),
            origin_unix_ms: u64::try_from(origin_unix.as_millis()).unwrap_or(u64::MAX),
            stopped: AtomicBool::new(false),
            keeps_stacks: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            ticks: watch::channel(0).0,
        });
        // So that there is something to see from the start.
        shared.refresh();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("lineshaft-picture".into())
            .spawn(move || of_thread.run())?;
        Ok(Dashboard { shared })
    }
}

/// What is shown.
impl Dashboard {
    /// Serves the picture at an address of this machine, at a port that is free or at this one; who is not on it
    /// has to show a token.
    pub fn serve(&self, at: IpAddr, port: Option<u16>) -> io::Result<Server> {
        Server::start(Arc::clone(&self.shared), at, port)
    }

    /// Reads what the engine has done until now, as the thread does by itself a little later. Once the
    /// engine has been shut down, everything is there afterwards.
    pub fn refresh(&self) {
        self.shared.refresh();
    }

    /// The whole in a screenful, with samples from this number on.
    pub fn overview(&self, since: u64) -> Overview {
        self.shared.overview(since)
    }

    /// The most memory of the program and its workers, what they share counted once, in bytes.
    pub fn most_memory(&self) -> u64 {
        self.shared.refresh();
        self.shared.picture().whole_bytes_most
    }

    /// The numbers over time: the whole run, in as many samples as are kept of it.
    pub fn whole_run(&self) -> Vec<SampleRow> {
        self.shared.picture().whole_run()
    }

    /// Who ran what within a window of time.
    pub fn timeline(&self, query: &TimelineQuery) -> Timeline {
        self.shared.picture().timeline(query)
    }

    /// How long attempts ran, depending on when they began.
    pub fn scatter(&self, query: &ScatterQuery) -> Scatter {
        self.shared.picture().scatter(query)
    }

    /// Where tasks spend their time, as far as stacks were taken.
    pub fn profile(&self, query: &ProfileQuery) -> ProfileTree {
        self.shared.picture().profile_tree(query)
    }

    /// All workers, and how those died that did.
    pub fn workers(&self) -> WorkerList {
        self.shared.workers()
    }

    /// What needed what, by function.
    pub fn graph(&self, query: &GraphQuery) -> GraphView {
        self.shared.picture().graph_view(query)
    }

    /// A page of the table of functions.
    pub fn groups(&self, query: &GroupQuery) -> GroupPage {
        self.shared.picture().group_page(query)
    }

    /// A page of the table of tasks.
    pub fn tasks(&self, query: &TaskQuery) -> TaskPage {
        self.shared.picture().task_page(query)
    }

    /// One task, if it is in the table.
    pub fn task(&self, task: TaskId) -> Option<TaskRow> {
        self.shared.picture().task(task)
    }

    /// The engine's numbers as they are now, in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        self.shared.refresh();
        self.shared.picture().metrics()
    }

    /// Writes the run so far as one page that needs no server. Fails if this build has no pages.
    pub fn report(&self, to: &mut dyn Write) -> io::Result<()> {
        self.shared.refresh();
        report::write(&self.shared.record(), to)?;
        to.flush()
    }

    /// Takes stacks of what runs from now on, so that a report of a run that nobody watched has a profile.
    pub fn keep_stacks(&self) {
        self.shared.keeps_stacks.store(true, Ordering::SeqCst);
        self.shared.reader.wake();
    }

    /// Writes the run so far as a trace in Chrome's format.
    pub fn trace(&self, to: &mut dyn Write) -> io::Result<Traced> {
        self.shared.refresh();
        // The picture is not held while there is writing to be done.
        let trace = self.shared.picture().trace();
        trace.write(to)?;
        to.flush()?;
        Ok(trace.traced)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.reader.wake();
    }
}

impl Shared {
    pub(crate) fn record(&self) -> Record {
        let beside = Beside {
            has_ended: self.is_complete(),
            origin_unix_ms: self.origin_unix_ms,
            deaths: self.reader.deaths(),
            printed: self.reader.printed(),
            output_dropped: self.reader.output_dropped(),
            tracebacks: self.reader.tracebacks(None),
            arguments: self.reader.arguments(None),
        };
        self.picture().record(beside)
    }

    pub(crate) fn workers(&self) -> WorkerList {
        let deaths = self.reader.deaths();
        self.picture().worker_list(deaths)
    }

    pub(crate) fn picture(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn overview(&self, since: u64) -> Overview {
        let ended = self.is_complete();
        self.picture().overview(since, self.origin_unix_ms, ended)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst)
    }

    pub(crate) fn refresh(&self) {
        let has_ended = self.reader.has_ended();
        let mut collector = self.collector();
        if self.is_complete() {
            return;
        }
        collector.read(self);
        collector.look(self);
        if has_ended {
            let mut picture = self.picture();
            let last = picture.latest;
            picture.history.finish(last);
            drop(picture);
            self.complete.store(true, Ordering::SeqCst);
            self.ticks.send_modify(|tick| *tick += 1);
        }
    }

    /// Somebody wants to see stacks: they are taken for a while.
    pub(crate) fn want_stacks(&self) {
        if self.picture().profile.want(Engine::now()) {
            self.reader.wake();
        }
    }

    /// Takes the stacks of tasks that run, if somebody wants to see them or they are to be kept; how long to sleep then.
    fn take_stacks(&self, turn: &mut Turn, timeout: Option<Duration>) -> Option<Duration> {
        let now = Engine::now();
        // While nothing happens nobody is woken for it.
        let is_kept = timeout.is_some() && self.keeps_stacks.load(Ordering::SeqCst);
        if !is_kept && !self.picture().profile.is_wanted(now) {
            return timeout;
        }
        if turn.due <= now {
            let before = processor_time();
            let stacks = self.reader.stacks(turn.begin(now));
            let count = stacks.len();
            let mut picture = self.picture();
            picture.add_stacks(now, stacks);
            let took = processor_time().saturating_sub(before);
            picture.profile.charge(took);
            turn.end(now, took, count);
        }
        let until = turn.due - Engine::now();
        Some(timeout.map_or(until, |timeout| timeout.min(until)))
    }

    /// The same for events only: what single tasks do is up to date then, numbers and rates need not be.
    pub(crate) fn read(&self) {
        self.collector().read(self);
    }

    /// What the thread does.
    fn run(&self) {
        let mut turn = Turn::default();
        while !self.stopped.load(Ordering::SeqCst) && !self.is_complete() {
            if self.reader.has_ended() {
                self.refresh();
                return;
            }
            let mut collector = self.collector();
            collector.read(self);
            if collector.sample_due <= Engine::now() {
                collector.look(self);
            }
            let (next, timeout) = collector.pause();
            let timeout = self.take_stacks(&mut turn, timeout);
            drop(collector);
            self.reader.wait_for_events(next, timeout);
        }
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        self.collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// When stacks are taken.
#[derive(Default)]
struct Turn {
    last: Time,
    every: Duration,
    due: Time,
}

impl Turn {
    /// Returns the time that the stacks of this turn stand for, of workers that ran meanwhile.
    fn begin(&mut self, now: Time) -> Duration {
        // Longer ago nobody wanted to know.
        let elapsed = (now - self.last).min(self.every.max(limits::PROFILE_EVERY) * 2);
        self.last = now;
        elapsed
    }

    /// It took so much time of this program to take so many stacks.
    fn end(&mut self, now: Time, took: Duration, count: usize) {
        let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        self.every = (took * limits::PROFILE_PART / count).max(limits::PROFILE_EVERY);
        self.due = now + self.every;
    }
}

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How far the log has been read.
struct Collector {
    reader: Reader,
    /// The number of the next event to be read.
    next: u64,
    /// The one at the last sample.
    sampled: u64,
    /// Samples since then that had nothing new to tell.
    quiet: u32,
    sample_due: Time,
    unfinished: usize,
}

impl Collector {
    fn new(reader: Reader, now: Time) -> Collector {
        Collector {
            reader,
            next: 0,
            sampled: 0,
            quiet: 0,
            sample_due: now,
            unfinished: 0,
        }
    }

    /// Until which event to sleep, and for how long at most.
    fn pause(&self) -> (u64, Option<Duration>) {
        if self.is_idle() {
            return (self.next + 1, None);
        }
        let timeout = self.sample_due - Engine::now();
        (self.next + EVENTS_UNREAD_MAX, Some(timeout))
    }

    /// Nothing is under way, and nothing has happened for so long that rates have come to rest: what the
    /// last sample says stays true.
    fn is_idle(&self) -> bool {
        self.unfinished == 0 && self.sampled == self.next && self.quiet >= QUIET_SAMPLES
    }

    /// When the first event happened that the log still has.
    fn first_event(&self) -> Option<Time> {
        let mut oldest = 0;
        loop {
            match self.reader.events(oldest, 1)? {
                Since::Batch { events, .. } => return Some(events.first()?.at),
                // It may be overwritten too before it is read.
                Since::Gap { oldest: next } => oldest = next,
            }
        }
    }

    /// Reads all events that there are.
    fn read(&mut self, shared: &Shared) {
        let mut missed = 0;
        while let Some(since) = self.reader.events(self.next, EVENTS_AT_ONCE) {
            match since {
                Since::Gap { oldest } => {
                    missed += oldest - self.next;
                    self.next = oldest;
                }
                Since::Batch { events, next } => {
                    self.next = next;
                    let mut picture = shared.picture();
                    for event in &events {
                        picture.apply(event);
                    }
                    if events.len() < EVENTS_AT_ONCE {
                        picture.name_groups(|group| self.reader.group_name(group));
                        break;
                    }
                }
            }
        }
        if missed > 0 {
            let mut picture = shared.picture();
            picture.miss(missed);
            picture.catch_up(|tasks| self.are_unfinished(tasks));
        }
    }

    fn are_unfinished(&self, tasks: &[TaskId]) -> Vec<bool> {
        let chunks = tasks.chunks(EVENTS_AT_ONCE);
        chunks
            .flat_map(|chunk| self.reader.are_unfinished(chunk))
            .collect()
    }

    /// Looks at the engine. Whoever asks may do so at any time; samples are taken when they are due.
    fn look(&mut self, shared: &Shared) {
        let totals = self.reader.totals().unwrap_or_else(|| Totals {
            // The engine is poisoned: what was last known stays, and nothing is left to be done.
            counts: lineshaft_engine::Counts::default(),
            workers: Vec::new(),
            ..shared.picture().totals.clone()
        });
        self.unfinished = totals.counts.total.unfinished();
        let last = shared.picture().usage.clone();
        let now = Engine::now();
        let pids = totals.workers.iter().filter_map(|worker| worker.pid);
        let usage = last.now(now, pids, totals.ended_cpu_ns);
        let mut picture = shared.picture();
        picture.look(now, totals, usage);
        picture.name_groups(|group| self.reader.group_name(group));
        if self.sample_due <= now {
            let sample = picture.latest;
            picture.history.push(sample);
            drop(picture);
            self.sampled_at(now);
            shared.ticks.send_modify(|tick| *tick += 1);
        }
    }

    fn sampled_at(&mut self, now: Time) {
        self.sample_due = now + SAMPLE_EVERY;
        let is_quiet = self.sampled == self.next;
        self.quiet = if is_quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.sampled = self.next;
    }
}
