//! What a subscriber has got of the producer's samples.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::journal::{BOOT, UTC_ZERO_NS, value_of};
use super::message::Message;
use super::peers::{PATIENCE, Received, Subscriber};

impl Subscriber {
    /// Feeds what came since the last call.
    pub fn feed(&self, ledger: &mut Ledger) {
        for received in self.fresh(&mut ledger.fed).iter().filter(|received| received.is_data()) {
            ledger.message(received);
        }
    }

    /// Until every sample that was made has come; fails on one out of order, changed, or under a wrong name.
    pub fn expect_all(&self, made: &[u64], tags_per_executor: u64) -> Ledger {
        let mut ledger = Ledger { tags_per_executor, ..Ledger::default() };
        let end = Instant::now() + PATIENCE;
        loop {
            self.feed(&mut ledger);
            if ledger.samples == made.iter().sum::<u64>() {
                assert_eq!((ledger.missing(made), ledger.gaps), (String::new(), 0));
                return ledger;
            }
            assert!(Instant::now() < end, "missing samples: {}", ledger.missing(made));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What has come, sample by sample.
#[derive(Default)]
pub struct Ledger {
    tags_per_executor: u64,
    fed: usize,
    seen: HashMap<u64, Vec<bool>>,
    /// By executor and group.
    newest: HashMap<(u64, String), u64>,
    pub messages: u64,
    pub samples: u64,
    pub repeats: u64,
    /// Messages that say that a sample before them has not come.
    pub gaps: u64,
}

impl Ledger {
    pub fn of(tags_per_executor: u64) -> Ledger {
        Ledger { tags_per_executor, ..Ledger::default() }
    }

    /// Another subscriber's messages come next: its order is its own.
    pub fn begin_anew(&mut self) {
        self.fed = 0;
        self.newest.clear();
    }

    fn message(&mut self, received: &Received) {
        let message: Message<u64> =
            serde_json::from_str(&received.payload).unwrap_or_else(|e| panic!("{e} in {}", received.payload));
        assert!(!received.retained, "data is not retained");
        assert_eq!(message.gateway, "line-4");
        assert_eq!(message.boot, BOOT.to_string());
        assert_eq!(received.topic, format!("fieldbeat/line-4/{}", message.group));
        let stream = (message.lane, message.group.clone());
        let known = self.newest.get(&stream).copied();
        self.gaps += u64::from(message.prev > known && known.is_some());
        assert_eq!((message.prev_boot.as_ref(), message.missing), (None, 0));
        for frame in message.frames {
            frame.check();
            let held = i64::from(frame.q == 0x408F_0000 && frame.cycle > 0);
            assert_eq!(frame.t, UTC_ZERO_NS / 1000 + 10_000 * (frame.cycle - held), "held values keep their time");
            for (sequence, (name, value)) in (frame.seq..).zip(frame.values.0) {
                assert_eq!(value, value_of(sequence), "of number {sequence}");
                let tag = message.lane * self.tags_per_executor + sequence % self.tags_per_executor;
                assert_eq!(name, format!("tag{tag}"));
                self.sample(message.lane, &message.group, sequence);
            }
        }
        self.messages += 1;
    }

    fn sample(&mut self, executor: u64, group: &str, sequence: u64) {
        let seen = self.seen.entry(executor).or_default();
        let at = sequence as usize;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut seen[at], true) {
            self.repeats += 1;
            return;
        }
        self.samples += 1;
        let newest = self.newest.insert((executor, group.to_string()), sequence);
        assert!(newest.is_none_or(|n| n < sequence), "{sequence} of {group} came after {newest:?}");
    }

    pub fn missing(&self, made: &[u64]) -> String {
        let mut out = Vec::new();
        for (executor, made) in made.iter().enumerate() {
            let seen = self.seen.get(&(executor as u64));
            let missing: Vec<u64> =
                (0..*made).filter(|n| seen.is_none_or(|s| s.get(*n as usize) != Some(&true))).collect();
            if let Some(first) = missing.first() {
                out.push(format!("executor {executor}: {} of {made}, first {first}", missing.len()));
            }
        }
        out.join("; ")
    }
}
