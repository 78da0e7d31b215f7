//! The link on the real executor, in virtual time, with a thread that is a script.

mod scans;
mod writes;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use super::LocalIoLink;
use super::wire::{self, Asked, Datagram, Entry, WriteEnd};
use crate::lane::*;
use crate::plan::Plan;
use crate::plan::demand::Costs;
use crate::protocol;
use crate::protocol::load_parts;
use crate::protocol::local_io::plan::LocalIoPlan;
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
                let taken = bytes.len().min(buffer.len());
                buffer[..taken].copy_from_slice(&bytes[..taken]);
                Io::Done(taken)
            }
            None if device.closed => Io::Closed,
            None => Io::WouldBlock,
        }
    }
}

struct Bench {
    executor: Executor<Scripted, LocalIoLink>,
    device: Rc<RefCell<Device>>,
    samples: Consumer<Sample>,
    counters: Arc<Counters>,
    image: Arc<Image>,
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    _reports: Consumer<Report>,
    _adoptions: Producer<Box<Adoption<LocalIoLink>>>,
    _adopted: Consumer<Box<Adoption<LocalIoLink>>>,
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
    protocol::build_with(&config, &[0], &Costs::default()).unwrap_or_else(|error| panic!("{error}")).plan
}

fn own(plan: &Plan) -> &LocalIoPlan {
    let Some(own) = plan.links[LinkId(0)].protocol.get::<LocalIoPlan>() else { panic!() };
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
        sink: SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), 0),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let links = vec![LocalIoLink::new(LinkId(0), own(&plan), &plan)];
    let mut executor = Executor::new(LaneId(0), &plan, links, Scripted(device.clone()), wiring);
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
        (reading.value, Status(reading.status), reading.t)
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
