//! Tasks that make calls.

use std::fs::File;
use std::sync::Arc;

use lineshaft_engine::worker::{NestedCall, Received, Sent, Session, Unanswered};
use lineshaft_wire::CallOptions;

use super::{End, Worker, number, path, raised, until_exists, value};

impl Worker {
    /// Functions that make calls.
    pub fn call_nested(&mut self, name: &str, args: &Received) -> End {
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
                until_exists(&path(args).with_extension("began"));
                value(b"left")
            }
            "linger for an answer" => {
                let pool = self.session.open_pool(1, None, None).expect("the engine");
                let call = self.submit(Some(pool), "hold", &args.data);
                let session = Arc::clone(&self.session);
                let waits = move || wait(&session, &call).unwrap_or_else(String::into_bytes);
                self.left_behind = Some(std::thread::spawn(waits));
                self.lingers = Some(path(args));
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
            "hold and nest" => {
                let path = path(args);
                File::create(path.with_extension("began")).expect("a file");
                until_exists(&path);
                let call = self.submit(None, "echo", b"nested");
                self.wait(&call)
                    .map_or_else(|text| raised(&text), |bytes| value(&bytes))
            }
            "nest for ever" => {
                File::create(path(args).with_extension("began")).expect("a file");
                loop {
                    let call = self.submit(None, "echo", b"once more");
                    let answer = self.wait(&call);
                    self.session.forget(call.id()).expect("the engine");
                    if let Err(text) = answer {
                        break raised(&text);
                    }
                }
            }
            "nest a failure" => {
                let call = self.submit(None, "raise", b"inside");
                let text = self.wait(&call).expect_err("it raises");
                raised(&format!("outside of {text}"))
            }
            other => raised(&format!("no function is called {other}")),
        }
    }

    fn submit(&mut self, pool: Option<u64>, name: &str, args: &[u8]) -> Arc<NestedCall> {
        self.last_definition += 1;
        let id = self.last_definition;
        let body = Sent::inline(name.as_bytes().to_vec());
        self.session
            .define(id, Vec::new(), ("", name), body)
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
                cancelled += u64::from(self.session.cancel(&pair[1], false).expect("the engine"));
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

fn wait(session: &Arc<Session>, call: &NestedCall) -> Result<Vec<u8>, String> {
    session.wait_for(call, None, None).expect("the engine");
    match call.answer().expect("waited for") {
        Ok(received) => Ok(received.data.to_vec()),
        Err(Unanswered::Raised(error)) => Err(String::from_utf8_lossy(&error.data).into_owned()),
        Err(other) => Err(format!("{other:?}")),
    }
}
