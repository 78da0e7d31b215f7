//! `fieldbeat sim`: the gateway in virtual time, by seed; a seed that fails says how to run it again.

use std::process::ExitCode;

use clap::Args;

use crate::sim::{self, RealParts, Scenario};

#[derive(Args)]
pub struct SimArgs {
    /// What happens is made from this number alone: the same seed gives the same hash.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Virtual hours of trouble; else as long as the seed says.
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// Run so many seeds, from --seed on.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
}

pub fn sim(args: &SimArgs) -> ExitCode {
    if args.hours.is_some_and(|hours| !(0.0..=100_000.0).contains(&hours)) {
        return super::fail(super::EXIT_CONFIG, "error: --hours: allowed are 0 to 100000");
    }
    let mut virtual_ns = 0;
    for seed in args.seed..args.seed.saturating_add(args.seeds.max(1)) {
        let again = match args.hours {
            Some(hours) => format!("fieldbeat sim --seed {seed} --hours {hours}"),
            None => format!("fieldbeat sim --seed {seed}"),
        };
        let scenario = match Scenario::of_seed(seed, args.hours) {
            Ok(scenario) => scenario,
            Err(error) => return super::fail(1, format!("error: {error}\nrun it again with: {again}")),
        };
        let outcome = sim::run(&scenario, &RealParts);
        if let Some((what, last)) = &outcome.broken {
            let last = last.join("\n");
            let message = format!("the last events:\n{last}\nerror: seed {seed}: {what}\nrun it again with: {again}");
            return super::fail(1, message);
        }
        virtual_ns += outcome.virtual_ns;
        println!(
            "seed {seed}: hash {:016x}, {:.0} s, {} executors, {} links, {} tags: {} requests, {} samples ({} good, \
             {} dropped and {} suppressed, all counted), {} writes ({} done), {} reloads, {} events",
            outcome.hash,
            outcome.virtual_ns as f64 / 1e9,
            scenario.plan.executors.len(),
            scenario.plan.links.len(),
            scenario.plan.tags.len(),
            outcome.requests,
            outcome.samples,
            outcome.good,
            outcome.dropped,
            outcome.suppressed,
            outcome.writes_done + outcome.writes_failed,
            outcome.writes_done,
            outcome.reloads,
            outcome.events,
        );
    }
    if args.seeds > 1 {
        println!("{} seeds hold, {:.2} virtual hours", args.seeds, virtual_ns as f64 / 3.6e12);
    }
    ExitCode::SUCCESS
}
