//! Messages of J1939 in packets (SAE J1939-21, section 5.10): how a node sends them to all, or two nodes between them,
//! what goes wrong with that, and which of them arrive whole. Nothing here is shared with the gateway's own following.

use std::collections::VecDeque;

use fastrand::Rng;

use super::super::given::DATA_MAX;
use super::super::model::dbc;
use super::senders::group_id;

const MS: u64 = 1_000_000;
const CONTROL: u32 = 0xEC00;
const DATA: u32 = 0xEB00;
const TO_ALL: u8 = 0xFF;
/// Who sends what to whom: group, source and destination. Between two nodes there is one message at a time.
const STREAM: [(u32, u8, u8); STREAMS] = [
    (0xF020, 0x11, TO_ALL),
    (0xF020, 0x21, TO_ALL),
    (dbc::LONG_GROUP, dbc::LONG_SOURCE, TO_ALL),
    (0x2200, 0x11, 0x31),
    (0x2200, 0x21, 0x31),
];
pub const STREAMS: usize = 5;
/// What every message has at least, and none more than.
pub const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = DATA_MAX;
/// A message is given up when nothing of it comes for so long; what comes a little earlier or later is not sent here.
const PATIENCE_NS: u64 = 750 * MS;
const PATIENCE_BETWEEN_TWO_NS: u64 = 1_250 * MS;
/// Between two messages of one stream, so that what is left of one is given up before the next.
const PAUSE_NS: u64 = 1_500 * MS;
/// A link that looks so much later than a packet came may have given the message up before it.
const LATE_NS: u64 = 50 * MS;

/// Group, source and destination of a stream.
pub fn of(stream: usize) -> (u32, u8, u8) {
    STREAM[stream % STREAMS]
}

pub fn data_id(stream: usize) -> u32 {
    let (_, source, destination) = of(stream);
    group_id(7, DATA, destination, source)
}

/// What a frame is in the exchange that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Open {
        size: u8,
    },
    /// The receiver asks for packets from this one on, or for patience.
    Resume {
        from: u8,
    },
    Hold,
    Packet {
        number: u8,
    },
    /// Given up, or confirmed.
    Over,
}

/// A frame of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    pub at: u64,
    pub can_id: u32,
    pub data: [u8; 8],
    pub part: Part,
}

/// The frames of a message as they go over the bus.
struct Script {
    pieces: VecDeque<Piece>,
    stream: usize,
    at: u64,
    message: Vec<u8>,
}

impl Script {
    fn control(&mut self, control: [u8; 5], from_receiver: bool, part: Part) {
        let (pgn, source, destination) = of(self.stream);
        let (from, to) = if from_receiver { (destination, source) } else { (source, destination) };
        let [a, b, c, d, e] = control;
        let [low, middle, high, _] = pgn.to_le_bytes();
        let data = [a, b, c, d, e, low, middle, high];
        self.pieces.push_back(Piece { at: self.at, can_id: group_id(7, CONTROL, to, from), data, part });
    }

    fn packets(&self) -> u8 {
        self.message.len().div_ceil(7) as u8
    }

    fn open(&mut self) {
        let (_, _, destination) = of(self.stream);
        let (size, packets) = (self.message.len() as u8, self.packets());
        let control = if destination == TO_ALL { 32 } else { 16 };
        self.control([control, size, 0, packets, 0xFF], false, Part::Open { size });
    }

    fn packet(&mut self, number: u8) {
        let from = (usize::from(number) - 1) * 7;
        let mut data = [0xFF; 8];
        data[0] = number;
        let bytes = &self.message[from..(from + 7).min(self.message.len())];
        data[1..=bytes.len()].copy_from_slice(bytes);
        let can_id = data_id(self.stream);
        self.pieces.push_back(Piece { at: self.at, can_id, data, part: Part::Packet { number } });
    }

    fn resume(&mut self, count: u8, from: u8) {
        let part = if count == 0 { Part::Hold } else { Part::Resume { from } };
        self.control([17, count, if count == 0 { 0xFF } else { from }, 0xFF, 0xFF], true, part);
    }

    fn wait(&mut self, least: u64, most: u64, rng: &mut Rng) {
        self.at += rng.u64(least..most);
    }
}

/// A message's frames from `at` on, and when the next one may begin. `trouble`: some of them are wrong.
pub fn script(stream: usize, at: u64, message: Vec<u8>, trouble: bool, rng: &mut Rng) -> (VecDeque<Piece>, u64) {
    let (_, _, destination) = of(stream);
    let to_all = destination == TO_ALL;
    let mut script = Script { pieces: VecDeque::new(), stream, at, message };
    let count = script.packets();
    script.open();
    if to_all {
        for number in 1..=count {
            script.wait(10 * MS, 100 * MS, rng);
            script.packet(number);
        }
    } else {
        if rng.u8(..4) == 0 {
            script.wait(MS, 200 * MS, rng);
            script.resume(0, 0);
        }
        let mut next = 1;
        while next <= count {
            script.wait(MS, 100 * MS, rng);
            let some = rng.u8(1..=count + 1 - next);
            script.resume(some, next);
            for number in next..next + some {
                script.wait(MS, 40 * MS, rng);
                script.packet(number);
            }
            next += some;
            // The receiver wants the last ones again, be it all of them.
            if rng.u8(..6) == 0 {
                next -= rng.u8(1..=some);
            }
        }
        script.wait(MS, 40 * MS, rng);
        let size = script.message.len() as u8;
        script.control([19, size, 0, count, 0xFF], true, Part::Over);
    }
    if trouble {
        spoil(&mut script, to_all, rng);
    }
    let last = script.pieces.back().map_or(at, |piece| piece.at);
    (script.pieces, last + PAUSE_NS)
}

fn spoil(script: &mut Script, to_all: bool, rng: &mut Rng) {
    let count = script.pieces.len();
    let at = rng.usize(1..count);
    match rng.u8(..7) {
        // Lost, doubled, the wrong way round.
        0 => drop(script.pieces.remove(at)),
        1 => {
            let twice = script.pieces[at];
            script.pieces.insert(at, twice);
        }
        2 if at + 1 < count => {
            let (one, other) = (script.pieces[at].at, script.pieces[at + 1].at);
            script.pieces.swap(at, at + 1);
            (script.pieces[at].at, script.pieces[at + 1].at) = (one, other);
        }
        // Too late.
        3 | 4 => {
            let late = if to_all { rng.u64(800 * MS..1_000 * MS) } else { rng.u64(1_400 * MS..1_600 * MS) };
            script.pieces.iter_mut().skip(at).for_each(|piece| piece.at += late);
        }
        // It ends in the middle; between two nodes, it is given up.
        5 => {
            script.pieces.truncate(at);
            script.at = script.pieces.back().map_or(script.at, |piece| piece.at) + MS;
            if !to_all {
                script.control([255, 3, 0xFF, 0xFF, 0xFF], rng.bool(), Part::Over);
            }
        }
        // Another one begins before the end of the first.
        _ => {
            let mut anew = script.pieces.clone();
            script.pieces.truncate(at);
            let begins = script.pieces.back().map_or(0, |piece| piece.at) + MS;
            let first = anew.front().map_or(0, |piece| piece.at);
            anew.iter_mut().for_each(|piece| piece.at = piece.at - first + begins);
            script.pieces.append(&mut anew);
        }
    }
}

/// How many bytes a message has.
pub fn size(trouble: bool, rng: &mut Rng) -> usize {
    if trouble && rng.u8(..4) == 0 { rng.usize(9..=BYTES_MAX) } else { rng.usize(BYTES_MIN..=BYTES_MAX) }
}

/// A message that came whole.
pub struct Whole {
    pub data: [u8; DATA_MAX],
    pub len: u8,
    /// When its first frame was taken.
    pub began: u64,
    /// Every frame was looked at in time.
    pub in_time: bool,
}

/// One stream as it is heard.
#[derive(Clone, Copy)]
struct Heard {
    size: u8,
    next: u8,
    at: u64,
    began: u64,
    latest: u64,
    data: [u8; DATA_MAX],
}

/// All streams as one socket hears them.
#[derive(Default)]
pub struct Following([Option<Heard>; STREAMS]);

impl Following {
    /// Nothing that is under way counts any more.
    pub fn forget(&mut self) {
        self.0 = [None; STREAMS];
    }

    /// A frame of a stream, which the kernel had at `at` and the link takes at `now`.
    pub fn take(&mut self, stream: usize, part: Part, data: [u8; 8], at: u64, now: u64) -> Option<Whole> {
        let patience = if of(stream).2 == TO_ALL { PATIENCE_NS } else { PATIENCE_BETWEEN_TWO_NS };
        let known = &mut self.0[stream % STREAMS];
        if let Part::Open { size } = part {
            *known = Some(Heard { size, next: 1, at, began: now, latest: now - at, data: [0; DATA_MAX] });
            return None;
        }
        let heard = known.as_mut()?;
        let pause = at - std::mem::replace(&mut heard.at, at);
        heard.latest = heard.latest.max(now - at);
        let goes_on = match part {
            _ if pause >= patience => false,
            Part::Open { .. } | Part::Hold => true,
            Part::Over => false,
            Part::Resume { from } if from <= heard.next => {
                heard.next = from;
                true
            }
            Part::Resume { .. } => false,
            Part::Packet { number } if number == heard.next => {
                let from = (usize::from(number) - 1) * 7;
                let to = (from + 7).min(usize::from(heard.size));
                heard.data[from..to].copy_from_slice(&data[1..=to - from]);
                heard.next += 1;
                true
            }
            Part::Packet { .. } => false,
        };
        let Heard { size, next, began, latest, data, .. } = *heard;
        let is_whole = goes_on && usize::from(next - 1) * 7 >= usize::from(size);
        if !goes_on || is_whole {
            *known = None;
        }
        is_whole.then_some(Whole { data, len: size, began, in_time: latest < LATE_NS })
    }
}
