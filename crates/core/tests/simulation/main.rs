//! The real scheduler among fake workers that crash, stall, lie, repeat and reorder messages.
//!
//! Each run is determined by its seed. On failure the seed is printed; replay it with
//! `LINESHAFT_SEED=17 cargo test -p lineshaft-core --test simulation`, or run more seeds with
//! `LINESHAFT_SEEDS=100000`.
//!
//! Laws, checked after every input by [`ledger`]: a task runs only when all it needs has finished, on a
//! worker of its pool that is up and has room; it ends once; nothing starts beyond the cores; no more
//! workers are asked for than the pool allows. At the end every task has ended, nothing is in flight,
//! and there is no deadline.

mod ledger;
mod random;
mod world;

use random::Random;
use world::World;

/// Says which seed failed.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with LINESHAFT_SEED={}", self.0);
        }
    }
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
    )
}

#[test]
fn every_seed_comes_to_rest_with_all_tasks_ended() {
    let seeds = match number_from_environment("LINESHAFT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_environment("LINESHAFT_SEEDS").unwrap_or(100),
    };
    for seed in seeds {
        let announce = Announce(seed);
        World::new(Random::new(seed)).run_to_rest();
        drop(announce);
    }
}

#[test]
fn equal_seeds_give_equal_actions() {
    let run = |seed| World::new(Random::new(seed)).run_to_rest();
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
