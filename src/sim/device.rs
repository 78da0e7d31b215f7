//! A simulated Modbus device: most of the time well, in phases of trouble by its seed.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::manners::{Manner, Reply};
use super::memory::{self, Area, Memory};
use super::script::{self, Host, Moods, Phase};

const MS: u64 = 1_000_000;

/// The units that tags are read from.
pub const UNITS: [u8; 2] = [1, 7];
/// Of so many addresses one is refused, by those that refuse some.
const REFUSED_OF: u64 = 60;

/// What is the matter with a device for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Well,
    /// Answers around and after the timeout.
    Late,
    /// Answers every other request, some twice.
    Lossy,
    /// Answers nothing.
    Dead,
    /// One of its units answers nothing.
    DeadUnit(u8),
    /// Sends what was not asked for, before or instead of the answer.
    Wrong,
    /// ReportFilter.
    Broken,
    /// Answers byte by byte.
    Pieces,
    /// Ends connections.
    Dropping,
    /// Takes no bytes.
    Choked,
    /// Takes no connection, or only to drop it.
    Away,
    /// Well, but closes the connection behind each answer.
    ClosesAfterReply,
    /// Well, but closes a connection on which nothing was asked for so long.
    ClosesWhenIdle(u64),
    /// Well, but its headers count bytes that its answers have not; sometimes they follow.
    TooLong,
    /// Answers most of what it is asked.
    Choosy(Manner),
}

impl script::Mood for Mood {
    const WELL: Mood = Mood::Well;
    const KIND: u64 = 1;
    const TROUBLE_MAX_MS: u64 = 8_000;
    const WELL_MAX_MS: u64 = 20_000;

    fn any(rng: &mut Rng) -> Mood {
        match rng.u8(..16) {
            0 => Mood::Late,
            1 => Mood::Lossy,
            2 => Mood::Dead,
            3 => Mood::DeadUnit(UNITS[rng.usize(..UNITS.len())]),
            4 => Mood::Wrong,
            5 => Mood::Broken,
            6 => Mood::Pieces,
            7 => Mood::Dropping,
            8 => Mood::Choked,
            9 => Mood::ClosesAfterReply,
            10 => Mood::ClosesWhenIdle(rng.u64(150 * MS..1_500 * MS)),
            11 => Mood::TooLong,
            12 => Mood::Away,
            _ => Mood::Choosy(Manner::any(&UNITS, rng)),
        }
    }

    fn listed(host: &Host) -> &[Phase<Mood>] {
        &host.modbus
    }

    fn list(host: &mut Host) -> &mut Vec<Phase<Mood>> {
        &mut host.modbus
    }
}

/// A request as it was understood.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub transaction: u16,
    pub area: Area,
    /// What the link takes for the longest answer, and how long it waits, in nanoseconds.
    pub expected: u64,
    pub timeout: u64,
    /// Where frames carry no transaction id, an answer that is too late cannot be told from the next one.
    pub on_line: bool,
}

/// What the answer means, if it is a right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The memory's values in this epoch.
    Values(u64),
    Exception(u8),
    /// Nothing: taking it for an answer is a fault.
    Poison,
    /// Of a write, be it the right answer or not.
    OfWrite,
}

/// What a device says of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Done,
    /// By an exception: nothing has changed.
    Refused,
    /// Nothing, or something that fits nothing.
    Nothing,
}

/// What a line makes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bent {
    No,
    /// A bit is another one.
    Bit,
    /// Its end is missing.
    Cut,
    /// The bytes are none.
    Raw,
}

/// Bytes to be sent.
#[derive(Debug)]
pub struct Outgoing {
    pub at: u64,
    /// With the header of Modbus TCP, but for raw ones.
    pub bytes: Vec<u8>,
    pub bent: Bent,
    /// 1: all at once.
    pub pieces: usize,
    pub meaning: Meaning,
}

/// What a device does with a request.
#[derive(Debug, Default)]
pub struct Reaction {
    pub send: Vec<Outgoing>,
    /// Ends the connection then.
    pub close_at: Option<u64>,
    /// Ends it then, unless something is asked before.
    pub idle_close_at: Option<u64>,
    /// Says nothing more on this connection.
    pub mute: bool,
}

/// See the module.
pub struct Device {
    pub memory: Memory,
    /// Takes the expected time for each answer, not up to it.
    exact: bool,
    /// Some addresses are refused until then.
    refuses_until: u64,
    /// Of the details; the moods are drawn or listed before.
    rng: Rng,
    moods: Moods<Mood>,
}

impl Device {
    /// `of_host` is all that tells one device from another.
    pub fn new(of_host: u64, moods: Moods<Mood>, exact: bool, refuses_until: u64) -> Device {
        Device { memory: Memory { seed: of_host }, exact, refuses_until, rng: Rng::with_seed(of_host), moods }
    }

    /// The unit that does not answer, all or some of it, while all else is well, and since when.
    pub fn dead_unit(&self, now: u64) -> Option<(u8, u64)> {
        match self.moods.known(now)? {
            Phase { mood: Mood::DeadUnit(unit) | Mood::Choosy(Manner::Mute(unit)), from_ns, .. } => {
                Some((unit, from_ns))
            }
            _ => None,
        }
    }

    /// Since when it does nothing worse than to close its connections, or to count its bytes wrongly.
    pub fn odd_since(&self, now: u64) -> Option<u64> {
        let phase = self.moods.known(now)?;
        let is_odd = matches!(phase.mood, Mood::ClosesAfterReply | Mood::ClosesWhenIdle(_) | Mood::TooLong);
        is_odd.then_some(phase.from_ns)
    }

    /// How long a connection takes to come about; `None`: it does not.
    pub fn connects(&mut self, now: u64) -> Option<u64> {
        (self.moods.at(now) != Mood::Away || self.rng.u8(..8) == 0).then(|| self.rng.u64(MS / 10..20 * MS))
    }

    /// When a new connection is ended at once.
    pub fn ends_new_connection(&mut self, now: u64) -> Option<u64> {
        match self.moods.at(now) {
            Mood::Away => Some(now + self.rng.u64(..50 * MS)),
            Mood::ClosesWhenIdle(idle) => self.closes_when_idle(now, idle),
            _ => None,
        }
    }

    /// When it closes a connection on which nothing is asked from now on: not any more once that mood is over.
    fn closes_when_idle(&self, now: u64, idle: u64) -> Option<u64> {
        let until = self.moods.known(now).map_or(0, |phase| phase.until_ns);
        Some(now + idle).filter(|at| *at < until)
    }

    /// How many of `len` bytes it takes now.
    pub fn takes(&mut self, now: u64, len: usize) -> usize {
        match self.moods.at(now) {
            Mood::Choked => match self.rng.u8(..4) {
                0 => self.rng.usize(0..=len),
                1 => len,
                _ => 0,
            },
            _ => len,
        }
    }

    /// Answers a request.
    pub fn answer(&mut self, now: u64, asked: &Asked) -> Reaction {
        let mood = self.moods.at(now);
        let at = now + if self.exact { asked.expected } else { self.rng.u64(asked.expected / 5..=asked.expected) };
        let since = self.moods.known(now).map_or(0, |phase| phase.from_ns);
        let mut reaction = Reaction::default();
        let right = self.right(at, asked);
        let well = |pieces| Outgoing { at, bytes: right.0.clone(), bent: Bent::No, pieces, meaning: right.1 };
        match mood {
            Mood::Well | Mood::Choked => reaction.send.push(well(1)),
            // A line is no connection, and has no headers.
            Mood::ClosesAfterReply | Mood::ClosesWhenIdle(_) | Mood::TooLong if asked.on_line => {
                reaction.send.push(well(1));
            }
            Mood::ClosesAfterReply => {
                reaction.close_at = Some(at);
                reaction.send.push(well(1));
            }
            Mood::ClosesWhenIdle(idle) => {
                reaction.idle_close_at = self.closes_when_idle(at, idle);
                reaction.send.push(well(1));
            }
            Mood::TooLong => {
                let mut outgoing = well(1);
                self.count_wrongly(&mut outgoing.bytes);
                reaction.send.push(outgoing);
            }
            Mood::Away => reaction.close_at = Some(at),
            Mood::Dead => {}
            Mood::DeadUnit(unit) => {
                if unit != asked.area.unit {
                    reaction.send.push(well(1));
                }
            }
            Mood::Late => {
                let latest = if asked.on_line { asked.timeout * 9 / 5 } else { asked.timeout * 5 / 2 };
                let at = now + self.rng.u64(asked.timeout / 2..latest);
                let (bytes, meaning) = self.right(at, asked);
                reaction.send.push(Outgoing { at, bytes, bent: Bent::No, pieces: 1, meaning });
            }
            Mood::Lossy => {
                if self.rng.bool() {
                    reaction.send.push(well(1));
                }
                if self.rng.bool() && !reaction.send.is_empty() && !asked.on_line {
                    let again = at + self.rng.u64(..asked.timeout);
                    reaction.send.push(self.poison(again, asked, |_, _| {}));
                }
            }
            Mood::Pieces => reaction.send.push(well(self.rng.usize(2..=6))),
            Mood::Dropping => {
                if self.rng.u8(..3) == 0 {
                    reaction.close_at = Some(at);
                }
                if self.rng.bool() {
                    reaction.send.push(well(1));
                }
            }
            Mood::Broken => {
                if self.rng.u8(..3) == 0 {
                    reaction.send.push(well(1));
                } else {
                    let code = [1, 3, 4, 6, 4, 0x0A, 0x0B, 2][self.rng.usize(..8)];
                    reaction.send.push(refusal(at, asked, code));
                }
            }
            Mood::Choosy(manner) => match manner.reply(self.memory.seed, since, asked, &mut self.rng) {
                Reply::Right => reaction.send.push(well(1)),
                Reply::Exception(code) => reaction.send.push(refusal(at, asked, code)),
                Reply::Nothing => {}
            },
            Mood::Wrong if asked.on_line => self.wrong_on_line(at, asked, &mut reaction, well(1)),
            Mood::Wrong => self.wrong(at, asked, &mut reaction, well(1)),
        }
        reaction
    }

    /// Answers a write, whose right answer is `confirmation`; and whether it did what it was told, as far as it says.
    pub fn answer_write(&mut self, now: u64, asked: &Asked, function: u8, confirmation: &[u8]) -> (Reaction, Told) {
        let mood = self.moods.at(now);
        let mut at = now + if self.exact { asked.expected } else { self.rng.u64(asked.expected / 5..=asked.expected) };
        let (mut reaction, mut pieces) = (Reaction::default(), 1);
        let mut pdu = confirmation.to_vec();
        let answers = match mood {
            Mood::Well | Mood::Choked | Mood::TooLong | Mood::Choosy(_) => true,
            Mood::ClosesAfterReply => {
                reaction.close_at = (!asked.on_line).then_some(at);
                true
            }
            Mood::ClosesWhenIdle(idle) => {
                reaction.idle_close_at = self.closes_when_idle(at, idle).filter(|_| !asked.on_line);
                true
            }
            Mood::Dead => false,
            Mood::DeadUnit(unit) => unit != asked.area.unit,
            Mood::Lossy => self.rng.bool(),
            Mood::Away => {
                reaction.close_at = Some(at);
                false
            }
            Mood::Dropping => {
                if self.rng.u8(..3) == 0 {
                    reaction.close_at = Some(at);
                }
                self.rng.bool()
            }
            Mood::Late => {
                let latest = if asked.on_line { asked.timeout * 9 / 5 } else { asked.timeout * 5 / 2 };
                at = now + self.rng.u64(asked.timeout / 2..latest);
                true
            }
            Mood::Pieces => {
                pieces = self.rng.usize(2..=6);
                true
            }
            Mood::Broken => {
                pdu = vec![function | 0x80, [1, 2, 3, 4, 6, 0x0A, 0x0B][self.rng.usize(..7)]];
                true
            }
            Mood::Wrong => {
                let last = pdu.len() - 1;
                pdu[last] ^= 1 << self.rng.u8(..8);
                true
            }
        };
        if answers {
            let mut bytes = frame(asked.transaction, asked.area.unit, &pdu);
            if mood == Mood::TooLong && !asked.on_line {
                self.count_wrongly(&mut bytes);
            }
            reaction.send.push(Outgoing { at, bytes, pieces, meaning: Meaning::OfWrite, bent: Bent::No });
        }
        // With function 23 the answer's last byte is a value; that it differs is told, not that it was not done.
        let told = match pdu[0] {
            _ if !answers => Told::Nothing,
            code if code & 0x80 != 0 => Told::Refused,
            23 => Told::Done,
            _ if pdu == confirmation => Told::Done,
            _ => Told::Nothing,
        };
        (reaction, told)
    }

    fn wrong(&mut self, at: u64, asked: &Asked, reaction: &mut Reaction, right: Outgoing) {
        match self.rng.u8(..7) {
            0 => {
                let other = asked.transaction.wrapping_add(self.rng.u16(1000..30_000));
                reaction.send.push(self.poison(at, asked, |bytes, _| bytes[..2].copy_from_slice(&other.to_be_bytes())));
            }
            1 => reaction.send.push(self.poison(at, asked, |bytes, _| bytes[6] ^= 0x40)),
            2 => reaction.send.push(self.poison(at, asked, |bytes, _| bytes[7] ^= 0x20)),
            3 => {
                // A byte more than asked for, told in every length.
                reaction.send.push(self.poison(at, asked, |bytes, _| {
                    bytes.push(0);
                    bytes[5] = (bytes.len() - 6) as u8;
                    bytes[8] = (bytes.len() - 9) as u8;
                }));
                return;
            }
            4 => {
                let mut bytes: Vec<u8> = (0..self.rng.usize(4..200)).map(|_| self.rng.u8(..)).collect();
                bytes[2] |= 1;
                reaction.send.push(Outgoing { at, bytes, bent: Bent::No, pieces: 1, meaning: Meaning::Poison });
                reaction.mute = true;
            }
            5 => {
                // Half a frame, then silence: what follows could not be told from its rest.
                let mut half = right;
                half.bytes.truncate(half.bytes.len() / 2);
                half.meaning = Meaning::Poison;
                reaction.send.push(half);
                reaction.mute = true;
                return;
            }
            _ => {}
        }
        if self.rng.bool() {
            reaction.send.push(right);
        }
    }

    /// Noise, and what is no answer: one in a row, each behind the other.
    fn wrong_on_line(&mut self, at: u64, asked: &Asked, reaction: &mut Reaction, right: Outgoing) {
        let spoilt = |bent| Outgoing { bytes: right.bytes.clone(), bent, meaning: Meaning::Poison, ..right };
        match self.rng.u8(..9) {
            0 => return reaction.send.push(spoilt(Bent::Bit)),
            1 => return reaction.send.push(spoilt(Bent::Cut)),
            2 => reaction.send.push(self.poison(at, asked, |bytes, _| bytes[6] ^= 0x40)),
            3 => reaction.send.push(self.poison(at, asked, |bytes, _| bytes[7] ^= 0x20)),
            4 => {
                // A byte more than asked for, told in its length.
                return reaction.send.push(self.poison(at, asked, |bytes, _| {
                    bytes.push(0);
                    bytes[8] = (bytes.len() - 9) as u8;
                }));
            }
            5 => return reaction.send.push(self.noise(at)),
            6 => reaction.send.push(self.noise(at)),
            _ => {}
        }
        if self.rng.u8(..4) > 0 {
            reaction.send.push(right);
        }
        // And some when nobody expects it.
        if self.rng.bool() {
            let later = at + if self.rng.bool() { 0 } else { self.rng.u64(..300 * MS) };
            reaction.send.push(self.noise(later));
        }
    }

    /// The header tells of more bytes than the answer has; they follow, or do not.
    fn count_wrongly(&mut self, bytes: &mut Vec<u8>) {
        let more = self.rng.u16(1..=5);
        let length = u16::from_be_bytes([bytes[4], bytes[5]]) + more;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        if self.rng.bool() {
            bytes.extend((0..more).map(|_| self.rng.u8(..)));
        }
    }

    fn noise(&mut self, at: u64) -> Outgoing {
        let bytes = (0..self.rng.usize(1..60)).map(|_| self.rng.u8(..)).collect();
        Outgoing { at, bytes, bent: Bent::Raw, pieces: 1, meaning: Meaning::Poison }
    }

    fn right(&mut self, at: u64, asked: &Asked) -> (Vec<u8>, Meaning) {
        let area = asked.area;
        let last = area.first + (area.count - 1);
        let refuses = |register: u16| {
            let place = u64::from(area.unit) << 24 | u64::from(area.table.read_function()) << 16 | u64::from(register);
            memory::mix(self.memory.seed ^ memory::mix(!place)).is_multiple_of(REFUSED_OF)
        };
        if at < self.refuses_until && (area.first..=last).any(refuses) {
            return (frame(asked.transaction, area.unit, &exception(asked, 2)), Meaning::Exception(2));
        }
        let epoch = memory::epoch(at);
        let pdu = values(asked, &self.memory.read(area, epoch));
        (frame(asked.transaction, area.unit, &pdu), Meaning::Values(epoch))
    }

    /// A whole frame with other values than the right ones.
    fn poison(&mut self, at: u64, asked: &Asked, spoil: impl FnOnce(&mut Vec<u8>, &mut Rng)) -> Outgoing {
        let other = Memory { seed: !self.memory.seed };
        let pdu = values(asked, &other.read(asked.area, memory::epoch(at)));
        let mut bytes = frame(asked.transaction, asked.area.unit, &pdu);
        spoil(&mut bytes, &mut self.rng);
        Outgoing { at, bytes, bent: Bent::No, pieces: 1, meaning: Meaning::Poison }
    }
}

fn refusal(at: u64, asked: &Asked, code: u8) -> Outgoing {
    let bytes = frame(asked.transaction, asked.area.unit, &exception(asked, code));
    Outgoing { at, bytes, bent: Bent::No, pieces: 1, meaning: Meaning::Exception(code) }
}

fn exception(asked: &Asked, code: u8) -> Vec<u8> {
    vec![asked.area.table.read_function() | 0x80, code]
}

fn values(asked: &Asked, values: &[u8]) -> Vec<u8> {
    let mut pdu = vec![asked.area.table.read_function(), values.len() as u8];
    pdu.extend_from_slice(values);
    pdu
}

fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let [high, low] = transaction.to_be_bytes();
    let mut bytes = vec![high, low, 0, 0, 0, (pdu.len() + 1) as u8, unit];
    bytes.extend_from_slice(pdu);
    bytes
}
