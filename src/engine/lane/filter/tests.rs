//! What is told by exception is enough: from it, everything can be known again within the deadband.

use std::sync::Arc;

use proptest::prelude::*;
use rtrb::{Consumer, RingBuffer};

use super::*;
use crate::config::Pace;
use crate::lane::{Counters, Frame, Image, SampleWriter};
use crate::plan::{GroupPlan, LaneOwner, LanePlan, LinkPlan, ReleaseMode, TagPlan};
use crate::protocol::modbus::model::ModbusConfig;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::tag::{GroupId, LinkId, Status};

const PERIOD: u64 = 10_000_000;
const FLOAT: ValueType = ValueType::Scalar(ScalarType::Float64);

fn reporting(deadband: f64, silence_ms: u64, suppress: Suppress, keep_last: bool) -> Reporting {
    Reporting { deadband, max_silence: Nanos::from_millis(silence_ms), suppress, keep_last }
}

/// Tags of one executor, scanned every 10 ms.
fn plan(tags: &[(ValueType, Option<Reporting>)]) -> Plan {
    let config = crate::protocol::load_parts(
        ("fieldbeat.toml", "[gateway]\nid = \"x\"\n"),
        &[(
            "tags/a.json",
            r#"{"links": [{"name": "l", "protocol": "modbus_tcp", "host": "a"}],
                "tags": [{"name": "t", "address": "l:1:3:1", "data_type": "int16", "scan_rate_ms": 10}]}"#,
        )],
    );
    let config = config.unwrap().config.links.remove(0).protocol.get::<ModbusConfig>().unwrap().clone();
    let modbus = ModbusPlan {
        config,
        units: vec![],
        requests: vec![],
        block_count: 0,
        decodes: vec![],
        checks: Default::default(),
        writes: vec![],
    };
    let protocol = Box::new(modbus);
    let tag = |(at, (ty, reporting)): (usize, &(ValueType, Option<Reporting>))| TagPlan {
        name: format!("t{at}").into(),
        link: LinkId(0),
        group: GroupId(0),
        ty: *ty,
        unit: "".into(),
        texts: Default::default(),
        description: "".into(),
        range: None,
        reporting: *reporting,
        write: None,
    };
    Plan {
        tags: tags.iter().enumerate().map(tag).collect(),
        groups: [GroupPlan { name: "g".into(), pace: Pace::Every(Nanos(PERIOD)), release: ReleaseMode::Spread }]
            .into_iter()
            .collect(),
        links: [LinkPlan { name: "l".into(), lane: LaneId(0), write_spacing: Nanos::ZERO, protocol }]
            .into_iter()
            .collect(),
        lanes: vec![LanePlan {
            owner: LaneOwner::Executor { cpu: 0 },
            links: vec![LinkId(0)],
            releases: vec![],
            slots_per_s: 0,
        }],
        ..Plan::default()
    }
}

fn table(ty: ValueType, reporting: Reporting) -> ReportFilter {
    ReportFilter::new(LaneId(0), reporting.suppress, &plan(&[(ty, Some(reporting))]))
}

fn sample(ty: ValueType, at: u64, value: u64) -> Sample {
    Sample { t: 1 + at * PERIOD, value, ty: ty.code(), cycle: at as u32, ..Sample::default() }
}

/// Which of these values, one each period, are told.
fn told(ty: ValueType, deadband: f64, values: &[u64]) -> Vec<usize> {
    let mut table = table(ty, reporting(deadband, 60_000, Suppress::Ring, false));
    let told = |at: &usize| table.judge(&sample(ty, *at as u64, values[*at])) == Verdict::Tell;
    (0..values.len()).filter(told).collect()
}

#[test]
fn a_value_is_told_when_it_is_further_from_the_last_told_one_than_the_deadband() {
    let floats = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(told(FLOAT, 0.5, &floats(&[1.0, 1.5, 1.51, 1.2, 1.0, 1.3])), [0, 2, 4]);
    let singles: Vec<u64> = [1.0f32, 1.5, 1.75, 1.25].iter().map(|v| u64::from(v.to_bits())).collect();
    assert_eq!(told(ValueType::Scalar(ScalarType::Float32), 0.5, &singles), [0, 2]);
    let signed: Vec<u64> = [-5i64, -3, -2, -8, i64::MAX, i64::MIN].iter().map(|v| *v as u64).collect();
    assert_eq!(told(ValueType::Scalar(ScalarType::Int64), 2.9, &signed), [0, 2, 3, 4, 5]);
    assert_eq!(told(ValueType::Scalar(ScalarType::Uint64), 0.0, &[u64::MAX, u64::MAX - 1, u64::MAX - 1]), [0, 1]);
    assert_eq!(told(ValueType::Scalar(ScalarType::Bool), 0.0, &[0, 0, 1, 1, 0]), [0, 2, 4]);
}

#[test]
fn a_slow_drift_is_told_though_no_step_leaves_the_deadband() {
    let drift: Vec<u64> = (0..100).map(|n| (f64::from(n) * 0.1).to_bits()).collect();
    assert_eq!(told(FLOAT, 0.95, &drift), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[test]
fn no_number_is_told_once_and_so_is_what_comes_after_it() {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    assert_eq!(told(FLOAT, 1.0, &bits(&[5.0, nan, -nan, 5.0, inf, inf, -inf, 5.0])), [0, 1, 3, 4, 6, 7]);
    assert_eq!(told(FLOAT, 0.0, &bits(&[0.0, -0.0, 0.0, nan, nan])), [0, 3]);
}

#[test]
fn a_status_is_told_at_once_and_the_value_after_it_too() {
    let mut table = table(FLOAT, reporting(10.0, 60_000, Suppress::Ring, false));
    let good = |at| sample(FLOAT, at, 7);
    assert_eq!(table.judge(&good(0)), Verdict::Tell);
    assert_eq!(table.judge(&good(1)), Verdict::Suppress);
    let held = Sample { status: Status::UNCERTAIN_LAST_USABLE.0, flags: flags::HELD, ..good(1) };
    assert_eq!(table.judge(&held), Verdict::Tell);
    let bad = Sample { status: Status::BAD_NO_COMMUNICATION.0, ..held };
    assert_eq!(table.judge(&bad), Verdict::Tell);
    assert_eq!(table.judge(&good(2)), Verdict::Tell, "the same value as before the trouble");
    assert_eq!(table.judge(&good(3)), Verdict::Suppress);
}

#[test]
fn a_value_that_stays_is_told_so_often_that_half_a_period_of_delay_breaks_no_promise() {
    let mut table = table(FLOAT, reporting(1.0, 100, Suppress::Ring, false));
    let told: Vec<u64> = (0..30).filter(|at| table.judge(&sample(FLOAT, *at, 0)) == Verdict::Tell).collect();
    assert_eq!(told, [0, 9, 18, 27], "every 90 of 100 ms");
}

#[test]
fn an_array_is_told_whole_when_one_element_leaves_the_deadband() {
    let ty = ValueType::Array { of: ScalarType::Int16, len: 3 };
    let mut table = table(ty, reporting(5.0, 60_000, Suppress::Ring, false));
    let mut judge = |values: [i64; 3]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let header = Sample { value: 24, flags: flags::LONG, ..sample(ty, 0, 0) };
        table.judge_long(&header, &bytes)
    };
    assert_eq!(judge([1, 2, 3]), Verdict::Tell);
    assert_eq!(judge([6, -3, 8]), Verdict::Suppress);
    assert_eq!(judge([6, -4, 8]), Verdict::Tell);
    assert_eq!(judge([6, -4, 3]), Verdict::Suppress);
}

#[test]
fn a_text_is_told_when_it_changes() {
    let ty = ValueType::Text { bytes_max: 8 };
    let mut table = table(ty, reporting(0.0, 60_000, Suppress::Ring, false));
    let mut judge = |text: &str| {
        let header = Sample { value: text.len() as u64, flags: flags::LONG, ..sample(ty, 0, 0) };
        table.judge_long(&header, text.as_bytes())
    };
    let verdicts = ["run", "run", "runs", "run", "", "", "12345678", "12345678"].map(&mut judge);
    let told = verdicts.map(|verdict| verdict == Verdict::Tell);
    assert_eq!(told, [true, false, true, true, true, false, true, false]);
    assert_eq!(judge("longer than it may be"), Verdict::Tell, "and nothing panics");
    assert_eq!(judge("12345678"), Verdict::Tell);
}

#[test]
fn the_last_one_before_a_jump_is_told_with_its_own_time() {
    let mut table = table(FLOAT, reporting(1.0, 100, Suppress::Ring, true));
    let of = |at, value: f64| sample(FLOAT, at, value.to_bits());
    assert_eq!(table.judge(&of(0, 5.0)), Verdict::Tell);
    assert_eq!(table.judge(&of(1, 5.5)), Verdict::Keep);
    assert_eq!(table.judge(&of(2, 5.7)), Verdict::Suppress);
    assert_eq!(table.judge(&of(3, 9.0)), Verdict::TellAfter(of(2, 5.7)));
    assert_eq!(table.judge(&of(4, 20.0)), Verdict::Tell, "nothing was held back between them");
    assert_eq!(table.judge(&of(5, 20.0)), Verdict::Keep);
    assert_eq!(table.judge(&of(13, 20.0)), Verdict::TellInstead, "told for its time alone");
    assert_eq!(table.judge(&of(14, 20.5)), Verdict::Keep);
    let held = Sample { status: Status::UNCERTAIN_LAST_USABLE.0, flags: flags::HELD, ..of(14, 20.5) };
    assert_eq!(table.judge(&held), Verdict::TellAfter(of(14, 20.5)));
}

#[test]
fn tags_that_stay_go_on_where_they_stood_and_others_start_anew() {
    let rule = reporting(1.0, 60_000, Suppress::Ring, false);
    let keeping = Reporting { keep_last: true, ..rule };
    let text = ValueType::Text { bytes_max: 5 };
    let old =
        plan(&[(FLOAT, Some(rule)), (FLOAT, None), (FLOAT, Some(keeping)), (text, Some(rule)), (FLOAT, Some(rule))]);
    let other = Reporting { deadband: 2.0, ..rule };
    let new = plan(&[
        (FLOAT, Some(rule)),
        (FLOAT, Some(rule)),
        (FLOAT, Some(keeping)),
        (text, Some(rule)),
        (FLOAT, Some(other)),
    ]);
    let mut before = ReportFilter::new(LaneId(0), Suppress::Ring, &old);
    let of = |tag, at| Sample { tag, ..sample(FLOAT, at, 5) };
    let word = |at| Sample { tag: 3, value: 2, flags: flags::LONG, ..sample(text, at, 0) };
    for tag in 0..5 {
        assert_eq!(before.judge(&of(tag, 0)), Verdict::Tell);
    }
    assert_eq!(before.judge(&of(2, 1)), Verdict::Keep);
    assert_eq!(before.judge_long(&word(1), b"ab"), Verdict::Tell);
    let mut table = ReportFilter::following(LaneId(0), Suppress::Ring, &old, &new);
    table.take_over(&mut before);
    assert_eq!(table.judge(&of(0, 2)), Verdict::Suppress);
    assert_eq!(table.judge(&of(1, 2)), Verdict::Tell, "it had no rule");
    assert_eq!(table.judge(&of(2, 2)), Verdict::Suppress, "one is kept since before");
    assert_eq!(table.judge_long(&word(2), b"ab"), Verdict::Suppress);
    assert_eq!(table.judge(&of(4, 2)), Verdict::Tell, "it had another rule");
    let mut given_up = 0;
    before.give_up(|_| given_up += 1);
    assert_eq!(given_up, 0, "what was kept is taken along");
    table.give_up(|_| given_up += 1);
    assert_eq!(given_up, 1);
}

#[test]
fn what_was_lost_is_told_again() {
    let rule = reporting(1.0, 60_000, Suppress::Journal, false);
    let mut table = ReportFilter::new(LaneId(0), Suppress::Journal, &plan(&[(FLOAT, Some(rule)); 3]));
    let of = |tag, at| Sample { tag, ..sample(FLOAT, at, 5) };
    (0..3).for_each(|tag| assert_eq!(table.judge(&of(tag, 0)), Verdict::Tell));
    table.forget(1);
    assert_eq!([0, 1, 2].map(|tag| table.judge(&of(tag, 1)) == Verdict::Tell), [false, true, false]);
    table.forget_all();
    assert_eq!([0, 1, 2].map(|tag| table.judge(&of(tag, 2)) == Verdict::Tell), [true, true, true]);
    assert_eq!([0, 1, 2].map(|tag| table.judge(&of(tag, 3)) == Verdict::Tell), [false, false, false]);
}

/// What a device does in one period, as far as one tag sees it.
#[derive(Debug, Clone, Copy)]
enum Event {
    Value(f64),
    Hold(Status),
    /// Nothing is read in this period.
    Nothing,
    /// The consumer takes nothing until the next `Resume`.
    Stop,
    Resume,
    /// The plan changes; this tag, or only others.
    Reload {
        changes: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (-30i32..30).prop_map(|v| Event::Value(f64::from(v) * 0.1)),
        2 => Just(Event::Value(f64::NAN)),
        1 => Just(Event::Value(f64::INFINITY)),
        1 => Just(Event::Hold(Status::UNCERTAIN_LAST_USABLE)),
        1 => Just(Event::Hold(Status::BAD_NO_COMMUNICATION)),
        1 => Just(Event::Nothing),
        1 => Just(Event::Stop),
        2 => Just(Event::Resume),
        1 => any::<bool>().prop_map(|changes| Event::Reload { changes }),
    ]
}

/// What a consumer has of the tag: status, value and time of the last sample that it was told.
type Last = Option<(Status, f64, u64)>;

struct Run {
    sink: SampleWriter,
    ring: Consumer<Sample>,
    /// Rings of plans before, not yet emptied.
    earlier: Vec<Consumer<Sample>>,
    counters: Arc<Counters>,
    image: Arc<Image>,
    plan: Plan,
    delivered: u64,
}

impl Run {
    fn new(rule: Reporting, slots: usize) -> Run {
        let plan = plan(&[(FLOAT, Some(rule)), (FLOAT, None)]);
        let counters = Arc::new(Counters::new(&plan));
        let image = Arc::new(Image::new([0, 0], Status::BAD_WAITING_FOR_INITIAL_DATA.0));
        let (producer, ring) = RingBuffer::new(slots);
        let sink = SampleWriter::new(producer, image.clone(), counters.clone(), LaneId(0), 0)
            .with_filter(ReportFilter::new(LaneId(0), Suppress::Ring, &plan));
        Run { sink, ring, earlier: vec![], counters, image, plan, delivered: 0 }
    }

    fn reload(&mut self, slots: usize, changes: bool) {
        let mut rule = self.plan.tags[TagId(0)].reporting.unwrap();
        if changes {
            rule.deadband += 0.1;
        }
        let new = plan(&[(FLOAT, Some(rule)), (FLOAT, None)]);
        let (mut producer, ring) = RingBuffer::new(slots);
        let mut exceptions = ReportFilter::following(LaneId(0), Suppress::Ring, &self.plan, &new);
        self.sink.change_ring(&mut producer, &mut Box::default(), &mut exceptions);
        self.earlier.push(std::mem::replace(&mut self.ring, ring));
        self.plan = new;
    }

    /// Samples of another tag, until none fits any more.
    fn fill(&mut self, frame: Frame, slots: usize) {
        (0..slots as u64).for_each(|n| self.sink.scalar(frame, TagId(1), FLOAT.code(), n));
        self.sink.flush();
    }

    fn drain(&mut self, told: &mut Vec<Sample>) {
        let mut all: Vec<Sample> = Vec::new();
        self.earlier.drain(..).for_each(|mut ring| all.extend(std::iter::from_fn(|| ring.pop().ok())));
        all.extend(std::iter::from_fn(|| self.ring.pop().ok()));
        for sample in all {
            if !sample.is_gap() {
                self.delivered += 1;
                told.push(sample);
            }
        }
    }
}

fn near(a: f64, b: f64, deadband: f64) -> bool {
    (a - b).abs() <= deadband + 1e-12 || a == b || a.is_nan() && b.is_nan()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// At every instant at which nothing is on its way or lost, the last sample told has the status of the last one read
    /// and is within the deadband of it; as long as something is read in each period, no two that are told are further
    /// apart than the longest silence; and every sample made is delivered, dropped or suppressed.
    #[test]
    fn what_is_told_says_within_the_deadband_what_was_read(
        events in prop::collection::vec((event(), 0..PERIOD / 3), 1..300),
        deadband in 0u32..10, silence_periods in 2u64..40, keep_last: bool, slots in 130usize..200,
    ) {
        let deadband = f64::from(deadband) * 0.1;
        let rule = reporting(deadband, silence_periods * 10, Suppress::Ring, keep_last);
        let mut run = Run::new(rule, slots);
        let (mut read, mut last, mut told): (Last, Last, Vec<Sample>) = (None, None, Vec::new());
        let (mut stopped, mut lost, mut undisturbed) = (false, false, false);
        for (at, (event, late)) in events.iter().enumerate() {
            let now = 1 + at as u64 * PERIOD + late;
            let frame = Frame { group: GroupId(0), cycle: at as u32, t: Nanos(now).into() };
            let dropped = run.counters.dropped();
            match event {
                Event::Value(value) => {
                    run.sink.scalar(frame, TagId(0), FLOAT.code(), value.to_bits());
                    read = Some((Status::GOOD, *value, now));
                }
                Event::Hold(status) => {
                    run.sink.hold(frame, TagId(0), FLOAT.code(), false, *status);
                    let shown = Status(run.image.read(0).unwrap().status);
                    read = read.map(|(_, value, t)| (shown, value, t));
                }
                Event::Nothing => {}
                Event::Stop => {
                    stopped = true;
                    run.fill(frame, slots);
                }
                Event::Resume => stopped = false,
                Event::Reload { changes } => run.reload(slots, *changes),
            }
            run.sink.flush();
            undisturbed &= matches!(event, Event::Value(_));
            lost |= run.counters.dropped() > dropped;
            if stopped {
                continue;
            }
            let before = told.len();
            run.drain(&mut told);
            let mut any = false;
            for sample in told[before..].iter().filter(|s| s.tag == 0) {
                let next = (sample.status(), f64::from_bits(sample.value), sample.t);
                if let Some((.., t)) = last {
                    prop_assert!(t <= next.2, "times go on: {:?} {:?}", last, next);
                    let silence = next.2 - t;
                    prop_assert!(!undisturbed || silence <= rule.max_silence.0, "silent for {} ns", silence);
                }
                (last, any) = (Some(next), true);
            }
            undisturbed |= any && matches!(event, Event::Value(_));
            // After a loss, the next sample of the tag is told.
            lost &= !matches!(event, Event::Value(_));
            let (Some((status, value, _)), false) = (read, lost) else { continue };
            if matches!(event, Event::Reload { changes: true }) {
                continue;
            }
            let (told_status, told_value, _) = last.unwrap();
            prop_assert_eq!(told_status, status);
            let deadband = run.plan.tags[TagId(0)].reporting.unwrap().deadband;
            prop_assert!(near(told_value, value, deadband), "told {} was read {}", told_value, value);
        }
        run.drain(&mut told);
        let Run { sink, mut ring, counters, mut delivered, .. } = run;
        drop(sink);
        while let Ok(sample) = ring.pop() {
            delivered += u64::from(!sample.is_gap());
        }
        prop_assert_eq!(counters.produced(), delivered + counters.dropped() + counters.suppressed());
        let group = &counters.groups[0][0];
        prop_assert_eq!(group.produced.get(), counters.produced());
        prop_assert_eq!(group.suppressed_at_ring.get(), counters.suppressed());
    }
}
