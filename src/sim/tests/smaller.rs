//! What breaks is made smaller, and still breaks in the same way.

use std::time::Duration;

use super::super::shrink::{Limits, Shrunk, shrink, story};
use super::planted::{Fault, Planted};
use super::*;

const LIMITS: Limits = Limits { tries: 400, time: Duration::from_secs(600) };

/// The first seed that finds the fault as `kind`, as a case.
fn found(fault: Fault, kind: Kind) -> Case {
    for seed in (0..600).step_by(12) {
        let scenario = Scenario::of_seed(seed, None).unwrap();
        let (outcome, recorded) = record(&scenario, &Planted::new(fault));
        if outcome.broken.is_some_and(|(broken, _)| broken.kind == kind) {
            return recorded.case(&scenario).unwrap();
        }
    }
    panic!("{fault:?} is not found");
}

fn made_smaller(fault: Fault, kind: Kind) -> Shrunk {
    let case = found(fault, kind);
    let shrunk = shrink(&case, || Planted::new(fault), LIMITS).unwrap();
    println!("{}", story(&shrunk));
    assert_eq!(shrunk.broken.kind, kind);
    let again = run(&Scenario::of_case(&shrunk.case).unwrap(), &Planted::new(fault));
    assert_eq!(again.broken.unwrap().0, shrunk.broken, "what is left breaks as it is told");
    assert!(run(&Scenario::of_case(&shrunk.case).unwrap(), &RealParts).broken.is_none(), "and only by the fault");
    shrunk
}

#[test]
fn a_fault_that_needs_nothing_special_is_told_with_one_link_and_one_tag() {
    let shrunk = made_smaller(Fault::Restamped, Kind::HeldWrongly);
    let tags = shrunk.case.tags["tags"].as_array().unwrap().len();
    let links = shrunk.case.tags["links"].as_array().unwrap().len();
    assert!(tags <= 2 && links == 1 && shrunk.case.executors == 1, "{tags} tags, {links} links");
    assert!(shrunk.case.events.changes.is_empty() && shrunk.case.events.writes.is_empty());
    assert!(shrunk.before[2] > 5, "{:?}", shrunk.before);
}

#[test]
fn a_fault_of_writes_is_told_with_one_write() {
    let shrunk = made_smaller(Fault::Unwritten, Kind::WriteWithoutAnswer);
    assert_eq!(shrunk.case.events.writes.len(), 1);
    let text = story(&shrunk);
    assert!(text.contains("is written") && text.contains("it is inevitable"), "{text}");
    assert_eq!(shrunk.inevitable_at, Some(shrunk.case.events.writes[0].at_ns));
}

#[test]
fn the_same_case_becomes_the_same_small_one() {
    let case = found(Fault::Astray, Kind::Account);
    let small = || shrink(&case, || Planted::new(Fault::Astray), Limits { tries: 60, ..LIMITS }).unwrap();
    let (one, other) = (small(), small());
    assert_eq!((one.case, one.broken, one.tries), (other.case, other.broken, other.tries));
}

#[test]
fn what_holds_is_not_made_smaller() {
    let scenario = Scenario::of_seed(12, Some(0.0)).unwrap();
    let (_, recorded) = record(&scenario, &RealParts);
    assert!(shrink(&recorded.case(&scenario).unwrap(), || RealParts, LIMITS).is_none());
}
