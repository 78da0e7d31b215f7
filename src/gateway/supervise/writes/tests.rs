//! The service against a field that does as it is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use serde_json::{Value as Json, json};

use super::book::utc_now_ns;
use super::*;
use crate::command::{Answer, Desk, Outcome, Reason, Refusal, Request, Requester, Way, WriteStats};
use crate::config::{JournalConfig, WriteConfig};
use crate::rt::monotonic_now;
use crate::store::{AuditOutcome, AuditRecord, BootId, Journal, JournalReader};
use crate::tag::{Nanos, ScalarType, Status, TagId, Value, ValueType};

/// How the fake field answers an order.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Takes,
    /// Takes it, and the image does not show it yet.
    TakesUnseen,
    Silent,
    /// Answers only once it is told to.
    Held,
    NoReply,
}

struct Tag {
    target: Target,
    reading: Reading,
}

struct State {
    tags: BTreeMap<String, Tag>,
    way: Manner,
    changing: bool,
    /// What was written, in order.
    written: Vec<(TagId, Value)>,
    answers: Vec<FieldAnswer>,
    held: Vec<FieldAnswer>,
    /// How often orders were given.
    given: usize,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

struct FakeOrder {
    id: u64,
    tag: TagId,
    value: Value,
    read_back: bool,
}

impl Field for Fake {
    type Order = FakeOrder;

    fn now(&self) -> Nanos {
        monotonic_now()
    }

    fn is_changing(&self) -> bool {
        self.0.lock().unwrap().changing
    }

    fn find(&mut self, tag: &str) -> Option<Target> {
        self.0.lock().unwrap().tags.get(tag).map(|tag| tag.target.clone())
    }

    fn guess(&mut self, tag: &str) -> String {
        let state = self.0.lock().unwrap();
        crate::config::guess(tag, state.tags.keys().map(String::as_str))
    }

    fn newest(&self, tag: &Target) -> Reading {
        let state = self.0.lock().unwrap();
        state.tags.values().find(|known| known.target.id == tag.id).unwrap().reading.clone()
    }

    fn prepare(&mut self, id: u64, tag: &Target, value: &Value, read_back: bool) -> Result<FakeOrder, Refusal> {
        if *value == Value::Int(666) {
            return Err(Refusal::new(Reason::OutOfRange, "the wire does not hold 666"));
        }
        Ok(FakeOrder { id, tag: tag.id, value: value.clone(), read_back })
    }

    fn give(&mut self, order: FakeOrder, _: Duration) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap();
        state.given += 1;
        let back = order.read_back.then(|| order.value.clone());
        let answer = FieldAnswer { id: order.id, failure: None, note: None, is_unknown: false, back };
        match state.way {
            Manner::Silent => return Ok(()),
            Manner::Held => state.held.push(answer),
            Manner::NoReply => {
                let failure = Some((Reason::NoReply, "the device is silent".to_owned()));
                state.answers.push(FieldAnswer { failure, is_unknown: true, back: None, ..answer });
                return Ok(());
            }
            Manner::Takes | Manner::TakesUnseen => state.answers.push(answer),
        }
        if state.way != Manner::TakesUnseen {
            let tag = state.tags.values_mut().find(|known| known.target.id == order.tag).unwrap();
            // Seen by the next scan, a little later.
            let at = monotonic_now() + Nanos::from_millis(1);
            tag.reading = Reading { value: Some(order.value.clone()), status: Status::GOOD, at };
        }
        state.written.push((order.tag, order.value));
        Ok(())
    }

    fn idle(&mut self) {}

    fn answers(&mut self) -> Vec<FieldAnswer> {
        std::mem::take(&mut self.0.lock().unwrap().answers)
    }
}

struct Rig {
    fake: Fake,
    desk: Desk,
    service: Option<Writes>,
    reader: JournalReader,
    stats: Arc<WriteStats>,
    // Held open, so that its lock is.
    _journal: Journal,
    _dir: Option<tempfile::TempDir>,
}

const INT16: ValueType = ValueType::Scalar(ScalarType::Int16);

fn limits() -> WriteConfig {
    WriteConfig { min: Some(0.0), max: Some(1000.0), timeout: Nanos::from_millis(200), ..WriteConfig::default() }
}

fn fake() -> Fake {
    let good = |value| Reading { value: Some(value), status: Status::GOOD, at: Nanos(1) };
    let tag = |id, ty, limits: Option<WriteConfig>, value| Tag {
        target: Target { id: TagId(id), ty, limits },
        reading: good(value),
    };
    let step = WriteConfig { step_max: Some(10.0), ..limits() };
    let slow = WriteConfig { interval_min: Nanos::from_millis(60_000), ..limits() };
    let tags = [
        ("pump.speed", tag(0, INT16, Some(limits()), Value::Int(5))),
        ("pump.state", tag(1, INT16, None, Value::Int(1))),
        ("valve", tag(2, INT16, Some(step), Value::Int(50))),
        (
            "name",
            tag(
                3,
                ValueType::Text { bytes_max: 8 },
                Some(WriteConfig { min: None, max: None, ..limits() }),
                Value::Text("x".into()),
            ),
        ),
        ("slow", tag(4, INT16, Some(slow), Value::Int(0))),
    ];
    let tags = tags.into_iter().map(|(name, tag)| (name.to_owned(), tag)).collect();
    let state = State {
        tags,
        way: Manner::Takes,
        changing: false,
        written: Vec::new(),
        answers: Vec::new(),
        held: Vec::new(),
        given: 0,
    };
    Fake(Arc::new(Mutex::new(state)))
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        Rig { _dir: Some(dir), ..Rig::at(Path::new("")) }
    }

    fn at(path: &Path) -> Rig {
        let dir = path.as_os_str().is_empty().then(|| tempfile::tempdir().unwrap());
        let path = dir.as_ref().map_or(path, |dir| dir.path());
        let config = JournalConfig { path: path.to_owned(), bytes_max: 16 << 20, commit: Nanos::from_millis(10) };
        let journal = Journal::open(&config, BootId(1)).unwrap();
        let (stats, fake) = (Arc::<WriteStats>::default(), fake());
        let (desk, asked) = Desk::new(stats.clone());
        let reader = journal.reader();
        let audit = journal.audit();
        let service = Writes::start(fake.clone(), asked, audit, &reader, 20, stats.clone()).unwrap();
        Rig { fake, desk, service: Some(service), reader, stats, _journal: journal, _dir: dir }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.fake.0.lock().unwrap()
    }

    fn hand_in(&self, request: Request) -> Receiver<Answer> {
        let (tell, told) = unbounded();
        let requester = Requester { way: Way::Mqtt, who: "output cloud".into(), from: "topic t".into() };
        self.desk.ask(requester, request, Box::new(move |answer| tell.send(answer).unwrap()));
        told
    }

    fn ask(&self, request: Request) -> Answer {
        self.hand_in(request).recv_timeout(Duration::from_secs(20)).expect("an answer")
    }

    fn write(&self, tag: &str, value: Json) -> Answer {
        self.ask(request(tag, value))
    }

    fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    /// After the service has ended, so that all is recorded.
    fn audit(&mut self) -> Vec<AuditRecord> {
        self.stop();
        self.reader.audit(1000).unwrap().records.into_iter().map(|(_, record)| record).collect()
    }
}

fn request(tag: &str, value: Json) -> Request {
    Request { id: None, tag: tag.into(), value, read_back: false, timeout: None, expires_utc_ns: None }
}

fn with_id(id: &str, tag: &str, value: Json) -> Request {
    Request { id: Some(id.into()), ..request(tag, value) }
}

#[test]
fn a_write_is_done_and_answered_with_old_and_new() {
    let mut rig = Rig::new();
    let answer = rig.ask(Request { read_back: true, ..with_id("7", "pump.speed", json!(6)) });
    assert_eq!(answer.outcome, Outcome::Done, "{answer:?}");
    assert_eq!((answer.id.as_deref(), answer.tag.as_deref()), (Some("7"), Some("pump.speed")));
    assert_eq!((answer.old, answer.new, answer.read_back), (Some(json!(5)), Some(json!(6)), Some(json!(6))));
    assert_eq!(answer.old_status, Some("Good"));
    assert!(answer.took_ms > 0.0);
    assert_eq!(rig.state().written, [(TagId(0), Value::Int(6))]);
    let audit = rig.audit();
    assert_eq!(audit.len(), 1);
    let record = &audit[0];
    assert_eq!(record.outcome, AuditOutcome::Done);
    assert_eq!((record.way.as_str(), record.who.as_str(), record.from.as_str()), ("mqtt", "output cloud", "topic t"));
    assert_eq!((record.request.as_str(), record.tag.as_str()), ("7", "pump.speed"));
    assert_eq!((record.old.as_str(), record.new.as_str(), record.back.as_str()), ("5", "6", "6"));
    assert_eq!(record.old_status, Some(Status::GOOD));
    assert!(record.ended_utc_ns >= record.asked_utc_ns);
    assert_eq!(rig.stats.get(Way::Mqtt, Outcome::Done), 1);
}

#[test]
fn what_is_not_allowed_is_refused_and_recorded_and_never_sent() {
    let mut rig = Rig::new();
    for (tag, value, reason) in [
        ("pump.spede", json!(1), "unknown_tag"),
        ("pump.state", json!(1), "read_only"),
        ("pump.speed", json!("fast"), "wrong_type"),
        ("pump.speed", json!(1.5), "wrong_type"),
        ("pump.speed", json!(1001), "out_of_range"),
        ("pump.speed", json!(40_000), "out_of_range"),
        ("pump.speed", json!(666), "out_of_range"),
        ("valve", json!(61), "step_too_large"),
        ("name", json!("much too long"), "out_of_range"),
    ] {
        let answer = rig.write(tag, value.clone());
        assert_eq!((answer.outcome, answer.reason), (Outcome::Refused, Some(reason)), "{tag} {value}: {answer:?}");
    }
    assert!(rig.write("pump.spede", json!(1)).message.unwrap().contains("did you mean \"pump.speed\"?"));
    assert_eq!(rig.state().given, 0);
    let audit = rig.audit();
    assert_eq!(audit.len(), 10);
    assert!(audit.iter().all(|record| record.outcome == AuditOutcome::Refused));
    assert_eq!((audit[4].old.as_str(), audit[4].new.as_str(), audit[4].reason.as_str()), ("5", "1001", "out_of_range"));
}

#[test]
fn while_a_configuration_is_adopted_nothing_is_written() {
    let rig = Rig::new();
    rig.state().changing = true;
    assert_eq!(rig.write("pump.speed", json!(6)).reason, Some("reloading"));
    rig.state().changing = false;
    assert_eq!(rig.write("pump.speed", json!(6)).outcome, Outcome::Done);
}

#[test]
fn one_id_is_written_once_whatever_happens() {
    let mut rig = Rig::new();
    let first = rig.ask(with_id("7", "pump.speed", json!(6)));
    let again = rig.ask(with_id("7", "pump.speed", json!(6)));
    assert!(again.repeated && !first.repeated);
    assert_eq!((again.outcome, &again.old, &again.new), (first.outcome, &first.old, &first.new));
    assert_eq!(rig.state().given, 1);
    // For another write, it is no repeat.
    assert_eq!(rig.ask(with_id("7", "pump.speed", json!(7))).reason, Some("old_id"));
    assert_eq!(rig.ask(with_id("7", "valve", json!(6))).reason, Some("old_id"));
    // A refusal stays one, also when the write would be allowed by now.
    rig.state().changing = true;
    assert_eq!(rig.ask(with_id("8", "pump.speed", json!(9))).reason, Some("reloading"));
    rig.state().changing = false;
    let again = rig.ask(with_id("8", "pump.speed", json!(9)));
    assert!(again.repeated && again.reason == Some("reloading"));
    assert_eq!(rig.state().given, 1);
    assert_eq!(rig.audit().iter().filter(|record| record.outcome == AuditOutcome::Done).count(), 1);
}

#[test]
fn a_repeat_while_the_write_is_under_way_gets_its_answer_too() {
    let rig = Rig::new();
    rig.state().way = Manner::Held;
    let told: Vec<_> = (0..6).map(|_| rig.hand_in(with_id("7", "pump.speed", json!(6)))).collect();
    let too_many = told[4].recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(too_many.reason, Some("under_way"));
    while rig.state().given == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut state = rig.state();
    let held = std::mem::take(&mut state.held);
    state.answers.extend(held);
    drop(state);
    let answers: Vec<_> = told[..4].iter().map(|told| told.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.outcome == Outcome::Done));
    assert_eq!(answers.iter().filter(|answer| answer.repeated).count(), 3);
    assert_eq!(rig.state().given, 1);
}

#[test]
fn ids_from_before_a_new_start_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::at(dir.path());
    let first = rig.ask(with_id("7", "pump.speed", json!(6)));
    assert_eq!(rig.ask(with_id("8", "pump.speed", json!(6000))).outcome, Outcome::Refused);
    rig.stop();
    drop(rig);
    let rig = Rig::at(dir.path());
    let again = rig.ask(with_id("7", "pump.speed", json!(6)));
    assert!(again.repeated, "{again:?}");
    assert_eq!((again.outcome, again.old, again.new), (Outcome::Done, first.old, first.new));
    assert!(rig.ask(with_id("8", "pump.speed", json!(6000))).repeated);
    assert_eq!(rig.state().given, 0);
}

#[test]
fn a_request_that_expired_is_refused_and_so_is_one_that_lives_too_long() {
    let rig = Rig::new();
    let expiring = |in_ms: i64| {
        let expires_utc_ns = Some(utc_now_ns() + in_ms * 1_000_000);
        rig.ask(Request { expires_utc_ns, ..request("pump.speed", json!(6)) })
    };
    let late = expiring(-1);
    assert_eq!(late.reason, Some("expired"));
    assert!(late.message.unwrap().contains("the gateway's clock is at 20"), "both times are told");
    assert_eq!(expiring(601_000).reason, Some("expired"));
    assert_eq!(expiring(10_000).outcome, Outcome::Done);
}

#[test]
fn rates_of_a_tag_and_of_the_gateway_are_kept() {
    let rig = Rig::new();
    assert_eq!(rig.write("slow", json!(1)).outcome, Outcome::Done);
    let answer = rig.write("slow", json!(2));
    assert_eq!(answer.reason, Some("too_fast"));
    assert!(answer.message.unwrap().contains("one write every 60000 ms"));
    // 20 a second for all, one of which is used.
    let mut done = 0;
    let start = Instant::now();
    for i in 0..60 {
        done += i32::from(rig.write("pump.speed", json!(i)).outcome == Outcome::Done);
    }
    let most = 19 + (start.elapsed().as_secs_f64() * 20.0) as i32 + 1;
    assert!((10..=most).contains(&done), "{done} of 60, {most} allowed");
    let before = rig.state().given;
    let refused = (0..100).map(|i| rig.write("pump.speed", json!(i))).filter(|a| a.reason == Some("too_fast")).count();
    assert!(refused > 50, "{refused} refused, {before} before");
}

#[test]
fn two_writes_to_one_tag_are_not_under_way_at_once() {
    let rig = Rig::new();
    rig.state().way = Manner::Held;
    let first = rig.hand_in(request("pump.speed", json!(6)));
    let second = rig.hand_in(request("pump.speed", json!(7)));
    let answer = second.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(answer.reason, Some("too_fast"));
    assert!(first.is_empty());
}

#[test]
fn a_step_is_measured_from_what_was_written_until_the_tag_is_read_again() {
    let rig = Rig::new();
    rig.state().way = Manner::TakesUnseen;
    assert_eq!(rig.write("valve", json!(60)).outcome, Outcome::Done);
    // The image still says 50: 45 would be near to that, and far from what the device has.
    assert_eq!(rig.write("valve", json!(45)).reason, Some("step_too_large"));
    assert_eq!(rig.write("valve", json!(70)).outcome, Outcome::Done);
    // After a write of which nobody knows, only a new reading helps.
    rig.state().way = Manner::NoReply;
    let answer = rig.write("valve", json!(75));
    assert_eq!((answer.outcome, answer.reason), (Outcome::Failed, Some("no_reply")));
    rig.state().way = Manner::Takes;
    assert_eq!(rig.write("valve", json!(71)).reason, Some("no_good_value"));
    let reading = Reading { value: Some(Value::Int(75)), status: Status::GOOD, at: monotonic_now() };
    rig.state().tags.get_mut("valve").unwrap().reading = reading.clone();
    assert_eq!(rig.write("valve", json!(80)).outcome, Outcome::Done);
    std::thread::sleep(Duration::from_millis(5));
    rig.state().tags.get_mut("valve").unwrap().reading =
        Reading { status: Status::UNCERTAIN_LAST_USABLE, at: monotonic_now(), ..reading };
    assert_eq!(rig.write("valve", json!(81)).reason, Some("no_good_value"));
}

#[test]
fn an_executor_that_never_answers_is_given_up_in_bounded_time_and_the_next_write_goes_on() {
    let mut rig = Rig::new();
    rig.state().way = Manner::Silent;
    let start = Instant::now();
    let silent = rig.hand_in(request("pump.speed", json!(6)));
    rig.state().way = Manner::Silent;
    let other = rig.hand_in(request("slow", json!(1)));
    for told in [silent, other] {
        let answer = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((answer.outcome, answer.reason), (Outcome::Failed, Some("no_answer")));
    }
    // 200 ms of the tags, 500 ms of grace, and the commits: side by side, not one after the other.
    assert!(start.elapsed() < Duration::from_millis(3_000), "{:?}", start.elapsed());
    rig.state().way = Manner::Takes;
    assert_eq!(rig.write("pump.speed", json!(6)).outcome, Outcome::Done);
    let audit = rig.audit();
    assert_eq!(audit.iter().filter(|r| r.outcome == AuditOutcome::Failed && r.reason == "no_answer").count(), 2);
}

#[test]
fn at_the_end_what_is_under_way_is_answered_and_recorded() {
    let mut rig = Rig::new();
    rig.state().way = Manner::Held;
    let told = rig.hand_in(Request { timeout: Some(Duration::from_secs(30)), ..request("pump.speed", json!(6)) });
    while rig.state().given == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    let audit = rig.audit();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(told.try_recv().unwrap().reason, Some("no_answer"));
    assert_eq!(rig.write("pump.speed", json!(6)).reason, Some("stopping"));
    assert_eq!((audit.len(), audit[0].outcome), (1, AuditOutcome::Failed));
}

#[test]
fn a_storm_of_refused_requests_leaves_a_bounded_mark_in_the_audit() {
    let mut rig = Rig::new();
    for i in 0..2_000 {
        rig.write("pump.state", json!(i));
    }
    let audit = rig.audit();
    let summed: u64 = audit
        .iter()
        .filter(|record| record.outcome == AuditOutcome::Summary)
        .map(|record| record.request.parse::<u64>().unwrap())
        .sum();
    let one_by_one = audit.iter().filter(|record| record.outcome == AuditOutcome::Refused).count() as u64;
    assert_eq!(one_by_one + summed, 2_000, "each is recorded or counted");
    assert!(one_by_one < 1_000, "{one_by_one}");
    assert_eq!(rig.stats.get(Way::Mqtt, Outcome::Refused), 2_000);
}
