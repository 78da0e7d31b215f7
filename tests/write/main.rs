//! Writes of the floor against servers that others wrote: what was ordered is what they hold, as another client of
//! theirs reads it.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "../serial/line.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod line;
#[path = "../peers/mod.rs"]
mod peers;
mod writer;

use std::time::{Duration, Instant};

use fieldbeat::rt::WriteOutcome;
use fieldbeat::tag::{Nanos, Value};
use serde_json::{Value as Json, json};

use line::Line;
use peers::{Peer, Server};
use writer::Writer;

/// A writable tag, what is written to it, and what its coils or registers are then.
struct Case {
    tag: Json,
    value: Value,
    function: u8,
    first: u16,
    holds: Vec<u16>,
}

/// The registers of a number's bytes, the most significant first, in an order.
fn registers(bytes: &[u8], order: &str) -> Vec<u16> {
    let mut words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    if matches!(order, "DCBA" | "CDAB") {
        words.reverse();
    }
    if matches!(order, "DCBA" | "BADC") {
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
    words
}

/// Every type in every order, each at a place of its own.
fn cases(link: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut first = 100;
    for order in ["ABCD", "DCBA", "BADC", "CDAB"] {
        let numbers: Vec<(&str, Value, Vec<u8>)> = vec![
            ("int16", Value::Int(-12_345), (-12_345i16).to_be_bytes().to_vec()),
            ("uint16", Value::Uint(54_321), 54_321u16.to_be_bytes().to_vec()),
            ("int32", Value::Int(-1_234_567_890), (-1_234_567_890i32).to_be_bytes().to_vec()),
            ("uint32", Value::Uint(4_000_000_001), 4_000_000_001u32.to_be_bytes().to_vec()),
            ("int64", Value::Int(i64::MIN + 7), (i64::MIN + 7).to_be_bytes().to_vec()),
            ("uint64", Value::Uint(u64::MAX - 7), (u64::MAX - 7).to_be_bytes().to_vec()),
            ("float32", Value::Float32(-1.234e-7), (-1.234e-7f32).to_be_bytes().to_vec()),
            ("float64", Value::Float64(1.0 / 3.0), (1.0f64 / 3.0).to_be_bytes().to_vec()),
            ("bcd16", Value::Uint(1_234), vec![0x12, 0x34]),
            ("bcd32", Value::Uint(12_345_678), vec![0x12, 0x34, 0x56, 0x78]),
            ("bcd64", Value::Uint(987_654_321), vec![0, 0, 0, 9, 0x87, 0x65, 0x43, 0x21]),
        ];
        for (data_type, value, bytes) in numbers {
            let holds = registers(&bytes, order);
            let count = holds.len() as u16;
            let tag = json!({ "name": format!("{link}.{data_type}.{order}"), "address": format!("{link}:1:3:{first}"),
                              "data_type": data_type, "byte_order": order, "scan_rate_ms": 1000 });
            cases.push(Case { tag, value, function: 3, first, holds });
            first += count;
        }
    }
    let mut other = |more: Json, name: &str, function: u8, first: u16, value: Value, holds: &[u16]| {
        let mut tag = json!({ "name": format!("{link}.{name}"), "address": format!("{link}:1:{function}:{first}"),
                              "scan_rate_ms": 1000 });
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cases.push(Case { tag, value, function, first, holds: holds.to_vec() });
    };
    let coils: Vec<Value> = (0..19).map(|i| Value::Bool(i % 3 == 1)).collect();
    let held: Vec<u16> = (0..19).map(|i| u16::from(i % 3 == 1)).collect();
    other(json!({ "data_type": "bool" }), "coil", 1, 5, Value::Bool(true), &[1]);
    other(json!({ "data_type": "bool", "array": 19 }), "coils", 1, 21, Value::Array(coils), &held);
    let array = Value::Array((0..5).map(|i| Value::Int(i * -1000)).collect());
    let held = [0, -1000i16, -2000, -3000, -4000].map(|v| v as u16);
    other(json!({ "data_type": "int16", "array": 5 }), "array", 3, 400, array, &held);
    let scaled = json!({ "data_type": "int16", "scale": 0.1, "offset": -40.0 });
    other(scaled, "scaled", 3, 410, Value::Float64(21.5), &[615]);
    let text = [u16::from_be_bytes(*b"va"), u16::from_be_bytes(*b"lv"), u16::from_be_bytes(*b"e\0"), 0];
    let mut string = json!({ "data_type": "string" });
    string["address"] = format!("{link}:1:3:420:4").into();
    other(string, "text", 3, 420, Value::Text("valve".into()), &text);
    let both = Value::Array([7, 8, 9].map(Value::Uint).to_vec());
    other(json!({ "data_type": "uint16", "array": 3 }), "in_one", 3, 430, both, &[7, 8, 9]);
    cases
}

struct Checked {
    client: Peer,
}

impl Checked {
    /// What another client reads.
    fn held(&mut self, port: &Json, framing: &str, function: u8, first: u16, count: usize) -> Vec<u16> {
        let request = json!({ "port": port, "framing": framing, "unit": 1, "function": function, "first": first, "count": count });
        let answer = self.client.ask(&request);
        let values = answer["values"].as_array().unwrap_or_else(|| panic!("{request}: {answer}"));
        values.iter().map(|value| value.as_u64().unwrap() as u16).collect()
    }
}

/// pymodbus's server takes one request at a time.
fn tcp(name: &str, port: u16) -> Json {
    let pipeline = if name == "lib" { 4 } else { 1 };
    json!({ "name": name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 500,
            "expected_reply_ms": 1, "pipeline": pipeline, "addressing": "raw" })
}

fn serial(name: &str, line: &Line, framing: &str) -> Json {
    json!({ "name": name, "protocol": "modbus_rtu", "port": line.port(), "baudrate": 115_200, "parity": "N",
            "framing": framing, "data_bits": 8, "timeout_ms": 500, "expected_reply_ms": 2, "addressing": "raw" })
}

fn write_all(writer: &mut Writer, cases: &[Case]) {
    for (at, case) in cases.iter().enumerate() {
        let name = case.tag["name"].as_str().unwrap();
        let answer = writer.write(name, &case.value, at % 2 == 0);
        assert_eq!(answer.outcome, WriteOutcome::Done, "{name}");
        if at % 2 == 0 {
            let back = writer.decode(name, &answer).unwrap();
            match (&back, &case.value) {
                (Value::Float64(a), Value::Float64(b)) => assert!((a - b).abs() < 1e-9, "{name}: {a} {b}"),
                _ => assert_eq!(&back, &case.value, "{name}"),
            }
        }
    }
}

fn assert_held(checked: &mut Checked, port: &Json, framing: &str, cases: &[Case]) {
    for case in cases {
        let held = checked.held(port, framing, case.function, case.first, case.holds.len());
        assert_eq!(held, case.holds, "{}", case.tag);
    }
}

/// Bits of one register, one after the other: the others stay.
fn write_bits(writer: &mut Writer, link: &str) -> u16 {
    let mut register = 0;
    for (round, bit) in [0u16, 15, 7, 8, 0, 15].into_iter().enumerate() {
        let on = round < 4;
        let answer = writer.write(&format!("{link}.bit{bit}"), &Value::Bool(on), round == 2);
        assert_eq!(answer.outcome, WriteOutcome::Done, "{link} bit {bit}");
        register = register & !(1 << bit) | u16::from(on) << bit;
    }
    register
}

fn bits(link: &str) -> Vec<Json> {
    let bit = |bit: u16| {
        json!({ "name": format!("{link}.bit{bit}"), "address": format!("{link}:1:3:450"), "data_type": "bool",
                "bit": bit, "scan_rate_ms": 1000 })
    };
    // And what clears the register first.
    let word = json!({ "name": format!("{link}.word"), "address": format!("{link}:1:3:450"), "data_type": "uint16",
                       "scan_rate_ms": 1000 });
    [0, 7, 8, 15].map(bit).into_iter().chain([word]).collect()
}

#[test]
fn pymodbus_and_libmodbus_hold_what_was_written_in_every_type_order_and_framing() {
    let (py, lib) = (Server::pymodbus(), Server::libmodbus());
    let lines = [Line::new(), Line::new(), Line::new()];
    let serial_servers = [
        Server::pymodbus_on(lines[0].device(), "rtu"),
        Server::pymodbus_on(lines[1].device(), "ascii"),
        Server::libmodbus_on(lines[2].device()),
    ];
    let names = ["py", "lib", "rtu", "ascii", "librtu"];
    let links = [
        tcp("py", py.port),
        tcp("lib", lib.port),
        serial("rtu", &lines[0], "rtu"),
        serial("ascii", &lines[1], "ascii"),
        serial("librtu", &lines[2], "rtu"),
    ];
    let cases = names.map(cases);
    let mut tags: Vec<Json> = cases.iter().flatten().map(|case| case.tag.clone()).collect();
    tags.extend(names.into_iter().flat_map(bits));
    let mut writer = Writer::start(&json!({ "links": links, "tags": tags }));
    let mut registers = Vec::new();
    for (name, cases) in names.into_iter().zip(&cases) {
        writer.wait_for_link(name);
        write_all(&mut writer, cases);
        assert_eq!(writer.write(&format!("{name}.word"), &Value::Uint(0), false).outcome, WriteOutcome::Done);
        registers.push(write_bits(&mut writer, name));
    }
    writer.stop();
    let mut checked = Checked { client: Peer::python("modbus_client.py", &[]) };
    let ports =
        [json!(py.port), json!(lib.port), json!(lines[0].port()), json!(lines[1].port()), json!(lines[2].port())];
    for (at, (port, cases)) in ports.iter().zip(&cases).enumerate() {
        let framing = if at == 3 { "ascii" } else { "rtu" };
        assert_held(&mut checked, port, framing, cases);
        assert_eq!(checked.held(port, framing, 3, 450, 1), [registers[at]], "{}", names[at]);
    }
    drop(serial_servers);
}

#[test]
fn refusals_of_a_server_are_told_and_functions_that_it_lacks_are_done_by_others() {
    let without = Server::pymodbus_without("5,6,22,23");
    let lib = Server::libmodbus();
    let word = |link: &str, name: &str, at: u32| {
        json!({ "name": format!("{link}.{name}"), "address": format!("{link}:1:3:{at}"), "data_type": "uint16",
                "scan_rate_ms": 1000 })
    };
    let mut tags = bits("py");
    tags.push(word("py", "in_one", 460));
    tags.push(json!({ "name": "py.coil", "address": "py:1:1:9", "data_type": "bool", "scan_rate_ms": 1000 }));
    tags.extend([word("py", "beyond", 5_000), word("lib", "beyond", 5_000), word("lib", "word", 10)]);
    tags.push(json!({ "name": "lib.nobody", "address": "lib:77:3:10", "data_type": "uint16", "scan_rate_ms": 1000 }));
    let links = [tcp("py", without.port), tcp("lib", lib.port)];
    let mut writer = Writer::start(&json!({ "links": links, "tags": tags }));
    writer.wait_for_link("py");
    writer.wait_for_link("lib");
    for name in ["py.beyond", "lib.beyond"] {
        assert_eq!(writer.write(name, &Value::Uint(1), false).outcome, WriteOutcome::Refused(2), "{name}");
    }
    // libmodbus's server says exception 0B for a unit that is not there.
    let nobody = writer.write("lib.nobody", &Value::Uint(1), false).outcome;
    assert!(matches!(nobody, WriteOutcome::Refused(0x0B) | WriteOutcome::NotSent), "{nobody:?}");
    for round in 0..2 {
        assert_eq!(writer.write("py.word", &Value::Uint(0), true).outcome, WriteOutcome::Done);
        let register = write_bits(&mut writer, "py");
        assert_eq!(writer.write("py.in_one", &Value::Uint(77 + round), true).outcome, WriteOutcome::Done);
        assert_eq!(writer.write("py.coil", &Value::Bool(round == 0), true).outcome, WriteOutcome::Done);
        let mut checked = Checked { client: Peer::python("modbus_client.py", &[]) };
        let port = json!(without.port);
        assert_eq!(checked.held(&port, "", 3, 450, 1), [register]);
        assert_eq!(checked.held(&port, "", 3, 460, 1), [77 + round as u16]);
        assert_eq!(checked.held(&port, "", 1, 9, 1), [u16::from(round == 0)]);
    }
    let counts = writer.counts("py");
    assert_eq!(counts.1, 2 * (1 + 6 + 2), "done");
    assert_eq!(counts.2, 1, "failed");
    writer.stop();
}

#[test]
fn a_server_that_goes_away_fails_its_writes_in_time_and_none_comes_later() {
    let tag = json!({ "name": "t", "address": "l:1:3:10", "data_type": "uint16", "scan_rate_ms": 100 });
    let server = Server::pymodbus();
    let mut writer = Writer::start(&json!({ "links": [tcp("l", server.port)], "tags": [tag] }));
    writer.wait_for_link("l");
    assert_eq!(writer.write("t", &Value::Uint(1), true).outcome, WriteOutcome::Done);
    drop(server);
    let end = Instant::now() + Duration::from_secs(3);
    let mut outcomes = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        outcomes.push(writer.write("t", &Value::Uint(2), false).outcome);
        assert!(start.elapsed() < Duration::from_millis(1_200));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(outcomes.iter().all(|outcome| !outcome.is_done()), "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&WriteOutcome::NoConnection));
    writer.stop();
}

#[test]
fn a_storm_is_spaced_as_the_plan_says_and_the_scans_go_on() {
    let lib = Server::libmodbus();
    // As admission reckons, two reads of 3 ms in each 10 ms: 60 %.
    let mut link = tcp("lib", lib.port);
    (link["expected_reply_ms"], link["pipeline"]) = (json!(3), json!(1));
    let word = |name: &str, first: u32| json!({ "name": name, "address": format!("lib:1:3:{first}"), "data_type": "uint16", "scan_rate_ms": 10 });
    let mut writer = Writer::start(&json!({ "links": [link], "tags": [word("a", 10), word("b", 300)] }));
    writer.wait_for_link("lib");
    let spacing = writer.spacing("lib");
    assert!(spacing >= Nanos::from_millis(6), "{spacing:?}: reads keep half of the link");
    let (begun, cycles) = (Instant::now(), writer.cycles("lib"));
    let [done, not_sent, other] = writer.storm("a", Duration::from_secs(2));
    let took = begun.elapsed();
    println!(
        "{done} done in {took:?}, {not_sent} not sent, {spacing:?} apart, {} cycles",
        writer.cycles("lib") - cycles
    );
    assert!(other == 0 && not_sent > 0);
    assert!(done > 0 && u128::from(done) <= took.as_nanos() / u128::from(spacing.0) + 2, "{done} in {took:?}");
    assert!(writer.cycles("lib") > cycles);
    writer.stop();
}

#[test]
fn a_storm_of_writes_does_not_move_the_beat() {
    let lib = Server::libmodbus();
    let word = |name: &str, first: u32| json!({ "name": name, "address": format!("lib:1:3:{first}"), "data_type": "uint16", "scan_rate_ms": 10 });
    let tags = [word("a", 10), word("b", 300)];
    let mut writer = Writer::start(&json!({ "links": [tcp("lib", lib.port)], "tags": tags }));
    writer.wait_for_link("lib");
    // Turn by turn in one run, since the machine is not the same from one second to the next.
    let (mut quiet, mut stormy, mut done) = (Vec::new(), Vec::new(), 0);
    writer.lateness();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(400));
        quiet.push(ninth_tenth(writer.lateness()));
        done += writer.storm("a", Duration::from_millis(400))[0];
        stormy.push(ninth_tenth(writer.lateness()));
    }
    println!("{done} writes; nine of ten releases within {quiet:?} in quiet, {stormy:?} in a storm");
    assert!(done > 20, "{done} writes are no storm");
    let middle = |mut turns: Vec<Nanos>| {
        turns.sort_unstable();
        turns[turns.len() / 2]
    };
    let (quiet, stormy) = (middle(quiet), middle(stormy));
    // Executors of the tests have no priority: a millisecond is theirs to lose.
    assert!(stormy.0 <= quiet.0 * 3 + 1_000_000, "{stormy:?} in a storm, {quiet:?} without");
    writer.stop();
}

/// What nine of ten are not above.
fn ninth_tenth(mut all: Vec<Nanos>) -> Nanos {
    assert!(all.len() >= 20, "{} releases", all.len());
    all.sort_unstable();
    all[all.len() * 9 / 10]
}
