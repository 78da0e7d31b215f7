//! Seeds hold, repeat themselves, and find planted faults.

use super::*;

#[test]
fn some_seeds_hold() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60u64);
    let mut bad = 0;
    for seed in 0..seeds {
        let scenario = Scenario::of_seed(seed, Some(0.004)).unwrap();
        let outcome = run(&scenario, &RealParts);
        if let Some((what, last)) = outcome.broken {
            println!("seed {seed}: {what}\n{}", last[last.len() - 6..].join("\n"));
            bad += 1;
        }
    }
    assert_eq!(bad, 0);
}
