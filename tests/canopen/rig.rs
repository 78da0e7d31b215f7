//! The real executor on a socket pair, with a node of the package `canopen` at the other end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fieldbeat::config::WriteConfig;
use fieldbeat::lane::*;
use fieldbeat::plan::Plan;
use fieldbeat::protocol;
use fieldbeat::protocol::kinds::FieldLink;
use fieldbeat::protocol::{kinds, load_parts};
use fieldbeat::rt::*;
use fieldbeat::tag::*;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::peers::{self, Peer};

pub const SHEET: &str = include_str!("drive.eds");
/// A node as most tests have it.
pub const NODE: &str = r#"{"id": 5, "eds": "drive.eds", "heartbeat_ms": 100}"#;

/// Counts what executors allocate and free while they run: nothing is allowed. By a mark of the thread and not by its
/// name, since tests run side by side and each builds its executor on the thread that runs it.
struct Counting;

thread_local! {
    static IS_FLOOR: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
static FLOOR_CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promises are handed on as they are.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_FLOOR.with(std::cell::Cell::get) {
            FLOOR_CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promises are handed on as they are.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if IS_FLOOR.with(std::cell::Cell::get) {
            FLOOR_CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two ends of a socket that keeps frames apart, as CAN_RAW does.
fn socket_pair() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) };
    assert_eq!(done, 0);
    // SAFETY: both were just made, and nobody else owns them.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}

pub struct Rig {
    pub node: Peer,
    plan: Arc<Plan>,
    image: Arc<Image>,
    pub counters: Arc<Counters>,
    pub samples: Consumer<Sample>,
    pub reports: Consumer<Report>,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    stop: Arc<AtomicBool>,
    executor: Option<JoinHandle<()>>,
    next_order: u64,
    _others: Vec<Box<dyn std::any::Any>>,
}

const TAGS: &str = r#"
    {"name": "position", "address": "co0:5:0x6064:0", "scan_rate_ms": 20},
    {"name": "enabled", "address": "co0:5:Statusword", "bit": 2, "data_type": "bool", "scan_rate_ms": 20},
    {"name": "torque", "address": "co0:5:Torque actual value", "scan_rate_ms": 50},
    {"name": "position by sdo", "address": "co0:5:0x6064:0", "access": "sdo", "scan_rate_ms": 50},
    {"name": "limit", "address": "co0:5:0x2001:0", "scan_rate_ms": 50},
    {"name": "control", "address": "co0:5:Controlword", "scan_rate_ms": 50},
    {"name": "target", "address": "co0:5:Target position", "scan_rate_ms": 50, "write": {"via": "pdo", "min": -9000, "max": 9000}},
    {"name": "power", "address": "co0:5:Controlword", "bit": 3, "scan_rate_ms": 50, "write": {"via": "pdo"}},
    {"name": "name", "address": "co0:5:0x1008:0", "scan_rate_ms": 200},
    {"name": "recipe", "address": "co0:5:0x2000:0:100", "scan_rate_ms": 200},
    {"name": "samples", "address": "co0:5:0x2002:0", "data_type": "uint8", "array": 100, "scan_rate_ms": 200},
    {"name": "vendor", "address": "co0:5:Identity object.Vendor-ID", "scan_rate_ms": 200},
    {"name": "emcy", "address": "co0:5:emcy", "scan_rate_ms": 50},
    {"name": "emcys", "address": "co0:5:emcy_count", "scan_rate_ms": 50},
    {"name": "state", "address": "co0:5:state", "scan_rate_ms": 50}"#;

pub fn rig(node: &str) -> Rig {
    rig_with(node, SHEET)
}

/// `sheet`: what the master goes by; the node is always the same.
pub fn rig_with(node: &str, sheet: &str) -> Rig {
    let text = format!(
        r#"{{"links": [{{"name": "co0", "protocol": "canopen", "interface": "can0", "sync_ms": 20, "timeout_ms": 300, "bitrate": 1000000, "expected_reply_ms": 0.1,
            "nodes": [{node}]}}], "tags": [{}]}}"#,
        TAGS.replace("position by sdo", "position_by_sdo")
    );
    let files = [("tags/t.json", &*text), ("tags/drive.eds", sheet)];
    let toml = ("fieldbeat.toml", "[gateway]\nid = \"g\"\n");
    let mut config = load_parts(toml, &files).unwrap_or_else(|e| panic!("{e}")).config;
    for tag in config.tags.iter_mut().filter(|tag| ["recipe", "limit", "control", "name"].contains(&&*tag.name)) {
        tag.write = Some(WriteConfig::default());
    }
    let plan = Arc::new(protocol::build(&config, &[0]).unwrap_or_else(|e| panic!("{e}")).plan);

    let (ours, theirs) = socket_pair();
    let own_sheet = peers::root().join("tests/canopen/drive.eds");
    let mut command = Command::new(peers::python());
    command.arg(peers::root().join("tests/peers/canopen_node.py"));
    command.args([theirs.as_raw_fd().to_string(), "5".into(), own_sheet.to_string_lossy().into_owned()]);
    let mut node = Peer::start(command);
    node.line();
    drop(theirs);

    let counters = Arc::new(Counters::new(&plan));
    let long = plan.tags.values().map(|tag| tag.ty.long_bytes_max());
    let image = Arc::new(Image::new(long, Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = RingBuffer::new(1 << 16);
    let (reports_in, reports) = RingBuffer::new(1 << 16);
    let (mut connected, connected_out) = RingBuffer::new(4);
    let (closed_in, closed) = RingBuffer::new(4);
    let (adoptions, adoptions_out) = RingBuffer::<Box<Adoption<FieldLink>>>::new(1);
    let (adopted_in, adopted) = RingBuffer::new(1);
    let (orders, orders_out) = RingBuffer::new(16);
    let (answers_in, answers) = RingBuffer::new(32);
    let stop = Arc::new(AtomicBool::new(false));
    let wiring = Wiring {
        sink: SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), 4096),
        reports: reports_in,
        connected: connected_out,
        closed: closed_in,
        adoptions: adoptions_out,
        adopted: adopted_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: stop.clone(),
    };
    connected.push(Connected { link: LinkId(0), conn: Conn(ours.into_raw_fd()), target: 0 }).unwrap();
    let of_thread = plan.clone();
    let executor = std::thread::spawn(move || {
        let links = vec![FieldLink::new(LinkId(0), &of_thread).unwrap()];
        let world = LinuxWorld::new().unwrap();
        let mut executor = Executor::new(LaneId(0), &of_thread, links, world, wiring);
        executor.start_at(Clock { start: monotonic_now() + Nanos::from_millis(5), guard: Nanos::ZERO });
        IS_FLOOR.set(true);
        executor.run();
        IS_FLOOR.set(false);
    });
    let others: Vec<Box<dyn std::any::Any>> =
        vec![Box::new(connected), Box::new(closed), Box::new(adoptions), Box::new(adopted)];
    Rig {
        node,
        plan,
        image,
        counters,
        samples,
        reports,
        orders,
        answers,
        stop,
        executor: Some(executor),
        next_order: 0,
        _others: others,
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(executor) = self.executor.take() {
            let ended = executor.join();
            assert!(ended.is_ok() || std::thread::panicking());
            let allocated = FLOOR_CALLS.load(Ordering::Relaxed);
            assert!(allocated == 0 || std::thread::panicking(), "{allocated} allocations and frees on an executor");
        }
    }
}

impl Rig {
    pub fn id(&self, name: &str) -> TagId {
        self.plan.tags.iter().find(|(_, tag)| &*tag.name == name).map(|(id, _)| id).unwrap()
    }

    pub fn value(&self, name: &str) -> (Status, Value) {
        let id = self.id(name);
        let ty = self.plan.tags[id].ty;
        if let ValueType::Scalar(scalar) = ty {
            let reading = self.image.read(id.index()).unwrap();
            return (Status(reading.status), Value::from_bits(scalar, reading.value));
        }
        let mut bytes = vec![0; ty.long_bytes_max().next_multiple_of(8)];
        let reading = self.image.read_long(id.index(), &mut bytes).unwrap();
        (Status(reading.status), Value::from_long(ty.code(), &bytes[..reading.value as usize]).unwrap())
    }

    #[track_caller]
    pub fn wait_for(&self, name: &str, what: impl Fn(Status, &Value) -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let (status, value) = self.value(name);
            if what(status, &value) {
                return;
            }
            assert!(Instant::now() < until, "{name} stays {status} {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub fn wait_good(&self, name: &str, expected: Value) {
        self.wait_for(name, |status, value| status.is_good() && *value == expected);
    }

    pub fn events(&mut self) -> Vec<NodeEvent> {
        let reports = std::iter::from_fn(|| self.reports.pop().ok());
        reports.filter_map(|r| if let Report::Node { event, .. } = r { Some(event) } else { None }).collect()
    }

    pub fn write(&mut self, name: &str, value: &Value) -> WriteAnswer {
        self.write_as(name, value, true)
    }

    pub fn write_as(&mut self, name: &str, value: &Value, read_back: bool) -> WriteAnswer {
        let encoded = kinds::encode(&self.plan, self.id(name), value).unwrap();
        self.next_order += 1;
        let order = WriteOrder {
            id: self.next_order,
            link: encoded.link,
            slot: encoded.slot,
            generation: 0,
            deadline: monotonic_now() + Nanos::from_millis(2_000),
            read_back,
            payload: encoded.payload,
        };
        self.orders.push(order).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            if let Ok(answer) = self.answers.pop() {
                assert_eq!(answer.id, self.next_order);
                return answer;
            }
            assert!(Instant::now() < until, "no answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
