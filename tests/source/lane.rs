//! A source that is no part of the gateway: its own times, its backlog, its writes, its rules, its reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fieldbeat::config::model::{Reporting, Suppress};
use fieldbeat::config::{Config, JournalConfig};
use fieldbeat::door::{Door, Wake};
use fieldbeat::hub::{self, Filter, NextRing, RingEnd, RingStats, TapsEnd};
use fieldbeat::lane::Frame;
use fieldbeat::plan::{Base, LaneOwner, Plan, SourceKind, UsedIds};
use fieldbeat::protocol;
use fieldbeat::protocol::load_parts;
use fieldbeat::rt::{WriteOrder, WriteOutcome, WritePayload, monotonic_now};
use fieldbeat::source::Source;
use fieldbeat::store::{BootId, Journal};
use fieldbeat::supervise::floor::{self, Scheduling};
use fieldbeat::tag::{Batch, Dictionary, DictionaryTag, LaneId, Nanos, Stamp, Status, TagId, flags};

const TAGS: &str = r#"{"links":[{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","port":9}],
    "tags":[{"name":"t","address":"plc:1:3:40001:1","data_type":"uint16","scan_rate_ms":1000}]}"#;
const TOML: &str = "[gateway]\nid = \"g\"\n[diagnostics]\ntags = [\"$gateway.uptime_s\", \"$gateway.memory_bytes\"]\n";
/// 2001-09-09: long before this machine was started.
const LONG_AGO: i64 = 1_000_000_000 * 1_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Writes what a device with a clock would: each 5 ms a value with its own time, now and then one of its backlog.
struct Replay {
    plan: Arc<Plan>,
    told: Arc<AtomicU64>,
}

impl Replay {
    fn tags(&self, lane: LaneId) -> Vec<(TagId, u8, fieldbeat::tag::GroupId)> {
        let own = self.plan.tags.iter().filter(|(_, tag)| self.plan.links[tag.link].lane == lane);
        own.map(|(id, tag)| (id, tag.ty.code(), tag.group)).collect()
    }
}

impl Source for Replay {
    fn run(mut self: Box<Self>, mut door: Door) {
        let mut due = monotonic_now();
        let mut n = 0;
        loop {
            match door.wait(due) {
                Wake::Due => {
                    for (tag, ty, group) in self.tags(door.lane) {
                        let at = |utc| Frame { group, cycle: n as u32, t: Stamp::utc(utc) };
                        let value = (n as f64).to_bits();
                        if n % 10 == 9 {
                            door.samples.backfill(at(LONG_AGO - n * SECOND), tag, ty, value, Status::GOOD);
                        } else {
                            door.samples.scalar(at(LONG_AGO + n * SECOND), tag, ty, value);
                        }
                    }
                    door.samples.flush();
                    n += 1;
                    self.told.store(n as u64, Relaxed);
                    due += Nanos::from_millis(5);
                }
                Wake::Plan(plan) => self.plan = plan,
                Wake::Order(order) => {
                    let back = WritePayload::new(&order.payload.bytes().iter().rev().copied().collect::<Vec<_>>());
                    door.answer(order.id, WriteOutcome::Done, back.unwrap());
                }
                Wake::Stop => return,
            }
        }
    }
}

fn config() -> Config {
    let mut config = load_parts(("fieldbeat.toml", TOML), &[("tags/a.json", TAGS)]).unwrap().config;
    // Of one of the two, only a status that is another is reported.
    let own = config.tags.iter_mut().find(|tag| tag.name == "$gateway.memory_bytes").unwrap();
    own.reporting = Some(Reporting { suppress: Suppress::Ring, max_silence: Nanos::from_millis(1 << 40), ..quiet() });
    config
}

/// Everything is within the deadband.
fn quiet() -> Reporting {
    let tags = TAGS.replace("\"scan_rate_ms\":1000", "\"scan_rate_ms\":1000,\"deadband\":60000");
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &tags)]).unwrap();
    let reporting = loaded.config.tags[0].reporting.unwrap();
    Reporting { deadband: f64::MAX, ..reporting }
}

fn dictionary(plan: &Plan) -> Arc<Dictionary> {
    let tag = |id: u32| {
        let name = plan.tags.get(TagId(id)).map_or(String::new(), |tag| tag.name.to_string());
        DictionaryTag { name, ..DictionaryTag::default() }
    };
    Arc::new(Dictionary { gateway: "g".into(), tags: (0..plan.tags.end() as u32).map(tag).collect(), groups: vec![] })
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !until() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_a_source_writes_is_a_sample_like_any_other() {
    let mut plan = Arc::new(protocol::build(&config(), &[0]).unwrap().plan);
    let lane = LaneId(1);
    assert_eq!(plan.lanes[1].owner, LaneOwner::Source(SourceKind::Diagnostics));
    let named = |plan: &Plan, name: &str| plan.tags.iter().find(|(_, tag)| &*tag.name == name).unwrap().0;
    let (reported, held_back) = (named(&plan, "$gateway.uptime_s"), named(&plan, "$gateway.memory_bytes"));

    let mut floor = floor::prepare(plan.clone(), Scheduling::Ordinary).unwrap().start();
    let rings: Arc<[RingStats]> = plan.lanes.iter().map(|_| RingStats::default()).collect();
    let end = |ring, plan: &Plan| RingEnd { ring, names: dictionary(plan), filter: Filter::default() };
    let ends = std::mem::take(&mut floor.rings).into_iter().map(|ring| end(ring, &plan)).collect();
    let (next_rings, nexts) = crossbeam_channel::bounded(8);
    let (to_journal, batches) = crossbeam_channel::unbounded::<Arc<Batch>>();
    let hub = hub::spawn(ends, nexts, to_journal, TapsEnd::default(), rings.clone()).unwrap();
    let (kind, door) = floor.doors.pop().unwrap();
    let told = Arc::new(AtomicU64::new(0));
    floor.start_source(kind, Box::new(Replay { plan: plan.clone(), told: told.clone() }), door).unwrap();
    wait("thirty turns", || told.load(Relaxed) > 30);

    // A write goes to the lane that has the link.
    let link = plan.tags[reported].link;
    let order = |id, generation| WriteOrder {
        id,
        link,
        slot: 0,
        generation,
        deadline: monotonic_now() + Nanos::from_millis(20_000),
        read_back: false,
        payload: WritePayload::new(b"abc").unwrap(),
    };
    let before = floor.generation(link).unwrap();
    floor.write(order(1, before)).unwrap();
    let mut answers = Vec::new();
    wait("an answer", || {
        answers.extend(floor.take_answers());
        !answers.is_empty()
    });
    assert_eq!((answers[0].outcome, answers[0].back.bytes()), (WriteOutcome::Done, &b"cba"[..]));

    // A tag goes while it runs: another ring, the same numbers; and what was ordered by the plan before is refused.
    let mut less = config();
    less.tags.retain(|tag| tag.name != "$gateway.memory_bytes");
    let fits = |_: TagId, _: usize| true;
    let resting: Vec<UsedIds> = Vec::new();
    let base = Base { plan: &plan, resting: &resting, long_fits: &fits };
    let new = Arc::new(protocol::rebuild(&less, &base).unwrap().plan);
    floor.adopt(&plan, &new, 1, |lane, ring| next_rings.send(NextRing { lane, end: end(ring, &new) }).unwrap());
    wait("the adoption", || floor.has_adopted());
    plan = new;
    floor.write(order(2, before)).unwrap();
    answers.clear();
    wait("a refusal", || {
        answers.extend(floor.take_answers());
        !answers.is_empty()
    });
    assert_eq!(answers[0].outcome, WriteOutcome::PlanChanged);
    let now = told.load(Relaxed);
    wait("twenty turns more", || told.load(Relaxed) > now + 20);

    // Its sign of life is its lane's.
    assert!(floor.counters.lanes[lane.index()].loops.get() > 50);
    floor.stop();
    floor.stop_sources();
    drop(next_rings);
    hub.join().unwrap();
    let turns = told.load(Relaxed);
    let lane_counts = &floor.counters.lanes[lane.index()];
    let delivered = rings[lane.index()].delivered.load(Relaxed);
    assert_eq!(
        lane_counts.produced.get(),
        delivered + lane_counts.dropped.get() + lane_counts.suppressed_at_ring.get()
    );
    assert_eq!(lane_counts.dropped.get(), 0);
    assert!(lane_counts.suppressed_at_ring.get() > 20, "its tags have rules of report by exception");

    // The image has the newest value that is not backfill, with its own time.
    let newest = (0..turns as i64).rev().find(|n| n % 10 != 9).unwrap();
    let shown = floor.image.read(reported.index()).unwrap();
    let clock = hub::clock_pair();
    assert_eq!(
        (f64::from_bits(shown.value), Stamp(shown.t).utc_ns(&clock)),
        (newest as f64, LONG_AGO + newest * SECOND)
    );
    assert!(Stamp(shown.t).age(monotonic_now(), &clock).as_secs_f64() > 20.0 * 365.0 * 86_400.0);

    // And the journal has all of it, in order, with the source's times, whatever this machine's clock says.
    let dir = tempfile::tempdir().unwrap();
    let journal = JournalConfig { path: dir.path().into(), bytes_max: 64 << 20, commit: Nanos::from_millis(100) };
    let mut journal = Journal::open(&journal, BootId(7)).unwrap();
    let all: Vec<Arc<Batch>> = batches.iter().filter(|batch| batch.lane == lane).collect();
    journal.append(&all).unwrap();
    let reader = journal.reader();
    let (mut seen, mut next, mut sequence) = (Vec::new(), 0, 0);
    while let Some(block) = reader.block_at_or_after(next).unwrap() {
        next = block.index + 1;
        assert_eq!((block.batch.lane, block.batch.first_sequence), (lane, sequence));
        sequence += u64::from(block.batch.samples);
        let clock = block.batch.clock;
        seen.extend(block.batch.iter().map(|item| (*item.sample, item.sample.stamp().utc_ns(&clock))));
    }
    let of = |tag: TagId| seen.iter().filter(move |(sample, _)| sample.tag == tag.0);
    let expected: Vec<(i64, bool)> = (0..turns as i64)
        .map(|n| if n % 10 == 9 { (LONG_AGO - n * SECOND, true) } else { (LONG_AGO + n * SECOND, false) })
        .collect();
    let times: Vec<(i64, bool)> = of(reported).map(|(s, utc)| (*utc, s.flags & flags::BACKFILL != 0)).collect();
    assert_eq!(times, expected);
    // Of the other, the first and each of the backlog: those are backfill, which report by exception does not apply to.
    let backlog = of(held_back).filter(|(sample, _)| sample.flags & flags::BACKFILL != 0).count();
    assert_eq!(of(held_back).count(), backlog + 1);
    assert!(backlog >= 3);
    assert_eq!(plan.tags.len(), 2);
}
