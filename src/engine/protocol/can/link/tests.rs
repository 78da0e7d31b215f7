//! The link on the real executor, in a world of virtual time with a bus by hand.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use super::CanLink;
use super::frame::encode;
use crate::config::{Config, WriteConfig};
use crate::lane::*;
use crate::plan::Plan;
use crate::protocol::can::plan::model::CanPlan;
use crate::protocol::load_parts;
use crate::rt::*;
use crate::tag::*;
use crate::{plan, protocol};

mod batch;
mod bus;
mod reasons;
mod receive;
mod transmit;
mod transport;

const MS: u64 = 1_000_000;
const COSTS: plan::Costs = plan::Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
/// What a look at the world takes that does not sleep.
const LOOK: u64 = 100;
/// linux/can.h.
const ERROR: u32 = 1 << 29;
const REMOTE: u32 = 1 << 30;

const DBC: &str = r#"
BO_ 256 Motor: 8 Node
 SG_ Speed : 0|16@1+ (0.25,-100) [0|0] "rpm" Node
 SG_ Torque : 23|16@0- (1,0) [0|0] "Nm" Node
 SG_ Gear : 32|4@1+ (1,0) [0|0] "" Node
 SG_ Running : 36|1@1+ (1,0) [0|0] "" Node
BO_ 257 Muxed: 8 Node
 SG_ Select M : 0|8@1+ (1,0) [0|0] "" Node
 SG_ A m1 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ B m2 : 8|16@1- (1,0) [0|0] "" Node
BO_ 512 Command: 4 Node
 SG_ Target : 0|16@1+ (0.1,0) [0|0] "rpm" Node
 SG_ Enable : 16|1@1+ (1,0) [0|0] "" Node
BO_ 528 Setup: 4 Node
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Node
 SG_ A m1 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ B m2 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ C m3 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ Common : 24|8@1+ (1,0) [0|0] "" Node
BO_ 2565866750 EEC1: 8 Node
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|0] "rpm" Node
 SG_ Gear : 0|8@1+ (1,-125) [0|0] "" Node
 SG_ Regeneration : 8|2@1+ (1,0) [0|0] "" Node
 SG_ Fmi : 16|5@1+ (1,0) [0|0] "" Node
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "GenMsgCycleTime" BO_ 256 10;
BA_ "GenMsgCycleTime" BO_ 257 10;
BA_ "VFrameFormat" BO_ 2565866750 3;
VAL_ 256 Gear 0 "neutral" 1 "first" 15 "reverse" ;
VAL_ 2565866750 Gear 251 "park" 252 "none" ;
VAL_ 2565866750 Regeneration 2 "needed" ;
VAL_ 2565866750 Fmi 0 "high" 31 "condition exists" ;
"#;

/// A frame on its way: when it comes, its bytes, the controller's time, and what the kernel has dropped so far.
type Coming = (u64, Vec<u8>, Option<Nanos>, u32);

/// What was sent, and when.
type SentFrames = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// Virtual time, one bus.
struct BusWorld {
    now: u64,
    coming: VecDeque<Coming>,
    /// Once nothing comes any more.
    closed: bool,
    /// Frames are handed over one a call, however many have come.
    one_by_one: bool,
    token: Option<u32>,
    /// No sleep goes beyond it.
    limit: u64,
    sent: SentFrames,
    /// The kernel's queue is full.
    full: bool,
    /// What is sent comes back.
    echo: bool,
    /// Times that the link was asked to receive within one step, at most.
    receives: u32,
    receives_max: u32,
}

impl World for BusWorld {
    fn now(&mut self) -> Nanos {
        Nanos(self.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        self.now = self.now.max(until.0);
        Nanos(self.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        self.receives = 0;
        let next = self.coming.front().map_or(u64::MAX, |frame| frame.0);
        let watched = self.token.is_some();
        if !watched || next > self.now && !self.closed {
            let wakes = until.0.min(if watched { next } else { u64::MAX }).min(self.limit);
            self.now = if wakes > self.now { wakes } else { self.now + LOOK };
        }
        if (next <= self.now || self.closed)
            && let Some(token) = self.token
        {
            ready.push(token);
        }
    }

    fn attach(&mut self, _conn: Conn, token: u32) -> bool {
        self.token = Some(token);
        true
    }

    fn detach(&mut self, _conn: Conn) {
        self.token = None;
    }

    fn send(&mut self, _conn: Conn, bytes: &[u8]) -> Io {
        if self.closed {
            return Io::Closed;
        }
        if self.full {
            return Io::WouldBlock;
        }
        self.sent.borrow_mut().push((self.now, bytes.to_vec()));
        if self.echo {
            self.coming.push_back((self.now + 200_000, bytes.to_vec(), None, 0));
        }
        Io::Done(bytes.len())
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        self.receive_stamped(conn, buffer).io
    }

    fn receive_stamped(&mut self, _conn: Conn, buffer: &mut [u8]) -> Stamped {
        self.receives += 1;
        self.receives_max = self.receives_max.max(self.receives);
        let nothing = |io| Stamped { io, at: Nanos::ZERO, hardware: None, dropped: 0 };
        match self.coming.front() {
            Some((at, ..)) if *at <= self.now => {}
            _ if self.closed => return nothing(Io::Closed),
            _ => return nothing(Io::WouldBlock),
        }
        let (at, bytes, hardware, dropped) = self.coming.pop_front().unwrap();
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Stamped { io: Io::Done(bytes.len()), at: Nanos(at), hardware, dropped }
    }

    fn receive_frames<B: AsMut<[u8]>>(&mut self, conn: Conn, room: &mut [Arrival<B>]) -> Io {
        let most = if self.one_by_one { 1 } else { room.len() };
        for (n, arrival) in room[..most].iter_mut().enumerate() {
            let stamped = self.receive_stamped(conn, arrival.frame.as_mut());
            match stamped.io {
                Io::Done(_) => arrival.stamped = stamped,
                end if n == 0 => return end,
                _ => return Io::Done(n),
            }
        }
        Io::Done(most)
    }
}

struct Bench {
    executor: Executor<BusWorld, CanLink>,
    samples: Consumer<Sample>,
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    counters: Arc<Counters>,
    image: Arc<Image>,
    sent: SentFrames,
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    orders_made: u64,
    adoptions: Producer<Box<Adoption<CanLink>>>,
    adopted: Consumer<Box<Adoption<CanLink>>>,
    end: u64,
    config: Config,
    plan: Arc<Plan>,
}

fn config_of(link: &str, tags: &[(&str, &str)]) -> Config {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(at, (address, more))| {
            format!(r#"{{ "name": "t{at}", "address": "can0:{address}", "scan_rate_ms": 10 {more} }}"#)
        })
        .collect();
    let file = format!(
        r#"{{ "links": [ {{ "name": "can0", "protocol": "can", "interface": "vcan0", "dbc": "v.dbc" {link} }} ],
             "tags": [ {} ] }}"#,
        tags.join(",\n")
    );
    let files = [("tags/a.json", &*file), ("tags/v.dbc", DBC)];
    load_parts(("fieldbeat.toml", "[gateway]\nid = \"t\"\n"), &files).unwrap_or_else(|error| panic!("{error}")).config
}

fn bench(link: &str, tags: &[(&str, &str)]) -> Bench {
    bench_of(config_of(link, tags))
}

fn bench_of(config: Config) -> Bench {
    let plan = Arc::new(protocol::build_with(&config, &[0], &COSTS).unwrap().plan);
    let counters = Arc::new(Counters::new(&plan));
    let long: Vec<usize> = plan.tags.values().map(|tag| tag.ty.long_bytes_max()).collect();
    let image = Arc::new(Image::new(long.iter().copied(), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = RingBuffer::new(1 << 16);
    let (reports, _) = RingBuffer::new(1 << 10);
    let (mut connected, connected_out) = RingBuffer::new(16);
    let (closed_in, closed) = RingBuffer::new(16);
    let (orders, orders_out) = RingBuffer::new(64);
    let (answers_in, answers) = RingBuffer::new(64);
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    let sent = SentFrames::default();
    let world = BusWorld {
        now: 0,
        coming: VecDeque::new(),
        closed: false,
        one_by_one: false,
        token: None,
        limit: u64::MAX,
        sent: sent.clone(),
        full: false,
        echo: false,
        receives: 0,
        receives_max: 0,
    };
    let Some(own) = plan.links[LinkId(0)].protocol.get::<CanPlan>() else { panic!("a CAN link") };
    let link = CanLink::new(LinkId(0), own, &plan);
    let wiring = Wiring {
        adoptions: to_executor,
        adopted: from_executor,
        sink: SampleWriter::new(
            ring,
            image.clone(),
            counters.clone(),
            LaneId(0),
            long.iter().copied().max().unwrap_or(0),
        ),
        reports,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut executor = Executor::new(LaneId(0), &plan, vec![link], world, wiring);
    executor.start_at(Clock { start: Nanos::from_millis(1), guard: Nanos::ZERO });
    connected.push(Connected { link: LinkId(0), conn: Conn(7), target: 0 }).unwrap();
    Bench {
        executor,
        samples,
        connected,
        closed,
        counters,
        image,
        sent,
        orders,
        answers,
        orders_made: 0,
        adoptions,
        adopted,
        end: 0,
        config,
        plan,
    }
}

impl Bench {
    fn run_ms(&mut self, ms: u64) {
        self.end += ms * MS;
        self.world().limit = self.end;
        while self.executor.floor_for_test().world.now < self.end {
            self.executor.turn();
        }
    }

    fn world(&mut self) -> &mut BusWorld {
        &mut self.executor.floor_for_test().world
    }

    /// Puts a frame on the bus, so many milliseconds after the end of what has run.
    fn frame(&mut self, after_ms: u64, id: u32, data: &[u8]) {
        let (bytes, n) = encode(id & !(1 << 31), id & 1 << 31 != 0, data.len() > 8, data);
        self.raw(after_ms, &bytes[..n]);
    }

    fn raw(&mut self, after_ms: u64, bytes: &[u8]) {
        let at = self.end + after_ms * MS;
        self.world().coming.push_back((at, bytes.to_vec(), None, 0));
    }

    /// An error frame of these classes, with the controller's state.
    fn trouble(&mut self, after_ms: u64, classes: u32, controller: u8) {
        let (mut bytes, n) = encode(0, false, false, &[0, controller, 0, 0, 0, 0, 0, 0]);
        bytes[..4].copy_from_slice(&(classes | ERROR).to_ne_bytes());
        self.raw(after_ms, &bytes[..n]);
    }

    fn status(&self, tag: usize) -> Status {
        Status(self.image.read(tag).unwrap().status)
    }

    fn float(&self, tag: usize) -> f64 {
        f64::from_bits(self.image.read(tag).unwrap().value)
    }

    fn drain(&mut self) -> Vec<Sample> {
        std::iter::from_fn(|| self.samples.pop().ok()).collect()
    }

    fn link(&self) -> &LinkCounters {
        &self.counters.links[0]
    }

    /// Orders a raw value for a tag that is written; `within_ms` of now.
    fn order(&mut self, slot: u32, raw: u64, within_ms: u64, read_back: bool) -> u64 {
        self.orders_made += 1;
        let id = self.orders_made;
        let deadline = Nanos(self.end + within_ms * MS);
        let payload = WritePayload::new(&raw.to_le_bytes()).unwrap();
        self.orders
            .push(WriteOrder { id, link: LinkId(0), slot, generation: 0, deadline, read_back, payload })
            .unwrap();
        id
    }

    fn answers(&mut self) -> Vec<(u64, WriteOutcome)> {
        std::iter::from_fn(|| self.answers.pop().ok()).map(|answer| (answer.id, answer.outcome)).collect()
    }

    /// Data of what was sent, by identifier.
    fn sent_data(&self, id: u32) -> Vec<(u64, Vec<u8>)> {
        let sent = self.sent.borrow();
        let of = |(at, bytes): &(u64, Vec<u8>)| {
            (bytes[..4] == id.to_ne_bytes()).then(|| (*at, bytes[8..8 + usize::from(bytes[4])].to_vec()))
        };
        sent.iter().filter_map(of).collect()
    }
}
