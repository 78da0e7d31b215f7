//! What is logged of bad tags: each reason once, its end, and again only after pauses.

use std::sync::{Arc, Mutex};

use super::*;
use crate::hub::stats::Statistics;
use crate::lane::{Counters, Image, LinkState, Reading};
use crate::protocol;
use crate::protocol::load_parts;
use crate::serve::{Current, Health, JournalView, Reloads};
use crate::tag::{Block, Fault, Status};

const TAGS: &str = r#"{"links":[{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"}],
    "tags":[{"name":"a","address":"plc:1:3:7","data_type":"uint16","scan_rate_ms":100},
            {"name":"b","address":"plc:1:3:9","data_type":"uint16","scan_rate_ms":100},
            {"name":"c","address":"plc:2:3:9","data_type":"uint16","scan_rate_ms":100}]}"#;

struct Bench {
    observed: Observed,
    reasons: Reasons,
    now: Instant,
    lines: Vec<String>,
}

fn read(unit: u8, first: u16, fault: Fault) -> Cause {
    Cause::Read { block: Block { unit, function: 3, first, count: 1 }, fault }
}

impl Bench {
    fn new() -> Bench {
        let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", TAGS)]).unwrap();
        let plan = Arc::new(protocol::build(&loaded.config, &[0]).unwrap().plan);
        let counters = Arc::new(Counters::new(&plan));
        counters.link(LinkId(0)).set_state(LinkState::Up);
        let observed = Observed {
            boot: String::new(),
            started: crate::tag::Nanos::ZERO,
            taps: crate::hub::taps().0,
            gateway: "g".into(),
            counters,
            image: Arc::new(Image::new([0; 3], Status::GOOD.0)),
            link_troubles: Box::new(BTreeMap::new),
            statistics: Arc::new(Statistics::new(&plan)),
            current: Mutex::new(Current::new(plan)),
            rings: vec![],
            journal: Box::new(JournalView::default),
            outputs: vec![],
            health: Arc::new(Health::default()),
            reloads: Reloads::default(),
            writes: Arc::default(),
        };
        Bench { observed, reasons: Reasons::new(), now: Instant::now(), lines: vec![] }
    }

    fn set(&self, tag: usize, status: Status, cause: Option<Cause>) {
        self.observed.image.set_cause(tag, cause.map_or(0, Cause::code));
        self.observed.image.write(tag, Reading { t: 1, value: 0, status: status.0, cycle: 1 });
    }

    fn bad(&self, tag: usize, cause: Cause) {
        self.set(tag, Status::BAD_CONFIGURATION_ERROR, Some(cause));
    }

    fn good(&self, tag: usize) {
        self.set(tag, Status::GOOD, None);
    }

    /// A look each second; what was logged.
    fn run_s(&mut self, seconds: u64) -> Vec<String> {
        let Bench { observed, reasons, now, lines } = self;
        for _ in 0..seconds {
            *now += Duration::from_secs(1);
            reasons.look(observed, *now, &mut |line| {
                lines.push(match line {
                    Line::Bad(text) => format!("WARN {text}"),
                    Line::Well(text) => format!("INFO {text}"),
                });
            });
        }
        std::mem::take(lines)
    }
}

#[test]
fn what_fails_alike_is_one_line_with_every_tag_and_its_block_and_its_end_is_another() {
    let mut bench = Bench::new();
    assert!(bench.run_s(10).is_empty());
    bench.bad(0, read(1, 7, Fault::Exception(2)));
    bench.bad(1, read(1, 9, Fault::Exception(2)));
    bench.bad(2, read(2, 9, Fault::NoReply));
    let lines = bench.run_s(60);
    let expected = "WARN link \"plc\": 2 tags are bad (BadConfigurationError): unit 1, function 3 (holding registers): \
                    exception 02 illegal data address: \"a\" (address 7, count 1), \"b\" (address 9, count 1); ";
    assert!(lines.len() == 2 && lines.iter().any(|line| line.starts_with(expected)), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("unit 2") && line.contains("no reply")), "{lines:#?}");
    bench.good(0);
    assert!(bench.run_s(30).is_empty(), "one of them is still bad");
    bench.good(1);
    let lines = bench.run_s(30);
    let expected = "INFO link \"plc\": all well again: \"a\", \"b\" (it was: unit 1, function 3 (holding registers): \
                    exception 02 illegal data address)";
    assert_eq!(lines, [expected]);
}

#[test]
fn a_reason_that_comes_and_goes_is_told_less_and_less() {
    let mut bench = Bench::new();
    let mut told = 0;
    for _ in 0..360 {
        bench.bad(0, read(1, 7, Fault::NoReply));
        told += bench.run_s(5).len();
        bench.good(0);
        told += bench.run_s(5).len();
    }
    // An hour: the first minute, then pauses of two minutes, four, eight, …
    assert!((6..=16).contains(&told), "{told}");
}

#[test]
fn what_passes_within_a_second_and_links_without_a_connection_are_not_told_here() {
    let mut bench = Bench::new();
    bench.bad(0, read(1, 7, Fault::NoReply));
    assert!(bench.run_s(1).is_empty());
    bench.good(0);
    (0..3).for_each(|tag| bench.set(tag, Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected)));
    assert!(bench.run_s(60).is_empty());
}

#[test]
fn a_silent_device_that_is_connected_again_and_again_is_told_once_and_so_is_its_end() {
    let mut bench = Bench::new();
    let mut told = Vec::new();
    for _ in 0..60 {
        bench.bad(0, read(1, 7, Fault::NoReply));
        told.extend(bench.run_s(10));
        bench.set(0, Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected));
        told.extend(bench.run_s(10));
    }
    assert!(told.len() == 1 && told[0].contains("no reply within timeout_ms"), "{told:#?}");
    bench.good(0);
    let lines = bench.run_s(10);
    assert!(lines.len() == 1 && lines[0].contains("all well again: \"a\""), "{lines:#?}");
}

#[test]
fn a_reason_that_turns_into_another_is_not_told_as_well_again() {
    let mut bench = Bench::new();
    bench.bad(0, read(1, 7, Fault::NoReply));
    assert_eq!(bench.run_s(10).len(), 1);
    bench.bad(0, read(1, 7, Fault::Late(400)));
    let lines = bench.run_s(10);
    assert!(
        lines.len() == 1 && lines[0].contains("after 400 ms") && lines[0].contains("\"timeout_ms\": 600"),
        "{lines:?}"
    );
}

#[test]
fn what_costs_no_tag_its_value_is_told_once_for_each_kind_and_then_less_and_less() {
    let mut bench = Bench::new();
    let counters = bench.observed.counters.clone();
    let link = counters.link(LinkId(0));
    let mut told = Vec::new();
    for second in 0..3_600 {
        link.broken.add(1);
        link.lately.note(read(1, 7, Fault::Broken));
        if second == 10 {
            link.other_unit.add(1);
            link.lately.note(read(1, 7, Fault::OtherUnit(255)));
        }
        told.extend(bench.run_s(1));
    }
    let (broken, unit): (Vec<&String>, Vec<&String>) = told.iter().partition(|line| line.contains("checksum"));
    assert!((4..=8).contains(&broken.len()), "{told:#?}");
    assert!(broken[0].contains("address 7, count 1") && broken[0].contains("CRC"), "{told:#?}");
    assert!(unit.len() == 1 && unit[0].contains("\"any_unit_id\""), "{told:#?}");
}

#[test]
fn a_plant_in_the_dark_fills_no_disk() {
    let tags: Vec<String> = (0..200u16)
        .map(|n| {
            format!(
                r#"{{"name":"t{n}","address":"plc:{}:3:{n}","data_type":"uint16","scan_rate_ms":100}}"#,
                n % 200 + 1
            )
        })
        .collect();
    let text = format!(
        r#"{{"links":[{{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"}}],"tags":[{}]}}"#,
        tags.join(",")
    );
    let mut bench = Bench::new();
    let toml = "[gateway]\nid = \"g\"\n[realtime]\nadmission = \"warn\"\n";
    let loaded = load_parts(("fieldbeat.toml", toml), &[("tags/a.json", &text)]).unwrap();
    let plan = Arc::new(protocol::build(&loaded.config, &[0]).unwrap().plan);
    bench.observed.image = Arc::new(Image::new([0; 200], Status::GOOD.0));
    bench.observed.set_plan(plan);
    (0..200).for_each(|tag| bench.bad(tag, read((tag % 200 + 1) as u8, tag as u16, Fault::NoReply)));
    let lines = bench.run_s(4);
    assert!((1..=2 * REASON_LINES_MAX).contains(&lines.len()), "{}", lines.len());
}
