//! A simulated CAN bus behind a socket of the kernel's: others send their messages, what the executor sends comes back,
//! and now and then frames are lost, short or strange, the controller leaves the bus, or the interface is gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::device::Told;
use super::given::{Given, Peer, PeerTold, What, drawn, frame_key};
use super::memory::mix;
use super::script::{self, Host, Moods, Phase};
use super::writes::{Place, Seen};
use crate::plan::CanSocket;
use crate::rt::{Io, Stamped};
use crate::tag::{LinkId, Nanos};

const MS: u64 = 1_000_000;
/// linux/can.h.
const EXTENDED: u32 = 1 << 31;
const REMOTE: u32 = 1 << 30;
const ERROR: u32 = 1 << 29;
/// linux/can/error.h.
const BUS_OFF: u32 = 0x40;
const RESTARTED: u32 = 0x100;
/// What a frame takes on the wire.
const FRAME_NS: u64 = 250_000;
/// Messages that others send, by turns with 11 and with 29 bits.
pub const MESSAGES: u32 = 10;

/// The identifier of a message that others send.
pub fn message_id(message: u32) -> u32 {
    if message.is_multiple_of(2) { 0x100 + message } else { (0x18FE_0000 + message) | EXTENDED }
}

/// What is the matter with a bus for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Well,
    /// One message, or all, come no more.
    Silent(u32),
    AllSilent,
    /// The controller has left the bus.
    Off,
    /// The interface goes down again and again, or is down.
    Falling,
    Down,
    /// Frames are too short, remote, malformed, or tell of errors.
    Strange,
    /// The kernel drops frames.
    Losing,
    /// The kernel takes no frame.
    Full,
}

impl script::Mood for Mood {
    const WELL: Mood = Mood::Well;
    const KIND: u64 = 3;
    const TROUBLE_MAX_MS: u64 = 8_000;
    const WELL_MAX_MS: u64 = 12_000;

    fn any(rng: &mut Rng) -> Mood {
        let one = Mood::Silent(rng.u32(..MESSAGES));
        let troubles =
            [one, one, Mood::AllSilent, Mood::Off, Mood::Falling, Mood::Down, Mood::Strange, Mood::Losing, Mood::Full];
        troubles[rng.usize(..troubles.len())]
    }

    fn listed(host: &Host) -> &[Phase<Mood>] {
        &host.can
    }

    fn list(host: &mut Host) -> &mut Vec<Phase<Mood>> {
        &mut host.can
    }
}

/// A bus; sockets come and go.
pub struct Bus {
    seed: u64,
    /// Between two frames of a message, at least and at most.
    periods: (u64, u64),
    /// Of the details; the moods are drawn or listed before.
    rng: Rng,
    moods: Moods<Mood>,
    is_off: bool,
}

impl Bus {
    pub fn new(seed: u64, moods: Moods<Mood>, fast: bool) -> Bus {
        let periods = if fast { (2 * MS, 40 * MS) } else { (50 * MS, 500 * MS) };
        Bus { seed, periods, rng: Rng::with_seed(mix(!seed)), moods, is_off: false }
    }

    /// How long opening its interface takes; `None`: it is down.
    pub fn opens(&mut self, now: u64) -> Option<u64> {
        (self.moods.at(now) != Mood::Down).then(|| self.rng.u64(MS / 10..5 * MS))
    }

    fn period(&self, message: u32) -> u64 {
        let (least, most) = self.periods;
        least + mix(self.seed ^ u64::from(message)) % (most - least)
    }
}

/// A frame on its way to the executor.
struct Coming {
    /// When the kernel has it.
    at: u64,
    can_id: u32,
    len: u8,
    data: [u8; 8],
    /// Of the frame as the kernel hands it over.
    bytes: usize,
    /// Somebody's value.
    is_value: bool,
}

/// One socket.
pub struct Socket {
    bus: Rc<RefCell<Bus>>,
    socket: Arc<CanSocket>,
    out: VecDeque<Coming>,
    /// When each message comes next.
    next: Vec<u64>,
    next_trouble: u64,
    dropped: u32,
    /// Of these, so many were told with a frame.
    dropped_told: u32,
    /// The interface has gone down.
    falls: bool,
}

impl Socket {
    pub fn new(bus: Rc<RefCell<Bus>>, socket: Arc<CanSocket>, now: u64) -> Socket {
        let next = {
            let mut bus = bus.borrow_mut();
            // Opened anew, the controller is on the bus.
            bus.is_off = false;
            let periods: Vec<u64> = (0..MESSAGES).map(|message| bus.period(message)).collect();
            periods.into_iter().map(|period| now + bus.rng.u64(..period)).collect()
        };
        Socket { bus, socket, out: VecDeque::new(), next, next_trouble: now, dropped: 0, dropped_told: 0, falls: false }
    }

    /// As the kernel does it: a filter hears what has its bits.
    fn passes(&self, can_id: u32) -> bool {
        self.socket.filters.iter().any(|filter| can_id & filter.mask == filter.id & filter.mask)
    }

    fn put(&mut self, frame: Coming) {
        let at = self.out.back().map_or(frame.at, |before| before.at.max(frame.at));
        self.out.push_back(Coming { at, ..frame });
    }

    fn error(&mut self, at: u64, classes: u32, about: u8) {
        let data = [0, about, 0, 0, 0, 0, 0, 0];
        self.put(Coming { at, can_id: ERROR | classes, len: 8, data, bytes: 16, is_value: false });
    }

    /// What happens by itself up to now.
    fn run(&mut self, now: u64) {
        loop {
            let message = (0..self.next.len()).min_by_key(|at| self.next[*at]).unwrap_or(0);
            let at = self.next[message].min(self.next_trouble);
            if at > now {
                return;
            }
            let bus = self.bus.clone();
            let mut bus = bus.borrow_mut();
            let mood = bus.moods.at(at);
            if at == self.next_trouble {
                self.next_trouble = at + bus.rng.u64(20 * MS..400 * MS);
                if (mood == Mood::Off) != bus.is_off {
                    bus.is_off = !bus.is_off;
                    self.error(at, if bus.is_off { BUS_OFF } else { RESTARTED }, 0);
                }
                match mood {
                    Mood::Falling | Mood::Down => self.falls |= bus.rng.u8(..4) == 0,
                    Mood::Strange => {
                        let class = [0x04, 0x08, 0x20, 0x02, 0x80][bus.rng.usize(..5)];
                        self.error(at, class, [0x01, 0x04, 0x10, 0x20][bus.rng.usize(..4)]);
                    }
                    _ => {}
                }
                continue;
            }
            let period = bus.period(message as u32);
            self.next[message] = at + period - period / 10 + bus.rng.u64(..period / 5);
            let silent = match mood {
                Mood::AllSilent | Mood::Off | Mood::Down => true,
                Mood::Silent(which) => which == message as u32,
                _ => bus.is_off,
            };
            let id = message_id(message as u32);
            if silent || !self.passes(id) {
                continue;
            }
            if mood == Mood::Losing && bus.rng.bool() {
                self.dropped += 1;
                continue;
            }
            let data = drawn(bus.seed, frame_key(id), at).to_le_bytes();
            let mut frame = Coming { at, can_id: id, len: 8, data, bytes: 16, is_value: true };
            if mood == Mood::Strange {
                match bus.rng.u8(..8) {
                    0 => frame.len = bus.rng.u8(..8),
                    1 => (frame.can_id, frame.is_value) = (id | REMOTE, false),
                    2 => (frame.len, frame.is_value) = (bus.rng.u8(9..), false),
                    3 => (frame.bytes, frame.is_value) = (bus.rng.usize(1..16), false),
                    _ => {}
                }
            }
            drop(bus);
            self.put(frame);
        }
    }
}

impl Peer for Socket {
    fn readable_at(&self) -> u64 {
        let next = self.next.iter().copied().min().unwrap_or(u64::MAX).min(self.next_trouble);
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
            told.faults.push(format!("what is sent is no frame: {bytes:?}"));
            return Io::Done(bytes.len());
        };
        let can_id = u32::from_ne_bytes([a, b, c, d]);
        let bus = self.bus.clone();
        let mut bus = bus.borrow_mut();
        let mood = bus.moods.at(now);
        if mood == Mood::Full && bus.rng.u8(..8) > 0 {
            return Io::WouldBlock;
        }
        told.requests += 1;
        let payload = data[..usize::from(len)].to_vec();
        told.written.push(Seen { at: now, link: LinkId(0), place: Place::Frame { can_id }, payload, told: Told::Done });
        // On the bus, and back again, unless nobody acknowledges.
        let arrives = !bus.is_off && !matches!(mood, Mood::AllSilent | Mood::Down);
        drop(bus);
        if arrives && self.socket.hears_itself && self.passes(can_id) {
            self.put(Coming { at: now + FRAME_NS, can_id, len, data, bytes: 16, is_value: true });
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
        let Coming { at, can_id, len, data, bytes, is_value } = self.out.pop_front()?;
        let mut frame = [0; 16];
        frame[..4].copy_from_slice(&can_id.to_ne_bytes());
        frame[4] = len;
        frame[8..].copy_from_slice(&data);
        let n = bytes.min(buffer.len());
        buffer[..n].copy_from_slice(&frame[..n]);
        if is_value {
            let what = What::Frame { data, len };
            let key = frame_key(can_id);
            let host = 0;
            told.given.push(Given {
                link: LinkId(0),
                host,
                key,
                from: at,
                to: at,
                received: now,
                what,
                required: true,
            });
        }
        told.dropped += u64::from(self.dropped - self.dropped_told);
        self.dropped_told = self.dropped;
        Some(Stamped { io: Io::Done(n), at: Nanos(at), hardware: None, dropped: self.dropped })
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}
