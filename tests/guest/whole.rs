//! The whole program with every kind of link at once: Modbus TCP, a serial line, CAN and CANopen.

use std::collections::BTreeMap;

use serde_json::json;

use crate::guest::Guest;
use crate::peers::Peer;

/// A sample of the journal, as `fieldbeat tail` prints it.
struct Sample<'a> {
    /// Seconds of the day.
    at: f64,
    tag: &'a str,
    value: f64,
}

/// The good ones whose values are numbers.
fn samples(text: &str) -> Vec<Sample<'_>> {
    let sample = |line| {
        let words: Vec<&str> = str::split(line, ' ').collect();
        let is_good = words.last() == Some(&"Good");
        is_good.then(|| Some(Sample { at: seconds(words[0]), tag: words[1], value: words[2].parse().ok()? })).flatten()
    };
    text.lines().filter_map(sample).collect()
}

/// Of `2026-01-01T12:00:00.000000Z`.
fn seconds(time: &str) -> f64 {
    let clock = time.split_once('T').unwrap().1.trim_end_matches('Z');
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

/// A frame of candump's log.
struct Heard {
    /// Seconds of the day.
    at: f64,
    id: u32,
    data: String,
}

fn heard(guest: &Guest) -> Vec<Heard> {
    let frame = |line: &str| {
        let mut words = line.split(' ');
        let at: f64 = words.next()?.trim_matches(['(', ')']).parse().ok()?;
        let (id, data) = words.nth(1)?.split_once('#')?;
        // Behind the second mark of an FD frame are its flags.
        let data = data.strip_prefix('#').map_or(data, |fd| &fd[1..]);
        Some(Heard { at: at % 86_400.0, id: u32::from_str_radix(id, 16).ok()?, data: data.to_owned() })
    };
    // The last line may be cut off.
    guest.text("whole.candump").lines().filter_map(frame).collect()
}

pub fn every_kind_of_link_runs_beside_the_others(guest: &Guest) {
    guest.assert_done("whole.demo");
    let report = guest.json("whole.report.json");
    let links = report["links"].as_object().unwrap();
    let names: Vec<&String> = links.keys().collect();
    assert_eq!(names, ["can", "canopen", "dev0", "dev1", "line0"]);
    for (name, link) in links.iter().filter(|(name, _)| *name != "can") {
        assert!(link["replies"].as_u64().unwrap() > 5, "{name}: {link:#}");
    }
}

pub fn each_sample_is_stored_or_counted(guest: &Guest) {
    let samples = &guest.json("whole.report.json")["samples"];
    let [produced, stored, dropped, suppressed] =
        ["produced", "stored", "dropped", "suppressed"].map(|key| samples[key].as_u64().unwrap());
    assert_eq!(produced, stored + dropped + suppressed, "{samples}");
    assert!(stored > 1500, "{samples}");
    let said = guest.text("whole.demo");
    assert!(said.contains("the counts add up"), "{said}");
}

pub fn values_of_can_are_those_that_cantools_decodes(guest: &Guest) {
    guest.assert_done("whole.tail");
    let dbc = guest.path("whole.dbc");
    let mut cantools = Peer::python("dbc_decoder.py", &[dbc.to_str().unwrap()]);
    let mut decoded: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for Heard { at, id, data } in heard(guest) {
        if !(0x110..=0x140).contains(&id) && id != 0x0CF0_0403 {
            continue;
        }
        let seen = cantools.ask(&json!({ "id": id, "data": data }));
        for (name, value) in seen["values"].as_object().unwrap() {
            let name = format!("can.{}.{name}", seen["message"].as_str().unwrap());
            decoded.entry(name).or_default().push((at, value.as_f64().unwrap()));
        }
    }
    let text = guest.text("whole.tail");
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    for Sample { at, tag, value } in samples(&text).into_iter().filter(|sample| sample.tag.starts_with("can.")) {
        let frames = decoded.get(tag).unwrap_or_else(|| panic!("{tag} was in no frame"));
        let is_own = |(came, read): &&(f64, f64)| {
            (came - at).abs() < 0.02 && (read - value).abs() <= 1e-6 * value.abs().max(1.0)
        };
        assert!(frames.iter().any(|frame| is_own(&frame)), "{tag} was never {value} at {at}");
        *tags.entry(tag).or_default() += 1;
    }
    assert_eq!(tags.len(), 23, "{tags:#?}");
}

pub fn values_of_canopen_are_those_in_the_nodes_frames(guest: &Guest) {
    let field = |data: &str, from: usize, bytes: usize| {
        let byte = |i: usize| u64::from_str_radix(&data[2 * i..2 * i + 2], 16).unwrap();
        (from..from + bytes).rev().fold(0, |word, i| word << 8 | byte(i))
    };
    let mut sent: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for Heard { id, data, .. } in heard(guest) {
        let mut add = |tag, value| sent.entry(tag).or_default().push(value);
        match (id, data.len()) {
            (0x185, 16) => {
                add("pump.flow", f64::from(f32::from_bits(field(&data, 0, 4) as u32)));
                add("pump.temperature", f64::from(field(&data, 4, 2) as u16 as i16) * 0.1);
                add("pump.pressure", field(&data, 6, 2) as f64 * 0.01);
            }
            (0x285, 10) => {
                add("pump.strokes", field(&data, 0, 4) as f64);
                add("pump.status", field(&data, 4, 1) as f64);
            }
            _ => {}
        }
    }
    let text = guest.text("whole.tail");
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    for Sample { tag, value, .. } in samples(&text) {
        let Some(frames) = sent.get(tag) else { continue };
        assert!(frames.iter().any(|frame| (frame - value).abs() <= 1e-5 * value.abs().max(1.0)), "{tag}: {value}");
        *tags.entry(tag).or_default() += 1;
    }
    assert_eq!(
        tags.keys().collect::<Vec<_>>(),
        [&"pump.flow", &"pump.pressure", &"pump.status", &"pump.strokes", &"pump.temperature"]
    );
}

pub fn a_message_that_the_gateway_sends_is_heard(guest: &Guest) {
    let text = guest.text("whole.tail");
    let seen: Vec<f64> = samples(&text)
        .iter()
        .filter(|sample| sample.tag == "can.MixerFeedback.SetpointSeen")
        .map(|s| s.value)
        .collect();
    assert!(seen.contains(&900.0), "{seen:?}");
}
