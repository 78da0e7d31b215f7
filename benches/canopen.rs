//! What an SDO read takes from the frame out to the value: the master on the real executor, a socket pair, and a node of
//! the Python package `canopen`, whose time is most of it.

#![allow(clippy::unwrap_used, reason = "a measurement may fail by panicking")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/peers/mod.rs"]
mod peers;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/canopen/rig.rs"]
mod rig;

use std::time::Duration;

use fieldbeat::rt::{Report, RequestResult};
use fieldbeat::tag::Value;

fn main() {
    // With all targets, as cargo tests them, it is only built.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut rig = rig::rig(rig::NODE);
    rig.wait_good("torque", Value::Int(-3));
    std::thread::sleep(Duration::from_secs(10));
    let mut times: Vec<u64> = std::iter::from_fn(|| rig.reports.pop().ok())
        .filter_map(|report| match report {
            Report::Finished { sent, received, result: RequestResult::Good, .. } => Some(received.since(sent).0 / 1000),
            _ => None,
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{} reads: p50 {} µs, p99 {} µs, max {} µs", times.len(), at(0.5), at(0.99), at(1.0));
}
