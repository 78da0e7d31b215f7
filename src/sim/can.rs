//! A simulated CAN bus behind a socket of the kernel's: others send their messages, what the executor sends comes back,
//! and now and then frames are lost, short or strange, the controller leaves the bus, its clock is set, or the interface
//! is gone.
//!
//! | file | subject |
//! |---|---|
//! | `senders` | who else speaks on the bus |
//! | `packets` | messages in packets |
//! | `clock` | a controller's own clock |
//! | `mood` | what can be the matter |

mod clock;
mod mood;
mod packets;
mod senders;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;

use clock::{Controller, Stamp, Times};
pub use mood::Mood;
use packets::{Following, Part, Piece};
use senders::{SENDERS, Sender, keys_of};

use super::device::Told;
use super::given::{DATA_MAX, Given, Peer, PeerTold, What, drawn, group_key};
use super::memory::mix;
use super::script::Moods;
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

/// A bus; sockets come and go.
pub struct Bus {
    seed: u64,
    /// Between two frames of a message, at least and at most.
    periods: (u64, u64),
    /// Of the details; the moods are drawn or listed before.
    rng: Rng,
    moods: Moods<Mood>,
    is_off: bool,
    controller: Controller,
}

impl Bus {
    pub fn new(seed: u64, moods: Moods<Mood>, fast: bool) -> Bus {
        let periods = if fast { (2 * MS, 40 * MS) } else { (50 * MS, 500 * MS) };
        let mut rng = Rng::with_seed(mix(!seed));
        let controller = Controller::any(&mut rng);
        Bus { seed, periods, rng, moods, is_off: false, controller }
    }

    /// How long opening its interface takes; `None`: it is down.
    pub fn opens(&mut self, now: u64) -> Option<u64> {
        (self.moods.at(now) != Mood::Down).then(|| self.rng.u64(MS / 10..5 * MS))
    }

    fn period(&self, sender: usize) -> u64 {
        let (least, most) = self.periods;
        let period = least + mix(self.seed ^ sender as u64) % (most - least);
        // Each of its branches comes as often as another message.
        if Sender::of(sender) == Sender::Branches { period / 4 } else { period }
    }

    /// What a sender says at a time. Its parameters have values, unless the bus is in that mood.
    fn says(&mut self, key: u64, at: u64, mood: Mood) -> [u8; 8] {
        let data = drawn(self.seed, key, at).to_le_bytes();
        // Of the fields that tags have, none has its highest values without two ones side by side.
        if mood == Mood::Unready && self.rng.bool() { data } else { data.map(|byte| byte & 0x55) }
    }
}

/// A frame on its way to the executor.
struct Coming {
    /// When it was on the wire, and when the kernel has it.
    wire: u64,
    at: u64,
    stamp: Option<Stamp>,
    can_id: u32,
    len: u8,
    data: [u8; 8],
    /// Of the frame as the kernel hands it over.
    bytes: usize,
    /// Somebody's value.
    is_value: bool,
    /// Of a message in packets: of which stream.
    part: Option<(usize, Part)>,
}

/// One socket.
pub struct Socket {
    bus: Rc<RefCell<Bus>>,
    socket: Arc<CanSocket>,
    out: VecDeque<Coming>,
    /// When each sender sends next; never: the socket does not hear it.
    next: Vec<u64>,
    /// The branch that was sent last.
    branch: u8,
    /// What is still to come of each message in packets, and when the next one may begin.
    scripts: Vec<(VecDeque<Piece>, u64)>,
    following: Following,
    next_trouble: u64,
    dropped: u32,
    /// Of these, so many were told with a frame.
    dropped_told: u32,
    /// The interface has gone down.
    falls: bool,
    times: Times,
}

/// As the kernel does it: a filter hears what has its bits.
fn passes(socket: &CanSocket, can_id: u32) -> bool {
    socket.filters.iter().any(|filter| can_id & filter.mask == filter.id & filter.mask)
}

impl Socket {
    pub fn new(bus: Rc<RefCell<Bus>>, socket: Arc<CanSocket>, now: u64) -> Socket {
        let next = {
            let mut bus = bus.borrow_mut();
            // Opened anew, the controller is on the bus.
            bus.is_off = false;
            let first = |sender: usize| {
                let hears = passes(&socket, Sender::of(sender).id(6));
                let period = bus.period(sender);
                if hears { now + bus.rng.u64(..period) } else { u64::MAX }
            };
            (0..SENDERS).map(first).collect()
        };
        Socket {
            bus,
            socket,
            out: VecDeque::new(),
            next,
            branch: 0,
            scripts: vec![(VecDeque::new(), 0); packets::STREAMS],
            following: Following::default(),
            next_trouble: now,
            dropped: 0,
            dropped_told: 0,
            falls: false,
            times: Times::default(),
        }
    }

    fn put(&mut self, frame: Coming) {
        let at = self.out.back().map_or(frame.at, |before| before.at.max(frame.at));
        self.out.push_back(Coming { at, ..frame });
    }

    fn error(&mut self, at: u64, classes: u32, about: u8) {
        let data = [0, about, 0, 0, 0, 0, 0, 0];
        let can_id = ERROR | classes;
        self.put(Coming { wire: at, at, stamp: None, can_id, len: 8, data, bytes: 16, is_value: false, part: None });
    }

    /// What happens by itself up to now.
    fn run(&mut self, now: u64) {
        loop {
            let sender = (0..self.next.len()).min_by_key(|at| self.next[*at]).unwrap_or(0);
            let at = self.next[sender].min(self.next_trouble);
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
                    Mood::Setting => {
                        let Bus { controller, rng, .. } = &mut *bus;
                        controller.set(rng);
                    }
                    Mood::Strange => {
                        let class = [0x04, 0x08, 0x20, 0x02, 0x80][bus.rng.usize(..5)];
                        self.error(at, class, [0x01, 0x04, 0x10, 0x20][bus.rng.usize(..4)]);
                    }
                    _ => {}
                }
                continue;
            }
            let silent = match mood {
                Mood::AllSilent | Mood::Off | Mood::Down => true,
                Mood::Silent(which) => which == sender,
                _ => bus.is_off,
            };
            let lost = mood == Mood::Losing && bus.rng.bool();
            let spoken = self.speak(&mut bus, sender, at, mood);
            if silent {
                continue;
            }
            if lost {
                self.dropped += 1;
                continue;
            }
            let (can_id, data, part) = spoken;
            let (kernel, stamp) = match &mut *bus {
                Bus { controller, rng, .. } if self.socket.hardware_time => controller.stamp(at, rng),
                _ => (at, None),
            };
            let (len, bytes, is_value) = (8, 16, true);
            let mut frame = Coming { wire: at, at: kernel, stamp, can_id, len, data, bytes, is_value, part };
            if mood == Mood::Strange && part.is_none() {
                match bus.rng.u8(..8) {
                    0 => frame.len = bus.rng.u8(..8),
                    1 => (frame.can_id, frame.is_value) = (can_id | REMOTE, false),
                    2 => (frame.len, frame.is_value) = (bus.rng.u8(9..), false),
                    3 => (frame.bytes, frame.is_value) = (bus.rng.usize(1..16), false),
                    _ => {}
                }
            }
            drop(bus);
            self.put(frame);
        }
    }

    /// What a sender sends at its time; and when it sends again.
    fn speak(&mut self, bus: &mut Bus, sender: usize, at: u64, mood: Mood) -> (u32, [u8; 8], Option<(usize, Part)>) {
        if let Sender::Packets(stream) = Sender::of(sender) {
            let (pgn, source, _) = packets::of(stream);
            let (pieces, pause) = &mut self.scripts[stream];
            if pieces.is_empty() {
                let trouble = mood == Mood::Unready && bus.rng.bool();
                let size = packets::size(trouble, &mut bus.rng);
                let words = (0..4).map(|word| bus.says(group_key(pgn, Some(source)), at + word, mood));
                let message = words.flatten().take(size).collect();
                (*pieces, *pause) = packets::script(stream, at, message, trouble, &mut bus.rng);
            }
            let none = Piece { at, can_id: 0, data: [0; 8], part: Part::Over };
            let piece = pieces.pop_front().unwrap_or(none);
            let next = pieces.front().map_or(*pause + bus.rng.u64(..500 * MS), |next| next.at);
            self.next[sender] = next.max(at + 1);
            return (piece.can_id, piece.data, Some((stream, piece.part)));
        }
        let period = bus.period(sender);
        self.next[sender] = at + period - period / 10 + bus.rng.u64(..(period / 5).max(1));
        let can_id = Sender::of(sender).id(bus.rng.u32(3..8));
        let key = keys_of(can_id, [0; 8], 0).first().copied().unwrap_or_default();
        let is_group = matches!(Sender::of(sender), Sender::Single { .. });
        let mut data = if is_group { bus.says(key, at, mood) } else { drawn(bus.seed, key, at).to_le_bytes() };
        if Sender::of(sender) == Sender::Branches {
            self.branch = (self.branch + 1) % 4;
            data[0] = data[0] & !3 | self.branch;
        }
        (can_id, data, None)
    }

    /// A frame that the link takes at `now`: what it says.
    fn given(&mut self, frame: &Coming, now: u64, told: &mut PeerTold) {
        let Coming { wire, at, stamp, can_id, data, len, part, .. } = *frame;
        let (from, to) = self.times.span(wire, at, stamp);
        let mut give = |keys: &[u64], (data, len): ([u8; DATA_MAX], u8), began: u64, required: bool| {
            let what = What::Frame { data, len };
            let given = Given { link: LinkId(0), host: 0, key: 0, from, to, received: now, began, what, required };
            told.given.extend(keys.iter().map(|key| Given { key: *key, ..given.clone() }));
        };
        let Some((stream, part)) = part else {
            let mut whole = [0; DATA_MAX];
            whole[..8].copy_from_slice(&data);
            return give(&keys_of(can_id, data, len), (whole, len), now, true);
        };
        let (pgn, source, _) = packets::of(stream);
        if let Some(whole) = self.following.take(stream, part, data, at, now) {
            let keys = [group_key(pgn, Some(source)), group_key(pgn, None)];
            give(&keys, (whole.data, whole.len), whole.began, whole.in_time);
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
            told.faults.push(format!("the sent bytes are not a frame: {bytes:?}"));
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
        if arrives && self.socket.hears_itself && passes(&self.socket, can_id) {
            // What comes back of one's own has no stamp.
            let at = now + FRAME_NS;
            let (wire, stamp, part) = (at, None, None);
            self.put(Coming { wire, at, stamp, can_id, len, data, bytes: 16, is_value: true, part });
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
        let coming = self.out.pop_front()?;
        let Coming { at, stamp, can_id, len, data, bytes, is_value, .. } = coming;
        let mut frame = [0; 16];
        frame[..4].copy_from_slice(&can_id.to_ne_bytes());
        frame[4] = len;
        frame[8..].copy_from_slice(&data);
        let n = bytes.min(buffer.len());
        buffer[..n].copy_from_slice(&frame[..n]);
        if is_value {
            self.given(&coming, now, told);
        }
        if can_id & ERROR != 0 && can_id & BUS_OFF != 0 {
            self.following.forget();
        }
        told.dropped += u64::from(self.dropped - self.dropped_told);
        self.dropped_told = self.dropped;
        let hardware = stamp.map(|stamp| Nanos(stamp.hardware));
        Some(Stamped { io: Io::Done(n), at: Nanos(at), hardware, dropped: self.dropped })
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}
