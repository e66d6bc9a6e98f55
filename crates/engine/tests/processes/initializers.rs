//! What workers run before their first task.

use lineshaft_engine::{Payload, TaskError, TaskRequest};

use crate::setup::{Hold, Processes, pool_initialized_by};

tests![
    an_initializer_runs_first,
    an_initializer_that_fails_breaks_its_pool,
];

fn an_initializer_runs_first() {
    let plain = Processes::new(1);
    let hold = Hold::new();
    hold.release();
    let options = pool_initialized_by(&plain, "hold", hold.args());
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    processes.check();
    assert!(hold.0.with_extension("began").exists());
}

fn an_initializer_that_fails_breaks_its_pool() {
    let plain = Processes::new(1);
    plain.check();
    let open = |words: &str| {
        let options = pool_initialized_by(&plain, "raise", words.as_bytes());
        plain.engine.open_pool(options).expect("open")
    };
    let pools = ["one", "two"].map(|words| (words, open(words)));
    let in_pool = |pool| {
        let request = plain.request("echo", Payload::inline(b""));
        let request = TaskRequest { pool, ..request };
        plain.engine.submit(request).expect("open")
    };
    for _ in 0..2 {
        for (words, pool) in pools {
            let task = in_pool(pool);
            match plain.error(&task) {
                TaskError::PoolBroken(Ok(payload)) => {
                    assert_eq!(&*payload.data, words.as_bytes(), "its own exception");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    plain.check();
}
