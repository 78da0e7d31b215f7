//! Questions and their answers over a socket, with clients that read and such that do not.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::time::{Duration, Instant};

use super::*;
use crate::hub::{Filter, Hub, RingEnd, RingStats, clock_pair};
use crate::lane::{Counters, Image, LinkState, Reading};
use crate::limits::CONTROL_PATIENCE;
use crate::plan::Plan;
use crate::rt::monotonic_now;
use crate::serve::Current;
use crate::tag::{Dictionary, DictionaryTag, LinkId, Sample, ScalarType, Status, TagId, ValueType};

/// So many tags `t0`, `t1` …; the image has the number of each as its value.
fn asked(tags: usize) -> (Questions, Arc<Observed>) {
    let tag = |at: usize| {
        format!(
            r#"{{"name":"t{at}","address":"plc:1:3:{}","data_type":"uint16","scan_rate_ms":100,"unit":"x"}}"#,
            at % 60_000
        )
    };
    let tags_json = (0..tags).map(tag).collect::<Vec<_>>().join(",");
    let text = format!(
        r#"{{"links":[{{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"}}],"tags":[{tags_json}]}}"#
    );
    let loaded = crate::protocol::load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]);
    let costs = crate::protocol::build(&loaded.as_ref().unwrap().config, &[0]);
    let plan = Arc::new(costs.unwrap().plan);
    let Ok(mut observed) = Arc::try_unwrap(crate::serve::tests::observed()) else { unreachable!("nobody else has it") };
    observed.counters = Arc::new(Counters::new(&plan));
    observed.counters.link(LinkId(0)).set_state(LinkState::Up);
    observed.image = Arc::new(Image::new(vec![0; tags], Status::GOOD.0));
    for at in 0..tags {
        observed.image.write(at, Reading { t: 1, value: at as u64, status: 0, cycle: 1 });
    }
    observed.statistics = Arc::new(crate::hub::stats::Statistics::new(&plan));
    observed.current = std::sync::Mutex::new(Current::new(plan));
    let observed = Arc::new(observed);
    (Questions::new(observed.clone()), observed)
}

fn begin(questions: &mut Questions, question: &Json) -> BufReader<UnixStream> {
    let (own, other) = UnixStream::pair().unwrap();
    own.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let question = Question::parse(question.to_string().as_bytes()).unwrap();
    questions.begin(question, &other, "me".into());
    BufReader::new(own)
}

fn line(from: &mut impl BufRead) -> Json {
    let mut line = String::new();
    assert!(from.read_line(&mut line).unwrap() > 0, "the end");
    serde_json::from_str(&line).unwrap()
}

fn answer(questions: &mut Questions, question: &Json) -> Vec<Json> {
    let lines = begin(questions, question).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

#[test]
fn tags_are_told_with_their_values_and_what_is_not_there_is_named() {
    let (mut questions, observed) = asked(12);
    observed.image.write(11, Reading { t: 0, value: 0, status: Status::BAD_WAITING_FOR_INITIAL_DATA.0, cycle: 0 });
    let lines = answer(&mut questions, &json!({"ask": "get", "tags": ["t1*", "t3", "x*", "y"]}));
    let short: Vec<_> = lines.iter().map(|row| (&row["tag"], &row["value"], &row["status"])).collect();
    let good = json!("Good");
    assert_eq!(
        short[..4],
        [
            (&json!("t1"), &json!(1), &good),
            (&json!("t3"), &json!(3), &good),
            (&json!("t10"), &json!(10), &good),
            (&json!("t11"), &Json::Null, &json!("BadWaitingForInitialData"))
        ]
    );
    assert_eq!((&lines[0]["unit"], lines[0]["age_ms"].as_f64().is_some()), (&json!("x"), true));
    assert_eq!((&lines[3]["time"], &lines[3]["reason"]), (&Json::Null, &json!("not read yet")));
    assert_eq!(lines[4], json!({"end": true, "tags": 4, "unknown": ["x*", "y"]}));
    let lines = answer(&mut questions, &json!({"ask": "list", "tags": ["t7"]}));
    assert_eq!(
        lines,
        [
            json!({"tag": "t7", "link": "plc", "group": "default", "type": "uint16", "unit": "x", "writable": false,
                   "description": ""}),
            json!({"end": true, "tags": 1})
        ]
    );
}

#[test]
fn the_state_of_everything_is_one_object() {
    let (mut questions, _observed) = asked(3);
    let lines = answer(&mut questions, &json!({"ask": "status"}));
    let [status] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&status["gateway"], &status["health"]), (&json!("line-4"), &json!("ok")));
    assert_eq!(status["tags"], json!({"total": 3, "good": 3, "uncertain": 0, "bad": 0, "waiting": 0}));
    assert_eq!((&status["links"][0]["link"], &status["links"][0]["state"]), (&json!("plc"), &json!("up")));
    assert_eq!((&status["groups"][0]["group"], &status["groups"][0]["period_ms"]), (&json!("default"), &json!(100.0)));
    assert_eq!((&status["outputs"][0]["output"], &status["outputs"][0]["lag"]), (&json!("cloud"), &json!(40)));
    assert_eq!(status["journal"]["bytes"], 1 << 20);
}

#[test]
fn a_client_that_does_not_read_costs_a_buffer_and_is_given_up() {
    let (mut questions, _observed) = asked(20_000);
    let start = Instant::now();
    let mut deaf: Vec<_> = (0..QUESTIONS_MAX).map(|_| begin(&mut questions, &json!({"ask": "get"}))).collect();
    let refused = answer(&mut questions, &json!({"ask": "status"}));
    assert_eq!(refused, [json!({"error": "there are 8 questions already; allowed: 8; retry later"})]);
    while !questions.running.iter().all(|running| running.thread.is_finished()) {
        assert!(start.elapsed() < CONTROL_PATIENCE * 6);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() >= CONTROL_PATIENCE, "it had its time");
    // What it got is the beginning of the answer, cut off.
    let mut bytes = Vec::new();
    deaf[0].read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"{") && bytes.len() < 2 << 20, "{}", bytes.len());
    assert_eq!(answer(&mut questions, &json!({"ask": "get"})).len(), 20_001, "others are served whole");
}

/// A hub that brings samples of the plan's tags.
struct Source {
    ring: rtrb::Producer<Sample>,
    hub: Hub,
    journal: crossbeam_channel::Receiver<Arc<crate::tag::Batch>>,
}

fn with_source(tags: usize) -> (Questions, Source) {
    let (_, observed) = asked(tags);
    let Ok(mut observed) = Arc::try_unwrap(observed) else { unreachable!("nobody else has it") };
    let (taps, end) = crate::hub::taps();
    observed.taps = taps;
    let names = names_of(&observed.plan());
    let (ring, consumer) = rtrb::RingBuffer::new(1 << 16);
    let (sender, journal) = crossbeam_channel::unbounded();
    let ends = vec![RingEnd { ring: consumer, names, filter: Filter::default() }];
    let stats = Arc::new([RingStats::default()]);
    let hub = Hub::new(ends, crossbeam_channel::never(), sender, end, stats, clock_pair());
    (Questions::new(Arc::new(observed)), Source { ring, hub, journal })
}

fn names_of(plan: &Plan) -> Arc<Dictionary> {
    let tag = |id: u32| {
        let tag = &plan.tags[TagId(id)];
        DictionaryTag { name: tag.name.to_string(), ty: tag.ty.code(), ..DictionaryTag::default() }
    };
    Arc::new(Dictionary { tags: (0..plan.tags.end() as u32).map(tag).collect(), ..Dictionary::default() })
}

impl Source {
    fn bring(&mut self, tag: u32, values: std::ops::Range<u64>) {
        let ty = ValueType::Scalar(ScalarType::Uint16).code();
        for value in values {
            self.ring.push(Sample { tag, value, ty, t: 1, ..Sample::default() }).unwrap();
        }
        self.hub.round(monotonic_now(), clock_pair);
    }

    /// Until those who asked are there.
    fn wait_for(&mut self, questions: &Questions, taps: usize) {
        while questions.observed.taps.all().len() < taps {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.hub.round(monotonic_now(), clock_pair);
    }
}

#[test]
fn live_samples_of_the_chosen_tags_come_and_the_end_is_told() {
    let (mut questions, mut source) = with_source(3);
    let mut live = begin(&mut questions, &json!({"ask": "live", "tags": ["t1"]}));
    assert_eq!(line(&mut live), json!({"live": true}));
    source.wait_for(&questions, 1);
    source.bring(0, 5..6);
    source.bring(1, 6..8);
    let (first, second) = (line(&mut live), line(&mut live));
    assert_eq!((&first["tag"], &first["value"], &first["status"]), (&json!("t1"), &json!(6), &json!("Good")));
    assert_eq!(second["value"], 7);
    drop(questions);
    assert_eq!(line(&mut live), json!({"end": true, "why": "the gateway stops"}));
    assert_eq!(live.read_line(&mut String::new()).unwrap(), 0);
}

#[test]
fn a_live_reader_that_stands_still_holds_nothing_up_and_is_told_what_it_lost() {
    let (mut questions, mut source) = with_source(2);
    let mut slow = begin(&mut questions, &json!({"ask": "live"}));
    let mut quick = begin(&mut questions, &json!({"ask": "live", "tags": ["t1"]}));
    assert_eq!((line(&mut slow), line(&mut quick)), (json!({"live": true}), json!({"live": true})));
    source.wait_for(&questions, 2);
    // Far more than socket, buffer and queue hold; the other reads on.
    let (rounds, each) = (2_000u64, 50);
    for round in 0..rounds {
        source.bring(0, 0..each);
        source.bring(1, round..round + 1);
        assert_eq!(line(&mut quick)["value"], round);
    }
    let stored: u64 = source.journal.try_iter().map(|batch| u64::from(batch.samples)).sum();
    assert_eq!(stored, rounds * (each + 1), "the journal has them all");
    let (mut got, mut lost) = (0, 0);
    while got + lost < stored {
        let row = line(&mut slow);
        lost += row["lost"].as_u64().unwrap_or(0);
        got += u64::from(row["tag"].is_string());
    }
    assert!(got + lost == stored && lost > 0, "{got} + {lost}");
}

#[test]
fn a_live_reader_that_goes_leaves_its_place() {
    let (mut questions, mut source) = with_source(1);
    for _ in 0..3 {
        let mut all: Vec<_> = (0..LIVE_READERS_MAX).map(|_| begin(&mut questions, &json!({"ask": "live"}))).collect();
        all.iter_mut().for_each(|live| drop(line(live)));
        let refused = answer(&mut questions, &json!({"ask": "live"}));
        assert!(refused[0]["error"].as_str().unwrap().contains("8 live readers"), "{refused:?}");
        drop(all);
        let end = Instant::now() + Duration::from_secs(30);
        while !questions.observed.taps.all().is_empty() {
            assert!(Instant::now() < end);
            source.bring(0, 0..1);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // A place is free when the thread has ended, too; that follows at once.
    while !questions.running.iter().all(|running| running.thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(answer(&mut questions, &json!({"ask": "status"})).len(), 1);
    let mut gone = begin(&mut questions, &json!({"ask": "live"}));
    gone.get_ref().set_nonblocking(true).unwrap();
    let error = gone.read_line(&mut String::new());
    assert!(error.is_ok() || error.unwrap_err().kind() == ErrorKind::WouldBlock);
}
