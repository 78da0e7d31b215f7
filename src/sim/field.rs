//! One executor's machine and field: its time, its connections, the devices at their other ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use fastrand::Rng;

use super::can::{Bus, Socket};
use super::canopen;
use super::device::Device;
use super::given::{Given, Peer, PeerTold};
use super::line::Wire;
use super::local::{Local, Thread};
use super::log::Log;
use super::model::CANOPEN;
use super::script::{Hosts, Series, Stall};
use super::stream::{Exchange, Piece};
use super::views::Views;
use super::writes::Seen;
use crate::plan::{CanSocket, Place};
use crate::rt::{Conn, Io, Stamped};
use crate::tag::{LinkId, Nanos};

fn is_canopen(socket: &CanSocket) -> bool {
    socket.interface.starts_with(CANOPEN)
}

/// One connection.
pub(super) struct Line {
    pub conn: i32,
    pub link: LinkId,
    /// To which of the places that the link's device had.
    pub target: u32,
    pub host: u32,
    pub token: Option<u32>,
    pub inbound: Vec<u8>,
    pub first_try: Option<u64>,
    pub out: VecDeque<Piece>,
    pub closes_at: Option<u64>,
    /// Where frames carry no transaction id.
    pub wire: Option<Wire>,
    pub mute: bool,
    /// Transaction of the requests that wait for their answer, and until when.
    pub open: Vec<(u16, u64)>,
    /// Where whole datagrams go over it, instead of a stream of bytes.
    pub peer: Option<Box<dyn Peer>>,
}

/// One executor's machine and field; shared with whoever drives the run.
pub struct Field {
    pub now: u64,
    /// By their hosts; each is there once someone connects to it.
    devices: Vec<(u32, Device)>,
    locals: Vec<(u32, Rc<RefCell<Local>>)>,
    buses: Vec<(u32, Rc<RefCell<Bus>>)>,
    networks: Vec<(u32, Rc<RefCell<canopen::Network>>)>,
    /// Short periods.
    pub fast: bool,
    hosts: Hosts,
    /// Each device takes the declared time for each answer, not up to it.
    exact: bool,
    pub(super) lines: Vec<Line>,
    connections: i32,
    pub views: Views,
    /// Since they were last taken away.
    pub exchanges: Vec<Exchange>,
    pub given: Vec<Given>,
    /// Writes that devices got, since they were last taken away.
    pub written: Vec<Seen>,
    /// What no executor may do.
    pub faults: Vec<String>,
    pub log: Rc<RefCell<Log>>,
    pub stalls: Series<Stall>,
    /// All stalls so far together.
    pub stalled: u64,
    pub well_from: u64,
    /// Of wake-ups, and of the bytes on serial lines.
    pub rng: Rng,
    pub(super) line_rng: Rng,
    pub requests: u64,
    /// By link: frames that the kernel dropped, as far as it has said so.
    pub dropped: BTreeMap<LinkId, u64>,
    /// What the clock said when it was asked for the first time since this was emptied.
    pub first_look: Option<u64>,
    /// Exchanges that were completed by the last receive, whose time the executor still has to look at.
    pub(super) unseen: usize,
}

impl Field {
    pub fn new(
        (hosts, exact): (Hosts, bool),
        well_from: u64,
        views: Views,
        log: Rc<RefCell<Log>>,
        mut rng: Rng,
    ) -> Field {
        Field {
            now: 0,
            devices: Vec::new(),
            locals: Vec::new(),
            buses: Vec::new(),
            networks: Vec::new(),
            fast: false,
            dropped: BTreeMap::new(),
            hosts,
            exact,
            lines: Vec::new(),
            connections: 0,
            views,
            exchanges: Vec::new(),
            given: Vec::new(),
            written: Vec::new(),
            faults: Vec::new(),
            log,
            stalls: Series::none(),
            stalled: 0,
            well_from,
            line_rng: rng.fork(),
            rng,
            requests: 0,
            first_look: None,
            unseen: 0,
        }
    }

    pub(super) fn note(&self, what: &'static str, numbers: [u64; 4]) {
        self.log.borrow_mut().add(self.now, what, numbers);
    }

    /// The device at `host`.
    pub fn device(&mut self, host: u32) -> &mut Device {
        let place = self.devices.iter().position(|(at, _)| *at == host).unwrap_or_else(|| {
            let Field { hosts, exact, well_from, .. } = &*self;
            let (moods, refuses_until) = (hosts.moods(host, *well_from), hosts.refuses_until(host, *well_from));
            self.devices.push((host, Device::new(hosts.of(host), moods, *exact, refuses_until)));
            self.devices.len() - 1
        });
        &mut self.devices[place].1
    }

    /// The local device at `host`.
    fn local(&mut self, host: u32) -> &Rc<RefCell<Local>> {
        let place = self.locals.iter().position(|(at, _)| *at == host).unwrap_or_else(|| {
            let Field { hosts, well_from, .. } = &*self;
            let moods = hosts.moods(host, *well_from);
            let local = Local::new(hosts.of(host), hosts.is_steady(host), *well_from, moods);
            self.locals.push((host, Rc::new(RefCell::new(local))));
            self.locals.len() - 1
        });
        &self.locals[place].1
    }

    /// The CAN bus at `host`.
    fn bus(&mut self, host: u32) -> &Rc<RefCell<Bus>> {
        let place = self.buses.iter().position(|(at, _)| *at == host).unwrap_or_else(|| {
            let Field { hosts, well_from, fast, .. } = &*self;
            let bus = Bus::new(hosts.of(host), hosts.moods(host, *well_from), *fast);
            self.buses.push((host, Rc::new(RefCell::new(bus))));
            self.buses.len() - 1
        });
        &self.buses[place].1
    }

    /// The CANopen network at `host`.
    fn network(&mut self, host: u32) -> &Rc<RefCell<canopen::Network>> {
        let place = self.networks.iter().position(|(at, _)| *at == host).unwrap_or_else(|| {
            let Field { hosts, exact, well_from, fast, .. } = &*self;
            let pace = hosts.is_steady(host).then(|| canopen::Pace::new(*exact));
            let network = canopen::Network::new(hosts.of(host), hosts.moods(host, *well_from), pace, *fast);
            self.networks.push((host, Rc::new(RefCell::new(network))));
            self.networks.len() - 1
        });
        &self.networks[place].1
    }

    /// How long a connection takes to come about; `None`: it does not.
    pub fn connects(&mut self, host: u32, place: &Place) -> Option<u64> {
        let now = self.now;
        match place {
            Place::Tcp { .. } | Place::Serial(_) => self.device(host).connects(now),
            Place::Own(_) => self.local(host).borrow_mut().opens(now),
            Place::Can(socket) if is_canopen(socket) => self.network(host).borrow_mut().opens(now),
            Place::Can(_) => self.bus(host).borrow_mut().opens(now),
        }
    }

    /// Hosts one of whose units is dead while all else is well: which unit, and since when.
    pub fn dead_units(&self) -> impl Iterator<Item = (u32, u8, u64)> {
        let now = self.now;
        let dead = move |(host, device): &(u32, Device)| Some((*host, device.dead_unit(now)?));
        self.devices.iter().filter_map(dead).map(|(host, (unit, since))| (host, unit, since))
    }

    /// Hosts that are well but for closing their connections or counting their bytes wrongly, and since when.
    pub fn odd_ones(&self) -> impl Iterator<Item = (u32, u64)> {
        let now = self.now;
        self.devices.iter().filter_map(move |(host, device)| Some((*host, device.odd_since(now)?)))
    }

    /// A new connection of a link to the place that it had as number `target`.
    pub fn connect(&mut self, link: LinkId, target: u32, host: u32, place: &Place) -> Conn {
        let now = self.now;
        self.connections += 1;
        let conn = self.connections;
        let (closes_at, peer): (_, Option<Box<dyn Peer>>) = match place {
            Place::Tcp { .. } | Place::Serial(_) => (self.device(host).ends_new_connection(now), None),
            Place::Own(device) => {
                let thread = |setup| Box::new(Thread::new(self.local(host).clone(), setup, now)) as Box<dyn Peer>;
                (None, device.clone().get().map(thread))
            }
            Place::Can(socket) if is_canopen(socket) => {
                let pace = self.views.pace(link, target);
                self.network(host).borrow_mut().declare(pace);
                (None, Some(Box::new(canopen::Socket::new(self.network(host).clone(), socket.clone(), now))))
            }
            Place::Can(socket) => (None, Some(Box::new(Socket::new(self.bus(host).clone(), socket.clone(), now)))),
        };
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
            peer,
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
            if let Some(peer) = &mut line.peer {
                peer.clear();
            }
        }
        self.note("storm: every connection breaks", [0; 4]);
    }

    pub(super) fn line(&mut self, conn: Conn) -> Option<usize> {
        let at = self.lines.iter().position(|line| line.conn == conn.0);
        if at.is_none() {
            self.faults.push(format!("connection {} was used after it was given back", conn.0));
        }
        at
    }

    /// When something of a watched connection can be read next.
    pub(super) fn readable_at(line: &Line) -> u64 {
        let closes = line.closes_at.unwrap_or(u64::MAX);
        if let Some(peer) = &line.peer {
            return peer.readable_at().min(closes);
        }
        line.out.front().map_or(closes, |piece| piece.at.min(closes))
    }

    pub(super) fn is_stream(&self, at: usize) -> bool {
        self.lines[at].peer.is_none()
    }

    /// A datagram of the executor's.
    pub(super) fn send_datagram(&mut self, at: usize, now: u64, bytes: &[u8]) -> Io {
        let mut told = PeerTold::default();
        let io = self.lines[at].peer.as_mut().map_or(Io::Closed, |peer| peer.send(now, bytes, &mut told));
        self.note("datagram: link {} bytes {}", [u64::from(self.lines[at].link.0), bytes.len() as u64, 0, 0]);
        self.take_told(at, told);
        io
    }

    /// The next datagram for the executor.
    pub(super) fn take_datagram(&mut self, at: usize, buffer: &mut [u8]) -> Stamped {
        let now = self.now;
        let mut told = PeerTold::default();
        let next = self.lines[at].peer.as_mut().and_then(|peer| peer.receive(now, buffer, &mut told));
        self.take_told(at, told);
        let io = if self.lines[at].closes_at.is_some_and(|at| at <= now) { Io::Closed } else { Io::WouldBlock };
        next.unwrap_or(Stamped { io, at: Nanos(now), hardware: None, dropped: 0 })
    }

    fn take_told(&mut self, at: usize, told: PeerTold) {
        let line = &mut self.lines[at];
        let (link, host) = (line.link, line.host);
        if let Some(closes_at) = told.closes_at {
            line.closes_at = Some(line.closes_at.map_or(closes_at, |before| before.min(closes_at)));
        }
        self.requests += told.requests;
        if told.dropped > 0 {
            *self.dropped.entry(link).or_default() += told.dropped;
        }
        self.given.extend(told.given.into_iter().map(|given| Given { link, host, ..given }));
        self.written.extend(told.written.into_iter().map(|seen| Seen { link, ..seen }));
        self.faults.extend(told.faults.into_iter().map(|fault| format!("link {}: {fault}", link.0)));
    }
}
