//! Worker processes without Python: the zygote and the workers are this executable itself.
//!
//! So it has a `main` of its own, which runs the tests one after the other: they count processes and
//! descriptors. Names on the command line choose among them, as with the usual harness.

#[path = "../common/mod.rs"]
mod common;
mod setup;
mod worker;
mod zygote;

use std::time::Instant;

/// A test and its name.
type Test = (&'static str, fn());

/// Lists the tests of a module. One that is not listed is dead code, which the compiler reports.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[crate::Test] = &[$((stringify!($name), $name)),*];
    };
}

mod deaths;
mod ending;
mod feeding;
mod initializers;
mod leaving;
mod memory;
mod nesting;
mod results;
mod sockets;
mod time_limits;
mod zygotes;

const MODULES: &[(&str, &[Test])] = &[
    ("results", results::TESTS),
    ("memory", memory::TESTS),
    ("deaths", deaths::TESTS),
    ("sockets", sockets::TESTS),
    ("feeding", feeding::TESTS),
    ("nesting", nesting::TESTS),
    ("zygotes", zygotes::TESTS),
    ("initializers", initializers::TESTS),
    ("time_limits", time_limits::TESTS),
    ("leaving", leaving::TESTS),
    ("ending", ending::TESTS),
];

fn main() {
    match std::env::var(worker::ROLE).as_deref() {
        Ok("zygote") => return zygote::be_zygote(),
        Ok("worker") => return worker::be_worker(),
        _ => {}
    }
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let of_module = |(module, tests): &(&str, &'static [Test])| {
        let named = |(name, test): &Test| (format!("{module}::{name}"), *test);
        tests.iter().map(named).collect::<Vec<_>>()
    };
    let mut chosen: Vec<(String, fn())> = MODULES.iter().flat_map(of_module).collect();
    chosen.retain(|(test, _)| names.is_empty() || names.iter().any(|part| test.contains(part)));
    if flags.iter().any(|flag| flag == "--list") {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return;
    }
    std::fs::create_dir_all(setup::scratch()).expect("a folder");
    let mut failed = 0;
    for (name, test) in chosen {
        let began = Instant::now();
        let passed = std::panic::catch_unwind(test).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:?})", began.elapsed());
        failed += i32::from(!passed);
    }
    std::fs::remove_dir_all(setup::scratch()).expect("made above");
    assert_eq!(failed, 0, "tests failed");
}
