//! What is admitted, what is refused, and what is said of it.

use super::*;
use crate::plan::demand::Costs;
use crate::plan::{Plan, Planned};
use crate::protocol;
use crate::protocol::load_parts;

/// Of period in milliseconds and blocks, for one link each.
struct Asked<'a> {
    link: &'a str,
    groups: &'a [(f64, usize)],
}

fn planned(links: &[Asked<'_>], toml: &str, costs: &Costs) -> Result<Planned, PlanError> {
    let mut link_texts = Vec::new();
    let mut tags = Vec::new();
    for (l, Asked { link, groups }) in links.iter().enumerate() {
        let more = if link.is_empty() { String::new() } else { format!(",{link}") };
        link_texts
            .push(format!(r#"{{"name":"l{l}","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"{more}}}"#));
        for (g, (period, blocks)) in groups.iter().enumerate() {
            tags.extend((0..*blocks).map(|b| {
                let address = g * 10_000 + b * 500;
                format!(
                    r#"{{"name":"l{l}.g{g}.{b}","address":"l{l}:1:3:{address}:1","data_type":"uint16","scan_rate_ms":{period}}}"#
                )
            }));
        }
    }
    let text = format!(r#"{{"links":[{}],"tags":[{}]}}"#, link_texts.join(","), tags.join(","));
    let toml = format!("[gateway]\nid = \"g\"\n{toml}");
    let config = load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", &text)])
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
        .config;
    protocol::build_with(&config, &[0], costs)
}

fn one(link: &str, groups: &[(f64, usize)]) -> Result<Planned, PlanError> {
    planned(&[Asked { link, groups }], "", &Costs::default())
}

/// No executor: the device and the wire alone.
pub const NOTHING: Costs = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };

#[test]
fn a_fast_group_behind_a_slow_request_is_refused_though_the_average_fits() {
    // 3.5 ms of each 4, and 3.5 ms of each 100: 91 %. But a request of the slow group takes 3.5 ms, and none is
    // interrupted.
    let link = r#""expected_reply_ms":3.5"#;
    let error = one(link, &[(4.0, 1), (100.0, 1)]).unwrap_err();
    let text = &error.refusals[0];
    assert!(text.contains("tags/a.json:1: link \"l0\", group \"default\" (4 ms): 1 requests at 250 Hz"), "{text}");
    assert!(
        text.contains("when all of its groups are due together, group \"default\" (4 ms) does not get all"),
        "{text}"
    );
    // 2 × (3.5 ms + what the executor takes): a little more than 7.15 ms.
    assert!(text.contains("at most 137 Hz is possible"), "{text}");
    assert_eq!(error.admission.links[LinkId(0)].worst_phase, Nanos::NEVER);
    // Two at once, and there is a place for each.
    let admission = one(r#""expected_reply_ms":3.5,"pipeline":2"#, &[(4.0, 1), (100.0, 1)]).unwrap().admission;
    assert!(admission.links[LinkId(0)].worst_phase < Nanos::from_millis(4));
}

#[test]
fn the_rate_that_is_said_to_be_possible_is_and_the_next_is_not() {
    for (reply, groups) in
        [("2.1", [(5.0, 2), (200.0, 4)]), ("0.7", [(2.0, 3), (50.0, 2)]), ("9", [(10.0, 1), (250.0, 9)])]
    {
        let link = format!(r#""expected_reply_ms":{reply}"#);
        let text = one(&link, &groups).unwrap_err().refusals[0].clone();
        let number =
            |after: &str| text.split(after).nth(1).and_then(|t| t.split([' ', 'm']).next()?.parse::<f64>().ok());
        let (period, hz) = (number("group \"default\" (").unwrap(), number("at most ").unwrap());
        let with = |hz: f64| groups.map(|(p, blocks)| (if p == period { (1e6 / hz).round() / 1e3 } else { p }, blocks));
        assert!(one(&link, &with(hz)).is_ok(), "{text}");
        assert!(one(&link, &with(hz + 1.0)).is_err(), "{text}");
    }
}

#[test]
fn work_for_other_links_counts_and_the_advice_is_another_one() {
    let link = r#""expected_reply_ms":0.1"#;
    let asked = |n: usize| (0..n).map(|_| Asked { link, groups: &[(1.0, 1)] }).collect::<Vec<_>>();
    assert!(planned(&asked(8), "", &Costs::default()).is_ok());
    let error = planned(&asked(16), "", &Costs::default()).unwrap_err();
    let text = &error.refusals[0];
    assert!(text.contains("too little for the other links of executor 0"), "{text}");
    assert!(text.contains("give realtime.cores more CPUs"), "{text}");
    // A machine that is faster carries more.
    let fast = Costs { request: Nanos(6_000), release: Nanos(4_000), wake_up: Nanos(10_000), ..Costs::default() };
    assert!(planned(&asked(16), "[realtime]\nguard_us = 10\n", &fast).is_ok());
}

#[test]
fn what_does_not_fit_runs_where_that_is_asked_for_and_is_told() {
    let link = r#""expected_reply_ms":0.1"#;
    let asked: Vec<Asked<'_>> = (0..16).map(|_| Asked { link, groups: &[(1.0, 1)] }).collect();
    let refused = planned(&asked, "", &Costs::default()).unwrap_err();
    let Planned { admission, .. } = planned(&asked, "[realtime]\nadmission = \"warn\"\n", &Costs::default()).unwrap();
    assert_eq!(admission.excesses, refused.refusals.len());
    for refusal in &refused.refusals {
        let told = |warning: &&String| warning.starts_with(refusal) && warning.contains("realtime.admission");
        assert_eq!(admission.warnings.iter().filter(told).count(), 1, "{refusal}");
    }
    assert_eq!(admission.links, refused.admission.links, "the reckoning is the same");
}

#[test]
fn the_worst_slot_of_a_link_is_where_its_groups_meet() {
    // Ten of 4 ms each 100 ms at 0, one of 4 ms each 50 ms at half a step of its own.
    let planned = planned(
        &[Asked { link: r#""expected_reply_ms":4"#, groups: &[(100.0, 10), (50.0, 1)] }],
        "[realtime]\nguard_us = 0\n",
        &NOTHING,
    )
    .unwrap();
    let scan = |period: u64| {
        let releases = &planned.plan.lanes[0].releases;
        releases.iter().find(|r| r.period == Nanos::from_millis(period)).unwrap().phase
    };
    let (fast, slow) = (scan(50), scan(100));
    let load = planned.admission.links[LinkId(0)];
    let slot = load.slot.unwrap();
    let ahead = Nanos::from_millis(40);
    assert!(slot.is_whole && slot.of == Nanos::from_millis(100) && slot.at.0 % 100_000_000 == slow.0, "{slot:?}");
    let meets = (1..4).any(|k| (slow.0..slow.0 + ahead.0).contains(&(fast.0 + k * 50_000_000 - 50_000_000)));
    assert_eq!(slot.takes, Nanos::from_millis(if meets { 44 } else { 40 }));
    // At the worst phase one of the fast ones goes before, and one is sent already when it begins.
    assert_eq!(load.worst_phase, Nanos::from_millis(48));
}

#[test]
fn the_worst_slot_of_an_executor_is_the_largest_backlog() {
    let toml = "[realtime]\nguard_us = 0\n";
    let costs = Costs { request: Nanos::from_micros(100), release: Nanos::from_micros(10), ..NOTHING };
    let link = r#""expected_reply_ms":0.5"#;
    let links: Vec<Asked<'_>> = (0..4).map(|_| Asked { link, groups: &[(20.0, 3)] }).collect();
    let Planned { plan, admission } = planned(&links, toml, &costs).unwrap();
    let phases: Vec<u64> = plan.lanes[0].releases.iter().map(|r| r.phase.0 / 1_000).collect();
    assert_eq!(phases, [0, 25, 50, 75]);
    // The last of the pack comes 75 µs after the first and finds the work of three.
    let slot = admission.executors[0].slot.unwrap();
    assert_eq!((slot.takes, slot.of, slot.is_whole), (Nanos::from_micros(4 * 310 - 75), Nanos::from_millis(20), true));
}

#[test]
fn periods_that_hardly_ever_meet_are_looked_at_for_a_bounded_time() {
    let groups = [(1.0, 1), (997.0, 1), (1.009, 1), (991.0, 1), (7.919, 1)];
    let link = r#""expected_reply_ms":0.05"#;
    let started = std::time::Instant::now();
    let admission = planned(&[Asked { link, groups: &groups }], "", &Costs::default()).unwrap().admission;
    assert!(!admission.executors[0].slot.unwrap().is_whole && !admission.links[LinkId(0)].slot.unwrap().is_whole);
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
}

#[test]
fn a_link_that_is_slower_than_declared_is_found_when_it_has_no_room() {
    let Planned { plan, .. } = one(r#""expected_reply_ms":1"#, &[(10.0, 4)]).unwrap();
    let found = |us| observed(&plan, LinkId(0), Nanos::from_micros(us));
    assert_eq!(found(900), None, "as fast as declared");
    assert_eq!(found(1700), None, "slower, with room for it");
    let tight = found(2000).unwrap();
    assert!((tight.load - 0.8).abs() < 1e-9 && !tight.is_over, "{tight:?}");
    assert_eq!((tight.declared, tight.seen), (Nanos::from_millis(1), Nanos::from_millis(2)));
    assert!(found(2600).unwrap().is_over);
    assert_eq!(observed(&plan, LinkId(9), Nanos::from_millis(5)), None, "of no link");
    assert_eq!(observed(&Plan::default(), LinkId(0), Nanos::NEVER), None);
}

#[test]
fn five_thousand_tags_on_fifty_links_are_admitted_in_time() {
    // Two, three and five requests, a hundred tags a link, 100 times a second, 20 times and 10 times.
    let link = |l| {
        format!(
            r#"{{"name":"l{l}","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw","expected_reply_ms":0.2}}"#
        )
    };
    let tag = |l, t: usize| {
        let (group, period) = [(0, 10), (1, 50), (2, 100)][t % 3];
        let address = group * 10_000 + (t % (2 + group)) * 500 + t;
        format!(
            r#"{{"name":"l{l}.t{t}","address":"l{l}:1:3:{address}:1","data_type":"uint16","scan_rate_ms":{period}}}"#
        )
    };
    let links: Vec<String> = (0..50).map(link).collect();
    let tags: Vec<String> = (0..50).flat_map(|l| (0..100).map(move |t| tag(l, t))).collect();
    let text = format!(r#"{{"links":[{}],"tags":[{}]}}"#, links.join(","), tags.join(","));
    let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]).unwrap().config;
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let start = std::time::Instant::now();
            let planned = protocol::build_with(&config, &[0, 1], &Costs::default()).unwrap();
            assert!(planned.admission.links.values().all(|load| load.slot.is_some_and(|slot| slot.is_whole)));
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("5000 tags on 50 links: {:.1} ms, median of 9", times[4]);
    assert!(times[4] < 200.0, "{times:?} ms; 20 is what it may take on a machine that does nothing else");
}

/// One serial line at 19200 baud, even parity: a character of 11 bits takes 573 µs, the silence 2.005 ms.
fn on_a_line(more: &str, tags: &[(u8, u32, u32, u32)]) -> Result<Planned, PlanError> {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(i, (unit, first, count, ms))| {
            format!(
                r#"{{"name":"t{i}","protocol":"modbus_rtu","address":"l:{unit}:3:{first}:{count}","data_type":"uint16","array":{count},"scan_rate_ms":{ms}}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"links":[{{"name":"l","protocol":"modbus_rtu","port":"/dev/ttyS0","baudrate":19200,"parity":"E","addressing":"raw","expected_reply_ms":5{more}}}],"tags":[{}]}}"#,
        tags.join(",")
    );
    let gateway = "[gateway]\nid = \"g\"\n";
    let config = load_parts(("fieldbeat.toml", gateway), &[("tags/a.json", &text)]).unwrap_or_else(|e| panic!("{e}"));
    protocol::build_with(
        &config.config,
        &[0],
        &Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) },
    )
}

#[test]
fn a_serial_line_is_reckoned_request_by_request() {
    // Eight characters, 5 ms, 45 characters and a silence; the same with nine characters.
    let character = 11.0 / 19_200.0;
    let (long, short) = (53.0 * character + 0.005 + 3.5 * character, 17.0 * character + 0.005 + 3.5 * character);
    let planned = on_a_line("", &[(1, 0, 20, 200), (2, 0, 2, 100)]).unwrap();
    let load = planned.admission.links[LinkId(0)].load;
    assert!((load - (long / 0.2 + short / 0.1)).abs() < 1e-4, "{load}");
    // 71 % of the time, but the short request may have to wait for the long one: 54 ms.
    let error = on_a_line("", &[(1, 0, 20, 100), (2, 0, 2, 50)]).unwrap_err().to_string();
    assert!(error.contains("ms each on the line at 19200 baud") && error.contains("Hz is possible"), "{error}");
}

#[test]
fn a_unit_that_needs_a_rest_bounds_its_own_rate_and_not_that_of_the_line() {
    let rest = r#","unit_pause_ms":60"#;
    assert!(on_a_line(rest, &[(1, 0, 2, 100), (2, 0, 2, 100)]).is_ok());
    let error = on_a_line(rest, &[(1, 0, 2, 50)]).unwrap_err().to_string();
    // 17 characters, 5 ms and 60 ms of rest: 74.7 ms.
    assert!(error.contains("at most 13 Hz is possible"), "{error}");
}

/// By hand: a line of ten registers at 8E1 takes (8 + 25) × 11 bits and two silences of 3.5 × 11 bits, or of 1.75 ms.
#[test]
fn a_line_is_given_what_its_bits_allow_and_not_one_request_more() {
    for (baud_rate, possible) in [(1_200, 2), (9_600, 21), (19_200, 43), (38_400, 77), (115_200, 150), (3_000_000, 276)]
    {
        let with = |hz: u32| {
            let period = 1000.0 / f64::from(hz);
            let text = format!(
                r#"{{"links":[{{"name":"l","protocol":"modbus_rtu","port":"/dev/ttyS0","baudrate":{baud_rate},"parity":"E","addressing":"raw","expected_reply_ms":0.01,"timeout_ms":1000}}],
                "tags":[{{"name":"t","address":"l:1:3:0:10","data_type":"uint16","array":10,"scan_rate_ms":{period:.3}}}]}}"#,
            );
            let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]);
            protocol::build_with(&config.unwrap_or_else(|e| panic!("{e}")).config, &[0], &NOTHING)
        };
        assert!(with(possible).is_ok(), "{baud_rate} baud, {possible} Hz");
        let error = with(possible + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("at most {possible} Hz is possible")), "{baud_rate} baud: {error}");
    }
}

#[test]
fn every_piece_of_a_reply_on_a_line_costs_its_executor_a_wake_up() {
    let of = |costs: &Costs| {
        let text = r#"{"links":[{"name":"l","protocol":"modbus_rtu","port":"/dev/ttyS0","baudrate":115200,"parity":"E","addressing":"raw"}],
            "tags":[{"name":"t","address":"l:1:3:0:120","data_type":"uint16","array":120,"scan_rate_ms":100}]}"#;
        let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", text)]).unwrap();
        protocol::build_with(&config.config, &[0], costs).unwrap().admission.executors[0].load
    };
    // 245 bytes come as 31 pieces of 8; the last of them is the request's own. Ten times a second.
    let load = of(&Costs { request: Nanos::from_micros(30), ..NOTHING });
    assert!((load - 10.0 * (30e-6 + 30.0 * 20e-6)).abs() < 1e-9, "{load}");
}

fn on_a_bus(link: &str, tags: &[String]) -> Result<Planned, PlanError> {
    let text = format!(r#"{{"links":[{{"name":"l",{link}}}],"tags":[{}]}}"#, tags.join(","));
    let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]);
    protocol::build_with(&config.unwrap_or_else(|e| panic!("{e}")).config, &[0], &NOTHING)
}

fn each(period_ms: f64, addresses: &[&str]) -> Vec<String> {
    let tag = |(at, address): (usize, &&str)| {
        format!(r#"{{"name":"t{period_ms}.{at}","address":"l:{address}","scan_rate_ms":{period_ms}}}"#)
    };
    addresses.iter().enumerate().map(tag).collect()
}

/// By hand: start, address and register (2 × 9 bits), repeated start, address and two bytes (3 × 9 bits), stop.
#[test]
fn an_i2c_bus_is_given_what_its_bits_allow_and_not_one_request_more() {
    let bits = 1.0 + 18.0 + 1.0 + 27.0 + 1.0;
    for (clock_hz, overhead_ms) in [(100_000, 0.0), (400_000, 0.0), (100_000, 0.1), (400_000, 0.1)] {
        let link = format!(r#""protocol":"i2c","bus":"/dev/i2c-1","clock_hz":{clock_hz},"overhead_ms":{overhead_ms}"#);
        let takes = bits / f64::from(clock_hz) + overhead_ms / 1e3;
        let addresses: Vec<String> = (0..8).map(|n| format!("{:#04x}:0x00:2", 0x48 + n)).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let planned = on_a_bus(&link, &each(100.0, &addresses)).unwrap();
        let load = planned.admission.links[LinkId(0)].load;
        assert!((load - 8.0 * takes / 0.1).abs() < 1e-6, "{clock_hz} Hz: {load}");
        let possible = (1.0 / (8.0 * takes)) as u32;
        if possible < 999 {
            let error = on_a_bus(&link, &each(1.0, &addresses)).unwrap_err().to_string();
            let hz =
                error.split("at most ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok()).unwrap();
            assert!(hz.abs_diff(possible) <= 1, "{possible} Hz by hand: {error}");
            assert!(
                error.contains(&format!("on the bus at {clock_hz} Hz")) && error.contains("overhead_ms"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_converter_that_waits_counts_with_its_wait_and_shared_accesses_count_once() {
    let link = r#""protocol":"i2c","bus":"/dev/i2c-1","clock_hz":400000,"overhead_ms":0"#;
    // 128 conversions a second, 10 % slow: 8.64 ms each and four of them.
    let inputs = ["0x48:ads1115.ain0", "0x48:ads1115.ain1", "0x48:ads1115.ain2", "0x48:ads1115.ain3"];
    let load = on_a_bus(link, &each(100.0, &inputs)).unwrap().admission.links[LinkId(0)].load;
    assert!((0.34..0.37).contains(&load), "{load}");
    assert!(on_a_bus(link, &each(20.0, &inputs)).is_err());
    let of = |addresses: &[&str]| on_a_bus(link, &each(100.0, addresses)).unwrap().admission.links[LinkId(0)].load;
    let one = of(&["0x76:bme280.temperature"]);
    let three = of(&["0x76:bme280.temperature", "0x76:bme280.pressure", "0x76:bme280.humidity"]);
    assert_eq!(one, three, "one burst");
}

#[test]
fn a_faster_spi_carries_more_and_lines_that_are_set_up_alike_cost_one_call() {
    let spi = |hz: u32| {
        let link = format!(r#""protocol":"spi","device":"/dev/spidev0.0","speed_hz":{hz},"overhead_ms":0"#);
        on_a_bus(&link, &each(10.0, &["mcp3208.ch0", "mcp3208.ch1"])).map(|p| p.admission.links[LinkId(0)].load)
    };
    // Two exchanges of 24 bits each 10 ms.
    assert!((spi(1_000_000).unwrap() - 0.0048).abs() < 1e-6);
    assert!((spi(50_000).unwrap() - 0.096).abs() < 1e-6);
    assert!(spi(4_000).is_err());
    let link = r#""protocol":"gpio","chip":"/dev/gpiochip0","overhead_ms":1"#;
    let lines: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let load = on_a_bus(link, &each(100.0, &lines)).unwrap().admission.links[LinkId(0)].load;
    assert!((load - 0.01).abs() < 1e-6, "{load}");
}

#[test]
fn on_a_line_only_what_is_beyond_the_frames_is_the_devices_time() {
    let planned = on_a_line("", &[(1, 0, 20, 55)]).unwrap();
    // 53 characters of 11 bits at 19200 baud and 5 ms: 35.4 ms, and 2 ms of silence behind it.
    let observed = |ms: f64| super::observed(&planned.plan, LinkId(0), Nanos((ms * 1e6) as u64));
    assert_eq!(observed(35.3), None, "the frames take their time");
    let late = observed(45.4).unwrap();
    assert_eq!((late.declared, late.seen.0 / 1_000_000, late.is_over), (Nanos::from_millis(5), 15, false));
    assert!((late.load - 47.4 / 55.0).abs() < 0.01, "{late:?}");
    assert!(observed(55.0).unwrap().is_over);
}

#[test]
fn a_local_bus_that_is_slower_than_reckoned_is_found_when_it_has_no_room() {
    // Four accesses of 48 bits at 100 kHz and 0.1 ms: 2.32 ms of each 10.
    let addresses = ["0x48:0:2", "0x49:0:2", "0x4a:0:2", "0x4b:0:2"];
    let planned =
        on_a_bus(r#""protocol":"i2c","bus":"/dev/i2c-1","overhead_ms":0.1"#, &each(10.0, &addresses)).unwrap();
    let observed = |ms: f64| super::observed(&planned.plan, LinkId(0), Nanos((ms * 1e6) as u64));
    assert_eq!(observed(2.3), None, "as reckoned");
    assert_eq!(observed(6.9), None, "slower, with room for it");
    let tight = observed(7.5).unwrap();
    assert_eq!((tight.declared, tight.seen, tight.is_over), (Nanos(2_320_000), Nanos(7_500_000), false));
    assert!((tight.load - 0.75).abs() < 1e-6, "{tight:?}");
    assert!(observed(10.1).unwrap().is_over);
}

#[test]
fn scans_from_once_in_ten_seconds_to_once_a_day_are_reckoned_and_what_does_not_fit_is_told_in_seconds() {
    // Fifty meters on one line, ten registers each: 0.1 s a meter.
    let units: Vec<(u8, u32, u32, u32)> = (1..=50).map(|unit| (unit, 0, 10, 10_000)).collect();
    let planned = on_a_line("", &units).unwrap();
    assert!((0.1..0.4).contains(&planned.admission.links[LinkId(0)].load));
    let units: Vec<(u8, u32, u32, u32)> = (1..=50).map(|unit| (unit, 0, 10, 1_200)).collect();
    let error = on_a_line("", &units).unwrap_err().to_string();
    assert!(
        error.contains("50 requests every 1.2 s") && error.contains("at most once every 2 s is possible"),
        "{error}"
    );
    // Beside a fast scan, a slow one is nothing; and a line that is full for hours is refused, and not reckoned for hours.
    let both = |fast| one(r#""expected_reply_ms":1"#, &[(fast, 1), (86_400_000.0, 1)]);
    assert!(both(10.0).unwrap().admission.links[LinkId(0)].load < 0.12);
    assert!(both(1.0).is_err());
    // Each comes within the first second after the start.
    let plan = one("", &[(10_000.0, 1), (900_000.0, 1), (86_400_000.0, 1)]).unwrap().plan;
    assert!(plan.lanes[0].releases.iter().all(|release| release.phase < Nanos::from_millis(1_000)));
    // A burst has its room in the ring, however rare it is.
    assert_eq!(plan.lanes[0].slots_per_s, 3);
}

#[test]
fn what_is_not_asked_for_after_each_connection_is_told_beside_the_load() {
    let warnings = |period| one(r#""connect_delay_ms":2000"#, &[(period, 1)]).unwrap().admission.warnings;
    let told = warnings(100.0);
    assert!(
        told.len() == 1 && told[0].contains("(connect_delay_ms), and group \"default\" misses 20 cycles"),
        "{told:?}"
    );
    assert_eq!(warnings(10_000.0), [""; 0]);
}
