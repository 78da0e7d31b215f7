//! The executor's world in virtual time: bytes to and from simulated devices, a CPU that stalls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use fastrand::Rng;

use super::device::{Asked, Device, Meaning};
use super::log::Log;
use super::memory::Area;
use crate::config::Table;
use crate::plan::ModbusPlan;
use crate::rt::{Conn, Io, Ready, World};
use crate::tag::{LinkId, Nanos};

/// What things cost an executor, in nanoseconds.
const LOOK_AT_CLOCK: u64 = 40;
const SYSTEM_CALL: u64 = 2_000;
const WAKE_UP_MAX: u64 = 40_000;
/// Connection numbers: the link's place is in the lowest bits.
const PLACE_BITS: u32 = 8;

/// A request and its right answer, as the wire saw them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub place: usize,
    pub request: u32,
    /// First byte tried; last byte of the answer taken, and seen on the clock.
    pub sent: u64,
    pub received: u64,
    pub meaning: Meaning,
}

/// Bytes under way to the executor.
struct Piece {
    at: u64,
    bytes: Vec<u8>,
    taken: usize,
    /// Follows the piece before it without anything between.
    glued: bool,
    /// With the last piece of a frame.
    ends: Option<(u16, Exchange)>,
}

/// One connection.
#[derive(Default)]
struct Line {
    conn: i32,
    token: Option<u32>,
    inbound: Vec<u8>,
    first_try: Option<u64>,
    out: VecDeque<Piece>,
    closes_at: Option<u64>,
    mute: bool,
    /// Transaction and time of the requests that wait for their answer.
    open: Vec<(u16, u64)>,
}

/// One link's far end.
pub struct Place {
    pub link: LinkId,
    pub device: Device,
    plan: ModbusPlan,
    line: Option<Line>,
    generation: i32,
}

impl Place {
    pub fn new(link: LinkId, plan: ModbusPlan, device: Device) -> Place {
        Place { link, device, plan, line: None, generation: 0 }
    }
}

/// One executor's machine and field; shared with whoever drives the run.
pub struct Field {
    pub now: u64,
    pub places: Vec<Place>,
    /// Since they were last taken away.
    pub exchanges: Vec<Exchange>,
    /// What no executor may do.
    pub faults: Vec<String>,
    pub log: Rc<RefCell<Log>>,
    /// When the CPU stalls next; never: `u64::MAX`.
    pub next_stall: u64,
    pub stall_max: u64,
    pub well_from: u64,
    pub rng: Rng,
    /// Exchanges that were completed by the last receive, whose time the executor still has to look at.
    unseen: usize,
}

impl Field {
    pub fn new(places: Vec<Place>, log: Rc<RefCell<Log>>, rng: Rng) -> Field {
        Field {
            now: 0,
            places,
            exchanges: Vec::new(),
            faults: Vec::new(),
            log,
            next_stall: u64::MAX,
            stall_max: 1,
            well_from: 0,
            rng,
            unseen: 0,
        }
    }

    fn note(&self, what: &'static str, numbers: [u64; 4]) {
        self.log.borrow_mut().add(self.now, what, numbers);
    }

    /// A new connection of the link at `place`.
    pub fn connect(&mut self, place: usize) -> Conn {
        let now = self.now;
        let at = &mut self.places[place];
        if at.line.is_some() {
            let link = at.link.0;
            self.faults.push(format!("link {link} gets a connection beside the one that it has"));
        }
        at.generation += 1;
        let conn = at.generation << PLACE_BITS | place as i32;
        let closes_at = at.device.ends_new_connection(now);
        at.line = Some(Line { conn, closes_at, ..Line::default() });
        self.note("connected: place {} as {}", [place as u64, conn as u64, 0, 0]);
        Conn(conn)
    }

    /// Which place is `link`'s.
    pub fn place_of(&self, link: LinkId) -> Option<usize> {
        self.places.iter().position(|place| place.link == link)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.places.iter().filter(|place| place.line.is_some()).count()
    }

    /// The connector closes it.
    pub fn close(&mut self, conn: Conn) {
        self.note("closed: connection {}", [conn.0 as u64, 0, 0, 0]);
        let place = (conn.0 & ((1 << PLACE_BITS) - 1)) as usize;
        let line = self.places.get_mut(place).and_then(|place| place.line.take_if(|line| line.conn == conn.0));
        match line {
            Some(line) if line.token.is_none() => {}
            Some(_) => self.faults.push(format!("connection {} was given back while it was watched", conn.0)),
            None => self.faults.push(format!("connection {} was given back twice", conn.0)),
        }
    }

    /// Every connection breaks at once.
    pub fn storm(&mut self) {
        let now = self.now;
        for line in self.places.iter_mut().filter_map(|place| place.line.as_mut()) {
            line.closes_at = Some(now);
            line.out.clear();
        }
        self.note("storm: every connection breaks", [0; 4]);
    }

    fn line(&mut self, conn: Conn) -> Option<(usize, &mut Line)> {
        let place = (conn.0 & ((1 << PLACE_BITS) - 1)) as usize;
        let line = self.places.get_mut(place).and_then(|p| p.line.as_mut()).filter(|line| line.conn == conn.0);
        if line.is_none() {
            self.faults.push(format!("connection {} was used after it was given back", conn.0));
        }
        Some(place).zip(self.places.get_mut(place)?.line.as_mut().filter(|line| line.conn == conn.0))
    }

    /// Whole requests are understood, judged and answered.
    fn take_requests(&mut self, place: usize) {
        let now = self.now;
        let Place { device, plan, line, link, .. } = &mut self.places[place];
        let Some(line) = line else { return };
        while line.inbound.len() >= 12 {
            let bytes: Vec<u8> = line.inbound.drain(..12).collect();
            let sent = line.first_try.take().unwrap_or(now);
            let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let (transaction, first, count) = (word(0), word(8), word(10));
            let table = Table::from_read_function(bytes[7]);
            let found = plan.requests.iter().position(|r| {
                Some(r.table) == table
                    && r.first == first
                    && r.count == count
                    && plan.units[usize::from(r.unit)].0 == bytes[6]
            });
            let (Some(table), Some(request)) = (table, found) else {
                self.faults.push(format!("link {}: a request that is not in its plan: {bytes:?}", link.0));
                continue;
            };
            let timeout = plan.config.timeout.0;
            line.open.retain(|(_, sent)| sent + timeout > now);
            line.open.push((transaction, sent));
            if line.open.len() > usize::from(plan.config.pipeline) {
                let text = format!("{} requests outstanding, allowed: {}", line.open.len(), plan.config.pipeline);
                self.faults.push(format!("link {}: {text}", link.0));
            }
            self.log.borrow_mut().add(
                now,
                "request: link {} transaction {} request {}",
                [u64::from(link.0), u64::from(transaction), request as u64, 0],
            );
            let area = Area { unit: bytes[6], table, first, count };
            let asked = Asked { transaction, request: request as u32, area };
            if line.mute {
                continue;
            }
            let reaction = device.answer(now, &asked);
            line.mute |= reaction.mute;
            if let Some(at) = reaction.close_at {
                line.closes_at = Some(line.closes_at.map_or(at, |old| old.min(at)));
            }
            for outgoing in reaction.send {
                let exchange =
                    Exchange { place, request: request as u32, sent, received: 0, meaning: outgoing.meaning };
                let ends = (outgoing.meaning != Meaning::Poison).then_some((transaction, exchange));
                let end = enqueue(&mut line.out, outgoing.at, outgoing.bytes, outgoing.pieces, ends);
                if line.mute {
                    // What comes behind half a frame would be taken for its rest by anyone.
                    line.out.truncate(end);
                }
            }
        }
    }

    /// When something of a watched connection can be read next.
    fn readable_at(line: &Line) -> u64 {
        let closes = line.closes_at.unwrap_or(u64::MAX);
        line.out.front().map_or(closes, |piece| piece.at.min(closes))
    }
}

/// Frames overtake each other, their pieces do not part. Returns the place behind the new ones.
fn enqueue(out: &mut VecDeque<Piece>, at: u64, bytes: Vec<u8>, pieces: usize, ends: Option<(u16, Exchange)>) -> usize {
    let mut place = out.len();
    while place > 0 && out[place - 1].at > at && !out[place - 1].glued && out[place - 1].taken == 0 {
        place -= 1;
    }
    let size = bytes.len().div_ceil(pieces.max(1)).max(1);
    let count = bytes.len().div_ceil(size);
    for (i, chunk) in bytes.chunks(size).enumerate() {
        let piece = Piece {
            at: at + i as u64 * 1_500_000,
            bytes: chunk.to_vec(),
            taken: 0,
            glued: i > 0,
            ends: ends.filter(|_| i + 1 == count),
        };
        out.insert(place + i, piece);
    }
    place + count
}

/// The world that an executor is given.
pub struct SimWorld(pub Rc<RefCell<Field>>);

impl World for SimWorld {
    fn now(&mut self) -> Nanos {
        let field = &mut *self.0.borrow_mut();
        field.now += LOOK_AT_CLOCK;
        if field.now >= field.next_stall {
            let length = field.rng.u64(..field.stall_max);
            field.note("stall: {} ns", [length, 0, 0, 0]);
            field.now += length;
            field.next_stall = field.now + field.rng.u64(100_000_000..20_000_000_000);
            if field.next_stall >= field.well_from {
                field.next_stall = u64::MAX;
            }
        }
        let seen = field.exchanges.len() - std::mem::take(&mut field.unseen);
        for exchange in &mut field.exchanges[seen..] {
            exchange.received = field.now;
        }
        Nanos(field.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        let mut field = self.0.borrow_mut();
        field.now = field.now.max(until.0);
        Nanos(field.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL / 2;
        let watched = || field.places.iter().filter_map(|p| p.line.as_ref()).filter(|line| line.token.is_some());
        let next = watched().map(Field::readable_at).min().unwrap_or(u64::MAX);
        let target = next.min(until.0);
        if target > field.now {
            field.now = target + field.rng.u64(..WAKE_UP_MAX);
        }
        for line in field.places.iter().filter_map(|p| p.line.as_ref()) {
            if let Some(token) = line.token
                && Field::readable_at(line) <= field.now
            {
                ready.push(token);
            }
        }
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        let mut field = self.0.borrow_mut();
        match field.line(conn) {
            Some((_, line)) => {
                line.token = Some(token);
                true
            }
            None => false,
        }
    }

    fn detach(&mut self, conn: Conn) {
        if let Some((_, line)) = self.0.borrow_mut().line(conn) {
            line.token = None;
        }
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        let now = field.now;
        field.now += SYSTEM_CALL;
        let Some((place, line)) = field.line(conn) else { return Io::Closed };
        if line.closes_at.is_some_and(|at| at <= now) {
            return Io::Closed;
        }
        line.first_try.get_or_insert(now);
        let taken = field.places[place].device.takes(now, bytes.len());
        let Some(line) = &mut field.places[place].line else { return Io::Closed };
        line.inbound.extend_from_slice(&bytes[..taken]);
        field.take_requests(place);
        if taken == 0 { Io::WouldBlock } else { Io::Done(taken) }
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL;
        let now = field.now;
        let Some((_, line)) = field.line(conn) else { return Io::Closed };
        let mut filled = 0;
        let mut completed = Vec::new();
        while let Some(piece) = line.out.front_mut()
            && piece.at <= now
            && filled < buffer.len()
        {
            let n = (piece.bytes.len() - piece.taken).min(buffer.len() - filled);
            buffer[filled..filled + n].copy_from_slice(&piece.bytes[piece.taken..piece.taken + n]);
            piece.taken += n;
            filled += n;
            if piece.taken == piece.bytes.len() {
                if let Some((transaction, exchange)) = piece.ends {
                    line.open.retain(|(open, _)| *open != transaction);
                    completed.push(Exchange { received: now, ..exchange });
                }
                line.out.pop_front();
            }
        }
        if filled == 0 {
            return if line.closes_at.is_some_and(|at| at <= now) { Io::Closed } else { Io::WouldBlock };
        }
        field.unseen += completed.len();
        field.exchanges.append(&mut completed);
        Io::Done(filled)
    }
}
