//! What a full ring, a rate, a held value and a long one make of samples.

use rtrb::{Consumer, RingBuffer};

use super::*;
use crate::plan::{GroupPlan, LaneOwner, LanePlan, Pace, Plan};
use crate::tag::{Nanos, ValueType};

const FRAME: Frame = Frame { group: GroupId(0), cycle: 1, t: Stamp(5) };

fn sink(slots: usize) -> (SampleWriter, Consumer<Sample>, Arc<Counters>) {
    let group =
        GroupPlan { name: "g".into(), pace: Pace::Every(Nanos(1)), release: crate::config::ReleaseMode::Spread };
    let plan = Plan {
        groups: [group].into_iter().collect(),
        lanes: vec![LanePlan {
            owner: LaneOwner::Executor { cpu: 0 },
            links: vec![],
            releases: vec![],
            slots_per_s: 0,
        }],
        ..Plan::default()
    };
    let counters = Arc::new(Counters::new(&plan));
    let image = Arc::new(Image::new([0, 40], Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = RingBuffer::new(slots);
    (SampleWriter::new(ring, image, counters.clone(), LaneId(0), 40), samples, counters)
}

#[test]
fn what_does_not_fit_is_counted_and_told_by_one_gap() {
    let (mut sink, mut ring, counters) = sink(200);
    for n in 0..300 {
        sink.scalar(FRAME, TagId(0), 1, n);
    }
    sink.flush();
    assert_eq!((counters.produced(), counters.dropped()), (300, 100));
    let first: Vec<u64> = std::iter::from_fn(|| ring.pop().ok()).map(|s| s.value).collect();
    assert_eq!(first, (0..200).collect::<Vec<_>>());
    sink.scalar(FRAME, TagId(0), 1, 300);
    sink.flush();
    let gap = ring.pop().unwrap();
    assert!(gap.is_gap() && gap.value == 100);
    assert_eq!(ring.pop().unwrap().value, 300);
}

#[test]
fn what_comes_faster_than_its_group_may_is_dropped_and_counted() {
    let (writer, mut ring, counters) = sink(4096);
    let mut writer = writer.with_rates(EventRates::new(LaneId(0), &by_event(100)));
    let mut wrote = 0;
    let mut write = |writer: &mut SampleWriter, n: u64| {
        for _ in 0..n {
            writer.scalar(FRAME, TagId(0), 1, wrote);
            wrote += 1;
        }
        writer.flush();
    };
    // What the ring is sized for may come at once: two seconds at the highest rate.
    writer.at(Nanos::from_millis(10_000));
    write(&mut writer, 250);
    assert_eq!((counters.produced(), counters.dropped()), (250, 50));
    // A second later as much as comes in a second; backfill is no event.
    writer.at(Nanos::from_millis(11_000));
    write(&mut writer, 150);
    assert_eq!((counters.produced(), counters.dropped()), (400, 100));
    writer.backfill(FRAME, TagId(0), 1, 7, Status::GOOD);
    writer.flush();
    let told: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
    let gaps: Vec<(usize, u64)> =
        told.iter().enumerate().filter(|(_, s)| s.is_gap()).map(|(at, s)| (at, s.value)).collect();
    assert_eq!(gaps, [(200, 50), (301, 50)], "each loss is told where it was");
    assert_eq!(told.len() as u64, counters.produced() - counters.dropped() + 2);
    assert_eq!((told[201].value, told[302].value), (250, 7));
}

/// The plan of `sink` with a tag in a group by event.
fn by_event(rate_max_hz: u32) -> Plan {
    let tags = r#"{"links":[{"name":"l","protocol":"modbus_tcp","host":"127.0.0.1"}],
        "tags":[{"name":"t","address":"l:1:3:40001:1","data_type":"uint16","scan_rate_ms":100}]}"#;
    let loaded = crate::protocol::load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", tags)]);
    let mut plan = crate::protocol::build(&loaded.unwrap().config, &[0]).unwrap().plan;
    plan.groups[GroupId(0)].pace = Pace::OnEvent { rate_max_hz };
    plan
}

#[test]
fn the_last_gap_is_told_when_the_sink_goes() {
    let (mut sink, mut ring, counters) = sink(4);
    for n in 0..6 {
        sink.scalar(FRAME, TagId(0), 1, n);
    }
    sink.flush();
    let _ = ring.pop();
    drop(sink);
    let rest: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
    assert!(rest.last().unwrap().is_gap());
    assert_eq!(rest.last().unwrap().value, counters.dropped());
}

#[test]
fn a_held_value_keeps_its_time_and_is_told_once() {
    let (mut sink, mut ring, _) = sink(200);
    sink.scalar(FRAME, TagId(0), 1, 77);
    sink.hold(Frame { t: Nanos(900).into(), ..FRAME }, TagId(0), 1, false, Status::UNCERTAIN_LAST_USABLE);
    sink.hold(Frame { t: Nanos(901).into(), ..FRAME }, TagId(0), 1, false, Status::UNCERTAIN_LAST_USABLE);
    sink.flush();
    let samples: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
    assert_eq!(samples.len(), 2);
    assert_eq!((samples[1].t, samples[1].value, samples[1].flags), (5, 77, flags::HELD));
    assert_eq!(samples[1].status(), Status::UNCERTAIN_LAST_USABLE);
}

#[test]
fn a_long_value_goes_whole_or_not_at_all_and_is_held_whole() {
    let (mut sink, mut ring, counters) = sink(200);
    let text = ValueType::Text { bytes_max: 40 }.code();
    sink.long(FRAME, TagId(1), text, b"thirty-three bytes of text, or so");
    sink.hold(FRAME, TagId(1), text, true, Status::BAD_NO_COMMUNICATION);
    sink.flush();
    let slots: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
    assert_eq!(slots.len(), 6);
    assert_eq!(slots[3].flags, flags::HELD | flags::LONG);
    assert_eq!(slots[1].to_payload(), slots[4].to_payload());
    let (mut small, mut ring, _) = self::sink(2);
    small.long(FRAME, TagId(1), text, b"thirty-three bytes of text, or so");
    assert!(ring.pop().is_err());
    assert_eq!(counters.dropped(), 0);
}
