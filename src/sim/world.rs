//! The executor's world in virtual time: bytes to and from simulated devices, a CPU that stalls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use fastrand::Rng;

use super::device::{Asked, Bent, Device, Meaning, Reaction, Told};
use super::line::{Heard, Wire};
use super::log::Log;
use super::memory::Area;
use super::views::Views;
use super::writes::{self, Seen};
use crate::config::Table;
use crate::rt::{Conn, Io, Ready, World};
use crate::tag::{LinkId, Nanos};

/// What things cost an executor, in nanoseconds.
const LOOK_AT_CLOCK: u64 = 40;
const SYSTEM_CALL: u64 = 2_000;
const WAKE_UP_MAX: u64 = 40_000;

/// A request and its right answer, as the wire saw them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub link: LinkId,
    pub host: u32,
    pub area: Area,
    /// First byte tried; last byte of the answer taken, and seen on the clock.
    pub sent: u64,
    pub received: u64,
    pub meaning: Meaning,
}

/// Bytes under way to the executor.
pub struct Piece {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub taken: usize,
    /// Follows the piece before it without anything between.
    pub glued: bool,
    /// Of which frame on a line; 0 where that is of no meaning.
    pub frame: u32,
    /// With the last piece of a frame.
    pub ends: Option<(u16, Exchange)>,
}

/// One connection.
struct Line {
    conn: i32,
    link: LinkId,
    /// To which of the places that the link's device had.
    target: u32,
    host: u32,
    token: Option<u32>,
    inbound: Vec<u8>,
    first_try: Option<u64>,
    out: VecDeque<Piece>,
    closes_at: Option<u64>,
    /// Where frames carry no transaction id.
    wire: Option<Wire>,
    mute: bool,
    /// Transaction of the requests that wait for their answer, and until when.
    open: Vec<(u16, u64)>,
}

/// One executor's machine and field; shared with whoever drives the run.
pub struct Field {
    pub now: u64,
    /// By their hosts; each is there once someone connects to it.
    devices: Vec<(u32, Device)>,
    make_device: Box<dyn Fn(u32) -> Device>,
    lines: Vec<Line>,
    connections: i32,
    pub views: Views,
    /// Since they were last taken away.
    pub exchanges: Vec<Exchange>,
    /// Writes that devices got, since they were last taken away.
    pub written: Vec<Seen>,
    /// What no executor may do.
    pub faults: Vec<String>,
    pub log: Rc<RefCell<Log>>,
    /// When the CPU stalls next; never: `u64::MAX`.
    pub next_stall: u64,
    pub stall_max: u64,
    /// All stalls so far together.
    pub stalled: u64,
    pub well_from: u64,
    pub rng: Rng,
    pub requests: u64,
    /// What the clock said when it was asked for the first time since this was emptied.
    pub first_look: Option<u64>,
    /// Exchanges that were completed by the last receive, whose time the executor still has to look at.
    unseen: usize,
}

impl Field {
    pub fn new(make_device: Box<dyn Fn(u32) -> Device>, views: Views, log: Rc<RefCell<Log>>, rng: Rng) -> Field {
        Field {
            now: 0,
            devices: Vec::new(),
            make_device,
            lines: Vec::new(),
            connections: 0,
            views,
            exchanges: Vec::new(),
            written: Vec::new(),
            faults: Vec::new(),
            log,
            next_stall: u64::MAX,
            stall_max: 1,
            stalled: 0,
            well_from: 0,
            rng,
            requests: 0,
            first_look: None,
            unseen: 0,
        }
    }

    fn note(&self, what: &'static str, numbers: [u64; 4]) {
        self.log.borrow_mut().add(self.now, what, numbers);
    }

    /// The device at `host`.
    pub fn device(&mut self, host: u32) -> &mut Device {
        let place = self.devices.iter().position(|(at, _)| *at == host).unwrap_or_else(|| {
            self.devices.push((host, (self.make_device)(host)));
            self.devices.len() - 1
        });
        &mut self.devices[place].1
    }

    /// Hosts one of whose units is dead while all else is well: which unit, and since when.
    pub fn dead_units(&self) -> impl Iterator<Item = (u32, u8, u64)> {
        let now = self.now;
        let dead = move |(host, device): &(u32, Device)| Some((*host, device.dead_unit(now)?));
        self.devices.iter().filter_map(dead).map(|(host, (unit, since))| (host, unit, since))
    }

    /// A new connection of a link to the place that it had as number `target`.
    pub fn connect(&mut self, link: LinkId, target: u32, host: u32) -> Conn {
        let now = self.now;
        self.connections += 1;
        let conn = self.connections;
        let closes_at = self.device(host).ends_new_connection(now);
        self.lines.push(Line {
            conn,
            link,
            target,
            host,
            token: None,
            inbound: Vec::new(),
            first_try: None,
            out: VecDeque::new(),
            closes_at,
            wire: self.views.line(link, target).map(Wire::new),
            mute: false,
            open: Vec::new(),
        });
        self.note("connected: link {} as {} to host {}", [u64::from(link.0), conn as u64, u64::from(host), 0]);
        Conn(conn)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.lines.len()
    }

    /// The executor gave a connection back because its link left or has another target.
    pub fn removed(&mut self, conn: Conn) {
        let Some(line) = self.lines.iter().find(|line| line.conn == conn.0) else { return };
        if self.views.keeps(line.link, line.target) {
            let text = format!("link {}: its connection was dropped by a change that leaves its target", line.link.0);
            self.faults.push(text);
        }
    }

    /// The connector closes it.
    pub fn close(&mut self, conn: Conn) {
        self.note("closed: connection {}", [conn.0 as u64, 0, 0, 0]);
        match self.lines.iter().position(|line| line.conn == conn.0) {
            Some(at) => {
                if self.lines.remove(at).token.is_some() {
                    self.faults.push(format!("connection {} was given back while it was watched", conn.0));
                }
            }
            None => self.faults.push(format!("connection {} was given back twice", conn.0)),
        }
    }

    /// Every connection breaks at once.
    pub fn storm(&mut self) {
        for line in &mut self.lines {
            line.closes_at = Some(self.now);
            line.out.clear();
        }
        self.note("storm: every connection breaks", [0; 4]);
    }

    fn line(&mut self, conn: Conn) -> Option<usize> {
        let at = self.lines.iter().position(|line| line.conn == conn.0);
        if at.is_none() {
            self.faults.push(format!("connection {} was used after it was given back", conn.0));
        }
        at
    }

    /// Whole requests are understood, judged and answered.
    fn take_requests(&mut self, at: usize) {
        while let Some(length) = self.lines[at].inbound.get(5).map(|length| 6 + usize::from(*length))
            && self.lines[at].inbound.len() >= length
        {
            let line = &mut self.lines[at];
            let bytes: Vec<u8> = line.inbound.drain(..length).collect();
            let sent = line.first_try.take().unwrap_or(self.now);
            self.take_request(at, &bytes, sent);
        }
    }

    fn take_request(&mut self, at: usize, bytes: &[u8], sent: u64) {
        let now = self.now;
        let line = &mut self.lines[at];
        let (link, host) = (line.link, line.host);
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let transaction = word(0);
        let function = bytes[7];
        let write = writes::parse(&bytes[7..], bytes[6]);
        let area = match (&write, Table::from_read_function(function)) {
            (Some((area, ..)), _) => Some(*area),
            (None, Some(table)) => Some(Area { unit: bytes[6], table, first: word(8), count: word(10) }),
            (None, None) => None,
        };
        let allowed = |area: Area| self.views.allows(link, line.target, area, sent, write.is_some());
        let Some((area, view)) = area.and_then(|area| Some((area, allowed(area)?))) else {
            let text = format!("link {}: a request that is not in its plan, to host {host}: {bytes:?}", link.0);
            self.faults.push(text);
            return;
        };
        self.requests += 1;
        line.open.retain(|(_, until)| *until > now);
        line.open.push((transaction, sent + view.timeout));
        if line.open.len() > view.pipeline {
            let text = format!("{} requests outstanding, allowed: {}", line.open.len(), view.pipeline);
            self.faults.push(format!("link {}: {text}", link.0));
        }
        self.log.borrow_mut().add(
            now,
            "request: link {} transaction {} from {} on {}",
            [u64::from(link.0), u64::from(transaction), u64::from(area.first), u64::from(area.count)],
        );
        let asked = Asked { transaction, area, expected: view.expected, timeout: view.timeout, on_line: false };
        let mute = line.mute;
        let reaction = match write {
            Some((_, payload, confirmation)) => {
                let (reaction, told) = self.device(host).answer_write(now, &asked, function, &confirmation);
                let told = if mute { Told::Nothing } else { told };
                self.written.push(Seen { at: now, link, function, area, payload, told });
                reaction
            }
            None if mute => Reaction::default(),
            None => self.device(host).answer(now, &asked),
        };
        if mute {
            return;
        }
        let line = &mut self.lines[at];
        line.mute |= reaction.mute;
        if let Some(at) = reaction.close_at {
            line.closes_at = Some(line.closes_at.map_or(at, |old| old.min(at)));
        }
        for outgoing in reaction.send {
            let exchange = Exchange { link, host, area, sent, received: 0, meaning: outgoing.meaning };
            let ends = (outgoing.meaning != Meaning::Poison).then_some((transaction, exchange));
            let end = enqueue(&mut line.out, outgoing.at, outgoing.bytes, outgoing.pieces, ends);
            if line.mute {
                // What comes behind half a frame would be taken for its rest by anyone.
                line.out.truncate(end);
            }
        }
    }

    /// Bytes on a line without transaction ids.
    fn send_on_line(&mut self, at: usize, now: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let line = &mut self.lines[at];
        let Some(wire) = &mut line.wire else { return };
        match wire.send(now, bytes, &mut line.out, &mut self.rng) {
            Ok(None) => {}
            Ok(Some(heard)) => self.take_from_line(at, &heard),
            Err(what) => self.faults.push(format!("link {}: {what}", line.link.0)),
        }
    }

    /// A whole request on a line is judged and answered.
    fn take_from_line(&mut self, at: usize, heard: &Heard) {
        let line = &mut self.lines[at];
        let (link, host) = (line.link, line.host);
        let body = &heard.body;
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let table = Table::from_read_function(body[1]);
        let area = table.map(|table| Area { unit: body[0], table, first: word(2), count: word(4) });
        let view = |area: Area| Some((area, self.views.allows(link, line.target, area, heard.began, false)?));
        let Some((area, view)) = area.and_then(view) else {
            let text = format!("link {}: a request that is not in its plan, to host {host}: {body:?}", link.0);
            return self.faults.push(text);
        };
        self.requests += 1;
        let now = self.now;
        // The link may have tried before the port took anything.
        let sent = line.first_try.take().unwrap_or(heard.began);
        let on_wire = line.wire.as_ref().map_or(0, |wire| wire.view.characters(body.len() + 2));
        line.open.retain(|(_, until)| *until > now);
        if !line.open.is_empty() {
            self.faults.push(format!("link {}: requests outstanding on a line: more than one", link.0));
        }
        line.open.push((0, sent + view.timeout + on_wire));
        let numbers = [u64::from(link.0), u64::from(area.unit), u64::from(area.first), u64::from(area.count)];
        self.log.borrow_mut().add(now, "request on a line: link {} unit {} from {} on {}", numbers);
        let asked = Asked { transaction: 0, area, expected: view.expected, timeout: view.timeout, on_line: true };
        if heard.lost {
            self.note("lost: it met something on the line", [0; 4]);
            return;
        }
        let reaction = self.device(host).answer(heard.ends, &asked);
        let line = &mut self.lines[at];
        if let Some(at) = reaction.close_at {
            line.closes_at = Some(line.closes_at.map_or(at, |old| old.min(at)));
        }
        let Some(wire) = &mut line.wire else { return };
        let mut free = heard.ends + wire.view.silence();
        for outgoing in reaction.send {
            let body = if outgoing.bent == Bent::Raw { &outgoing.bytes[..] } else { &outgoing.bytes[6..] };
            let bytes = wire.bend(body, outgoing.bent, &mut self.rng);
            let exchange = Exchange { link, host, area, sent, received: 0, meaning: outgoing.meaning };
            let ends = (outgoing.meaning != Meaning::Poison).then_some((0, exchange));
            let start = outgoing.at.max(free);
            if wire.view.is_serial() {
                free = wire.put(start, bytes, ends, &mut line.out, &mut self.rng);
            } else {
                enqueue(&mut line.out, start, bytes, outgoing.pieces, ends);
                free = start;
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
            frame: 0,
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
            field.stalled += length;
            field.next_stall = field.now + field.rng.u64(100_000_000..20_000_000_000);
            if field.next_stall >= field.well_from {
                field.next_stall = u64::MAX;
            }
        }
        let seen = field.exchanges.len() - std::mem::take(&mut field.unseen);
        for exchange in &mut field.exchanges[seen..] {
            exchange.received = field.now;
        }
        field.first_look.get_or_insert(field.now);
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
        let watched = || field.lines.iter().filter(|line| line.token.is_some());
        let next = watched().map(Field::readable_at).min().unwrap_or(u64::MAX);
        let target = next.min(until.0);
        if target > field.now {
            field.now = target + field.rng.u64(..WAKE_UP_MAX);
        }
        for line in &field.lines {
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
            Some(at) => {
                let link = field.lines[at].link;
                if field.lines.iter().any(|line| line.link == link && line.token.is_some()) {
                    field.faults.push(format!("link {} gets a connection beside the one that it has", link.0));
                }
                field.lines[at].token = Some(token);
                true
            }
            None => false,
        }
    }

    fn detach(&mut self, conn: Conn) {
        let mut field = self.0.borrow_mut();
        if let Some(at) = field.line(conn) {
            field.lines[at].token = None;
        }
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        let now = field.now;
        field.now += SYSTEM_CALL;
        let Some(at) = field.line(conn) else { return Io::Closed };
        let line = &mut field.lines[at];
        if line.closes_at.is_some_and(|at| at <= now) {
            return Io::Closed;
        }
        line.first_try.get_or_insert(now);
        let host = line.host;
        let taken = field.device(host).takes(now, bytes.len());
        if field.lines[at].wire.is_some() {
            field.send_on_line(at, now, &bytes[..taken]);
        } else {
            field.lines[at].inbound.extend_from_slice(&bytes[..taken]);
            field.take_requests(at);
        }
        if taken == 0 { Io::WouldBlock } else { Io::Done(taken) }
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL;
        let now = field.now;
        let Some(at) = field.line(conn) else { return Io::Closed };
        let line = &mut field.lines[at];
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
            if let Some(wire) = &mut line.wire {
                wire.took(piece.at);
                // Whatever it was, the link may have had its answer.
                line.open.clear();
            }
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
