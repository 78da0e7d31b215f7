//! The connection's state machine on the real executor, in a world of virtual time with scripted devices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::config::{Pace, WordOrder};
use crate::protocol;
use crate::protocol::modbus::{HostPort, ModbusAddress, ModbusConfig, ModbusTransport, Table, Tolerance};

mod closing;
mod half_open;
mod handover;
mod lengths;
mod line;
mod longest;
mod mute;
mod noise;
mod pauses;
mod read;
mod reasons;
mod refused;
mod sensor;
mod slow;
mod storm;
mod tolerance;
mod values;
mod world;
mod write;
mod write_functions;
mod write_trouble;

use self::world::{Device, Script, ScriptedWorld, Sent};
use super::ModbusLink;
use crate::config::*;
use crate::lane::*;
use crate::plan::{self, Plan};
use crate::rt::*;
use crate::tag::*;

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
/// Work takes no time here.
const COSTS: plan::Costs = plan::Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };

/// A uint16 tag of unit 1 at one register.
fn tag(link: usize, register: u16) -> TagConfig {
    TagConfig {
        name: format!("plc{link}.r{register}"),
        source: Source::default(),
        link,
        group: 0,
        address: Box::new(ModbusAddress {
            unit: UnitId(1),
            table: Table::HoldingRegisters,
            first: register,
            count: 1,
            field: FieldType::Uint16,
            array: None,
            order: WordOrder::Abcd,
            reference: None,
        }),
        scale: 1.0,
        offset: 0.0,
        range: None,
        sensor: None,
        unit: String::new(),
        description: String::new(),
        write: None,
        reporting: None,
        decoding: Default::default(),
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
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
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
    let period = spaced.unwrap_or(Nanos::from_millis(PERIOD_MS));
    bench_in(modbus, links, stall, spaced, &[period])
}

/// The same with groups of these periods; writes follow each other at once.
fn bench_of_periods(modbus: &ModbusConfig, links: Vec<(Vec<TagConfig>, Script)>, periods: &[Nanos]) -> Bench {
    bench_in(modbus, links, None, None, periods)
}

fn bench_of_period(modbus: &ModbusConfig, links: Vec<(Vec<TagConfig>, Script)>, period: Nanos) -> Bench {
    bench_of_periods(modbus, links, &[period])
}

fn bench_in(
    modbus: &ModbusConfig,
    links: Vec<(Vec<TagConfig>, Script)>,
    stall: Option<(u64, u64)>,
    spaced: Option<Nanos>,
    periods: &[Nanos],
) -> Bench {
    let admission = if spaced.is_some() { AdmissionRule::Refuse } else { AdmissionRule::Warn };
    let source = Source::default();
    let mut config = Config {
        gateway: GatewayConfig { id: "test".into() },
        realtime: RealtimeConfig { cores: None, priority: 80, guard: Guard::Auto, admission },
        journal: JournalConfig { path: "journal".into(), bytes_max: 1 << 30, commit: Nanos::from_millis(100) },
        metrics: MetricsConfig { listen: None, per_link: false },
        control: crate::config::ControlConfig::default(),
        watchdog: crate::config::WatchdogConfig::default(),
        diagnostics: None,
        outputs: vec![],
        links: vec![],
        groups: periods
            .iter()
            .enumerate()
            .map(|(at, period)| GroupConfig {
                name: format!("g{at}"),
                source: source.clone(),
                pace: Pace::Every(*period),
                release: ReleaseMode::Spread,
            })
            .collect(),
        tags: vec![],
    };
    let mut devices = BTreeMap::new();
    for (index, (tags, script)) in links.into_iter().enumerate() {
        config.links.push(LinkConfig {
            name: format!("plc{index}"),
            source: source.clone(),
            protocol: Box::new(modbus.clone()),
        });
        config.tags.extend(tags);
        devices.insert(index as i32, Device { script: Some(script), ..Device::default() });
    }
    let mut plan = protocol::build_with(&config, &[0], &COSTS).unwrap().plan;
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
        woken_each: None,
    };
    let links = (0..plan.links.len()).map(|i| link_of(LinkId(i as u16), &plan)).collect();
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    let (orders, orders_out) = RingBuffer::new(crate::limits::WRITES_PENDING_MAX);
    let (answers_in, answers) = RingBuffer::new(crate::limits::WRITES_PENDING_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let long_bytes_max = long_bytes().max().unwrap_or(0);
    let wiring = Wiring {
        adoptions: to_executor,
        adopted: from_executor,
        sink: SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), long_bytes_max),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: stop.clone(),
    };
    let mut executor = Executor::new(LaneId(0), &plan, links, world, wiring);
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

    /// Runs for long; the samples of it.
    fn run_for_samples(&mut self, ms: u64) -> Vec<Sample> {
        let mut samples = Vec::new();
        for _ in 0..ms.div_ceil(1_000) {
            self.run_ms(1_000);
            samples.extend(self.drain());
        }
        samples
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

/// The link of a plan.
fn link_of(id: LinkId, plan: &Plan) -> ModbusLink {
    ModbusLink::new(id, plan.links[id].protocol.get().unwrap(), plan)
}
