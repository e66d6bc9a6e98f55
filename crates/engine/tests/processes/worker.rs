//! The zygote and the worker of these tests: this test executable itself, started again.
//!
//! Values are plain bytes. A definition is the name of a function below.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lineshaft_core::{Attempt, TaskId};
use lineshaft_engine::Engine;
use lineshaft_engine::worker::{Job, NestedCall, Received, Sent, Session, SessionOptions};
use lineshaft_wire::{
    BufferRef, CallOptions, Filled, FromWorker, FromZygote, INLINE_SEGMENT, Receiver, Sender,
    ToZygote, Value,
};
use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags};
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

/// Says what this executable is to be.
pub const ROLE: &str = "LINESHAFT_TEST_ROLE";
/// A file before which the zygote does not say that it has started a worker.
pub const LATE: &str = "LINESHAFT_TEST_LATE";
const OPTIONS: &str = "LINESHAFT_TEST_WORKER";

/// Starts workers. They are spawned rather than forked, which the engine cannot tell.
pub fn be_zygote() {
    let socket = stdin();
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    let mut children: Vec<(u32, Child, OwnedFd)> = Vec::new();
    loop {
        let mut polled = vec![PollFd::new(&socket, PollFlags::IN)];
        polled.extend(
            children
                .iter()
                .map(|(_, _, handle)| PollFd::new(handle, PollFlags::IN)),
        );
        rustix::event::poll(&mut polled, None).expect("poll");
        let ended = match receiver.fill(socket.as_fd()).expect("a healthy socket") {
            Filled::Eof => return,
            Filled::Data | Filled::WouldBlock => children.iter_mut().position(|(_, child, _)| {
                let ended = child.try_wait().expect("a child");
                ended.is_some()
            }),
        };
        while let Some((frame, descriptors)) = receiver.next_frame().expect("a frame") {
            let message = lineshaft_wire::decode::<ToZygote<'_>>(frame).expect("a message");
            let ToZygote::Spawn {
                worker, tasks_max, ..
            } = message
            else {
                continue;
            };
            let mut next = || descriptors.take_fd().expect("six descriptors");
            let (socket, control, budget) = (next(), next(), next());
            let (stdout, stderr, _crash) = (next(), next(), next());
            for inherited in [&control, &budget] {
                rustix::io::fcntl_setfd(inherited, FdFlags::empty()).expect("fcntl");
            }
            let tasks_max = tasks_max.unwrap_or(0);
            let (control_fd, budget_fd) = (control.as_raw_fd(), budget.as_raw_fd());
            let child = Command::new("/proc/self/exe")
                .env(ROLE, "worker")
                .env(OPTIONS, format!("{control_fd} {budget_fd} {tasks_max}"))
                .stdin(Stdio::from(socket))
                .stdout(Stdio::from(stdout))
                .stderr(Stdio::from(stderr))
                .spawn()
                .expect("a worker starts");
            let pid = child.id();
            let handle = Pid::from_raw(pid.cast_signed()).expect("not 0");
            let handle = rustix::process::pidfd_open(handle, PidfdFlags::empty()).expect("pidfd");
            children.push((worker, child, handle));
            if let Some(file) = std::env::var_os(LATE) {
                wait_for_file(Path::new(&file));
            }
            sender
                .push(&FromZygote::Spawned { worker, pid }, [])
                .expect("fits");
        }
        if let Some(at) = ended {
            let (worker, mut child, _) = children.remove(at);
            let status = child.wait().expect("a child").into_raw();
            let message = FromZygote::Exited {
                worker,
                status,
                peak_memory_bytes: 1 << 20,
            };
            sender.push(&message, []).expect("fits");
        }
        if sender.flush_blocking(socket.as_fd()).is_err() {
            return;
        }
    }
}

fn stdin() -> OwnedFd {
    std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .expect("a descriptor")
}

/// Runs jobs until the engine is gone.
pub fn be_worker() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).expect("prctl");
    // Interrupts are seen by looking, see `sleep`; their signal would end the process.
    SigSet::all().thread_block().expect("a mask");
    let options = std::env::var(OPTIONS).expect("from the zygote");
    let options: Vec<u32> = options
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    let page = |fd| -> OwnedFd {
        let path = format!("/proc/self/fd/{fd}");
        let file = File::options().read(true).write(true).open(path);
        file.expect("inherited").into()
    };
    let session = Session::new(SessionOptions {
        socket: stdin(),
        control: page(options[0]),
        budget: page(options[1]),
        spill_dir: std::env::temp_dir(),
        tasks_max: (options[2] > 0).then_some(options[2]),
        growth_bytes_max: None,
    });
    let mut worker = Worker {
        session: Arc::new(session.expect("a session")),
        definitions: HashMap::new(),
        last_definition: 0,
        left_behind: None,
    };
    worker.serve();
}

struct Worker {
    session: Arc<Session>,
    definitions: HashMap<u64, String>,
    last_definition: u64,
    /// A thread that a task has left behind, and what it will have got.
    left_behind: Option<std::thread::JoinHandle<Vec<u8>>>,
}

type End = Result<Sent, Sent>;

/// What a worker sends for a value that is nothing but bytes.
fn says(data: &[u8]) -> Value<'_> {
    Value {
        data,
        segments: Vec::new(),
        buffers: Vec::new(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of two ends, beside `raised`")]
fn value(bytes: &[u8]) -> End {
    Ok(Sent::inline(bytes.to_vec()))
}

fn raised(text: &str) -> End {
    Err(Sent::inline(text.as_bytes().to_vec()))
}

fn number(received: &Received) -> u64 {
    u64::from_le_bytes((*received.data).try_into().expect("a number"))
}

impl Worker {
    fn serve(&mut self) {
        // Whatever fails here fails because the engine is gone.
        while let Ok(job) = self.session.try_next() {
            match job {
                Some(Job::Define { id, body }) => {
                    let name = String::from_utf8(body.data.into_vec()).expect("a name");
                    self.definitions.insert(id, name);
                }
                Some(Job::Forget { ids }) => {
                    self.definitions.retain(|id, _| !ids.contains(id));
                }
                Some(Job::Initialize { code, args }) => {
                    let name = self.definitions[&code].clone();
                    if let Err(error) = self.call(&name, &args, &[], TaskId(0), Attempt(0)) {
                        self.session.report_broken(error).expect("the engine");
                        return;
                    }
                }
                Some(Job::Run {
                    task,
                    attempt,
                    code,
                    args,
                    inputs,
                    ..
                }) => {
                    let began = Engine::now();
                    let name = self.definitions[&code].clone();
                    let end = self.call(&name, &args, &inputs, task, attempt);
                    if self.session.report(task, attempt, began, end).is_err() {
                        return;
                    }
                }
                None => match self.session.wait() {
                    Ok(true) => {}
                    _ => return,
                },
            }
            match self.session.recycle() {
                Ok(false) => {}
                _ => return,
            }
        }
    }

    /// Sends what makes no sense.
    fn misbehave(&mut self, how: &str, task: TaskId, attempt: Attempt) -> End {
        match how {
            "garbage" => {
                self.flush();
                rustix::io::write(stdin(), &[0xff; 64]).expect("the engine");
                self.sleep(60_000, false)
            }
            "more" => {
                self.flush();
                // A message, and something behind it in its frame.
                let mut sender = Sender::new();
                let record = FromWorker::Log { record: b"x" };
                sender.push(&record, []).expect("fits");
                let mut frame = sender.pending().to_vec();
                frame[0] += 1;
                frame.push(0);
                rustix::io::write(stdin(), &frame).expect("the engine");
                self.sleep(60_000, false)
            }
            // A segment that never comes.
            "lie" => {
                let value = Value {
                    segments: vec![4096],
                    ..says(b"lie")
                };
                self.answer_alone(task, attempt, value)
            }
            "unsealed" => {
                let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC);
                let file = file.expect("a memfd");
                rustix::fs::ftruncate(&file, 4096).expect("room");
                Ok(Sent {
                    data: b"unsealed".to_vec(),
                    segments: vec![(file, 4096)],
                    buffers: Vec::new(),
                })
            }
            // A buffer that begins behind the end of what was sent.
            "misplaced" => {
                let value = Value {
                    buffers: vec![BufferRef {
                        segment: INLINE_SEGMENT,
                        offset: 10,
                        bytes: 0,
                    }],
                    ..says(b"misplaced")
                };
                self.answer_alone(task, attempt, value)
            }
            _ => unreachable!("{how} is not misbehaviour"),
        }
    }

    /// Sends a result past the session, and begins nothing that would be lost behind it.
    fn answer_alone(&self, task: TaskId, attempt: Attempt, value: Value<'_>) -> End {
        self.flush();
        let message = FromWorker::Finished {
            task: task.0,
            attempt: attempt.0,
            ran_ns: 1,
            value,
        };
        let mut sender = Sender::new();
        sender.push(&message, []).expect("fits");
        sender.flush_blocking(stdin().as_fd()).expect("the engine");
        self.sleep(60_000, false)
    }

    fn call(
        &mut self,
        name: &str,
        args: &Received,
        inputs: &[Received],
        task: TaskId,
        attempt: Attempt,
    ) -> End {
        match name {
            "echo" => value(&args.data),
            "pid" => value(&u64::from(std::process::id()).to_le_bytes()),
            "sum" => {
                let sum = number(args) + inputs.iter().map(number).sum::<u64>();
                value(&sum.to_le_bytes())
            }
            // Leaves a line in a file each time it runs.
            "leave a line" => {
                let file = File::options().append(true).create(true).open(path(args));
                file.expect("a file").write_all(b"x\n").expect("room");
                value(b"left")
            }
            "raise" => raised(std::str::from_utf8(&args.data).expect("words")),
            "sleep through" => self.sleep(number(args), false),
            // The first attempt takes too long, the second as long as is given.
            "sleep again" if attempt == Attempt(1) => self.sleep(60_000, true),
            "sleep" | "sleep again" => self.sleep(number(args), true),
            // Says that it is to be interrupted, then waits for the signal.
            "await the signal" => {
                while !self.session.is_interrupted() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                File::create(path(args)).expect("a file");
                let signals = SigSet::from(nix::sys::signal::Signal::SIGXCPU);
                signals.wait().expect("a signal");
                raised("signalled")
            }
            "exit" => std::process::exit(i32::try_from(number(args)).expect("small")),
            "die" => {
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)
                    .expect("of ourselves");
                self.sleep(60_000, false)
            }
            "die once" if attempt == Attempt(1) => self.call("die", args, inputs, task, attempt),
            "die once" => value(b"lived"),
            "garbage" | "more" | "lie" | "unsealed" | "misplaced" => {
                self.misbehave(name, task, attempt)
            }
            "hang up" => {
                rustix::net::shutdown(stdin(), rustix::net::Shutdown::Both).expect("a socket");
                self.sleep(60_000, false)
            }
            "blob" => self.blob(number(args)),
            "checksum" => {
                let all = std::iter::once(args).chain(inputs);
                value(&all.map(checksum).sum::<u64>().to_le_bytes())
            }
            // Says that it has begun, then waits until it may end.
            "hold" => {
                let path = path(args);
                File::create(path.with_extension("began")).expect("a file");
                wait_for_file(&path);
                value(b"held")
            }
            "print" => {
                std::io::stdout().write_all(&args.data).expect("a pipe");
                std::io::stdout().flush().expect("a pipe");
                value(b"printed")
            }
            nested => self.call_nested(nested, args),
        }
    }

    /// Functions that make calls.
    fn call_nested(&mut self, name: &str, args: &Received) -> End {
        match name {
            "nest" => self.nest(number(args)),
            "nest and cancel" => self.nest_and_cancel(),
            "nest in a pool" => self.nest_in_a_pool(number(args)),
            "leave a thread waiting" => {
                let call = self.submit(None, "hold", &args.data);
                let session = Arc::clone(&self.session);
                let waits = move || wait(&session, &call).unwrap_or_else(String::into_bytes);
                self.left_behind = Some(std::thread::spawn(waits));
                // In another worker: this one is busy.
                wait_for_file(&path(args).with_extension("began"));
                value(b"left")
            }
            "join the thread" => {
                let Some(thread) = self.left_behind.take() else {
                    return raised("no thread was left in this worker");
                };
                match thread.join() {
                    Ok(bytes) => value(&bytes),
                    Err(_) => raised("the thread panicked"),
                }
            }
            "nest in a thread" => {
                let call = self.submit(None, "echo", &args.data);
                let session = Arc::clone(&self.session);
                let waits = move || wait(&session, &call).unwrap_or_else(String::into_bytes);
                value(&std::thread::spawn(waits).join().expect("no panic"))
            }
            "nest in a callback" => {
                let call = self.submit(None, "echo", &args.data);
                let (tell, told) = std::sync::mpsc::channel();
                self.session.on_answer(&call, move || {
                    tell.send(()).expect("somebody waits");
                });
                told.recv().expect("a callback");
                value(&args.data)
            }
            "nest a failure" => {
                let call = self.submit(None, "raise", b"inside");
                let text = self.wait(&call).expect_err("it raises");
                raised(&format!("outside of {text}"))
            }
            other => raised(&format!("no function is called {other}")),
        }
    }

    /// Has results leave that would come behind garbage, and be lost with it.
    fn flush(&self) {
        let at_once = Some(Duration::from_nanos(1));
        let waited = self.session.wait_for_any(&[], at_once, None);
        waited.expect("the engine");
    }

    fn sleep(&self, millis: u64, interruptible: bool) -> End {
        for _ in 0..millis {
            std::thread::sleep(Duration::from_millis(1));
            if interruptible && self.session.is_interrupted() {
                return raised("interrupted");
            }
        }
        value(b"slept")
    }

    fn blob(&self, bytes: u64) -> End {
        let part = vec![1_u8; usize::try_from(bytes).expect("fits")];
        let (fd, length, offsets) = match self.session.write_segment(&[&part]) {
            Ok(written) => written,
            Err(error) => return raised(&error.to_string()),
        };
        let buffer = BufferRef {
            segment: 0,
            offset: offsets[0],
            bytes,
        };
        Ok(Sent {
            data: b"blob".to_vec(),
            segments: vec![(fd, length)],
            buffers: vec![buffer],
        })
    }

    // Nested calls.

    fn submit(&mut self, pool: Option<u64>, name: &str, args: &[u8]) -> Arc<NestedCall> {
        self.last_definition += 1;
        let id = self.last_definition;
        let body = Sent::inline(name.as_bytes().to_vec());
        self.session
            .define(id, Vec::new(), name, body)
            .expect("the engine");
        let options = CallOptions::default();
        let args = Sent::inline(args.to_vec());
        self.session
            .call(pool, id, Vec::new(), Vec::new(), options, args)
            .expect("the engine")
    }

    fn wait(&self, call: &NestedCall) -> Result<Vec<u8>, String> {
        wait(&self.session, call)
    }

    /// Calls itself to the depth given, with another call beside it at each level.
    fn nest(&mut self, depth: u64) -> End {
        if depth == 0 {
            return value(&0_u64.to_le_bytes());
        }
        let inner = self.submit(None, "nest", &(depth - 1).to_le_bytes());
        let beside = self.submit(None, "echo", &1_u64.to_le_bytes());
        let mut sum = 0;
        for call in [inner, beside] {
            match self.wait(&call) {
                Ok(bytes) => sum += u64::from_le_bytes(bytes.try_into().expect("a number")),
                Err(text) => return raised(&text),
            }
            self.session.forget(call.id()).expect("the engine");
        }
        value(&sum.to_le_bytes())
    }

    /// Makes calls and takes every second back at once; what is left must still be answered.
    fn nest_and_cancel(&mut self) -> End {
        let mut cancelled = 0_u64;
        for round in 0..20_u64 {
            let calls: Vec<_> = (0..10)
                .map(|i| self.submit(None, "echo", &(round * 10 + i).to_le_bytes()))
                .collect();
            for pair in calls.chunks(2) {
                cancelled += u64::from(self.session.cancel(&pair[1]).expect("the engine"));
            }
            for pair in calls.chunks(2) {
                if let Err(text) = self.wait(&pair[0]) {
                    return raised(&text);
                }
            }
        }
        value(&cancelled.to_le_bytes())
    }

    /// Opens a pool, makes calls in it and closes it before they can have run.
    fn nest_in_a_pool(&mut self, calls: u64) -> End {
        let pool = self.session.open_pool(1, None, None).expect("the engine");
        let calls: Vec<_> = (0..calls)
            .map(|_| self.submit(Some(pool), "echo", b"x"))
            .collect();
        self.session.close_pool(pool).expect("the engine");
        for call in &calls {
            if let Err(text) = self.wait(call) {
                return raised(&text);
            }
        }
        value(b"all")
    }
}

fn checksum(received: &Received) -> u64 {
    let of_segment = |(fd, bytes): &(OwnedFd, u64)| {
        let map = lineshaft_store::map_fd(fd.as_fd(), *bytes).expect("a segment");
        map.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    received.segments.iter().map(of_segment).sum()
}

fn wait(session: &Arc<Session>, call: &NestedCall) -> Result<Vec<u8>, String> {
    session.wait_for(call, None, None).expect("the engine");
    match call.answer().expect("waited for") {
        Ok(received) => Ok(received.data.to_vec()),
        Err(lineshaft_engine::worker::Unanswered::Raised(error)) => {
            Err(String::from_utf8_lossy(&error.data).into_owned())
        }
        Err(other) => Err(format!("{other:?}")),
    }
}

fn path(args: &Received) -> PathBuf {
    PathBuf::from(std::str::from_utf8(&args.data).expect("a path"))
}

fn wait_for_file(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
