//! Some seeds of the simulation in every test run; `cargo xtask sim --seeds 10000` runs many more of them.

use logrun_sim::{Outcome, Stats, seed as run};

/// Runs `seeds` and tells of the first that fails.
fn hold(seeds: std::ops::Range<u64>) {
    let mut stats = Stats::default();
    for seed in seeds {
        let Outcome { violation, stats: of_this, .. } = run(seed, None);
        if let Some(violation) = violation {
            panic!("seed {seed}: {violation}\nreplay it with: cargo xtask sim --seed {seed}");
        }
        stats.merge(&of_this);
    }
    for what in [
        "batches acknowledged",
        "records read",
        "records audited",
        "commits",
        "assignments",
        "disk faults",
        "library records read",
    ] {
        assert!(stats.get(what) > 0, "nothing of this was done: {what}");
    }
}

// Four tests, so that they run beside each other.

#[test]
fn seeds_0_to_50_hold() {
    hold(0..50);
}

#[test]
fn seeds_50_to_100_hold() {
    hold(50..100);
}

#[test]
fn seeds_100_to_150_hold() {
    hold(100..150);
}

#[test]
fn seeds_150_to_200_hold() {
    hold(150..200);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (one, two) = (run(seed, None), run(seed, None));
        assert_eq!(one, two, "seed {seed} did not do the same twice");
    }
}
