//! What writes are given beside the scans, and what is said of it.

use super::tests::NOTHING;
use super::*;
use crate::plan::Planned;
use crate::plan::demand::Costs;
use crate::protocol;
use crate::protocol::load_parts;

fn planned(link: &str, tags: &[String], toml: &str) -> Result<Planned, PlanError> {
    let text = format!(r#"{{"links":[{{"name":"l",{link}}}],"tags":[{}]}}"#, tags.join(","));
    let toml = format!("[gateway]\nid = \"g\"\n{toml}");
    let config = load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", &text)]);
    protocol::build_with(&config.unwrap_or_else(|errors| panic!("{errors}\n{text}")).config, &[0], &NOTHING)
}

fn register(name: &str, unit: u8, first: u32, ms: f64, write: &str) -> String {
    format!(
        r#"{{"name":"{name}","address":"l:{unit}:3:{first}:1","data_type":"uint16","scan_rate_ms":{ms},"write":{write}}}"#
    )
}

/// 19200 baud, even parity: a character takes 573 µs, the silence 2.005 ms.
const LINE: &str = r#""protocol":"modbus_rtu","port":"/dev/ttyS0","baudrate":19200,"parity":"E","addressing":"raw","expected_reply_ms":5"#;
const LIMITS: &str = r#"{"min":0,"max":100}"#;

fn writes(planned: &Planned) -> WriteLoad {
    planned.admission.links[LinkId(0)].writes.unwrap()
}

#[test]
fn a_write_on_a_line_takes_the_characters_of_its_requests_and_replies() {
    let planned = planned(LINE, &[register("t", 1, 0, 1000.0, LIMITS)], "").unwrap();
    let writes = writes(&planned);
    // By hand: function 16 with one register has 11 characters, its reply 8; the read-back 8 and 7; each 5 ms for the
    // device, and a silence behind it.
    let character = 11.0 / 19_200.0;
    let by_hand = 34.0 * character + 2.0 * (0.005 + 3.5 * character);
    assert!((writes.takes.as_secs_f64() - by_hand).abs() < 1e-7, "{writes:?}");
    assert_eq!((writes.turns, writes.fits, writes.tags), (2, true, 1));
    assert_eq!(planned.plan.links[LinkId(0)].write_spacing, writes.spacing);
    assert!(planned.admission.warnings.is_empty());
    // Half of the line is for reads.
    assert!(writes.spacing.as_secs_f64() >= by_hand * 0.9, "{writes:?}");
}

#[test]
fn a_bit_of_a_register_has_the_line_for_its_reading_and_writing() {
    let bit = r#"{"name":"t","address":"l:1:3:0:1","data_type":"bool","bit":3,"scan_rate_ms":1000,"write":true}"#;
    let of = |tag: String| writes(&planned(LINE, &[tag], "").unwrap());
    let (bit, word) = (of(bit.to_owned()), of(register("t", 1, 0, 1000.0, LIMITS)));
    let character = 11.0 / 19_200.0;
    let read = 15.0 * character + 0.005 + 3.5 * character;
    assert!((bit.takes.as_secs_f64() - word.takes.as_secs_f64() - read).abs() < 1e-7, "{bit:?} {word:?}");
}

#[test]
fn scans_that_fit_and_leave_no_place_for_one_write_are_refused() {
    // Ten registers one by one, each 17 ms apart in address: a read takes some 15.6 ms, ten of them 156 ms.
    let tags = |ms: f64, write: &str| -> Vec<String> {
        let tag = |at: u32| register(&format!("t{at}"), 1, at * 300, ms, if at == 3 { write } else { "false" });
        (0..10).map(tag).collect()
    };
    assert!(planned(LINE, &tags(160.0, "false"), "").is_ok());
    let error = planned(LINE, &tags(160.0, LIMITS), "").unwrap_err();
    let text = &error.refusals[0];
    assert!(text.contains("its reads fit, but no write fits beside them: one of tag \"t3\" takes"), "{text}");
    assert!(text.contains("Hz is possible for it"), "{text}");
    let hz: f64 = text.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(planned(LINE, &tags(1e3 / hz, LIMITS), "").is_ok(), "{text}");
    // It runs all the same where that is wanted, with writes that take a tenth of the line.
    let warned = planned(LINE, &tags(160.0, LIMITS), "[realtime]\nadmission = \"warn\"\n").unwrap();
    assert!(warned.admission.excesses == 1 && !writes(&warned).fits);
    assert!(writes(&warned).spacing >= Nanos(writes(&warned).takes.0 / 2 * 10));
}

#[test]
fn what_may_be_asked_for_and_does_not_fit_is_a_warning() {
    let tags = |pause_ms: u32| -> Vec<String> {
        let limits = format!(r#"{{"min":0,"max":100,"min_interval_ms":{pause_ms}}}"#);
        (0..4).map(|at| register(&format!("t{at}"), 1, at * 300, 100.0, &limits)).collect()
    };
    let planned = |pause_ms| planned(LINE, &tags(pause_ms), "").unwrap();
    let often = planned(100);
    let warning = &often.admission.warnings[0];
    assert!(warning.starts_with("link \"l\": its tags allow 20 writes/s; with read-back, "), "{warning}");
    assert!(writes(&often).possible_per_s() < 20.0 && writes(&often).fits);
    let seldom = planned(10_000);
    assert!(seldom.admission.warnings.is_empty(), "{:?}", seldom.admission.warnings);
    assert_eq!(seldom.plan.links[LinkId(0)].write_spacing, often.plan.links[LinkId(0)].write_spacing);
}

#[test]
fn a_broadcast_needs_a_line_that_can_rest() {
    let tags = |ms: f64| {
        [register("all", 0, 0, ms, LIMITS), register("t", 1, 0, ms, "false").replace(r#","write":false"#, "")]
    };
    assert!(planned(LINE, &tags(200.0), "").is_ok());
    let error = planned(LINE, &tags(100.0), "").unwrap_err().to_string();
    // 11 characters and the pause of 100 ms.
    assert!(error.contains("one of tag \"all\" takes 106.302 ms"), "{error}");
}

#[test]
fn other_buses_have_their_spacing_too_and_what_is_only_read_has_none() {
    let expander = |write: &str| {
        format!(r#"{{"name":"t","address":"l:0x20:0x12:2","data_type":"uint16","scan_rate_ms":100,"write":{write}}}"#)
    };
    let link = r#""protocol":"i2c","bus":"/dev/i2c-1","clock_hz":100000,"overhead_ms":0"#;
    let i2c = writes(&planned(link, &[expander(LIMITS)], "").unwrap());
    // Address, register and value are 4 × 9 bits, with start and stop; read back: 2 × 9, start, 3 × 9, start and stop.
    assert!((i2c.takes.as_secs_f64() - (38.0 + 48.0) * 1e-5).abs() < 1e-8, "{i2c:?}");
    let read = planned(link, &[expander("false")], "").unwrap();
    assert_eq!(read.admission.links[LinkId(0)].writes, None);
    assert_eq!(read.plan.links[LinkId(0)].write_spacing, Nanos::ZERO);
    let gpio = r#""protocol":"gpio","chip":"/dev/gpiochip0","overhead_ms":0.5"#;
    let lamp = r#"{"name":"lamp","address":"l:4","direction":"out","write":true,"scan_rate_ms":100}"#.to_owned();
    assert_eq!(writes(&planned(gpio, &[lamp], "").unwrap()).takes, Nanos::from_millis(1));
}

#[test]
fn a_link_that_is_written_to_does_not_disturb_the_others_of_its_executor() {
    // Links at 1 kHz, as many as an executor carries.
    let link = |at: usize| {
        format!(
            r#"{{"name":"l{at}","protocol":"modbus_tcp","host":"10.0.0.{at}","addressing":"raw","expected_reply_ms":0.1}}"#
        )
    };
    let tag = |at: usize, write: &str| {
        format!(
            r#"{{"name":"t{at}","address":"l{at}:1:3:0:1","data_type":"uint16","scan_rate_ms":1{}}}"#,
            if at == 0 { format!(r#","write":{write}"#) } else { String::new() }
        )
    };
    let plan = |links: usize, write: &str| {
        let links_text: Vec<String> = (0..links).map(link).collect();
        let tags: Vec<String> = (0..links).map(|at| tag(at, write)).collect();
        let text = format!(r#"{{"links":[{}],"tags":[{}]}}"#, links_text.join(","), tags.join(","));
        let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]).unwrap();
        protocol::build_with(&config.config, &[0], &Costs::default())
    };
    let alone = writes(&plan(1, LIMITS).unwrap());
    let most = (1..16).rev().find(|links| plan(*links, "false").is_ok()).unwrap();
    let written = (1..=most).rev().find(|links| plan(*links, LIMITS).is_ok()).unwrap();
    let beside = writes(&plan(written, LIMITS).unwrap());
    println!(
        "{most} links fit, {written} with writes; alone {:?} apart, beside them {:?}",
        alone.spacing, beside.spacing
    );
    assert!(written > most / 2, "a write beside many links costs some of them: {written} of {most}");
    assert!(beside.fits && beside.spacing > alone.spacing, "{beside:?} {alone:?}");
}

#[test]
fn a_write_that_began_before_a_cycle_has_a_place_that_its_reads_need() {
    // Three reads of 400 ms at two places, each second: a second write within the cycle would cost the third its time.
    let link = r#""protocol": "modbus_tcp", "host": "10.0.0.1", "pipeline": 2, "expected_reply_ms": 400, "timeout_ms": 1200,
        "addressing": "raw""#;
    let tags: Vec<String> = [0, 1000, 2000].map(|first| register(&format!("t{first}"), 1, first, 1e3, "true")).into();
    let writes = writes(&planned(link, &tags, "").unwrap());
    assert!(writes.fits && writes.spacing >= Nanos::from_millis(600), "{writes:?}");
}
