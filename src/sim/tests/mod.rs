//! Seeds hold and repeat themselves, and planted faults are found.

mod bent_link;
mod bent_world;
mod cases;
mod found;
mod planted;
mod smaller;

use super::*;

fn must_hold(seed: u64, hours: Option<f64>) -> Outcome {
    let scenario = Scenario::of_seed(seed, hours).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let outcome = run(&scenario, &RealParts);
    if let Some((what, last)) = &outcome.broken {
        let hours = hours.map(|hours| format!(" --hours {hours}")).unwrap_or_default();
        panic!("{}\nseed {seed}: {what}\nrun it again with: fieldbeat sim --seed {seed}{hours}", last.join("\n"));
    }
    outcome
}

/// Together they run for more than a virtual day.
const SEEDS: u64 = 300;

/// What many seeds came to.
fn seeds_hold(seeds: impl Iterator<Item = u64>) {
    let outcomes: Vec<Outcome> = seeds.map(|seed| must_hold(seed, None)).collect();
    let hours = |those: &dyn Fn(&Outcome) -> bool| {
        outcomes.iter().filter(|o| those(o)).map(|o| o.virtual_ns).sum::<u64>() as f64 / 3.6e12
    };
    let count = |of: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let reloads = count(&|o| o.reloads);
    println!(
        "{} seeds, {:.1} virtual hours; {:.1} with {reloads} reloads ({} refused); {:.1} with the journal and {} crashes",
        outcomes.len(),
        hours(&|_| true),
        hours(&|o| o.reloads > 0),
        count(&|o| o.refused),
        hours(&|o| o.journal),
        count(&|o| o.crashes),
    );
    let (faults, lost) = (count(&|o| o.journal_faults), count(&|o| o.files_lost));
    let (lines, unread) = (count(&|o| o.log_lines), count(&|o| o.log_lines_lost));
    println!("{faults} faults of a journal's files and disk, {lost} files lost; {unread} of {lines} log lines lost");
    assert!(faults > 50 && lost > 10 && unread > 0, "{faults} faults, {lost} files lost, {unread} lines lost");
    let (given, backfill) = (count(&|o| o.source_samples), count(&|o| o.backfill));
    let dropped = count(&|o| o.source_dropped);
    println!("{given} samples of sources, {backfill} of them backfill, {dropped} dropped");
    assert!(given > 300_000 && backfill > 30_000 && dropped > 10_000, "{given}, {backfill}, {dropped}");
    let (suppressed, besides) = (count(&|o| o.suppressed), count(&|o| o.besides));
    println!("{suppressed} of {} samples suppressed; {besides} looks beside a dead unit", count(&|o| o.samples));
    assert!(suppressed > 100_000 && besides > 5_000);
    assert!(hours(&|_| true) > 12.5, "two of these are more than a virtual day");
    let (done, failed) = (count(&|o| o.writes_done), count(&|o| o.writes_failed));
    println!("{done} writes done, {failed} not");
    assert!(done > 10_000 && failed > 10_000, "{done} writes done, {failed} not");
    assert!(reloads > 3_000 && count(&|o| o.crashes) > 50, "{reloads} reloads");
}

// In two halves, for two cores.

#[test]
fn hundreds_of_seeds_hold() {
    seeds_hold((0..SEEDS).filter(|seed| (seed / 12).is_multiple_of(2)));
}

#[test]
fn hundreds_of_other_seeds_hold() {
    seeds_hold((0..SEEDS).filter(|seed| !(seed / 12).is_multiple_of(2)));
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [12, 7, 8, 9] {
        let (first, second) = (must_hold(seed, Some(0.01)), must_hold(seed, Some(0.01)));
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
    }
    assert_ne!(must_hold(7, Some(0.01)).hash, must_hold(8, Some(0.01)).hash);
}
