//! What the subscriber has got, number by number, checked against the plant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fieldbeat::hub::clock_pair;
use fieldbeat::plant::Plant;
use fieldbeat::store::Account;
use fieldbeat::tag::{Nanos, Status, Value};
use serde_json::Value as Json;

use crate::message::{Frame, Message};
use crate::peers::{PATIENCE, Received, Subscriber};

/// A sample's time is the middle between request and reply: the plant read its registers at most this far off.
const TIME_TOLERANCE_MS: u64 = 250;

pub struct Ledger<'a> {
    plant: &'a Plant,
    tag_of: HashMap<&'a str, usize>,
    /// UTC minus monotonic, nanoseconds.
    utc_offset_ns: i64,
    fed: usize,
    /// By boot and executor.
    seen: HashMap<(String, u64), Vec<bool>>,
    /// By boot, executor and group: the highest number seen.
    newest: HashMap<(String, u64, String), u64>,
    /// By lane and group: boot and number of the newest sample.
    streams: HashMap<(u64, String), (String, u64)>,
    /// Topic and payload of every message.
    pub lines: Vec<String>,
    pub samples: u64,
    pub repeats: u64,
    /// Values that were compared with the plant's.
    pub compared: u64,
}

impl<'a> Ledger<'a> {
    pub fn new(plant: &'a Plant) -> Ledger<'a> {
        let clock = clock_pair();
        Ledger {
            plant,
            tag_of: plant.tags().iter().enumerate().map(|(at, tag)| (&*tag.name, at)).collect(),
            utc_offset_ns: clock.utc_ns - clock.mono.0 as i64,
            fed: 0,
            seen: HashMap::new(),
            newest: HashMap::new(),
            streams: HashMap::new(),
            lines: Vec::new(),
            samples: 0,
            repeats: 0,
            compared: 0,
        }
    }

    pub fn feed(&mut self, subscriber: &Subscriber) {
        for received in subscriber.fresh(&mut self.fed).iter().filter(|received| received.is_data()) {
            self.message(received);
        }
    }

    /// Until exactly what these accounts hold has come.
    pub fn expect(&mut self, subscriber: &Subscriber, accounts: &[Account]) {
        let stored: u64 = accounts.iter().map(|account| account.samples).sum();
        let mut moved = (self.samples, Instant::now());
        loop {
            self.feed(subscriber);
            if self.samples >= stored {
                break;
            }
            if self.samples > moved.0 {
                moved = (self.samples, Instant::now());
            }
            assert!(
                moved.1.elapsed() < PATIENCE,
                "{} of {stored} samples came:\n{}",
                self.samples,
                self.faults(accounts)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.faults(accounts), "");
        assert_eq!(self.samples, stored, "nothing came that the journal does not hold");
    }

    fn faults(&self, accounts: &[Account]) -> String {
        let mut out = String::new();
        for account in accounts {
            assert_eq!(
                (account.first_sequence, account.missing, account.blocks_out_of_order),
                (0, 0, 0),
                "{account:?}"
            );
            let seen = self.seen.get(&(account.boot.to_string(), u64::from(account.lane.0)));
            let is_seen = |number: u64| seen.is_some_and(|seen| seen.get(number as usize) == Some(&true));
            let missing: Vec<u64> = (0..account.next_sequence).filter(|number| !is_seen(*number)).collect();
            if let Some(first) = missing.first() {
                let (boot, end) = (account.boot, account.next_sequence);
                out += &format!("boot {boot}: {} of {end} numbers are missing, first {first}\n", missing.len());
            }
        }
        out
    }

    fn message(&mut self, received: &Received) {
        let message: Message<Json> =
            serde_json::from_str(&received.payload).unwrap_or_else(|e| panic!("{e} in {}", received.payload));
        assert!(!received.retained, "data is not retained");
        assert_eq!(message.gateway, "line-4");
        assert_eq!(received.topic, format!("fieldbeat/line-4/{}", message.group));
        self.lines.push(format!("{} {}", received.topic, received.payload));
        self.check_stream(&message);
        let seen = self.seen.entry((message.boot.clone(), message.lane)).or_default();
        let group = (message.boot, message.lane, message.group);
        let mut newest = self.newest.get(&group).copied();
        for frame in message.frames {
            assert!(frame.cycle >= 0);
            let at = Nanos((frame.t * 1000 - self.utc_offset_ns) as u64);
            let has_value = [Status::GOOD.0, Status::UNCERTAIN_LAST_USABLE.0].contains(&frame.q);
            for (number, (name, value)) in (frame.seq..).zip(&frame.values.0) {
                let index = number as usize;
                if seen.len() <= index {
                    seen.resize(index + 1, false);
                }
                if std::mem::replace(&mut seen[index], true) {
                    self.repeats += 1;
                    continue;
                }
                assert!(newest.is_none_or(|newest| newest < number), "{number} of {group:?} came after {newest:?}");
                newest = Some(number);
                self.samples += 1;
                // The gateway's own tags have values that the plant knows nothing of.
                let Some(tag) = self.tag_of.get(name.as_str()).map(|at| &self.plant.tags()[*at]) else {
                    assert!(name.starts_with('$'), "{name}");
                    continue;
                };
                if has_value {
                    self.compared += 1;
                    let is = |at| is_same(&self.plant.expected_value(tag, at), value);
                    let moments = (0..TIME_TOLERANCE_MS).map(Nanos::from_millis);
                    let mut around = moments.flat_map(|off| [at - off, at + off]);
                    assert!(around.any(is), "{name} = {value} at {at:?}: {:?}", self.plant.expected_value(tag, at));
                }
            }
        }
        if let Some(newest) = newest {
            self.newest.insert(group, newest);
        }
    }
}

impl Ledger<'_> {
    /// Nothing is lost on the way: what a message says of the sample before it in its stream, the consumer has.
    fn check_stream(&mut self, message: &Message<Json>) {
        let stream = (message.lane, message.group.clone());
        let known = self.streams.get(&stream);
        let before = message.prev.map(|prev| (message.prev_boot.clone().unwrap_or_else(|| message.boot.clone()), prev));
        assert!(before.is_none() || known.is_none() || before.as_ref() <= known, "{before:?} after {known:?}");
        assert_eq!(message.missing, 0);
        let last = message.frames.iter().map(|frame| frame.seq + frame.values.0.len() as u64 - 1).max().unwrap();
        let newest = Some((message.boot.clone(), last)).max(known.cloned()).unwrap();
        self.streams.insert(stream, newest);
        message.frames.iter().for_each(Frame::check);
    }
}

fn is_same(expected: &Value, got: &Json) -> bool {
    match expected {
        Value::Bool(value) => got.as_bool() == Some(*value),
        Value::Int(value) => got.as_i64() == Some(*value),
        Value::Uint(value) => got.as_u64() == Some(*value),
        Value::Float32(value) => got.as_f64().is_some_and(|got| got as f32 == *value),
        // Scaled: multiplied here and there, and read back from decimal digits.
        Value::Float64(value) => got.as_f64().is_some_and(|got| (got - value).abs() <= value.abs() * 1e-12),
        Value::Text(value) => got.as_str().is_some_and(|got| got.trim_end() == value.trim_end()),
        Value::Array(_) => false,
    }
}
