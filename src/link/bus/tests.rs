//! The link on the real executor, in virtual time, with a thread that is a script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use super::BusLink;
use super::wire::{self, Asked, Datagram, Entry, WriteEnd};
use crate::config::load_parts;
use crate::plan::{self, BusPlan, Costs, LinkProtocolPlan, Plan};
use crate::rt::*;
use crate::tag::*;

const MS: u64 = 1_000_000;

/// What the script does with a datagram: what it tells, and when (nanoseconds later).
type Script = Box<dyn FnMut(&[u8], u64) -> Vec<(u64, Vec<u8>)>>;

struct Device {
    now: u64,
    script: Script,
    under_way: Vec<(u64, Vec<u8>)>,
    arrived: VecDeque<Vec<u8>>,
    asked: Vec<(u64, Vec<u8>)>,
    closed: bool,
    token: Option<u32>,
}

impl Device {
    fn deliver(&mut self) {
        self.under_way.sort_by_key(|(t, _)| *t);
        while self.under_way.first().is_some_and(|(t, _)| *t <= self.now) {
            let (_, bytes) = self.under_way.remove(0);
            self.arrived.push_back(bytes);
        }
    }
}

/// Virtual time and one thread.
#[derive(Clone)]
struct Scripted(Rc<RefCell<Device>>);

impl World for Scripted {
    fn now(&mut self) -> Nanos {
        Nanos(self.0.borrow().now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        let mut device = self.0.borrow_mut();
        device.now = device.now.max(until.0);
        Nanos(device.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        let mut device = self.0.borrow_mut();
        device.deliver();
        if device.arrived.is_empty() || device.token.is_none() {
            let next = device.under_way.iter().map(|(t, _)| *t).min().unwrap_or(u64::MAX);
            device.now = device.now.max(until.0.min(next));
            device.deliver();
        }
        if let Some(token) = device.token
            && (!device.arrived.is_empty() || device.closed)
        {
            ready.push(token);
        }
    }

    fn attach(&mut self, _conn: Conn, token: u32) -> bool {
        self.0.borrow_mut().token = Some(token);
        true
    }

    fn detach(&mut self, _conn: Conn) {
        self.0.borrow_mut().token = None;
    }

    fn send(&mut self, _conn: Conn, bytes: &[u8]) -> Io {
        let mut device = self.0.borrow_mut();
        if device.closed {
            return Io::Closed;
        }
        let now = device.now;
        device.asked.push((now, bytes.to_vec()));
        let told = (device.script)(bytes, now);
        device.under_way.extend(told.into_iter().map(|(after, bytes)| (now + after, bytes)));
        Io::Done(bytes.len())
    }

    fn receive(&mut self, _conn: Conn, buffer: &mut [u8]) -> Io {
        let mut device = self.0.borrow_mut();
        match device.arrived.pop_front() {
            Some(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Io::Done(bytes.len())
            }
            None if device.closed => Io::Closed,
            None => Io::WouldBlock,
        }
    }
}

struct Bench {
    executor: Executor<Scripted, BusLink>,
    device: Rc<RefCell<Device>>,
    samples: Consumer<Sample>,
    counters: Arc<Counters>,
    image: Arc<Image>,
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    _reports: Consumer<Report>,
    _adoptions: Producer<Box<Adoption<BusLink>>>,
    _adopted: Consumer<Box<Adoption<BusLink>>>,
}

const LINK: &str = r#""protocol": "i2c", "bus": "/dev/i2c-1", "timeout_ms": 20"#;
const ONE: &[&str] = &[r#""address": "l:0x30:0x10:2""#];

/// Tags of a link, scanned each 100 ms; those that can be are writable.
fn planned_for_test(link: &str, tags: &[&str]) -> Plan {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(at, tag)| format!(r#"{{"name": "t{at}", "scan_rate_ms": 100, {tag}}}"#))
        .collect();
    let text = format!(r#"{{"links": [{{"name": "l", {link}}}], "tags": [{}]}}"#, tags.join(",\n"));
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]);
    let mut config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    for tag in &mut config.tags {
        tag.write = Some(crate::config::WriteConfig::default());
    }
    plan::build_with(&config, &[0], &Costs::default()).unwrap_or_else(|error| panic!("{error}")).plan
}

fn own(plan: &Plan) -> &BusPlan {
    let LinkProtocolPlan::Bus(own) = &plan.links[LinkId(0)].protocol else { panic!() };
    own
}

fn bench(link: &str, tags: &[&str], script: Script) -> Bench {
    let plan = planned_for_test(link, tags);
    let counters = Arc::new(Counters::new(&plan));
    let image = Arc::new(Image::new(plan.tags.ids().map(|_| 0), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = RingBuffer::new(1 << 14);
    let (reports_in, reports) = RingBuffer::new(1 << 14);
    let (mut connected, connected_out) = RingBuffer::new(4);
    let (closed_in, closed) = RingBuffer::new(4);
    let (orders, orders_out) = RingBuffer::new(64);
    let (answers_in, answers) = RingBuffer::new(64);
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    let device = Rc::new(RefCell::new(Device {
        now: 0,
        script,
        under_way: vec![],
        arrived: VecDeque::new(),
        asked: vec![],
        closed: false,
        token: None,
    }));
    let wiring = Wiring {
        adoptions: to_executor,
        adopted: from_executor,
        sink: Sink::new(ring, image.clone(), counters.clone(), ExecutorId(0), 0),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let links = vec![BusLink::new(LinkId(0), own(&plan), &plan)];
    let mut executor = Executor::new(ExecutorId(0), &plan, links, Scripted(device.clone()), wiring);
    executor.start_at(Clock { start: Nanos::from_millis(1), guard: Nanos::ZERO });
    connected.push(Connected { link: LinkId(0), conn: Conn(7), target: 0 }).unwrap();
    Bench {
        executor,
        device,
        samples,
        counters,
        image,
        connected,
        closed,
        orders,
        answers,
        _reports: reports,
        _adoptions: adoptions,
        _adopted: adopted,
    }
}

impl Bench {
    fn run_to_ms(&mut self, ms: u64) {
        for _ in 0..1_000_000 {
            if self.device.borrow().now >= ms * MS {
                return;
            }
            self.executor.turn();
        }
        panic!("time stands still at {}", self.device.borrow().now);
    }

    fn reading(&self, tag: usize) -> (u64, Status, u64) {
        let reading = self.image.read(tag).unwrap();
        (reading.value, Status(reading.status), reading.t_mono_ns)
    }

    fn link(&self) -> &LinkCounters {
        self.counters.link(LinkId(0))
    }

    /// Each request came to one end, or is out.
    fn account_closes(&self, out: u64) {
        let c = self.link();
        let ends = c.replies.get() + c.exceptions.get() + c.timeouts.get() + c.aborted.get() + c.broken.get();
        assert_eq!(c.requests.get(), ends + out);
    }

    fn samples(&mut self) -> Vec<Sample> {
        std::iter::from_fn(|| self.samples.pop().ok()).collect()
    }

    fn order(&mut self, id: u64, deadline_ms: u64, read_back: bool) {
        let payload = WritePayload::new(&[1, 2]).unwrap();
        let deadline = Nanos(deadline_ms * MS);
        let order = WriteOrder { id, link: LinkId(0), slot: 0, generation: 0, deadline, read_back, payload };
        self.orders.push(order).unwrap();
    }

    fn outcomes(&mut self) -> Vec<(u64, WriteOutcome)> {
        std::iter::from_fn(|| self.answers.pop().ok()).map(|answer| (answer.id, answer.outcome)).collect()
    }
}

/// Answers a scan after `after` with these statuses, the value being how often it was asked.
fn answering(after: u64, statuses: Vec<Status>) -> Script {
    let mut count = 0;
    Box::new(move |bytes, now| match wire::asked(bytes) {
        Some(Asked::Scan { request, sequence }) => {
            count += 1;
            let mut datagram = Datagram::default();
            datagram.scanned(request, sequence);
            for status in &statuses {
                datagram.entry(Entry { t: Nanos(now + after / 2), value: count, status: *status, item: 0 });
            }
            vec![(after, datagram.bytes().to_vec())]
        }
        Some(Asked::Write { id, payload, read_back, .. }) => {
            let mut datagram = Datagram::default();
            let back = if read_back { payload } else { &[] };
            datagram.written(id, WriteEnd::Done, Nanos(now + after), back);
            vec![(after, datagram.bytes().to_vec())]
        }
        None => panic!("the link sent {bytes:?}"),
    })
}

#[test]
fn each_release_asks_once_and_values_carry_the_time_of_their_access() {
    let mut bench = bench(LINK, ONE, answering(3 * MS, vec![Status::GOOD]));
    bench.run_to_ms(950);
    let asked = bench.device.borrow().asked.clone();
    assert_eq!(asked.len(), 10);
    assert!(asked.windows(2).all(|pair| pair[1].0 - pair[0].0 == 100 * MS), "{asked:?}");
    let samples = bench.samples();
    assert_eq!(samples.len(), 10);
    for (sample, (sent, _)) in samples.iter().zip(&asked) {
        assert_eq!((sample.t_mono_ns, sample.status()), (sent + 3 * MS / 2, Status::GOOD));
    }
    assert_eq!(bench.reading(0).0, 10);
    assert_eq!(bench.link().state(), LinkState::Up);
    bench.account_closes(0);
}

#[test]
fn a_tag_that_failed_is_held_beside_one_that_is_good() {
    let tags = [r#""address": "l:0x30:0x10:2""#, r#""address": "l:0x31:0x10:2""#, r#""address": "l:0x32:0x10:2""#];
    let statuses = vec![Status::GOOD, Status::BAD_DEVICE_FAILURE, Status::UNCERTAIN_UNITS_EXCEEDED];
    let mut bench = bench(LINK, &tags, answering(MS, statuses));
    bench.run_to_ms(350);
    assert_eq!(bench.reading(0).1, Status::GOOD);
    assert_eq!((bench.reading(1).1, bench.reading(1).2), (Status::BAD_DEVICE_FAILURE, 0));
    assert_eq!((bench.reading(2).0, bench.reading(2).1), (4, Status::UNCERTAIN_UNITS_EXCEEDED), "uncertain, but new");
    let told = bench.samples();
    assert_eq!(told.iter().filter(|sample| sample.tag == 1).count(), 1, "a status is told once");
    assert_eq!(told.iter().filter(|sample| sample.tag == 2).count(), 4);
}

#[test]
fn a_link_none_of_whose_devices_answers_is_silent_and_asked_on() {
    let mut bench = bench(LINK, ONE, answering(MS, vec![Status::BAD_DEVICE_FAILURE]));
    bench.run_to_ms(1_050);
    assert_eq!(bench.link().state(), LinkState::Silent);
    assert_eq!(bench.device.borrow().asked.len(), 11);
    assert_eq!(bench.link().exceptions.get(), 11);
    bench.account_closes(0);
    bench.device.borrow_mut().script = answering(MS, vec![Status::GOOD]);
    bench.run_to_ms(1_150);
    assert_eq!(bench.link().state(), LinkState::Up);
}

#[test]
fn a_thread_that_is_late_costs_a_timeout_and_its_answer_is_dropped() {
    let mut first = true;
    let mut answer = answering(MS, vec![Status::GOOD]);
    // The second scan hangs for 45 ms in the driver.
    let mut count = 0;
    let script: Script = Box::new(move |bytes, now| {
        count += 1;
        let mut told = answer(bytes, now);
        if count == 2 && std::mem::take(&mut first) {
            told[0].0 = 45 * MS;
        }
        told
    });
    let mut bench = bench(LINK, ONE, script);
    bench.run_to_ms(140);
    assert_eq!(bench.reading(0).1, Status::UNCERTAIN_LAST_USABLE);
    assert_eq!((bench.link().timeouts.get(), bench.link().late.get()), (1, 0));
    bench.run_to_ms(180);
    assert_eq!(bench.link().late.get(), 1);
    bench.run_to_ms(250);
    assert_eq!(bench.reading(0).1, Status::GOOD);
    assert_eq!(bench.counters.scan(crate::plan::ScanId(0)).deadline_misses.get(), 1);
    assert_eq!(bench.link().disconnects.get(), 0);
    bench.account_closes(0);
}

#[test]
fn a_thread_that_never_comes_back_is_given_up_and_its_tags_turn_bad() {
    let mut bench = bench(LINK, ONE, Box::new(|_, _| vec![]));
    bench.run_to_ms(400);
    assert_eq!(bench.device.borrow().asked.len(), 1, "it is not asked again while it hangs");
    let closed = bench.closed.pop().unwrap();
    assert_eq!((closed.conn, closed.reason), (Conn(7), CloseReason::Silent));
    assert_eq!(bench.reading(0).1, Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.link().state(), LinkState::Down);
    assert!(bench.link().suppressed.get() >= 2);
    bench.account_closes(0);
    // Its device comes back.
    bench.device.borrow_mut().script = answering(MS, vec![Status::GOOD]);
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(8), target: 0 }).unwrap();
    bench.run_to_ms(550);
    assert_eq!((bench.reading(0).1, bench.link().state()), (Status::GOOD, LinkState::Up));
    assert_eq!(bench.link().connects.get(), 2);
}

#[test]
fn a_device_that_disappears_leaves_its_last_value_uncertain_and_then_bad() {
    let mut bench = bench(LINK, ONE, answering(MS, vec![Status::GOOD]));
    bench.run_to_ms(150);
    let (value, _, t) = bench.reading(0);
    bench.device.borrow_mut().closed = true;
    bench.run_to_ms(180);
    assert_eq!(bench.reading(0), (value, Status::UNCERTAIN_LAST_USABLE, t));
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
    bench.run_to_ms(400);
    assert_eq!(bench.reading(0), (value, Status::BAD_NO_COMMUNICATION, t));
    bench.account_closes(0);
}

#[test]
fn edges_go_to_image_and_ring_at_once_with_their_own_time() {
    let tags = [r#""address": "l:3", "edge": "both""#];
    let link = r#""protocol": "gpio", "chip": "/dev/gpiochip0", "timeout_ms": 20"#;
    let mut bench = bench(link, &tags, answering(MS, vec![Status::GOOD]));
    bench.run_to_ms(50);
    let mut datagram = Datagram::default();
    datagram.edges(5);
    for (t, value) in [(51 * MS, 1), (52 * MS, 0), (53 * MS, 1)] {
        datagram.entry(Entry { t: Nanos(t), value, status: Status::GOOD, item: 0 });
    }
    bench.device.borrow_mut().under_way.push((54 * MS, datagram.bytes().to_vec()));
    bench.run_to_ms(95);
    assert_eq!(bench.reading(0), (1, Status::GOOD, 53 * MS), "between two beats");
    let told: Vec<_> = bench.samples().iter().skip(1).map(|s| (s.t_mono_ns, s.value)).collect();
    assert_eq!(told, [(51 * MS, 1), (52 * MS, 0), (53 * MS, 1)]);
    assert_eq!(bench.link().lost.get(), 5);
}

#[test]
fn what_is_no_answer_of_ours_ends_the_connection() {
    let wrong: [fn(u32, u32) -> Vec<u8>; 4] = [
        |_, _| vec![9; 40],
        |request, sequence| {
            let mut datagram = Datagram::default();
            datagram.scanned(request, sequence + 1);
            datagram.bytes().to_vec()
        },
        // One entry too few.
        |request, sequence| {
            let mut datagram = Datagram::default();
            datagram.scanned(request, sequence);
            datagram.bytes().to_vec()
        },
        // An edge of a tag that is none.
        |_, _| {
            let mut datagram = Datagram::default();
            datagram.edges(0);
            datagram.entry(Entry { t: Nanos(1), value: 1, status: Status::GOOD, item: 99 });
            datagram.bytes().to_vec()
        },
    ];
    for answer in wrong {
        let script: Script = Box::new(move |bytes, _| {
            let Some(Asked::Scan { request, sequence }) = wire::asked(bytes) else { panic!() };
            vec![(MS, answer(request, sequence))]
        });
        let mut bench = bench(LINK, ONE, script);
        bench.run_to_ms(50);
        assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
        assert_eq!((bench.link().garbage.get(), bench.link().aborted.get()), (1, 1));
        bench.account_closes(0);
    }
}

#[test]
fn a_write_goes_between_scans_and_is_answered_once() {
    let mut bench = bench(LINK, ONE, answering(3 * MS, vec![Status::GOOD]));
    bench.run_to_ms(50);
    bench.order(1, 200, true);
    bench.order(2, 200, false);
    bench.run_to_ms(70);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Done), (2, WriteOutcome::Done)]);
    bench.run_to_ms(450);
    assert!(bench.outcomes().is_empty());
    let asked = bench.device.borrow().asked.clone();
    let scans = asked.iter().filter(|(_, bytes)| matches!(wire::asked(bytes), Some(Asked::Scan { .. })));
    assert!(scans.clone().zip(scans.skip(1)).all(|(a, b)| b.0 - a.0 == 100 * MS), "the beat goes on");
}

#[test]
fn a_storm_of_writes_lets_every_second_turn_to_the_scans() {
    // Each write takes 4 ms: twelve of them would take half of a period.
    let mut bench = bench(LINK, ONE, answering(4 * MS, vec![Status::GOOD]));
    bench.run_to_ms(99);
    (0..12).for_each(|id| bench.order(id, 500, false));
    bench.run_to_ms(115);
    let asked = bench.device.borrow().asked.clone();
    let scan = asked.iter().filter(|(_, bytes)| matches!(wire::asked(bytes), Some(Asked::Scan { .. }))).nth(1).unwrap();
    assert!(scan.0 <= 106 * MS, "the scan of 101 ms was sent at {} ns", scan.0);
    bench.run_to_ms(190);
    assert_eq!(bench.outcomes().len(), 12);
}

#[test]
fn writes_that_cannot_be_sent_in_time_are_never_sent() {
    // The thread hangs from the first scan on.
    let mut bench = bench(LINK, ONE, Box::new(|_, _| vec![]));
    bench.run_to_ms(5);
    bench.order(1, 30, false);
    bench.run_to_ms(45);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NotSent)]);
    bench.order(2, 1_000, false);
    bench.run_to_ms(200);
    assert_eq!(bench.outcomes(), [(2, WriteOutcome::NoConnection)], "given up with the connection");
    bench.order(3, 1_000, false);
    bench.run_to_ms(210);
    assert_eq!(bench.outcomes(), [(3, WriteOutcome::NoConnection)]);
    let is_write = |(_, bytes): &(u64, Vec<u8>)| matches!(wire::asked(bytes), Some(Asked::Write { .. }));
    assert!(!bench.device.borrow().asked.iter().any(is_write));
}

#[test]
fn a_write_that_gets_no_answer_may_have_been_taken() {
    let script: Script = Box::new(|bytes, now| match wire::asked(bytes) {
        Some(Asked::Write { .. }) => vec![],
        _ => answering(MS, vec![Status::GOOD])(bytes, now),
    });
    let mut bench = bench(LINK, ONE, script);
    bench.run_to_ms(10);
    bench.order(1, 30, false);
    bench.run_to_ms(32);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NoReply)]);
    bench.run_to_ms(400);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent, "nor does the thread come back");
    assert!(bench.outcomes().is_empty());
}

#[test]
fn a_link_of_the_same_work_goes_on_with_its_thread_and_another_one_does_not() {
    let plan = planned_for_test(LINK, ONE);
    let other = planned_for_test(LINK, &[r#""address": "l:0x30:0x11:2""#]);
    let follower = |new: &Plan| {
        let mut bench = bench(LINK, ONE, answering(MS, vec![Status::GOOD]));
        bench.run_to_ms(50);
        let mut old = BusLink::new(LinkId(0), own(&plan), &plan);
        let floor = bench.executor.floor_for_test();
        Link::<Scripted>::adopt(&mut old, Conn(9), Nanos(0), floor);
        let mut link = BusLink::following(LinkId(0), own(new), new, own(&plan));
        link.take_over(&mut old, Nanos(50 * MS), floor);
        link.connection.is_some()
    };
    assert!(follower(&plan));
    assert!(!follower(&other), "its thread would read something else");
}

#[test]
fn a_value_is_encoded_as_it_is_read_and_refused_when_it_does_not_fit() {
    use crate::link::write::{WriteFault, decode, encode};
    let tags = [
        r#""address": "l:0x30:0x10:2", "data_type": "int16""#,
        r#""address": "l:0x30:0x12:2", "byte_order": "DCBA""#,
        r#""address": "l:0x30:0x14:2", "data_type": "int16", "scale": 0.5, "offset": 5"#,
        r#""address": "l:0x30:0x16:4", "data_type": "float32""#,
        r#""address": "l:0x30:0x1A:1""#,
        r#""address": "l:0x30:0x1B:2", "shift": 4"#,
    ];
    let plan = planned_for_test(LINK, &tags);
    for (tag, value, bytes) in [
        (0, Value::Int(-2), &[0xFF, 0xFE][..]),
        (1, Value::Uint(0x1234), &[0x34, 0x12]),
        (2, Value::Float64(25.0), &[0, 40]),
        (3, Value::Float32(1.5), &[0x3F, 0xC0, 0, 0]),
        (4, Value::Uint(255), &[255]),
    ] {
        let tag = TagId(tag);
        let encoded = encode(&plan, tag, &value).unwrap();
        assert_eq!((encoded.slot, encoded.payload.bytes()), (tag.0, bytes));
        assert_eq!(decode(&plan, tag, &encoded.payload), Some(value));
    }
    let range = |min, max| Err(WriteFault::Range { min: Value::Float64(min), max: Value::Float64(max) });
    assert_eq!(encode(&plan, TagId(0), &Value::Int(40_000)), range(-32_768.0, 32_767.0));
    assert_eq!(encode(&plan, TagId(2), &Value::Float64(1e9)), range(-16_379.0, 16_388.5));
    assert_eq!(encode(&plan, TagId(4), &Value::Int(-1)), range(0.0, 255.0));
    assert_eq!(encode(&plan, TagId(3), &Value::Float64(f64::NAN)), Err(WriteFault::NotFinite));
    let wrong = |tag, value: &Value| matches!(encode(&plan, TagId(tag), value), Err(WriteFault::WrongType { .. }));
    assert!(wrong(0, &Value::Bool(true)) && wrong(0, &Value::Float64(1.5)) && wrong(0, &Value::Text("1".into())));
    assert_eq!(encode(&plan, TagId(5), &Value::Uint(1)), Err(WriteFault::NotWritable), "a part of a register");
    let gpio = r#""protocol": "gpio", "chip": "/dev/gpiochip0""#;
    let lines = planned_for_test(gpio, &[r#""address": "l:4", "direction": "out""#, r#""address": "l:5""#]);
    assert_eq!(encode(&lines, TagId(0), &Value::Bool(true)).unwrap().payload.bytes(), [1]);
    assert_eq!(encode(&lines, TagId(1), &Value::Bool(true)), Err(WriteFault::NotWritable), "an input");
}
