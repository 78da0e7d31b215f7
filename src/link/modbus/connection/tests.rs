//! The connection's state machine on the real executor, in a world of virtual time with scripted devices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

#[path = "half_open_tests.rs"]
mod half_open;
#[path = "handover_tests.rs"]
mod handover;
#[path = "line_tests.rs"]
mod line;
#[path = "noise_tests.rs"]
mod noise;
#[path = "sensor_tests.rs"]
mod sensor;
#[path = "write_tests.rs"]
mod write;
#[path = "write_trouble_tests.rs"]
mod write_trouble;

use super::ModbusLink;
use crate::config::*;
use crate::plan::{self, Plan};
use crate::rt::*;
use crate::tag::*;

/// Every request, and when it was sent (nanoseconds).
type Sent = std::rc::Rc<std::cell::RefCell<Vec<(u64, Vec<u8>)>>>;

/// What a device does with a request: the bytes it sends, and when (nanoseconds later).
type Script = Box<dyn FnMut(&[u8]) -> Vec<(u64, Vec<u8>)>>;

#[derive(Default)]
struct Device {
    script: Option<Script>,
    /// Bytes under way, by arrival time.
    under_way: Vec<(u64, Vec<u8>)>,
    arrived: Vec<u8>,
    closed: bool,
    /// So many bytes it still takes; `None`: all.
    takes: Option<usize>,
    /// Bytes that were sent and have not arrived, as the kernel would tell.
    unsent: usize,
    aborted: bool,
}

/// Virtual time; one device a connection.
struct ScriptedWorld {
    now: u64,
    devices: BTreeMap<i32, Device>,
    tokens: BTreeMap<i32, u32>,
    requests: Sent,
    /// The machine stalls once: from when, for how long.
    stall: Option<(u64, u64)>,
    /// When RTS was set, and how.
    rts: Vec<(u64, bool)>,
    /// Sleeps end so much late.
    oversleeps: u64,
}

impl ScriptedWorld {
    fn deliver(&mut self) {
        for device in self.devices.values_mut() {
            device.under_way.sort_by_key(|(t, _)| *t);
            while device.under_way.first().is_some_and(|(t, _)| *t <= self.now) {
                let (_, bytes) = device.under_way.remove(0);
                device.arrived.extend(bytes);
            }
        }
    }
}

impl World for ScriptedWorld {
    fn now(&mut self) -> Nanos {
        if let Some((from, length)) = self.stall
            && self.now >= from
        {
            self.now += length;
            self.stall = None;
        }
        Nanos(self.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        self.now = self.now.max(until.0);
        Nanos(self.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        self.deliver();
        let watched = |conn: &i32| self.tokens.contains_key(conn);
        if self.devices.iter().all(|(conn, d)| d.arrived.is_empty() || !watched(conn)) {
            let next = self.devices.values().flat_map(|d| d.under_way.iter().map(|(t, _)| *t)).min();
            let wakes = until.0.min(next.unwrap_or(u64::MAX));
            // A look without a sleep takes its time, too.
            self.now = if wakes > self.now { wakes + self.oversleeps } else { self.now + LOOK };
            self.deliver();
        }
        for (conn, device) in &self.devices {
            if (!device.arrived.is_empty() || device.closed) && self.tokens.contains_key(conn) {
                ready.push(self.tokens[conn]);
            }
        }
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        self.tokens.insert(conn.0, token);
        true
    }

    fn detach(&mut self, conn: Conn) {
        self.tokens.remove(&conn.0);
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        self.requests.borrow_mut().push((self.now, bytes.to_vec()));
        let now = self.now;
        let Some(device) = self.devices.get_mut(&conn.0) else { return Io::Closed };
        if device.closed {
            return Io::Closed;
        }
        if let Some(room) = &mut device.takes {
            let taken = bytes.len().min(*room);
            *room -= taken;
            return if taken == 0 { Io::WouldBlock } else { Io::Done(taken) };
        }
        if let Some(script) = &mut device.script {
            let replies = script(bytes);
            device.under_way.extend(replies.into_iter().map(|(after, bytes)| (now + after, bytes)));
        }
        Io::Done(bytes.len())
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        self.devices.get(&conn.0).map_or(0, |device| device.unsent)
    }

    fn abort(&mut self, conn: Conn) {
        self.devices.entry(conn.0).and_modify(|device| device.aborted = true);
    }

    fn set_rts(&mut self, _conn: Conn, high: bool) {
        self.rts.push((self.now, high));
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let Some(device) = self.devices.get_mut(&conn.0) else { return Io::Closed };
        if device.arrived.is_empty() {
            return if device.closed { Io::Closed } else { Io::WouldBlock };
        }
        let n = device.arrived.len().min(buffer.len());
        buffer[..n].copy_from_slice(&device.arrived[..n]);
        device.arrived.drain(..n);
        Io::Done(n)
    }
}

struct Bench {
    executor: Executor<ScriptedWorld, ModbusLink>,
    samples: Consumer<Sample>,
    reports: Consumer<Report>,
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    counters: Arc<Counters>,
    image: Arc<Image>,
    requests: Sent,
    world_end: u64,
    config: Config,
    plan: Arc<Plan>,
    adoptions: Producer<Box<Adoption<ModbusLink>>>,
    adopted: Consumer<Box<Adoption<ModbusLink>>>,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    stop: Arc<AtomicBool>,
    /// Of the plan by which orders are made.
    generation: u32,
    /// Of the next order, if it is to have a certain one.
    next_id: Option<u64>,
}

const MS: u64 = 1_000_000;
const PERIOD_MS: u64 = 10;
/// What a look at the world takes that does not sleep.
const LOOK: u64 = 100;
/// Work takes no time here.
const COSTS: plan::Costs = plan::Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };

/// A uint16 tag of unit 1 at one register.
fn tag(link: usize, register: u16) -> TagConfig {
    TagConfig {
        name: format!("plc{link}.r{register}"),
        source: Source::default(),
        link,
        group: 0,
        address: TagAddress::Modbus(ModbusAddress {
            unit: UnitId(1),
            table: Table::HoldingRegisters,
            first: register,
            count: 1,
            field: FieldType::Uint16,
            array: None,
            order: WordOrder::Abcd,
        }),
        scale: 1.0,
        offset: 0.0,
        sensor: None,
        unit: String::new(),
        description: String::new(),
        write: None,
        reporting: None,
    }
}

fn tcp_config() -> ModbusConfig {
    ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: "127.0.0.1".into(), port: 502 }),
        timeout: Nanos::from_millis(30),
        connect_timeout: Nanos::from_millis(100),
        pipeline: 1,
        reply_expected: Nanos::from_micros(100),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        registers_max: 125,
        bits_max: 2000,
        unreadable: vec![],
    }
}

/// One link per script; each with the given registers (uint16 tags) of unit 1, scanned every 10 ms.
fn bench(links: Vec<(Vec<u16>, Script)>, stall: Option<(u64, u64)>) -> Bench {
    let config = tcp_config();
    let links = links
        .into_iter()
        .enumerate()
        .map(|(at, (registers, script))| (registers.into_iter().map(|register| tag(at, register)).collect(), script));
    bench_of(&config, links.collect(), stall)
}

/// The same with links of any configuration. Writes follow each other at once, whatever the plan says.
fn bench_of(modbus: &ModbusConfig, links: Vec<(Vec<TagConfig>, Script)>, stall: Option<(u64, u64)>) -> Bench {
    bench_with(modbus, links, stall, None)
}

/// The same, with writes `spaced` as a plan of such a period says, which must fit.
fn bench_with(
    modbus: &ModbusConfig,
    links: Vec<(Vec<TagConfig>, Script)>,
    stall: Option<(u64, u64)>,
    spaced: Option<Nanos>,
) -> Bench {
    let admission = if spaced.is_some() { AdmissionRule::Refuse } else { AdmissionRule::Warn };
    let source = Source::default();
    let mut config = Config {
        gateway: GatewayConfig { id: "test".into() },
        realtime: RealtimeConfig { cores: None, priority: 80, guard: Guard::Auto, admission },
        journal: JournalConfig { path: "journal".into(), bytes_max: 1 << 30, commit: Nanos::from_millis(100) },
        metrics: MetricsConfig { listen: None },
        control: crate::config::ControlConfig::default(),
        watchdog: crate::config::WatchdogConfig::default(),
        outputs: vec![],
        links: vec![],
        groups: vec![GroupConfig {
            name: "g".into(),
            source: source.clone(),
            period: spaced.unwrap_or(Nanos::from_millis(PERIOD_MS)),
            release: ReleaseMode::Spread,
        }],
        tags: vec![],
    };
    let mut devices = BTreeMap::new();
    for (index, (tags, script)) in links.into_iter().enumerate() {
        config.links.push(LinkConfig {
            name: format!("plc{index}"),
            source: source.clone(),
            protocol: LinkProtocol::Modbus(modbus.clone()),
        });
        config.tags.extend(tags);
        devices.insert(index as i32, Device { script: Some(script), ..Device::default() });
    }
    let mut plan = plan::build_with(&config, &[0], &COSTS).unwrap().plan;
    for (_, link) in plan.links.iter_mut().filter(|_| spaced.is_none()) {
        link.write_spacing = Nanos::ZERO;
    }
    let plan = Arc::new(plan);
    let counters = Arc::new(Counters::new(&plan));
    let long_bytes = || plan.tags.values().map(|tag| tag.ty.long_bytes_max());
    let image = Arc::new(Image::new(long_bytes(), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = RingBuffer::new(1 << 16);
    let (reports_in, reports) = RingBuffer::new(1 << 16);
    let (mut connected, connected_out) = RingBuffer::new(16);
    let (closed_in, closed) = RingBuffer::new(16);
    let requests = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let world = ScriptedWorld {
        now: 0,
        devices,
        tokens: BTreeMap::new(),
        requests: requests.clone(),
        stall,
        rts: vec![],
        oversleeps: 0,
    };
    let links = (0..plan.links.len()).map(|i| ModbusLink::new(LinkId(i as u16), &plan)).collect();
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    let (orders, orders_out) = RingBuffer::new(crate::limits::WRITES_PENDING_MAX);
    let (answers_in, answers) = RingBuffer::new(crate::limits::WRITES_PENDING_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let long_bytes_max = long_bytes().max().unwrap_or(0);
    let wiring = Wiring {
        adoptions: to_executor,
        adopted: from_executor,
        sink: Sink::new(ring, image.clone(), counters.clone(), ExecutorId(0), long_bytes_max),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: stop.clone(),
    };
    let mut executor = Executor::new(ExecutorId(0), &plan, links, world, wiring);
    executor.start_at(Clock { start: Nanos::from_millis(1), guard: Nanos::ZERO });
    for i in 0..plan.links.len() {
        connected.push(Connected { link: LinkId(i as u16), conn: Conn(i as i32), target: 0 }).unwrap();
    }
    Bench {
        executor,
        samples,
        reports,
        connected,
        closed,
        counters,
        image,
        requests,
        world_end: 0,
        config,
        plan,
        adoptions,
        adopted,
        orders,
        answers,
        stop,
        generation: 0,
        next_id: None,
    }
}

impl Bench {
    fn run_ms(&mut self, ms: u64) {
        self.world_end += ms * MS;
        while self.executor.floor_for_test().world.now < self.world_end {
            self.executor.turn();
        }
    }

    fn device(&mut self, at: i32) -> &mut Device {
        self.executor.floor_for_test().world.devices.get_mut(&at).unwrap()
    }

    fn status(&self, tag: usize) -> Status {
        Status(self.image.read(tag).unwrap().status)
    }

    fn drain(&mut self) -> Vec<Sample> {
        std::iter::from_fn(|| self.samples.pop().ok()).collect()
    }
}

/// The right answer: each register holds its own address.
fn honest(request: &[u8]) -> Vec<u8> {
    let first = u16::from_be_bytes([request[8], request[9]]);
    let count = u16::from_be_bytes([request[10], request[11]]);
    let mut reply =
        vec![request[0], request[1], 0, 0, 0, (3 + count * 2) as u8, request[6], request[7], (count * 2) as u8];
    reply.extend((first..first + count).flat_map(|r| r.to_be_bytes()));
    reply
}

fn exception(request: &[u8], code: u8) -> Vec<u8> {
    vec![request[0], request[1], 0, 0, 0, 3, request[6], request[7] | 0x80, code]
}

fn good() -> Script {
    Box::new(|request| vec![(100_000, honest(request))])
}

fn silent() -> Script {
    Box::new(|_| vec![])
}

#[test]
fn every_cycle_brings_every_tag_its_own_register() {
    let mut bench = bench(vec![(vec![3, 4, 9], good())], None);
    bench.run_ms(1000);
    let cycles = bench.counters.scans[0].cycles.get();
    assert_eq!(cycles, 100);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    let samples = bench.drain();
    assert_eq!(samples.len(), 300);
    for s in &samples {
        assert_eq!(s.value, [3, 4, 9][s.tag as usize]);
        assert_eq!(s.status(), Status::GOOD);
    }
    assert_eq!(bench.image.read(2).unwrap().value, 9);
    let sent = bench.requests.borrow().len() as u64;
    assert_eq!(sent, cycles, "one request a cycle");
}

#[test]
fn a_stall_is_skipped_and_counted_and_the_phase_is_kept() {
    let mut bench = bench(vec![(vec![1], good())], Some((200 * MS, 55 * MS)));
    bench.run_ms(1000);
    let scan = &bench.counters.scans[0];
    assert_eq!(scan.cycles.get() + scan.skipped.get(), 100);
    assert_eq!(scan.skipped.get(), 5);
    let beats: Vec<(u64, u64, u64)> = std::iter::from_fn(|| bench.reports.pop().ok())
        .filter_map(|r| match r {
            Report::Released { due, nominal, actual, .. } => Some((due.0, nominal.0, actual.0)),
            _ => None,
        })
        .collect();
    assert!(beats.iter().all(|(_, nominal, _)| nominal % (PERIOD_MS * MS) == MS), "the phase is kept");
    assert!(beats.windows(2).all(|w| w[1].1 > w[0].1), "no burst");
    let late: Vec<_> = beats.iter().filter(|(due, nominal, _)| due != nominal).collect();
    let [(due, nominal, actual)] = late[..] else { panic!("one release stands for those that were skipped: {late:?}") };
    assert_eq!((*due, nominal - due), (201 * MS, 5 * PERIOD_MS * MS));
    assert!((55 * MS..56 * MS).contains(&(actual - due)), "it says how late it was for the first of them: {late:?}");
}

#[test]
fn a_silent_device_costs_the_others_nothing_and_its_tags_say_so() {
    let mut bench = bench(vec![(vec![1], good()), (vec![2], good())], None);
    bench.run_ms(200);
    let read_at = bench.image.read(1).unwrap().t_mono_ns;
    assert!(read_at > 0);
    bench.device(1).script = Some(silent());
    bench.run_ms(50);
    assert_eq!(bench.status(1), Status::UNCERTAIN_LAST_USABLE);
    let held = bench.image.read(1).unwrap();
    assert!(held.t_mono_ns <= 250 * MS && held.value == 2, "the old value with its old time");
    bench.run_ms(5_000);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.counters.scans[0].cycles.get(), bench.counters.scans[1].cycles.get());
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert!(bench.counters.scans[1].deadline_misses.get() > 400);
    assert_eq!(bench.counters.links[1].state(), LinkState::Down, "half open for all we know: a new connection");
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent);
}

#[test]
fn a_device_that_comes_back_is_good_again_within_a_probe() {
    let mut bench = bench(vec![(vec![1], good())], None);
    bench.run_ms(100);
    bench.device(0).script = Some(silent());
    bench.run_ms(1_000);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent);
    bench.device(0).script = Some(good());
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::GOOD);
    assert_eq!(bench.counters.links[0].state(), LinkState::Up);
}

#[test]
fn a_late_reply_is_dropped_and_never_taken_for_another_request() {
    let slow: Script = Box::new(|request| vec![(45 * MS, honest(request))]);
    let mut bench = bench(vec![(vec![7], slow)], None);
    bench.run_ms(300);
    assert!(bench.counters.links[0].late.get() > 0);
    assert_eq!(bench.counters.links[0].replies.get(), 0);
    assert_eq!(bench.counters.links[0].foreign.get(), 0);
    assert!(bench.drain().iter().all(|s| s.has_no_value()), "no value was accepted");
}

#[test]
fn wrong_transactions_and_wrong_units_are_foreign() {
    let wrong: Script = Box::new(|request| {
        let mut transaction = honest(request);
        transaction[0] ^= 0x55;
        let mut unit = honest(request);
        unit[6] = 9;
        vec![(MS, transaction), (MS + 1, unit)]
    });
    let mut bench = bench(vec![(vec![7], wrong)], None);
    bench.run_ms(25);
    assert!(bench.counters.links[0].foreign.get() >= 2);
    assert_eq!(bench.counters.links[0].replies.get(), 0);
}

#[test]
fn garbage_ends_the_connection_and_half_a_frame_only_its_request() {
    let garbage: Script = Box::new(|_| vec![(MS, b"\xDE\xAD\xBE\xEF\x00".to_vec())]);
    let half: Script = Box::new(|request| vec![(MS, honest(request)[..8].to_vec())]);
    let mut bench = bench(vec![(vec![1], garbage), (vec![2], half), (vec![3], good())], None);
    bench.run_ms(40);
    assert_eq!(bench.counters.links[0].garbage.get(), 1);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
    assert_eq!(bench.counters.links[1].timeouts.get(), 1);
    assert_eq!(bench.counters.scans[2].deadline_misses.get(), 0);
}

#[test]
fn a_frame_in_single_bytes_is_put_together() {
    let pieces: Script = Box::new(|request| {
        honest(request).into_iter().enumerate().map(|(i, b)| (MS / 10 * (i as u64 + 1), vec![b])).collect()
    });
    let mut bench = bench(vec![(vec![5], pieces)], None);
    bench.run_ms(500);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn an_exception_is_a_device_failure_and_no_miss() {
    let refusing: Script = Box::new(|request| vec![(MS, exception(request, 4))]);
    let mut bench = bench(vec![(vec![5], refusing)], None);
    bench.run_ms(105);
    assert_eq!(bench.status(0), Status::BAD_DEVICE_FAILURE);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.drain().len(), 1, "told once, not every cycle");
}

#[test]
fn a_refused_address_is_found_and_its_neighbours_go_on() {
    let partly: Script = Box::new(|request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let count = u16::from_be_bytes([request[10], request[11]]);
        let bad = first <= 6 && 6 < first + count;
        vec![(MS / 10, if bad { exception(request, 2) } else { honest(request) })]
    });
    let mut bench = bench(vec![((0..12).collect(), partly)], None);
    bench.run_ms(200);
    for tag in 0..12 {
        let expected = if tag == 6 { Status::BAD_CONFIGURATION_ERROR } else { Status::GOOD };
        assert_eq!(bench.status(tag), expected, "tag {tag}");
    }
    let before = bench.counters.links[0].exceptions.get();
    bench.run_ms(1000);
    assert_eq!(bench.counters.links[0].exceptions.get(), before, "it is left alone");
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
}

#[test]
fn a_lost_connection_holds_values_then_gives_them_up() {
    let mut bench = bench(vec![(vec![5], good())], None);
    bench.run_ms(100);
    bench.device(0).closed = true;
    bench.run_ms(30);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
    bench.run_ms(200);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.image.read(0).unwrap().value, 5);
}

#[test]
fn what_was_given_up_is_not_usable_again_before_it_is_read() {
    let mut bench = bench(vec![(vec![5], good())], None);
    bench.run_ms(100);
    bench.device(0).closed = true;
    bench.run_ms(300);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    bench.drain();
    for _ in 0..3 {
        assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
        bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        bench.run_ms(100);
    }
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    assert!(bench.drain().is_empty(), "nothing new is told of a device that accepts and drops");
}

#[test]
fn a_request_is_twelve_bytes_and_its_account_closes() {
    let mut bench = bench(vec![(vec![5], good()), (vec![6], silent())], None);
    bench.run_ms(2_000);
    assert!(bench.requests.borrow().iter().all(|(_, r)| r.len() == 12));
    for link in [LinkId(0), LinkId(1)].map(|id| bench.counters.link(id)) {
        let ended = link.replies.get() + link.exceptions.get() + link.timeouts.get() + link.aborted.get();
        assert!(link.requests.get() - ended <= 1, "at most the one in flight is open");
    }
    let delivered = bench.drain().len() as u64;
    assert_eq!(bench.counters.produced(), delivered + bench.counters.dropped());
}

#[test]
fn nothing_is_missed_while_the_first_connection_has_time_and_everything_after() {
    let mut bench = bench(vec![(vec![5], good())], None);
    let _ = std::iter::from_fn(|| bench.executor.take_connection_for_test()).count();
    bench.run_ms(150);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.status(0), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.run_ms(500);
    assert!(bench.counters.scans[0].deadline_misses.get() > 40);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    let samples = bench.drain();
    assert_eq!(samples.len(), 1);
    assert!(samples[0].has_no_value());
}

#[test]
fn a_device_that_refused_all_for_a_while_is_read_in_whole_blocks_again() {
    let mut bench = bench(vec![((0..12).collect(), good())], None);
    bench.run_ms(100);
    bench.device(0).script = Some(Box::new(|request| vec![(MS / 10, exception(request, 2))]));
    bench.run_ms(100);
    assert!((0..12).all(|tag| bench.status(tag) == Status::BAD_CONFIGURATION_ERROR));
    bench.device(0).script = Some(good());
    bench.run_ms(31_000);
    assert!((0..12).all(|tag| bench.status(tag) == Status::GOOD));
    let before = bench.requests.borrow().len();
    bench.run_ms(1_000);
    assert_eq!(bench.requests.borrow().len() - before, 100, "one request a cycle, as before");
}

#[test]
fn what_was_missed_in_one_cycle_is_not_missed_again_in_the_next() {
    let mut asked = 0;
    // The first request is lost, the second is answered late but within its time; then all is well.
    let once: Script = Box::new(move |request| {
        asked += 1;
        match asked {
            1 => vec![],
            2 => vec![(15 * MS, honest(request))],
            _ => vec![(MS / 10, honest(request))],
        }
    });
    let mut bench = bench(vec![(vec![1, 500], once)], None);
    bench.run_ms(500);
    // Released at 1, 11, 21, 31: the first request is open to 31; 31: the second one is open to 46.
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 4);
}
