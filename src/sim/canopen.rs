//! A simulated CANopen network behind a socket of the kernel's (CiA 301): nodes that are set up, started, asked and
//! written to by SDO, and that send a PDO by themselves; they answer late, wrongly or never, start anew, or the bus is
//! gone. It reads and writes frames by itself: nothing here is shared with the gateway's master.

mod mood;
mod outputs;
mod pace;
mod server;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;

pub use mood::Mood;
use outputs::Outputs;
pub use outputs::{BITS as RPDO_BITS, span as rpdo_span};
pub use pace::Pace;

use super::given::{Given, Peer, PeerTold, What, drawn, object_key, value_of};
use super::memory::mix;
use super::script::Moods;
use crate::plan::CanSocket;
use crate::rt::{Io, Stamped};
use crate::tag::{LinkId, Nanos, ScalarType, Status};

const MS: u64 = 1_000_000;
/// linux/can.h.
const REMOTE: u32 = 1 << 30;
const ERROR: u32 = 1 << 29;
/// linux/can/error.h.
const BUS_OFF: u32 = 0x40;
const RESTARTED: u32 = 0x100;
/// Nodes of a network, by their numbers from 1 on.
pub const NODES: u8 = 3;
/// The first object that tags may lie at; those before it set a node up.
pub const FIRST_OBJECT: u16 = 0x2000;
/// The object whose sub-indices 1 to 4 are in each node's first TPDO.
pub const IN_PDO: u16 = 0x5000;
/// The object whose sub-indices 1 to 3 are in each node's first RPDO.
pub const OUT_PDO: u16 = 0x6000;
/// How long before its request came the master may have begun it: it waits for room in the kernel's queue, up to its timeout.
const ASKED_BEFORE_NS: u64 = 300 * MS;

/// What the value at an object's place is, and its bytes.
pub fn kind_of(index: u16, sub: u8) -> (ScalarType, usize) {
    match match index {
        IN_PDO => 3 * (u16::from(sub) % 2),
        OUT_PDO => [0, 0, 3, 1][usize::from(sub % 4)],
        _ => index % 5,
    } {
        0 => (ScalarType::Int16, 2),
        1 => (ScalarType::Uint32, 4),
        2 => (ScalarType::Float32, 4),
        3 => (ScalarType::Uint16, 2),
        _ => (ScalarType::Float64, 8),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    PreOperational,
    Operational,
}

/// A transfer in segments: what is left of it.
#[derive(Debug, Clone)]
struct Segments {
    bytes: Vec<u8>,
    toggle: bool,
    given: Given,
}

/// One node.
#[derive(Debug)]
struct Node {
    state: State,
    /// It begins until then: it hears nothing and says nothing, but at the end that it is there (CiA 301, 7.3.2.2.1).
    begins_until: u64,
    /// It has been told to say its state so often; 0: never.
    heartbeat_ns: u64,
    beat_at: u64,
    pdo_at: u64,
    guard_toggle: bool,
    segments: Option<Segments>,
    /// What it was asked for last.
    asked: (u16, u8),
    /// Its server's last answer: it serves one request after the other, and answers in that order.
    answered_at: u64,
    outputs: Outputs,
}

/// A network; sockets come and go.
pub struct Network {
    seed: u64,
    /// Of the details; the moods are drawn or listed before.
    rng: Rng,
    moods: Moods<Mood>,
    is_off: bool,
    pdo_ns: u64,
    /// When the last SYNC came.
    sync_at: u64,
    pace: Option<Pace>,
    nodes: Vec<Node>,
}

impl Network {
    /// `pace`: of one whose nodes answer within the time that is declared of them, always.
    pub fn new(seed: u64, moods: Moods<Mood>, pace: Option<Pace>, fast: bool) -> Network {
        let mut rng = Rng::with_seed(mix(!seed ^ 0xca0));
        let pdo_ns = if fast { rng.u64(5 * MS..50 * MS) } else { rng.u64(100 * MS..900 * MS) };
        let mut of_outputs = Rng::with_seed(mix(seed ^ 0x6000));
        let node = |n: u64| Node {
            state: State::PreOperational,
            begins_until: 0,
            heartbeat_ns: 0,
            beat_at: u64::MAX,
            pdo_at: n * MS,
            guard_toggle: false,
            segments: None,
            asked: (FIRST_OBJECT, 0),
            answered_at: 0,
            outputs: Outputs::any(&mut of_outputs),
        };
        let nodes = (0..u64::from(NODES)).map(node).collect();
        Network { seed, rng, moods, is_off: false, pdo_ns, sync_at: 0, pace, nodes }
    }

    /// What is declared of its nodes: the time until they answer, and that of a frame.
    pub fn declare(&mut self, declared: (u64, u64)) {
        if let Some(pace) = &mut self.pace {
            pace.declare(declared);
        }
    }

    /// How long opening its interface takes; `None`: it is down.
    pub fn opens(&mut self, now: u64) -> Option<u64> {
        (self.moods.at(now) != Mood::Down).then(|| self.rng.u64(MS / 10..5 * MS))
    }

    fn node(&mut self, id: u8) -> &mut Node {
        &mut self.nodes[usize::from(id - 1)]
    }

    /// Whether a node hears and says anything.
    fn speaks(&self, mood: Mood, id: u8, at: u64) -> bool {
        let silent = match mood {
            Mood::Silent(which) => which == id,
            Mood::AllSilent | Mood::Off | Mood::Down => true,
            _ => self.is_off,
        };
        !silent && at >= self.nodes[usize::from(id - 1)].begins_until
    }

    fn takes_pdos(&mut self, mood: Mood, id: u8, at: u64) -> bool {
        self.speaks(mood, id, at) && self.node(id).state == State::Operational
    }

    fn value(&self, id: u8, (index, sub): (u16, u8), at: u64) -> (u64, Vec<u8>) {
        let (ty, bytes) = kind_of(index, sub);
        let bits = value_of(ty, drawn(self.seed, object_key(id, index, sub), at));
        (bits, bits.to_le_bytes()[..bytes].to_vec())
    }
}

/// A frame on its way to the executor.
struct Coming {
    /// When the kernel has it.
    at: u64,
    can_id: u32,
    data: Vec<u8>,
    given: Vec<Given>,
    /// Of a node's server, and it may fit no transfer any more: whatever the node was asked for last may suffer by it.
    stray: bool,
}

/// One socket.
pub struct Socket {
    network: Rc<RefCell<Network>>,
    socket: Arc<CanSocket>,
    /// By their times.
    out: VecDeque<Coming>,
    next_trouble: u64,
    dropped: u32,
    dropped_told: u32,
    falls: bool,
}

fn given(id: u8, (index, sub): (u16, u8), from: u64, to: u64, (bits, status): (u64, Status)) -> Given {
    let (key, what) = (object_key(id, index, sub), What::Value { bits, status });
    // A master that was set up anew meanwhile passes it over.
    Given { link: LinkId(0), host: 0, key, from, to, received: 0, began: 0, what, required: false }
}

impl Socket {
    pub fn new(network: Rc<RefCell<Network>>, socket: Arc<CanSocket>, now: u64) -> Socket {
        network.borrow_mut().is_off = false;
        let out = VecDeque::new();
        Socket { network, socket, out, next_trouble: now, dropped: 0, dropped_told: 0, falls: false }
    }

    fn put(&mut self, at: u64, can_id: u32, data: Vec<u8>, given: Vec<Given>) {
        self.put_stray(at, can_id, data, given, false);
    }

    fn put_stray(&mut self, at: u64, can_id: u32, data: Vec<u8>, given: Vec<Given>, stray: bool) {
        let passes = |id: u32| self.socket.filters.iter().any(|filter| id & filter.mask == filter.id & filter.mask);
        if can_id & ERROR == 0 {
            if !passes(can_id) {
                return;
            }
            let mut network = self.network.borrow_mut();
            if network.moods.at(at) == Mood::Losing && network.rng.bool() {
                self.dropped += 1;
                return;
            }
        }
        let place = self.out.partition_point(|before| before.at <= at);
        self.out.insert(place, Coming { at, can_id, data, given, stray });
    }

    fn error(&mut self, at: u64, classes: u32) {
        self.put(at, ERROR | classes, vec![0; 8], Vec::new());
    }

    /// What happens by itself up to now.
    fn run(&mut self, now: u64) {
        while let Some((at, id)) = self.next().filter(|(at, _)| *at <= now) {
            let shared = self.network.clone();
            let mut network = shared.borrow_mut();
            let mood = network.moods.at(at);
            let Some(id) = id else {
                self.next_trouble = at + network.rng.u64(50 * MS..800 * MS);
                if (mood == Mood::Off) != network.is_off {
                    network.is_off = !network.is_off;
                    let class = if network.is_off { BUS_OFF } else { RESTARTED };
                    drop(network);
                    self.error(at, class);
                    continue;
                }
                match mood {
                    Mood::Falling | Mood::Down => self.falls |= network.rng.u8(..4) == 0,
                    Mood::Restarting => {
                        let id = network.rng.u8(1..=NODES);
                        drop(network);
                        self.restart(id, at);
                    }
                    Mood::Strange => {
                        let id = 0x580 + u32::from(network.rng.u8(1..=NODES));
                        let data: Vec<u8> = (0..network.rng.usize(..=8)).map(|_| network.rng.u8(..)).collect();
                        // What is no answer by its length, or names an object that nobody asks for.
                        let data = if data.len() == 8 { vec![0x43, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4] } else { data };
                        drop(network);
                        self.put_stray(at, id, data, Vec::new(), true);
                    }
                    _ => {}
                }
                continue;
            };
            let speaks = network.speaks(mood, id, at);
            let pdo_ns = network.pdo_ns;
            let node = network.node(id);
            if node.beat_at <= at {
                node.beat_at = at + node.heartbeat_ns;
                let state = node.state.code();
                drop(network);
                if speaks {
                    self.put(at, 0x700 + u32::from(id), vec![state], Vec::new());
                }
                continue;
            }
            node.pdo_at = at + pdo_ns;
            if !speaks || node.state != State::Operational {
                continue;
            }
            let (mut data, mut values) = (Vec::new(), Vec::new());
            for sub in 1..=4 {
                let (bits, bytes) = network.value(id, (IN_PDO, sub), at);
                data.extend(bytes);
                values.push(given(id, (IN_PDO, sub), at, at, (bits, Status::GOOD)));
            }
            let short = mood == Mood::Strange && network.rng.u8(..4) == 0;
            drop(network);
            if short {
                data.truncate(3);
                values.iter_mut().skip(1).for_each(|given| {
                    given.what = What::Value { bits: 0, status: Status::BAD_DECODING_ERROR };
                });
            }
            self.put(at, 0x180 + u32::from(id), data, values);
        }
    }

    /// What happens next by itself: when, and at which node.
    fn next(&self) -> Option<(u64, Option<u8>)> {
        let network = self.network.borrow();
        let of_nodes = (1..).zip(&network.nodes).map(|(id, node)| (node.beat_at.min(node.pdo_at), Some(id)));
        of_nodes.chain([(self.next_trouble, None)]).min_by_key(|(at, _)| *at)
    }

    /// A node begins anew, and says so.
    fn restart(&mut self, id: u8, at: u64) {
        let mut network = self.network.borrow_mut();
        let ready = at + network.rng.u64(MS..100 * MS);
        let mood = network.moods.at(at);
        let speaks = network.speaks(mood, id, ready);
        let Network { nodes, rng, .. } = &mut *network;
        let node = &mut nodes[usize::from(id - 1)];
        node.outputs.restart(rng);
        (node.state, node.segments, node.guard_toggle) = (State::PreOperational, None, false);
        node.begins_until = ready;
        (node.heartbeat_ns, node.beat_at, node.pdo_at) = (0, u64::MAX, ready);
        drop(network);
        if speaks {
            self.put(ready, 0x700 + u32::from(id), vec![0], Vec::new());
        }
    }
}

impl State {
    fn code(self) -> u8 {
        match self {
            State::PreOperational => 127,
            State::Operational => 5,
        }
    }
}

impl Peer for Socket {
    fn readable_at(&self) -> u64 {
        let next = self.next().map_or(u64::MAX, |(at, _)| at);
        self.out.front().map_or(next, |frame| frame.at.min(next))
    }

    fn send(&mut self, now: u64, bytes: &[u8], told: &mut PeerTold) -> Io {
        self.run(now);
        if self.falls {
            told.closes_at = Some(now);
            return Io::Closed;
        }
        let head = bytes.first_chunk::<16>().filter(|_| bytes.len() == 16);
        let Some([a, b, c, d, len @ 0..=8, _, _, _, data @ ..]) = head.copied() else {
            told.faults.push(format!("the sent bytes are not a frame: {bytes:?}"));
            return Io::Done(bytes.len());
        };
        let can_id = u32::from_ne_bytes([a, b, c, d]);
        {
            let mut network = self.network.borrow_mut();
            if network.moods.at(now) == Mood::Full && network.rng.u8(..8) > 0 {
                return Io::WouldBlock;
            }
        }
        told.requests += 1;
        let node = |base: u32| u8::try_from(can_id & 0x3FFF_FFFF & !base).ok().filter(|id| (1..=NODES).contains(id));
        match (can_id & 0x780, len) {
            (0, 2) if can_id == 0 && (1..=NODES).contains(&data[1]) => {
                let shared = self.network.clone();
                let mut network = shared.borrow_mut();
                let mood = network.moods.at(now);
                let hears = network.speaks(mood, data[1], now);
                match data[0] {
                    _ if !hears => {}
                    1 => network.node(data[1]).state = State::Operational,
                    130 => {
                        drop(network);
                        self.restart(data[1], now);
                    }
                    other => told.faults.push(format!("node {} gets the command {other}", data[1])),
                }
            }
            (0x600, 8) if node(0x600).is_some() => {
                self.asked(node(0x600).unwrap_or(1), data, now, told);
            }
            (0x700, 0 | 1) if can_id & REMOTE != 0 && node(0x700 | REMOTE).is_some() => {
                let id = node(0x700 | REMOTE).unwrap_or(1);
                let mut network = self.network.borrow_mut();
                let mood = network.moods.at(now);
                let speaks = network.speaks(mood, id, now);
                let node = network.node(id);
                let says = node.state.code() | u8::from(node.guard_toggle) << 7;
                node.guard_toggle ^= speaks;
                drop(network);
                if speaks {
                    self.put(now + MS / 4, 0x700 + u32::from(id), vec![says], Vec::new());
                }
            }
            (0x080, _) if can_id == 0x80 => {
                let mut network = self.network.borrow_mut();
                network.sync_at = now;
                let mood = network.moods.at(now);
                for id in 1..=NODES {
                    let takes = network.takes_pdos(mood, id, now);
                    network.node(id).outputs.sync(id, takes, now, &mut told.written);
                }
            }
            (0x200, 8) if node(0x200).is_some() => {
                let id = node(0x200).unwrap_or(1);
                let mut network = self.network.borrow_mut();
                let mood = network.moods.at(now);
                let takes = network.takes_pdos(mood, id, now);
                network.node(id).outputs.sent(id, data, takes, now, &mut told.written);
            }
            _ => told.faults.push(format!("a frame that no node knows: {can_id:#x}, {len} bytes {data:?}")),
        }
        Io::Done(bytes.len())
    }

    fn receive(&mut self, now: u64, buffer: &mut [u8], told: &mut PeerTold) -> Option<Stamped> {
        self.run(now);
        if self.falls {
            told.closes_at = Some(now);
        }
        if self.out.front()?.at > now {
            return None;
        }
        let Coming { at, can_id, data, given: mut values, stray } = self.out.pop_front()?;
        if let Some(id) = can_id.checked_sub(0x580).map(|id| id as u8).filter(|_| stray) {
            let asked = self.network.borrow_mut().node(id).asked;
            values.push(given(id, asked, at, at, (0, Status::BAD_DECODING_ERROR)));
        }
        let mut frame = [0; 16];
        frame[..4].copy_from_slice(&can_id.to_ne_bytes());
        frame[4] = data.len() as u8;
        frame[8..8 + data.len()].copy_from_slice(&data);
        let n = frame.len().min(buffer.len());
        buffer[..n].copy_from_slice(&frame[..n]);
        told.given.extend(values.into_iter().map(|given| Given { received: now, began: now, ..given }));
        told.dropped += u64::from(self.dropped - self.dropped_told);
        self.dropped_told = self.dropped;
        Some(Stamped { io: Io::Done(n), at: Nanos(at), hardware: None, dropped: self.dropped })
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}
