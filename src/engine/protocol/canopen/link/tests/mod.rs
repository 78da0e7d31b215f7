//! The master on the real executor, in a world of virtual time with nodes of the tests' own.

mod cases;
mod device;
mod outputs;
mod random;
mod reasons;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use super::message::{Message, Received};
use crate::lane::*;
use crate::plan::{self, Plan};
use crate::protocol;
use crate::protocol::kinds::FieldLink;
use crate::protocol::load_parts;
use crate::rt::*;
use crate::tag::*;
use device::{Device, MS};

/// What the nodes and the test share.
#[derive(Default)]
struct Network {
    now: u64,
    devices: Vec<Device>,
    /// Frames on their way to the master, by arrival.
    under_way: Vec<(u64, [u8; 16])>,
    /// What the master sent.
    sent: Vec<(u64, Message)>,
    down: bool,
    /// The interface has no room for anything.
    full: bool,
    /// Frames that the kernel dropped.
    dropped: u32,
    /// So long frames waited in the kernel before they are taken.
    waited: u64,
    /// What each look at the clock takes.
    look_ns: u64,
}

impl Network {
    fn post(&mut self, messages: Vec<(u64, Message)>) {
        self.under_way.extend(messages.into_iter().map(|(at, message)| (at, message.to_can_frame())));
        self.under_way.sort_by_key(|(at, _)| *at);
    }

    fn tick(&mut self) {
        for at in 0..self.devices.len() {
            let posted = self.devices[at].tick(self.now);
            self.post(posted);
        }
    }

    fn next_event(&self) -> u64 {
        let timers = self.devices.iter().map(Device::next_event).min().unwrap_or(u64::MAX);
        self.under_way.first().map_or(timers, |(at, _)| timers.min(*at))
    }

    fn device(&mut self, id: u8) -> &mut Device {
        self.devices.iter_mut().find(|device| device.id == id).unwrap()
    }
}

struct FakeWorld {
    network: Rc<RefCell<Network>>,
    watched: Option<u32>,
}

impl World for FakeWorld {
    fn now(&mut self) -> Nanos {
        let mut network = self.network.borrow_mut();
        network.now += network.look_ns;
        Nanos(network.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        let mut network = self.network.borrow_mut();
        network.now = network.now.max(until.0);
        Nanos(network.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        let network = &mut *self.network.borrow_mut();
        network.tick();
        let wakes = network.next_event().min(until.0);
        // A look without a sleep takes its time, too.
        network.now = if wakes > network.now { wakes } else { network.now + 100 };
        network.tick();
        let readable = network.down || network.under_way.first().is_some_and(|(at, _)| *at <= network.now);
        if let Some(token) = self.watched.filter(|_| readable) {
            ready.push(token);
        }
    }

    fn attach(&mut self, _conn: Conn, token: u32) -> bool {
        self.watched = Some(token);
        true
    }

    fn detach(&mut self, _conn: Conn) {
        self.watched = None;
    }

    fn send(&mut self, _conn: Conn, bytes: &[u8]) -> Io {
        let network = &mut *self.network.borrow_mut();
        if network.full {
            return Io::WouldBlock;
        }
        let Received::Message(message) = Message::from_can_frame(bytes) else { panic!("not a frame: {bytes:?}") };
        let now = network.now;
        network.sent.push((now, message));
        for at in 0..network.devices.len() {
            let answers = network.devices[at].hear(&message, now);
            network.post(answers);
        }
        Io::Done(bytes.len())
    }

    fn receive(&mut self, _conn: Conn, buffer: &mut [u8]) -> Io {
        let network = &mut *self.network.borrow_mut();
        if network.down {
            return Io::Closed;
        }
        if network.under_way.first().is_none_or(|(at, _)| *at > network.now) {
            return Io::WouldBlock;
        }
        let (_, frame) = network.under_way.remove(0);
        buffer[..16].copy_from_slice(&frame);
        Io::Done(16)
    }

    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let io = self.receive(conn, buffer);
        // Said of a frame, as the kernel does.
        let dropped = if let Io::Done(_) = io { self.network.borrow().dropped } else { 0 };
        let at = Nanos(self.now().0 - self.network.borrow().waited);
        Stamped { io, at, hardware: None, dropped }
    }
}

struct Bench {
    executor: Executor<FakeWorld, FieldLink>,
    network: Rc<RefCell<Network>>,
    plan: Arc<Plan>,
    samples: Consumer<Sample>,
    reports: Consumer<Report>,
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    adoptions: Producer<Box<Adoption<FieldLink>>>,
    adopted: Consumer<Box<Adoption<FieldLink>>>,
    counters: Arc<Counters>,
    image: Arc<Image>,
}

/// What is written in tag files: the link's keys beside its name and interface, its tags, and data sheets.
fn config(link: &str, tags: &str, sheets: &[(&str, &str)]) -> crate::config::Config {
    let text = format!(
        r#"{{"links": [{{"name": "co0", "protocol": "canopen", "interface": "can0", {link}}}], "tags": [{tags}]}}"#
    );
    let mut files = vec![("tags/t.json", &*text)];
    files.extend(sheets);
    load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &files).unwrap_or_else(|e| panic!("{e}")).config
}

fn bench(config: &crate::config::Config, devices: Vec<Device>) -> Bench {
    let plan = Arc::new(protocol::build(config, &[0]).unwrap_or_else(|e| panic!("{e}")).plan);
    let counters = Arc::new(Counters::new(&plan));
    let long = |tag: &crate::plan::TagPlan| tag.ty.long_bytes_max();
    let image = Arc::new(Image::new(plan.tags.values().map(long), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let network = Rc::new(RefCell::new(Network { devices, ..Network::default() }));
    let (ring, samples) = RingBuffer::new(1 << 16);
    let (reports_in, reports) = RingBuffer::new(1 << 16);
    let (mut connected, connected_out) = RingBuffer::new(16);
    let (closed_in, closed) = RingBuffer::new(16);
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    let (orders, orders_out) = RingBuffer::new(16);
    let (answers_in, answers) = RingBuffer::new(32);
    let wiring = Wiring {
        sink: SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), 4096),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        adoptions: to_executor,
        adopted: from_executor,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let links = vec![FieldLink::new(LinkId(0), &plan).unwrap()];
    let world = FakeWorld { network: network.clone(), watched: None };
    let mut executor = Executor::new(LaneId(0), &plan, links, world, wiring);
    executor.start_at(Clock { start: Nanos::from_millis(1), guard: Nanos::ZERO });
    connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    Bench {
        executor,
        network,
        plan,
        samples,
        reports,
        connected,
        closed,
        orders,
        answers,
        adoptions,
        adopted,
        counters,
        image,
    }
}

impl Bench {
    fn run_ms(&mut self, ms: u64) {
        let end = self.network.borrow().now + ms * MS;
        while self.network.borrow().now < end {
            self.executor.turn();
        }
    }

    fn id(&self, name: &str) -> TagId {
        self.plan.tags.iter().find(|(_, tag)| &*tag.name == name).map(|(id, _)| id).unwrap()
    }

    fn reading(&self, name: &str) -> Reading {
        self.image.read(self.id(name).index()).unwrap()
    }

    fn status(&self, name: &str) -> Status {
        Status(self.reading(name).status)
    }

    #[track_caller]
    fn assert_good(&self, name: &str, value: u64) {
        assert_eq!((self.status(name), self.reading(name).value), (Status::GOOD, value), "{name}");
    }

    fn samples(&mut self, name: &str) -> Vec<Sample> {
        let id = self.id(name);
        std::iter::from_fn(|| self.samples.pop().ok()).filter(|s| s.tag() == id).collect()
    }

    fn events(&mut self) -> Vec<NodeEvent> {
        let reports = std::iter::from_fn(|| self.reports.pop().ok());
        reports.filter_map(|r| if let Report::Node { event, .. } = r { Some(event) } else { None }).collect()
    }

    fn sent(&self, cob_id: u16) -> Vec<(u64, Message)> {
        self.network.borrow().sent.iter().filter(|(_, m)| m.cob_id == cob_id).copied().collect()
    }

    fn network(&self) -> std::cell::RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    fn adopt(&mut self, config: &crate::config::Config) {
        let base = plan::Base { plan: &self.plan, resting: &[], long_fits: &|_, _| true };
        let new = Arc::new(protocol::rebuild(config, &base).unwrap_or_else(|e| panic!("{e}")).plan);
        self.counters.prepare(&new, &self.plan);
        let changed = plan::changes(&self.plan, &new);
        let links = changed.into_iter().map(|(id, _)| LinkChange {
            id,
            link: Some(Box::new(FieldLink::following(id, &new, &self.plan).unwrap())),
            takes_over: true,
            target: 0,
        });
        let (ring, samples) = RingBuffer::new(1 << 16);
        let adoption = Adoption::new(LaneId(0), &self.plan, &new, links.collect(), ring);
        self.adoptions.push(Box::new(adoption)).ok().unwrap();
        (self.plan, self.samples) = (new, samples);
    }

    /// An order with 200 ms of time.
    fn made(&mut self, id: u64, tag: &str, value: &Value, read_back: bool) -> WriteOrder {
        let encoded = crate::protocol::kinds::encode(&self.plan, self.id(tag), value).unwrap();
        let deadline = Nanos(self.network().now) + Nanos::from_millis(200);
        let (link, slot, payload) = (encoded.link, encoded.slot, encoded.payload);
        WriteOrder { id, link, slot, generation: 0, deadline, read_back, payload }
    }

    fn order(&mut self, id: u64, tag: &str, value: &Value, read_back: bool) {
        let order = self.made(id, tag, value, read_back);
        self.orders.push(order).unwrap();
    }

    fn outcomes(&mut self) -> Vec<(u64, WriteOutcome)> {
        std::iter::from_fn(|| self.answers.pop().ok()).map(|answer| (answer.id, answer.outcome)).collect()
    }
}
