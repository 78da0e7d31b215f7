//! A floor, and what is written through it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config::WriteConfig;
use fieldbeat::lane::LinkState;
use fieldbeat::plan::Plan;
use fieldbeat::protocol;
use fieldbeat::protocol::{kinds, write};
use fieldbeat::rt::{Report, WriteAnswer, WriteOrder, WriteOutcome, monotonic_now};
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{LinkId, Nanos, TagId, Value};
use serde_json::Value as Json;

/// See the module.
pub struct Writer {
    floor: Floor,
    plan: Arc<Plan>,
    next: u64,
}

const GATEWAY: &str = "[gateway]\nid = \"write\"\n";
/// From the order to its answer.
const WITHIN: Nanos = Nanos::from_millis(1_000);

impl Writer {
    /// All tags of the file may be written.
    pub fn start(tags: &Json) -> Writer {
        let dir = tempfile::TempDir::new().unwrap();
        let write = |path: &str, text: &str| {
            let path: &Path = &dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("fieldbeat.toml", GATEWAY);
        write("tags/all.json", &tags.to_string());
        let mut config = protocol::load(dir.path()).unwrap_or_else(|error| panic!("{error}")).config;
        for tag in &mut config.tags {
            let read_write_in_one = tag.name.ends_with("in_one");
            tag.write = Some(WriteConfig { timeout: WITHIN, read_write_in_one, ..WriteConfig::default() });
        }
        let plan = Arc::new(protocol::build(&config, &[0]).unwrap().plan);
        let floor = floor::prepare(plan.clone(), Scheduling::Ordinary).unwrap().start();
        Writer { floor, plan, next: 0 }
    }

    fn link(&self, name: &str) -> LinkId {
        self.plan.links.iter().find(|(_, link)| &*link.name == name).unwrap().0
    }

    fn tag(&self, name: &str) -> TagId {
        self.plan.tags.iter().find(|(_, tag)| &*tag.name == name).unwrap_or_else(|| panic!("no tag {name}")).0
    }

    pub fn wait_for_link(&self, name: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.floor.counters.link(self.link(name)).state() != LinkState::Up {
            assert!(Instant::now() < end, "{name} does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Orders, and waits for the one answer.
    pub fn write(&mut self, tag: &str, value: &Value, read_back: bool) -> WriteAnswer {
        let encoded = kinds::encode(&self.plan, self.tag(tag), value).unwrap_or_else(|fault| panic!("{tag}: {fault}"));
        let write::Encoded { link, slot, payload } = encoded;
        self.next += 1;
        let (id, deadline) = (self.next, monotonic_now() + WITHIN);
        let generation = self.floor.generation(link).unwrap();
        self.floor.write(WriteOrder { id, link, slot, generation, deadline, read_back, payload }).unwrap();
        let end = Instant::now() + Duration::from_millis(1_500);
        loop {
            let answers: Vec<WriteAnswer> = self.floor.take_answers().collect();
            if let [answer] = answers[..] {
                assert_eq!(answer.id, id);
                assert!(answer.at <= deadline + Nanos::from_millis(100));
                return answer;
            }
            assert!(answers.is_empty() && Instant::now() < end, "{tag}: {answers:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Orders as many as the floor takes for so long, and waits for the answers: how many were done, how many only not sent
    /// in time or for want of room, and how many else.
    pub fn storm(&mut self, tag: &str, duration: Duration) -> [u64; 3] {
        let tag = self.tag(tag);
        let mut counts = [0; 3];
        let take = |floor: &mut Floor, counts: &mut [u64; 3]| {
            let mut answers = 0;
            for answer in floor.take_answers() {
                let kind = match answer.outcome {
                    WriteOutcome::Done => 0,
                    WriteOutcome::Busy | WriteOutcome::NotSent => 1,
                    _ => 2,
                };
                counts[kind] += 1;
                answers += 1;
            }
            answers
        };
        let (end, mut open) = (Instant::now() + duration, 0u64);
        while Instant::now() < end {
            let value = Value::Uint(self.next % 60_000);
            let write::Encoded { link, slot, payload } = kinds::encode(&self.plan, tag, &value).unwrap();
            let generation = self.floor.generation(link).unwrap();
            let (id, deadline) = (self.next + 1, monotonic_now() + WITHIN);
            let order = WriteOrder { id, link, slot, generation, deadline, read_back: false, payload };
            if self.floor.write(order).is_ok() {
                (self.next, open) = (id, open + 1);
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
            open -= take(&mut self.floor, &mut counts);
        }
        let end = Instant::now() + Duration::from_secs(3);
        while open > 0 {
            assert!(Instant::now() < end, "{open} orders have no answer");
            std::thread::sleep(Duration::from_millis(1));
            open -= take(&mut self.floor, &mut counts);
        }
        counts
    }

    /// How late each release was since this was asked last.
    pub fn lateness(&mut self) -> Vec<Nanos> {
        let told = self.floor.reports.iter_mut().flat_map(|ring| std::iter::from_fn(|| ring.pop().ok()));
        let released = told.filter_map(|report| match report {
            Report::Released { due, actual, .. } => Some(actual.since(due)),
            _ => None,
        });
        released.collect()
    }

    /// By the plan.
    pub fn spacing(&self, link: &str) -> Nanos {
        self.plan.links[self.link(link)].write_spacing
    }

    /// Cycles of all scans of a link so far.
    pub fn cycles(&self, link: &str) -> u64 {
        let link = self.link(link);
        let own = self.plan.scans.iter().filter(|(_, scan)| scan.link == link);
        own.map(|(id, _)| self.floor.counters.scan(id).cycles.get()).sum()
    }

    pub fn decode(&self, tag: &str, answer: &WriteAnswer) -> Option<Value> {
        kinds::decode(&self.plan, self.tag(tag), &answer.back)
    }

    /// Writes of a link: sent, done, failed.
    pub fn counts(&self, link: &str) -> (u64, u64, u64) {
        let link = self.floor.counters.link(self.link(link));
        (link.writes_sent.get(), link.writes_done.get(), link.writes_failed.get())
    }

    pub fn stop(mut self) {
        self.floor.stop();
    }
}
