//! The worker of these tests: this test executable itself, started again.
//!
//! Values are plain bytes. A definition is the name of a function below.

mod calling;
mod misbehaving;

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lineshaft_core::{Attempt, TaskId};
use lineshaft_engine::worker::{Job, Raised, Received, Sent, Session, SessionOptions, Stopwatch};
use lineshaft_wire::BufferRef;
use nix::sys::signal::SigSet;
use rustix::process::Signal;

use crate::common::eventually;

/// Says what this executable is to be.
pub const ROLE: &str = "LINESHAFT_TEST_ROLE";
/// What the zygote tells a worker.
pub const OPTIONS: &str = "LINESHAFT_TEST_WORKER";

/// The socket to the engine, or the zygote's.
pub fn stdin() -> OwnedFd {
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
        lingers: None,
    };
    worker.serve();
    if let Some(path) = worker.lingers {
        File::create(path.with_extension("leaving")).expect("a file");
        match worker.left_behind {
            None => until_exists(&path),
            Some(thread) => {
                let got = thread.join().expect("an answer");
                std::fs::write(path.with_extension("got"), got).expect("room");
            }
        }
    }
}

struct Worker {
    session: Arc<Session>,
    definitions: HashMap<u64, String>,
    last_definition: u64,
    /// A thread that a task has left behind, and what it will have got.
    left_behind: Option<std::thread::JoinHandle<Vec<u8>>>,
    /// The file that it waits for before it ends, unless it waits for the thread that was left behind.
    lingers: Option<PathBuf>,
}

type End = Result<Sent, Sent>;

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
                    let mut phases = Stopwatch::start();
                    let name = self.definitions[&code].clone();
                    phases.call();
                    let end = self.call(&name, &args, &inputs, task, attempt);
                    phases.ended();
                    let end = end.map_err(|error| Raised {
                        error,
                        traceback: format!("raised by {name}"),
                    });
                    if self
                        .session
                        .report(task, attempt, &phases, end, None)
                        .is_err()
                    {
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

    #[expect(
        clippy::disallowed_methods,
        reason = "a task that exits is what is tested"
    )]
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
            // Takes long to end; says that it is about to.
            "linger" => {
                self.lingers = Some(path(args));
                self.call("pid", args, inputs, task, attempt)
            }
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
            "sleep through" => self.stay(),
            // The first attempt takes too long, the second as long as is given.
            "sleep again" if attempt == Attempt(1) => self.sleep(60_000, true),
            "sleep" | "sleep again" => self.sleep(number(args), true),
            // Says that it is to be interrupted, then waits for the signal.
            "await the signal" => {
                eventually("its time is over", || self.session.is_interrupted());
                File::create(path(args)).expect("a file");
                let signals = SigSet::from(nix::sys::signal::Signal::SIGXCPU);
                signals.wait().expect("a signal");
                raised("signalled")
            }
            "exit" => std::process::exit(i32::try_from(number(args)).expect("small")),
            "die" => {
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)
                    .expect("of ourselves");
                self.stay()
            }
            "die once" if attempt == Attempt(1) => self.call("die", args, inputs, task, attempt),
            "die once" => value(b"lived"),
            "die unless first" if File::create_new(path(args)).is_ok() => value(b"first"),
            "die unless first" => self.call("die", args, inputs, task, attempt),
            "garbage" | "more" | "half" | "lie" | "unsealed" | "misplaced" => {
                self.misbehave(name, task, attempt)
            }
            "hang up" => {
                rustix::net::shutdown(stdin(), rustix::net::Shutdown::Both).expect("a socket");
                self.stay()
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
                until_exists(&path);
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

    #[expect(
        clippy::disallowed_methods,
        reason = "tasks that take a while are what is tested"
    )]
    fn sleep(&self, millis: u64, interruptible: bool) -> End {
        let until = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
            if interruptible && self.session.is_interrupted() {
                return raised("interrupted");
            }
        }
        value(b"slept")
    }

    /// Waits to be killed.
    fn stay(&self) -> End {
        self.sleep(60_000, false)
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
}

fn checksum(received: &Received) -> u64 {
    let of_segment = |(fd, bytes): &(OwnedFd, u64)| {
        let map = lineshaft_store::map_fd(fd.as_fd(), *bytes).expect("a segment");
        map.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    received.segments.iter().map(of_segment).sum()
}

fn path(args: &Received) -> PathBuf {
    PathBuf::from(std::str::from_utf8(&args.data).expect("a path"))
}

/// Waits for a file.
pub fn until_exists(path: &Path) {
    eventually("somebody makes the file", || path.exists());
}
